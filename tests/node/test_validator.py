"""The loop that carries the QBFT machine: votes before messages, what it makes of foreign bytes, and only watching."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from chain.builder import DEFAULT_BUILD_TIME_LIMIT_S, BlockBuilder, BuilderSettings
from chain.consensus.qbft.events import NewHead, Vote
from chain.consensus.qbft.messages import Commit, decode_message, encode_message
from chain.consensus.qbft.signing import Authenticator, Domain, KeySigner
from chain.consensus.qbft.validators import ValidatorSet
from chain.ledger import Ledger
from chain.pool.pool import TransactionPool
from node.inbox import MAX_WAITING_OF_PEER
from node.service import LedgerService
from node.validator import HINT_INTERVAL_S, LOOK_WHILE_BEHIND_S, Ballot, ValidatorLoop, build_time_limit_s
from p2p.consensus_gossip import Judgement
from p2p.identity import NodeId
from primitives.clock import ManualClock
from tests.chain.ledger_world import CHAIN_ID
from tests.chain.qbft.authority_world import PERIOD_S, SIGNERS, VALIDATORS, AuthorityWorld, authority_genesis


class Votes:
    """In memory; can fail as a full disk does."""

    def __init__(self, log: list[str]) -> None:
        self.fails = False
        self._log = log

    def load(self) -> tuple[Vote, ...]:
        return ()

    def save(self, votes: Sequence[Vote]) -> None:
        if self.fails:
            raise OSError("no space left on device")
        self._log.extend(f"saved {vote.kind.name}" for vote in votes)


class Outlet:
    """Writes down what goes out, in the same log as the votes."""

    def __init__(self, log: list[str]) -> None:
        self.validators: list[frozenset[bytes]] = []
        self.sent = asyncio.Event()
        self._log = log

    def set_validators(self, validators: frozenset[bytes]) -> None:
        self.validators.append(validators)

    def broadcast(self, data: bytes) -> None:
        self._log.append(f"sent {type(decode_message(data)).__name__.upper()}")
        self.sent.set()

    def send(self, validator: bytes, data: bytes) -> None:
        self.broadcast(data)

    def show_head(self, validator: bytes, number: int, block_hash: bytes) -> None: ...


class NobodyToSyncWith:
    def __init__(self) -> None:
        self.is_syncing = False

    def sync_with(self, node_id: NodeId) -> None: ...


class World:
    """One node of a qbft chain, and the loop on it."""

    def __init__(self, chain: AuthorityWorld, service: LedgerService, signer: KeySigner | None) -> None:
        self.log: list[str] = []
        self.votes, self.outlet = Votes(self.log), Outlet(self.log)
        self.chain, self.service, self.clock = chain, service, chain.clock
        ballot = None if signer is None else Ballot(signer, self.votes)
        self.synchroniser = NobodyToSyncWith()
        self.loop = ValidatorLoop(
            service, chain.ledger, ballot, self.outlet, self.synchroniser, chain.clock, chain.clock
        )
        self.authenticator = Authenticator(Domain(CHAIN_ID, chain.ledger.genesis_hash))

    def commit(self, signer: KeySigner, height: int, round_: int = 0) -> bytes:
        return encode_message(self.authenticator.signed(Commit(height, round_, bytes(32)), signer))


@asynccontextmanager
async def world(
    folder: Path, validators: Sequence[bytes] = VALIDATORS, signer: KeySigner | None = None
) -> AsyncIterator[World]:
    chain = AuthorityWorld.open(folder, authority_genesis(validators))
    ledger = chain.ledger
    pool = TransactionPool(ledger.config, ledger.latest_accounts, ledger.head(), chain.clock)
    coinbase = BuilderSettings(signer.address if signer is not None else bytes(20))
    builder = BlockBuilder(ledger.config, ledger.engine, chain.clock, ledger.blocks, ledger.state, coinbase)
    with ledger:
        async with LedgerService(ledger, pool, builder) as service:
            yield World(chain, service, signer)


async def pass_time(clock: ManualClock, done: asyncio.Event) -> None:
    """Let the clock run until something has happened."""
    async with asyncio.timeout(20):
        while not done.is_set():
            clock.advance_s(PERIOD_S)
            await asyncio.sleep(0.005)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - the doings of other threads, which no event tells
            await asyncio.sleep(0.005)


async def test_a_validator_alone_makes_blocks_and_saves_each_vote_before_it_is_sent(tmp_path: Path) -> None:
    async with world(tmp_path, [SIGNERS[0].address], SIGNERS[0]) as one:
        third = asyncio.Event()
        one.service.on_import(lambda result: third.set() if result.head.number == 3 else None)
        running = asyncio.create_task(one.loop.run())
        await pass_time(one.clock, third)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        assert one.loop.is_validator
        with one.chain.ledger.view() as view:
            header = view.header_by_number(3)
            assert header is not None
            assert header.coinbase == SIGNERS[0].address
            assert view.certificate(header.hash)
    sent = [line for line in one.log if line.startswith("sent")]
    assert {"sent PROPOSAL", "sent PREPARE", "sent COMMIT"} <= set(sent)
    for line in set(sent):
        assert one.log.index(line.replace("sent", "saved")) < one.log.index(line)


async def test_where_votes_cannot_be_written_nothing_is_sent_and_the_node_ends(tmp_path: Path) -> None:
    async with world(tmp_path, [SIGNERS[0].address], SIGNERS[0]) as one:
        one.votes.fails = True
        ended = asyncio.Event()
        running = asyncio.create_task(one.loop.run())
        running.add_done_callback(lambda _: ended.set())
        await pass_time(one.clock, ended)
        (failure,) = await asyncio.gather(running, return_exceptions=True)
        assert isinstance(failure, BaseExceptionGroup)
        assert failure.subgroup(OSError) is not None
    assert one.log == []


async def test_what_is_made_of_messages(tmp_path: Path) -> None:
    async with world(tmp_path, signer=SIGNERS[0]) as one:

        def take(data: bytes) -> Judgement:
            return one.loop.take(data, VALIDATORS[1])

        assert take(b"") is Judgement.INVALID
        assert take(one.commit(SIGNERS[1], 1)[:-1]) is Judgement.INVALID
        assert take(encode_message(Commit(1, 0, bytes(32), bytes(65)))) is Judgement.INVALID
        assert take(one.commit(SIGNERS[5], 1)) is Judgement.USELESS  # a stranger's
        assert take(one.commit(SIGNERS[1], 1)) is Judgement.RELEVANT
        assert take(one.commit(SIGNERS[1], 2)) is Judgement.RELEVANT
        assert take(one.commit(SIGNERS[1], 3)) is Judgement.USELESS
        assert take(one.commit(SIGNERS[1], 0)) is Judgement.USELESS


async def test_whoever_floods_crowds_out_nobody_else(tmp_path: Path) -> None:
    async with world(tmp_path, signer=SIGNERS[0]) as one:
        stranger = SIGNERS[6].address
        for round_ in range(MAX_WAITING_OF_PEER + 10):
            one.loop.take(one.commit(SIGNERS[1], 1, round_), stranger)
        assert len(one.loop._inbox) == MAX_WAITING_OF_PEER
        one.loop.take(one.commit(SIGNERS[2], 1), VALIDATORS[2])
        assert len(one.loop._inbox) == MAX_WAITING_OF_PEER + 1


async def test_of_other_heights_a_validator_is_heard_once_in_a_while(tmp_path: Path) -> None:
    """Or whoever recorded old messages could keep the chain thread busy with them."""
    async with world(tmp_path, signer=SIGNERS[0]) as one:
        for round_ in range(10):
            one.loop.take(one.commit(SIGNERS[1], 0, round_), VALIDATORS[1])
        assert len(one.loop._inbox) == 1
        one.loop.take(one.commit(SIGNERS[1], 9), VALIDATORS[1])
        one.loop.take(one.commit(SIGNERS[2], 0), VALIDATORS[1])
        assert len(one.loop._inbox) == 3
        one.clock.advance_s(HINT_INTERVAL_S)
        one.loop.take(one.commit(SIGNERS[1], 0, 77), VALIDATORS[1])
        assert len(one.loop._inbox) == 4


async def test_a_node_without_a_ballot_watches_and_follows_the_validators(tmp_path: Path) -> None:
    async with world(tmp_path) as one:
        running = asyncio.create_task(one.loop.run())
        block = one.chain.build()
        await one.service.import_block(block, one.chain.certificate(block))
        assert one.loop.take(one.commit(SIGNERS[1], 2), VALIDATORS[1]) is Judgement.RELEVANT
        await asyncio.sleep(0)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        assert not one.loop.is_validator
        assert one.outlet.validators == [frozenset(VALIDATORS)]
        assert one.log == []


async def test_while_a_node_catches_up_its_machine_hears_of_the_head_now_and_then(tmp_path: Path) -> None:
    async with world(tmp_path) as one:
        heights: list[int] = []
        begin = one.loop._new_head

        def new_head(ledger: Ledger, validators: ValidatorSet) -> NewHead:
            heights.append((head := begin(ledger, validators)).number)
            return head

        one.loop._new_head = new_head  # type: ignore[method-assign]
        running = asyncio.create_task(one.loop.run())
        await until(lambda: heights == [0])
        one.synchroniser.is_syncing = True
        for _ in range(3):
            block = one.chain.build()
            await one.service.import_block(block, one.chain.certificate(block))
        await one.service.write(lambda _: None)  # whatever was to be done on the chain thread is done
        assert heights == [0]
        one.clock.advance_s(LOOK_WHILE_BEHIND_S)
        await until(lambda: heights == [0, 3])
        one.synchroniser.is_syncing = False
        block = one.chain.build()
        await one.service.import_block(block, one.chain.certificate(block))
        await until(lambda: heights == [0, 3, 4])
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def test_a_block_is_built_in_a_part_of_the_first_round() -> None:
    assert build_time_limit_s(2_000) == 0.5
    assert build_time_limit_s(100) == 0.025
    assert build_time_limit_s(60_000) == DEFAULT_BUILD_TIME_LIMIT_S
