"""Following a qbft chain: what a quorum sealed is believed, and nothing that liars make of headers and receipts."""

from dataclasses import replace
from pathlib import Path

import pytest

from chain.consensus.qbft.certificate import InvalidCertificate
from chain.consensus.qbft.validator_contract import VALIDATORS_CHANGED
from chain.consensus.qbft.validators import ValidatorSet
from chain.genesis import parse_genesis
from chain.header import Header
from chain.importer import receipts_root
from chain.receipt import EMPTY_BLOOM, Receipt, merge_blooms
from contracts.binding import load_artifact
from contracts.genesis import genesis_alloc
from primitives import abi
from primitives.clock import ManualClock
from primitives.errors import InvalidBlock
from tests.chain.ledger_world import ADDRESSES, KEYS, START_S, signed
from tests.chain.qbft.authority_world import (
    CONTRACT,
    SIGNERS,
    VALIDATORS,
    AuthorityWorld,
    authority_document,
    authority_genesis,
    overridden,
)
from tests.wallet.light.light_world import Home, LightNode, ScriptedSource, child, seal, sealed_chain
from vm.host import Log
from wallet.light.branch import KEPT_HEADERS
from wallet.light.follower import OtherChain, ReceiptsMissing, SealedTwice, Standing
from wallet.light.source import MAX_HEADERS, SealedHeader

NOBODY = b"\x99" * 20
HONEST, LIARS = SIGNERS[:4], SIGNERS[4:8]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path, authority_genesis(), ManualClock(START_S + 100_000))


def announcement(validators: list[bytes], contract: bytes = CONTRACT) -> Receipt:
    """The receipt of a transaction by which the validators become these."""
    return Receipt(2, True, 50_000, (Log(contract, (VALIDATORS_CHANGED,), abi.encode(["address[]"], [validators])),), 0)


def announcing(parent: Header, receipts: list[Receipt], **changes: object) -> Header:
    """A block with these receipts."""
    return child(
        parent, receipts_root=receipts_root(receipts), logs_bloom=merge_blooms(receipts), gas_used=50_000, **changes
    )


class ReceiptSource(ScriptedSource):
    """A scripted node that has receipts as well."""

    def __init__(self, headers: list[SealedHeader], receipts: dict[bytes, list[Receipt]]) -> None:
        super().__init__(headers)
        self.receipts_by_hash = receipts
        self.receipts_asked: list[bytes] = []

    async def receipts(self, block_hash: bytes) -> list[Receipt] | None:
        self.receipts_asked.append(block_hash)
        return self.receipts_by_hash.get(block_hash)


async def test_a_real_ledger_is_followed_to_its_head_and_on(tmp_path: Path) -> None:
    with (world := AuthorityWorld.open(tmp_path / "node")).ledger:
        home = Home(tmp_path, authority_genesis(), world.clock)
        assert home.store.genesis == world.ledger.blocks.canonical_header(0)
        node = LightNode(world.ledger, world.clock)
        for _ in range(2):
            world.grow(3, [world.transfer()])
            assert await home.follower().follow(node.source) is Standing.FOLLOWED
            assert home.head == world.ledger.head()
        record = home.store.record()
        assert record.proved.total_difficulty == world.ledger.total_difficulty()
        assert record.proved.validators == world.ledger.validators_of_next() == record.proved.sealed_by


async def test_what_was_proved_outlasts_the_client(home: Home) -> None:
    chain = sealed_chain(home.store.genesis, 5)
    await home.follower().follow(ScriptedSource(chain[:4]))
    home.store.close()
    again = Home(home.folder, authority_genesis(), home.clock)
    assert again.head == chain[3].header
    source = ScriptedSource(chain)
    assert await again.follower().follow(source) is Standing.FOLLOWED
    assert source.asked == [3]
    assert again.head == chain[5].header


async def test_seals_of_the_last_header_prove_those_below(home: Home) -> None:
    chain = sealed_chain(home.store.genesis, 500, every=10_000)
    # Of each answer the last header is looked at; here only the chain's own last one is sealed.
    with pytest.raises(InvalidCertificate):
        await home.follower().follow(ScriptedSource(chain))
    assert home.head.number == 0

    ends = (MAX_HEADERS - 1, 2 * MAX_HEADERS - 1, 500)
    for number in ends:
        header = chain[number].header
        chain[number] = SealedHeader(header, seal(header, home.store.genesis.hash))
    assert await home.follower().follow(ScriptedSource(chain)) is Standing.FOLLOWED
    assert home.head == chain[500].header


async def test_only_the_newest_headers_are_kept(home: Home) -> None:
    told: list[int] = []
    chain = sealed_chain(home.store.genesis, KEPT_HEADERS + 300, every=MAX_HEADERS)
    for index in range(MAX_HEADERS - 1, len(chain), MAX_HEADERS):
        header = chain[index].header
        chain[index] = SealedHeader(header, seal(header, home.store.genesis.hash))
    follower = home.follower(lambda fork, headers: told.append(len(headers)))
    await follower.follow(ScriptedSource(chain))
    assert told == [KEPT_HEADERS]
    kept = [number for number in range(len(chain)) if home.store.header(number) is not None]
    assert kept == [0, *range(301, KEPT_HEADERS + 301)]


@pytest.mark.parametrize("signers", [[], HONEST[:2], LIARS[:3], [*HONEST[:2], LIARS[0]]])
async def test_seals_of_too_few_or_of_others_prove_nothing(home: Home, signers: list[object]) -> None:
    chain = sealed_chain(home.store.genesis, 3)
    header = child(chain[3].header)
    chain.append(SealedHeader(header, seal(header, home.store.genesis.hash, signers)))  # type: ignore[arg-type]
    with pytest.raises(InvalidBlock):
        await home.follower().follow(ScriptedSource(chain))
    assert home.head.number == 0


async def test_headers_must_be_linked_and_keep_the_rules(home: Home) -> None:
    genesis = home.store.genesis
    good = sealed_chain(genesis, 4)
    for changes in (
        {"parent_hash": bytes(32)},
        {"timestamp_s": good[1].header.timestamp_s + 1},
        {"gas_limit": 2 * genesis.gas_limit},
        {"difficulty": 2},
        {"coinbase": LIARS[0].address},
        {"base_fee_per_gas": 1},
    ):
        wrong = child(good[1].header, **changes)
        above = child(wrong)
        chain = [*good[:2], SealedHeader(wrong), SealedHeader(above, seal(above, genesis.hash))]
        with pytest.raises(InvalidBlock):
            await home.follower().follow(ScriptedSource(chain))
        assert home.head.number == 0


async def test_a_change_of_validators_is_followed(home: Home) -> None:
    genesis = home.store.genesis
    news = [*[signer.address for signer in HONEST[1:]], LIARS[0].address, LIARS[1].address]
    receipts = [announcement(VALIDATORS[:3]), announcement(news)]
    chain = sealed_chain(genesis, 3)
    change = announcing(chain[3].header, receipts)
    chain.append(SealedHeader(change, seal(change, genesis.hash)))
    after = child(change, coinbase=HONEST[1].address)
    chain.append(SealedHeader(after, seal(after, genesis.hash, [*HONEST[1:], LIARS[0]])))
    source = ReceiptSource(chain, {change.hash: receipts})
    assert await home.follower().follow(source) is Standing.FOLLOWED
    assert source.receipts_asked == [change.hash]
    proved = home.store.record().proved
    assert proved.head == chain[-1]
    assert proved.validators == proved.sealed_by == ValidatorSet.of(news)

    # The old quorum seals nothing any more.
    late = child(after)
    with pytest.raises(InvalidBlock):
        await home.follower().follow(ScriptedSource([*chain, SealedHeader(late, seal(late, genesis.hash))]))


async def test_votes_in_the_real_contract_are_followed(tmp_path: Path) -> None:
    document = authority_document(VALIDATORS[:1])
    document["alloc"] |= genesis_alloc(NOBODY, validators=VALIDATORS[:1])
    genesis, contract = parse_genesis(document), load_artifact("Validators")
    with (world := AuthorityWorld.open(tmp_path / "node", genesis)).ledger:
        home = Home(tmp_path, genesis, world.clock)
        node = LightNode(world.ledger, world.clock)
        members = VALIDATORS[:1]
        for candidate in VALIDATORS[1:3]:
            world.grow(2)
            for voter in members[: len(members) // 2 + 1]:
                data = contract.abi.encode_call("voteToAdd", [candidate])
                nonce = len(members) - 1 if voter == members[0] else 0  # the first one has voted on each before
                key = KEYS[ADDRESSES.index(voter)]
                world.grow(1, [signed(key, nonce=nonce, to=CONTRACT, data=data, gas_limit=1_000_000)])
            members = [*members, candidate]
            assert world.ledger.validators_of_next() == ValidatorSet.of(members)
        world.grow(3)
        assert await home.follower().follow(node.source) is Standing.FOLLOWED
        assert home.head == world.ledger.head()
        assert home.store.record().proved.validators == ValidatorSet.of(members)
        asked = [parameters[0] for method, parameters in node.asked if method == "debug_getRawReceipts"]
        assert asked == ["0x" + (world.ledger.blocks.canonical_hash(number) or b"").hex() for number in (3, 7)]


async def test_a_forged_change_of_validators_does_not_get_through(home: Home) -> None:
    """Whoever makes a block that names liars as validators lacks the seals on that very block, whatever seals its own
    validators put on later ones."""
    genesis = home.store.genesis
    receipts = [announcement([signer.address for signer in LIARS])]
    for seals in ([], LIARS[:3], LIARS, HONEST[:2]):
        chain = sealed_chain(genesis, 2)
        forged = announcing(chain[2].header, receipts)
        chain.append(SealedHeader(forged, seal(forged, genesis.hash, seals)))
        for _ in range(3):
            header = child(chain[-1].header, coinbase=LIARS[0].address)
            chain.append(SealedHeader(header, seal(header, genesis.hash, LIARS)))
        source = ReceiptSource(chain, {forged.hash: receipts})
        with pytest.raises(InvalidBlock):
            await home.follower().follow(source)
        assert source.receipts_asked == []
        assert home.head.number == 0


async def test_a_forged_change_that_hides_from_the_bloom_changes_nothing(home: Home) -> None:
    genesis = home.store.genesis
    receipts = [announcement([signer.address for signer in LIARS])]
    chain = sealed_chain(genesis, 2)
    forged = announcing(chain[2].header, receipts)
    hidden = replace(forged, logs_bloom=EMPTY_BLOOM, _hash=None)
    chain.append(SealedHeader(hidden, seal(hidden, genesis.hash, LIARS)))
    header = child(hidden, coinbase=LIARS[0].address)
    chain.append(SealedHeader(header, seal(header, genesis.hash, LIARS)))
    with pytest.raises(InvalidBlock):
        await home.follower().follow(ReceiptSource(chain, {hidden.hash: receipts}))
    assert home.head.number == 0


async def test_receipts_must_be_those_of_the_block(home: Home) -> None:
    genesis = home.store.genesis
    honest, forged = [announcement(VALIDATORS)], [announcement([signer.address for signer in LIARS])]
    chain = sealed_chain(genesis, 2)
    change = announcing(chain[2].header, honest)
    chain.append(SealedHeader(change, seal(change, genesis.hash)))
    for given in ([], forged, [*honest, *forged]):
        with pytest.raises(InvalidBlock, match="not the receipts"):
            await home.follower().follow(ReceiptSource(chain, {change.hash: given}))
    with pytest.raises(ReceiptsMissing, match="receipts of block 3"):
        await home.follower().follow(ReceiptSource(chain, {}))
    assert home.head.number == 0
    await home.follower().follow(ReceiptSource(chain, {change.hash: honest}))
    assert home.head == change


async def test_events_of_other_contracts_change_nothing(home: Home) -> None:
    genesis = home.store.genesis
    receipts = [announcement([signer.address for signer in LIARS], contract=b"\x77" * 20), announcement(VALIDATORS)]
    chain = sealed_chain(genesis, 1)
    change = announcing(chain[1].header, receipts[:1])
    chain.append(SealedHeader(change, seal(change, genesis.hash)))
    source = ReceiptSource(chain, {change.hash: receipts[:1]})
    await home.follower().follow(source)
    assert source.receipts_asked == []
    assert home.store.record().proved.validators == ValidatorSet.of(VALIDATORS)


async def test_an_override_of_validators_is_followed(tmp_path: Path) -> None:
    rescue = [signer.address for signer in LIARS[:3]]
    genesis = overridden(authority_genesis(), (4, rescue))
    home = Home(tmp_path, genesis, ManualClock(START_S + 1_000))
    chain, named = sealed_chain(home.store.genesis, 3), genesis.config.validator_overrides
    for number in (4, 5):
        header = child(chain[-1].header, coinbase=LIARS[0].address)
        chain.append(SealedHeader(header, seal(header, home.store.genesis.hash, LIARS[:2], overrides=named)))
        assert header.number == number
    await home.follower().follow(ScriptedSource(chain))
    assert home.head == chain[-1].header
    home.store.close()

    # Without the override, what was proved with it does not count.
    plain = Home(tmp_path, authority_genesis(), home.clock)
    assert plain.head.number == 0
    with pytest.raises(InvalidBlock):
        await plain.follower().follow(ScriptedSource(chain))
    # With one for a block to come, it does.
    await plain.follower().follow(ScriptedSource(chain[:3]))
    plain.store.close()
    assert Home(tmp_path, overridden(authority_genesis(), (4, rescue)), home.clock).head.number == 2


async def test_those_who_are_overridden_vouch_for_their_own_headers(tmp_path: Path) -> None:
    rescue = [signer.address for signer in LIARS[:3]]
    home = Home(tmp_path, overridden(authority_genesis(), (4, rescue)), ManualClock(START_S))
    chain = sealed_chain(home.store.genesis, 2)
    chain.append(SealedHeader(child(chain[2].header)))
    header = child(chain[3].header, coinbase=LIARS[0].address)
    named = home.trust.config.validator_overrides
    chain.append(SealedHeader(header, seal(header, home.store.genesis.hash, LIARS[:2], overrides=named)))
    with pytest.raises(InvalidBlock):
        await home.follower().follow(ScriptedSource(chain))
    chain[3] = SealedHeader(chain[3].header, seal(chain[3].header, home.store.genesis.hash))
    await home.follower().follow(ScriptedSource(chain))
    assert home.head.number == 4


async def test_a_node_that_knows_less_changes_nothing(home: Home) -> None:
    chain = sealed_chain(home.store.genesis, 6)
    await home.follower().follow(ScriptedSource(chain))
    for known in (6, 3, 1):
        assert await home.follower().follow(ScriptedSource(chain[:known])) is Standing.BEHIND
    assert home.head == chain[6].header


async def test_another_chain_is_told_apart(home: Home) -> None:
    other = sealed_chain(replace(home.store.genesis, extra_data=b"other", _hash=None), 2)
    for source in (ScriptedSource(other), ScriptedSource(other[:1])):
        with pytest.raises(OtherChain):
            await home.follower().follow(source)


async def test_another_block_in_place_of_a_final_one_is_a_lie(home: Home) -> None:
    chain = sealed_chain(home.store.genesis, 4)
    await home.follower().follow(ScriptedSource(chain))
    for length in (5, 3, 7):
        other = sealed_chain(replace(home.store.genesis, _hash=None), 1)
        while len(other) < length:
            header = child(other[-1].header, timestamp_s=other[-1].header.timestamp_s + 9)
            other.append(SealedHeader(header, seal(header, home.store.genesis.hash, LIARS[:3])))
        with pytest.raises(InvalidBlock, match="is not the one that is final"):
            await home.follower().follow(ScriptedSource(other))
    assert home.head == chain[4].header


async def test_two_final_blocks_are_an_alarm(home: Home) -> None:
    chain = sealed_chain(home.store.genesis, 4)
    await home.follower().follow(ScriptedSource(chain))
    twin = child(chain[3].header, timestamp_s=chain[4].header.timestamp_s + 1)
    other = [*chain[:4], SealedHeader(twin, seal(twin, home.store.genesis.hash, HONEST[1:]))]
    with pytest.raises(SealedTwice, match="at least 2 of the 4 validators sealed both"):
        await home.follower().follow(ScriptedSource(other))


async def test_sealed_headers_count_whatever_this_computers_clock_says(home: Home) -> None:
    chain = sealed_chain(home.store.genesis, 10)
    home.clock.now_s = 0
    assert await home.follower().follow(ScriptedSource(chain)) is Standing.FOLLOWED
    assert home.head.number == 10


async def test_what_was_proved_before_a_lie_is_kept(home: Home) -> None:
    chain = sealed_chain(home.store.genesis, MAX_HEADERS + 20)
    wrong = child(chain[-1].header, gas_limit=1)
    with pytest.raises(InvalidBlock):
        await home.follower().follow(ScriptedSource([*chain, SealedHeader(wrong, b"")]))
    assert home.head.number == MAX_HEADERS - 1


async def test_headers_that_are_promised_and_not_given(home: Home) -> None:
    source = ScriptedSource(sealed_chain(home.store.genesis, 3))

    async def boast() -> int:
        return 10**9

    source.head_number = boast  # type: ignore[method-assign]
    assert await home.follower().follow(source) is Standing.FOLLOWED
    source.chain = source.chain[:2]
    with pytest.raises(InvalidBlock, match="does not hand out block 3"):
        await home.follower().follow(source)
