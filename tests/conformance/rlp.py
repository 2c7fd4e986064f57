"""RLP vectors (ethereum/tests RLPTests): both directions for values, canonical decoding only for bytes."""

import json
from collections.abc import Iterator
from pathlib import Path

from primitives import rlp
from primitives.errors import InvalidRlp
from tests.conformance.vectors import Case, Mismatch, expect_equal, from_hex


def read(file: Path) -> Iterator[Case]:
    for name, content in json.loads(file.read_text()).items():
        yield Case(name, content)


def check(case: Case) -> None:
    value, encoded = case.content["in"], from_hex(case.content["out"])
    if value == "INVALID":
        try:
            item = rlp.decode(encoded)
        except InvalidRlp:
            return
        raise Mismatch(f"{encoded.hex()} must be refused, was decoded as {item!r}")
    if value == "VALID":
        expect_equal("what was decoded, encoded again,", rlp.encode(rlp.decode(encoded)), encoded)
        return
    item = _item(value)
    expect_equal("the encoding", rlp.encode(item), encoded)
    expect_equal("the decoded value", rlp.decode(encoded), item)


def _item(value: object) -> rlp.Item:
    """The vectors' own notation: text is its UTF-8 bytes, a number its shortest bytes, "#123" a large number."""
    if isinstance(value, list):
        return [_item(child) for child in value]
    if isinstance(value, int):
        return rlp.encode_int(value)
    if isinstance(value, str):
        return rlp.encode_int(int(value[1:])) if value.startswith("#") else value.encode()
    raise Mismatch(f"the vector holds {value!r}, which is no item")
