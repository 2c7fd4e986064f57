"""The table of methods: a name, the form of every parameter, and the function that answers.

Three kinds, by where the function runs: `answer` in the event loop (quick, and may await), `read` in a reader thread on
a snapshot of the chain, `simulate` likewise, but only a few at a time since it runs contract code. The table knows no
transport and no method.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeAlias, TypeVar

from gateway.errors import InvalidParameter
from primitives.errors import Invalid

Json: TypeAlias = "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None"
"""What json.dumps takes."""

Function = TypeVar("Function", bound=Callable[..., Any])

REQUIRED: Any = object()


class Place(Enum):
    """Where a method's function runs."""

    LOOP = "loop"
    READER = "reader"
    SIMULATION = "simulation"


@dataclass(frozen=True, slots=True)
class Parameter:
    """One positional parameter. `null` or nothing in an optional one's place gives the default."""

    name: str
    parse: Callable[[object], Any]
    """Raises Invalid for a wrong form."""
    default: Any = REQUIRED


@dataclass(frozen=True, slots=True)
class SimulationFrame:
    """What a simulation needs to know beside the chain."""

    gas_cap: int
    """The most gas one call may have."""
    now_s: int
    """The node's clock, for calls in the pending block."""


@dataclass(frozen=True, slots=True)
class Method:
    """One row."""

    name: str
    place: Place
    parameters: tuple[Parameter, ...]
    function: Callable[..., Any]
    is_for_operator: bool = False
    """Answered on the node's own computer only (gateway/caller.py)."""

    def parse(self, values: Sequence[object]) -> list[Any]:
        """The parameters of a request. Raises InvalidParameter, naming the one that is wrong."""
        if len(values) > len(self.parameters):
            raise InvalidParameter(f"too many arguments, want at most {len(self.parameters)}")
        parsed = []
        for index, parameter in enumerate(self.parameters):
            value = values[index] if index < len(values) else None
            if value is None and parameter.default is REQUIRED:
                raise InvalidParameter(f"missing value for required argument {index} ({parameter.name})")
            parsed.append(parameter.default if value is None else _parse(parameter, index, value))
        return parsed


class Table:
    """Rows by name, in the order they were added."""

    def __init__(self, *tables: "Table") -> None:
        self._methods: dict[str, Method] = {}
        for table in tables:
            for method in table:
                self._add(method)

    def answer(self, name: str, *parameters: Parameter) -> Callable[[Function], Function]:
        """An `async def (context, *parameters)` that runs in the event loop."""
        return self._row(name, Place.LOOP, parameters)

    def operate(self, name: str, *parameters: Parameter) -> Callable[[Function], Function]:
        """As `answer`, for the operator alone."""
        return self._row(name, Place.LOOP, parameters, is_for_operator=True)

    def read(self, name: str, *parameters: Parameter) -> Callable[[Function], Function]:
        """A `def (chain, *parameters)` that runs in a reader thread."""
        return self._row(name, Place.READER, parameters)

    def simulate(self, name: str, *parameters: Parameter) -> Callable[[Function], Function]:
        """A `def (chain, frame: SimulationFrame, *parameters)` that runs contract code in a reader thread."""
        return self._row(name, Place.SIMULATION, parameters)

    def get(self, name: str) -> Method | None:
        return self._methods.get(name)

    def __iter__(self) -> Iterator[Method]:
        return iter(self._methods.values())

    def _row(
        self, name: str, place: Place, parameters: tuple[Parameter, ...], *, is_for_operator: bool = False
    ) -> Callable[[Function], Function]:
        def add(function: Function) -> Function:
            self._add(Method(name, place, parameters, function, is_for_operator))
            return function

        return add

    def _add(self, method: Method) -> None:
        if method.name in self._methods:
            raise ValueError(f"the method {method.name} is in the table twice")
        self._methods[method.name] = method


def _parse(parameter: Parameter, index: int, value: object) -> Any:
    try:
        return parameter.parse(value)
    except Invalid as error:
        raise InvalidParameter(f"invalid argument {index} ({parameter.name}): {error}") from error
