"""The settings of one meter, read from a TOML file. docs/metering.md describes each of them.

Names of files are taken from the folder of the settings file.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

from contracts.addresses import EXHAUSTION_ADDRESS, METER_ADDRESS
from meter.drivers.measured_csv import MISSING_VALUES, Column, CsvFormat
from meter.relay import FAIL_SAFE_STATES
from meter.submitter import MAX_IN_FLIGHT, SubmitterSettings
from primitives.errors import UserError
from wallet.settings_file import DAY_S, ClockSettings, Range, check_ranges, parse_sections, read_document
from wallet.transfer import DEFAULT_MAX_FEE_WEI


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
    spare_nodes: tuple[str, ...] = ()
    """Other nodes of the same ledger, which are asked in their order while `node` does not answer."""
    meter_contract: bytes = METER_ADDRESS
    exhaustion_contract: bytes = EXHAUSTION_ADDRESS
    confirmations: int = 6
    poll_interval_s: Decimal = Decimal(5)
    resend_after_s: Decimal = Decimal(60)
    max_in_flight: int = 4
    max_fee_wei: int = DEFAULT_MAX_FEE_WEI


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
    begin_s: int = 0
    """Unix time at which the first row begins; 0 for the moment at which the meter first starts."""

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
            ledger.confirmations,
            float(ledger.poll_interval_s),
            float(ledger.resend_after_s),
            ledger.max_in_flight,
            ledger.max_fee_wei,
        )


_SECTIONS: dict[str, Any] = {
    "meter": KeySettings,
    "account": AccountSettings,
    "ledger": LedgerSettings,
    "driver": DriverSettings,
    "relay": SwitchSettings,
    "clock": ClockSettings,
}


def load_settings(path: Path, driver_overrides: Mapping[str, object] | None = None) -> MeterSettings:
    """The settings in a file; values in the [driver] section can be overridden. Raises UserError."""
    try:
        document = read_document(path)
    except FileNotFoundError as error:
        raise UserError(
            f"There is no settings file {path}: write one (docs/metering.md has an example), or name it with --settings"
        ) from error
    if driver_overrides:
        section = document.get("driver", {})
        document["driver"] = {**(section if isinstance(section, dict) else {}), **driver_overrides}
    return parse_settings(document, path)


def parse_settings(document: Mapping[str, object], path: Path) -> MeterSettings:
    """Settings from a TOML document; `path` is where it stands. Raises UserError naming what is wrong."""
    sections = parse_sections(document, _SECTIONS, path)
    for name in ("meter", "ledger", "driver"):
        if name not in sections:
            raise UserError(f"The settings file {path} lacks the section [{name}]: docs/metering.md has an example.")
    settings = MeterSettings(**sections)
    _check(settings, path)
    return settings


def _check(settings: MeterSettings, path: Path) -> None:
    if settings.driver.kind != "replay":
        raise UserError(f'in {path}, driver.kind is {settings.driver.kind!r}; there is "replay"')
    if settings.relay.kind != "simulated":
        raise UserError(f'in {path}, relay.kind is {settings.relay.kind!r}; there is "simulated"')
    if settings.relay.fail_safe not in FAIL_SAFE_STATES:
        raise UserError(
            f"in {path}, relay.fail_safe is {settings.relay.fail_safe!r}; choose one of {', '.join(FAIL_SAFE_STATES)}"
        )
    rows: tuple[Range, ...] = (
        ("meter.reading_interval_s", settings.meter.reading_interval_s, 1, DAY_S),
        ("ledger.chain_id", settings.ledger.chain_id, 1, 2**53 - 1),
        ("ledger.confirmations", settings.ledger.confirmations, 0, 1000),
        ("ledger.poll_interval_s", settings.ledger.poll_interval_s, Decimal("0.01"), DAY_S),
        ("ledger.resend_after_s", settings.ledger.resend_after_s, Decimal("0.1"), DAY_S),
        ("ledger.max_in_flight", settings.ledger.max_in_flight, 1, MAX_IN_FLIGHT),
        ("ledger.max_fee_wei", settings.ledger.max_fee_wei, 0, 2**63 - 1),
        ("driver.row_interval_s", settings.driver.row_interval_s, 1, DAY_S),
        ("driver.begin_s", settings.driver.begin_s, 0, 2**40),
        ("driver.load_scale", settings.driver.load_scale, -(10**9), 10**9),
        ("driver.generation_scale", settings.driver.generation_scale, -(10**9), 10**9),
        ("relay.fail_safe_after_s", settings.relay.fail_safe_after_s, 0, 365 * DAY_S),
        ("relay.poll_interval_s", settings.relay.poll_interval_s, Decimal("0.01"), DAY_S),
        *settings.clock.ranges(),
    )
    check_ranges(rows)
    settings.driver.csv_format()
