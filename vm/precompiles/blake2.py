"""0x09: the compression function F of BLAKE2b (EIP-152, RFC 7693).

A round mixes the four columns, then the four diagonals, of a 4 x 4 matrix of 64-bit words. Here a row is one int with a
128-bit lane for each word, so that one addition or shift works on four words at once. It takes some 4 us a round, which
costs one gas; blake2b-py (Rust, wheels for x86-64) takes 0.02 us and is used where it is installed.
"""

from collections.abc import Callable
from functools import cache

from vm.errors import PrecompileFailure

INPUT_BYTES = 213
_INITIAL = (
    0x6A09E667F3BCC908, 0xBB67AE8584CAA73B, 0x3C6EF372FE94F82B, 0xA54FF53A5F1D36F1,
    0x510E527FADE682D1, 0x9B05688C2B3E6C1F, 0x1F83D9ABFB41BD6B, 0x5BE0CD19137E2179,
)  # fmt: skip
_PERMUTATIONS = (
    (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15),
    (14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3),
    (11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4),
    (7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8),
    (9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13),
    (2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9),
    (12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11),
    (13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10),
    (6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5),
    (10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0),
)
_WORD = 2**64 - 1
_LANES = sum(_WORD << (128 * lane) for lane in range(4))
_ROW = 2**512 - 1


def gas(data: bytes) -> int:
    """One a round; input of the wrong length fails whatever it costs."""
    return int.from_bytes(data[:4], "big") if len(data) == INPUT_BYTES else 0


def run(data: bytes) -> bytes:
    """rounds (4) || h (64) || m (128) || t (16) || final (1) -> h (64). Raises PrecompileFailure."""
    if len(data) != INPUT_BYTES:
        raise PrecompileFailure(f"{len(data)} bytes of input, not {INPUT_BYTES}")
    if data[212] > 1:
        raise PrecompileFailure(f"the final block flag is {data[212]}, not 0 or 1")
    return backend()(data)


@cache
def backend() -> Callable[[bytes], bytes]:
    """The fastest function that is installed, after it has computed what ours computes."""
    try:
        from blake2b import decode_and_compress
    except ImportError:
        return compress

    def native(data: bytes) -> bytes:
        return bytes(decode_and_compress(data))

    probe = (12).to_bytes(4, "big") + bytes(range(208)) + b"\x01"
    if native(probe) != compress(probe):
        raise RuntimeError("the installed blake2b-py computes wrong digests")
    return native


def compress(data: bytes) -> bytes:
    """F of well-formed input, in Python."""
    h = _words(data[4:68])
    counter = _words(data[196:212])
    v = list(h) + list(_INITIAL)
    v[12] ^= counter[0]
    v[13] ^= counter[1]
    if data[212]:
        v[14] ^= _WORD
    v = _rounds(v, _words(data[68:196]), int.from_bytes(data[:4], "big"))
    return b"".join([(h[i] ^ v[i] ^ v[i + 8]).to_bytes(8, "little") for i in range(8)])


def _rounds(v: list[int], message: tuple[int, ...], rounds: int) -> list[int]:
    """The 16 words of the matrix after so many rounds."""
    schedules = [tuple(_row([message[i] for i in order[part::2][:4]]) for part in (0, 1)) +
                 tuple(_row([message[i] for i in order[8 + part :: 2]]) for part in (0, 1))
                 for order in _PERMUTATIONS]  # fmt: skip
    a, b, c, d = _row(v[0:4]), _row(v[4:8]), _row(v[8:12]), _row(v[12:16])
    for number in range(rounds):
        columns0, columns1, diagonals0, diagonals1 = schedules[number % 10]
        a, b, c, d = _mix(a, b, c, d, columns0, columns1)
        # Turn the rows so that the diagonals stand in columns, and back.
        b, c, d = (b >> 128 | b << 384) & _ROW, (c >> 256 | c << 256) & _ROW, (d >> 384 | d << 128) & _ROW
        a, b, c, d = _mix(a, b, c, d, diagonals0, diagonals1)
        b, c, d = (b >> 384 | b << 128) & _ROW, (c >> 256 | c << 256) & _ROW, (d >> 128 | d << 384) & _ROW
    return [row >> (128 * lane) & _WORD for row in (a, b, c, d) for lane in range(4)]


def _mix(a: int, b: int, c: int, d: int, x: int, y: int) -> tuple[int, int, int, int]:
    """The function G on four columns at once; rotations to the right by 32, 24, 16 and 63."""
    lanes = _LANES
    a = (a + b + x) & lanes
    d ^= a
    d = (d >> 32 | d << 32) & lanes
    c = (c + d) & lanes
    b ^= c
    b = (b >> 24 | b << 40) & lanes
    a = (a + b + y) & lanes
    d ^= a
    d = (d >> 16 | d << 48) & lanes
    c = (c + d) & lanes
    b ^= c
    b = (b >> 63 | b << 1) & lanes
    return a, b, c, d


def _row(words: list[int]) -> int:
    return words[0] | words[1] << 128 | words[2] << 256 | words[3] << 384


def _words(data: bytes) -> tuple[int, ...]:
    return tuple(int.from_bytes(data[i : i + 8], "little") for i in range(0, len(data), 8))
