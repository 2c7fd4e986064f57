"""What the machine knows of the height it is deciding, and the messages of the next height that came too early."""

from dataclasses import dataclass, field

from chain.consensus.qbft.messages import Kind, Message, Proposal, kind_of
from chain.consensus.qbft.tally import Tally
from chain.consensus.qbft.validators import ValidatorSet
from chain.consensus.qbft.votes import OwnVotes


@dataclass(frozen=True, slots=True)
class Accepted:
    """The block of the present round that this node prepares."""

    block_hash: bytes
    block: bytes
    proposal: Proposal | None
    """How it was proposed; None where only the prepared block was left after a restart."""


@dataclass(slots=True)
class HeightState:
    """One height, from the block before it to the decision."""

    number: int
    parent_hash: bytes
    previous_proposer: bytes
    validators: ValidatorSet
    voting: bool
    """Whether this node may vote here: it is a validator, and remembers what it voted."""
    round: int = 0
    open: bool = False
    """Whether the round's time is running: in round 0 a block must be due first."""
    block_due: bool = False
    empty_block_due: bool = False
    accepted: Accepted | None = None
    requested: bool = False
    """Whether a block for this round was asked for."""
    decided: bool = False
    own: OwnVotes = field(default_factory=OwnVotes)
    tally: Tally = field(default_factory=Tally)
    equivocated: set[tuple[bytes, Kind]] = field(default_factory=set)
    """What was reported already."""

    def newest(self) -> list[Message]:
        """What others need from this node now. A round change has done its work when a proposal follows it."""
        return [
            message
            for message in self.own.messages
            if message.round == self.round and (self.accepted is None or kind_of(message) is not Kind.ROUND_CHANGE)
        ]

    def block(self, block_hash: bytes) -> bytes | None:
        """The block of that hash, from wherever it came."""
        if self.accepted is not None and self.accepted.block_hash == block_hash:
            return self.accepted.block
        prepared = self.own.prepared
        if prepared is not None and prepared.block_hash == block_hash:
            return prepared.block
        return self.tally.block(block_hash)


class EarlyMessages:
    """Messages of the next height, while the last block is still being imported here.

    One of each kind and validator, the one of the highest round: a validator fills its own places only. Further heights
    are not kept, since who is that far behind fetches final blocks, and messages are repeated.
    """

    def __init__(self) -> None:
        self._messages: dict[tuple[bytes, Kind], Message] = {}

    def hold(self, sender: bytes, message: Message) -> None:
        key = (sender, kind_of(message))
        held = self._messages.get(key)
        if held is None or (held.height, held.round) < (message.height, message.round):
            self._messages[key] = message

    def take(self, height: int) -> list[Message]:
        """The messages of that height; nothing is held afterwards."""
        messages = [message for message in self._messages.values() if message.height == height]
        self._messages.clear()
        return messages
