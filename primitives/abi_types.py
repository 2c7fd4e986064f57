"""Every type of the Solidity ABI: how it is named, encoded and decoded. The entry points are in primitives/abi.py.

Follows the Solidity Contract ABI Specification, strictly where it leaves room: padding must be zero, numbers must fit
their type, text must be UTF-8, offsets must point behind the heads, and no more is decoded than the data holds, so that
a few hostile bytes can neither claim a huge array nor refer to the same bytes over and over.

Python values: int for intN/uintN, bool, decimal.Decimal (exact) for fixedMxN/ufixedMxN, bytes for bytesN, bytes and
function (24 bytes), str for string, 20 bytes for address (an 0x text is also encoded), tuples for arrays and structs
(any list or tuple is encoded).
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from decimal import Decimal
from functools import lru_cache

from primitives.errors import InvalidAbi, InvalidHex
from primitives.hexadecimal import parse_address

WORD = 32

# Solidity's own stack allows about a dozen levels; encoding and decoding recurse once a level.
MAX_NESTING = 32
# The longest struct signatures in use have a few hundred characters; parsing time must stay bounded.
MAX_TYPE_LENGTH = 4096
# Parsed types are kept: contracts use a few dozen. Bounded because type texts may come from outside.
MAX_CACHED_TYPES = 256
# The widest integer has 78 digits and at most 80 stand behind the point; more digits would only cost memory.
MAX_DECIMAL_DIGITS = 160

_ARRAY_SUFFIX = re.compile(r"\[([1-9][0-9]{0,9})?\]", re.ASCII)
_ELEMENTARY = re.compile(r"(u?int|bytes|u?fixed)(?:([1-9][0-9]*)(?:x([1-9][0-9]?|0))?)?", re.ASCII)


class Input:
    """Encoded bytes and how many of them may still be read."""

    __slots__ = ("data", "unread")

    def __init__(self, data: bytes) -> None:
        self.data = data
        # Canonical data mentions each byte once. Offsets that share bytes could multiply a small input endlessly.
        self.unread = len(data)

    def read(self, position: int, size: int) -> bytes:
        if position + size > len(self.data):
            raise InvalidAbi(f"the data ends at byte {len(self.data)}, inside or before a value at byte {position}")
        self.unread -= size
        if self.unread < 0:
            raise InvalidAbi("offsets refer to the same bytes more than once")
        return self.data[position : position + size]

    def read_number(self, position: int) -> int:
        return int.from_bytes(self.read(position, WORD), "big")


class AbiType(ABC):
    """One type: its canonical name, whether it is encoded behind an offset, and the bytes it takes in the head."""

    __slots__ = ("canonical", "is_dynamic", "size")

    def __init__(self, canonical: str, size: int = WORD, is_dynamic: bool = False) -> None:
        self.canonical = canonical
        self.size = size
        self.is_dynamic = is_dynamic

    @property
    def head_size(self) -> int:
        return WORD if self.is_dynamic else self.size

    @abstractmethod
    def encode(self, value: object) -> bytes:
        """The encoding without any offset to it. Raises InvalidAbi where the value is not of this type."""

    @abstractmethod
    def decode(self, source: Input, position: int) -> object:
        """The value encoded at a position of the source. Raises InvalidAbi."""

    def _misfit(self, value: object) -> InvalidAbi:
        shown = repr(value)
        return InvalidAbi(f"{shown if len(shown) <= 80 else shown[:77] + '...'} is no value of type {self.canonical}")


class IntegerType(AbiType):
    """intN and uintN: a whole number in two's complement."""

    __slots__ = ("bits", "is_signed", "maximum", "minimum")

    def __init__(self, canonical: str, bits: int, is_signed: bool) -> None:
        super().__init__(canonical)
        self.bits = bits
        self.is_signed = is_signed
        self.minimum = -(1 << bits - 1) if is_signed else 0
        self.maximum = (1 << bits - 1) - 1 if is_signed else (1 << bits) - 1

    def encode(self, value: object) -> bytes:
        if not isinstance(value, int) or isinstance(value, bool) or not self.minimum <= value <= self.maximum:
            raise self._misfit(value)
        return value.to_bytes(WORD, "big", signed=self.is_signed)

    def decode(self, source: Input, position: int) -> int:
        value = int.from_bytes(source.read(position, WORD), "big", signed=self.is_signed)
        if not self.minimum <= value <= self.maximum:
            raise InvalidAbi(f"{value} does not fit {self.canonical}")
        return value


class FixedPointType(IntegerType):
    """fixedMxN and ufixedMxN: a Decimal with at most N digits behind the point, as the integer value * 10**N."""

    __slots__ = ("decimals",)

    def __init__(self, canonical: str, bits: int, decimals: int, is_signed: bool) -> None:
        super().__init__(canonical, bits, is_signed)
        self.decimals = decimals

    def encode(self, value: object) -> bytes:
        if isinstance(value, int) and not isinstance(value, bool):
            value = Decimal(value)
        if not isinstance(value, Decimal):
            raise self._misfit(value)
        sign, digits, exponent = value.as_tuple()
        if isinstance(exponent, str) or len(digits) + abs(exponent) > MAX_DECIMAL_DIGITS:
            raise self._misfit(value)
        scaled, shift = int("".join(map(str, digits))), exponent + self.decimals
        if shift >= 0:
            scaled *= 10**shift
        else:
            scaled, lost = divmod(scaled, 10**-shift)
            if lost:
                raise InvalidAbi(f"{value} has more than {self.decimals} digits behind the point")
        return super().encode(-scaled if sign else scaled)

    def decode(self, source: Input, position: int) -> Decimal:  # type: ignore[override]
        scaled = super().decode(source, position)
        return Decimal((int(scaled < 0), tuple(map(int, str(abs(scaled)))), -self.decimals))


class BoolType(AbiType):
    """bool: 0 or 1 and nothing else."""

    __slots__ = ()

    def encode(self, value: object) -> bytes:
        if not isinstance(value, bool):
            raise self._misfit(value)
        return value.to_bytes(WORD, "big")

    def decode(self, source: Input, position: int) -> bool:
        value = source.read_number(position)
        if value > 1:
            raise InvalidAbi(f"{value} is no bool")
        return value == 1


class AddressType(AbiType):
    """address: 20 bytes, or text with the EIP-55 check sum where it has mixed case."""

    __slots__ = ()

    def encode(self, value: object) -> bytes:
        if isinstance(value, str):
            try:
                value = parse_address(value)
            except InvalidHex as error:
                raise InvalidAbi(str(error)) from error
        if not isinstance(value, (bytes, bytearray)) or len(value) != 20:
            raise self._misfit(value)
        return bytes(12) + value

    def decode(self, source: Input, position: int) -> bytes:
        word = source.read(position, WORD)
        if any(word[:12]):
            raise InvalidAbi(f"an address with more than 20 bytes: {word.hex()}")
        return word[12:]


class FixedBytesType(AbiType):
    """bytesN, exactly N bytes; function (an address and a selector) is bytes24 by another name."""

    __slots__ = ("length",)

    def __init__(self, canonical: str, length: int) -> None:
        super().__init__(canonical)
        self.length = length

    def encode(self, value: object) -> bytes:
        if not isinstance(value, (bytes, bytearray)) or len(value) != self.length:
            raise self._misfit(value)
        return bytes(value) + bytes(WORD - self.length)

    def decode(self, source: Input, position: int) -> bytes:
        word = source.read(position, WORD)
        if any(word[self.length :]):
            raise InvalidAbi(f"{self.canonical} with padding that is not zero: {word.hex()}")
        return word[: self.length]


class BytesType(AbiType):
    """bytes: a length, the bytes, zeros up to a whole word."""

    __slots__ = ()

    def __init__(self, canonical: str = "bytes") -> None:
        super().__init__(canonical, is_dynamic=True)

    def encode(self, value: object) -> bytes:
        if not isinstance(value, (bytes, bytearray)):
            raise self._misfit(value)
        return len(value).to_bytes(WORD, "big") + pad_right(bytes(value))

    def decode(self, source: Input, position: int) -> bytes:
        length = source.read_number(position)
        padded = source.read(position + WORD, -(-length // WORD) * WORD)
        if any(padded[length:]):
            raise InvalidAbi(f"{self.canonical} with padding that is not zero at byte {position}")
        return padded[:length]

    def content(self, value: object) -> bytes:
        """The bytes of a value alone, as they are hashed. Raises InvalidAbi where it is not of this type."""
        encoded = self.encode(value)
        return encoded[WORD : WORD + int.from_bytes(encoded[:WORD], "big")]


class StringType(BytesType):
    """string: UTF-8 in the form of bytes."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__("string")

    def encode(self, value: object) -> bytes:
        if not isinstance(value, str):
            raise self._misfit(value)
        try:
            return super().encode(value.encode())
        except UnicodeEncodeError as error:
            raise self._misfit(value) from error

    def decode(self, source: Input, position: int) -> str:  # type: ignore[override]
        try:
            return super().decode(source, position).decode()
        except UnicodeDecodeError as error:
            raise InvalidAbi(f"a string at byte {position} is not UTF-8") from error


class TupleType(AbiType):
    """(T1,...,Tn): a struct, or the arguments of a call as a whole."""

    __slots__ = ("heads_size", "members")

    def __init__(self, members: Sequence[AbiType]) -> None:
        self.members = tuple(members)
        self.heads_size = sum(member.head_size for member in members)
        is_dynamic = any(member.is_dynamic for member in members)
        super().__init__(f"({','.join(member.canonical for member in members)})", self.heads_size, is_dynamic)

    def encode(self, value: object) -> bytes:
        if not isinstance(value, (list, tuple)) or len(value) != len(self.members):
            raise self._misfit(value)
        return _encode_members([member.encode(item) for member, item in zip(self.members, value, strict=True)], self)

    def decode(self, source: Input, position: int) -> tuple[object, ...]:
        if position + self.heads_size > len(source.data):
            raise InvalidAbi(f"the data ends at byte {len(source.data)}, inside {self.canonical} at byte {position}")
        values, head = [], position
        for member in self.members:
            values.append(_decode_member(member, source, position, head, self.heads_size))
            head += member.head_size
        return tuple(values)


class ArrayType(AbiType):
    """T[k] and T[]."""

    __slots__ = ("element", "length")

    def __init__(self, element: AbiType, length: int | None) -> None:
        self.element = element
        self.length = length
        is_dynamic = length is None or element.is_dynamic
        size = WORD if length is None else element.head_size * length
        super().__init__(f"{element.canonical}[{'' if length is None else length}]", size, is_dynamic)

    def encode(self, value: object) -> bytes:
        if not isinstance(value, (list, tuple)) or self.length not in (None, len(value)):
            raise self._misfit(value)
        encoded = [self.element.encode(item) for item in value]
        count = len(value).to_bytes(WORD, "big") if self.length is None else b""
        if not self.element.is_dynamic:
            return count + b"".join(encoded)
        return count + _join_behind_offsets(encoded, WORD * len(encoded))

    def decode(self, source: Input, position: int) -> tuple[object, ...]:
        count = self.length
        if count is None:
            count = source.read_number(position)
            position += WORD
        element, step = self.element, self.element.head_size
        heads_size = count * step
        # Before anything is allocated: the claimed elements must be there.
        if position + heads_size > len(source.data):
            raise InvalidAbi(f"{self.canonical} claims {count} elements at byte {position}, more than the data holds")
        heads = range(position, position + heads_size, step)
        return tuple([_decode_member(element, source, position, head, heads_size) for head in heads])


@lru_cache(maxsize=MAX_CACHED_TYPES)
def parse_type(text: str) -> AbiType:
    """The type that text names, such as "uint8", "(address,bytes)[2][]". Raises InvalidAbi."""
    if len(text) > MAX_TYPE_LENGTH:
        raise InvalidAbi(f"a type of {len(text)} characters; at most {MAX_TYPE_LENGTH} are read")
    return _parse(text, 0)


def parse_types(text: str) -> TupleType:
    """The types in a parenthesised list such as "(uint256,string)"; "()" is none. Raises InvalidAbi."""
    if text == "()":
        return TupleType(())
    parsed = parse_type(text)
    if not isinstance(parsed, TupleType):
        raise InvalidAbi(f"expected types in parentheses, got {text!r}")
    return parsed


def pad_right(data: bytes) -> bytes:
    """data with zeros up to a whole number of words."""
    return data + bytes(-len(data) % WORD)


def _parse(text: str, depth: int) -> AbiType:
    if depth > MAX_NESTING:
        raise InvalidAbi(f"types nested more than {MAX_NESTING} deep")
    base, suffixes = text, ""
    if text.endswith("]"):
        begin = text.rfind(")") + 1 or text.index("[") if "[" in text else 0
        base, suffixes = text[:begin], text[begin:]
    lengths = _array_lengths(text, suffixes)
    if depth + len(lengths) > MAX_NESTING:
        raise InvalidAbi(f"types nested more than {MAX_NESTING} deep")
    if base.startswith("(") and base.endswith(")"):
        parsed: AbiType = TupleType([_parse(member, depth + 1) for member in _split_members(base)])
    else:
        parsed = _parse_elementary(base)
    for length in lengths:
        parsed = ArrayType(parsed, length)
    return parsed


def _array_lengths(text: str, suffixes: str) -> list[int | None]:
    lengths: list[int | None] = []
    position = 0
    while position < len(suffixes):
        match = _ARRAY_SUFFIX.match(suffixes, position)
        if match is None:
            # T[0] has no values and would let an array of it claim any length: Solidity has no such type either.
            raise InvalidAbi(f"not a type of the Solidity ABI: {text!r}")
        lengths.append(int(match[1]) if match[1] else None)
        position = match.end()
    return lengths


def _split_members(text: str) -> list[str]:
    members, depth, begin = [], 0, 1
    for position in range(1, len(text) - 1):
        character = text[position]
        if character == "(":
            depth += 1
        elif character == ")":
            depth -= 1
            if depth < 0:
                raise InvalidAbi(f"not a type of the Solidity ABI: {text!r}")
        elif character == "," and depth == 0:
            members.append(text[begin:position])
            begin = position + 1
    members.append(text[begin:-1])
    return members


def _parse_elementary(text: str) -> AbiType:
    if text == "address":
        return AddressType("address")
    if text == "bool":
        return BoolType("bool")
    if text == "string":
        return StringType()
    if text == "function":
        return FixedBytesType("function", 24)
    match = _ELEMENTARY.fullmatch(text)
    if match is None or (match[2] and len(match[2]) > 3):
        raise InvalidAbi(f"not a type of the Solidity ABI: {text!r}")
    kind, first, second = match[1], int(match[2] or 0), match[3]
    is_signed = not kind.startswith("u")
    if kind == "bytes" and second is None:
        if not match[2]:
            return BytesType()
        if first <= WORD:
            return FixedBytesType(text, first)
    elif kind.endswith("int") and second is None:
        bits = first or 256
        if bits % 8 == 0 and bits <= 256:
            return IntegerType(f"{kind}{bits}", bits, is_signed)
    elif kind.endswith("fixed") and (second is not None) == bool(match[2]):
        bits, decimals = (first, int(second)) if second is not None else (128, 18)
        if bits % 8 == 0 and bits <= 256 and decimals <= 80:
            return FixedPointType(f"{kind}{bits}x{decimals}", bits, decimals, is_signed)
    raise InvalidAbi(f"not a type of the Solidity ABI: {text!r}")


def _encode_members(encoded: list[bytes], of: TupleType) -> bytes:
    if not of.is_dynamic:
        return b"".join(encoded)
    heads, tails, offset = [], [], of.heads_size
    for member, item in zip(of.members, encoded, strict=True):
        if member.is_dynamic:
            heads.append(offset.to_bytes(WORD, "big"))
            tails.append(item)
            offset += len(item)
        else:
            heads.append(item)
    return b"".join(heads) + b"".join(tails)


def _join_behind_offsets(encoded: list[bytes], offset: int) -> bytes:
    heads = []
    for item in encoded:
        heads.append(offset.to_bytes(WORD, "big"))
        offset += len(item)
    return b"".join(heads) + b"".join(encoded)


def _decode_member(member: AbiType, source: Input, base: int, head: int, heads_size: int) -> object:
    if not member.is_dynamic:
        return member.decode(source, head)
    offset = source.read_number(head)
    if offset < heads_size:
        raise InvalidAbi(f"the offset {offset} at byte {head} points into the heads")
    return member.decode(source, base + offset)
