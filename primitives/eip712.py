"""The hash of typed structured data (EIP-712), which is what a wallet or a meter signs.

`hash_typed_data` is the plain form; `TypedData` keeps all that does not change between messages of one kind, for those
who sign many. Beyond the standard's text, as all wallets do it: arrays of structs and of arrays; numbers and bytes may
come as text (JSON). Messages must fit their types exactly, no field missing, none too many. Raises InvalidTypedData.
"""

import re
from collections.abc import Callable, Mapping, Sequence

from primitives.abi_types import (
    MAX_NESTING,
    AbiType,
    AddressType,
    BoolType,
    BytesType,
    FixedBytesType,
    FixedPointType,
    IntegerType,
    StringType,
    parse_type,
)
from primitives.errors import InvalidAbi, InvalidHex, InvalidTypedData
from primitives.hexadecimal import parse_data
from primitives.keccak import keccak256

Types = Mapping[str, Sequence[Mapping[str, str]]]
"""Each struct's name with its fields in order, each {"name": ..., "type": ...}, as in the JSON of eth_signTypedData."""

DOMAIN_TYPE = "EIP712Domain"
_DOMAIN_FIELDS = {
    "name": "string",
    "version": "string",
    "chainId": "uint256",
    "verifyingContract": "address",
    "salt": "bytes32",
}

# A struct may hold arrays of itself, so only the message bounds the depth; encoding recurses once a level.
MAX_MESSAGE_DEPTH = MAX_NESTING

_NAME = re.compile(r"[A-Za-z_$][A-Za-z0-9_$]{0,255}", re.ASCII)
_ARRAY = re.compile(r"(.+)\[([1-9][0-9]{0,9})?\]", re.ASCII)
_WHOLE_NUMBER = re.compile(r"-?(?:0x[0-9a-fA-F]{1,64}|[0-9]{1,78})", re.ASCII)

_Encode = Callable[[object, int], bytes]


def hash_typed_data(
    domain: Mapping[str, object], types: Types, primary_type: str, message: Mapping[str, object]
) -> bytes:
    """The 32 bytes to sign for a message of primary_type in a domain."""
    return TypedData(domain, types, primary_type).hash(message)


def hash_typed_data_json(document: object) -> bytes:
    """The 32 bytes to sign for a whole document {types, primaryType, domain, message} of eth_signTypedData_v4."""
    if not isinstance(document, Mapping):
        raise InvalidTypedData("typed data must be an object")
    types, primary_type = document.get("types"), document.get("primaryType")
    domain, message = document.get("domain"), document.get("message")
    if not (isinstance(types, Mapping) and isinstance(domain, Mapping) and isinstance(primary_type, str)):
        raise InvalidTypedData("typed data needs types, primaryType, domain and message")
    if primary_type == DOMAIN_TYPE:
        return keccak256(b"\x19\x01" + domain_separator(domain, types))
    if not isinstance(message, Mapping):
        raise InvalidTypedData("typed data needs a message")
    return hash_typed_data(domain, types, primary_type, message)


def domain_separator(domain: Mapping[str, object], types: Types | None = None) -> bytes:
    """hashStruct of the domain, whose type is in `types` or else made of the standard fields that are present."""
    if types is None or DOMAIN_TYPE not in types:
        if unknown := set(domain) - set(_DOMAIN_FIELDS):
            raise InvalidTypedData(f"a domain has no field {', '.join(sorted(map(str, unknown)))}")
        fields = [{"name": name, "type": kind} for name, kind in _DOMAIN_FIELDS.items() if name in domain]
        types = {DOMAIN_TYPE: fields}
    return _Structs(types).hash_struct(DOMAIN_TYPE, domain, 0)


class TypedData:
    """One kind of message in one domain, prepared once."""

    def __init__(self, domain: Mapping[str, object], types: Types, primary_type: str) -> None:
        self._structs = _Structs(types)
        self._primary_type = primary_type
        self.type_hash = self._structs.type_hash(primary_type)
        self.domain_separator = domain_separator(domain, types)
        self._prefix = b"\x19\x01" + self.domain_separator

    def struct_hash(self, message: Mapping[str, object]) -> bytes:
        """hashStruct(message): what a contract computes before it adds its domain."""
        return self._structs.hash_struct(self._primary_type, message, 0)

    def hash(self, message: Mapping[str, object]) -> bytes:
        """The 32 bytes to sign."""
        return keccak256(self._prefix + self.struct_hash(message))


def encode_type(types: Types, primary_type: str) -> str:
    """The text that names a struct and all it refers to: "Mail(Person from,string contents)Person(string name)"."""
    return _Structs(types).encode_type(primary_type)


class _Structs:
    """The structs of one document: their fields checked, their encoders made when first needed."""

    def __init__(self, types: Types) -> None:
        self._fields = {name: _checked_fields(name, fields) for name, fields in types.items()}
        self._type_hashes: dict[str, bytes] = {}
        self._encoders: dict[str, list[tuple[str, _Encode]]] = {}

    def encode_type(self, primary_type: str) -> str:
        if primary_type not in self._fields:
            raise InvalidTypedData(f"the type {primary_type!r} is not defined")
        found, pending = {primary_type}, [primary_type]
        while pending:
            for _, kind in self._fields[pending.pop()]:
                struct = kind.partition("[")[0]
                if struct in self._fields and struct not in found:
                    found.add(struct)
                    pending.append(struct)
        ordered = [primary_type, *sorted(found - {primary_type})]
        return "".join(
            f"{name}({','.join(f'{kind} {field}' for field, kind in self._fields[name])})" for name in ordered
        )

    def type_hash(self, name: str) -> bytes:
        if name not in self._type_hashes:
            self._type_hashes[name] = keccak256(self.encode_type(name).encode())
        return self._type_hashes[name]

    def hash_struct(self, name: str, message: object, depth: int) -> bytes:
        if name not in self._encoders:
            self._encoders[name] = [(field, self._encoder(kind)) for field, kind in self._fields_of(name)]
        encoders = self._encoders[name]
        if depth > MAX_MESSAGE_DEPTH:
            raise InvalidTypedData(f"a message nested more than {MAX_MESSAGE_DEPTH} deep")
        if not isinstance(message, Mapping) or len(message) != len(encoders):
            raise InvalidTypedData(f"{_shown(message)} does not have exactly the fields of {name}")
        parts = [self.type_hash(name)]
        for field, encode in encoders:
            if field not in message:
                raise InvalidTypedData(f"the field {field} of {name} is missing")
            try:
                parts.append(encode(message[field], depth))
            except (InvalidAbi, InvalidHex) as error:
                raise InvalidTypedData(f"the field {field} of {name}: {error}") from error
        return keccak256(b"".join(parts))

    def _fields_of(self, name: str) -> Sequence[tuple[str, str]]:
        if name not in self._fields:
            raise InvalidTypedData(f"the type {name!r} is not defined")
        return self._fields[name]

    def _encoder(self, kind: str) -> _Encode:
        """What makes the 32 bytes of a value of this type within encodeData."""
        if kind in self._fields:
            return lambda value, depth: self.hash_struct(kind, value, depth + 1)
        if match := _ARRAY.fullmatch(kind):
            return self._array_encoder(kind, self._encoder(match[1]), int(match[2]) if match[2] else None)
        try:
            return _atomic_encoder(parse_type(kind))
        except InvalidAbi as error:
            raise InvalidTypedData(f"the type {kind!r} is neither defined nor one of EIP-712") from error

    @staticmethod
    def _array_encoder(kind: str, element: _Encode, length: int | None) -> _Encode:
        def encode(value: object, depth: int) -> bytes:
            if not isinstance(value, (list, tuple)) or length not in (None, len(value)):
                raise InvalidTypedData(f"{_shown(value)} is no value of type {kind}")
            return keccak256(b"".join([element(item, depth + 1) for item in value]))

        return encode


def _atomic_encoder(kind: AbiType) -> _Encode:
    if isinstance(kind, StringType):
        return lambda value, _: keccak256(kind.content(value))
    if isinstance(kind, BytesType):
        return lambda value, _: keccak256(kind.content(_bytes(value)))
    if isinstance(kind, FixedBytesType) and kind.canonical != "function":
        return lambda value, _: kind.encode(_bytes(value))
    if isinstance(kind, IntegerType) and not isinstance(kind, FixedPointType):
        return lambda value, _: kind.encode(_whole_number(value))
    if isinstance(kind, (AddressType, BoolType)):
        return lambda value, _: kind.encode(value)
    raise InvalidAbi(f"{kind.canonical} is no type of EIP-712")


def _checked_fields(name: object, fields: object) -> tuple[tuple[str, str], ...]:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InvalidTypedData(f"not a name of a struct: {_shown(name)}")
    if not isinstance(fields, (list, tuple)):
        raise InvalidTypedData(f"the fields of {name} must be a list")
    checked: list[tuple[str, str]] = []
    for field in fields:
        if not isinstance(field, Mapping) or not isinstance(field.get("type"), str):
            raise InvalidTypedData(f"a field of {name} without name or type")
        field_name = field.get("name")
        if not isinstance(field_name, str) or not _NAME.fullmatch(field_name):
            raise InvalidTypedData(f"not a name of a field of {name}: {_shown(field_name)}")
        if field["type"].count("[") > MAX_NESTING:
            raise InvalidTypedData(f"arrays nested more than {MAX_NESTING} deep")
        checked.append((field_name, field["type"]))
    if len({field_name for field_name, _ in checked}) != len(checked):
        raise InvalidTypedData(f"{name} has two fields of one name")
    return tuple(checked)


def _bytes(value: object) -> object:
    return parse_data(value) if isinstance(value, str) else value


def _whole_number(value: object) -> object:
    if isinstance(value, str) and _WHOLE_NUMBER.fullmatch(value):
        return int(value, 16 if "x" in value else 10)
    return value


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
