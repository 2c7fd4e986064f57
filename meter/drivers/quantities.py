"""What a meter's values are called, their units, and how they become whole thousandths: exactly, and rounded once.

For drivers whose settings name fields (registers of Modbus, values in JSON). A value is a fraction until it is
rounded, half a thousandth to the even one; from then on nothing is rounded any more.
"""

from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction

from meter.drivers.measurement import Measurement
from primitives.errors import UserError

# In thousandths of the unit that a measurement has.
_ENERGY = {"Wh": 10**3, "kWh": 10**6, "MWh": 10**9, "mWh": 1}
_POWER = {"W": 10**3, "kW": 10**6, "mW": 1}
_VOLTAGE = {"V": 10**3, "mV": 1}
_CURRENT = {"A": 10**3, "mA": 1}
UNITS: Mapping[str, Mapping[str, int]] = {
    "import": _ENERGY,
    "export": _ENERGY,
    "power": _POWER,
    **{f"voltage_{phase}": _VOLTAGE for phase in (1, 2, 3)},
    **{f"current_{phase}": _CURRENT for phase in (1, 2, 3)},
}
REGISTERS = ("import", "export")
"""Where one of them makes no sense nothing that came with it is believed; any other value is lost alone."""
_SUFFIXES = {"voltage": "_mv", "current": "_ma"}

# 10^12 Wh is what a town uses in a year.
MAX_THOUSANDTHS = 10**15
MAX_SCALE = Decimal(10**9)


def check_unit(name: str, what: str, unit: str) -> None:
    """Raises UserError where a field's unit is none of its kind; `name` is that of the setting."""
    if unit not in UNITS[what]:
        raise UserError(f"{name} is {unit!r}; for {what} choose one of {', '.join(UNITS[what])}")


def thousandths(value: Fraction, what: str, unit: str, scale: Decimal) -> int | None:
    """None for more than makes sense, and for energy below zero."""
    exact = value * Fraction(scale) * UNITS[what][unit]
    if abs(exact) > MAX_THOUSANDTHS or (exact < 0 and what in REGISTERS):
        return None
    return round(exact)


def measurement_of(elapsed_ms: int, found: Mapping[str, int], device_id: str = "") -> Measurement:
    """From thousandths by name."""
    values = [
        (what + suffix, value)
        for what, value in found.items()
        if (suffix := _SUFFIXES.get(what.split("_")[0])) is not None
    ]
    return Measurement(
        elapsed_ms,
        found.get("power"),
        found.get("import"),
        found.get("export"),
        values=tuple(values),
        device_id=device_id,
    )
