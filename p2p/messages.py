"""What peers say to each other: one table of messages with their codes, versions, sizes and fields.

A message is carried as its code and a payload, which is the msgpack array [version, field, field, ...]. Headers, block
bodies, blocks and transactions travel as the bytes that are hashed (RLP), undecoded: whoever asked for them decides
what they are worth. `decode` takes anything and raises InvalidMessage; what a node does then is for p2p/reputation.py.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import cast

import msgpack

from chain.block import MAX_BLOCK_BYTES
from chain.pool.admission import MAX_TRANSACTION_BYTES
from p2p import limits
from p2p.fields import (
    BigUint,
    Bytes,
    Choice,
    Field,
    Flag,
    HashOrNumber,
    InternetAddress,
    InvalidMessage,
    IpAddress,
    ListOf,
    Nibbles,
    NothingOr,
    Record,
    Text,
    Uint,
    exactly,
)
from p2p.framing import RawMessage

PROTOCOL_VERSION = 1
"""Of the whole conversation; both sides name theirs in Status. Messages have versions of their own."""


class UnknownMessage(InvalidMessage):
    """A code or a version that this node does not know: a newer peer, or nonsense. It can be skipped."""


class SkippedMessage(UnknownMessage):
    """A message that is larger than this node takes from that peer now; it was read and dropped."""


class DisconnectReason(IntEnum):
    """Why a connection is ended, for the other side's log."""

    UNSPECIFIED = 0
    SHUTTING_DOWN = 1
    TOO_MANY_PEERS = 2
    ALREADY_CONNECTED = 3
    MISBEHAVIOUR = 4
    BANNED = 5
    TIMEOUT = 6
    INCOMPATIBLE_VERSION = 7
    USELESS_PEER = 8


@dataclass(frozen=True, slots=True)
class Status:
    """The first message of both sides: what the node is and where its chain stands."""

    protocol_version: int
    client_version: str
    head_number: int
    head_hash: bytes
    total_difficulty: int
    listening_port: int
    """0 where the node cannot be called."""


@dataclass(frozen=True, slots=True)
class Disconnect:
    """The last message on a connection."""

    reason: DisconnectReason


@dataclass(frozen=True, slots=True)
class Ping:
    nonce: int


@dataclass(frozen=True, slots=True)
class Pong:
    """The answer to the ping with that nonce."""

    nonce: int


@dataclass(frozen=True, slots=True)
class GetPeers:
    request_id: int


@dataclass(frozen=True, slots=True)
class PeerAddress:
    """Where a node is said to be."""

    node_id: bytes
    address: IpAddress
    port: int


@dataclass(frozen=True, slots=True)
class Peers:
    request_id: int
    peers: tuple[PeerAddress, ...]


@dataclass(frozen=True, slots=True)
class AnnounceTransactions:
    """Hashes of transactions that the sender's pool holds."""

    hashes: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class GetTransactions:
    request_id: int
    hashes: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Transactions:
    """Those that the sender has of those asked for, in the order of the request; each its canonical bytes."""

    request_id: int
    transactions: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class NewBlock:
    """A whole block, pushed; one that is too large for that is announced instead."""

    block: bytes
    """RLP of [header, transactions, ommers]."""
    certificate: bytes
    """What proves the block where the header cannot (the validators' seals); empty with proof of work."""
    total_difficulty: int
    """Of the chain up to this block, as the sender sees it."""


@dataclass(frozen=True, slots=True)
class BlockAnnouncement:
    number: int
    hash: bytes


@dataclass(frozen=True, slots=True)
class AnnounceBlocks:
    """Blocks that the sender can be asked for."""

    blocks: tuple[BlockAnnouncement, ...]


@dataclass(frozen=True, slots=True)
class GetHeaders:
    """Up to `count` headers from `origin` on, with `skip` blocks left out between two, rising or falling."""

    request_id: int
    origin: bytes | int
    """A block's hash, or a number on the sender's canonical chain."""
    count: int
    skip: int
    falling: bool


@dataclass(frozen=True, slots=True)
class CertifiedHeader:
    header: bytes
    """RLP."""
    certificate: bytes
    """As in NewBlock."""


@dataclass(frozen=True, slots=True)
class Headers:
    request_id: int
    headers: tuple[CertifiedHeader, ...]


@dataclass(frozen=True, slots=True)
class GetBodies:
    request_id: int
    block_hashes: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Bodies:
    """One an asked hash, in that order; the answer may end early. Empty bytes: the sender has no such block."""

    request_id: int
    bodies: tuple[bytes, ...]
    """RLP of the list of transactions."""


@dataclass(frozen=True, slots=True)
class GetReceipts:
    request_id: int
    block_hashes: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Receipts:
    """As Bodies: one an asked hash; empty where the sender has no such block, or not what it did."""

    request_id: int
    receipts: tuple[bytes, ...]
    """As chain.receipt.encode_receipts writes those of one block: the blooms follow from the logs."""


@dataclass(frozen=True, slots=True)
class StatePlace:
    """A node of a state's tries, by the way to it."""

    owner: bytes
    """Empty for the trie of accounts, else the 32-byte key (keccak-256 of the address) whose storage trie is meant."""
    path: bytes
    """Nibbles from the trie's root, a byte each."""


@dataclass(frozen=True, slots=True)
class GetStatePieces:
    """Pieces of the state after one block."""

    request_id: int
    block_hash: bytes
    places: tuple[StatePlace, ...]


@dataclass(frozen=True, slots=True)
class StatePieces:
    """One an asked place, in that order; the answer may end early. None at all: the sender does not keep that state.
    Empty bytes: nothing stands at that place."""

    request_id: int
    pieces: tuple[bytes, ...]
    """As chain.state_pieces writes them."""


@dataclass(frozen=True, slots=True)
class GetCodes:
    request_id: int
    code_hashes: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Codes:
    """As Bodies: one an asked hash; empty where the sender has no such code."""

    request_id: int
    codes: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Consensus:
    """What validators say to each other, undecoded: a message of chain.consensus.qbft.messages."""

    relay: bool
    """To be passed on, because its sender does not reach all whom it is for."""
    data: bytes


Message = (
    Status | Disconnect | Ping | Pong | GetPeers | Peers
    | AnnounceTransactions | GetTransactions | Transactions
    | NewBlock | AnnounceBlocks | GetHeaders | Headers | GetBodies | Bodies
    | GetReceipts | Receipts | GetStatePieces | StatePieces | GetCodes | Codes | Consensus
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class MessageType:
    """One row of the table."""

    code: int
    version: int
    max_bytes: int
    """Of the payload. Checked before a payload is received, let alone decoded."""
    record: Record
    is_skippable: bool = False
    """What is larger than a peer may send at present is read and dropped, up to max_bytes: whom the peer is for others
    may not be known here yet, and then it breaks no rule."""

    @property
    def name(self) -> str:
        return self.record.kind.__name__


_HASH = exactly(32)
_REQUEST_ID = Uint(32)
_TOTAL_DIFFICULTY = BigUint(limits.MAX_TOTAL_DIFFICULTY_BYTES)
_CERTIFICATE = Bytes(limits.MAX_CERTIFICATE_BYTES)
_SMALL = limits.ENVELOPE_BYTES


def _row(
    code: int, version: int, max_bytes: int, kind: type, *fields: Field, is_skippable: bool = False
) -> MessageType:
    return MessageType(code, version, max_bytes, Record(kind, *fields), is_skippable)


def _hashes(count: int) -> tuple[int, ListOf]:
    """A payload limit and a field for a list of 1 to `count` hashes, 34 bytes each in msgpack."""
    return _SMALL + 34 * count, ListOf(_HASH, count, min_items=1)


_ANNOUNCED = _hashes(limits.MAX_ANNOUNCED_TRANSACTIONS)
_REQUESTED = _hashes(limits.MAX_REQUESTED_TRANSACTIONS)
_BODIES = _hashes(limits.MAX_REQUESTED_BODIES)
_RECEIPTS = _hashes(limits.MAX_REQUESTED_RECEIPTS)
_CODES = _hashes(limits.MAX_REQUESTED_CODES)
_PEER = Record(PeerAddress, exactly(20), InternetAddress(), Uint(16))
_ANNOUNCEMENT = Record(BlockAnnouncement, Uint(64), _HASH)
_PLACE = Record(StatePlace, NothingOr(_HASH), Nibbles(limits.MAX_STATE_PATH_NIBBLES))
_HEADER = Record(CertifiedHeader, Bytes(limits.MAX_HEADER_BYTES, 1), _CERTIFICATE)

TABLE: tuple[MessageType, ...] = (
    _row(0x00, 1, _SMALL, Status, Uint(16), Text(limits.MAX_CLIENT_VERSION_CHARACTERS), Uint(64), _HASH,
         _TOTAL_DIFFICULTY, Uint(16)),
    _row(0x01, 1, _SMALL, Disconnect, Choice(DisconnectReason, DisconnectReason.UNSPECIFIED)),
    _row(0x02, 1, _SMALL, Ping, Uint(64)),
    _row(0x03, 1, _SMALL, Pong, Uint(64)),
    _row(0x04, 1, _SMALL, GetPeers, _REQUEST_ID),
    _row(0x05, 1, _SMALL + 48 * limits.MAX_EXCHANGED_PEERS, Peers, _REQUEST_ID,
         ListOf(_PEER, limits.MAX_EXCHANGED_PEERS)),
    _row(0x10, 1, _ANNOUNCED[0], AnnounceTransactions, _ANNOUNCED[1]),
    _row(0x11, 1, _REQUESTED[0], GetTransactions, _REQUEST_ID, _REQUESTED[1]),
    _row(0x12, 1, _SMALL + limits.MAX_TRANSACTIONS_MESSAGE_BYTES, Transactions, _REQUEST_ID,
         ListOf(Bytes(MAX_TRANSACTION_BYTES, 1), limits.MAX_REQUESTED_TRANSACTIONS)),
    _row(0x20, 1, _SMALL + limits.MAX_NEW_BLOCK_BYTES, NewBlock, Bytes(limits.MAX_PUSHED_BLOCK_BYTES, 1), _CERTIFICATE,
         _TOTAL_DIFFICULTY),
    _row(0x21, 1, _SMALL + 48 * limits.MAX_ANNOUNCED_BLOCKS, AnnounceBlocks,
         ListOf(_ANNOUNCEMENT, limits.MAX_ANNOUNCED_BLOCKS, min_items=1)),
    _row(0x22, 1, _SMALL, GetHeaders, _REQUEST_ID, HashOrNumber(), Uint(16, limits.MAX_REQUESTED_HEADERS),
         Uint(32, limits.MAX_HEADER_SKIP), Flag()),
    _row(0x23, 1, _SMALL + limits.MAX_HEADERS_MESSAGE_BYTES, Headers, _REQUEST_ID,
         ListOf(_HEADER, limits.MAX_REQUESTED_HEADERS)),
    _row(0x24, 1, _BODIES[0], GetBodies, _REQUEST_ID, _BODIES[1]),
    _row(0x25, 1, _SMALL + limits.MAX_BODIES_MESSAGE_BYTES, Bodies, _REQUEST_ID,
         ListOf(Bytes(MAX_BLOCK_BYTES), limits.MAX_REQUESTED_BODIES)),
    _row(0x26, 1, _RECEIPTS[0], GetReceipts, _REQUEST_ID, _RECEIPTS[1]),
    _row(0x27, 1, _SMALL + limits.MAX_RECEIPTS_MESSAGE_BYTES, Receipts, _REQUEST_ID,
         ListOf(Bytes(limits.MAX_RECEIPTS_BYTES), limits.MAX_REQUESTED_RECEIPTS)),
    _row(0x28, 1, _SMALL + limits.MAX_REQUESTED_STATE_PIECES * (40 + limits.MAX_STATE_PATH_NIBBLES), GetStatePieces,
         _REQUEST_ID, _HASH, ListOf(_PLACE, limits.MAX_REQUESTED_STATE_PIECES, min_items=1)),
    _row(0x29, 1, _SMALL + limits.MAX_STATE_PIECES_MESSAGE_BYTES, StatePieces, _REQUEST_ID,
         ListOf(Bytes(limits.MAX_STATE_PIECE_BYTES), limits.MAX_REQUESTED_STATE_PIECES)),
    _row(0x2A, 1, _CODES[0], GetCodes, _REQUEST_ID, _CODES[1]),
    _row(0x2B, 1, _SMALL + limits.MAX_CODES_MESSAGE_BYTES, Codes, _REQUEST_ID,
         ListOf(Bytes(limits.MAX_SENT_CODE_BYTES), limits.MAX_REQUESTED_CODES)),
    _row(0x30, 1, _SMALL + limits.MAX_CONSENSUS_MESSAGE_BYTES, Consensus, Flag(),
         Bytes(limits.MAX_CONSENSUS_MESSAGE_BYTES, 1), is_skippable=True),
)  # fmt: skip
"""A code is never used again for something else. A changed message gets the next version, the others keep theirs."""

_BY_CODE = {row.code: row for row in TABLE}
_BY_CLASS = {row.record.kind: row for row in TABLE}


def max_payload_bytes(code: int) -> int | None:
    """The largest payload of messages with this code; None for an unknown code."""
    row = _BY_CODE.get(code)
    return None if row is None else row.max_bytes


def max_skipped_bytes(code: int) -> int:
    """Up to which size a message with this code that is larger than allowed is dropped; a larger one is a fault."""
    row = _BY_CODE.get(code)
    return row.max_bytes if row is not None and row.is_skippable else 0


def code_of(kind: type[Message]) -> int:
    """The code under which messages of this class are carried."""
    return _BY_CLASS[kind].code


def encode(message: Message) -> RawMessage:
    """Raises ValueError for a message that no peer would accept: a mistake of ours."""
    row = _BY_CLASS[type(message)]
    try:
        fields = cast("tuple[object, ...]", row.record.to_wire(message))
    except InvalidMessage as error:
        raise ValueError(f"{row.name} cannot be sent: {error}") from error
    payload = cast(bytes, msgpack.packb((row.version, *fields), use_bin_type=True))
    if len(payload) > row.max_bytes:
        raise ValueError(f"{row.name} of {len(payload)} bytes cannot be sent: at most {row.max_bytes} are accepted")
    return RawMessage(row.code, payload)


def decode(raw: RawMessage) -> Message:
    """Raises UnknownMessage, or InvalidMessage with the reason, for anything but one message of the table."""
    row = _BY_CODE.get(raw.code)
    if row is None:
        raise UnknownMessage(f"a message with the unknown code 0x{raw.code:02x}")
    items = _unpack(row, raw.payload)
    if items[0] != row.version or type(items[0]) is not int:
        raise UnknownMessage(f"{row.name} in another version than {row.version}")
    try:
        return cast(Message, row.record.from_wire(items[1:]))
    except InvalidMessage as error:
        raise InvalidMessage(f"{row.name}: {error}") from error


def _unpack(row: MessageType, payload: bytes) -> tuple[object, ...]:
    if len(payload) > row.max_bytes:
        raise InvalidMessage(f"{row.name} of {len(payload)} bytes; at most {row.max_bytes} are accepted")
    # msgpack reserves memory for as many items as an array claims to have, once a level: so the claim is bounded.
    # It ends nesting by itself, with an error, at 1,024 levels.
    max_items = row.record.max_count + 1
    try:
        items = msgpack.unpackb(
            payload,
            use_list=False,
            raw=False,
            max_array_len=max_items,
            max_map_len=0,
            max_ext_len=0,
            max_str_len=len(payload),
            max_bin_len=len(payload),
        )
    except ValueError as error:
        raise InvalidMessage(f"{row.name} is not msgpack as declared: {type(error).__name__}") from error
    if type(items) is not tuple or not items:
        raise InvalidMessage(f"{row.name} is not an array that begins with a version")
    return items
