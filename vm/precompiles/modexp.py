"""0x05: modular exponentiation of numbers of any length (EIP-198, gas by EIP-2565).

The lengths are whatever the caller writes, up to 2^256 - 1. Gas is computed from them and at most 32 bytes of the
exponent; nothing of their size is built before it has been charged.
"""

MIN_GAS = 200
GAS_DIVISOR = 3
_HEADER_BYTES = 96


def gas(data: bytes) -> int:
    base_length, exponent_length, modulus_length = _lengths(data)
    head_length = min(exponent_length, 32)
    head = _number(data, _HEADER_BYTES + base_length, head_length)
    iterations = 8 * (exponent_length - head_length) + max(head.bit_length() - 1, 0)
    eight_byte_words = (max(base_length, modulus_length) + 7) // 8
    return max(MIN_GAS, eight_byte_words * eight_byte_words * max(iterations, 1) // GAS_DIVISOR)


def run(data: bytes) -> bytes:
    """Three 32-byte lengths, base, exponent, modulus, missing bytes being zeros -> base^exponent mod modulus."""
    base_length, exponent_length, modulus_length = _lengths(data)
    if not modulus_length:
        return b""
    base = _number(data, _HEADER_BYTES, base_length)
    modulus = _number(data, _HEADER_BYTES + base_length + exponent_length, modulus_length)
    if modulus <= 1:
        return bytes(modulus_length)
    exponent = _number(data, _HEADER_BYTES + base_length, exponent_length)
    return pow(base, exponent, modulus).to_bytes(modulus_length, "big")


def _lengths(data: bytes) -> tuple[int, int, int]:
    return _number(data, 0, 32), _number(data, 32, 32), _number(data, 64, 32)


def _number(data: bytes, start: int, length: int) -> int:
    """The number in a range of the input, whose end may lie beyond the bytes that are there."""
    found = data[start : start + length]
    if not found.strip(b"\0"):
        return 0
    return int.from_bytes(found, "big") << (8 * (length - len(found)))
