"""Makes a metering daemon from its settings: the one place where the parts of a meter are put together."""

import logging
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from meter.bounded_signer import COMMAND_PATIENCE_S, PATIENCE_S
from meter.calibration import calibration_file
from meter.calibration_carrier import CalibrationCarrier, CarrierSettings
from meter.calibration_shelf import CalibrationShelf
from meter.checkpoint import CheckpointKeeper, keeper_of, read_boot_id, runtime_folder
from meter.daemon import MeterDaemon
from meter.damaged_outbox import open_outbox
from meter.drivers.catalogue import open_section
from meter.drivers.driver import Driver
from meter.drivers.factors import Calibrated
from meter.events import ThresholdWatch
from meter.gaps import GapJournal
from meter.home_assistant import HomeAssistant
from meter.influx import InfluxExport
from meter.kept_values import KeptValues
from meter.ledger import MeterLedger, Node
from meter.live_values import LiveValues, live_file
from meter.measuring import MeasuringDriver
from meter.meter_clock import EARLIEST_S, BelievedClock, MeterClock, is_synchronised
from meter.mqtt import MqttConnection
from meter.newest_block import NodeWithEar
from meter.outbox import Outbox
from meter.pkcs11 import open_element
from meter.reading import ReadingDomain
from meter.recorder import Recorder
from meter.running_page import PageWriter, page_file
from meter.settings import MeterSettings
from meter.signer import ACCOUNT_PASSWORD, METER_PASSWORD, Signer, open_key_file
from meter.submitter import Submitter
from meter.supply import build_supply
from meter.tamper import ChangeWatch, CoverSwitch, program_hash
from meter.watchdog import Watchdog, allowed_quiet_s
from primitives.clock import Clock, SystemClock
from primitives.errors import UserError
from primitives.hexadecimal import to_checksum_address
from wallet.client import RpcClient, place_of
from wallet.key_directory import read_key_file
from wallet.keystore import keystore_address
from wallet.ledger_identity import LedgerIdentity
from wallet.service_manager import ServiceManager

logger = logging.getLogger(__name__)

NODE_CONNECTIONS = 2
"""Of each meter: what its parts ask at the same moment waits for its turn here, for a node has hundreds of meters."""


def meter_address(settings: MeterSettings) -> bytes:
    """The meter's address, without password or PIN. Raises UserError, InvalidKeystore."""
    if settings.pkcs11 is not None:
        return settings.pkcs11.address
    path = _key_file(settings)
    address = keystore_address(read_key_file(path))
    if address is None:
        raise UserError(f"the key file {path} does not name its address: import it with `wallet import`")
    return address


def open_meter_key(settings: MeterSettings, patience_s: float = COMMAND_PATIENCE_S) -> Signer:
    """The meter's own key, ready to sign; may ask for its password or PIN. Raises UserError, InvalidKeystore.

    A secure element that takes longer than `patience_s` for a signature is busy.
    """
    if settings.pkcs11 is not None:
        return open_element(settings.pkcs11, patience_s)
    return open_key_file(_key_file(settings), settings.meter.password_file, METER_PASSWORD, "meter's")


def open_paying_key(settings: MeterSettings, meter: Signer) -> Signer:
    """The key of the account that pays: the meter's own where the settings name no other. As `open_meter_key`."""
    account = settings.account
    if account is None:
        return meter
    return open_key_file(account.key, account.password_file, ACCOUNT_PASSWORD, "paying account's")


def _key_file(settings: MeterSettings) -> Path:
    if settings.meter.key is None:
        raise RuntimeError("settings with neither a key file nor an element were not checked")
    return settings.meter.key


def reading_domain(settings: MeterSettings) -> ReadingDomain:
    return ReadingDomain(settings.ledger.chain_id, settings.ledger.meter_contract)


def build_daemon(
    settings: MeterSettings,
    node: Node,
    clock: Clock,
    meter: Signer,
    payer: Signer,
    randomness: random.Random | None = None,
) -> MeterDaemon:
    """A daemon that holds its outbox open; close `daemon.outbox` when it has ended. Raises UserError.

    The node is one of the ledger that the settings name: `open_daemon` sees to that.
    """
    outbox = open_outbox(settings.meter.outbox, reading_domain(settings), meter.address, meter, clock)
    try:
        meter_clock = build_meter_clock(settings, clock)
        heard = NodeWithEar(node, meter_clock.heard)
        ledger = MeterLedger(heard, settings.ledger.meter_contract, settings.ledger.exhaustion_contract)
        submitter = Submitter(outbox, ledger, payer, clock, settings.submitter(), randomness)
        mqtt = build_mqtt(settings, outbox.meter, clock)
        keeper = build_keeper(settings, outbox, clock)
        driver = build_driver(settings, clock, meter_clock, outbox, keeper, mqtt)
        recorder = build_recorder(settings, outbox, meter, clock, meter_clock, keeper, driver)
        recorder.on_signed.append(submitter.wake)
        daemon = MeterDaemon(outbox, driver, submitter, recorder, clock)
        if isinstance(driver, MeasuringDriver):
            driver.on_trouble = daemon.tell_trouble
        if mqtt is not None:
            daemon.services.append(mqtt)
        parts = MeterParts(settings, clock, BelievedClock(clock, meter_clock), ledger, driver, recorder, daemon, mqtt)
        for add in PARTS:
            add(parts)
        return daemon
    except BaseException:
        outbox.close()
        raise


@dataclass(frozen=True, slots=True)
class MeterParts:
    """What is there when the parts around the measuring are added: each takes what it needs."""

    settings: MeterSettings
    clock: Clock
    believed_clock: Clock
    """With the time of day that readings have."""
    ledger: MeterLedger
    driver: Driver
    recorder: Recorder
    daemon: MeterDaemon
    mqtt: MqttConnection | None
    """Where the settings name a broker."""


def build_mqtt(settings: MeterSettings, meter: bytes, clock: Clock) -> MqttConnection | None:
    """The one connection to the broker. Raises UserError."""
    return None if settings.mqtt is None else MqttConnection(settings.mqtt, to_checksum_address(meter), clock)


def build_meter_clock(settings: MeterSettings, clock: Clock) -> MeterClock:
    if settings.clock.rate != 1:  # it may begin in any year, and no time server sets it
        return MeterClock(clock, 0, lambda: True)
    return MeterClock(clock, EARLIEST_S, is_synchronised)


def build_keeper(settings: MeterSettings, outbox: Outbox, clock: Clock) -> CheckpointKeeper:
    named = settings.meter.runtime_folder
    folder = runtime_folder(named)
    if named is not None and folder != named:
        logger.warning(
            "meter.runtime_folder, %s, is no folder that this program can write to: make it; until then %s",
            named,
            "there is none in memory" if folder is None else f"{folder} is used",
        )
    elif folder is None and settings.driver.kind != "replay":
        logger.warning(
            "there is no folder in memory for what is measured between readings, so a crash costs up to %d s of it: "
            "name one with meter.runtime_folder",
            settings.meter.checkpoint_interval_s,
        )
    return keeper_of(settings.meter.outbox, outbox.meter, clock, settings.meter.checkpoint_interval_s, folder)


def build_driver(
    settings: MeterSettings,
    clock: Clock,
    meter_clock: MeterClock,
    outbox: Outbox,
    keeper: CheckpointKeeper,
    mqtt: MqttConnection | None,
) -> Driver:
    """Where samples come from: a driver, or a device under the rules for real meters. Raises UserError."""
    opened = open_section(settings.driver, clock, mqtt)
    if isinstance(opened, Driver):
        return opened
    gaps = GapJournal(outbox.database)
    keeper.beside.append(gaps.flush)
    return MeasuringDriver(opened, clock, meter_clock, gaps, read_boot_id(), settings.rules)


def build_recorder(
    settings: MeterSettings,
    outbox: Outbox,
    meter: Signer,
    clock: Clock,
    meter_clock: MeterClock,
    keeper: CheckpointKeeper,
    driver: Driver,
) -> Recorder:
    return Recorder(
        outbox,
        meter,
        clock,
        meter_clock,
        keeper,
        interval_s=settings.meter.reading_interval_s,
        spacing_s=driver.spacing_s,
        boot_id=read_boot_id(),
        most_events_per_hour=settings.events.most_per_hour,
    )


def add_supply(parts: MeterParts) -> None:
    """The relay, and what the owner's policy switches."""
    daemon = parts.daemon
    supply = build_supply(parts.settings, parts.believed_clock, parts.ledger, daemon, parts.mqtt)
    # Policies first: the relay asks them in the same sample.
    if supply.policies is not None:
        daemon.observers.append(supply.policies)
        daemon.services.append(supply.policies)
    if supply.relay is not None:
        daemon.observers.append(supply.relay)
        daemon.relay = supply.relay


def add_calibration(parts: MeterParts) -> None:
    """Factors for a device that is calibrated here, and its values for who calibrates it."""
    device = parts.driver.device if isinstance(parts.driver, MeasuringDriver) else None
    if not isinstance(device, Calibrated):
        return
    settings, daemon = parts.settings, parts.daemon
    path, chain_id = calibration_file(settings.meter.outbox), settings.ledger.chain_id
    carrier = CalibrationCarrier(
        CalibrationShelf(path, chain_id, daemon.outbox, parts.believed_clock),
        device.calibrate,
        daemon,
        daemon.outbox,
        parts.ledger.node,
        daemon.submitter.payer,
        parts.believed_clock,
        CarrierSettings(
            chain_id,
            settings.ledger.confirmations,
            float(settings.ledger.resend_after_s),
            settings.ledger.max_fee_wei,
        ),
    )
    daemon.services.append(carrier)
    file = live_file(settings.meter.outbox, settings.meter.runtime_folder)
    daemon.observers.append(LiveValues(file, lambda: device.factors))


def add_watchdog(parts: MeterParts) -> None:
    manager = ServiceManager.from_environment()
    if not manager.is_present:
        return
    driver, daemon = parts.driver, parts.daemon
    quiet_s = allowed_quiet_s(driver.interval_s) if isinstance(driver, MeasuringDriver) else None
    watchdog = Watchdog(manager, SystemClock(), quiet_s)
    daemon.services.append(watchdog)
    daemon.observers.append(watchdog)
    daemon.on_trouble.append(watchdog.trouble)


def add_tamper_evidence(parts: MeterParts) -> None:
    kept = KeptValues(parts.daemon.outbox.database)
    changes = ChangeWatch(kept, {"settings": parts.settings.hash, "program": program_hash()})
    changes.note(parts.daemon)
    parts.recorder.on_signed.append(changes.signed)
    if parts.settings.tamper.cover_pin >= 0:
        parts.daemon.services.append(CoverSwitch(parts.settings.tamper, parts.daemon, parts.clock))


def add_thresholds(parts: MeterParts) -> None:
    kept = KeptValues(parts.daemon.outbox.database)
    parts.daemon.observers.append(ThresholdWatch(parts.settings.events, parts.daemon, kept))


def add_publishing(parts: MeterParts) -> None:
    """What shows the meter to others."""
    settings, daemon = parts.settings, parts.daemon
    relay = daemon.relay
    if settings.home_assistant is not None and parts.mqtt is not None:
        shown = HomeAssistant(
            settings.home_assistant,
            parts.mqtt,
            parts.ledger,
            daemon.outbox.meter,
            parts.believed_clock,
            None if relay is None else lambda: relay.known_state,
        )
        daemon.observers.append(shown)
        daemon.services.append(shown)
    if settings.influx is not None:
        export = InfluxExport(settings.influx, to_checksum_address(daemon.outbox.meter), parts.clock)
        daemon.observers.append(export)
        daemon.services.append(export)


def add_page(parts: MeterParts) -> None:
    section = parts.settings.meter
    writer = PageWriter(page_file(section.outbox, section.runtime_folder), parts.settings.driver.kind)
    parts.daemon.observers.append(writer)
    parts.daemon.on_trouble.append(writer.trouble)


PARTS: tuple[Callable[[MeterParts], None], ...] = (
    add_supply,
    add_calibration,
    add_tamper_evidence,
    add_thresholds,
    add_publishing,
    add_page,
    add_watchdog,
)
"""In this order; each adds its observers and services to the daemon, or nothing where the settings ask for none."""


@asynccontextmanager
async def open_daemon(settings: MeterSettings) -> AsyncIterator[MeterDaemon]:
    """A daemon with keys, clock and node as its settings say. Raises UserError, InvalidKeystore."""
    clock = settings.clock.make()
    meter = open_meter_key(settings, PATIENCE_S)
    payer = open_paying_key(settings, meter)
    section = settings.ledger
    ledger = LedgerIdentity(section.chain_id)
    async with RpcClient(
        section.node, spare_urls=section.spare_nodes, connections=NODE_CONNECTIONS, ledger=ledger
    ) as node:
        daemon = build_daemon(settings, node, clock, meter, payer)
        ledger.genesis_hash = daemon.outbox.genesis_hash()  # before any node is asked
        try:
            logger.info(
                "meter %s, readings carried by %s to %s",
                to_checksum_address(daemon.outbox.meter),
                to_checksum_address(daemon.submitter.sender),
                place_of(settings.ledger.node),
            )
            yield daemon
        finally:
            daemon.outbox.close()
