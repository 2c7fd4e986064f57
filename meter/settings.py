"""The settings of one meter, read from a TOML file. docs/metering.md describes each of them.

Names of files are taken from the folder of the settings file.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from contracts.addresses import EXHAUSTION_ADDRESS, METER_ADDRESS, POLICY_ADDRESS
from meter.drivers.catalogue import DriverSection, driver_kind
from meter.energy_rules import RulesSettings
from meter.events import EventSettings
from meter.home_assistant import HomeAssistantSettings
from meter.influx import InfluxSettings
from meter.mqtt_settings import MqttSettings
from meter.node_word import BelievedReading
from meter.pkcs11 import ElementSettings
from meter.policy_rules import PolicySettings
from meter.relay_section import CircuitSection, RelaySection, check_switches
from meter.submitter import MAX_IN_FLIGHT, SubmitterSettings
from meter.switches.catalogue import NO_PIN, SwitchSettings
from meter.tamper import COVER_STATES, TamperSettings
from primitives.errors import UserError, mended_by_a_person
from wallet.settings_file import DAY_S, ClockSettings, Range, check_ranges, parse_sections, read_document
from wallet.transfer import DEFAULT_MAX_FEE_WEI


@dataclass(frozen=True, slots=True)
class KeySettings:
    """[meter]: the device's own key, and where its readings are kept."""

    outbox: Path
    key: Path | None = None
    """Key file (Web3 Secret Storage) of the meter; its address is the meter's. Without it [pkcs11] says where it is."""
    password_file: Path | None = None
    """Without it the password is asked at the terminal."""
    reading_interval_s: int = 3600
    """A reading is signed at whole multiples of this, by the clock."""
    checkpoint_interval_s: int = 60
    """What was measured since the last reading is put on the card so often; a power cut costs so much at most."""
    runtime_folder: Path | None = None
    """A folder in memory for what is kept with every sample. Without it: of systemd, /run/wattchain, of the user."""


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
    policy_contract: bytes = POLICY_ADDRESS
    confirmations: int = 6
    poll_interval_s: Decimal = Decimal(5)
    resend_after_s: Decimal = Decimal(60)
    max_in_flight: int = 16
    prompt_transactions: int = 1
    max_fee_wei: int = DEFAULT_MAX_FEE_WEI
    believed_reading: str = ""
    """ "1234 567890 0": number, Wh taken and Wh given of a last reading on the ledger that a person vouches for."""


@dataclass(frozen=True, slots=True)
class MeterSettings:
    meter: KeySettings
    ledger: LedgerSettings
    driver: DriverSection
    account: AccountSettings | None = None
    pkcs11: ElementSettings | None = None
    relay: RelaySection = field(default_factory=RelaySection)
    circuits: tuple[CircuitSection, ...] = ()
    saving: SwitchSettings | None = None
    policy: PolicySettings = field(default_factory=PolicySettings)
    mqtt: MqttSettings | None = None
    home_assistant: HomeAssistantSettings | None = None
    influx: InfluxSettings | None = None
    clock: ClockSettings = field(default_factory=ClockSettings)
    rules: RulesSettings = field(default_factory=RulesSettings)
    events: EventSettings = field(default_factory=EventSettings)
    tamper: TamperSettings = field(default_factory=TamperSettings)
    hash: str = field(default="", compare=False)
    """SHA-256 of what the file and the command line say; comments do not count."""

    def submitter(self) -> SubmitterSettings:
        ledger = self.ledger
        return SubmitterSettings(
            ledger.confirmations,
            float(ledger.poll_interval_s),
            float(ledger.resend_after_s),
            ledger.max_in_flight,
            ledger.prompt_transactions,
            ledger.max_fee_wei,
            BelievedReading.parse(ledger.believed_reading),
        )


_SECTIONS: dict[str, Any] = {
    "meter": KeySettings,
    "account": AccountSettings,
    "pkcs11": ElementSettings,
    "ledger": LedgerSettings,
    "relay": RelaySection,
    "circuits": tuple[CircuitSection, ...],
    "saving": SwitchSettings,
    "policy": PolicySettings,
    "mqtt": MqttSettings,
    "home_assistant": HomeAssistantSettings,
    "influx": InfluxSettings,
    "clock": ClockSettings,
    "rules": RulesSettings,
    "events": EventSettings,
    "tamper": TamperSettings,
}


def section_kinds() -> Mapping[str, Any]:
    """The dataclass of each section but [driver], whose kind decides."""
    return _SECTIONS


def load_settings(path: Path, driver_overrides: Mapping[str, object] | None = None) -> MeterSettings:
    """The settings in a file; values in the [driver] section can be overridden. Raises UserError."""
    try:
        document = read_document(path)
    except FileNotFoundError as error:
        raise UserError(
            f"There is no settings file {path}: make it with `wattchain meter setup`, or name another with --settings."
        ) from error
    if driver_overrides:
        section = document.get("driver", {})
        kind = section.get("kind", "replay") if isinstance(section, dict) else "replay"
        if kind != "replay":
            raise UserError(
                f'The options of a file of measurements go with driver.kind = "replay" only; the settings file {path} '
                f"has {str(kind)[:80]!r}: leave them out."
            )
        document["driver"] = {**(section if isinstance(section, dict) else {}), **driver_overrides}
    return parse_settings(document, path)


@mended_by_a_person()
def parse_settings(document: Mapping[str, object], path: Path) -> MeterSettings:
    """Settings from a TOML document; `path` is where it stands. Raises UserError naming what is wrong."""
    sections = parse_sections(document, _SECTIONS | {"driver": _driver_settings(document)}, path)
    for name in ("meter", "ledger", "driver"):
        if name not in sections:
            raise UserError(f"The settings file {path} lacks the section [{name}]: docs/metering.md describes it.")
    settings = MeterSettings(**sections, hash=_hash(document))
    _check(settings, path)
    return settings


def _hash(document: Mapping[str, object]) -> str:
    return hashlib.sha256(json.dumps(document, sort_keys=True, default=str).encode()).hexdigest()


def _driver_settings(document: Mapping[str, object]) -> type:
    """The dataclass of the section [driver], by the kind that it names."""
    section = document.get("driver")
    name = section.get("kind", "replay") if isinstance(section, Mapping) else "replay"
    return driver_kind(name if isinstance(name, str) else repr(name)).settings_type()


def _check(settings: MeterSettings, path: Path) -> None:
    if (settings.meter.key is None) == (settings.pkcs11 is None):
        raise UserError(
            f"in {path}, the meter's key must be in one place: meter.key names its file, or the section [pkcs11] the "
            "element that holds it (docs/metering/keys.md)"
        )
    if settings.pkcs11 is not None:
        settings.pkcs11.check()
    if settings.tamper.cover_closed_is not in COVER_STATES:
        raise UserError(
            f"in {path}, tamper.cover_closed_is is {settings.tamper.cover_closed_is!r}; "
            f"choose one of {', '.join(COVER_STATES)}"
        )
    rows: tuple[Range, ...] = (
        ("meter.reading_interval_s", settings.meter.reading_interval_s, 1, DAY_S),
        ("meter.checkpoint_interval_s", settings.meter.checkpoint_interval_s, 1, DAY_S),
        ("ledger.chain_id", settings.ledger.chain_id, 1, 2**53 - 1),
        ("ledger.confirmations", settings.ledger.confirmations, 0, 1000),
        ("ledger.poll_interval_s", settings.ledger.poll_interval_s, Decimal("0.01"), DAY_S),
        ("ledger.resend_after_s", settings.ledger.resend_after_s, Decimal("0.1"), DAY_S),
        ("ledger.max_in_flight", settings.ledger.max_in_flight, 1, MAX_IN_FLIGHT),
        ("ledger.prompt_transactions", settings.ledger.prompt_transactions, 1, MAX_IN_FLIGHT),
        ("ledger.max_fee_wei", settings.ledger.max_fee_wei, 0, 2**63 - 1),
        *settings.clock.ranges(),
        *settings.rules.ranges(),
        *settings.events.ranges(),
        *settings.tamper.ranges(),
    )
    check_ranges(rows)
    BelievedReading.parse(settings.ledger.believed_reading)
    settings.driver.check()
    has_mqtt = settings.mqtt is not None
    settings.policy.check(has_mqtt=has_mqtt)
    check_switches(settings.relay, settings.circuits, settings.saving, _input_pins(settings), has_mqtt=has_mqtt)
    for section in (settings.mqtt, settings.home_assistant, settings.influx):
        if section is not None:
            section.check()
    if settings.home_assistant is not None and settings.mqtt is None:
        raise UserError(f"in {path}, [home_assistant] needs the section [mqtt] with the host of the broker")


def _input_pins(settings: MeterSettings) -> dict[str, int]:
    """GPIO numbers of the cover's switch and of pulses, by the names of their settings."""
    pulses = {f"driver.{name}": int(getattr(settings.driver, name, NO_PIN)) for name in ("pin", "export_pin")}
    return {"tamper.cover_pin": settings.tamper.cover_pin, **pulses}
