"""The memory of one frame: byte-addressed, zero at first, in two layers.

Compiled code mostly stores and loads aligned 32-byte words, so such words are kept as ints in a dict and become bytes
only when a range is needed. A word in `words` is newer than the same 32 bytes of `data`. Every word is carried over
into bytes at most once for each time it was stored, so a range costs a plain copy plus what was paid for before.

Gas is not this file's affair: `size` (always a multiple of 32) is moved by Frame.expand, which charges for it, and all
ranges here lie within it.
"""

# Up to so many bytes a range is put together without carrying everything over: hashing and short calls.
_SHORT_BYTES = 256


class Memory:
    """Words and bytes of a frame's memory."""

    __slots__ = ("data", "size", "words")

    def __init__(self) -> None:
        self.words: dict[int, int] = {}
        """Stored words by their (aligned) offset."""
        self.data = bytearray()
        """Bytes, as far as they were needed; what lies beyond is zero."""
        self.size = 0
        """In bytes, as MSIZE sees it."""

    def load_word(self, offset: int) -> int:
        """The 32 bytes at any offset."""
        shift = offset & 31
        if not shift:
            word = self.words.get(offset)
            if word is not None:
                return word
            data = self.data
            return int.from_bytes(data[offset : offset + 32], "big") if offset + 32 <= len(data) else 0
        return int.from_bytes(self.read(offset, 32), "big")

    def store_word(self, offset: int, value: int) -> None:
        """Put 32 bytes at any offset."""
        if offset & 31:
            self.write(offset, value.to_bytes(32, "big"))
        else:
            self.words[offset] = value

    def store_byte(self, offset: int, value: int) -> None:
        self._carry_over(offset & ~31, offset + 1)
        self._extend_data(offset + 1)
        self.data[offset] = value

    def read(self, offset: int, length: int) -> bytes:
        """A copy of a range."""
        if not length:
            return b""
        end = offset + length
        words = self.words
        if words:
            first = offset & ~31
            if length == 64 and first == offset:
                # Two words: what is hashed for a mapping.
                low, high = words.get(offset), words.get(offset + 32)
                if low is not None and high is not None:
                    return (low << 256 | high).to_bytes(64, "big")
            if end - first <= _SHORT_BYTES:
                return b"".join([self._word_bytes(at) for at in range(first, end, 32)])[offset - first : end - first]
            self._carry_over(first, end)
        data = self.data
        if length > _SHORT_BYTES:
            # A view, so that what may be megabytes for the gas of a plain call is copied once only.
            if offset >= len(data):
                return bytes(length)
            found = memoryview(data)[offset:end]
            return bytes(found) if len(found) == length else b"".join((found, bytes(length - len(found))))
        short = bytes(data[offset:end])
        return short if len(short) == length else short + bytes(length - len(short))

    def write(self, offset: int, value: bytes) -> None:
        """Put bytes at any offset."""
        end = offset + len(value)
        if offset == end:
            return
        if self.words:
            self._carry_over(offset & ~31, end)
        self._extend_data(end)
        self.data[offset:end] = value

    def _word_bytes(self, at: int) -> bytes:
        word = self.words.get(at)
        if word is not None:
            return word.to_bytes(32, "big")
        found = bytes(self.data[at : at + 32])
        return found if len(found) == 32 else found + bytes(32 - len(found))

    def _carry_over(self, first: int, end: int) -> None:
        """Turn the words of a short range, or all words, into bytes, so that the bytes alone are valid in the range.

        All of them for a long range: looking for those inside it would cost its length again and again.
        """
        words = self.words
        carried = [at for at in range(first, end, 32) if at in words] if end - first <= _SHORT_BYTES else list(words)
        if not carried:
            return
        self._extend_data(max(carried) + 32)
        data = self.data
        for at in carried:
            data[at : at + 32] = words.pop(at).to_bytes(32, "big")

    def _extend_data(self, end: int) -> None:
        """Have data reach over `end`, in whole words."""
        missing = ((end + 31) & ~31) - len(self.data)
        if missing > 0:
            self.data.extend(bytes(missing))
