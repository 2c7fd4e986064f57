"""dsmr-parser, without what this program never uses of it.

Its first lines import all of dlms_cosem, cryptography and a serial library: 12 MB, a fifth of what a meter may take of
a Pi's memory. They get empty modules in their place while the parser is imported (encrypted telegrams are opened by
meter/drivers/p1_cipher.py); these are gone from the list of modules afterwards, so that whoever else imports those
libraries gets the real ones.
"""

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from dsmr_parser.exceptions import ParseError

__all__ = ["DsmrLibrary", "ParseError", "load_library"]

_PARSERS, _BUFFERS = "dsmr_parser.parsers", "dsmr_parser.clients.telegram_buffer"
_UNUSED = (
    "cryptography",
    "cryptography.hazmat",
    "cryptography.hazmat.primitives",
    "cryptography.hazmat.primitives.ciphers",
    "dlms_cosem",
    "dlms_cosem.connection",
    "dlms_cosem.exceptions",
    "dlms_cosem.protocol",
    "dlms_cosem.protocol.xdlms",
    "serialx",
    "serialx.tools",
)


class _Empty(ModuleType):
    """A module in which every name is an empty class."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (Exception,), {})


@dataclass(frozen=True, slots=True)
class DsmrLibrary:
    parsers: Any
    """The module dsmr_parser.parsers."""
    buffers: Any
    """The module dsmr_parser.clients.telegram_buffer."""


def load_library() -> DsmrLibrary:
    # The buffers' package imports the parsers as well.
    with _empty(_UNUSED):
        buffers, parsers = importlib.import_module(_BUFFERS), importlib.import_module(_PARSERS)
    return DsmrLibrary(parsers, buffers)


@contextmanager
def _empty(names: tuple[str, ...]) -> Iterator[None]:
    """Empty modules for those that nobody has imported yet."""
    placed = [name for name in names if name not in sys.modules]
    for name in placed:
        sys.modules[name] = _Empty(name)
    try:
        yield
    finally:
        for name in placed:
            sys.modules.pop(name, None)
