"""The kinds of fields that a message may have: how each becomes a msgpack value, and what is accepted back.

Both directions check the same rules. What breaks them raises InvalidMessage; `messages.encode` turns that into a bug of
ours. Nothing is converted silently: a bool is no number, text is no bytes, a list has a declared length.
"""

import ipaddress
from dataclasses import dataclass
from dataclasses import fields as dataclass_fields
from enum import IntEnum
from typing import Any, Protocol

from primitives.errors import Invalid

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


class InvalidMessage(Invalid):
    """A message breaks the rules of its type."""


class Field(Protocol):
    """One kind of field. Values are dynamic here on purpose: the bytes come from strangers."""

    @property
    def max_count(self) -> int:
        """The longest array that the field may hold, in itself or deeper."""

    def to_wire(self, value: Any) -> object:
        """What msgpack is given. Raises InvalidMessage."""

    def from_wire(self, item: object) -> Any:
        """The value in what msgpack gave. Raises InvalidMessage."""


@dataclass(frozen=True, slots=True)
class Uint:
    """A natural number of at most `bits` bits, up to the 64 of msgpack, and not above `maximum` where given."""

    bits: int
    maximum: int | None = None
    max_count: int = 0

    def to_wire(self, value: Any) -> object:
        return self.from_wire(value)

    def from_wire(self, item: object) -> int:
        limit = 2**self.bits - 1 if self.maximum is None else self.maximum
        if type(item) is not int or not 0 <= item <= limit:
            raise InvalidMessage(f"expected a number up to {limit}, got {_shown(item)}")
        return item


@dataclass(frozen=True, slots=True)
class Flag:
    """True or false."""

    max_count: int = 0

    def to_wire(self, value: Any) -> object:
        return self.from_wire(value)

    def from_wire(self, item: object) -> bool:
        if type(item) is not bool:
            raise InvalidMessage(f"expected true or false, got {_shown(item)}")
        return item


@dataclass(frozen=True, slots=True)
class BigUint:
    """A natural number beyond 64 bits: its shortest big-endian bytes, 0 is empty."""

    max_bytes: int
    max_count: int = 0

    def to_wire(self, value: Any) -> object:
        if type(value) is not int or value < 0 or value.bit_length() > 8 * self.max_bytes:
            raise InvalidMessage(f"expected a number of up to {self.max_bytes} bytes, got {_shown(value)}")
        return value.to_bytes((value.bit_length() + 7) // 8, "big")

    def from_wire(self, item: object) -> int:
        if type(item) is not bytes or len(item) > self.max_bytes or item[:1] == b"\0":
            raise InvalidMessage(f"expected the shortest bytes of a number, up to {self.max_bytes}, got {_shown(item)}")
        return int.from_bytes(item, "big")


@dataclass(frozen=True, slots=True)
class Bytes:
    """Between `min_bytes` and `max_bytes` bytes."""

    max_bytes: int
    min_bytes: int = 0
    max_count: int = 0

    def to_wire(self, value: Any) -> object:
        return self.from_wire(value)

    def from_wire(self, item: object) -> bytes:
        if type(item) is not bytes or not self.min_bytes <= len(item) <= self.max_bytes:
            raise InvalidMessage(f"expected {self.min_bytes} to {self.max_bytes} bytes, got {_shown(item)}")
        return item


def exactly(length: int) -> Bytes:
    """So many bytes."""
    return Bytes(length, length)


@dataclass(frozen=True, slots=True)
class NothingOr:
    """Bytes of another kind, or none at all."""

    kind: Bytes
    max_count: int = 0

    def to_wire(self, value: Any) -> object:
        return self.from_wire(value)

    def from_wire(self, item: object) -> bytes:
        return b"" if item == b"" else self.kind.from_wire(item)


@dataclass(frozen=True, slots=True)
class Nibbles:
    """Half bytes, each in a byte of its own."""

    max_nibbles: int
    max_count: int = 0

    def to_wire(self, value: Any) -> object:
        return self.from_wire(value)

    def from_wire(self, item: object) -> bytes:
        if type(item) is not bytes or len(item) > self.max_nibbles or max(item, default=0) > 15:
            raise InvalidMessage(f"expected up to {self.max_nibbles} half bytes, got {_shown(item)}")
        return item


@dataclass(frozen=True, slots=True)
class Text:
    """Printable ASCII: it is shown in logs and terminals, where other characters can do harm."""

    max_characters: int
    max_count: int = 0

    def to_wire(self, value: Any) -> object:
        return self.from_wire(value)

    def from_wire(self, item: object) -> str:
        if type(item) is not str or len(item) > self.max_characters or not (item.isascii() and item.isprintable()):
            raise InvalidMessage(f"expected up to {self.max_characters} printable characters, got {_shown(item)}")
        return item


@dataclass(frozen=True, slots=True)
class HashOrNumber:
    """A block by its 32-byte hash, or by its number."""

    max_count: int = 0

    def to_wire(self, value: Any) -> object:
        return self.from_wire(value)

    def from_wire(self, item: object) -> bytes | int:
        return exactly(32).from_wire(item) if type(item) is bytes else Uint(64).from_wire(item)


@dataclass(frozen=True, slots=True)
class Choice:
    """A number with a meaning; one without is read as `otherwise`, so that newer versions may have more of them."""

    kind: type[IntEnum]
    otherwise: IntEnum
    max_count: int = 0

    def to_wire(self, value: Any) -> object:
        if not isinstance(value, self.kind):
            raise InvalidMessage(f"expected a {self.kind.__name__}, got {_shown(value)}")
        return int(value)

    def from_wire(self, item: object) -> IntEnum:
        number = Uint(8).from_wire(item)
        return self.kind(number) if number in self.kind.__members__.values() else self.otherwise


@dataclass(frozen=True, slots=True)
class InternetAddress:
    """An IP address as its 4 or 16 bytes. No host names: a stranger must not choose what we look up."""

    max_count: int = 0

    def to_wire(self, value: Any) -> object:
        if not isinstance(value, IpAddress):
            raise InvalidMessage(f"expected an IP address, got {_shown(value)}")
        self.from_wire(value.packed)
        return value.packed

    def from_wire(self, item: object) -> IpAddress:
        if type(item) is not bytes or len(item) not in (4, 16):
            raise InvalidMessage(f"expected the 4 or 16 bytes of an IP address, got {_shown(item)}")
        address = ipaddress.ip_address(item)
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            raise InvalidMessage(f"an IPv4 address in IPv6 clothes: {address}")
        return address


@dataclass(frozen=True, slots=True)
class ListOf:
    """Between `min_items` and `max_items` values of one kind; a tuple in Python."""

    kind: Field
    max_items: int
    min_items: int = 0

    @property
    def max_count(self) -> int:
        return max(self.max_items, self.kind.max_count)

    def to_wire(self, value: Any) -> object:
        return tuple([self.kind.to_wire(entry) for entry in self._checked(value)])

    def from_wire(self, item: object) -> tuple[Any, ...]:
        return tuple([self.kind.from_wire(entry) for entry in self._checked(item)])

    def _checked(self, value: object) -> tuple[object, ...]:
        if type(value) is not tuple or not self.min_items <= len(value) <= self.max_items:
            raise InvalidMessage(f"expected a list of {self.min_items} to {self.max_items} items, got {_shown(value)}")
        return value


class Record:
    """A dataclass as the array of its fields, of the kinds given in their order."""

    def __init__(self, kind: type, *fields: Field) -> None:
        self.kind = kind
        self._names = tuple([field.name for field in dataclass_fields(kind)])
        if len(self._names) != len(fields):
            raise ValueError(f"{kind.__name__} has {len(self._names)} fields, {len(fields)} are described")
        self._fields = fields
        self.max_count = max([len(fields), *(field.max_count for field in fields)])

    def to_wire(self, value: Any) -> object:
        if not isinstance(value, self.kind):
            raise InvalidMessage(f"expected a {self.kind.__name__}, got {_shown(value)}")
        pairs = zip(self._fields, self._names, strict=True)
        return tuple([_named(name, field.to_wire, getattr(value, name)) for field, name in pairs])

    def from_wire(self, item: object) -> Any:
        if type(item) is not tuple or len(item) != len(self._fields):
            raise InvalidMessage(f"expected the {len(self._fields)} fields of {self.kind.__name__}, got {_shown(item)}")
        triples = zip(self._fields, self._names, item, strict=True)
        return self.kind(*[_named(name, field.from_wire, entry) for field, name, entry in triples])


def _named(name: str, convert: Any, value: object) -> Any:
    try:
        return convert(value)
    except InvalidMessage as error:
        raise InvalidMessage(f"{name}: {error}") from error


def _shown(value: object) -> str:
    """Enough of a hostile value to find the mistake, whatever its size."""
    if isinstance(value, (bytes, tuple)):
        return f"{type(value).__name__} of length {len(value)}"
    if isinstance(value, str):
        return ascii(value[:40])
    return repr(value)[:40] if isinstance(value, (int, float, bool)) or value is None else type(value).__name__
