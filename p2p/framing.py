"""Messages as encrypted frames, and back; bytes in, bytes out, no socket.

A frame is a length (2 bytes, big-endian) and that many bytes of Noise ciphertext. The plaintext of a message is its
code (1 byte), the length of its payload (4 bytes, big-endian) and the payload, cut into frames of which all but the
last are full. A frame holds one message's bytes only. After a fixed number of frames each direction changes its key.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from p2p.limits import MAX_UNKNOWN_MESSAGE_BYTES, REKEY_INTERVAL_FRAMES
from p2p.noise import MAX_MESSAGE_BYTES, MAX_PLAINTEXT_BYTES, TAG_BYTES, CipherState, InvalidNoise
from primitives.errors import Invalid

LENGTH_BYTES = 2
HEADER_BYTES = 5

MaxBytes = Callable[[int], int | None]
"""The largest payload of a message with this code; None where the code is unknown."""


class InvalidFrame(Invalid):
    """Bytes on a connection are no frame of the peer's, or of a message that is too large; the connection is lost."""


class AlteredFrame(InvalidFrame):
    """Bytes that the peer did not write: somebody on the way did, so that the peer must not be punished for them."""


@dataclass(frozen=True, slots=True)
class RawMessage:
    """A message as it was carried: its code, and the payload that nobody has looked into yet."""

    code: int
    payload: bytes
    is_skipped: bool = False
    """It was larger than allowed, and its payload is not here."""


class FrameWriter:
    """The sending direction."""

    def __init__(self, cipher: CipherState, rekey_interval: int = REKEY_INTERVAL_FRAMES) -> None:
        self._cipher = _RekeyingCipher(cipher, rekey_interval)

    def frames(self, message: RawMessage) -> Iterator[bytes]:
        """The frames of one message. All have to be taken and sent, in order, before those of the next."""
        header = bytes((message.code,)) + len(message.payload).to_bytes(HEADER_BYTES - 1, "big")
        first_bytes = MAX_PLAINTEXT_BYTES - HEADER_BYTES
        yield self._frame(header + message.payload[:first_bytes])
        for start in range(first_bytes, len(message.payload), MAX_PLAINTEXT_BYTES):
            yield self._frame(message.payload[start : start + MAX_PLAINTEXT_BYTES])

    def _frame(self, plaintext: bytes) -> bytes:
        ciphertext = self._cipher.encrypt(plaintext)
        return len(ciphertext).to_bytes(LENGTH_BYTES, "big") + ciphertext


class FrameReader:
    """The receiving direction: `frame_bytes` of the two bytes in front, then `receive` with what follows them."""

    def __init__(
        self,
        cipher: CipherState,
        max_bytes: MaxBytes,
        rekey_interval: int = REKEY_INTERVAL_FRAMES,
        max_skipped_bytes: Callable[[int], int] = lambda code: 0,
    ) -> None:
        """Messages larger than `max_bytes` are a fault, but for those up to `max_skipped_bytes`: these are read and
        not kept."""
        self._cipher = _RekeyingCipher(cipher, rekey_interval)
        self._max_bytes = max_bytes
        self._max_skipped_bytes = max_skipped_bytes
        self._is_skipping = False
        self._code = 0
        self._missing_bytes = 0
        self._parts: list[bytes] = []

    @property
    def is_inside_message(self) -> bool:
        """Whether the message that began in an earlier frame still lacks bytes."""
        return self._missing_bytes > 0

    @staticmethod
    def frame_bytes(length: bytes) -> int:
        """The size of the ciphertext that follows. Raises InvalidFrame where it could hold nothing."""
        size = int.from_bytes(length, "big")
        if size <= TAG_BYTES:
            raise AlteredFrame(f"a frame of {size} bytes holds nothing")  # the length itself is not authenticated
        return size

    def receive(self, ciphertext: bytes) -> RawMessage | None:
        """The message that this frame completes, if any. Raises InvalidFrame; nothing can be read afterwards."""
        if len(ciphertext) > MAX_MESSAGE_BYTES:
            raise InvalidFrame(f"a frame of {len(ciphertext)} bytes")
        try:
            plaintext = self._cipher.decrypt(ciphertext)
        except InvalidNoise as error:
            raise AlteredFrame(f"a frame was altered or repeated: {error}") from error
        part = plaintext if self.is_inside_message else self._begin(plaintext)
        if len(part) > self._missing_bytes:
            raise InvalidFrame("a frame holds more than the rest of its message")
        if len(part) < self._missing_bytes and len(plaintext) < MAX_PLAINTEXT_BYTES:
            # Else one message could come a byte at a time, each at the price of a whole frame.
            raise InvalidFrame("a frame that is not the last of its message is not full")
        if not self._is_skipping:
            self._parts.append(part)
        self._missing_bytes -= len(part)
        if self._missing_bytes:
            return None
        message = RawMessage(self._code, b"".join(self._parts), self._is_skipping)
        self._parts = []
        return message

    def _begin(self, plaintext: bytes) -> bytes:
        """Read what stands before a payload: a message that is too large ends here, before any of it is kept."""
        if len(plaintext) < HEADER_BYTES:
            raise InvalidFrame("a message begins with less than its header")
        self._code = plaintext[0]
        self._missing_bytes = int.from_bytes(plaintext[1:HEADER_BYTES], "big")
        allowed = self._max_bytes(self._code)
        self._is_skipping = self._missing_bytes > (MAX_UNKNOWN_MESSAGE_BYTES if allowed is None else allowed)
        if self._is_skipping and self._missing_bytes > self._max_skipped_bytes(self._code):
            raise InvalidFrame(f"a message with code {self._code} of {self._missing_bytes} bytes")
        return plaintext[HEADER_BYTES:]


class _RekeyingCipher:
    """A cipher that changes its key after every `interval` frames, as the peer's does at the same frame."""

    def __init__(self, cipher: CipherState, interval: int) -> None:
        self._cipher = cipher
        self._interval = interval

    def encrypt(self, plaintext: bytes) -> bytes:
        ciphertext = self._cipher.encrypt_with_ad(b"", plaintext)
        self._rekey_when_due()
        return ciphertext

    def decrypt(self, ciphertext: bytes) -> bytes:
        plaintext = self._cipher.decrypt_with_ad(b"", ciphertext)
        self._rekey_when_due()
        return plaintext

    def _rekey_when_due(self) -> None:
        if self._cipher.nonce % self._interval == 0:
            self._cipher.rekey()
