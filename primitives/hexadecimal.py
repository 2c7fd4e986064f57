"""0x-prefixed hexadecimal as JSON-RPC and the tools of the field write it.

Two forms (execution-apis): a *quantity* is the shortest number ("0x0", "0x1f4"), *data* is whole bytes ("0x",
"0x00ff"). An address is shown with the mixed-case check sum of EIP-55.
"""

import re

from primitives.errors import InvalidHex
from primitives.keccak import keccak256

_QUANTITY = re.compile(r"0x(?:0|[1-9a-fA-F][0-9a-fA-F]*)", re.ASCII)
ADDRESS_DIGITS = 40
_DATA = re.compile(r"0x(?:[0-9a-fA-F]{2})*", re.ASCII)


def to_quantity(value: int) -> str:
    return hex(value)


def to_data(value: bytes) -> str:
    return "0x" + value.hex()


def parse_quantity(text: object, max_bits: int = 256) -> int:
    """The number in a quantity. Raises InvalidHex for anything but its shortest form, or above max_bits."""
    if not isinstance(text, str) or len(text) > 2 + max_bits or not _QUANTITY.fullmatch(text):
        raise InvalidHex(f"expected a hexadecimal quantity such as 0x1f4, got {_shown(text)}")
    value = int(text, 16)
    if value.bit_length() > max_bits:
        raise InvalidHex(f"a quantity of more than {max_bits} bits: {_shown(text)}")
    return value


def parse_data(text: object, length: int | None = None) -> bytes:
    """The bytes in 0x-prefixed data, of exactly `length` bytes where given. Raises InvalidHex."""
    if not isinstance(text, str) or not _DATA.fullmatch(text):
        raise InvalidHex(f"expected 0x-prefixed hexadecimal bytes, got {_shown(text)}")
    value = bytes.fromhex(text[2:])
    if length is not None and len(value) != length:
        raise InvalidHex(f"expected {length} bytes, got {len(value)}: {_shown(text)}")
    return value


def to_checksum_address(address: bytes) -> str:
    """A 20-byte address with the mixed-case check sum of EIP-55."""
    digits = address.hex()
    digest = keccak256(digits.encode()).hex()
    return "0x" + "".join(
        digit.upper() if int(mark, 16) >= 8 else digit for digit, mark in zip(digits, digest, strict=False)
    )


def parse_address(text: object) -> bytes:
    """The 20 bytes of an address. Mixed case must carry the right EIP-55 check sum. Raises InvalidHex."""
    if not isinstance(text, str) or not _DATA.fullmatch(text) or len(text) != ADDRESS_DIGITS + 2:
        raise InvalidHex(f"an address is 0x and {ADDRESS_DIGITS} digits from 0 to 9 and a to f, {_not_address(text)}")
    address = bytes.fromhex(text[2:])
    digits = text[2:]
    if digits not in (digits.lower(), digits.upper()) and to_checksum_address(address)[2:] != digits:
        raise InvalidHex(f"the address {text} is mistyped: its upper and lower case letters do not check out (EIP-55)")
    return address


def _not_address(value: object) -> str:
    if not isinstance(value, str) or not value.startswith("0x"):
        return f"and {_shown(value)} does not begin with 0x"
    if len(value) != ADDRESS_DIGITS + 2:
        return f"and {_shown(value)} has {len(value) - 2} after 0x"
    return f"and {_shown(value)} has others"


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
