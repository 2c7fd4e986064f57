"""Calls, results, logs and errors in the encoding of Solidity contracts: the plain entry points.

The types and their Python values are described in primitives/abi_types.py, whole contracts (ABI JSON) in
primitives/contract_abi.py. Follows the Solidity Contract ABI Specification. Bytes behind the last value are ignored, as
contracts do; everything else is strict. Everything here raises InvalidAbi for what does not fit.
"""

from collections.abc import Sequence
from functools import lru_cache

from primitives.abi_types import (
    MAX_CACHED_TYPES,
    AbiType,
    ArrayType,
    BytesType,
    Input,
    TupleType,
    pad_right,
    parse_type,
    parse_types,
)
from primitives.errors import InvalidAbi
from primitives.keccak import keccak256


def encode(types: Sequence[str], values: Sequence[object]) -> bytes:
    """The values of these types, encoded one behind the other as arguments of a call (without selector)."""
    return _arguments(tuple(types)).encode(tuple(values))


def decode(types: Sequence[str], data: bytes) -> tuple[object, ...]:
    """The values of these types in data."""
    return decode_as(_arguments(tuple(types)), data)


def decode_as(parsed: TupleType, data: bytes) -> tuple[object, ...]:
    """The values in data by types that were parsed before."""
    return parsed.decode(Input(bytes(data)), 0)


def parse_signature(signature: str) -> tuple[str, TupleType]:
    """Name and types of "transfer(address,uint)"."""
    name, parenthesis, rest = signature.partition("(")
    if not name.isascii() or not name.replace("$", "_").isidentifier():
        raise InvalidAbi(f"not a signature: {signature!r}")
    return name, parse_types(parenthesis + rest)


def canonical_signature(signature: str) -> str:
    """The signature with every type's full name, as it is hashed: "transfer(address,uint256)"."""
    name, types = parse_signature(signature)
    return name + types.canonical


@lru_cache(maxsize=MAX_CACHED_TYPES)
def function_selector(signature: str) -> bytes:
    """The 4 bytes that name a function, or a custom error, such as "transfer(address,uint256)"."""
    return event_topic(signature)[:4]


@lru_cache(maxsize=MAX_CACHED_TYPES)
def event_topic(signature: str) -> bytes:
    """The 32 bytes that name an event such as "Transfer(address,address,uint256)"."""
    return keccak256(canonical_signature(signature).encode())


def encode_call(signature: str, values: Sequence[object] = ()) -> bytes:
    """Selector and arguments of a call of "transfer(address,uint256)"."""
    return function_selector(signature) + parse_signature(signature)[1].encode(tuple(values))


def encode_topic(type_name: str, value: object) -> bytes:
    """The topic of an indexed event argument: the value itself, or the hash of what does not fit one word."""
    parsed = parse_type(type_name)
    if isinstance(parsed, (ArrayType, TupleType)):
        return keccak256(_in_place(parsed, value))
    return keccak256(parsed.content(value)) if isinstance(parsed, BytesType) else parsed.encode(value)


def is_hashed_as_topic(parsed: AbiType) -> bool:
    """Whether an indexed argument of this type leaves only its hash in the log."""
    return isinstance(parsed, (ArrayType, TupleType, BytesType))


@lru_cache(maxsize=MAX_CACHED_TYPES)
def _arguments(types: tuple[str, ...]) -> TupleType:
    return TupleType([parse_type(name) for name in types])


def _in_place(parsed: AbiType, value: object) -> bytes:
    """What is hashed of an indexed array or struct: all elements padded to words, no lengths and no offsets."""
    encoded = parsed.encode(value)
    if isinstance(parsed, BytesType):
        return pad_right(parsed.content(value))
    if isinstance(parsed, ArrayType) and isinstance(value, (list, tuple)):
        return b"".join([_in_place(parsed.element, item) for item in value])
    if isinstance(parsed, TupleType) and isinstance(value, (list, tuple)):
        return b"".join([_in_place(member, item) for member, item in zip(parsed.members, value, strict=True)])
    return encoded
