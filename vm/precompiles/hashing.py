"""0x01 to 0x04: recovery of a signer's address, SHA-256, RIPEMD-160 and identity (Yellow Paper, appendix E)."""

import hashlib

from Crypto.Hash import RIPEMD160

from primitives import secp256k1
from primitives.errors import InvalidSignature
from vm.gas import words

RECOVER_GAS = 3_000
SHA256_GAS, SHA256_WORD_GAS = 60, 12
RIPEMD160_GAS, RIPEMD160_WORD_GAS = 600, 120
IDENTITY_GAS, IDENTITY_WORD_GAS = 15, 3


def recover_gas(data: bytes) -> int:
    return RECOVER_GAS


def recover(data: bytes) -> bytes:
    """hash || v || r || s, missing bytes being zeros -> address in 32 bytes; nothing where no key fits."""
    data = data[:128].ljust(128, b"\0")
    v = int.from_bytes(data[32:64], "big")
    r, s = int.from_bytes(data[64:96], "big"), int.from_bytes(data[96:], "big")
    try:
        public_key = secp256k1.recover(data[:32], v - 27, r, s)
    except InvalidSignature:
        return b""
    return bytes(12) + secp256k1.public_key_to_address(public_key)


def sha256_gas(data: bytes) -> int:
    return SHA256_GAS + SHA256_WORD_GAS * words(len(data))


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def ripemd160_gas(data: bytes) -> int:
    return RIPEMD160_GAS + RIPEMD160_WORD_GAS * words(len(data))


def ripemd160(data: bytes) -> bytes:
    """The digest in 32 bytes. By PyCryptodome: OpenSSL 3 leaves it out of hashlib."""
    return bytes(12) + RIPEMD160.new(data).digest()


def identity_gas(data: bytes) -> int:
    return IDENTITY_GAS + IDENTITY_WORD_GAS * words(len(data))


def identity(data: bytes) -> bytes:
    return data
