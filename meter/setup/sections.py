"""What a wizard has gathered: the values of each section of the settings, as text or as values, with their types."""

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from decimal import Decimal, InvalidOperation
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from meter.drivers.catalogue import driver_kind
from meter.settings import section_kinds
from primitives.errors import InvalidHex, UserError
from primitives.hexadecimal import parse_address

DRIVER = "driver"


@dataclass(slots=True)
class Chosen:
    """Sections by name, in the order of the file."""

    values: dict[str, dict[str, object]] = field(default_factory=dict)
    waiting: list[str] = field(default_factory=list)
    """Options for a driver whose kind is not known yet."""

    def set_driver_kind(self, kind: str) -> None:
        """And take the options for it that were waiting. Raises UserError."""
        self.set(DRIVER, "kind", kind)
        waiting, self.waiting = self.waiting, []
        for text in waiting:
            self.set_text(text)

    def set(self, section: str, name: str, value: object) -> None:
        self.values.setdefault(section, {})[name] = value

    def get(self, section: str, name: str) -> object:
        """None where it was not chosen."""
        return self.values.get(section, {}).get(name)

    def set_text(self, assignment: str) -> None:
        """An option such as "driver.port=/dev/ttyUSB0"; one for a driver waits for its kind. Raises UserError."""
        place, equals, text = assignment.partition("=")
        section, dot, name = place.strip().partition(".")
        if not (equals and dot and name):
            raise UserError(f"{assignment[:80]!r} is no setting: write it as section.name=value, such as relay.pin=17")
        if (section, name) == (DRIVER, "kind"):
            self.set_driver_kind(text.strip())
        elif section == DRIVER and self.get(DRIVER, "kind") is None:
            self.waiting.append(assignment)
        else:
            self.set(section, name, parse_value(self.kind_of(section), section, name, text.strip()))

    def kind_of(self, section: str) -> type:
        """The dataclass of a section. Raises UserError."""
        if section == DRIVER:
            return driver_kind(str(self.get(DRIVER, "kind"))).settings_type()
        kind = section_kinds().get(section)
        if not isinstance(kind, type):
            raise UserError(f"there is no section [{section}]; there is {', '.join([DRIVER, *section_kinds()])}")
        return kind

    def sections(self) -> dict[str, tuple[type, dict[str, object]]]:
        """For meter/setup/settings_text.py."""
        return {name: (self.kind_of(name), values) for name, values in self.values.items() if values}


def parse_value(kind: type, section: str, name: str, text: str) -> object:
    """A value typed by a person, or given as an option, for a field of a settings dataclass. Raises UserError."""
    types = get_type_hints(kind)
    if name not in types:
        known = ", ".join(item.name for item in fields(kind))
        raise UserError(f"[{section}] has no setting {name[:40]!r}; it has {known}")
    try:
        return _convert(types[name], text)
    except (ValueError, InvalidOperation, KeyError, InvalidHex) as error:
        raise UserError(f"{section}.{name} cannot be {text[:80]!r}: {_words(types[name])}") from error


def required_names(kind: type) -> Iterator[str]:
    """Fields that have no usual value."""
    for item in fields(kind):
        if item.default is item.default_factory:  # both missing
            yield item.name


def split_list(text: str) -> tuple[str, ...]:
    return tuple([part.strip() for part in text.split(",") if part.strip()])


def _convert(kind: Any, text: str) -> object:
    kind = _without_none(kind)
    if get_origin(kind) is tuple:
        if get_args(kind)[0] is not str:
            raise ValueError("tables are written into the file by hand")
        return split_list(text)
    if kind is bool:
        return {"true": True, "yes": True, "false": False, "no": False}[text.lower()]
    if kind is Decimal:
        number = Decimal(text)
        if not number.is_finite():
            raise ValueError("not finite")
        return number
    if kind is bytes:
        return parse_address(text)
    if kind is Path:
        if not text:
            raise ValueError("no name")
        return Path(text).expanduser().absolute()
    if kind in (int, float, str):
        return kind(text)
    raise ValueError("tables are written into the file by hand")


def _without_none(kind: Any) -> Any:
    if get_origin(kind) in (Union, UnionType):
        (kind,) = [one for one in get_args(kind) if one is not type(None)]
    return kind


def _words(kind: Any) -> str:
    return {
        bool: "write true or false",
        int: "write a whole number",
        float: "write a number",
        Decimal: "write a number",
        bytes: "write an address",
        Path: "write the name of a file",
    }.get(_without_none(kind), "write it into the settings file by hand afterwards")
