"""Settings files of the node and of the meter: TOML, each section a frozen dataclass, each setting one of its fields.

What a setting means and which values make sense is told where its dataclass stands; here is how a file becomes one,
and how every mistake in it is named. Fractions are read as decimals: nothing that is billed passes through a float.
"""

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from primitives.clock import AcceleratedClock, Clock, SystemClock
from primitives.errors import InvalidHex, NeedsPerson, UserError
from primitives.hexadecimal import parse_address

# A settings file is a page or two; a wrong file name should not read a disk image into memory.
MAX_SETTINGS_BYTES = 65_536

MAX_TIME_S = 10**11
"""A Unix time some thousand years ahead: later is a mistake, such as milliseconds."""
DAY_S = 86_400

Number = int | float | Decimal
Range = tuple[str, Number, Number, Number]
"""A setting's name, its value, the least and the greatest that make sense."""

_WORDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text in quotes",
    Decimal: "a number",
    Path: "the name of a file in quotes",
    bytes: "an address in quotes",
}


@dataclass(frozen=True, slots=True)
class ClockSettings:
    """[clock]: an accelerated clock for demos; a node and its meters must run the same one."""

    rate: float = 1.0
    """How many times as fast as the wall's it runs; development networks only."""
    origin_s: float = 0.0
    """What it showed (Unix seconds) when the wall's showed wall_origin_s; used where rate is not 1."""
    wall_origin_s: float = 0.0

    def make(self) -> Clock:
        if self.rate == 1:
            return SystemClock()
        return AcceleratedClock(self.rate, self.origin_s, self.wall_origin_s)

    def ranges(self) -> tuple[Range, ...]:
        """For `check_ranges`."""
        return (
            # From a second in a minute and a half to a day in a second: beyond it a demo shows nothing any more.
            ("clock.rate", self.rate, 0.01, 100_000),
            ("clock.origin_s", self.origin_s, 0, MAX_TIME_S),
            ("clock.wall_origin_s", self.wall_origin_s, 0, MAX_TIME_S),
        )


def read_document(path: Path) -> dict[str, Any]:
    """The TOML document in a file. Raises FileNotFoundError where there is none, UserError for all other trouble."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_SETTINGS_BYTES + 1)
        if len(content) > MAX_SETTINGS_BYTES:
            raise NeedsPerson(f"The settings file {path} is too large; it should be a page of text.")
        return tomllib.loads(content.decode(), parse_float=Decimal)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise UserError(f"The settings file {path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise NeedsPerson(f"The settings file {path} is not a text file.") from error
    except ValueError as error:  # TOML's, and that of a number with thousands of digits
        raise NeedsPerson(
            f"The settings file {path} is not valid TOML: {error}. Correct that line and start again."
        ) from error


def parse_sections(document: Mapping[str, object], kinds: Mapping[str, type], path: Path) -> dict[str, Any]:
    """The sections that the document has, each as its dataclass. Raises UserError naming what is wrong in `path`."""
    sections = {}
    for name, section in document.items():
        if name not in kinds:
            what = f"section [{name}]" if isinstance(section, Mapping) else f"setting {name} outside of all sections"
            raise NeedsPerson(f"The settings file {path} has an unknown {what}. Known sections: {', '.join(kinds)}.")
        kind = kinds[name]
        if get_origin(kind) is tuple:  # [[name]], any number of them
            sections[name] = _convert_list(path, name, section, get_args(kind)[0])
        else:
            sections[name] = _parse_section(path, name, section, kind)
    return sections


def check_ranges(rows: Iterable[Range]) -> None:
    """Raises UserError naming the first setting whose value is outside of its range."""
    for name, value, least, greatest in rows:
        # "Not in", so that nan is refused as well.
        if not least <= value <= greatest:
            raise NeedsPerson(f"The setting {name} must be from {least} to {greatest}, not {value}.")


def _parse_section(path: Path, name: str, section: object, kind: type) -> Any:
    if not isinstance(section, Mapping):
        raise NeedsPerson(f"In {path}, [{name}] must be a section with settings below it.")
    types = get_type_hints(kind)
    values = {}
    for key, value in section.items():
        if key not in types:
            raise NeedsPerson(
                f"The settings file {path} has an unknown setting {name}.{key}. Known are: {', '.join(sorted(types))}."
            )
        values[key] = _convert(path, f"{name}.{key}", value, types[key])
    for item in fields(kind):
        if item.name not in values and item.default is MISSING and item.default_factory is MISSING:
            raise NeedsPerson(f"The settings file {path} lacks the setting {name}.{item.name}.")
    return kind(**values)


def _convert_list(path: Path, name: str, value: object, kind: Any) -> tuple[object, ...]:
    """A list of texts, of addresses, or of tables, each of them a dataclass as a section is."""
    if kind is str:
        if isinstance(value, list) and all(isinstance(entry, str) for entry in value):
            return tuple(value)
        raise NeedsPerson(f'In {path}, {name} must be a list of texts such as ["name"].')
    if not isinstance(value, list):
        raise NeedsPerson(f"In {path}, {name} must be a list.")
    numbered = [(f"{name}[{number}]", entry) for number, entry in enumerate(value, start=1)]
    if not (is_dataclass(kind) and isinstance(kind, type)):
        return tuple([_convert(path, where, entry, kind) for where, entry in numbered])
    for where, entry in numbered:
        if not isinstance(entry, Mapping):
            raise NeedsPerson(f"In {path}, {where} must be a table: settings in braces, such as {{ name = 1 }}.")
    return tuple([_parse_section(path, where, entry, kind) for where, entry in numbered])


def _convert(path: Path, name: str, value: object, kind: Any) -> object:
    if kind == Path | None:
        kind = Path
    if get_origin(kind) is tuple:
        return _convert_list(path, name, value, get_args(kind)[0])
    if kind is float and type(value) in (int, Decimal):
        return float(Decimal(value))  # type: ignore[arg-type]  # infinite where an int would overflow
    if kind is Decimal and type(value) in (int, Decimal) and Decimal(value).is_finite():  # type: ignore[arg-type]
        return Decimal(value)  # type: ignore[arg-type]
    if kind is Path and isinstance(value, (str, Path)) and str(value):
        return path.parent / Path(value).expanduser()
    if kind is bytes and isinstance(value, str):
        try:
            return parse_address(value)
        except InvalidHex as error:
            raise NeedsPerson(f"In {path}, {name} is no address: {error}.") from error
    if type(value) is not kind or kind not in (bool, int, str):
        shown = value if isinstance(value, Decimal) else repr(value)
        raise NeedsPerson(f"In {path}, {name} must be {_WORDS[kind]}, not {shown}.")
    return value
