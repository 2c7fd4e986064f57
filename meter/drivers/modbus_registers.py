"""What registers of Modbus meters mean: tables of known meters, rows in the settings for all others, exact values.

A value is what the register says, as a fraction (a float32 is one), times scale and unit.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Literal

from pymodbus.client.mixin import ModbusClientMixin

from meter.drivers.quantities import MAX_SCALE, UNITS, check_unit, thousandths
from primitives.errors import UserError
from wallet.settings_file import check_ranges

Function = Literal["input", "holding"]

TYPES = {
    "int16": ModbusClientMixin.DATATYPE.INT16,
    "uint16": ModbusClientMixin.DATATYPE.UINT16,
    "int32": ModbusClientMixin.DATATYPE.INT32,
    "uint32": ModbusClientMixin.DATATYPE.UINT32,
    "int64": ModbusClientMixin.DATATYPE.INT64,
    "uint64": ModbusClientMixin.DATATYPE.UINT64,
    "float32": ModbusClientMixin.DATATYPE.FLOAT32,
    "float64": ModbusClientMixin.DATATYPE.FLOAT64,
}
WORD_ORDERS = ("big", "little")
FUNCTIONS = ("input", "holding")

SERIAL = "serial"
KINDS = (*UNITS, SERIAL)

# Eastron's meters refuse questions for more than 30 values; 60 registers.
MAX_REGISTERS_ASKED = 60
MAX_ROWS = 40


@dataclass(frozen=True, slots=True)
class RegisterRow:
    """One value: where it stands and what it is. Rows of the same `what` are added up (tariffs, phases)."""

    what: str
    """import, export, power, voltage_1 to 3, current_1 to 3, or serial."""
    address: int
    """As it goes over the wire: 0 for what many manuals call 30001 or 40001."""
    unit: str = ""
    type: str = "float32"
    function: str = "input"
    word_order: str = "big"
    scale: Decimal = Decimal(1)

    @property
    def length(self) -> int:
        return int(TYPES[self.type].value[1])

    def check(self, name: str) -> None:
        """Raises UserError for values that make no sense."""
        for setting, value, known in (
            ("what", self.what, KINDS),
            ("type", self.type, tuple(TYPES)),
            ("function", self.function, FUNCTIONS),
            ("word_order", self.word_order, WORD_ORDERS),
        ):
            if value not in known:
                raise UserError(f"{name}.{setting} is {value!r}; choose one of {', '.join(known)}")
        if self.what != SERIAL:
            check_unit(f"{name}.unit", self.what, self.unit)
        check_ranges(
            (
                (f"{name}.address", self.address, 0, 65_536 - self.length),
                (f"{name}.scale", self.scale, -MAX_SCALE, MAX_SCALE),
            )
        )


def _eastron(phases: int, power_address: int) -> tuple[RegisterRow, ...]:
    return (
        RegisterRow("import", 0x48, "kWh"),
        RegisterRow("export", 0x4A, "kWh"),
        RegisterRow("power", power_address, "W"),
        *[RegisterRow(f"voltage_{phase}", 2 * (phase - 1), "V") for phase in range(1, phases + 1)],
        *[RegisterRow(f"current_{phase}", 6 + 2 * (phase - 1), "A") for phase in range(1, phases + 1)],
        RegisterRow(SERIAL, 0xFC00, "", "uint32", "holding"),
    )


METERS: dict[str, tuple[RegisterRow, ...]] = {
    "SDM120": _eastron(1, 0x0C),
    "SDM230": _eastron(1, 0x0C),
    "SDM630": _eastron(3, 0x34),
}


@dataclass(frozen=True, slots=True)
class Question:
    """Neighbouring registers, asked for at once so that their values are of one moment."""

    function: str
    address: int
    count: int
    rows: tuple[RegisterRow, ...]


def plan_questions(rows: Sequence[RegisterRow]) -> tuple[Question, ...]:
    """As few questions as reach all rows without asking for a register that no row names: a meter may refuse that."""
    questions: list[Question] = []
    for row in sorted(rows, key=lambda row: (row.function, row.address)):
        last = questions[-1] if questions else None
        if (
            last is not None
            and last.function == row.function
            and last.address <= row.address <= last.address + last.count
            and row.address + row.length - last.address <= MAX_REGISTERS_ASKED
        ):
            count = max(last.count, row.address + row.length - last.address)
            questions[-1] = Question(last.function, last.address, count, (*last.rows, row))
        else:
            questions.append(Question(row.function, row.address, row.length, (row,)))
    return tuple(questions)


def value_of(row: RegisterRow, registers: Sequence[int]) -> int | None:
    """Whole thousandths (of a serial number: itself); None for what is no number, or makes no sense."""
    word_order: Literal["big", "little"] = "little" if row.word_order == "little" else "big"
    read = ModbusClientMixin.convert_from_registers(list(registers), TYPES[row.type], word_order)
    try:
        exact = Fraction(read) if isinstance(read, int | float) else None
    except (ValueError, OverflowError):  # nan and the infinities
        exact = None
    if exact is None:
        return None
    return int(exact) if row.what == SERIAL else thousandths(exact, row.what, row.unit, row.scale)
