"""Addresses of new contracts (Yellow Paper equation 88, EIP-1014)."""

from primitives import rlp
from primitives.keccak import keccak256


def create_address(creator: bytes, nonce: int) -> bytes:
    """Where CREATE, or a transaction without a recipient, puts a contract; `nonce` is the creator's before it rises."""
    return keccak256(rlp.encode([creator, rlp.encode_int(nonce)]))[12:]


def create2_address(creator: bytes, salt: int, init_code: bytes) -> bytes:
    """Where CREATE2 puts a contract."""
    return keccak256(b"\xff" + creator + salt.to_bytes(32, "big") + keccak256(init_code))[12:]
