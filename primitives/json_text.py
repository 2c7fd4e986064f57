"""JSON from outside, parsed strictly: UTF-8, bounded nesting, no NaN or infinity (RFC 8259).

Python's own parser recurses in C and trusts the recursion limit to stop it; libraries raise that limit (py_ecc to
100,000), and then a few kilobytes of brackets overflow the stack and end the process. So the depth is counted first.
"""

import json
import math
import re
from collections.abc import Callable

from primitives.errors import Invalid

# Blocks, receipts, traces and typed data nest less than a dozen deep.
MAX_JSON_DEPTH = 64

# A string that does not end reaches to the end of the text: one pass, whatever the text is.
_STRING_OR_BRACKET = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"?|[\[\]{}]', re.DOTALL)


class InvalidJson(Invalid):
    """Bytes are not JSON, or nest too deeply."""


def parse_json(text: bytes | str, make_object: Callable[[list[tuple[str, object]]], object] | None = None) -> object:
    """The value that the text holds, each object made of its members (a dict if not said). Raises InvalidJson."""
    content = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    _check_depth(content)
    try:
        return json.loads(
            content.decode("utf-8"),
            parse_constant=_refuse_constant,
            parse_float=_finite,
            object_pairs_hook=make_object,
        )
    except ValueError as error:
        raise InvalidJson(f"not JSON: {error}") from error


def _check_depth(content: bytes) -> None:
    depth = 0
    for match in _STRING_OR_BRACKET.finditer(content):
        first = content[match.start()]
        if first in b"[{":
            depth += 1
            if depth > MAX_JSON_DEPTH:
                raise InvalidJson(f"JSON nested more than {MAX_JSON_DEPTH} deep")
        elif first in b"]}":
            depth -= 1


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError("a number beyond all bounds")
    return value
