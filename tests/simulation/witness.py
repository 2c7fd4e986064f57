"""Who sees everything that happens and knows what must never happen; the first violation stops the world.

It trusts no node: what is final, who signed what and how much money there is, it keeps by itself.
"""

import hashlib
import logging
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import TYPE_CHECKING

from chain.consensus.qbft.certificate import decode_certificate
from chain.consensus.qbft.messages import Commit, claim, decode_message, kind_of
from chain.consensus.qbft.signing import Authenticator, Domain, recover_signer
from chain.consensus.qbft.validators import ValidatorSet
from chain.importer import ImportResult
from p2p.messages import AnnounceBlocks, Consensus, Message, NewBlock
from p2p.reputation import Offence
from primitives.errors import Invalid
from tests.simulation.host import Host
from tests.simulation.virtual_time import VirtualLoop, current_life

if TYPE_CHECKING:
    from tests.simulation.node import SimulatedNode

recover_once = lru_cache(maxsize=1 << 16)(recover_signer)
"""Signatures cost most of a run, and each is looked at by every node."""
decode_once = lru_cache(maxsize=1 << 12)(decode_message)


LIES = frozenset(
    {
        Offence.INVALID_BLOCK,
        Offence.INVALID_FRAME,
        Offence.INVALID_MESSAGE,
        Offence.WRONG_ANSWER,
        Offence.INVALID_TRANSACTION,
        Offence.UNSOLICITED_ANSWER,
        Offence.FLOOD,
    }
)
"""What no honest node does, however bad its network is."""


class Violation(AssertionError):
    """What must never happen has happened."""


class Witness:
    """Watches the nodes of one world."""

    def __init__(self, loop: VirtualLoop) -> None:
        self.violation: Violation | None = None
        self.accepted: dict[bytes, str] = {}
        """Transactions that a node promised to keep, and which node."""
        self.listeners: list[Callable[[SimulatedNode, ImportResult], None]] = []
        """Who else wants to know of imports at honest nodes."""
        self.watches_log = True
        """An error in an honest node's log counts as a violation."""
        self.heads: dict[str, int] = {}
        """The head that each honest node had on its disk last."""
        self.honest: frozenset[bytes] = frozenset()
        """Nodes with one machine that keeps to the rules."""
        self._loop = loop
        self._trace = hashlib.blake2b(digest_size=16)

    @property
    def trace(self) -> str:
        """A hash of all that has happened and when."""
        return self._trace.hexdigest()

    def fail(self, text: str) -> None:
        """Stop the world. The first call counts."""
        if self.violation is None:
            self.violation = Violation(f"at {self._loop.time():.3f} s: {text}")
            self._loop.stop()

    def check(self) -> None:
        """Raises Violation where something went wrong."""
        for trouble in self._loop.troubles[:1]:
            self.fail(f"the event loop caught {trouble}")
        if self.violation is not None:
            raise self.violation

    def event(self, *what: object) -> None:
        self._trace.update(repr((self._loop.time(), *what)).encode())

    def said(self, host: Host, message: Message) -> None:
        """A machine sends a message."""

    def is_final(self, message: Message) -> bool:
        """Whether it is one of those by which a block becomes final, as far as it is a notice."""
        if not isinstance(message, Consensus):
            return isinstance(message, (NewBlock, AnnounceBlocks))
        try:
            return isinstance(decode_once(message.data), Commit)
        except Invalid:
            return False

    def began(self, node: "SimulatedNode") -> None:
        """A node has opened its ledger and its pool."""
        number = node.head_number
        self.event("began", node.name, number)
        if node.is_honest:
            self.look_at_reopened(node, number)
            self.look_for_promises(node)
            self.heads[node.name] = number

    def look_at_reopened(self, node: "SimulatedNode", number: int) -> None:
        """An honest node found this head on its disk."""

    def look_for_promises(self, node: "SimulatedNode") -> None:
        """What the node accepted is in its chain or in its pool."""
        for accepted, keeper in self.accepted.items():
            if keeper == node.name and not node.has_transaction(accepted) and not node.has_pooled(accepted):
                self.fail(f"{node.name} has forgotten the transaction 0x{accepted.hex()}, which it had accepted")

    def imported(self, node: "SimulatedNode", result: ImportResult) -> None:
        """A node's canonical chain is another."""
        self.event("imported", node.name, result.head.number, result.head.hash.hex())
        if not node.is_honest:
            return
        self.look_at_import(node, result)
        self.heads[node.name] = result.head.number
        for listener in list(self.listeners):
            listener(node, result)

    def look_at_import(self, node: "SimulatedNode", result: ImportResult) -> None: ...

    def judged(self, node: "SimulatedNode", offender: bytes, offence: Offence) -> None:
        """A node holds something against another."""
        self.event("judged", node.name, offender.hex(), offence.name)
        if node.is_honest and offender in self.honest and offence in LIES:
            self.fail(f"{node.name} takes 0x{offender.hex()}, which is honest, for a liar: {offence.name}")

    def accept(self, node: "SimulatedNode", transaction_hash: bytes) -> None:
        """An honest node has told a user that it keeps this transaction."""
        self.event("accepted", node.name, transaction_hash.hex())
        self.accepted[transaction_hash] = node.name


class FinalityWitness(Witness):
    """Of a qbft chain: one final block a height, proved by its certificate, and honest validators keep their word."""

    def __init__(self, loop: VirtualLoop, domain: Domain, watches_all: bool = True) -> None:
        super().__init__(loop)
        self.finals: dict[int, bytes] = {}
        """The final block of each height that an honest node holds."""
        self.on_first_import: Callable[[SimulatedNode], None] = lambda node: None
        """An honest node holds a block final that no other honest node holds yet."""
        self._domain = domain
        self._authenticator = Authenticator(domain, recover_once)
        self._watches_votes = self.watches_log = watches_all
        self._votes: dict[tuple[object, ...], object] = {}
        self._validators: dict[int, ValidatorSet] = {}

    def follow(self, domain: Domain) -> None:
        """From now on messages are signed for this domain: operators named other validators, and old votes are void."""
        self._votes.clear()
        self._domain = domain
        self._authenticator = Authenticator(domain, recover_once)

    def preset(self, hashes: Iterable[bytes], validators: ValidatorSet) -> None:
        """The world begins with these blocks, from the first one on, which these validators made."""
        for number, block_hash in enumerate(hashes, 1):
            self.finals[number] = block_hash
            self._validators[number] = validators

    def said(self, host: Host, message: Message) -> None:
        """An honest validator must never contradict itself, power cuts or not."""
        if not self._watches_votes or not isinstance(message, Consensus):
            return
        try:
            vote = decode_once(message.data)
            signer = self._authenticator.sender(vote)
        except Invalid:
            return
        if signer in self.honest:
            key = (signer, kind_of(vote), vote.height, vote.round)
            if self._votes.setdefault(key, claim(vote)) != claim(vote):
                self.fail(f"an honest node sent two {kind_of(vote).name}s for {vote.height}/{vote.round}")

    def look_at_reopened(self, node: "SimulatedNode", number: int) -> None:
        known = self.heads.get(node.name, 0)
        if number < known:
            self.fail(f"{node.name} had block {known} and came back with block {number}")
        for missed in range(known + 1, number + 1):  # imported in the moment in which the power failed
            block_hash, certificate = node.final_block(missed)
            self.look_at_final(node, missed, block_hash, certificate)

    def look_at_import(self, node: "SimulatedNode", result: ImportResult) -> None:
        self.look_for_promises(node)
        if result.disconnected:
            self.fail(f"{node.name} took back block {result.disconnected[0].number}, which was final")
        for block, certificate in zip(result.connected, result.certificates, strict=True):
            self.look_at_final(node, block.number, block.hash, certificate)

    def look_at_final(self, node: "SimulatedNode", number: int, block_hash: bytes, certificate: bytes) -> None:
        """An honest node holds a block final: all others must agree for ever, and anybody can check it."""
        is_first = number not in self.finals
        if self.finals.setdefault(number, block_hash) != block_hash:
            self.fail(f"two final blocks at height {number}, the second one at {node.name}")
            return
        if is_first:
            self._validators[number] = node.validators_of(number)
        if not self._is_proved(number, block_hash, certificate):
            self.fail(f"{node.name} holds block {number} final without a proof")
        if is_first:
            self.on_first_import(node)

    def _is_proved(self, number: int, block_hash: bytes, certificate: bytes) -> bool:
        """Whether two thirds of the validators have sealed the block in one round."""
        validators = self._validators[number].addresses
        try:
            decoded = decode_certificate(certificate)
            digest = self._domain.digest(Commit(number, decoded.round, block_hash))
            signers = {recover_once(digest, seal) for seal in decoded.seals}
        except Invalid:
            return False
        return 3 * len(signers.intersection(validators)) >= 2 * len(validators)


class ErrorsInTheLog(logging.Handler):
    """A node that logs an error has met what it does not expect: here that is a violation."""

    def __init__(self, witness: Witness) -> None:
        super().__init__(logging.ERROR)
        self._witness = witness

    def emit(self, record: logging.LogRecord) -> None:
        life = current_life()
        if life is None or life.is_over or not life.is_honest or not self._witness.watches_log:
            return
        error = f": {record.exc_info[1]!r}" if record.exc_info else ""
        self._witness.fail(f"{life.name} logged an error: {record.getMessage()}{error}")
