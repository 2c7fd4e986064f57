"""Proof of authority at work: carries events to the QBFT machine and its outputs to disk, network, builder and chain.

The machine lives on the chain thread, because it has proposals executed; votes are written there too, before anything
that depends on them happens. Everything else, timers and messages, is the event loop's. A node whose key is no
validator's runs the same loop: its machine follows the chain in silence until its key is voted in.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

from chain.block import Block
from chain.builder import DEFAULT_BUILD_TIME_LIMIT_S
from chain.consensus.qbft.engine import domain_of
from chain.consensus.qbft.events import (
    Behind,
    BlockBuilt,
    Broadcast,
    CancelTimer,
    Decided,
    Equivocation,
    Event,
    NewHead,
    Output,
    OwnKeyElsewhere,
    PeerBehind,
    Persist,
    Rejected,
    RequestProposal,
    Send,
    SetTimer,
    Settings,
    Timer,
    TimerFired,
    TimerKind,
    TransactionsPending,
)
from chain.consensus.qbft.machine import QbftMachine
from chain.consensus.qbft.messages import (
    InvalidConsensusMessage,
    Message,
    claim,
    decode_message,
    encode_message,
    kind_of,
)
from chain.consensus.qbft.proposals import LedgerProposals
from chain.consensus.qbft.signing import (
    Authenticator,
    Recover,
    Signer,
    recover_signer,
)
from chain.consensus.qbft.validators import ValidatorSet
from chain.consensus.qbft.vote_store import VoteStore
from chain.importer import ImportResult
from chain.ledger import Ledger
from chain.transaction import Transaction
from node.inbox import EventInbox
from node.service import LedgerService
from p2p.backend import Synchroniser
from p2p.consensus_gossip import Judgement
from p2p.identity import NodeId
from p2p.limits import MAX_CONSENSUS_MESSAGE_BYTES, MAX_HEADERS_AHEAD, MAX_RELAYED_CONSENSUS_BYTES
from primitives.clock import Clock
from primitives.errors import InvalidSignature
from primitives.hexadecimal import to_checksum_address

HINT_INTERVAL_S = 1.0
"""A validator's messages of other heights than ours tell only that one of us is behind: one in this time does."""

BUILDING_SHARE = 0.25
"""Of a first round's time, for building the block: all others execute it as well before they vote, on machines that may
be slower, and then two votes go around. Rounds that end too soon make every block wait for the longer ones."""

MAX_REMEMBERED_RECOVERIES = 4 * MAX_HEADERS_AHEAD
"""From the check of a header until its block is imported: the certificates of up to five validators, for all headers
that may run ahead; 2.5 MB. Of more validators some signatures are recovered twice while a node catches up."""
LOOK_WHILE_BEHIND_S = 1.0
"""How often the machine hears of the head while the node catches up: with each of a hundred blocks a second it would
only begin a height that was decided long ago."""

_log = logging.getLogger(__name__)


class Outlet(Protocol):
    """The way to the other validators; p2p.consensus_gossip.ConsensusGossip is one."""

    def set_validators(self, validators: frozenset[bytes]) -> None: ...

    def broadcast(self, data: bytes) -> None: ...

    def send(self, validator: bytes, data: bytes) -> None: ...

    def show_head(self, validator: bytes, number: int, block_hash: bytes) -> None: ...


@dataclass(frozen=True, slots=True)
class Ballot:
    """What a validator votes with, and where it remembers how it voted."""

    signer: Signer
    votes: VoteStore


def remembering_recover(recover: Recover = recover_signer) -> Recover:
    """Recovers each signature once, however many parts of the node look at it."""
    return lru_cache(MAX_REMEMBERED_RECOVERIES)(recover)


def qbft_settings(block_time_s: int, empty_block_period_s: int, request_timeout_ms: int) -> Settings:
    """The machine's times from those of the chain's configuration."""
    return Settings(
        base_timeout_ms=request_timeout_ms,
        block_period_ms=block_time_s * 1000,
        empty_block_period_ms=empty_block_period_s * 1000,
    )


def build_time_limit_s(request_timeout_ms: int) -> float:
    """How long a validator may take to build a block."""
    return min(DEFAULT_BUILD_TIME_LIMIT_S, request_timeout_ms / 1000 * BUILDING_SHARE)


class ValidatorLoop:
    """One node's part in the consensus of its chain."""

    def __init__(
        self,
        service: LedgerService,
        ledger: Ledger,
        ballot: Ballot | None,
        outlet: Outlet,
        synchroniser: Synchroniser,
        ledger_clock: Clock,
        network_clock: Clock,
        recover: Recover = recover_signer,
    ) -> None:
        """Blocks are due by the ledger's clock, which a demo may run faster; everything else follows the network's.

        Without a ballot the node only watches, and passes on what others say.
        """
        config = ledger.config
        domain = domain_of(config, ledger.genesis_hash)
        settings = qbft_settings(config.block_time_s, config.empty_block_period_s, config.request_timeout_ms)
        self.equivocations: Counter[bytes] = Counter()
        """How often each validator was seen to sign two things for one round."""
        self.validators: ValidatorSet = ledger.validators_of_next()
        """Of the next height."""
        self._service = service
        self._ballot = ballot
        self._outlet = outlet
        self._synchroniser = synchroniser
        self._ledger_clock = ledger_clock
        self._network_clock = network_clock
        self._authenticator = Authenticator(domain, recover)
        self._proposals = LedgerProposals(ledger, service.pool.recognise)
        self._machine: QbftMachine | None = None
        if ballot is not None:
            votes = ballot.votes.load()
            self._machine = QbftMachine(settings, domain, ballot.signer, self._proposals, votes, recover)
        self._inbox = EventInbox()
        self._hinted_s: dict[tuple[bytes, bool], float] = {}
        """When a validator's last message of a lower, or of a higher, height was taken in."""
        self._timers: dict[TimerKind, tuple[Timer, asyncio.Task[None]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._group: asyncio.TaskGroup | None = None
        self._moved_on = asyncio.Event()
        """The head has moved while the node catches up."""
        self._pending = False
        self.round = 0
        """At which the validators are with the next block. Above 0: a proposer failed, or too few of them answer."""

    @property
    def is_validator(self) -> bool:
        """Whether this node votes at the next height."""
        return self._ballot is not None and self._ballot.signer.address in self.validators

    def take(self, data: bytes, origin: NodeId) -> Judgement:
        """A message from a peer (p2p.consensus_gossip.Party)."""
        try:
            message = decode_message(data)
            sender = self._authenticator.sender(message)
        except (InvalidConsensusMessage, InvalidSignature) as error:
            _log.debug("a message of the consensus is refused: %s", error)
            return Judgement.INVALID
        if sender not in self.validators:
            return Judgement.USELESS
        height = self._service.head.number + 1
        is_relevant = height <= message.height <= height + 1
        if is_relevant or self._is_hint(sender, message.height > height):
            is_validator = origin in self.validators
            max_bytes = MAX_CONSENSUS_MESSAGE_BYTES if is_validator else MAX_RELAYED_CONSENSUS_BYTES
            self._inbox.put_message(message, data, origin, max_bytes)
        return Judgement.RELEVANT if is_relevant else Judgement.USELESS

    async def run(self) -> None:
        """Take part until cancelled."""
        end_imports = self._service.on_import(self._on_import)
        end_pending = self._service.pool.subscribe(self._on_pending)
        self._outlet.set_validators(frozenset(self.validators.addresses))
        self._inbox.put_head()
        self._look_at_pool()
        try:
            async with asyncio.TaskGroup() as self._group:
                self._group.create_task(self._look_now_and_then())
                while True:
                    await self._take_step(await self._inbox.get())
        finally:
            self._group = None
            end_imports()
            end_pending()
            for _, task in self._timers.values():
                task.cancel()

    # Events

    def _on_import(self, result: ImportResult) -> None:
        if self._synchroniser.is_syncing:
            self._moved_on.set()
        else:
            self._inbox.put_head()
        self._look_at_pool()

    async def _look_now_and_then(self) -> None:
        while True:
            await self._moved_on.wait()
            await self._network_clock.sleep_s(LOOK_WHILE_BEHIND_S)
            self._moved_on.clear()
            self._inbox.put_head()

    def _on_pending(self, _: Sequence[Transaction]) -> None:
        self._look_at_pool()

    def _look_at_pool(self) -> None:
        pending = self._service.pool.status().pending > 0
        if pending != self._pending:
            self._pending = pending
            self._inbox.put(TransactionsPending(pending))

    def _is_hint(self, sender: bytes, is_above: bool) -> bool:
        """Whether a message of another height tells something that was not heard a moment ago."""
        key, now_s = (sender, is_above), self._network_clock.precise_time_s()
        hinted_s = self._hinted_s.get(key)
        if hinted_s is not None and 0 <= now_s - hinted_s < HINT_INTERVAL_S:
            return False
        self._hinted_s[key] = now_s
        return True

    async def _take_step(self, event: Event | None) -> None:
        """One step of the machine, and all that follows from it; None stands for whatever is the head by then."""

        def step(ledger: Ledger) -> tuple[list[Output], Block | None, ValidatorSet | None]:
            validators = ledger.validators_of_next() if event is None else None
            taken = event if validators is None else self._new_head(ledger, validators)
            if self._machine is None or self._ballot is None or taken is None:
                return [], None, validators
            outputs = self._machine.step(taken)
            final: Block | None = None
            for output in outputs:
                if isinstance(output, Persist):
                    # On disk before anything else of this step happens; where that fails, nothing else does.
                    self._ballot.votes.save(output.votes)
                elif isinstance(output, Decided):
                    final = self._proposals.block(output.block)  # mostly known, and slow where it is not
            return outputs, final, validators

        outputs, final, validators = await self._service.write(step)
        if validators is not None and validators != self.validators:
            self._validators_changed(validators)
        for output in outputs:
            if isinstance(output, Decided) and final is not None:
                self._start(self._import(final, output.certificate.encode()))
            else:
                self._carry_out(output)
        if self._machine is not None:
            self.round = self._machine.round

    def _new_head(self, ledger: Ledger, validators: ValidatorSet) -> NewHead:
        head = ledger.head()
        age_ms = int(self._ledger_clock.precise_time_s() * 1000) - head.timestamp_s * 1000
        return NewHead(head.number, head.hash, head.coinbase, validators, max(age_ms, 0))

    def _validators_changed(self, validators: ValidatorSet) -> None:
        was_validator = self.is_validator
        self.validators = validators
        self._hinted_s.clear()
        self._outlet.set_validators(frozenset(validators.addresses))
        _log.info("the validators are now %s", ", ".join(to_checksum_address(one) for one in validators.addresses))
        if self.is_validator != was_validator:
            _log.warning("this node is %s", "a validator now" if self.is_validator else "no validator any more")

    # Outputs

    def _carry_out(self, output: Output) -> None:
        match output:
            case Broadcast(message):
                self._outlet.broadcast(encode_message(message))
            case Send(validator, message):
                self._outlet.send(validator, encode_message(message))
            case SetTimer(timer, delay_ms):
                self._set_timer(timer, delay_ms)
            case CancelTimer(timer):
                self._cancel_timer(timer)
            case RequestProposal():
                self._start(self._propose(output))
            case Behind(validator, _):
                self._synchroniser.sync_with(validator)
            case PeerBehind(validator, _):
                head = self._service.head
                self._outlet.show_head(validator, head.number, head.hash)
            case Equivocation(validator, first, second):
                self._tell_equivocation(validator, first, second)
            case OwnKeyElsewhere(message):
                _log.error(
                    "ANOTHER MACHINE VOTES WITH THIS NODE'S KEY, at height %d: stop it, or the network may fork",
                    message.height,
                )
            case Rejected(message, reason):
                _log.debug("a %s of height %d is refused: %s", kind_of(message).name, message.height, reason)

    def _set_timer(self, timer: Timer, delay_ms: int) -> None:
        is_ledger_time = timer.kind in (TimerKind.BLOCK, TimerKind.EMPTY_BLOCK)
        clock = self._ledger_clock if is_ledger_time else self._network_clock

        async def fire() -> None:
            await clock.sleep_s(delay_ms / 1000)
            self._inbox.put(TimerFired(timer))

        self._cancel_timer(timer)
        self._timers[timer.kind] = timer, self._start(fire())

    def _cancel_timer(self, timer: Timer) -> None:
        running = self._timers.pop(timer.kind, None)
        if running is not None:
            running[1].cancel()

    async def _propose(self, request: RequestProposal) -> None:
        block = await self._service.build()
        if block.header.parent_hash == request.parent_hash:
            self._inbox.put(BlockBuilt(request.height, request.round, block.encode()))

    async def _import(self, block: Block, certificate: bytes) -> None:
        # A decided block that is refused is a bug, and the exception ends the node, loudly.
        await self._service.import_block(block, certificate)
        _log.info(
            "block %d is final: %d transactions, %d gas, 0x%s",
            block.number,
            len(block.transactions),
            block.header.gas_used,
            block.hash.hex()[:16],
        )

    def _tell_equivocation(self, validator: bytes, first: Message, second: Message) -> None:
        self.equivocations[validator] += 1
        _log.warning(
            "validator %s signed two things as %s of height %d, round %d: %s and %s",
            to_checksum_address(validator),
            kind_of(first).name,
            first.height,
            first.round,
            *(f"{claim(message)!r} (0x{message.signature.hex()})" for message in (first, second)),
        )

    def _start(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        if self._group is None:
            raise RuntimeError("the consensus does not run")
        return self._group.create_task(work)
