"""Taking over a state: from whom, of which block, what comes after, and what hostile peers achieve."""

from dataclasses import replace

import pytest

from p2p import limits
from p2p.messages import Codes, GetCodes, GetHeaders, GetStatePieces, Message, StatePieces
from p2p.reputation import Offence
from p2p.sync.progress import Phase, SyncProgress
from primitives.errors import InvalidBlock
from tests.p2p.memory_network import FakeChain, settle
from tests.p2p.sync.fake_state import FakeTarget
from tests.p2p.sync.world import copy, grow, silence, world

LENGTH = 1_500
PIVOT = LENGTH - limits.PIVOT_DISTANCE_BLOCKS


@pytest.fixture(scope="module")
def long() -> FakeChain:
    chain = FakeChain()
    grow(chain, LENGTH)
    return chain


@pytest.fixture
def ours() -> FakeChain:
    """A new node on a chain whose blocks are final at once."""
    return FakeChain(reorganisation_cap=0)


async def test_a_new_node_takes_over_a_state_and_executes_what_is_above_it(long: FakeChain, ours: FakeChain) -> None:
    target = FakeTarget(ours, long)
    async with world(ours, target) as here:
        seen: list[SyncProgress] = []
        here.synchroniser.board.subscribe(seen.append)
        peers = [await here.peer(copy(long)) for _ in range(3)]
        await here.reaches(long.best)
        assert [pivot.number for pivot in target.pivots] == [PIVOT]
        assert here.chain.imports == [block.hash for block in long.canonical[PIVOT + 1 :]]
        assert sorted(target.kept) == list(range(1, LENGTH + 1))
        assert all(peer.asked_for(GetStatePieces) for peer in peers)
        assert not any(peer.offences for peer in peers)
        await settle()
        phases = [one.phase for one in seen]
        assert phases.index(Phase.HEADERS) < phases.index(Phase.STATE) < phases.index(Phase.BLOCKS)
        assert max(one.pieces for one in seen) == 1 + 16 + 256


async def test_with_proof_of_work_the_pivot_lies_where_nothing_can_undo_it(long: FakeChain, ours: FakeChain) -> None:
    target = FakeTarget(ours, long)
    ours.reorganisation_cap = 128
    async with world(ours, target) as here:
        await here.peer(copy(long))
        await here.reaches(long.best)
        assert target.pivots[0].number == LENGTH - 128


async def test_a_short_chain_and_an_old_node_execute_everything(long: FakeChain, ours: FakeChain) -> None:
    for begun, length in ((0, limits.MIN_BLOCKS_TO_SKIP), (1, LENGTH)):
        ours = copy(long, begun)
        target = FakeTarget(ours, long)
        async with world(ours, target) as here:
            peer = await here.peer(copy(long, length))
            await here.reaches(long.canonical[length])
            assert not target.pivots
            assert not peer.asked_for(GetStatePieces)


async def test_an_operator_may_ask_for_everything(long: FakeChain, ours: FakeChain) -> None:
    target = FakeTarget(ours, long)
    async with world(ours, target, is_full=True) as here:
        await here.peer(copy(long))
        await here.reaches(long.best)
        assert not target.pivots


async def test_a_chain_that_is_only_claimed_to_be_long_is_executed(long: FakeChain, ours: FakeChain) -> None:
    target = FakeTarget(ours, long)
    async with world(ours, target) as here:
        await here.peer(copy(long, 500), claims=10_000)
        await here.reaches(long.canonical[500], 10)
        assert not target.pivots


async def test_the_pivot_moves_on_when_nobody_keeps_the_state_any_more(long: FakeChain, ours: FakeChain) -> None:
    truth = copy(long)
    target = FakeTarget(ours, truth)
    async with world(ours, target) as here:
        peer = await here.peer(truth)
        answered = 0

        def forgets(request: GetStatePieces, honest: StatePieces) -> Message:
            nonlocal answered
            answered += 1
            if answered == 5:
                grow(truth, 300)
                peer.talk.session.claimed_head = truth.head()
            return (
                honest if answered < 5 or (truth.best.number > LENGTH and honest.pieces) else replace(honest, pieces=())
            )

        peer.pieces = forgets
        await here.until(lambda: here.chain.best.number == LENGTH + 300, 60)
        assert [pivot.number for pivot in target.pivots] == [PIVOT, PIVOT + 300]
        assert len(here.chain.imports) == limits.PIVOT_DISTANCE_BLOCKS


async def test_where_nobody_serves_a_state_everything_is_executed(
    long: FakeChain, ours: FakeChain, caplog: pytest.LogCaptureFixture
) -> None:
    target = FakeTarget(ours, long)
    async with world(ours, target) as here:
        peer = await here.peer(copy(long))
        peer.keeps_states = 0
        await here.reaches(long.best, 2 * limits.STATE_PATIENCE_S)
        assert "no connected peer serves the state" in caplog.text
        assert peer.asked_for(GetStatePieces) <= 4
        assert not peer.offences


async def test_a_peer_that_joins_in_time_saves_the_work(long: FakeChain, ours: FakeChain) -> None:
    target = FakeTarget(ours, long)
    async with world(ours, target) as here:
        (await here.peer(copy(long))).keeps_states = 0
        await here.passes_s(limits.STATE_PATIENCE_S - 5)
        await here.peer(copy(long))
        await here.reaches(long.best, 5)
        assert len(here.chain.imports) == limits.PIVOT_DISTANCE_BLOCKS


async def test_what_was_fetched_stays_when_everybody_leaves_and_headers_are_not_checked_again(
    long: FakeChain, ours: FakeChain
) -> None:
    target = FakeTarget(ours, long)
    async with world(ours, target) as here:
        leaving = await here.peer(copy(long))

        def leave(request: GetStatePieces, honest: StatePieces) -> Message | None:
            if leaving.asked_for(GetStatePieces) < 6:
                return honest
            leaving.talk.peer.abort()
            return None

        leaving.pieces = leave
        await here.until(lambda: leaving.talk.running.done())
        had = len(target.pieces)
        assert had > 1
        await here.passes_s(120)
        assert len(target.pieces) == had
        other = await here.peer(copy(long))
        await here.reaches(long.best, limits.MAX_SYNC_REST_S)
        assert other.asked_for(GetHeaders) <= 4
        assert not target.abandoned


async def test_a_restarted_node_goes_on_with_the_state_it_had_begun(long: FakeChain, ours: FakeChain) -> None:
    target = FakeTarget(ours, long)
    async with world(ours, target) as here:
        peer = await here.peer(copy(long))
        peer.pieces = lambda request, honest: honest if len(target.pieces) < 200 else None
        await here.until(lambda: len(target.pieces) >= 200)
        await here.passes_s(limits.STATE_SHARE_INTERVAL_S)
        assert here.synchroniser.board.progress.state_share == len(target.pieces) / (1 + 16 + 256)
    async with world(ours, target) as again:
        assert target.has_begun()
        assert again.synchroniser.is_syncing
        short = await again.peer(copy(long, 300))
        await again.passes_s(10)
        assert again.chain.best.number == 0
        assert not short.offences
        other = await again.peer(copy(long))
        await again.reaches(long.best, 10)
        assert other.asked_for(GetStatePieces) < 10
        assert not target.abandoned


async def test_an_operator_who_changes_his_mind_begins_anew(long: FakeChain, ours: FakeChain) -> None:
    target = FakeTarget(ours, long)
    async with world(ours, target) as here:
        peer = await here.peer(copy(long))
        peer.pieces = lambda request, honest: honest if len(target.pieces) < 100 else None
        await here.until(lambda: len(target.pieces) >= 100)
    async with world(ours, target, is_full=True) as again:
        await again.peer(copy(long))
        await again.reaches(long.best, 10)
        assert target.abandoned == 1


async def test_a_ledger_that_came_further_by_itself_drops_the_state(long: FakeChain, ours: FakeChain) -> None:
    target = FakeTarget(ours, long)
    target.refusal = InvalidBlock("the ledger has come as far meanwhile")
    async with world(ours, target) as here:
        await here.peer(copy(long))
        await here.until(lambda: target.abandoned == 1)
        assert here.chain.best.number == 0
        target.refusal = None
        await here.reaches(long.best, limits.MAX_SYNC_REST_S)
        assert len(here.chain.imports) == limits.PIVOT_DISTANCE_BLOCKS


# ---- hostile and lame peers ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("lie", ["garbage", "another place", "nothing there", "silence", "not kept", "one by one"])
async def test_whoever_answers_for_pieces_with_nonsense_gives_way_to_others(
    long: FakeChain, ours: FakeChain, lie: str
) -> None:
    def pieces(request: GetStatePieces, honest: StatePieces) -> Message | None:
        answers = {
            "garbage": tuple([piece + b"?" for piece in honest.pieces]),
            "another place": (*honest.pieces[1:], b"node"),
            "nothing there": (b"",) * len(request.places),
            "not kept": (),
            "one by one": honest.pieces[:1],
        }
        return None if lie == "silence" else replace(honest, pieces=answers[lie])

    target = FakeTarget(ours, long)
    async with world(ours, target) as here:
        liar = await here.peer(copy(long))
        liar.pieces = pieces
        honest = await here.peer(copy(long))
        await here.reaches(long.best, 60)
        assert len(target.pivots) == 1
        assert not honest.offences
        if lie in ("garbage", "another place", "nothing there"):
            assert set(liar.offences) == {Offence.WRONG_ANSWER}
        elif lie != "silence":
            assert not liar.offences


@pytest.mark.parametrize("lie", ["garbage", "nothing", "silence"])
async def test_whoever_answers_for_codes_with_nonsense_gives_way_to_others(
    long: FakeChain, ours: FakeChain, lie: str
) -> None:
    def codes(request: GetCodes, honest: Codes) -> Message | None:
        if lie == "silence":
            return None
        return replace(honest, codes=(b"wrong" if lie == "garbage" else b"",) * len(request.code_hashes))

    target = FakeTarget(ours, long)
    async with world(ours, target) as here:
        liars = [await here.peer(copy(long)) for _ in range(2)]
        for liar in liars:
            liar.codes = codes
        await here.peer(copy(long))
        await here.reaches(long.best, 60)
        assert len(target.pivots) == 1
        if lie == "garbage":
            assert any(Offence.WRONG_ANSWER in liar.offences for liar in liars)


async def test_silent_peers_cannot_keep_the_honest_one_from_being_asked(long: FakeChain, ours: FakeChain) -> None:
    target = FakeTarget(ours, long)
    async with world(ours, target) as here:
        for _ in range(6):
            (await here.peer(copy(long))).pieces = silence
        honest = await here.peer(copy(long))
        assert await here.reaches(long.best, 120) <= 60
        assert honest.asked_for(GetStatePieces)


async def test_headers_of_another_branch_begin_anew(long: FakeChain, ours: FakeChain) -> None:
    """The chain was reorganised while the state came: what was checked of it leads nowhere."""
    truth = copy(long)
    target = FakeTarget(ours, truth)
    ours.reorganisation_cap = 128
    async with world(ours, target) as here:
        peer = await here.peer(truth)

        def reorganised(request: GetStatePieces, honest: StatePieces) -> Message | None:
            if truth.best.number == LENGTH and len(target.pieces) > 50:
                del truth.canonical[LENGTH - 49 :]
                grow(truth, 400, gas_used=4)
                peer.talk.session.claimed_head = truth.head()
            return honest if len(target.pieces) <= 50 or len(target.pivots) > 1 else replace(honest, pieces=())

        peer.pieces = reorganised
        await here.until(lambda: here.chain.best.number == LENGTH + 350, 120)
        assert here.chain.best == truth.best
        assert target.pivots[-1].number == LENGTH + 350 - 128


async def test_where_nobody_serves_states_of_a_chain_that_grows_everything_is_executed(
    long: FakeChain, ours: FakeChain
) -> None:
    truth = copy(long)
    target = FakeTarget(ours, truth)
    async with world(ours, target) as here:
        peer = await here.peer(truth)
        peer.keeps_states = 0
        for _ in range(2 * limits.MAX_VAIN_PIVOTS):
            await here.passes_s(limits.STATE_PATIENCE_S)
            grow(truth, 1)
            peer.talk.session.claimed_head = truth.head()
        await here.reaches(truth.best, 4 * limits.SYNC_LOOK_INTERVAL_S)
        assert len(target.pivots) <= limits.MAX_VAIN_PIVOTS + 1, "codes came with the first one"
