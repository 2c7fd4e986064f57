"""What `wattchain meter setup` asks about a device that it cannot find by itself: what its kind cannot do without, and
what is usually different at each place. Everything else has a usual value, and stands in the settings file."""

import dataclasses
import importlib
from collections.abc import Iterable
from typing import Any

from meter.drivers.catalogue import driver_kind
from meter.setup.person import Person
from meter.setup.sections import DRIVER, Chosen, parse_value, required_names

ASKED = {
    "rpict": ("port", "board", "channels"),
    "sct013": ("port", "board", "channels", "voltage_v"),
    "dsmr": ("host", "port", "version"),
    "sml": ("host", "port"),
    "modbus": ("model", "host", "port", "baud_rate", "parity", "unit"),
    "mqtt": ("model", "topic", "channel"),
    "pulses": ("pin", "pulses_per_kwh", "pull"),
    "replay": ("file",),
    "simulated-home": ("seed",),
}
"""By kind, in this order."""
OF_A_SERIAL_PORT = frozenset({"port", "baud_rate", "parity"})
"""Not asked where the device is in the network."""
QUESTIONS = {
    "port": "Serial port",
    "host": "Address in the network (empty: it is on a serial port)",
    "board": "Board",
    "channels": "Clamps that count, with commas",
    "voltage_v": "Voltage of the mains in V",
    "version": "Version (5 for all with a checksum, 2.2 for older ones)",
    "baud_rate": "Baud rate",
    "parity": "Parity (none, even or odd)",
    "unit": "Address on the bus (1 to 247)",
    "topic": "MQTT topic of the device",
    "channel": "Which of its clamps or switches",
    "pin": "GPIO number of the pin (17 is GPIO17)",
    "pulses_per_kwh": "Pulses a kWh (imp/kWh on the meter)",
    "pull": "Resistor inside the Pi (up, down or none)",
    "file": "CSV file",
    "seed": "Seed of the made-up home",
}
_TABLES_OF_MODELS = {"modbus": ("modbus", "METERS"), "mqtt": ("mqtt_meter", "MODELS")}


def ask_settings(person: Person, chosen: Chosen, *, again: bool = False) -> None:
    """With `again`, what was answered before is asked once more. Raises UserError."""
    kind_name = str(chosen.get(DRIVER, "kind"))
    kind = driver_kind(kind_name).settings_type()
    required = list(required_names(kind))
    for name in dict.fromkeys([*required, *ASKED.get(kind_name, ())]):
        if name in OF_A_SERIAL_PORT and chosen.get(DRIVER, "host"):
            continue
        if again or chosen.get(DRIVER, name) is None:
            _ask(person, chosen, kind, name, is_required=name in required)


def _ask(person: Person, chosen: Chosen, kind: Any, name: str, *, is_required: bool) -> None:
    present = chosen.get(DRIVER, name)
    default = next(item.default for item in dataclasses.fields(kind) if item.name == name)
    usual = present if present is not None else None if is_required else default
    models = _models(str(chosen.get(DRIVER, "kind"))) if name == "model" else ()
    if models:
        place = models.index(str(usual)) if usual in models else None
        rows = [(model, model) for model in models]
        value: object = person.choice("   Model", rows, usual=place, option=f"--set driver.{name}=VALUE")
    else:
        value = person.answer(
            f"   {QUESTIONS.get(name, name.replace('_', ' '))}",
            lambda typed: parse_value(kind, DRIVER, name, typed),
            usual=None if usual is None else _text(usual),
            option=f"--set driver.{name}=VALUE",
        )
    if is_required or present is not None or value != default:
        chosen.set(DRIVER, name, value)


def _models(kind_name: str) -> tuple[str, ...]:
    """Names of the devices that a kind knows by heart."""
    if kind_name not in _TABLES_OF_MODELS:
        return ()
    module, table = _TABLES_OF_MODELS[kind_name]
    known: Iterable[str] = getattr(importlib.import_module(f"meter.drivers.{module}"), table)
    return tuple(known)


def _text(value: object) -> str:
    return ",".join(value) if isinstance(value, tuple) else str(value)
