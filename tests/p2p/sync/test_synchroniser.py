"""Catching up by replay: from the beginning, after a gap, over forks, and among peers that lag, lie and withhold."""

import asyncio
from dataclasses import replace

import pytest

from chain.block import Block, encode_body
from chain.importer import ImportStatus
from p2p import limits
from p2p.messages import Bodies, GetBodies, GetHeaders, Headers, Message
from p2p.reputation import Offence
from p2p.sync.progress import Phase, SyncProgress
from tests.p2p.memory_network import FakeChain, next_block, settle
from tests.p2p.sync.world import certified, copy, grow, silence, without_bodies, world


class SlowChain(FakeChain):
    """Imports nothing before it is allowed to."""

    def __init__(self) -> None:
        super().__init__()
        self.may_import = asyncio.Event()

    async def import_block(self, block: Block, certificate: bytes) -> ImportStatus:
        await self.may_import.wait()
        return await super().import_block(block, certificate)


@pytest.fixture(scope="module")
def long() -> FakeChain:
    """1,000 blocks."""
    chain = FakeChain()
    grow(chain, 1_000)
    return chain


async def test_a_new_node_gets_the_whole_chain_in_order(long: FakeChain) -> None:
    async with world() as here:
        seen: list[SyncProgress] = []
        here.synchroniser.board.subscribe(seen.append)
        await here.peer(copy(long))
        await here.reaches(long.best)
        await settle()
        assert here.chain.imports == [block.hash for block in long.canonical[1:]]
        assert here.synchroniser.board.progress.phase is Phase.NOTHING
        assert not here.synchroniser.is_syncing
        assert [one.phase for one in seen[:1]] == [Phase.HEADERS]
        assert max(one.current_block for one in seen) == max(one.highest_block for one in seen) == 1_000


async def test_the_work_is_shared_among_all_who_have_the_blocks(long: FakeChain) -> None:
    async with world() as here:
        peers = [await here.peer(copy(long)) for _ in range(4)]
        await here.reaches(long.best)
        shares = [peer.asked_for(GetBodies) for peer in peers]
        assert min(shares) >= 1
        assert not any(peer.offences for peer in peers)


async def test_a_node_goes_on_from_where_it_stands_and_asks_for_nothing_that_it_has(long: FakeChain) -> None:
    async with world(copy(long, 900)) as here:
        peer = await here.peer(copy(long))
        await here.reaches(long.best)
        assert len(here.chain.imports) == 100
        assert peer.asked_for(GetHeaders) == 2
        asked = [one for message in peer.asked if isinstance(message, GetBodies) for one in message.block_hashes]
        assert sorted(asked) == sorted(block.hash for block in long.canonical[901:] if block.transactions)


async def test_nobody_is_asked_when_nobody_is_ahead(long: FakeChain) -> None:
    async with world(copy(long)) as here:
        other = copy(long, 999)
        other.put(next_block(other.best, 7))
        peers = [await here.peer(copy(long)), await here.peer(other), await here.peer(copy(long, 500))]
        await here.passes_s(60)
        assert [peer.asked for peer in peers] == [[], [], []]


async def test_a_claim_that_stands_is_followed_though_nobody_was_named(long: FakeChain) -> None:
    async with world(copy(long, 990)) as here:
        peer = await here.peer(copy(long), claims=5)
        await here.passes_s(10)
        assert not peer.asked
        peer.talk.session.claimed_head = long.head()
        await here.reaches(long.best, 2 * limits.SYNC_LOOK_INTERVAL_S)


async def test_the_shorter_of_two_forks_comes_over_and_the_equal_one_stays(long: FakeChain) -> None:
    ours, theirs = copy(long, 950), copy(long, 900)
    grow(theirs, 60, gas_used=1)
    async with world(ours) as here:
        await here.peer(theirs)
        await here.reaches(theirs.best)
        assert len(here.chain.imports) == 60
        equal = copy(theirs, 950)
        grow(equal, 10, gas_used=2)
        peer = await here.peer(equal)
        here.synchroniser.sync_with(peer.talk.session.node_id)
        await here.passes_s(10)
        assert here.chain.best == theirs.best
        assert not peer.asked_for(GetBodies)
        assert not peer.offences


async def test_what_is_known_of_a_branch_is_not_fetched_again(long: FakeChain) -> None:
    ours, theirs = copy(long, 950), copy(long, 900)
    branch = grow(theirs, 60, every=1, gas_used=1)
    for block in branch[:45]:
        ours.put(block)
    async with world(ours) as here:
        peer = await here.peer(theirs)
        await here.reaches(theirs.best)
        assert len(here.chain.imports) == 15
        assert peer.asked_for(GetBodies) == 1


async def test_a_branch_that_leaves_below_what_is_final_is_left_alone(long: FakeChain) -> None:
    ours, theirs = copy(long, 400), copy(long, 200)
    grow(theirs, 400, gas_used=1)
    async with world(ours) as here:
        peer = await here.peer(theirs)
        await here.passes_s(30)
        assert here.chain.best == ours.canonical[400]
        assert not peer.offences
        assert peer.asked_for(GetHeaders) <= 10


async def test_with_final_blocks_one_question_tells_two_chains_apart(long: FakeChain) -> None:
    ours, theirs = copy(long, 400), copy(long, 399)
    ours.reorganisation_cap = 0
    grow(theirs, 10, gas_used=1)
    async with world(ours) as here:
        peer = await here.peer(theirs)
        await settle()
        assert peer.asked_for(GetHeaders) == 1
        assert not peer.asked_for(GetBodies)


async def test_whoever_shows_another_header_than_that_asked_for_is_on_no_chain_at_all(long: FakeChain) -> None:
    async with world(copy(long, 500)) as here:
        liar = await here.peer(copy(long))
        wrong = certified(long.canonical[7])
        liar.headers = lambda request, honest: replace(honest, headers=(wrong,)) if request.count == 1 else honest
        await settle()
        assert liar.offences == [Offence.WRONG_ANSWER]
        assert here.chain.best == long.canonical[500]


# ---- hostile and lame peers ----------------------------------------------------------------------------------------


async def test_a_false_header_costs_its_sender_the_session_and_the_rest_comes_from_another(long: FakeChain) -> None:
    here_chain = FakeChain()
    here_chain.invalid_headers.add(long.canonical[300].hash)
    forged = copy(long, 299)
    grow(forged, 800, gas_used=3)
    here_chain.invalid_headers.add(forged.canonical[300].hash)
    here_chain.invalid_headers.discard(long.canonical[300].hash)
    async with world(here_chain) as here:
        liar, honest = await here.peer(forged), await here.peer(copy(long))
        await here.reaches(long.best, 5)
        assert liar.offences == [Offence.INVALID_BLOCK]
        assert liar.talk.running.done()
        assert not honest.offences


async def test_a_chain_that_is_claimed_and_not_shown_is_believed_no_more(long: FakeChain) -> None:
    async with world() as here:
        liar, honest = await here.peer(copy(long, 200), claims=10**30), await here.peer(copy(long))
        await here.reaches(long.best, 5)
        assert liar.offences == [Offence.STALLED_REQUEST]
        assert liar.talk.session.claimed_head.number == 200
        assert not honest.offences


async def test_a_peer_whose_chain_grows_meanwhile_has_claimed_nothing_false(long: FakeChain) -> None:
    async with world() as here:
        growing = await here.peer(copy(long, 900))

        def grows(request: GetBodies, honest: Bodies) -> Message:
            growing.chain.put(long.canonical[growing.chain.best.number + 1])
            growing.talk.session.claimed_head = growing.chain.head()
            return honest

        growing.bodies = grows
        await here.until(lambda: here.chain.best.number >= 900)
        assert growing.chain.best.number > 900
        assert not growing.offences
        await here.reaches(growing.chain.best, 15)
        assert not growing.offences


@pytest.mark.parametrize("lie", ["silent", "nothing", "backwards", "unlinked", "another number", "garbage"])
async def test_whoever_answers_for_headers_with_nonsense_gives_way_to_others(long: FakeChain, lie: str) -> None:
    def headers(request: GetHeaders, honest: Headers) -> Message | None:
        if request.count == 1:
            return honest
        if lie == "silent":
            return None
        answers = {
            "nothing": (),
            "backwards": honest.headers[::-1],
            "unlinked": honest.headers[:10] + honest.headers[11:],
            "another number": tuple([certified(block) for block in long.canonical[500:510]]),
            "garbage": tuple([replace(one, header=b"\xc1") for one in honest.headers]),
        }
        return replace(honest, headers=answers[lie])

    async with world() as here:
        liar = await here.peer(copy(long), claims=10**30)
        liar.headers = headers
        await here.peer(copy(long))
        await here.reaches(long.best, 120)
        assert liar.offences


async def test_a_peer_that_dribbles_headers_does_not_hold_up_the_node(long: FakeChain) -> None:
    async with world() as here:
        liar = await here.peer(copy(long), claims=10**30)
        liar.headers = lambda request, honest: replace(honest, headers=honest.headers[:1])
        honest = await here.peer(copy(long))
        assert await here.reaches(long.best, 10) <= 5
        assert honest.asked_for(GetBodies)


async def test_headers_without_end_are_taken_no_faster_than_their_blocks(long: FakeChain) -> None:
    endless = FakeChain()
    grow(endless, 6_000)
    async with world(FakeChain(reorganisation_cap=0)) as here:
        peer = await here.peer(endless)
        peer.bodies = silence
        await here.passes_s(5)
        assert peer.asked_for(GetHeaders) <= limits.MAX_HEADERS_AHEAD // limits.MAX_REQUESTED_HEADERS + 3


async def test_a_slow_peers_share_goes_to_another(long: FakeChain) -> None:
    async with world() as here:
        slow, honest = await here.peer(copy(long)), await here.peer(copy(long))
        slow.bodies = silence
        took_s = await here.reaches(long.best, 60)
        assert took_s <= 2 * limits.LATE_SHARE_S
        assert honest.asked_for(GetBodies)


async def test_many_silent_peers_cannot_keep_the_honest_one_from_being_asked(long: FakeChain) -> None:
    async with world() as here:
        for _ in range(7):
            (await here.peer(copy(long))).bodies = silence
        await here.peer(copy(long))
        assert await here.reaches(long.best, 120) <= 4 * limits.LATE_SHARE_S


@pytest.mark.parametrize("lie", ["another body", "garbage", "empty list", "nothing", "empty", "too many", "one by one"])
async def test_whoever_answers_for_bodies_with_nonsense_gives_way_to_others(long: FakeChain, lie: str) -> None:
    def bodies(request: GetBodies, honest: Bodies) -> Message | None:
        count = len(request.block_hashes)
        answers = {
            "another body": honest.bodies[1:] + honest.bodies[:1],
            "garbage": (b"\xc3\x01\x02",) * count,
            "empty list": (b"\xc0",) * count,
            "nothing": (),
            "empty": (b"",) * count,
            "too many": (honest.bodies + honest.bodies)[: min(128, count + 1)],
            "one by one": honest.bodies[:1],
        }
        return replace(honest, bodies=answers[lie])

    async with world() as here:
        liar = await here.peer(copy(long))
        liar.bodies = bodies
        honest = await here.peer(copy(long))
        await here.reaches(long.best, 60)
        innocent = {"nothing", "empty", "one by one"}
        assert bool(liar.offences) == (lie not in innocent)
        assert not honest.offences
        assert liar.asked_for(GetBodies) <= 4 or lie == "one by one"


async def test_answers_that_hold_less_than_was_asked_for_are_gone_on_with(long: FakeChain) -> None:
    async with world() as here:
        peer = await here.peer(copy(long))
        peer.bodies = lambda request, honest: replace(honest, bodies=honest.bodies[:20])
        await here.reaches(long.best)
        assert not peer.offences
        asked = [one for message in peer.asked if isinstance(message, GetBodies) for one in message.block_hashes]
        assert len(set(asked)) == 500


async def test_bodies_run_ahead_of_the_import_only_so_far(long: FakeChain, monkeypatch: pytest.MonkeyPatch) -> None:
    size = len(encode_body(long.canonical[2].transactions))
    monkeypatch.setattr(limits, "MAX_WAITING_BODY_BYTES", 20 * size)
    monkeypatch.setattr(limits, "USUAL_BODY_BYTES", size)
    monkeypatch.setattr(limits, "SHARE_BYTES", 4 * size)
    ours = SlowChain()
    async with world(ours) as here:
        peer = await here.peer(copy(long))
        await settle()
        fetched = sum(len(one.block_hashes) for one in peer.asked if isinstance(one, GetBodies))
        assert 10 <= fetched <= 24
        ours.may_import.set()
        await here.reaches(long.best)


async def test_a_peer_that_leaves_in_the_middle_is_replaced(long: FakeChain) -> None:
    async with world() as here:
        leaving, _ = await here.peer(copy(long)), await here.peer(copy(long))

        def hang_up(request: GetHeaders, honest: Headers) -> Message | None:
            if request.origin != 0 and isinstance(request.origin, int) and request.origin > 300:
                leaving.talk.peer.abort()
                return None
            return honest

        leaving.headers = hang_up
        await here.reaches(long.best, 10)


async def test_a_block_that_turns_out_invalid_costs_the_sender_of_its_header(long: FakeChain) -> None:
    bad = copy(long, 500)
    grow(bad, 600, gas_used=9)
    ours = FakeChain()
    ours.invalid.add(bad.canonical[511].hash)
    async with world(ours) as here:
        liar, honest = await here.peer(bad), await here.peer(copy(long))
        await here.until(lambda: bool(liar.offences), 10)
        assert liar.offences == [Offence.INVALID_BLOCK]
        await here.reaches(long.best, 300)
        assert not honest.offences


async def test_where_nobody_has_the_bodies_the_round_ends_and_goes_on_when_somebody_comes(long: FakeChain) -> None:
    async with world() as here:
        barren = await here.peer(copy(long))
        barren.bodies = without_bodies
        await here.passes_s(30)
        assert not barren.offences
        assert barren.asked_for(GetBodies) < 20
        assert here.synchroniser.board.progress.phase is Phase.NOTHING
        await here.peer(copy(long))
        await here.reaches(long.best, limits.MAX_SYNC_REST_S)


async def test_a_block_of_tomorrow_is_nobodys_fault(long: FakeChain) -> None:
    ours = FakeChain()
    ours.future.add(long.canonical[800].hash)
    async with world(ours) as here:
        peer = await here.peer(copy(long))
        await here.reaches(long.canonical[799])
        ours.future.clear()
        await here.reaches(long.best, 3 * limits.SYNC_LOOK_INTERVAL_S)
        assert not peer.offences
