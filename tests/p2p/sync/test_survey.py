"""Where blocks can be undone only so deep: nobody lures a node so far into a light chain that it cannot come back."""

import asyncio
from dataclasses import replace

import pytest

from chain.block import Block
from p2p import limits
from p2p.backend import ChainHead
from p2p.messages import GetHeaders, Headers, Message
from p2p.reputation import Offence
from p2p.sync.headers import CheckedHeader
from p2p.sync.outcome import BranchLeft
from p2p.sync.survey import Survey
from tests.p2p.memory_network import FakeChain
from tests.p2p.sync.fake_state import FakeTarget
from tests.p2p.sync.world import Peer, World, copy, grow, silence, world

CAP = 128


@pytest.fixture(scope="module")
def true() -> FakeChain:
    chain = FakeChain()
    grow(chain, 1_500)
    return chain


@pytest.fixture(scope="module")
def light() -> FakeChain:
    """Valid, long, and on its own from the first block on."""
    chain = FakeChain()
    grow(chain, 1_400, gas_used=1)
    return chain


def imported_of(here: World, chain: FakeChain) -> int:
    hashes = {block.hash for block in chain.canonical[1:]}
    return sum(block_hash in hashes for block_hash in here.chain.imports)


async def test_nothing_is_executed_of_a_long_chain_that_is_lighter_than_it_says(
    true: FakeChain, light: FakeChain
) -> None:
    async with world(FakeChain(CAP)) as here:
        liar, honest = await here.peer(copy(light), claims=10**30), await here.peer(copy(true))
        await here.reaches(true.best, 10)
        assert imported_of(here, light) == 0
        assert liar.offences == [Offence.STALLED_REQUEST]
        assert not honest.offences


async def test_who_says_it_has_few_blocks_gets_no_more_than_can_be_undone_executed(
    true: FakeChain, light: FakeChain
) -> None:
    async with world(FakeChain(CAP)) as here:
        liar = await here.peer(copy(light), claims=1)
        liar.talk.session.claimed_head = ChainHead(CAP, light.canonical[CAP].hash, 10**30)
        here.synchroniser.sync_with(liar.talk.session.node_id)
        await here.until(lambda: len(here.chain.imports) > 1)
        await here.peer(copy(true))
        await here.reaches(true.best, 60)
        assert imported_of(here, light) <= CAP


async def test_who_goes_another_way_the_second_time_is_left_at_once(true: FakeChain, light: FakeChain) -> None:
    async with world(FakeChain(CAP)) as here:
        liar = await here.peer(copy(true))
        seen = 0

        def turns(request: GetHeaders, honest: Headers) -> Message:
            nonlocal seen
            seen = max(seen, int(request.origin) if isinstance(request.origin, int) else 0)
            if seen > 1_300:
                liar.chain = light
            return honest

        liar.headers = turns
        await here.passes_s(2)
        assert seen > 1_300
        assert len(here.chain.imports) == 0
        liar.headers, liar.chain = None, true
        await here.reaches(true.best, limits.MAX_SYNC_REST_S)


async def test_a_lighter_chain_waits_while_another_peer_may_prove_a_heavier_one(
    true: FakeChain, light: FakeChain
) -> None:
    async with world(FakeChain(CAP)) as here:
        silent = await here.peer(copy(true), claims=10**30)
        silent.headers = silence
        await here.peer(copy(light))
        await here.passes_s(20)
        assert len(here.chain.imports) == 0
        await here.reaches(light.best, 120)
        assert silent.offences == [Offence.STALLED_REQUEST] * limits.MAX_IGNORED_FAILURES


@pytest.mark.parametrize("takes_state", [False, True])
async def test_a_heavier_chain_that_turns_up_in_time_is_the_one(
    true: FakeChain, light: FakeChain, takes_state: bool
) -> None:
    ours = FakeChain(CAP)
    target = FakeTarget(ours, true) if takes_state else None
    async with world(ours, target) as here:
        first = await here.peer(copy(light))
        joining: list[asyncio.Task[Peer]] = []

        def headers(request: GetHeaders, honest: Headers) -> Message:
            if request.origin == 1_153:
                joining.append(asyncio.create_task(here.peer(copy(true))))
            return honest

        first.headers = headers
        await here.reaches(true.best, 60)
        assert imported_of(here, light) == 0
        assert not first.offences
        assert not (await joining[0]).offences


async def test_the_same_holds_for_a_state(true: FakeChain, light: FakeChain) -> None:
    ours = FakeChain(CAP)
    target = FakeTarget(ours, true)
    async with world(ours, target) as here:
        liar = await here.peer(copy(light), claims=10**30)
        await here.peer(copy(true))
        await here.reaches(true.best, 60)
        assert liar.offences == [Offence.STALLED_REQUEST]
        assert [pivot.number for pivot in target.pivots] == [true.best.number - CAP]


async def test_with_final_blocks_nothing_is_seen_twice(true: FakeChain) -> None:
    async with world(FakeChain(0)) as here:
        peer = await here.peer(copy(true))
        await here.reaches(true.best)
        assert peer.asked_for(GetHeaders) == 1 + -(-1_500 // limits.MAX_REQUESTED_HEADERS)


def checked(block: Block) -> CheckedHeader:
    return CheckedHeader(block.header, b"", block.number + 1, b"")


def test_headers_are_proven_up_to_the_last_one_that_was_seen(true: FakeChain, light: FakeChain) -> None:
    headers = [checked(block) for block in true.canonical[1:1_001]]
    survey = Survey(true.head())
    for start in range(0, 1_000, 100):
        survey.add(headers[start : start + 100])
    assert survey.top == ChainHead(1_000, true.canonical[1_000].hash, 1_001)
    mark = limits.SURVEY_MARK_BLOCKS
    assert [survey.proven(headers[:count]) for count in (mark - 1, mark, mark + 5, 999, 1_000)] == [
        0, mark, mark, 960, 1_000,
    ]  # fmt: skip
    further = [*headers, checked(true.canonical[1_001])]
    assert survey.proven(further) == 1_001
    with pytest.raises(BranchLeft):
        survey.proven([checked(block) for block in light.canonical[1 : mark + 1]])
    with pytest.raises(BranchLeft):
        survey.proven([*headers[990:999], replace(headers[999], header=light.canonical[1_000].header)])
