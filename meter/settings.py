"""The settings of one meter, read from a TOML file. docs/metering.md describes each of them.

Names of files are taken from the folder of the settings file. Fractions are read as decimals: nothing that is billed
passes through binary floating point.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any, get_type_hints

from contracts.addresses import EXHAUSTION_ADDRESS, METER_ADDRESS
from meter.drivers.measured_csv import MISSING_VALUES, Column, CsvFormat
from meter.relay import FAIL_SAFE_STATES
from meter.submitter import MAX_IN_FLIGHT, SubmitterSettings
from primitives.errors import InvalidHex, UserError
from primitives.hexadecimal import parse_address

# A settings file is a page or two; a wrong file name should not read a disk image into memory.
MAX_SETTINGS_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class KeySettings:
    """[meter]: the device's own key, and where its readings are kept."""

    key: Path
    """Key file (Web3 Secret Storage) of the meter; its address is the meter's."""
    outbox: Path
    password_file: Path | None = None
    """Without it the password is asked at the terminal."""
    reading_interval_s: int = 3600
    """A reading is signed this often at most."""


@dataclass(frozen=True, slots=True)
class AccountSettings:
    """[account]: who pays for the transactions; the meter itself where the section is missing."""

    key: Path
    password_file: Path | None = None


@dataclass(frozen=True, slots=True)
class LedgerSettings:
    """[ledger]: the node, and which ledger it has to be on."""

    chain_id: int
    node: str = "http://127.0.0.1:8545"
    meter_contract: bytes = METER_ADDRESS
    exhaustion_contract: bytes = EXHAUSTION_ADDRESS
    confirmations: int = 6
    poll_interval_s: Decimal = Decimal(5)
    resend_after_s: Decimal = Decimal(60)
    max_in_flight: int = 4


@dataclass(frozen=True, slots=True)
class DriverSettings:
    """[driver]: where measurements come from; "replay" plays a CSV file."""

    file: Path
    kind: str = "replay"
    load_column: str = "non_shiftable_load"
    load_unit: str = "kWh"
    load_scale: Decimal = Decimal(1)
    generation_column: str = ""
    """Empty for none."""
    generation_unit: str = "W"
    generation_scale: Decimal = Decimal(1)
    """A panel's kW where the column is in W per kW."""
    row_interval_s: int = 3600
    delimiter: str = ","
    missing_values: tuple[str, ...] = MISSING_VALUES
    repeat: bool = False

    def csv_format(self) -> CsvFormat:
        generation = None
        if self.generation_column:
            generation = Column(self.generation_column, self.generation_unit, Fraction(self.generation_scale))
        load = Column(self.load_column, self.load_unit, Fraction(self.load_scale))
        return CsvFormat(load, generation, self.row_interval_s, self.delimiter, self.missing_values)


@dataclass(frozen=True, slots=True)
class SwitchSettings:
    """[relay]: what obeys the ledger's word on the supply."""

    enabled: bool = True
    kind: str = "simulated"
    fail_safe: str = "keep"
    fail_safe_after_s: Decimal = Decimal(3600)
    poll_interval_s: Decimal = Decimal(5)


@dataclass(frozen=True, slots=True)
class ClockSettings:
    """[clock]: an accelerated clock for demos; the node must run the same one."""

    rate: Decimal = Decimal(1)
    origin_s: Decimal = Decimal(0)
    wall_origin_s: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True)
class MeterSettings:
    meter: KeySettings
    ledger: LedgerSettings
    driver: DriverSettings
    account: AccountSettings | None = None
    relay: SwitchSettings = field(default_factory=SwitchSettings)
    clock: ClockSettings = field(default_factory=ClockSettings)

    def submitter(self) -> SubmitterSettings:
        ledger = self.ledger
        return SubmitterSettings(
            ledger.confirmations, float(ledger.poll_interval_s), float(ledger.resend_after_s), ledger.max_in_flight
        )


_SECTIONS: dict[str, Any] = {
    "meter": KeySettings,
    "account": AccountSettings,
    "ledger": LedgerSettings,
    "driver": DriverSettings,
    "relay": SwitchSettings,
    "clock": ClockSettings,
}
_WORDS = {
    bool: "true or false",
    int: "a whole number",
    str: "a text in quotes",
    Decimal: "a number",
    Path: "the name of a file in quotes",
    bytes: "an address in quotes",
}


def load_settings(path: Path, driver_overrides: Mapping[str, object] | None = None) -> MeterSettings:
    """The settings in a file; values in the [driver] section can be overridden. Raises UserError."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_SETTINGS_BYTES + 1)
        if len(content) > MAX_SETTINGS_BYTES:
            raise UserError(f"the settings file {path} is too large; it should be a page of text")
        document = tomllib.loads(content.decode(), parse_float=Decimal)
    except OSError as error:
        raise UserError(f"the settings file {path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"the settings file {path} is not valid TOML: {error}. Correct that line") from error
    if driver_overrides:
        section = document.get("driver", {})
        document["driver"] = {**(section if isinstance(section, dict) else {}), **driver_overrides}
    return parse_settings(document, path)


def parse_settings(document: Mapping[str, object], path: Path) -> MeterSettings:
    """Settings from a TOML document; `path` is where it stands. Raises UserError naming what is wrong."""
    sections = {}
    for name, section in document.items():
        if name not in _SECTIONS:
            raise UserError(f"{path} has an unknown section [{name}]; known are {', '.join(_SECTIONS)}")
        sections[name] = _parse_section(path, name, section)
    for name in ("meter", "ledger", "driver"):
        if name not in sections:
            raise UserError(f"{path} lacks the section [{name}]: see docs/metering.md for an example")
    settings = MeterSettings(**sections)
    _check(settings, path)
    return settings


def _parse_section(path: Path, name: str, section: object) -> Any:
    if not isinstance(section, Mapping):
        raise UserError(f"in {path}, [{name}] must be a section with settings below it")
    kind = _SECTIONS[name]
    types = get_type_hints(kind)
    values = {}
    for key, value in section.items():
        if key not in types:
            raise UserError(f"{path} has an unknown setting {name}.{key}; known are {', '.join(sorted(types))}")
        values[key] = _convert(path, f"{name}.{key}", value, types[key])
    for item in fields(kind):
        if item.name not in values and item.default is MISSING and item.default_factory is MISSING:
            raise UserError(f"{path} lacks the setting {name}.{item.name}")
    return kind(**values)


def _convert(path: Path, name: str, value: object, kind: Any) -> object:
    if kind == Path | None:
        kind = Path
    if kind == tuple[str, ...]:
        if isinstance(value, list) and all(isinstance(entry, str) for entry in value):
            return tuple(value)
        raise UserError(f'in {path}, {name} must be a list of texts such as ["?"]')
    if kind is Decimal and type(value) in (int, Decimal) and Decimal(value).is_finite():  # type: ignore[arg-type]
        return Decimal(value)  # type: ignore[arg-type]
    if kind is Path and isinstance(value, (str, Path)) and str(value):
        return path.parent / Path(value).expanduser()
    if kind is bytes and isinstance(value, str):
        try:
            return parse_address(value)
        except InvalidHex as error:
            raise UserError(f"in {path}, {name} is no address: {error}") from error
    if type(value) is not kind or kind not in (bool, int, str):
        raise UserError(f"in {path}, {name} must be {_WORDS[kind]}, not {value!r}")
    return value


def _check(settings: MeterSettings, path: Path) -> None:
    if settings.driver.kind != "replay":
        raise UserError(f'in {path}, driver.kind is {settings.driver.kind!r}; there is "replay"')
    if settings.relay.kind != "simulated":
        raise UserError(f'in {path}, relay.kind is {settings.relay.kind!r}; there is "simulated"')
    if settings.relay.fail_safe not in FAIL_SAFE_STATES:
        raise UserError(
            f"in {path}, relay.fail_safe is {settings.relay.fail_safe!r}; choose one of {', '.join(FAIL_SAFE_STATES)}"
        )
    day_s = 86_400
    for name, value, least, greatest in (
        ("meter.reading_interval_s", settings.meter.reading_interval_s, 1, day_s),
        ("ledger.chain_id", settings.ledger.chain_id, 1, 2**53 - 1),
        ("ledger.confirmations", settings.ledger.confirmations, 0, 1000),
        ("ledger.poll_interval_s", settings.ledger.poll_interval_s, Decimal("0.01"), day_s),
        ("ledger.resend_after_s", settings.ledger.resend_after_s, Decimal("0.1"), day_s),
        ("ledger.max_in_flight", settings.ledger.max_in_flight, 1, MAX_IN_FLIGHT),
        ("driver.row_interval_s", settings.driver.row_interval_s, 1, day_s),
        ("driver.load_scale", settings.driver.load_scale, -(10**9), 10**9),
        ("driver.generation_scale", settings.driver.generation_scale, -(10**9), 10**9),
        ("relay.fail_safe_after_s", settings.relay.fail_safe_after_s, 0, 365 * day_s),
        ("relay.poll_interval_s", settings.relay.poll_interval_s, Decimal("0.01"), day_s),
        ("clock.rate", settings.clock.rate, Decimal("0.01"), 100_000),
    ):
        if not least <= value <= greatest:
            raise UserError(f"in {path}, {name} must be from {least} to {greatest}, not {value}")
    settings.driver.csv_format()
