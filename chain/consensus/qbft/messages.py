"""The four messages of QBFT and their one canonical encoding, RLP.

A message is a part that is signed and what comes with it to justify it. Only the signed part identifies a message: two
different signed parts of one sender, kind, height and round are an equivocation. What a signature covers is in
signing.py; what justifies a message in justification.py. Decoding checks form and bounds, never a signature.
"""

from dataclasses import dataclass, replace
from enum import IntEnum

from chain.consensus.qbft.validators import MAX_VALIDATORS
from primitives import rlp
from primitives.errors import Invalid, InvalidRlp

HASH_BYTES = 32
SIGNATURE_BYTES = 65
MAX_HEIGHT_BYTES = 8
MAX_ROUND_BYTES = 4
"""With the shortest timers 2**32 rounds last centuries; a number without bound would be a way to fill memory."""
MAX_BLOCK_BYTES = 8 * 1024 * 1024
"""30,000,000 gas buy 7.5 MB of zero bytes as call data; no valid block is larger."""
MAX_MESSAGE_BYTES = MAX_BLOCK_BYTES + MAX_VALIDATORS * 256
"""A block, and for each validator a round change (117 bytes) and a prepare's signature (67 bytes)."""


class InvalidConsensusMessage(Invalid):
    """A consensus message is malformed, or says what its sender may not say."""


class Kind(IntEnum):
    """What a message is; part of what is signed."""

    PROPOSAL = 1
    PREPARE = 2
    COMMIT = 3
    ROUND_CHANGE = 4


@dataclass(frozen=True, slots=True)
class Prepared:
    """Which block a validator saw prepared, and in which round."""

    round: int
    block_hash: bytes


@dataclass(frozen=True, slots=True)
class Prepare:
    """The sender checked this round's proposal and found it good."""

    height: int
    round: int
    block_hash: bytes
    signature: bytes = b""
    """65 bytes: r, s, y parity."""


@dataclass(frozen=True, slots=True)
class Commit:
    """The sender saw a quorum of prepares. Its signature is the seal that becomes part of the block's certificate."""

    height: int
    round: int
    block_hash: bytes
    signature: bytes = b""


@dataclass(frozen=True, slots=True)
class RoundChange:
    """The sender has left all rounds before this one, and saw `prepared` (None: nothing) in the highest of them."""

    height: int
    round: int
    prepared: Prepared | None
    signature: bytes = b""
    prepare_signatures: tuple[bytes, ...] = ()
    """Not signed: a quorum's signatures under the prepares of `prepared`, in the order of their addresses."""
    block: bytes = b""
    """Not signed: the prepared block, for a proposer that never received it."""

    def without_proof(self) -> "RoundChange":
        """The signed part alone, as it stands in a proposal."""
        return replace(self, prepare_signatures=(), block=b"")


@dataclass(frozen=True, slots=True)
class Proposal:
    """The block that the proposer of a round puts to the vote."""

    height: int
    round: int
    block_hash: bytes
    signature: bytes = b""
    block: bytes = b""
    round_changes: tuple[RoundChange, ...] = ()
    """Not signed: the round changes (signed parts) of a quorum; none in round 0."""
    prepare_signatures: tuple[bytes, ...] = ()
    """Not signed: the proof of the highest prepared block among the round changes, which is then this block."""


Message = Proposal | Prepare | Commit | RoundChange


def kind_of(message: Message) -> Kind:
    match message:
        case Proposal():
            return Kind.PROPOSAL
        case Prepare():
            return Kind.PREPARE
        case Commit():
            return Kind.COMMIT
        case RoundChange():
            return Kind.ROUND_CHANGE


def claim(message: Message) -> bytes | Prepared | None:
    """What the signed part says beside kind, height and round. Two claims of one sender for one round contradict."""
    return message.prepared if isinstance(message, RoundChange) else message.block_hash


def encode_message(message: Message) -> bytes:
    """The message with everything that justifies it."""
    items: list[object] = [
        rlp.encode_int(kind_of(message)),
        rlp.encode_int(message.height),
        rlp.encode_int(message.round),
        claim_item(message),
        message.signature,
    ]
    if isinstance(message, RoundChange):
        items += [message.block, message.prepare_signatures]
    elif isinstance(message, Proposal):
        # Height and round of the round changes are the proposal's own: what is not written cannot differ.
        changes = [[claim_item(change), change.signature] for change in message.round_changes]
        items += [message.block, changes, message.prepare_signatures]
    return rlp.encode(items)


def decode_message(data: bytes) -> Message:
    """The message that data encodes. Raises InvalidConsensusMessage for anything else; bounds memory before work."""
    if len(data) > MAX_MESSAGE_BYTES:
        raise InvalidConsensusMessage(
            f"a consensus message of {len(data)} bytes; at most {MAX_MESSAGE_BYTES} are allowed"
        )
    try:
        return _message(_list(rlp.decode(data), "a message"))
    except InvalidRlp as error:
        raise InvalidConsensusMessage(f"a consensus message is not well formed: {error}") from error


def claim_item(message: Message) -> bytes | list[bytes]:
    """The claim as it is encoded and signed: a block hash; of a round change [] or [prepared round, block hash]."""
    if not isinstance(message, RoundChange):
        return message.block_hash
    if message.prepared is None:
        return []
    return [rlp.encode_int(message.prepared.round), message.prepared.block_hash]


def signatures_of(item: rlp.Item) -> tuple[bytes, ...]:
    """Up to MAX_VALIDATORS signatures in a list. Raises InvalidConsensusMessage."""
    items = _list(item, "signatures")
    if len(items) > MAX_VALIDATORS:
        raise InvalidConsensusMessage(f"{len(items)} signatures; there are at most {MAX_VALIDATORS} validators")
    return tuple(_bytes(signature, SIGNATURE_BYTES, "a signature") for signature in items)


def block_of(item: rlp.Item) -> bytes:
    """A block's bytes, empty or not. Raises InvalidConsensusMessage."""
    if not isinstance(item, bytes) or len(item) > MAX_BLOCK_BYTES:
        raise InvalidConsensusMessage(f"a block is not a string of at most {MAX_BLOCK_BYTES} bytes")
    return item


def hash_of(item: rlp.Item) -> bytes:
    return _bytes(item, HASH_BYTES, "a hash")


def _message(items: list[rlp.Item]) -> Message:
    if len(items) < 5:
        raise InvalidConsensusMessage(f"a consensus message of {len(items)} fields")
    kind = rlp.decode_int(items[0], 1)
    height, round_ = rlp.decode_int(items[1], MAX_HEIGHT_BYTES), rlp.decode_int(items[2], MAX_ROUND_BYTES)
    signature = _bytes(items[4], SIGNATURE_BYTES, "a signature")
    match kind, items[5:]:
        case Kind.PREPARE, []:
            return Prepare(height, round_, hash_of(items[3]), signature)
        case Kind.COMMIT, []:
            return Commit(height, round_, hash_of(items[3]), signature)
        case Kind.ROUND_CHANGE, [block, signatures]:
            prepared = _prepared(items[3])
            return RoundChange(height, round_, prepared, signature, signatures_of(signatures), block_of(block))
        case Kind.PROPOSAL, [block, changes, signatures]:
            return Proposal(
                height,
                round_,
                hash_of(items[3]),
                signature,
                block_of(block),
                _round_changes(changes, height, round_),
                signatures_of(signatures),
            )
    raise InvalidConsensusMessage(f"a consensus message of kind {kind} does not have {len(items)} fields")


def _round_changes(item: rlp.Item, height: int, round_: int) -> tuple[RoundChange, ...]:
    items = _list(item, "round changes")
    if len(items) > MAX_VALIDATORS:
        raise InvalidConsensusMessage(f"{len(items)} round changes; there are at most {MAX_VALIDATORS} validators")
    changes = []
    for change in items:
        fields = _list(change, "a round change")
        if len(fields) != 2:
            raise InvalidConsensusMessage(f"a round change in a proposal has 2 fields, not {len(fields)}")
        signature = _bytes(fields[1], SIGNATURE_BYTES, "a signature")
        changes.append(RoundChange(height, round_, _prepared(fields[0]), signature))
    return tuple(changes)


def _prepared(item: rlp.Item) -> Prepared | None:
    items = _list(item, "what was prepared")
    if not items:
        return None
    if len(items) != 2:
        raise InvalidConsensusMessage(f"what was prepared has 2 fields or none, not {len(items)}")
    return Prepared(rlp.decode_int(items[0], MAX_ROUND_BYTES), hash_of(items[1]))


def _list(item: rlp.Item, what: str) -> list[rlp.Item]:
    if not isinstance(item, list):
        raise InvalidConsensusMessage(f"{what}: expected a list")
    return item


def _bytes(item: rlp.Item, length: int, what: str) -> bytes:
    if not isinstance(item, bytes) or len(item) != length:
        raise InvalidConsensusMessage(f"{what} does not have {length} bytes")
    return item
