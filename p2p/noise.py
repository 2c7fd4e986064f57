"""Noise_XX_25519_ChaChaPoly_SHA256: the handshake that encrypts and authenticates every connection between peers.

Follows "The Noise Protocol Framework", revision 34; section numbers refer to it. Only this one protocol, no pre-shared
keys. The three objects of section 5 take and return bytes; sockets, time limits and who a peer is belong elsewhere.
"""

import hashlib
import hmac
from collections.abc import Callable

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from primitives.errors import Invalid

PROTOCOL_NAME = b"Noise_XX_25519_ChaChaPoly_SHA256"
KEY_BYTES = 32  # section 12.1: DHLEN; also the cipher's key
HASH_BYTES = 32  # section 12.5: HASHLEN
TAG_BYTES = 16  # section 12.3
MAX_MESSAGE_BYTES = 65_535  # section 3
MAX_PLAINTEXT_BYTES = MAX_MESSAGE_BYTES - TAG_BYTES
REKEY_NONCE = 2**64 - 1  # section 5.1: reserved for rekey, never used for a message

# Section 7.5, XX: one row a message, the initiator's first.
_PATTERN = (("e",), ("e", "ee", "s", "es"), ("s", "se"))


class InvalidNoise(Invalid):
    """A message is not authentic, too long, too short or holds a key that no honest peer uses."""


class NonceExhausted(Exception):
    """A cipher has processed 2^64 - 1 messages; the connection has to end."""


class CipherState:
    """Section 5.1: one direction's key and counter. Without a key, bytes pass as they are."""

    def __init__(self) -> None:
        self.nonce = 0
        """Of the next message."""
        self._cipher: ChaCha20Poly1305 | None = None

    def initialize_key(self, key: bytes) -> None:
        self._cipher = ChaCha20Poly1305(key)
        self.nonce = 0

    def has_key(self) -> bool:
        return self._cipher is not None

    def encrypt_with_ad(self, associated_data: bytes, plaintext: bytes) -> bytes:
        """Raises NonceExhausted."""
        if self._cipher is None:
            return plaintext
        ciphertext = self._cipher.encrypt(self._next_nonce(), plaintext, associated_data)
        self.nonce += 1
        return ciphertext

    def decrypt_with_ad(self, associated_data: bytes, ciphertext: bytes) -> bytes:
        """Raises InvalidNoise, and then the counter stands where it stood, or NonceExhausted."""
        if self._cipher is None:
            return ciphertext
        try:
            plaintext = self._cipher.decrypt(self._next_nonce(), ciphertext, associated_data)
        except InvalidTag as error:
            raise InvalidNoise("a message is not authentic") from error
        self.nonce += 1
        return plaintext

    def rekey(self) -> None:
        """Replace the key by one from which it cannot be found again (sections 4.2 and 11.3); the counter goes on."""
        if self._cipher is None:
            raise RuntimeError("a cipher without a key cannot be rekeyed")
        block = self._cipher.encrypt(_nonce_bytes(REKEY_NONCE), bytes(KEY_BYTES), b"")
        self._cipher = ChaCha20Poly1305(block[:KEY_BYTES])

    def _next_nonce(self) -> bytes:
        if self.nonce >= REKEY_NONCE:
            raise NonceExhausted("the messages of this key are used up")
        return _nonce_bytes(self.nonce)


class SymmetricState:
    """Section 5.2: the chaining key, and the hash over all that both sides have seen."""

    def __init__(self, protocol_name: bytes = PROTOCOL_NAME) -> None:
        if len(protocol_name) <= HASH_BYTES:
            self.handshake_hash = protocol_name.ljust(HASH_BYTES, b"\0")
        else:
            self.handshake_hash = hashlib.sha256(protocol_name).digest()
        self._chaining_key = self.handshake_hash
        self._cipher = CipherState()

    def mix_key(self, input_key_material: bytes) -> None:
        self._chaining_key, key = _hkdf(self._chaining_key, input_key_material)
        self._cipher.initialize_key(key)

    def mix_hash(self, data: bytes) -> None:
        self.handshake_hash = hashlib.sha256(self.handshake_hash + data).digest()

    def encrypt_and_hash(self, plaintext: bytes) -> bytes:
        ciphertext = self._cipher.encrypt_with_ad(self.handshake_hash, plaintext)
        self.mix_hash(ciphertext)
        return ciphertext

    def decrypt_and_hash(self, ciphertext: bytes) -> bytes:
        plaintext = self._cipher.decrypt_with_ad(self.handshake_hash, ciphertext)
        self.mix_hash(ciphertext)
        return plaintext

    def has_key(self) -> bool:
        return self._cipher.has_key()

    def split(self) -> tuple[CipherState, CipherState]:
        """The ciphers for what the initiator sends and for what the responder sends."""
        first, second = CipherState(), CipherState()
        for cipher, key in zip((first, second), _hkdf(self._chaining_key, b""), strict=True):
            cipher.initialize_key(key)
        return first, second


class HandshakeState:
    """Section 5.3 for the pattern XX: `write_message` and `read_message` in turn, three in all, then `split`.

    A handshake in which a message was refused is dead: everything raises InvalidNoise from then on.
    """

    def __init__(
        self,
        initiator: bool,
        prologue: bytes,
        static_key: X25519PrivateKey,
        generate: Callable[[], X25519PrivateKey] = X25519PrivateKey.generate,
    ) -> None:
        """`generate` makes the ephemeral key; anything but the default is for test vectors."""
        self.remote_static: bytes | None = None
        """32 bytes, once the peer has sent it. It is proven to be the peer's when the handshake is finished."""
        self._initiator = initiator
        self._static = static_key
        self._generate = generate
        self._ephemeral: X25519PrivateKey | None = None
        self._remote_ephemeral: bytes | None = None
        self._messages_done = 0
        self._refused = False
        self._symmetric = SymmetricState()
        self._symmetric.mix_hash(prologue)

    @property
    def is_finished(self) -> bool:
        return self._messages_done == len(_PATTERN) and not self._refused

    @property
    def is_my_turn(self) -> bool:
        """Whether the next message is ours to write."""
        return not self._refused and self._messages_done < len(_PATTERN) and self._writes(self._messages_done)

    @property
    def handshake_hash(self) -> bytes:
        """Section 11.2: 32 bytes that are the same on both sides of this one handshake only."""
        return self._symmetric.handshake_hash

    def write_message(self, payload: bytes) -> bytes:
        """The next handshake message, with the payload inside. Raises InvalidNoise."""
        tokens = self._begin(writing=True)
        try:
            parts = [self._write_token(token) for token in tokens]
            parts.append(self._symmetric.encrypt_and_hash(payload))
            message = b"".join(parts)
            if len(message) > MAX_MESSAGE_BYTES:
                raise InvalidNoise(f"a message of {len(message)} bytes; at most {MAX_MESSAGE_BYTES} are allowed")
        except InvalidNoise:
            self._refused = True
            raise
        self._messages_done += 1
        return message

    def read_message(self, message: bytes) -> bytes:
        """The payload of the peer's next handshake message. Raises InvalidNoise."""
        tokens = self._begin(writing=False)
        try:
            if len(message) > MAX_MESSAGE_BYTES:
                raise InvalidNoise(f"a message of {len(message)} bytes; at most {MAX_MESSAGE_BYTES} are allowed")
            rest = message
            for token in tokens:
                rest = self._read_token(token, rest)
            payload = self._symmetric.decrypt_and_hash(rest)
        except InvalidNoise:
            self._refused = True
            raise
        self._messages_done += 1
        return payload

    def split(self) -> tuple[CipherState, CipherState]:
        """The ciphers to send with and to receive with."""
        if not self.is_finished:
            raise RuntimeError("the handshake is not finished")
        initiators, responders = self._symmetric.split()
        return (initiators, responders) if self._initiator else (responders, initiators)

    def _writes(self, index: int) -> bool:
        return (index % 2 == 0) == self._initiator

    def _begin(self, writing: bool) -> tuple[str, ...]:
        if self._refused:
            raise InvalidNoise("a message of this handshake was refused")
        if self._messages_done == len(_PATTERN) or self._writes(self._messages_done) != writing:
            raise RuntimeError("it is not this message's turn")
        return _PATTERN[self._messages_done]

    def _write_token(self, token: str) -> bytes:
        if token == "e":
            self._ephemeral = self._generate()
            public = self._ephemeral.public_key().public_bytes_raw()
            self._symmetric.mix_hash(public)
            return public
        if token == "s":
            return self._symmetric.encrypt_and_hash(self._static.public_key().public_bytes_raw())
        self._mix_shared(token)
        return b""

    def _read_token(self, token: str, message: bytes) -> bytes:
        if token == "e":
            self._remote_ephemeral, rest = _take(message, KEY_BYTES)
            self._symmetric.mix_hash(self._remote_ephemeral)
            return rest
        if token == "s":
            encrypted, rest = _take(message, KEY_BYTES + TAG_BYTES)
            self.remote_static = self._symmetric.decrypt_and_hash(encrypted)
            return rest
        self._mix_shared(token)
        return message

    def _mix_shared(self, token: str) -> None:
        """The initiator's key is named first: "es" is its ephemeral key and the responder's static one."""
        own, remote = (token[0], token[1]) if self._initiator else (token[1], token[0])
        private = self._ephemeral if own == "e" else self._static
        public = self._remote_ephemeral if remote == "e" else self.remote_static
        if private is None or public is None:
            raise RuntimeError(f"the pattern asks for {token} before its keys are there")
        self._symmetric.mix_key(_diffie_hellman(private, public))


def _diffie_hellman(private: X25519PrivateKey, public: bytes) -> bytes:
    try:
        return private.exchange(X25519PublicKey.from_public_bytes(public))
    except ValueError as error:  # a shared secret of zeros: the public key is of low order
        raise InvalidNoise("a public key of low order, with which everybody would know the secret") from error


def _hkdf(chaining_key: bytes, input_key_material: bytes) -> tuple[bytes, bytes]:
    """Section 4.3, for two outputs."""
    temporary = hmac.digest(chaining_key, input_key_material, "sha256")
    first = hmac.digest(temporary, b"\x01", "sha256")
    return first, hmac.digest(temporary, first + b"\x02", "sha256")


def _nonce_bytes(nonce: int) -> bytes:
    """Section 12.3: 32 zero bits, then the counter in little-endian order."""
    return bytes(4) + nonce.to_bytes(8, "little")


def _take(message: bytes, length: int) -> tuple[bytes, bytes]:
    if len(message) < length:
        raise InvalidNoise("a handshake message ends inside a key")
    return message[:length], message[length:]
