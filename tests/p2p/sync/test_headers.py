"""Headers that change validators: their receipts come from whoever has them, and are what the header commits to."""

from dataclasses import replace

import pytest

from chain.receipt import Receipt, encode_receipts
from p2p import limits
from p2p.messages import GetBodies, GetReceipts, Receipts
from p2p.reputation import Offence
from p2p.sync.headers import HeaderSource
from p2p.sync.outcome import RoundEnded
from p2p.sync.receipts import MAX_ITEMS, decode_foreign_receipts
from primitives import rlp
from primitives.errors import InvalidBlock
from tests.p2p.memory_network import FakeChain
from tests.p2p.sync.world import copy, grow, silence, world
from vm.host import Log


@pytest.fixture
def chain() -> FakeChain:
    made = FakeChain()
    grow(made, 400)
    return made


def lacks(request: GetReceipts, honest: Receipts) -> Receipts:
    return replace(honest, receipts=(b"",))


async def test_receipts_are_fetched_where_validators_may_change_and_only_there(chain: FakeChain) -> None:
    ours = FakeChain(reorganisation_cap=0)
    ours.changes_validators = {chain.canonical[number].hash for number in (5, 192, 193, 400)}
    async with world(ours) as here:
        peer = await here.peer(copy(chain))
        await here.reaches(chain.best)
        asked = [one.block_hashes for one in peer.asked if isinstance(one, GetReceipts)]
        assert asked == [(chain.canonical[number].hash,) for number in (5, 192, 193, 400)]


async def test_whoever_lacks_receipts_is_not_to_blame_and_others_are_asked(chain: FakeChain) -> None:
    ours = FakeChain(reorganisation_cap=0)
    ours.changes_validators = {chain.canonical[100].hash}
    async with world(ours) as here:
        first, second = await here.peer(copy(chain)), await here.peer(copy(chain))
        first.receipts = lacks
        await here.reaches(chain.best)
        assert (first.asked_for(GetReceipts), second.asked_for(GetReceipts)) == (1, 1)
        assert not first.offences


@pytest.mark.parametrize("lie", [b"\xc1\xc0", b"\x01", encode_receipts([Receipt(0, True, 1, (), 1)]), b"\xff" * 50])
async def test_false_receipts_cost_their_sender_and_others_are_asked(chain: FakeChain, lie: bytes) -> None:
    ours = FakeChain(reorganisation_cap=0)
    ours.changes_validators = {chain.canonical[100].hash}
    async with world(ours) as here:
        liar, honest = await here.peer(copy(chain)), await here.peer(copy(chain))
        liar.receipts = lambda request, true: replace(true, receipts=(lie,))
        await here.reaches(chain.best)
        assert liar.offences == [Offence.WRONG_ANSWER]
        assert not honest.offences


async def test_where_nobody_has_the_receipts_the_node_gets_as_far_as_it_can_and_tries_again(chain: FakeChain) -> None:
    ours = FakeChain(reorganisation_cap=0)
    ours.changes_validators = {chain.canonical[250].hash}
    async with world(ours) as here:
        lacking, silent = await here.peer(copy(chain)), await here.peer(copy(chain))
        lacking.receipts, silent.receipts = lacks, silence
        await here.reaches(chain.canonical[249], 60)
        await here.passes_s(60)
        assert here.chain.best == chain.canonical[249]
        lacking.receipts = None
        await here.reaches(chain.best, 2 * limits.MAX_SYNC_REST_S)
        assert lacking.asked_for(GetBodies)
        assert not lacking.offences


async def test_many_who_are_silent_about_receipts_do_not_hold_up_the_node_for_long(chain: FakeChain) -> None:
    ours = FakeChain(reorganisation_cap=0)
    ours.changes_validators = {chain.canonical[number].hash for number in range(100, 105)}
    async with world(ours) as here:
        for _ in range(6):
            (await here.peer(copy(chain))).receipts = silence
        await here.peer(copy(chain))
        took_s = await here.reaches(chain.best, 100)
        assert took_s <= 10 * limits.LATE_PIECES_S


async def test_a_slow_peer_is_asked_for_headers_after_the_others(chain: FakeChain) -> None:
    async with world(FakeChain(reorganisation_cap=0)) as here:
        slow = await here.peer(copy(chain), claims=500)
        peer = here.synchroniser._peers.get(slow.talk.session.node_id)
        assert peer is not None
        peer.is_slow = True
        quick = await here.peer(copy(chain))
        best = here.synchroniser._peers.best_ahead(0)
        assert best is not None
        assert best.session is quick.talk.session


async def test_headers_go_on_after_missing_receipts_without_a_gap(chain: FakeChain) -> None:
    """As taking over a state needs it, which keeps what was checked over rounds."""
    ours = FakeChain(reorganisation_cap=0)
    ours.changes_validators = {chain.canonical[number].hash for number in (1, 100, 192)}
    async with world(ours) as here:
        lacking = await here.peer(copy(chain), claims=1)
        lacking.receipts = lacks
        peers = here.synchroniser._peers
        peer = peers.get(lacking.talk.session.node_id)
        assert peer is not None
        checker = await ours.header_checker(ours.best.hash)
        source = HeaderSource(ours, peers, here.clock, peer, ours.head(), checker)
        given: list[int] = []
        while True:
            try:
                batch = await source.next()
            except RoundEnded:
                await source.close()
                lacking.receipts = None if lacking.receipts else lacks
                source.look_again(peer)
                continue
            if not batch:
                break
            given += [checked.header.number for checked in batch]
        assert given == list(range(1, 401))


async def test_where_a_peer_fails_another_goes_on_from_the_last_good_header(chain: FakeChain) -> None:
    ours = FakeChain(reorganisation_cap=0)
    ours.invalid_headers = {chain.canonical[300].hash}
    async with world(ours) as here:
        liar, honest = await here.peer(copy(chain), claims=1), await here.peer(copy(chain, 100))
        honest.talk.session.claimed_head = chain.head()
        peers = here.synchroniser._peers
        first, second = list(peers)
        source = HeaderSource(ours, peers, here.clock, first, ours.head(), await ours.header_checker(ours.best.hash))
        given = [*await source.next(), *await source.next()]
        assert [checked.header.number for checked in given] == list(range(1, 300))
        assert liar.offences == [Offence.INVALID_BLOCK]
        ours.invalid_headers.clear()
        honest.chain = copy(chain)
        given += await source.next()
        assert given[-1].header == chain.best.header
        assert given[-1].sender == honest.talk.session.node_id
        assert source.peer is second


async def test_headers_of_tomorrow_are_taken_when_their_time_has_come(chain: FakeChain) -> None:
    ours = FakeChain(reorganisation_cap=0)
    ours.future = {chain.canonical[150].hash}
    async with world(ours) as here:
        served = await here.peer(copy(chain), claims=1)
        peers = here.synchroniser._peers
        (peer,) = peers
        source = HeaderSource(ours, peers, here.clock, peer, ours.head(), await ours.header_checker(ours.best.hash))
        given = [*await source.next()]
        assert not await source.next()
        ours.future.clear()
        source.look_again()
        while batch := await source.next():
            given += batch
        assert [checked.header.number for checked in given] == list(range(1, 401))
        assert source.broken_claim is None
        assert not served.offences


def test_what_the_root_does_not_commit_to_is_not_believed() -> None:
    log = Log(bytes(20), (bytes(32),), b"data")
    true = [Receipt(0, True, 50, (log,), 50), Receipt(2, False, 80, (), 30)]
    told = [Receipt(0, True, 50, (log,), 7, b"\1" * 20, 99), Receipt(2, False, 80, (), 8, b"\2" * 20, 98)]
    assert decode_foreign_receipts(encode_receipts(told)) == true


@pytest.mark.parametrize(
    "encoded",
    [
        b"",
        b"\xc0" * 2,
        rlp.encode([b"receipt"]),
        rlp.encode([[b"\x80", b"", b"", b"", b"", b"", []]]),
        rlp.encode([[b"", b"", b"", b"", b"", b"", [[b""]]]]),
        rlp.list_prefix(MAX_ITEMS + 1) + b"\xc0" * (MAX_ITEMS + 1),
    ],
    ids=["nothing", "two items", "no receipt", "type", "log", "a million lists"],
)
def test_receipts_that_are_none_are_refused(encoded: bytes) -> None:
    with pytest.raises(InvalidBlock):
        decode_foreign_receipts(encoded)
