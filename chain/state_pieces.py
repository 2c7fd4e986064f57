"""Pieces of a state, as nodes fetch them from each other: each is checked by its hash alone.

A piece is what stands at one place of one trie: all leaves below that place where they are few, else the one node that
is there. A place is an owner (empty for the account trie, else the key of the account whose storage is meant) and a
path, one byte a nibble. Whoever asks knows the hash that belongs there: from the state root of a header, from the node
above, from the account; so nobody needs to be believed. An account that has storage comes with its address, because
storage is kept by address here and a key does not tell it.

As RLP: [0, node], [1, [[key, nonce, balance, code hash, storage root, address], ...]] or [2, [[key, value], ...]], with
empty bytes for the hash of no code, the root of no storage and the address of an account without storage.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias, TypeVar

from chain.account import EMPTY_CODE_HASH, EMPTY_TRIE_ROOT, Account
from chain.store.records import StoredAccount
from chain.trie.nibbles import from_nibbles, to_nibbles
from chain.trie.node import BRANCH_ITEMS, EMPTY, HASH_REFERENCE_LENGTH, VALUE, Extension, Leaf, Node, decode
from chain.trie.update import encode_subtree
from primitives import rlp
from primitives.errors import Invalid, InvalidRlp
from primitives.keccak import keccak256

MAX_PIECE_BYTES = 64 * 1024
"""Some 1,300 accounts, which a PC checks in some 30 ms; a state of a million accounts is some 4,400 pieces."""

KEY_NIBBLES = 64
ACCOUNT_TRIE = b""
"""The owner of the account trie."""

ADDRESS_BYTES = 20
HASH_BYTES = 32
NONCE_BYTES = 8

_MAX_ITEMS = MAX_PIECE_BYTES // 4
"""More than any piece has: a leaf of a storage trie is three items in 35 bytes at least."""
_NODE, _ACCOUNTS, _SLOTS = range(3)

L = TypeVar("L", bound="AccountLeaf | SlotLeaf")


class InvalidStatePiece(Invalid):
    """Bytes are no piece of a state, or not the one that belongs at that place."""


class Place(NamedTuple):
    """Where in a state a piece belongs."""

    owner: bytes
    """ACCOUNT_TRIE, or the 32-byte key of the account whose storage trie is meant."""
    path: bytes = b""
    """Nibbles, a byte each."""


class PieceRequest(NamedTuple):
    """A place, and the hash of the node that must stand there."""

    place: Place
    expected_hash: bytes


class AccountLeaf(NamedTuple):
    """An account in the account trie."""

    key: bytes
    stored: StoredAccount
    address: bytes = b""
    """Where the account has storage; its keccak-256 is the key."""


class SlotLeaf(NamedTuple):
    """A slot that holds something, in the storage trie of its account."""

    key: bytes
    value: bytes
    """The shortest big-endian bytes."""


@dataclass(frozen=True, slots=True)
class TrieNode:
    """A branch or an extension; what is below comes in pieces of its own."""

    encoded: bytes

    def encode(self) -> bytes:
        return rlp.encode((_kind(_NODE), self.encoded))


@dataclass(frozen=True, slots=True)
class AccountLeaves:
    """All accounts below a place of the account trie, in the order of keys."""

    leaves: tuple[AccountLeaf, ...]

    def encode(self) -> bytes:
        return rlp.encode((_kind(_ACCOUNTS), [_account_fields(leaf) for leaf in self.leaves]))


@dataclass(frozen=True, slots=True)
class SlotLeaves:
    """All slots below a place of a storage trie, in the order of keys."""

    leaves: tuple[SlotLeaf, ...]

    def encode(self) -> bytes:
        return rlp.encode((_kind(_SLOTS), self.leaves))


StatePiece: TypeAlias = TrieNode | AccountLeaves | SlotLeaves


@dataclass(frozen=True, slots=True)
class CheckedPiece:
    """What a piece says, once it is proved to be what belongs at its place."""

    accounts: Sequence[AccountLeaf] = ()
    slots: Sequence[SlotLeaf] = ()
    children: Sequence[PieceRequest] = ()
    """What hangs on a node: the pieces to ask for next."""


def decode_piece(data: bytes) -> StatePiece:
    """Of foreign bytes, canonical and bounded. Raises InvalidStatePiece."""
    if len(data) > MAX_PIECE_BYTES:
        raise InvalidStatePiece(f"a piece of {len(data)} bytes; at most {MAX_PIECE_BYTES} are taken")
    try:
        match rlp.decode(data, _MAX_ITEMS):
            case [b"", bytes(encoded)]:
                return TrieNode(encoded)
            case [b"\x01", list(items)]:
                return AccountLeaves(_leaves(items, _account_leaf))
            case [b"\x02", list(items)]:
                return SlotLeaves(_leaves(items, _slot_leaf))
    except InvalidRlp as error:
        raise InvalidStatePiece(f"not a piece of a state: {error}") from error
    raise InvalidStatePiece("not a piece of a state: neither a node nor leaves")


def check_piece(request: PieceRequest, piece: StatePiece) -> CheckedPiece:
    """See that a piece is what was asked for, by its hash. Raises InvalidStatePiece."""
    place, expected_hash = request
    if isinstance(piece, TrieNode):
        if keccak256(piece.encoded) != expected_hash:
            raise InvalidStatePiece(f"not the node that belongs at {describe(place)}")
        return _opened(place, piece.encoded)
    if isinstance(piece, AccountLeaves) is not (place.owner == ACCOUNT_TRIE):
        raise InvalidStatePiece(f"leaves of the wrong kind for {describe(place)}")
    entries = [(to_nibbles(leaf.key), leaf_value(leaf)) for leaf in piece.leaves]
    if not all(key.startswith(place.path) for key, _ in entries):
        raise InvalidStatePiece(f"a leaf that does not belong below {describe(place)}")
    if keccak256(encode_subtree(place.path, entries)) != expected_hash:
        raise InvalidStatePiece(f"not the leaves that belong at {describe(place)}")
    if isinstance(piece, AccountLeaves):
        return CheckedPiece(accounts=piece.leaves)
    return CheckedPiece(slots=piece.leaves)


def leaf_value(leaf: AccountLeaf | SlotLeaf) -> bytes:
    """What the trie holds at the leaf's key."""
    return leaf.stored.leaf_value if isinstance(leaf, AccountLeaf) else rlp.encode(leaf.value)


def describe(place: Place) -> str:
    """For messages."""
    trie = "the account trie" if place.owner == ACCOUNT_TRIE else f"the storage of account 0x{place.owner.hex()}"
    path = "".join(f"{nibble:x}" for nibble in place.path)
    return f"{path} of {trie}" if path else f"the root of {trie}"


# Leaves


def _kind(kind: int) -> bytes:
    return rlp.encode_int(kind)


def _account_fields(leaf: AccountLeaf) -> tuple[bytes, ...]:
    (nonce, balance, code_hash), storage_root = leaf.stored
    return (
        leaf.key,
        rlp.encode_int(nonce),
        rlp.encode_int(balance),
        b"" if code_hash == EMPTY_CODE_HASH else code_hash,
        b"" if storage_root == EMPTY_TRIE_ROOT else storage_root,
        leaf.address,
    )


def _leaves(items: list[rlp.Item], decode_leaf: Callable[[rlp.Item], L]) -> tuple[L, ...]:
    leaves = tuple(decode_leaf(item) for item in items)
    if not leaves:
        raise InvalidStatePiece("a piece without leaves")
    if any(leaves[index].key >= leaves[index + 1].key for index in range(len(leaves) - 1)):
        raise InvalidStatePiece("leaves out of order")
    return leaves


def _account_leaf(item: rlp.Item) -> AccountLeaf:
    match item:
        case [bytes(key), nonce, balance, bytes(code_hash), bytes(storage_root), bytes(address)]:
            _check_key(key)
            account = Account(
                rlp.decode_int(nonce, NONCE_BYTES),
                rlp.decode_int(balance),
                _hash_or(EMPTY_CODE_HASH, code_hash),
            )
            stored = StoredAccount(account, _hash_or(EMPTY_TRIE_ROOT, storage_root))
            if not storage_root:
                if address:
                    raise InvalidStatePiece("an address where an account has no storage")
            elif len(address) != ADDRESS_BYTES or keccak256(address) != key:
                raise InvalidStatePiece(f"not the address of account 0x{key.hex()}")
            return AccountLeaf(key, stored, address)
    raise InvalidStatePiece("not an account")


def _slot_leaf(item: rlp.Item) -> SlotLeaf:
    match item:
        case [bytes(key), bytes(value)]:
            _check_key(key)
            _check_slot_value(value)
            return SlotLeaf(key, value)
    raise InvalidStatePiece("not a slot")


def _check_key(key: bytes) -> None:
    if len(key) != HASH_BYTES:
        raise InvalidStatePiece(f"a key of {len(key)} bytes")


def _check_slot_value(value: bytes) -> None:
    if not 0 < len(value) <= HASH_BYTES or value[0] == 0:
        raise InvalidStatePiece("a slot's value is not 1 to 32 bytes without leading zeros")


def _hash_or(absent: bytes, field: bytes) -> bytes:
    """A hash, or what empty bytes stand for, which is never written out."""
    if not field:
        return absent
    if len(field) != HASH_BYTES or field == absent:
        raise InvalidStatePiece("not a hash, or that of nothing written out")
    return field


# Nodes. Their hash is right, but whoever made the state may have put anything behind it.


def _opened(place: Place, encoded: bytes) -> CheckedPiece:
    slots: list[SlotLeaf] = []
    children: list[PieceRequest] = []
    node = _decoded_node(encoded)
    if isinstance(node, Leaf):
        raise InvalidStatePiece(f"a lone leaf at {describe(place)} is sent as a node")
    _open(place, node, slots, children)
    return CheckedPiece(slots=slots, children=children)


def _open(place: Place, node: Node, slots: list[SlotLeaf], children: list[PieceRequest]) -> None:
    """Gather what hangs on a node; one that is embedded, being shorter than its hash, is opened as well."""
    if isinstance(node, Leaf):
        slots.append(_embedded_slot(place, node))
    elif isinstance(node, Extension):
        if not node.path:
            raise InvalidStatePiece(f"an extension at {describe(place)} that leads nowhere")
        _open_child(Place(place.owner, place.path + node.path), node.child, slots, children)
    else:
        if node[VALUE] != EMPTY or node.count(EMPTY) > BRANCH_ITEMS - 2:
            raise InvalidStatePiece(f"the branch at {describe(place)} has a value, or fewer than two children")
        for nibble, reference in enumerate(node[:VALUE]):
            if reference != EMPTY:
                _open_child(Place(place.owner, place.path + bytes((nibble,))), reference, slots, children)


def _open_child(place: Place, reference: bytes, slots: list[SlotLeaf], children: list[PieceRequest]) -> None:
    if len(place.path) > KEY_NIBBLES:
        raise InvalidStatePiece("a trie deeper than its keys are long")
    if len(reference) == HASH_REFERENCE_LENGTH and reference[0] == 0xA0:
        children.append(PieceRequest(place, reference[1:]))
    elif len(reference) < HASH_BYTES and reference[0] >= 0xC0:
        _open(place, _decoded_node(reference), slots, children)
    else:
        raise InvalidStatePiece(f"what should lead to {describe(place)} is neither a hash nor a node")


def _embedded_slot(place: Place, leaf: Leaf) -> SlotLeaf:
    key = place.path + leaf.path
    if place.owner == ACCOUNT_TRIE or len(key) != KEY_NIBBLES:
        raise InvalidStatePiece(f"a leaf inside a node, where none can be, at {describe(place)}")
    try:
        value = rlp.decode(leaf.value)
    except InvalidRlp as error:
        raise InvalidStatePiece(f"the value of a slot at {describe(place)}: {error}") from error
    if not isinstance(value, bytes):
        raise InvalidStatePiece(f"a list as the value of a slot at {describe(place)}")
    _check_slot_value(value)
    return SlotLeaf(from_nibbles(key), value)


def _decoded_node(encoded: bytes) -> Node:
    try:
        return decode(encoded)
    except Invalid as error:
        raise InvalidStatePiece(f"not a node of a trie: {error}") from error
