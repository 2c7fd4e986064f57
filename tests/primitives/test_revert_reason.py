"""Reasons of reverts: Error(string), Panic(uint256) and bytes that are neither."""

import eth_abi
import pytest

from primitives.abi import encode, function_selector
from primitives.revert_reason import ERROR_SELECTOR, PANIC_SELECTOR, revert_reason


def test_the_selectors_are_those_of_the_solidity_documentation() -> None:
    assert ERROR_SELECTOR.hex() == "08c379a0"
    assert PANIC_SELECTOR.hex() == "4e487b71"


def test_an_error_gives_its_text() -> None:
    assert revert_reason(ERROR_SELECTOR + eth_abi.encode(["string"], ["not the owner"])) == "not the owner"


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (0x11, "panic: arithmetic underflow or overflow (0x11)"),
        (0x12, "panic: division or modulo by zero (0x12)"),
        (0x99, "panic: unknown panic code (0x99)"),
    ],
)
def test_a_panic_gives_its_meaning(code: int, reason: str) -> None:
    assert revert_reason(PANIC_SELECTOR + encode(["uint256"], [code])) == reason


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x08\xc3",
        ERROR_SELECTOR,
        ERROR_SELECTOR + b"\xff" * 64,
        PANIC_SELECTOR + b"\x01",
        ERROR_SELECTOR + encode(["bytes"], [b"\xff\xfe"]),
        function_selector("InsufficientCredit(uint256)") + bytes(32),
    ],
)
def test_other_bytes_have_no_reason(data: bytes) -> None:
    assert revert_reason(data) is None
