"""Makes a metering daemon from its settings: the one place where the parts of a meter are put together."""

import logging
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from meter.daemon import MeterDaemon
from meter.drivers.catalogue import open_section
from meter.drivers.driver import Driver
from meter.ledger import MeterLedger, Node
from meter.outbox import Outbox
from meter.reading import ReadingDomain
from meter.relay import FAIL_SAFE_STATES, Relay, RelaySettings, SimulatedSwitch
from meter.settings import MeterSettings, SwitchSettings
from meter.submitter import Submitter
from meter.switch_journal import SwitchJournal
from primitives import secp256k1
from primitives.clock import Clock
from primitives.errors import UserError
from primitives.hexadecimal import to_checksum_address
from wallet.client import RpcClient
from wallet.command_line import read_password
from wallet.key_directory import read_key_file
from wallet.keystore import decrypt_key, keystore_address

logger = logging.getLogger(__name__)


def load_key(path: Path, password_file: Path | None, what: str) -> bytes:
    """The private key in a key file; its password from a file, or asked. Raises UserError, InvalidKeystore."""
    text = read_key_file(path)
    return decrypt_key(text, read_password(password_file, f"Password of the {what} key {path}"))


def meter_address(settings: MeterSettings) -> bytes:
    """The address in the meter's key file, without its password. Raises UserError, InvalidKeystore."""
    address = keystore_address(read_key_file(settings.meter.key))
    if address is None:
        raise UserError(f"the key file {settings.meter.key} does not name its address: import it with `wallet import`")
    return address


def reading_domain(settings: MeterSettings) -> ReadingDomain:
    return ReadingDomain(settings.ledger.chain_id, settings.ledger.meter_contract)


def build_daemon(
    settings: MeterSettings,
    node: Node,
    clock: Clock,
    meter_key: bytes,
    sender_key: bytes,
    randomness: random.Random | None = None,
) -> MeterDaemon:
    """A daemon that holds its outbox open; close `daemon.outbox` when it has ended. Raises UserError."""
    meter = secp256k1.address_of(meter_key)
    driver: Driver = open_section(settings.driver, clock)
    outbox = Outbox.open(settings.meter.outbox, reading_domain(settings), meter)
    try:
        ledger = MeterLedger(node, settings.ledger.meter_contract, settings.ledger.exhaustion_contract)
        submitter = Submitter(outbox, ledger, sender_key, clock, settings.submitter(), randomness)
        relay = None
        if settings.relay.enabled:
            switch = SimulatedSwitch(driver.set_supply)
            relay = Relay(meter, ledger, switch, SwitchJournal(outbox.database), clock, relay_settings(settings.relay))
        return MeterDaemon(outbox, driver, submitter, relay, meter_key, clock, settings.meter.reading_interval_s)
    except BaseException:
        outbox.close()
        raise


@asynccontextmanager
async def open_daemon(settings: MeterSettings) -> AsyncIterator[MeterDaemon]:
    """A daemon with keys, clock and node as its settings say. Raises UserError, InvalidKeystore."""
    clock = settings.clock.make()
    meter_key = load_key(settings.meter.key, settings.meter.password_file, "meter's")
    account = settings.account
    sender_key = meter_key if account is None else load_key(account.key, account.password_file, "paying account's")
    async with RpcClient(settings.ledger.node, spare_urls=settings.ledger.spare_nodes) as node:
        daemon = build_daemon(settings, node, clock, meter_key, sender_key)
        try:
            logger.info(
                "meter %s, readings carried by %s to %s",
                to_checksum_address(daemon.outbox.meter),
                to_checksum_address(daemon.submitter.sender),
                settings.ledger.node,
            )
            yield daemon
        finally:
            daemon.outbox.close()


def relay_settings(settings: SwitchSettings) -> RelaySettings:
    fail_safe = next(state for state in FAIL_SAFE_STATES if state == settings.fail_safe)
    return RelaySettings(fail_safe, float(settings.fail_safe_after_s), float(settings.poll_interval_s))
