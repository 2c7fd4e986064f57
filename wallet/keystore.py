"""Private keys encrypted with a password: the text of a Web3 Secret Storage version 3 file, as Ethereum tools read it.

No files are touched here; wallet/key_directory.py keeps them. Key derivation is scrypt (or PBKDF2 when reading), the
cipher AES-128-CTR, the check keccak-256 over half of the derived key and the ciphertext.
"""

import hashlib
import hmac
import json
import re
import secrets
import uuid
from collections.abc import Mapping
from dataclasses import dataclass

from Crypto.Cipher import AES

from primitives.errors import InvalidKeystore
from primitives.json_text import InvalidJson, parse_json
from primitives.keccak import keccak256
from primitives.secp256k1 import address_of, private_key_is_valid


@dataclass(frozen=True, slots=True)
class ScryptCost:
    """scrypt takes 128 * n * r bytes of memory, and time in proportion to n * r * p."""

    n: int
    r: int
    p: int

    @property
    def memory_bytes(self) -> int:
        return 128 * self.r * (self.n + self.p)


STANDARD_COST = ScryptCost(2**18, 8, 1)
"""What geth writes by default: 256 MiB and about a second on a desktop computer."""
LIGHT_COST = ScryptCost(2**14, 8, 5)
"""For a small computer: 16 MiB, the work that OWASP's password storage guidance asks for at that memory."""

# A key file has about 500 bytes; comments of other tools fit as well.
MAX_FILE_BYTES = 64 * 1024
# The standard cost and nothing beyond: a hostile file must not exhaust a computer with 1 GB.
MAX_SCRYPT_MEMORY_BYTES = 2**28 + 2**20
# Eight times the work of the standard cost, some ten seconds.
MAX_SCRYPT_WORK = 2**24
# About five seconds of HMAC-SHA256; common files use 262,144.
MAX_PBKDF2_ROUNDS = 10_000_000
MAX_SALT_BYTES = 1024
# Half of the derived key encrypts, half checks; more is never used.
DERIVED_KEY_BYTES = 32

_HEX = re.compile(r"(?:0x)?((?:[0-9a-fA-F]{2})*)", re.ASCII)


class WrongPassword(InvalidKeystore):
    """The password does not open the key file (or the file was altered, which cannot be told apart)."""


def encrypt_key(private_key: bytes, password: str, cost: ScryptCost = STANDARD_COST) -> str:
    """The text of a new key file for a valid 32-byte private key."""
    salt, iv = secrets.token_bytes(32), secrets.token_bytes(16)
    derived = _scrypt(password.encode(), salt, cost, DERIVED_KEY_BYTES)
    ciphertext = _aes_ctr(derived[:16], iv, private_key)
    crypto = {
        "cipher": "aes-128-ctr",
        "cipherparams": {"iv": iv.hex()},
        "ciphertext": ciphertext.hex(),
        "kdf": "scrypt",
        "kdfparams": {"dklen": DERIVED_KEY_BYTES, "n": cost.n, "r": cost.r, "p": cost.p, "salt": salt.hex()},
        "mac": keccak256(derived[16:32] + ciphertext).hex(),
    }
    document = {"address": address_of(private_key).hex(), "crypto": crypto, "id": str(uuid.uuid4()), "version": 3}
    return json.dumps(document, indent=2) + "\n"


def decrypt_key(text: str | bytes, password: str) -> bytes:
    """The private key in a key file. Raises WrongPassword, or InvalidKeystore where the file itself is no good."""
    document = _document(text)
    crypto = _member(document, "crypto")
    if crypto.get("cipher") != "aes-128-ctr":
        raise InvalidKeystore(f"the key file uses the cipher {crypto.get('cipher')!r}; only aes-128-ctr is known")
    iv = _bytes(_member(crypto, "cipherparams"), "iv", 16)
    ciphertext = _bytes(crypto, "ciphertext", 32)
    mac = _bytes(crypto, "mac", 32)
    derived = _derive(crypto.get("kdf"), _member(crypto, "kdfparams"), password.encode())
    if not hmac.compare_digest(keccak256(derived[16:32] + ciphertext), mac):
        raise WrongPassword("the password does not open this key file")
    private_key = _aes_ctr(derived[:16], iv, ciphertext)
    if not private_key_is_valid(private_key):
        raise InvalidKeystore("the key file holds a number that is no private key")
    address = keystore_address(text)
    if address is not None and address != address_of(private_key):
        raise InvalidKeystore("the key in the file does not belong to the address written in it")
    return private_key


def keystore_address(text: str | bytes) -> bytes | None:
    """The address that a key file claims, or None where it keeps that to itself. Raises InvalidKeystore."""
    document = _document(text)
    _member(document, "crypto")
    return _bytes(document, "address", 20) if "address" in document else None


def with_address(text: str, address: bytes) -> str:
    """The same key file with the address written in it."""
    return json.dumps({**_document(text), "address": address.hex()}, indent=2) + "\n"


def _document(text: str | bytes) -> Mapping[str, object]:
    if len(text) > MAX_FILE_BYTES:
        raise InvalidKeystore(f"a key file of more than {MAX_FILE_BYTES} bytes")
    try:
        document = parse_json(text)
    except InvalidJson as error:
        raise InvalidKeystore("not a key file: it is no JSON") from error
    if not isinstance(document, dict):
        raise InvalidKeystore("not a key file: it holds no JSON object")
    # Early versions of geth wrote "Crypto".
    document = {name.lower(): value for name, value in document.items()}
    if document.get("version") != 3:
        raise InvalidKeystore(f"a key file of version {str(document.get('version'))[:20]}; only version 3 is known")
    return document


def _member(document: Mapping[str, object], name: str) -> Mapping[str, object]:
    value = document.get(name)
    if not isinstance(value, dict):
        raise InvalidKeystore(f"the key file lacks {name}")
    return value


def _bytes(document: Mapping[str, object], name: str, length: int | None = None) -> bytes:
    value = document.get(name)
    match = _HEX.fullmatch(value) if isinstance(value, str) else None
    if match is None or (length is not None and len(match[1]) != 2 * length):
        raise InvalidKeystore(f"{name} in the key file is not hexadecimal of the right length")
    return bytes.fromhex(match[1])


def _number(document: Mapping[str, object], name: str) -> int:
    value = document.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise InvalidKeystore(f"{name} in the key file is no positive whole number")
    return value


def _derive(kdf: object, parameters: Mapping[str, object], password: bytes) -> bytes:
    salt, length = _bytes(parameters, "salt"), _number(parameters, "dklen")
    if len(salt) > MAX_SALT_BYTES or length != DERIVED_KEY_BYTES:
        raise InvalidKeystore("the salt or the derived key of the key file has an unusual length")
    if kdf == "scrypt":
        cost = ScryptCost(_number(parameters, "n"), _number(parameters, "r"), _number(parameters, "p"))
        if cost.n < 2 or cost.n & (cost.n - 1):
            raise InvalidKeystore(f"n of scrypt in the key file must be a power of two, it is {str(cost.n)[:30]}")
        if cost.memory_bytes > MAX_SCRYPT_MEMORY_BYTES or cost.n * cost.r * cost.p > MAX_SCRYPT_WORK:
            raise InvalidKeystore("the key file asks for more memory or work than any honest one")
        return _scrypt(password, salt, cost, length)
    if kdf == "pbkdf2":
        if parameters.get("prf") != "hmac-sha256":
            raise InvalidKeystore("the key file uses PBKDF2 with an unknown function; only hmac-sha256 is known")
        rounds = _number(parameters, "c")
        if rounds > MAX_PBKDF2_ROUNDS:
            raise InvalidKeystore("the key file asks for more work than any honest one")
        return hashlib.pbkdf2_hmac("sha256", password, salt, rounds, length)
    raise InvalidKeystore(f"the key derivation {str(kdf)[:30]!r} of the key file is unknown")


def _scrypt(password: bytes, salt: bytes, cost: ScryptCost, length: int) -> bytes:
    # OpenSSL insists on n < 2**(16 r), which some published files break; PyCryptodome computes those too, but holds
    # the interpreter lock meanwhile.
    if cost.n.bit_length() - 1 < 16 * cost.r:
        # OpenSSL counts a little working memory on top of scrypt's own.
        maxmem = cost.memory_bytes + 2**20
        return hashlib.scrypt(password, salt=salt, n=cost.n, r=cost.r, p=cost.p, maxmem=maxmem, dklen=length)
    # Two megabytes that a meter on a small computer need not load.
    from Crypto.Protocol.KDF import scrypt as portable_scrypt

    derived = portable_scrypt(password, salt, length, cost.n, cost.r, cost.p)  # type: ignore[arg-type]
    assert isinstance(derived, bytes)  # one key was asked for
    return derived


def _aes_ctr(key: bytes, iv: bytes, data: bytes) -> bytes:
    return AES.new(key, AES.MODE_CTR, nonce=b"", initial_value=iv).encrypt(data)
