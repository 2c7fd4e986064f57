"""A meter's settings as the text of a TOML file, each setting below what it means.

Settings that were not chosen stand there too, commented out, with the value that counts without them.
"""

import json
import os
import secrets
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, fields
from decimal import Decimal
from pathlib import Path
from textwrap import wrap
from typing import Any

from meter.settings import MeterSettings, parse_settings
from meter.setup.setting_comments import comment_of
from primitives.errors import UserError
from primitives.hexadecimal import to_checksum_address

LINE_LENGTH = 110
HEAD = "# Settings of a Wattchain meter, made by `wattchain meter setup`. Lines that begin with # are not in force."

Sections = Mapping[str, tuple[type, Mapping[str, object]]]
"""By name: the dataclass of a section, and the values that were chosen for it."""


def settings_text(sections: Sections, folder: Path) -> str:
    """The file's text. Names of files below `folder`, where it is to stand, are written as seen from there."""
    lines = [HEAD]
    for name, (kind, values) in sections.items():
        lines += ["", f"[{name}]", *_section_lines(name, kind, values, folder)]
    return "\n".join(lines) + "\n"


def parse_text(text: str, path: Path) -> MeterSettings:
    """What the meter will make of the text when it stands at `path`. Raises UserError."""
    return parse_settings(tomllib.loads(text, parse_float=Decimal), path)


def write_settings(path: Path, text: str, *, overwrite: bool) -> None:
    """For the owner's eyes, whole or not at all; another file in its place only where that is wanted.

    Raises UserError.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"the settings cannot be written to {path}: {error.strerror}") from error
    try:
        descriptor = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        try:
            with os.fdopen(descriptor, "w") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            if overwrite:
                temporary.replace(path)
            else:
                os.link(temporary, path)  # fails where there is a file, also one that was not there a moment ago
        finally:
            temporary.unlink(missing_ok=True)
    except FileExistsError as error:
        raise UserError(f"there is a file {path} already: name another with --settings, or add --overwrite") from error
    except OSError as error:
        raise UserError(f"the settings cannot be written to {path}: {error.strerror}") from error
    _sync_folder(path.parent)


def _section_lines(section: str, kind: type, values: Mapping[str, object], folder: Path) -> Iterator[str]:
    for item in fields(kind):
        is_chosen = item.name in values
        value = values[item.name] if is_chosen else _default(item)
        if not is_chosen and (value is MISSING or not _can_be_written(value)):
            continue
        if comment := comment_of(kind, section, item.name):
            yield from (f"# {line}" for line in wrap(comment, LINE_LENGTH))
        if is_chosen:
            yield f"{item.name} = {toml_value(value, folder)}"
        elif value is None:
            yield f"# {item.name} is not set"
        else:
            yield f"# {item.name} = {toml_value(value, folder)}"


def _default(item: "Field[Any]") -> object:
    if item.default is not MISSING:
        return item.default
    return item.default_factory() if item.default_factory is not MISSING else MISSING


def _can_be_written(value: object) -> bool:
    if isinstance(value, tuple):
        return all(isinstance(entry, str) for entry in value)
    return value is None or isinstance(value, (bool, int, float, str, Decimal, Path, bytes))


def toml_value(value: object, folder: Path) -> str:
    """As TOML writes it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, bytes):
        return _text(to_checksum_address(value))
    if isinstance(value, Path):
        return _text(str(value.relative_to(folder) if value.is_relative_to(folder) else value))
    if isinstance(value, (tuple, list)):
        return "[" + ", ".join(toml_value(entry, folder) for entry in value) + "]"
    return _text(str(value))


def _text(value: str) -> str:
    """JSON's way to write a text is TOML's, but for one character that TOML wants to be hidden too."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
