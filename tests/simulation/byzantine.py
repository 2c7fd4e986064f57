"""Liars: each sits between a real node, whose key it has, and the network, and breaks the rules in its own way."""

from collections.abc import Iterable
from dataclasses import replace
from random import Random

from chain.block import decode_block
from chain.consensus.qbft.certificate import CommitCertificate
from chain.consensus.qbft.messages import (
    Commit,
    Message,
    Prepare,
    Prepared,
    Proposal,
    RoundChange,
    encode_message,
)
from chain.consensus.qbft.signing import Authenticator, Domain, KeySigner
from p2p import messages as wire_messages
from p2p.framing import RawMessage
from p2p.messages import AnnounceBlocks, BlockAnnouncement, Consensus, NewBlock, encode
from primitives.errors import Invalid
from tests.simulation.node import SimulatedNode
from tests.simulation.wire import NOTICES, SimulatedWire
from tests.simulation.witness import decode_once, recover_once

FORGERIES = 0.1
"""Each costs the forger a connection, so that it must not do it always."""


class Liar:
    """What liars have in common: a key to sign what they please."""

    def __init__(self, node: SimulatedNode, key: bytes, domain: Domain, random: Random) -> None:
        self.node = node
        self.random = random
        self._signer = KeySigner(key)
        self._authenticator = Authenticator(domain, recover_once)
        node.is_honest = False
        node.host.tamper = self

    def sends(self, wire: SimulatedWire, message: wire_messages.Message) -> Iterable[wire_messages.Message]:
        """What is sent instead of the node's message."""
        return [message]

    def hears(self, wire: SimulatedWire, message: wire_messages.Message) -> None:
        """What the node is told, it is told as well."""

    def signed(self, message: Message) -> Consensus:
        return Consensus(False, encode_message(self._authenticator.signed(message, self._signer)))

    def own(self, message: wire_messages.Message) -> Message | None:
        """A message of the consensus that the node says itself; None for anything else."""
        vote = _vote(message)
        if vote is None or self._authenticator.sender(vote) != self._signer.address:
            return None
        return vote


class Silent(Liar):
    """Is there, and says nothing of blocks and votes."""

    def sends(self, wire: SimulatedWire, message: wire_messages.Message) -> Iterable[wire_messages.Message]:
        return [] if isinstance(message, NOTICES) else [message]


class Equivocator(Liar):
    """Proposes two blocks for one round, votes for every block, denies what was prepared, and forges final blocks."""

    def __init__(self, node: SimulatedNode, key: bytes, domain: Domain, random: Random) -> None:
        super().__init__(node, key, domain, random)
        self._others: dict[tuple[int, int], Proposal] = {}
        self._supported: set[tuple[bytes, int, int, bytes]] = set()

    def sends(self, wire: SimulatedWire, message: wire_messages.Message) -> Iterable[wire_messages.Message]:
        match self.own(message):
            case Proposal() as proposal if self.random.random() < FORGERIES:
                wire.inject(encode(self._forged(self._other(proposal))))
            case Proposal() as proposal if Random(f"{wire.node_id.hex()} {proposal.height}").random() < 0.5:
                return [self.signed(self._other(proposal))]
            case RoundChange() as change:
                return [self.signed(RoundChange(change.height, change.round, None))]
        return [message]

    def hears(self, wire: SimulatedWire, message: wire_messages.Message) -> None:
        vote = _vote(message)
        if not isinstance(vote, (Proposal, Prepare, Commit)):
            return
        support = (wire.node_id, vote.height, vote.round, vote.block_hash)
        if support in self._supported:  # once each: two of this kind would answer each other for ever
            return
        self._supported.add(support)
        for kind in (Prepare, Commit):
            wire.inject(encode(self.signed(kind(vote.height, vote.round, vote.block_hash))))

    def _forged(self, proposal: Proposal) -> NewBlock:
        """The block as if it were final, with the only seal that a liar can make."""
        seal = self._authenticator.signed(Commit(proposal.height, proposal.round, proposal.block_hash), self._signer)
        others = self.random.choice([[], [seal.signature] * 4, [self.random.randbytes(65) for _ in range(4)]])
        certificate = CommitCertificate(proposal.round, (seal.signature, *others))
        return NewBlock(proposal.block, certificate.encode(), proposal.height + 1)

    def _other(self, proposal: Proposal) -> Proposal:
        """Another block for the same round, as valid as the first."""
        place = (proposal.height, proposal.round)
        if place not in self._others:
            block = decode_block(proposal.block)
            header = replace(block.header, extra_data=self.random.randbytes(8), _hash=None)
            other = replace(block, header=header)
            self._others[place] = Proposal(*place, other.hash, b"", other.encode(), proposal.round_changes, ())
        return self._others[place]


class Babbler(Liar):
    """Sends nonsense: bytes, cut messages, well-signed messages that say impossible things, false proofs of blocks."""

    def sends(self, wire: SimulatedWire, message: wire_messages.Message) -> Iterable[wire_messages.Message]:
        if isinstance(message, NewBlock) and self.random.random() < 0.5:
            return [self._false_block(message)]
        if isinstance(message, Consensus) and self.random.random() < 0.3:
            return [self._altered(message)]
        return [message]

    def hears(self, wire: SimulatedWire, message: wire_messages.Message) -> None:
        random = self.random
        if random.random() < 0.03:
            wire.inject(encode(self._nonsense()))
        if random.random() < 0.03 and isinstance(message, NOTICES):
            for other in self.node.host.wires:
                other.inject(encode(message))  # a replay of somebody else's message
        if random.random() < 0.003:
            wire.inject(RawMessage(random.choice([0x05, 0x12, 0x23, 0x30, 0x77]), random.randbytes(40)))

    def _false_block(self, message: NewBlock) -> NewBlock:
        random = self.random
        position = random.randrange(len(message.block))
        return random.choice(
            [
                replace(message, certificate=random.randbytes(len(message.certificate))),
                replace(message, certificate=b""),
                replace(message, certificate=message.certificate[:-67]),
                replace(message, total_difficulty=2**200),
                replace(message, block=message.block[:position] + b"?" + message.block[position + 1 :]),
            ]
        )

    def _altered(self, message: Consensus) -> Consensus:
        position = self.random.randrange(len(message.data))
        tail = self.random.choice([b"", self.random.randbytes(1) + message.data[position + 1 :]])
        return Consensus(self.random.random() < 0.5, message.data[:position] + tail or b"\0")

    def _nonsense(self) -> wire_messages.Message:
        random = self.random
        height = max(0, self.node.head_number + random.randint(-1, 3))
        round_ = random.choice([0, 1, 2, random.randint(0, 50), 2**32 - 1])
        block_hash = random.randbytes(32)
        prepared = random.choice([None, Prepared(random.randint(0, 60), block_hash)])
        signatures = tuple(random.randbytes(65) for _ in range(random.randint(0, 8)))
        change = RoundChange(height, round_, prepared, b"", signatures, random.randbytes(60))
        changes = tuple(
            self._authenticator.signed(change.without_proof(), self._signer) for _ in range(random.randint(0, 5))
        )
        return random.choice(
            [
                self.signed(Prepare(height, round_, block_hash)),
                self.signed(Commit(height, round_, block_hash)),
                self.signed(change),
                self.signed(RoundChange(height, round_, None)),
                self.signed(Proposal(height, round_, block_hash, b"", random.randbytes(80), changes, signatures)),
                Consensus(True, random.randbytes(random.randint(1, 200))),
                AnnounceBlocks((BlockAnnouncement(height, block_hash), BlockAnnouncement(2**60, block_hash))),
            ]
        )


class Twin(Liar):
    """Keeps to the rules, but another machine has the same key: together they are one Byzantine validator."""


KINDS: tuple[type[Liar], ...] = (Silent, Equivocator, Babbler, Twin)


def _vote(message: wire_messages.Message) -> Message | None:
    if not isinstance(message, Consensus):
        return None
    try:
        return decode_once(message.data)
    except Invalid:
        return None
