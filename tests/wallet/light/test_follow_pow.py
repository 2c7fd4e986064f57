"""Following a chain of proof of work: the heaviest one, whose work is real, through forks of any depth."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from chain.consensus.difficulty import MAX_TARGET
from chain.consensus.proof_of_work import pow_value, seal_here
from chain.header_rules import BlockFromFuture
from chain.ledger import Ledger
from primitives.clock import ManualClock
from primitives.errors import InvalidBlock
from tests.chain.ledger_world import START_S, World, world_genesis
from tests.wallet.light.light_world import Home, LightNode, ScriptedSource, mined_chain
from wallet.light import follower
from wallet.light.branch import KEPT_HEADERS
from wallet.light.follower import MAX_SETTLED_FORK, DeepFork, OtherChain, Standing
from wallet.light.source import MAX_HEADERS, SealedHeader

OTHER_MINER = b"\xee" * 20


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path, world_genesis(), ManualClock(START_S + 10**7))


def chain_of(home: Home, count: int, fork: Sequence[SealedHeader] = (), **how: object) -> list[SealedHeader]:
    base = list(fork) or [SealedHeader(home.store.genesis)]
    return mined_chain(base, count, home.trust.config, **how)  # type: ignore[arg-type]


async def test_a_real_ledger_is_followed_through_a_reorganisation(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    genesis, clock, late = world_genesis(), ManualClock(START_S), ManualClock(START_S + 10**6)
    with Ledger.open(tmp_path / "a", genesis, late) as ledger, Ledger.open(tmp_path / "b", genesis, late) as other:
        worlds = [World(ledger, clock), World(other, clock, coinbase=OTHER_MINER)]
        home = Home(tmp_path, genesis, late)
        one = home.follower(lambda fork, headers: told.append((fork, len(headers))))
        for block in worlds[0].grow(4):
            other.import_block(block)
        node = LightNode(ledger, late)
        await one.follow(node.source)
        worlds[0].grow(2)
        await one.follow(node.source)
        for block in worlds[1].grow(3, transfers=0):
            ledger.import_block(block)
        assert await one.follow(node.source) is Standing.FOLLOWED
        assert home.head == ledger.head() == other.head()
        assert home.store.record().proved.total_difficulty == ledger.total_difficulty()
        assert told == [(0, 4), (4, 2), (4, 3)]
        assert home.store.header(5) == ledger.blocks.canonical_header(5)


async def test_the_heavier_branch_counts_whoever_tells_of_it(home: Home) -> None:
    trunk = chain_of(home, 20)
    short = chain_of(home, 2, trunk)
    long = chain_of(home, 3, trunk, coinbase=OTHER_MINER)
    for first, second in ((short, long), (long, short)):
        home.store.reset()
        standings = [await home.follower().follow(ScriptedSource(chain)) for chain in (first, second)]
        assert home.head == long[-1].header
        assert standings[1] is (Standing.FOLLOWED if second is long else Standing.BEHIND)


async def test_of_two_equal_branches_the_first_seen_stays(home: Home) -> None:
    trunk = chain_of(home, 3)
    branches = [chain_of(home, 2, trunk), chain_of(home, 2, trunk, coinbase=OTHER_MINER)]
    for branch in branches:
        await home.follower().follow(ScriptedSource(branch))
    assert home.head == branches[0][-1].header


async def test_a_shorter_branch_may_be_heavier(tmp_path: Path) -> None:
    """asert lets blocks that follow fast weigh more: work is summed, blocks are not counted."""
    home = Home(tmp_path, world_genesis(difficulty="asert", blockTimeSeconds=600), ManualClock(START_S + 10**7))
    trunk = chain_of(home, 60, spacing_s=60)
    slow = chain_of(home, 40, trunk, spacing_s=6_000)
    fast = chain_of(home, 30, trunk, spacing_s=1, coinbase=OTHER_MINER)
    total = [sum(one.header.difficulty for one in chain) for chain in (slow, fast)]
    assert total[0] < total[1]
    await home.follower().follow(ScriptedSource(slow))
    assert await home.follower().follow(ScriptedSource(fast)) is Standing.FOLLOWED
    assert home.head == fast[-1].header
    assert home.store.record().proved.total_difficulty == total[1]
    assert home.store.header(95) is None
    assert await home.follower().follow(ScriptedSource(slow)) is Standing.BEHIND


@pytest.mark.parametrize("depth", [1, 100, MAX_SETTLED_FORK])
async def test_difficulty_is_measured_from_the_branchs_own_anchor(tmp_path: Path, depth: int) -> None:
    home = Home(tmp_path, world_genesis(difficulty="asert", blockTimeSeconds=60), ManualClock(START_S + 10**7))
    trunk = chain_of(home, 300, spacing_s=50)
    ours = chain_of(home, depth, trunk, spacing_s=70)
    theirs = chain_of(home, depth + 1, trunk, spacing_s=40, coinbase=OTHER_MINER)
    await home.follower().follow(ScriptedSource(ours))
    home.store.mark(START_S, is_settled=True)
    home.store.close()
    again = Home(tmp_path, home.trust.genesis, home.clock)
    assert await again.follower().follow(ScriptedSource(theirs)) is Standing.FOLLOWED
    assert again.head == theirs[-1].header


async def test_a_deep_fork_is_followed_until_all_nodes_were_compared_and_not_later(home: Home) -> None:
    poor = chain_of(home, KEPT_HEADERS + 200)
    rich = chain_of(home, KEPT_HEADERS + 400, coinbase=OTHER_MINER)
    assert await home.follower().follow(ScriptedSource(poor)) is Standing.FOLLOWED
    home.store.mark(START_S, is_settled=True)
    with pytest.raises(DeepFork, match=r"light sync --again"):
        await home.follower().follow(ScriptedSource(rich))
    assert home.head == poor[-1].header

    home.store.reset()
    for chain in (poor, rich):
        assert await home.follower().follow(ScriptedSource(chain)) is Standing.FOLLOWED
    assert home.head == rich[-1].header
    assert await home.follower().follow(ScriptedSource(poor)) is Standing.BEHIND
    kept = [number for number in range(len(rich)) if home.store.header(number) is not None]
    assert kept == [0, *range(len(rich) - KEPT_HEADERS, len(rich))]


async def test_a_fork_below_what_is_settled_is_refused_however_heavy(home: Home) -> None:
    trunk = chain_of(home, 20)
    ours = chain_of(home, MAX_SETTLED_FORK + 1, trunk)
    await home.follower().follow(ScriptedSource(ours))
    home.store.mark(START_S, is_settled=True)
    theirs = chain_of(home, MAX_SETTLED_FORK + 50, trunk, coinbase=OTHER_MINER)
    with pytest.raises(DeepFork):
        await home.follower().follow(ScriptedSource(theirs))
    near = chain_of(home, MAX_SETTLED_FORK + 1, ours[:22], coinbase=OTHER_MINER)
    assert await home.follower().follow(ScriptedSource(near)) is Standing.FOLLOWED


async def test_work_must_be_there(home: Home) -> None:
    trunk = chain_of(home, 5)
    honest = chain_of(home, 1, trunk)[-1].header
    bare = replace(honest, mix_hash=bytes(32), _hash=None)
    easy = replace(honest, difficulty=2**200, mix_hash=pow_value(honest.seal_hash, honest.nonce), _hash=None)
    copied = replace(honest, timestamp_s=honest.timestamp_s + 1, _hash=None)
    for wrong in (bare, easy, copied, seal_here(replace(honest, base_fee_per_gas=1, _hash=None))):
        with pytest.raises(InvalidBlock):
            await home.follower().follow(ScriptedSource([*trunk, SealedHeader(wrong)]))
    # What was proved below is kept: every header proves itself.
    assert home.head == trunk[-1].header
    with pytest.raises(InvalidBlock, match="comes with a certificate"):
        await home.follower().follow(ScriptedSource([*trunk, SealedHeader(honest, b"\x01")]))


async def test_a_claim_of_more_difficulty_than_there_is_work_for(tmp_path: Path) -> None:
    home = Home(tmp_path, world_genesis(difficulty="asert"), ManualClock(START_S + 10**7))
    trunk = chain_of(home, 3)
    header = chain_of(home, 1, trunk)[-1].header
    for difficulty in (header.difficulty + 1, MAX_TARGET):
        wrong = replace(header, difficulty=difficulty, _hash=None)
        with pytest.raises(InvalidBlock, match="difficulty"):
            await home.follower().follow(ScriptedSource([*trunk, SealedHeader(wrong)]))


async def test_headers_from_the_future_wait(home: Home) -> None:
    chain = chain_of(home, 10)
    home.clock.now_s = chain[6].header.timestamp_s - 15
    with pytest.raises(BlockFromFuture):
        await home.follower().follow(ScriptedSource(chain))
    assert home.head.number == 6
    home.clock.now_s = chain[6].header.timestamp_s + 60
    assert await home.follower().follow(ScriptedSource(chain)) is Standing.FOLLOWED


async def test_another_genesis_is_another_chain(home: Home) -> None:
    other = mined_chain([SealedHeader(replace(home.store.genesis, extra_data=b"x", _hash=None))], 5, home.trust.config)
    for known in (0, 3):
        await home.follower().follow(ScriptedSource(chain_of(home, known)))
        with pytest.raises(OtherChain):
            await home.follower().follow(ScriptedSource(other))


class Restless(ScriptedSource):
    """Reorganises between two answers."""

    def __init__(self, chains: Sequence[Sequence[SealedHeader]], turn_at: Callable[[int], bool]) -> None:
        super().__init__(chains[0])
        self._later = list(chains[1:])
        self._turn_at = turn_at

    async def headers(self, first: int, count: int) -> list[SealedHeader]:
        if self._later and self._turn_at(first):
            self.chain = list(self._later.pop(0))
        return await super().headers(first, count)


async def test_a_node_may_reorganise_while_it_is_read(home: Home) -> None:
    trunk = chain_of(home, MAX_HEADERS - 5)
    before = chain_of(home, MAX_HEADERS, trunk)
    after = chain_of(home, MAX_HEADERS + 1, trunk, coinbase=OTHER_MINER)
    source = Restless([before, after], lambda first: first > MAX_HEADERS - 2)
    assert await home.follower().follow(source) is Standing.FOLLOWED
    assert home.head == after[-1].header


async def test_a_node_that_never_rests_is_given_up(home: Home) -> None:
    trunk = chain_of(home, MAX_HEADERS - 5)
    miners = [bytes([index]) * 20 for index in range(1, 9)]
    chains = [chain_of(home, MAX_HEADERS + index, trunk, coinbase=miner) for index, miner in enumerate(miners)]
    with pytest.raises(InvalidBlock, match="changes faster"):
        await home.follower().follow(Restless(chains, lambda first: first >= MAX_HEADERS))


async def test_while_catching_up_little_is_written(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follower, "STORE_EVERY", 3 * MAX_HEADERS)
    told: list[tuple[int, int]] = []
    chain = chain_of(home, 7 * MAX_HEADERS)
    await home.follower(lambda fork, headers: told.append((fork, len(headers)))).follow(ScriptedSource(chain))
    # The first answer repeats the genesis header, so that a fourth one is needed.
    written = 4 * MAX_HEADERS - 1
    assert told == [(0, KEPT_HEADERS), (written, KEPT_HEADERS), (written + 3 * MAX_HEADERS, 1)]
    assert home.head == chain[-1].header


async def test_two_commands_may_follow_at_a_time(home: Home) -> None:
    chain = chain_of(home, 30)
    longer = chain_of(home, 5, chain)
    other = Home(home.folder, home.trust.genesis, home.clock)
    source = ScriptedSource(chain)
    honest = source.headers

    async def meanwhile(first: int, count: int) -> list[SealedHeader]:
        source.headers = honest  # type: ignore[method-assign]
        await other.follower().follow(ScriptedSource(longer))
        return await honest(first, count)

    source.headers = meanwhile  # type: ignore[method-assign]
    assert await home.follower().follow(source) is Standing.BEHIND
    assert home.head == longer[-1].header == other.head
