"""A node that began with a later state says so where only a block's header is kept, instead of answering nothing."""

import pytest

from chain.importer import receipts_root
from chain.receipt import decode_consensus_receipts, encode_receipts
from gateway.errors import PRUNED_HISTORY, RpcError
from gateway.filters import ChainPosition, block_changes, log_changes
from gateway.methods import accounts, blocks, debug, fees, logs
from gateway.parameters import BlockReference, LogFilter
from p2p.sync.receipts import decode_foreign_receipts
from primitives.hexadecimal import parse_data, to_data
from primitives.keccak import keccak256
from tests.chain.fetch_world import COUNTER, deploying, take_over
from tests.chain.ledger_world import ADDRESSES, KEYS, World, signed
from tests.chain.proof_checking import proved_value
from vm.addresses import create_address

CONTRACT = create_address(ADDRESSES[0], 0)
PRUNED, KEPT, EMPTY = BlockReference(number=2), BlockReference(number=5), BlockReference(number=3)
WITH_RECEIPTS = BlockReference(number=4)
"""Block 4 is the pivot; block 3 is empty."""


def without_prices(ledger, number):
    """The receipts of a block as they are kept when they came from a peer."""
    receipts = ledger.blocks.receipts(ledger.blocks.canonical_hash(number))
    return encode_receipts(decode_foreign_receipts(encode_receipts(receipts)))


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pruned")
    theirs, ours = World.open(folder / "theirs"), World.open(folder / "ours")
    calls = [signed(KEYS[0], nonce=nonce, to=CONTRACT) for nonce in range(1, 6)]
    contents = [[signed(KEYS[0], to=None, data=deploying(COUNTER))], calls[:1], [], calls[1:2], calls[2:3], calls[3:]]
    with theirs.ledger, ours.ledger:
        for transactions_ in contents:
            theirs.ledger.import_block(theirs.build(transactions_))
        ours.clock.now_s = theirs.clock.now_s
        take_over(ours.ledger, theirs.ledger, 4, with_receipts=(4,))
        ours.ledger.database.connection.execute("UPDATE receipts SET receipts = ?", (without_prices(theirs.ledger, 4),))
        for number in (5, 6):
            ours.ledger.import_block(theirs.ledger.blocks.canonical_block(number))
        with ours.ledger.view() as view:
            yield view


@pytest.mark.parametrize(
    "question",
    [
        lambda chain: blocks.get_block_by_number(chain, PRUNED, False),
        lambda chain: blocks.get_block_by_hash(chain, chain.header_by_number(2).hash, True),
        lambda chain: blocks.get_block_transaction_count_by_number(chain, PRUNED),
        lambda chain: blocks.get_transaction_by_block_number_and_index(chain, PRUNED, 0),
        lambda chain: blocks.get_block_receipts(chain, PRUNED),
        lambda chain: debug.get_raw_block(chain, PRUNED),
        lambda chain: logs.get_logs(chain, LogFilter(first=PRUNED, last=KEPT)),
        lambda chain: logs.get_logs(chain, LogFilter(block_hash=chain.header_by_number(2).hash)),
        lambda chain: fees.fee_history(chain, 6, KEPT, (50.0,)),
        lambda chain: fees.fee_history(chain, 1, WITH_RECEIPTS, (50.0,)),
    ],
)
def test_what_is_not_kept_is_said_to_be_pruned(chain, question):
    with pytest.raises(RpcError, match="pruned history unavailable") as raised:
        question(chain)
    assert raised.value.code == PRUNED_HISTORY


def test_headers_and_what_follows_from_them_are_answered(chain):
    header = chain.header_by_number(2)
    assert parse_data(debug.get_raw_header(chain, PRUNED)) == header.encode()
    assert blocks.get_uncle_count_by_block_number(chain, PRUNED) == "0x0"
    assert len(fees.fee_history(chain, 6, KEPT, ())["gasUsedRatio"]) == 6
    assert len(fees.fee_history(chain, 1, KEPT, (50.0,))["reward"]) == 1
    assert logs.get_logs(chain, LogFilter(first=EMPTY, last=EMPTY)) == []
    assert blocks.get_block_by_number(chain, BlockReference(number=7), False) is None
    assert debug.get_raw_receipts(chain, PRUNED) is None, "a light client asks another node then"


def test_what_came_after_the_state_is_answered_as_always(chain):
    block = blocks.get_block_by_number(chain, KEPT, False)
    assert len(block["transactions"]) == 1
    assert len(logs.get_logs(chain, LogFilter(first=KEPT, last=BlockReference(number=6)))) == 3
    assert blocks.get_transaction_receipt(chain, parse_data(block["transactions"][0]))["blockNumber"] == "0x5"
    assert blocks.get_transaction_receipt(chain, bytes(32)) is None


@pytest.mark.parametrize("number", [4, 5, 6])
def test_proofs_reach_back_as_far_as_states_do(chain, number):
    proof = accounts.get_proof(chain, CONTRACT, ["0x0"], BlockReference(number=number))
    nodes = [parse_data(node) for node in proof["accountProof"]]
    assert proved_value(chain.header_by_number(number).state_root, keccak256(CONTRACT), nodes) is not None
    (slot,) = proof["storageProof"]
    root = parse_data(proof["storageHash"])
    counted = proved_value(root, keccak256(bytes(32)), [parse_data(node) for node in slot["proof"]])
    assert to_data(counted) == "0x0" + slot["value"][2:] == f"0x0{[2, 3, 5][number - 4]}"


def test_receipts_that_came_from_a_peer_are_handed_on(chain):
    header = chain.header_by_number(4)
    raw = [parse_data(receipt) for receipt in debug.get_raw_receipts(chain, WITH_RECEIPTS)]
    assert receipts_root(decode_consensus_receipts(raw)) == header.receipts_root


def test_a_filter_that_was_there_before_the_state_passes_over_what_is_not_kept(chain):
    genesis, head = chain.header_by_number(0), chain.head()
    before = ChainPosition(0, genesis.hash)
    position, told = log_changes(chain, before, LogFilter())
    assert position == ChainPosition(6, head.hash)
    assert [log["blockNumber"] for log in told] == ["0x5", "0x6", "0x6"]
    assert len(block_changes(chain, before)[1]) == 6
