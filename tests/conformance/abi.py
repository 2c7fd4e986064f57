"""ABI vectors (ethereum/tests ABITests): encoding, and decoding back."""

import json
from collections.abc import Iterator
from pathlib import Path

from primitives import abi
from tests.conformance.vectors import Case, Mismatch, expect_equal, from_hex


def read(file: Path) -> Iterator[Case]:
    for name, content in json.loads(file.read_text()).items():
        yield Case(name, content)


def check(case: Case) -> None:
    types, expected = case.content["types"], from_hex(case.content["result"])
    if len(types) != len(case.content["args"]):
        raise Mismatch("the vector has not as many types as arguments")
    values = tuple(_value(name, value) for name, value in zip(types, case.content["args"], strict=True))
    expect_equal("the encoding", abi.encode(types, values), expected)
    expect_equal("the decoded values", abi.decode(types, expected), values)


def _value(type_name: str, value: object) -> object:
    """The vectors' own notation: bytes are 0x-hexadecimal or plain text."""
    if isinstance(value, list):
        return tuple(_value(type_name[: type_name.rindex("[")], element) for element in value)
    if isinstance(value, str) and (type_name.startswith("bytes") or type_name == "address"):
        return from_hex(value) if value.startswith("0x") else value.encode()
    return value
