"""What goes into the QBFT machine and what comes out of it, with its settings; data only.

The caller carries outputs out in their order. One rule is the caller's: a Persist is on disk before anything after it
is done, and if it fails, nothing after it is done.
"""

from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import Protocol

from chain.consensus.qbft.certificate import CommitCertificate
from chain.consensus.qbft.messages import Message
from chain.consensus.qbft.validators import ProposerPolicy, ValidatorSet

MAX_ROUND_TIMEOUT_MS = 60_000
"""Doubling without an end never comes back (Besu issue 7642)."""
MAX_ROUND_DOUBLINGS = 5
"""32 times the base bridges any delay that a working network has."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The times of a chain; all validators should have the same."""

    base_timeout_ms: int = 2_000
    """How long round 0 may take."""
    block_period_ms: int = 1_000
    """From a block's time to the next block's."""
    empty_block_period_ms: int = 60_000
    """The same where there is no transaction; no less than block_period_ms counts."""
    repeat_ms: int = 3_000
    """How often the newest messages are sent again: the network loses some."""
    proposer_policy: ProposerPolicy = ProposerPolicy.ROUND_ROBIN

    def round_timeout_ms(self, round_: int) -> int:
        return min(self.base_timeout_ms << min(round_, MAX_ROUND_DOUBLINGS), MAX_ROUND_TIMEOUT_MS)


class Blocks(Protocol):
    """What the machine asks about a block, which is mere bytes to it."""

    def block_hash(self, block: bytes) -> bytes:
        """The hash of a well-formed block. Raises InvalidBlock. Cheap: nothing is executed."""

    def check(self, block: bytes, height: int, parent_hash: bytes, proposer: bytes | None) -> None:
        """Raises InvalidBlock where the block cannot be the child of that parent.

        `proposer` must have built it; None where a quorum prepared the block already, whoever built it.
        """


class TimerKind(Enum):
    """The machine has at most one timer of each."""

    BLOCK = "block"
    """The block period is over."""
    EMPTY_BLOCK = "empty block"
    """It is time for a block even without transactions."""
    ROUND = "round"
    """The round took too long."""
    REPEAT = "repeat"
    """The newest messages are due again."""


@dataclass(frozen=True, slots=True)
class Timer:
    """One timer; an old one that fires late is told from the present one by height and round."""

    kind: TimerKind
    height: int
    round: int


class VoteKind(IntEnum):
    """What a validator has to remember of a height: the newest of each kind."""

    PROPOSAL = 1
    PREPARE = 2
    COMMIT = 3
    ROUND_CHANGE = 4
    PREPARED_BLOCK = 5


@dataclass(frozen=True, slots=True)
class Vote:
    """One row of the vote store: a message that was sent, or the prepared block with its proof (votes.py)."""

    height: int
    kind: VoteKind
    data: bytes


# Events


@dataclass(frozen=True, slots=True)
class NewHead:
    """The chain has a new last block, durably. Also the first event of all, with the head at the start."""

    number: int
    block_hash: bytes
    proposer: bytes
    """Who built it, as the block itself says."""
    validators: ValidatorSet
    """Of the next height."""
    age_ms: int = 0
    """How long ago the block's time is; at least 0."""


@dataclass(frozen=True, slots=True)
class MessageReceived:
    """A message came; the machine finds out from whom by its signature."""

    message: Message


@dataclass(frozen=True, slots=True)
class TimerFired:
    """A timer that the machine set has run out."""

    timer: Timer


@dataclass(frozen=True, slots=True)
class BlockBuilt:
    """The answer to RequestProposal."""

    height: int
    round: int
    block: bytes


@dataclass(frozen=True, slots=True)
class TransactionsPending:
    """Whether there is a transaction that a block could take."""

    pending: bool


Event = NewHead | MessageReceived | TimerFired | BlockBuilt | TransactionsPending


# Outputs


@dataclass(frozen=True, slots=True)
class Persist:
    """Replace the stored votes of these kinds, forget those of lower heights, and have it on disk. Always first."""

    votes: tuple[Vote, ...]


@dataclass(frozen=True, slots=True)
class Broadcast:
    """To all other validators."""

    message: Message


@dataclass(frozen=True, slots=True)
class Send:
    """To one validator."""

    validator: bytes
    message: Message


@dataclass(frozen=True, slots=True)
class SetTimer:
    """From now on; replaces a timer of the same kind."""

    timer: Timer
    delay_ms: int


@dataclass(frozen=True, slots=True)
class CancelTimer:
    """No longer of interest."""

    timer: Timer


@dataclass(frozen=True, slots=True)
class RequestProposal:
    """Build a block on the head and answer with BlockBuilt; an answer that comes too late does no harm."""

    height: int
    round: int
    parent_hash: bytes


@dataclass(frozen=True, slots=True)
class Decided:
    """The block is final: import it, store the certificate beside it, then tell the machine the NewHead."""

    height: int
    block_hash: bytes
    block: bytes
    certificate: CommitCertificate


@dataclass(frozen=True, slots=True)
class Behind:
    """A validator is at a greater height, so there should be final blocks to fetch from it (it may lie)."""

    validator: bytes
    height: int


@dataclass(frozen=True, slots=True)
class PeerBehind:
    """A validator is at a lower height: show it our head."""

    validator: bytes
    height: int


@dataclass(frozen=True, slots=True)
class Equivocation:
    """A validator signed two things for one round; both messages are the proof."""

    validator: bytes
    first: Message
    second: Message


@dataclass(frozen=True, slots=True)
class OwnKeyElsewhere:
    """Somebody else votes with this node's key: two machines with one key are a Byzantine validator."""

    message: Message


@dataclass(frozen=True, slots=True)
class Rejected:
    """A message that no honest node would have sent, or passed on."""

    message: Message
    reason: str


Output = (
    Persist
    | Broadcast
    | Send
    | SetTimer
    | CancelTimer
    | RequestProposal
    | Decided
    | Behind
    | PeerBehind
    | Equivocation
    | OwnKeyElsewhere
    | Rejected
)
