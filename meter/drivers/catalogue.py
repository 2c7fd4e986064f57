"""The kinds of drivers that `driver.kind` can name: one row each, loaded only when it is used.

A driver is a module with a dataclass of settings ([driver] in the settings file) and a function that opens it. Those
that talk to a device give a Device (`open_device`), to which meter/measuring.py applies the rules for real meters;
those that have time and registers of their own give a Driver (`open_driver`).
"""

import importlib
from dataclasses import dataclass
from typing import Any, Protocol

from meter.mqtt import MqttConnection
from primitives.clock import Clock
from primitives.errors import NeedsPerson


class DriverSection(Protocol):
    """The section [driver], as the chosen kind's dataclass."""

    @property
    def kind(self) -> str: ...

    def check(self) -> None:
        """Raises UserError for values that make no sense."""


@dataclass(frozen=True, slots=True)
class DriverKind:
    """A row: the module below meter/drivers, the name of its settings' dataclass, and what it is for people."""

    name: str
    module: str
    settings_name: str
    summary: str
    extra: str = ""
    """The optional part of the package whose libraries it needs: pip install 'wattchain[extra]'."""
    uses_mqtt: bool = False
    """Its function takes the meter's MQTT connection as well."""

    def settings_type(self) -> type:
        return self._load(self.settings_name)  # type: ignore[no-any-return]

    def opener(self, name: str) -> Any:
        """`open_driver` or `open_device` of the module, None where it has no such function."""
        return getattr(self._module(), name, None)

    def _load(self, name: str) -> Any:
        return getattr(self._module(), name)

    def _module(self) -> Any:
        try:
            return importlib.import_module(f"meter.drivers.{self.module}")
        except ModuleNotFoundError as error:
            if not self.extra or (error.name or "").startswith("meter"):
                raise
            raise NeedsPerson(
                f'driver.kind = "{self.name}" needs the library {error.name}: pip install "wattchain[{self.extra}]"'
            ) from error


DRIVER_KINDS: tuple[DriverKind, ...] = (
    DriverKind("replay", "replay", "ReplaySettings", "plays a CSV file of measurements"),
    DriverKind(
        "simulated-home", "simulated_home", "SimulatedHomeSettings", "a made-up home: panel, battery, appliances"
    ),
    DriverKind("rpict", "rpict", "RpictSettings", "RPICT boards on a serial line, or any that tells power in lines"),
    DriverKind("sct013", "sct013", "Sct013Settings", "clamps whose current is told in lines; power is V times I"),
    DriverKind("dsmr", "dsmr", "DsmrSettings", "smart meters with a P1 port (DSMR)", "dsmr"),
    DriverKind("sml", "sml", "SmlSettings", "smart meters with an infrared port that speak SML", "sml"),
    DriverKind("modbus", "modbus", "ModbusSettings", "Modbus meters on RS485 or in the network", "modbus"),
    DriverKind("mqtt", "mqtt_meter", "MqttMeterSettings", "meters that tell their values over MQTT", "mqtt", True),
    DriverKind("pulses", "pulses", "PulsesSettings", "meters with a pulse output, on GPIO pins", "gpio"),
)


def driver_kind(name: str) -> DriverKind:
    """The row with a name. Raises UserError."""
    for kind in DRIVER_KINDS:
        if kind.name == name:
            return kind
    known = ", ".join(f'"{kind.name}"' for kind in DRIVER_KINDS)
    raise NeedsPerson(f'driver.kind is "{name}"; there is {known}')


def open_section(section: DriverSection, clock: Clock, mqtt: MqttConnection | None = None) -> Any:
    """What the section's kind opens: a Driver or a Device. Raises UserError."""
    kind = driver_kind(section.kind)
    opener = kind.opener("open_driver") or kind.opener("open_device")
    if not kind.uses_mqtt:
        return opener(section, clock)
    if mqtt is None:
        raise NeedsPerson(f'driver.kind = "{kind.name}" needs the section [mqtt] with the host of the broker')
    return opener(section, clock, mqtt)
