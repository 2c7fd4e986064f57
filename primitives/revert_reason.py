"""Why a call reverted, in words, from the data it reverted with.

Knows Error(string) and Panic(uint256), which every Solidity contract may raise (Solidity documentation, "Error
handling"). A contract's own errors need its ABI: primitives/contract_abi.py.
"""

from primitives.abi import decode, function_selector
from primitives.errors import InvalidAbi

ERROR_SELECTOR = function_selector("Error(string)")
PANIC_SELECTOR = function_selector("Panic(uint256)")

PANIC_REASONS = {
    0x00: "generic panic",
    0x01: "assertion failed",
    0x11: "arithmetic underflow or overflow",
    0x12: "division or modulo by zero",
    0x21: "enum overflow",
    0x22: "invalid encoded storage byte array accessed",
    0x31: "out-of-bounds array access; popping on an empty array",
    0x32: "out-of-bounds access of an array or bytesN",
    0x41: "out of memory",
    0x51: "uninitialized function",
}


def revert_reason(data: bytes) -> str | None:
    """The reason in the data of a revert, or None where it is neither Error(string) nor Panic(uint256)."""
    selector, arguments = data[:4], data[4:]
    try:
        if selector == ERROR_SELECTOR:
            return str(decode(["string"], arguments)[0])
        if selector == PANIC_SELECTOR:
            (code,) = decode(["uint256"], arguments)
            if isinstance(code, int):
                return f"panic: {PANIC_REASONS.get(code, 'unknown panic code')} ({hex(code)})"
    except InvalidAbi:
        # A contract may revert with any bytes; those that only look like a reason have none.
        return None
    return None
