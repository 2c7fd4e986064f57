"""secp256k1 keys and recoverable signatures over 32-byte hashes, by libsecp256k1 (coincurve).

An address is the last 20 bytes of keccak-256 of the uncompressed public key (Yellow Paper, appendix F).
"""

from coincurve import PrivateKey, PublicKey

from primitives.errors import InvalidSignature
from primitives.keccak import keccak256

ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
HALF_ORDER = ORDER // 2


def private_key_is_valid(private_key: bytes) -> bool:
    return len(private_key) == 32 and 0 < int.from_bytes(private_key, "big") < ORDER


def public_key(private_key: bytes) -> bytes:
    """The 64 bytes x || y of a 32-byte private key."""
    return bytes(PrivateKey(private_key).public_key.format(compressed=False)[1:])


def public_key_to_address(public_key_bytes: bytes) -> bytes:
    """The 20-byte address of a 64-byte public key."""
    return keccak256(public_key_bytes)[12:]


def address_of(private_key: bytes) -> bytes:
    return public_key_to_address(public_key(private_key))


def sign(message_hash: bytes, private_key: bytes) -> tuple[int, int, int]:
    """(y_parity, r, s) with s in the lower half (EIP-2), deterministic (RFC 6979), over a 32-byte hash."""
    signature = PrivateKey(private_key).sign_recoverable(message_hash, hasher=None)
    return signature[64], int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:64], "big")


def recover(message_hash: bytes, y_parity: int, r: int, s: int) -> bytes:
    """The 64-byte public key that signed. Both halves of s are accepted, as the ECRECOVER precompile needs.

    Raises InvalidSignature where r, s or y_parity is out of range or no key fits.
    """
    if not (0 < r < ORDER and 0 < s < ORDER and y_parity in (0, 1)):
        raise InvalidSignature("r, s or the parity of a signature is out of range")
    encoded = r.to_bytes(32, "big") + s.to_bytes(32, "big") + bytes((y_parity,))
    try:
        key = PublicKey.from_signature_and_message(encoded, message_hash, hasher=None)
    except Exception as error:  # coincurve raises the bare Exception class when no key fits
        raise InvalidSignature("no public key fits the signature") from error
    return bytes(key.format(compressed=False)[1:])


def recover_address(message_hash: bytes, y_parity: int, r: int, s: int) -> bytes:
    """The 20-byte address that signed; s must be in the lower half (EIP-2). Raises InvalidSignature."""
    if s > HALF_ORDER:
        raise InvalidSignature("s of a signature is in the upper half of the curve's order (EIP-2)")
    return keccak256(recover(message_hash, y_parity, r, s))[12:]
