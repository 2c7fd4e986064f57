"""Whole ledgers that took over a state: they import what follows, and know what they do not have."""

import pytest

from chain.importer import ImportStatus, ReorganisationTooDeep
from chain.receipt import encode_receipts
from chain.store.state_reader import StateUnavailable
from chain.trie.root import account_value, slot_key, storage_value
from primitives.errors import InvalidBlock
from primitives.keccak import keccak256
from tests.chain.fetch_world import COUNTER, deploying, take_over
from tests.chain.ledger_world import ADDRESSES, KEYS, World, signed, world_genesis
from tests.chain.proof_checking import proved_value
from tests.chain.qbft.authority_world import AuthorityWorld, authority_genesis
from vm.addresses import create_address

CONTRACT = create_address(ADDRESSES[0], 0)
PIVOT = 6


@pytest.fixture
def worlds(tmp_path):
    """A network's ledger at block 9 with a contract that was called in every block, and one that took over block 6."""
    genesis = world_genesis()
    theirs, ours = World.open(tmp_path / "theirs", genesis), World.open(tmp_path / "ours", genesis, archive=False)
    with theirs.ledger, ours.ledger:
        theirs.ledger.import_block(theirs.build([signed(KEYS[0], to=None, data=deploying(COUNTER))]))
        for nonce in range(1, 9):
            call = signed(KEYS[0], nonce=nonce, to=CONTRACT)
            theirs.ledger.import_block(theirs.build([call, theirs.transfer(1), theirs.transfer(2)]))
        ours.clock.now_s = theirs.clock.now_s
        take_over(ours.ledger, theirs.ledger, PIVOT, with_receipts=(3,))
        yield theirs, ours


def blocks_above(world, number):
    return [world.ledger.blocks.canonical_block(at) for at in range(number + 1, world.ledger.head().number + 1)]


def test_it_goes_on_with_the_chain(worlds):
    theirs, ours = worlds
    ledger = ours.ledger
    assert ledger.head() == theirs.ledger.blocks.canonical_header(PIVOT)
    assert ledger.latest_accounts.account(ADDRESSES[0]).nonce == PIVOT
    for block in blocks_above(theirs, PIVOT):
        assert ledger.import_block(block).status is ImportStatus.EXTENDED
    assert ledger.head() == theirs.ledger.head()
    assert ledger.total_difficulty() == theirs.ledger.total_difficulty()
    assert ledger.import_block(theirs.build()).status is ImportStatus.EXTENDED


def test_it_starts_again_at_the_pivot(worlds, tmp_path):
    theirs, ours = worlds
    ours.ledger.close()
    with World.open(tmp_path / "ours").ledger as ledger:
        assert ledger.head().number == PIVOT
        assert not ledger.state_fetch.has_begun
        ledger._clock.now_s = theirs.clock.now_s
        ledger.import_block(blocks_above(theirs, PIVOT)[0])


def test_it_hands_the_state_on(worlds, tmp_path):
    theirs, ours = worlds
    for block in blocks_above(theirs, PIVOT):
        ours.ledger.import_block(block)
    for number in (PIVOT, 8):
        third = World.open(tmp_path / f"third {number}")
        with third.ledger as ledger:
            third.clock.now_s = theirs.clock.now_s
            take_over(ledger, ours.ledger, number)
            for block in blocks_above(theirs, number):
                ledger.import_block(block)
            assert ledger.head() == theirs.ledger.head()


def test_headers_below_the_pivot_are_there_and_what_was_in_the_blocks_is_not(worlds):
    theirs, ours = worlds
    below = theirs.ledger.blocks.canonical_block(3)
    with ours.ledger.view() as chain:
        assert [header.number for header in chain.headers(0, 9)] == list(range(PIVOT + 1))
        assert chain.header_by_number(3) == chain.header_by_hash(below.hash) == below.header
        assert chain.is_canonical(below.hash)
        assert chain.total_difficulty(below.hash) == theirs.ledger.blocks.total_difficulty(below.hash)
        assert chain.block_by_hash(below.hash) is None
        assert chain.block_by_hash(ours.ledger.genesis_hash).transactions == ()
        assert chain.find_transaction(below.transactions[0].hash) is None
        assert chain.receipts(ours.ledger.head().hash) is None
        assert encode_receipts(chain.receipts(below.hash)) == encode_receipts(theirs.ledger.blocks.receipts(below.hash))
        assert len(list(chain.blooms(1, 9))) == PIVOT
        with pytest.raises(StateUnavailable, match="no longer kept"):
            chain.state_at(PIVOT - 1)
        with pytest.raises(StateUnavailable, match="no longer kept"):
            chain.prove_account(CONTRACT, PIVOT - 1)


def test_a_missing_body_above_the_pivot_is_still_a_damaged_database(worlds):
    theirs, ours = worlds
    for block in blocks_above(theirs, PIVOT):
        ours.ledger.import_block(block)
    ours.ledger.database.connection.execute("DELETE FROM bodies WHERE id >> 16 = 8")
    assert ours.ledger.blocks.canonical_block(9) is not None
    with pytest.raises(RuntimeError, match="body of block 8 is missing"):
        ours.ledger.blocks.canonical_block(8)


def test_a_branch_that_leaves_below_the_pivot_is_refused(worlds, tmp_path):
    theirs, ours = worlds
    rival = World.open(tmp_path / "rival")
    with rival.ledger:
        for block in blocks_above(theirs, 0)[: PIVOT - 1]:
            rival.clock.now_s = theirs.clock.now_s
            rival.ledger.import_block(block)
        branch = rival.grow(3, transfers=0)
        ours.clock.now_s = rival.clock.now_s
        assert ours.ledger.import_block(branch[0]).status is ImportStatus.SIDE_BRANCH
        with pytest.raises(ReorganisationTooDeep):
            ours.ledger.import_block(branch[1])
        assert ours.ledger.head().number == PIVOT


def test_branches_above_the_pivot_are_weighed_as_always(worlds, tmp_path):
    theirs, ours = worlds
    rival = World.open(tmp_path / "rival")
    with rival.ledger:
        rival.clock.now_s = theirs.clock.now_s
        for block in blocks_above(theirs, 0)[:PIVOT]:
            rival.ledger.import_block(block)
        branch = rival.grow(5, transfers=0)
        for block in blocks_above(theirs, PIVOT):
            ours.ledger.import_block(block)
        ours.clock.now_s = rival.clock.now_s
        statuses = [ours.ledger.import_block(block).status for block in branch]
        assert ImportStatus.REORGANISED in statuses
        assert ours.ledger.head() == rival.ledger.head()


def test_past_states_are_proved_by_both(worlds):
    theirs, ours = worlds
    for block in blocks_above(theirs, PIVOT):
        ours.ledger.import_block(block)
    for number in range(PIVOT, 10):
        header = theirs.ledger.blocks.canonical_header(number)
        for world in worlds:
            with world.ledger.view() as chain:
                root = chain.storage_root(CONTRACT, number)
                leaf = proved_value(header.state_root, keccak256(CONTRACT), chain.prove_account(CONTRACT, number))
                assert leaf == account_value(chain.state_at(number).account(CONTRACT), root)
                for slot in (0, 1):
                    value = proved_value(root, slot_key(slot), chain.prove_slot(CONTRACT, slot, number))
                    assert value == storage_value(number - 1)


def test_an_archive_may_take_over_a_state_too(worlds, tmp_path):
    theirs, _ = worlds
    archive = World.open(tmp_path / "archive", archive=True)
    with archive.ledger as ledger:
        archive.clock.now_s = theirs.clock.now_s
        ledger.import_block(theirs.ledger.blocks.canonical_block(1))
        take_over(ledger, theirs.ledger, 4)
        for block in blocks_above(theirs, 4):
            ledger.import_block(block)
        with ledger.view() as chain:
            assert chain.block_by_hash(theirs.ledger.blocks.canonical_hash(1)) is not None
            assert chain.block_by_hash(theirs.ledger.blocks.canonical_hash(2)) is None
            assert chain.state_at(5).storage(CONTRACT, 0) == 4
            with pytest.raises(StateUnavailable):
                chain.state_at(3)


def test_a_ledger_of_validators_goes_on_with_certified_blocks(tmp_path):
    genesis = authority_genesis()
    theirs, ours = AuthorityWorld.open(tmp_path / "theirs", genesis), AuthorityWorld.open(tmp_path / "ours", genesis)
    with theirs.ledger, ours.ledger as ledger:
        made = theirs.grow(5, [theirs.transfer()])
        take_over(ledger, theirs.ledger, 3)
        assert ledger.validators_of_next() == theirs.ledger.validators_of_next()
        with ledger.view() as chain:
            assert [chain.certificate(block.hash) for block, _ in made[:4]] == [*[seals for _, seals in made[:3]], b""]
            assert chain.finalized_number() == 3
            assert chain.validators_of(4) == theirs.ledger.validators_of_next()
            with pytest.raises(StateUnavailable):
                chain.validators_of(3)
        checker = ledger.header_chain(ledger.head().hash)
        checker.add(made[3][0].header, made[3][1])
        with pytest.raises(InvalidBlock):
            ledger.import_block(made[3][0], made[2][1])
        for block, certificate in made[3:]:
            ledger.import_block(block, certificate)
        assert ledger.head() == theirs.ledger.head()
