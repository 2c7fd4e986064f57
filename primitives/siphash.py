"""SipHash-2-4 with a 64-bit result, a keyed hash of short messages (Aumasson and Bernstein, 2012).

Only OpenPAYGO's codes need it: some hundred hashes a code, for which plain Python is fast enough.
"""

_MASK = 2**64 - 1
KEY_BYTES = 16


def siphash_2_4(key: bytes, message: bytes) -> int:
    """The 64 bits as a number. The key has 16 bytes, else ValueError."""
    if len(key) != KEY_BYTES:
        raise ValueError(f"a SipHash key has {KEY_BYTES} bytes, got {len(key)}")
    k0, k1 = int.from_bytes(key[:8], "little"), int.from_bytes(key[8:], "little")
    state = (k0 ^ 0x736F6D6570736575, k1 ^ 0x646F72616E646F6D, k0 ^ 0x6C7967656E657261, k1 ^ 0x7465646279746573)
    whole = len(message) - len(message) % 8
    last = message[whole:].ljust(7, b"\0") + bytes((len(message) & 0xFF,))
    for start in range(0, whole, 8):
        state = _absorb(state, int.from_bytes(message[start : start + 8], "little"))
    v0, v1, v2, v3 = _absorb(state, int.from_bytes(last, "little"))
    v2 ^= 0xFF
    for _ in range(4):
        v0, v1, v2, v3 = _round(v0, v1, v2, v3)
    return v0 ^ v1 ^ v2 ^ v3


def _absorb(state: tuple[int, int, int, int], word: int) -> tuple[int, int, int, int]:
    v0, v1, v2, v3 = state
    v0, v1, v2, v3 = _round(*_round(v0, v1, v2, v3 ^ word))
    return v0 ^ word, v1, v2, v3


def _round(v0: int, v1: int, v2: int, v3: int) -> tuple[int, int, int, int]:
    v0 = (v0 + v1) & _MASK
    v1 = _rotated(v1, 13) ^ v0
    v0 = _rotated(v0, 32)
    v2 = (v2 + v3) & _MASK
    v3 = _rotated(v3, 16) ^ v2
    v0 = (v0 + v3) & _MASK
    v3 = _rotated(v3, 21) ^ v0
    v2 = (v2 + v1) & _MASK
    v1 = _rotated(v1, 17) ^ v2
    v2 = _rotated(v2, 32)
    return v0, v1, v2, v3


def _rotated(word: int, bits: int) -> int:
    return (word << bits | word >> 64 - bits) & _MASK
