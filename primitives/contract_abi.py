"""A contract described by its ABI JSON: its functions, events and custom errors by name.

Reads what the Solidity compiler writes. An overloaded name is told apart by its full signature. Encoding itself is in
primitives/abi.py.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeVar

from primitives.abi import decode_as, encode_topic, is_hashed_as_topic
from primitives.abi_types import MAX_NESTING, TupleType, parse_type
from primitives.errors import InvalidAbi
from primitives.keccak import keccak256
from primitives.revert_reason import revert_reason


@dataclass(frozen=True, slots=True)
class Function:
    """A function: encodes its calls and decodes its results."""

    name: str
    inputs: TupleType
    input_names: tuple[str, ...]
    outputs: TupleType
    state_mutability: str
    selector: bytes

    @property
    def signature(self) -> str:
        return self.name + self.inputs.canonical

    def encode_call(self, arguments: Sequence[object] = ()) -> bytes:
        return self.selector + self.inputs.encode(tuple(arguments))

    def decode_call(self, data: bytes) -> tuple[object, ...]:
        if data[:4] != self.selector:
            raise InvalidAbi(f"not a call of {self.signature}: 0x{data[:4].hex()}")
        return decode_as(self.inputs, data[4:])

    def decode_result(self, data: bytes) -> tuple[object, ...]:
        return decode_as(self.outputs, data)


@dataclass(frozen=True, slots=True)
class Event:
    """An event: decodes its logs and gives the topics to look for. Dynamic indexed arguments come as their hash."""

    name: str
    inputs: TupleType
    input_names: tuple[str, ...]
    indexed: tuple[bool, ...]
    anonymous: bool
    topic: bytes
    unindexed: TupleType

    @property
    def signature(self) -> str:
        return self.name + self.inputs.canonical

    def topics(self, **indexed_values: object) -> list[bytes | None]:
        """The topics that select this event with these indexed arguments; None stands for any value."""
        topics: list[bytes | None] = [] if self.anonymous else [self.topic]
        remaining = dict(indexed_values)
        for name, member, is_indexed in zip(self.input_names, self.inputs.members, self.indexed, strict=True):
            if is_indexed:
                wanted = remaining.pop(name, None)
                topics.append(None if wanted is None else encode_topic(member.canonical, wanted))
        if remaining:
            raise InvalidAbi(f"{self.signature} has no indexed argument {', '.join(sorted(remaining))}")
        return topics

    def decode_log(self, topics: Sequence[bytes], data: bytes) -> dict[str, object]:
        """The arguments by name, in the order of their declaration."""
        remaining = list(topics)
        if not self.anonymous and (not remaining or remaining.pop(0) != self.topic):
            raise InvalidAbi(f"not a log of {self.signature}")
        if len(remaining) != sum(self.indexed):
            raise InvalidAbi(f"{self.signature} has {sum(self.indexed)} indexed arguments, the log {len(remaining)}")
        unindexed = iter(decode_as(self.unindexed, data))
        arguments: dict[str, object] = {}
        for name, member, is_indexed in zip(self.input_names, self.inputs.members, self.indexed, strict=True):
            if not is_indexed:
                arguments[name] = next(unindexed)
            elif is_hashed_as_topic(member):
                arguments[name] = remaining.pop(0)
            else:
                (arguments[name],) = decode_as(TupleType((member,)), remaining.pop(0))
        return arguments


@dataclass(frozen=True, slots=True)
class CustomError:
    """An error that the contract itself declares."""

    name: str
    inputs: TupleType
    input_names: tuple[str, ...]
    selector: bytes

    def decode(self, data: bytes) -> dict[str, object]:
        if data[:4] != self.selector:
            raise InvalidAbi(f"not a {self.name}{self.inputs.canonical}: 0x{data[:4].hex()}")
        return dict(zip(self.input_names, decode_as(self.inputs, data[4:]), strict=True))


_Named = TypeVar("_Named", Function, Event)


@dataclass(frozen=True, slots=True)
class DecodedLog:
    event: str
    arguments: Mapping[str, object]


class ContractAbi:
    """All that a contract's ABI JSON declares."""

    def __init__(self, entries: Iterable[object]) -> None:
        """Raises InvalidAbi where an entry is malformed."""
        self.constructor = TupleType(())
        functions: list[Function] = []
        events: list[Event] = []
        errors: list[CustomError] = []
        for entry in entries:
            if not isinstance(entry, Mapping):
                raise InvalidAbi(f"an entry of an ABI must be an object, got {type(entry).__name__}")
            kind = entry.get("type", "function")
            if kind == "function":
                functions.append(_function(entry))
            elif kind == "event":
                events.append(_event(entry))
            elif kind == "error":
                errors.append(_custom_error(entry))
            elif kind == "constructor":
                self.constructor, _ = _parameters(entry.get("inputs", []))
            elif kind not in ("fallback", "receive"):
                raise InvalidAbi(f"an entry of unknown type {kind!r}")
        self.functions = _by_name(functions)
        self.events = _by_name(events)
        self.errors = MappingProxyType({error.selector: error for error in errors})
        self._events_by_topic = {event.topic: event for event in events if not event.anonymous}

    def function(self, name: str) -> Function:
        """By name, or by full signature where the name is overloaded."""
        return _find(self.functions, name, "function")

    def event(self, name: str) -> Event:
        return _find(self.events, name, "event")

    def encode_call(self, name: str, arguments: Sequence[object] = ()) -> bytes:
        return self.function(name).encode_call(arguments)

    def decode_result(self, name: str, data: bytes) -> tuple[object, ...]:
        return self.function(name).decode_result(data)

    def encode_constructor(self, arguments: Sequence[object] = ()) -> bytes:
        """What stands behind the creation code of a contract that is deployed."""
        return self.constructor.encode(tuple(arguments))

    def decode_log(self, topics: Sequence[bytes], data: bytes) -> DecodedLog | None:
        """The event of a log, or None where this contract declares no such event."""
        event = self._events_by_topic.get(topics[0]) if topics else None
        return None if event is None else DecodedLog(event.name, event.decode_log(topics, data))

    def revert_reason(self, data: bytes) -> str | None:
        """Why a call reverted: Error(string), Panic(uint256) or a custom error with its values; None if unknown."""
        error = self.errors.get(data[:4])
        if error is None:
            return revert_reason(data)
        try:
            arguments = error.decode(data)
        except InvalidAbi:
            return None
        return f"{error.name}({', '.join(f'{name}={_shown(value)}' for name, value in arguments.items())})"


def _function(entry: Mapping[str, object]) -> Function:
    name = _name(entry)
    inputs, input_names = _parameters(entry.get("inputs", []))
    outputs, _ = _parameters(entry.get("outputs", []))
    selector = keccak256((name + inputs.canonical).encode())[:4]
    return Function(name, inputs, input_names, outputs, str(entry.get("stateMutability", "")), selector)


def _event(entry: Mapping[str, object]) -> Event:
    name = _name(entry)
    parameters = entry.get("inputs", [])
    inputs, input_names = _parameters(parameters)
    assert isinstance(parameters, Sequence)  # _parameters has checked it
    indexed = tuple(bool(parameter.get("indexed")) for parameter in parameters)
    anonymous = bool(entry.get("anonymous"))
    if sum(indexed) > (4 if anonymous else 3):
        raise InvalidAbi(f"the event {name} has {sum(indexed)} indexed arguments")
    unindexed = TupleType([member for member, flag in zip(inputs.members, indexed, strict=True) if not flag])
    topic = keccak256((name + inputs.canonical).encode())
    return Event(name, inputs, input_names, indexed, anonymous, topic, unindexed)


def _custom_error(entry: Mapping[str, object]) -> CustomError:
    name = _name(entry)
    inputs, input_names = _parameters(entry.get("inputs", []))
    return CustomError(name, inputs, input_names, keccak256((name + inputs.canonical).encode())[:4])


def _name(entry: Mapping[str, object]) -> str:
    name = entry.get("name")
    if not isinstance(name, str) or not name:
        raise InvalidAbi("an entry of an ABI without a name")
    return name


def _parameters(parameters: object) -> tuple[TupleType, tuple[str, ...]]:
    """The types of a list of parameters, and a name for each: its own, or its position."""
    if not isinstance(parameters, Sequence) or isinstance(parameters, str):
        raise InvalidAbi("the parameters of an ABI entry must be a list")
    members, names = [], []
    for position, parameter in enumerate(parameters):
        members.append(parse_type(_type_text(parameter, 0)))
        name = str(parameter.get("name") or position)
        names.append(name if name not in names else f"{name}_{position}")
    return TupleType(members), tuple(names)


def _type_text(parameter: object, depth: int) -> str:
    """The type of a parameter, with a struct's "tuple[2]" replaced by the types of its components."""
    if not isinstance(parameter, Mapping) or not isinstance(parameter.get("type"), str):
        raise InvalidAbi("a parameter of an ABI entry without a type")
    if depth > MAX_NESTING:
        raise InvalidAbi(f"types nested more than {MAX_NESTING} deep")
    text = str(parameter["type"])
    if not text.startswith("tuple"):
        return text
    components = parameter.get("components")
    if not isinstance(components, Sequence) or isinstance(components, str):
        raise InvalidAbi("a tuple without components")
    return f"({','.join(_type_text(component, depth + 1) for component in components)}){text[len('tuple') :]}"


def _by_name(entries: Sequence[_Named]) -> Mapping[str, _Named]:
    """Each entry by its signature, and by its bare name where that is unambiguous."""
    names = Counter(entry.name for entry in entries)
    found = {entry.signature: entry for entry in entries}
    found.update((entry.name, entry) for entry in entries if names[entry.name] == 1)
    return MappingProxyType(found)


def _find(entries: Mapping[str, _Named], name: str, kind: str) -> _Named:
    if name not in entries:
        raise InvalidAbi(f"the contract has no {kind} {name}, or several of that name: give the full signature")
    return entries[name]


def _shown(value: object) -> str:
    return "0x" + value.hex() if isinstance(value, bytes) else str(value)
