"""What a validator must remember to keep its word after a crash, as rows for the vote store and back.

A row is never read from anybody else: one that does not decode means a damaged disk, and stops the validator.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar

from chain.consensus.qbft.events import Vote, VoteKind
from chain.consensus.qbft.messages import (
    MAX_ROUND_BYTES,
    Commit,
    InvalidConsensusMessage,
    Message,
    Prepare,
    Proposal,
    RoundChange,
    block_of,
    decode_message,
    encode_message,
    hash_of,
    kind_of,
    signatures_of,
)
from chain.consensus.qbft.signing import Authenticator
from chain.consensus.qbft.validators import ValidatorSet
from primitives import rlp

_M = TypeVar("_M", bound=Message)


@dataclass(frozen=True, slots=True)
class PreparedBlock:
    """The last block that this node saw prepared, with the proof: what it commits to, and names in a round change."""

    round: int
    block_hash: bytes
    block: bytes
    prepare_signatures: tuple[bytes, ...]


@dataclass(slots=True)
class OwnVotes:
    """The newest of each kind that this node sent at one height."""

    proposal: Proposal | None = None
    prepare: Prepare | None = None
    commit: Commit | None = None
    round_change: RoundChange | None = None
    prepared: PreparedBlock | None = None

    @property
    def messages(self) -> list[Message]:
        sent = (self.round_change, self.proposal, self.prepare, self.commit)
        return [message for message in sent if message is not None]

    @property
    def round(self) -> int:
        """The highest round that was voted in; nothing below may be voted in any more."""
        return max((message.round for message in self.messages), default=0)


def vote_of(message: Message) -> Vote:
    """The row of a message that is about to be sent."""
    return Vote(message.height, VoteKind(kind_of(message)), encode_message(message))


def vote_of_prepared(height: int, prepared: PreparedBlock) -> Vote:
    items = [rlp.encode_int(prepared.round), prepared.block_hash, prepared.block, prepared.prepare_signatures]
    return Vote(height, VoteKind.PREPARED_BLOCK, rlp.encode(items))


def restore(votes: Iterable[Vote]) -> OwnVotes:
    """What the rows of one height say. Raises InvalidRlp or InvalidConsensusMessage where the store is damaged."""
    own = OwnVotes()
    for vote in votes:
        if vote.kind is VoteKind.PREPARED_BLOCK:
            own.prepared = _prepared_block(vote.data)
            continue
        message = decode_message(vote.data)
        if kind_of(message) != int(vote.kind) or message.height != vote.height:
            raise InvalidConsensusMessage(f"the vote store has another message where its {vote.kind.name} should be")
        match message:
            case Proposal():
                own.proposal = message
            case Prepare():
                own.prepare = message
            case Commit():
                own.commit = message
            case RoundChange():
                own.round_change = message
    return own


def without_void_votes(
    own: OwnVotes, height: int, voter: bytes, validators: ValidatorSet, authenticator: Authenticator
) -> OwnVotes:
    """What is left of them on a block whose validators the operators named, perhaps after these votes were given."""

    def kept(message: _M | None) -> _M | None:
        return message if message is not None and authenticator.is_signed_by(voter, message) else None

    prepared = own.prepared
    if prepared is not None:
        prepare = Prepare(height, prepared.round, prepared.block_hash)
        if not authenticator.quorum_signed(prepare, prepared.prepare_signatures, validators):
            prepared = None
    return OwnVotes(kept(own.proposal), kept(own.prepare), kept(own.commit), kept(own.round_change), prepared)


def _prepared_block(data: bytes) -> PreparedBlock:
    match rlp.decode(data):
        case [round_, block_hash, block, signatures]:
            round_number = rlp.decode_int(round_, MAX_ROUND_BYTES)
            return PreparedBlock(round_number, hash_of(block_hash), block_of(block), signatures_of(signatures))
    raise InvalidConsensusMessage("the prepared block in the vote store does not have 4 fields")
