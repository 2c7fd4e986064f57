"""Blocks, keys and a chain for the QBFT tests: as small as the machine allows, since blocks are mere bytes to it."""

import hashlib

from chain.consensus.qbft.signing import Domain
from primitives import rlp
from primitives.errors import InvalidBlock, InvalidRlp, InvalidSignature
from primitives.keccak import keccak256

GENESIS_HASH = keccak256(b"genesis of the model")
DOMAIN = Domain(4711, GENESIS_HASH)


def address(index: int) -> bytes:
    return bytes(19) + bytes((index + 1,))


def build_block(height: int, parent_hash: bytes, proposer: bytes, salt: bytes) -> bytes:
    return rlp.encode([rlp.encode_int(height), parent_hash, proposer, salt])


def proposer_of(block: bytes) -> bytes:
    return _fields(block)[2]


def height_of(block: bytes) -> int:
    return rlp.decode_int(_fields(block)[0])


def _fields(block: bytes) -> list[bytes]:
    try:
        items = rlp.decode(block)
    except InvalidRlp as error:
        raise InvalidBlock("malformed") from error
    if not isinstance(items, list) or len(items) != 4 or not all(isinstance(item, bytes) for item in items):
        raise InvalidBlock("malformed")
    return items  # type: ignore[return-value]


class ModelBlocks:
    """The rules of the model's blocks; one whose salt begins with "bad" is invalid."""

    def block_hash(self, block: bytes) -> bytes:
        _fields(block)
        return keccak256(block)

    def check(self, block: bytes, height: int, parent_hash: bytes, proposer: bytes | None) -> None:
        number, parent, builder, salt = _fields(block)
        if rlp.decode_int(number) != height or parent != parent_hash or salt.startswith(b"bad"):
            raise InvalidBlock("not a child of that parent")
        if proposer is not None and builder != proposer:
            raise InvalidBlock("built by somebody else")


class ModelSigner:
    """Signatures that cost a microsecond instead of a hundred; nobody in the tests forges them."""

    def __init__(self, signer: bytes) -> None:
        self.address = signer

    def sign(self, digest: bytes) -> bytes:
        return self.address + _tag(self.address, digest)


def model_recover(digest: bytes, signature: bytes) -> bytes:
    signer = signature[:20]
    if signature[20:] != _tag(signer, digest):
        raise InvalidSignature("not signed")
    return signer


def _tag(signer: bytes, digest: bytes) -> bytes:
    return hashlib.blake2b(digest, digest_size=45, key=b"secret of " + signer).digest()
