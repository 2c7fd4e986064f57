"""What the JSON of every command keeps to: names in small_letters, wei as text, no number too large for JavaScript."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from wallet import command_line

LARGEST_NUMBER = 2**53
"""Greater ones lose digits where a number of JSON is a floating-point number."""
_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")


def json_faults(value: object, path: str = "result") -> list[str]:
    """What is wrong in a result, a line each."""
    if isinstance(value, dict):
        faults = [f"{path}: the name {name!r}" for name in value if not _NAME.fullmatch(str(name))]
        faults += [
            f"{path}.{name} is no text"
            for name, content in value.items()
            if "wei" in str(name).split("_") and type(content) in (int, float)
        ]
        return faults + [fault for name, content in value.items() for fault in json_faults(content, f"{path}.{name}")]
    if isinstance(value, (list, tuple)):
        return [fault for item in value for fault in json_faults(item, f"{path}[]")]
    if isinstance(value, int) and abs(value) > LARGEST_NUMBER:
        return [f"{path} is {value}, too large for a number"]
    return []


@contextmanager
def checked_json() -> Iterator[None]:
    """In this process, a command that prints a faulty result in JSON fails."""
    write = command_line.json_text

    def check_and_write(result: object, *, on_one_line: bool = False) -> str:
        assert json_faults(result) == []
        return write(result, on_one_line=on_one_line)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(command_line, "json_text", check_and_write)
        yield
