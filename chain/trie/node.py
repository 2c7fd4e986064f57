"""Nodes of a Merkle Patricia trie: in memory, as RLP, and as the reference by which a parent holds a child.

Yellow Paper, appendix D. A reference is kept as it stands in the parent's RLP: EMPTY, 0xa0 and a 32-byte hash, or the
child itself where its RLP is shorter than 32 bytes. A branch is then the join of its 17 items, which is what makes
encoding fast; it is a plain list for the same reason, and is never changed once it has been handed out.
"""

from typing import NamedTuple, TypeAlias

from chain.trie.nibbles import InvalidTrieNode, decode_path, encode_path, from_nibbles
from primitives import rlp
from primitives.keccak import keccak256

EMPTY = b"\x80"
EMPTY_ROOT = keccak256(EMPTY)
HASH_REFERENCE_LENGTH = 33
BRANCH_ITEMS = 17
VALUE = 16
"""The index of a branch's own value among its items, kept as RLP."""

_FULL_BRANCH = b"\xa0" * 16 + EMPTY
"""What stands at every 33rd byte of a branch whose sixteen children are all held by hash, as most are."""
_FULL_BRANCH_LENGTH = 3 + 16 * 33 + 1
_SMALLEST_BRANCH_OF_HASHES = 2 + 2 * 33 + 15
"""Bytes of a branch with two such children; an extension, whose path takes 33 at most, has 68 or less."""

Branch: TypeAlias = list[bytes]


class Extension(NamedTuple):
    path: bytes
    """At least one nibble."""
    child: bytes
    """The reference to a branch."""


class Leaf(NamedTuple):
    path: bytes
    """The nibbles that are left of the key below the place of the leaf; may be none."""
    value: bytes


InnerNode: TypeAlias = Branch | Extension
Node: TypeAlias = Branch | Extension | Leaf


def encode_branch(branch: Branch) -> bytes:
    payload = b"".join(branch)
    length = len(payload)
    if length > 0xFF:
        if length > 0xFFFF:  # only a value of a branch can be so long, and no trie of the ledger has one
            return rlp.list_prefix(length) + payload
        return b"\xf9" + length.to_bytes(2, "big") + payload
    if length > 55:
        return bytes((0xF8, length)) + payload
    return bytes((0xC0 + length,)) + payload


def encode_extension(extension: Extension) -> bytes:
    payload = rlp.encode(encode_path(extension.path, False)) + extension.child
    return rlp.list_prefix(len(payload)) + payload


def encode_leaf(leaf: Leaf) -> bytes:
    path, value = leaf
    encoded_path = from_nibbles(b"\x03" + path) if len(path) & 1 else b"\x20" + from_nibbles(path)
    length = len(value)
    if length > 55 and length < 206 and len(encoded_path) > 1:  # an account, whose way is not at its end
        payload = bytes((0x80 + len(encoded_path),)) + encoded_path + bytes((0xB8, length)) + value
        return bytes((0xF8, len(payload))) + payload
    payload = rlp.encode(encoded_path) + rlp.encode(value)
    return rlp.list_prefix(len(payload)) + payload


def encode(node: Node) -> bytes:
    if isinstance(node, list):
        return encode_branch(node)
    return encode_extension(node) if isinstance(node, Extension) else encode_leaf(node)


def reference(encoded: bytes) -> bytes:
    """What a parent holds of a child whose RLP is given."""
    return encoded if len(encoded) < 32 else b"\xa0" + keccak256(encoded)


def decode(data: bytes) -> Node:
    """The node that data encodes. Raises InvalidTrieNode or InvalidRlp."""
    if data[3::HASH_REFERENCE_LENGTH] == _FULL_BRANCH and len(data) == _FULL_BRANCH_LENGTH and data[0] == 0xF9:
        return [*[data[begin : begin + 33] for begin in range(3, _FULL_BRANCH_LENGTH - 1, 33)], EMPTY]
    begin, end = _list_bounds(data)
    items = []
    while begin < end:
        prefix = data[begin]
        if prefix == 0x80:
            items.append(EMPTY)
            begin += 1
            continue
        following = begin + HASH_REFERENCE_LENGTH if prefix == 0xA0 else encoded_end(data, begin)
        items.append(data[begin:following])
        begin = following
    if begin != end:
        raise InvalidTrieNode("an item reaches beyond the end of its node")
    if len(items) == BRANCH_ITEMS:
        return items
    if len(items) != 2:
        raise InvalidTrieNode(f"a node of {len(items)} items")
    encoded_path = rlp.decode(items[0])
    if not isinstance(encoded_path, bytes):
        raise InvalidTrieNode("a list in the place of a path")
    path, is_leaf = decode_path(encoded_path)
    if not is_leaf:
        return Extension(path, items[1])
    value = rlp.decode(items[1])
    if not isinstance(value, bytes):
        raise InvalidTrieNode("a list in the place of a value")
    return Leaf(path, value)


def child_position(data: bytes, nibble: int) -> int:
    """Where in the RLP of a branch the reference to a child that is held by its hash begins.

    0 where there is no such child, where data is no branch, or where that cannot be told without taking it apart.
    """
    length = len(data)
    if length < _SMALLEST_BRANCH_OF_HASHES:
        return 0
    if length == _FULL_BRANCH_LENGTH and data[3::HASH_REFERENCE_LENGTH] == _FULL_BRANCH:
        return 3 + HASH_REFERENCE_LENGTH * nibble
    begin = data[0] - 0xF6
    for _ in range(nibble):
        prefix = data[begin]
        if prefix == 0x80:
            begin += 1
        elif prefix == 0xA0:
            begin += HASH_REFERENCE_LENGTH
        else:
            return 0
    return begin if data[begin] == 0xA0 else 0


def _list_bounds(data: bytes) -> tuple[int, int]:
    prefix = data[0] if data else 0
    if prefix < 0xC0:
        raise InvalidTrieNode("a node that is not a list")
    begin = 1 if prefix < 0xF8 else prefix - 0xF6
    length = prefix - 0xC0 if prefix < 0xF8 else int.from_bytes(data[1:begin], "big")
    if begin + length != len(data):
        raise InvalidTrieNode("the length of a node is not that of its bytes")
    return begin, begin + length


def encoded_end(data: bytes, begin: int) -> int:
    """Where the RLP item that starts at `begin` ends; not checked against the end of data."""
    prefix = data[begin]
    if prefix < 0x80:
        return begin + 1
    if prefix < 0xB8:
        return begin + prefix - 0x7F
    if prefix < 0xC0:
        return begin + prefix - 0xB6 + int.from_bytes(data[begin + 1 : begin + prefix - 0xB6], "big")
    if prefix < 0xF8:
        return begin + prefix - 0xBF
    return begin + prefix - 0xF6 + int.from_bytes(data[begin + 1 : begin + prefix - 0xF6], "big")
