"""Paths through a trie: half-bytes ("nibbles"), one to a byte, and their hex-prefix encoding inside a node.

Yellow Paper, appendix C. The first half-byte of an encoded path says whether its length is odd (1) and whether the node
is a leaf (2).
"""

from primitives.errors import Invalid

_FROM_HEX = bytes.maketrans(b"0123456789abcdef", bytes(range(16)))
_TO_HEX = bytes.maketrans(bytes(range(16)), b"0123456789abcdef")


class InvalidTrieNode(Invalid):
    """Bytes that should be a node of a Merkle Patricia trie are not."""


def to_nibbles(key: bytes) -> bytes:
    """Two nibbles for every byte of key, the high one first."""
    return key.hex().encode().translate(_FROM_HEX)


def from_nibbles(nibbles: bytes) -> bytes:
    """The bytes of an even number of nibbles."""
    return bytes.fromhex(nibbles.translate(_TO_HEX).decode())


def encode_path(nibbles: bytes, is_leaf: bool) -> bytes:
    """The hex-prefix encoding of a path."""
    if len(nibbles) & 1:
        return from_nibbles((b"\x03" if is_leaf else b"\x01") + nibbles)
    return (b"\x20" if is_leaf else b"\x00") + from_nibbles(nibbles)


def decode_path(encoded: bytes) -> tuple[bytes, bool]:
    """(nibbles, is_leaf) of a hex-prefix encoded path. Raises InvalidTrieNode where it is not canonical."""
    nibbles = to_nibbles(encoded)
    if not nibbles or nibbles[0] > 3 or (not nibbles[0] & 1 and nibbles[1] != 0):
        raise InvalidTrieNode(f"not a hex-prefix encoded path: 0x{encoded.hex()}")
    return nibbles[1 if nibbles[0] & 1 else 2 :], nibbles[0] >= 2


def common_length(first: bytes, second: bytes, start: int = 0) -> int:
    """How many nibbles from `start` on two paths share."""
    end = min(len(first), len(second))
    position = start
    while position < end and first[position] == second[position]:
        position += 1
    return position - start
