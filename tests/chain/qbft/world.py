"""A whole QBFT network in one process on a virtual clock: the machines are real, time, network and disks are modelled.

Everything that is random comes from one seeded generator, so a seed repeats a run exactly. Messages pass through their
encoding. Final blocks travel as they will between nodes: pushed when they are decided, announced and asked for.
"""

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache

from chain.consensus.qbft.certificate import CommitCertificate, check_certificate, decode_certificate
from chain.consensus.qbft.events import (
    Behind,
    BlockBuilt,
    Broadcast,
    CancelTimer,
    Decided,
    Event,
    MessageReceived,
    NewHead,
    Output,
    PeerBehind,
    Persist,
    RequestProposal,
    Send,
    SetTimer,
    Settings,
    TimerFired,
    TransactionsPending,
    Vote,
    VoteKind,
)
from chain.consensus.qbft.machine import QbftMachine
from chain.consensus.qbft.messages import Commit, Kind, Message, claim, decode_message, encode_message, kind_of
from chain.consensus.qbft.validators import ValidatorSet
from primitives.errors import Invalid
from primitives.keccak import keccak256
from tests.chain.qbft.model_block import (
    DOMAIN,
    GENESIS_HASH,
    ModelBlocks,
    ModelSigner,
    build_block,
    height_of,
    model_recover,
    proposer_of,
)

STATUS_INTERVAL_MS = 2_000
BLOCKS_AN_ANSWER = 8
ASK_INTERVAL_MS = 200
MAX_EVENTS = 300_000
"""A run that needs more does not end: a storm of messages is a fault too."""

decode_once = lru_cache(maxsize=512)(decode_message)


class Violation(AssertionError):
    """What must never happen has happened."""


@dataclass
class Disk:
    """What a node finds again after a crash."""

    blocks: list[tuple[bytes, CommitCertificate]] = field(default_factory=list)
    votes: dict[VoteKind, Vote] = field(default_factory=dict)

    def save(self, votes: tuple[Vote, ...]) -> None:
        height = max(vote.height for vote in votes)
        self.votes = {kind: vote for kind, vote in self.votes.items() if vote.height >= height}
        self.votes |= {vote.kind: vote for vote in votes}

    @property
    def head_hash(self) -> bytes:
        return keccak256(self.blocks[-1][0]) if self.blocks else GENESIS_HASH


@dataclass
class NetworkConditions:
    """How the network treats a packet now."""

    delay_ms: tuple[int, int] = (2, 60)
    drop: float = 0.0
    drop_final: float = 0.0
    """The same for what makes blocks final, commits and final blocks: few learn of a decision, the others go on."""
    duplicate: float = 0.0
    island_of: dict[bytes, int] = field(default_factory=dict)
    """Packets pass between validators of the same island only; those of no island are on 0."""


class World:
    """Clock, network and the oracle that watches the honest nodes."""

    def __init__(self, seed: int, validators: ValidatorSet, settings: Settings) -> None:
        self.rng = random.Random(seed)
        self.validators = validators
        self.settings = settings
        self.conditions = NetworkConditions()
        self.now_ms = 0
        self.nodes: dict[bytes, list[Participant]] = {}
        self.crash_probability = 0.0
        self.watch_votes = True
        self.on_first_decision: Callable[[bytes], None] = lambda decider: None
        self.packets = 0
        self._queue: list[tuple[int, int, Callable[[], None]]] = []
        self._sequence = 0
        self._events = 0
        self._era = 0
        self._decided: dict[int, bytes] = {}
        self._voted: dict[tuple[bytes, Kind, int, int], object] = {}

    def add(self, node: "Participant") -> None:
        self.nodes.setdefault(node.address, []).append(node)

    def at(self, delay_ms: int, action: Callable[[], None]) -> None:
        self._sequence += 1
        heapq.heappush(self._queue, (self.now_ms + delay_ms, self._sequence, action))

    def run_until(self, time_ms: int, done: Callable[[], bool] = lambda: False) -> bool:
        """Let the time pass; True as soon as `done` holds."""
        while self._queue and self._queue[0][0] <= time_ms:
            if done():
                return True
            self._events += 1
            if self._events > MAX_EVENTS:
                raise Violation("the messages never end")
            self.now_ms, _, action = heapq.heappop(self._queue)
            action()
        self.now_ms = time_ms
        return done()

    def send(self, sender: bytes, receiver: bytes, packet: object) -> None:
        """One packet to whoever holds the receiver's key."""
        conditions = self.conditions
        if conditions.island_of.get(sender, 0) != conditions.island_of.get(receiver, 0):
            return
        drop = max(conditions.drop, conditions.drop_final) if _is_final(packet) else conditions.drop
        copies = 2 if self.rng.random() < conditions.duplicate else 1
        for node in self.nodes.get(receiver, []):
            for _ in range(copies):
                if self.rng.random() >= drop:
                    self._dispatch(sender, node, packet)

    def lose_packets_on_their_way(self) -> None:
        """Whatever was sent until now never arrives."""
        self._era += 1

    def _dispatch(self, sender: bytes, receiver: "Participant", packet: object) -> None:
        self.packets += 1
        era = self._era

        def arrive() -> None:
            if era == self._era:
                receiver.deliver(sender, packet)

        self.at(self.rng.randint(*self.conditions.delay_ms), arrive)

    def send_to_all(self, sender: bytes, packet: object) -> None:
        for receiver in self.validators.addresses:
            if receiver != sender:
                self.send(sender, receiver, packet)

    def witness_decision(self, height: int, block: bytes, decider: bytes) -> None:
        """An honest node holds this block final: all others must agree for ever."""
        if height not in self._decided:
            self.on_first_decision(decider)
        known = self._decided.setdefault(height, block)
        if known != block:
            raise Violation(f"two final blocks at height {height}")

    def witness_vote(self, sender: bytes, message: Message) -> None:
        """An honest node sends this: it must never contradict itself, crashes or not."""
        key = (sender, kind_of(message), message.height, message.round)
        if self.watch_votes and self._voted.setdefault(key, claim(message)) != claim(message):
            raise Violation(f"an honest node sent two {kind_of(message).name}s for {message.height}/{message.round}")


def _is_final(packet: object) -> bool:
    if not isinstance(packet, bytes):
        return True
    try:
        return isinstance(decode_once(packet), Commit)
    except Invalid:
        return False


class Participant:
    """A node: a machine, a disk, and what connects them to the world. Honest as it stands; byzantine.py derives."""

    honest = True
    machine_class = QbftMachine
    keeps_votes = True

    def __init__(self, world: World, own_address: bytes) -> None:
        self.world = world
        self.address = own_address
        self.disk = Disk()
        self.machine: QbftMachine | None = None
        self.pending = False
        self._life = 0
        self._asked_ms = -ASK_INTERVAL_MS
        self._timers: dict[object, int] = {}
        self._built = 0
        world.add(self)

    @property
    def height(self) -> int:
        return len(self.disk.blocks)

    def start(self) -> None:
        """Power on, with what the disk holds."""
        if self.machine is not None:
            return
        votes = tuple(self.disk.votes.values())
        self.machine = self.machine_class(
            self.world.settings, DOMAIN, ModelSigner(self.address), ModelBlocks(), votes, model_recover
        )
        self._life += 1
        self.step(TransactionsPending(self.pending))
        self.step(self.new_head())
        self._announce(self._life)

    def crash(self) -> None:
        """Power cut."""
        self.machine = None
        self._timers.clear()
        if not self.keeps_votes:
            self.disk.votes.clear()

    def set_pending(self, pending: bool) -> None:
        self.pending = pending
        self.step(TransactionsPending(pending))

    def new_head(self) -> NewHead:
        blocks = self.disk.blocks
        proposer = proposer_of(blocks[-1][0]) if blocks else bytes(20)
        return NewHead(self.height, self.disk.head_hash, proposer, self.world.validators)

    def step(self, event: Event) -> None:
        """Feed the machine and carry out what it says; the power may fail between any two outputs."""
        if self.machine is None:
            return
        outputs = self.machine.step(event)
        fails = self.world.rng.random() < self.world.crash_probability
        life, cut = self._life, self.world.rng.randint(0, len(outputs)) if fails else len(outputs)
        for output in outputs[:cut]:
            self.carry_out(output)
        if fails and self._life == life:
            self.crash()
            self.world.at(self.world.rng.choice([1, 50, 400, 4_000]), self.start)

    def carry_out(self, output: Output) -> None:
        world = self.world
        match output:
            case Persist():
                self.disk.save(output.votes)
            case Broadcast():
                self.speak(output.message)
            case Send():
                world.send(self.address, output.validator, encode_message(output.message))
            case SetTimer():
                self._set_timer(output)
            case CancelTimer():
                self._timers.pop(output.timer, None)
            case RequestProposal():
                life = self._life
                block = self.build(output)
                built = BlockBuilt(output.height, output.round, block)
                world.at(world.rng.randint(0, 30), lambda: self._later(life, built))
            case Decided():
                life = self._life
                world.at(world.rng.randint(0, 40), lambda: self._import_decided(life, output))
            case Behind():
                self._ask(output.validator)
            case PeerBehind():
                self._send_blocks(output.validator, output.height)

    def speak(self, message: Message) -> None:
        """Send a message to all others."""
        self.world.witness_vote(self.address, message)
        self.world.send_to_all(self.address, encode_message(message))

    def build(self, request: RequestProposal) -> bytes:
        self._built += 1
        salt = f"{self.world.rng.getrandbits(32)}".encode()
        return build_block(request.height, request.parent_hash, self.address, salt)

    def deliver(self, sender: bytes, packet: object) -> None:
        """A packet arrives."""
        if self.machine is None:
            return
        match packet:
            case bytes():
                try:
                    message = decode_once(packet)
                except Invalid:
                    return
                self.step(MessageReceived(message))
            case ("get", int(height)):
                self._send_blocks(sender, height)
            case ("block", bytes(block), bytes(certificate)):
                self._take_block(sender, block, certificate)
            case ("status", int(height)):
                if height > self.height:
                    self._ask(sender)

    def _later(self, life: int, event: Event) -> None:
        if self._life == life:
            self.step(event)

    def _set_timer(self, output: SetTimer) -> None:
        life, timer, due_ms = self._life, output.timer, self.world.now_ms + output.delay_ms
        self._timers[timer] = due_ms

        def fire() -> None:
            if self._life == life and self._timers.get(timer) == due_ms:
                del self._timers[timer]
                self.step(TimerFired(timer))

        self.world.at(output.delay_ms, fire)

    def _import_decided(self, life: int, decided: Decided) -> None:
        if self._life == life and self.machine is not None and decided.height == self.height + 1:
            self._import(decided.block, decided.certificate)

    def _import(self, block: bytes, certificate: CommitCertificate) -> None:
        check_certificate(certificate, self.height + 1, keccak256(block), self.world.validators, DOMAIN, model_recover)
        ModelBlocks().check(block, self.height + 1, self.disk.head_hash, None)
        if self.honest:
            self.world.witness_decision(self.height + 1, block, self.address)
        self.disk.blocks.append((block, certificate))
        self.world.send_to_all(self.address, ("block", block, certificate.encode()))
        self.step(self.new_head())

    def _take_block(self, sender: bytes, block: bytes, certificate: bytes) -> None:
        try:
            height = height_of(block)
            if height == self.height + 1:
                self._import(block, decode_certificate(certificate))
            elif height > self.height + 1:
                self._ask(sender)
        except Invalid:
            if sender in {node.address for nodes in self.world.nodes.values() for node in nodes if node.honest}:
                raise

    def _ask(self, sender: bytes) -> None:
        """For the blocks that are missing; not again while an answer may be on its way."""
        if self.world.now_ms >= self._asked_ms + ASK_INTERVAL_MS:
            self._asked_ms = self.world.now_ms
            self.world.send(self.address, sender, ("get", self.height + 1))

    def _send_blocks(self, receiver: bytes, height: int) -> None:
        for block, certificate in self.disk.blocks[max(height, 1) - 1 : height - 1 + BLOCKS_AN_ANSWER]:
            self.world.send(self.address, receiver, ("block", block, certificate.encode()))

    def _announce(self, life: int) -> None:
        """What p2p does with heads, now and then: tell somebody."""
        if self._life == life and self.machine is not None:
            others = [other for other in self.world.validators.addresses if other != self.address]
            if others:
                self.world.send(self.address, self.world.rng.choice(others), ("status", self.height))
            self.world.at(STATUS_INTERVAL_MS, lambda: self._announce(life))
