"""What a Merkle proof says, by nothing but RLP and hashes (Yellow Paper, appendix D)."""

from collections.abc import Sequence

from primitives import rlp
from primitives.keccak import keccak256

EMPTY_ROOT = keccak256(b"\x80")


def proved_value(root: bytes, key: bytes, nodes: Sequence[bytes]) -> bytes | None:
    """The value that the nodes prove for the key; None where they prove that there is none."""
    if not nodes:
        assert root == EMPTY_ROOT
        return None
    left = list(nodes)
    reference: rlp.Item = root
    nibbles = key.hex()
    while True:
        if isinstance(reference, bytes):
            encoded = left.pop(0)
            assert keccak256(encoded) == reference
            reference = rlp.decode(encoded)
        if len(reference) == 17:
            reference, nibbles = reference[int(nibbles[0], 16)], nibbles[1:]
            if reference == b"":
                assert not left
                return None
            continue
        prefix = reference[0].hex()
        path = prefix[1:] if prefix[0] in "13" else prefix[2:]
        if not nibbles.startswith(path):
            assert not left
            return None
        nibbles = nibbles[len(path) :]
        if prefix[0] in "23":
            assert not nibbles
            assert not left
            return reference[1]
        reference = reference[1]
