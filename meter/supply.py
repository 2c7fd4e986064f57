"""Puts the relay, the meter's own account and its policies together, from the settings."""

from dataclasses import dataclass

from meter.account_book import AccountBook
from meter.daemon import MeterDaemon
from meter.ledger import MeterLedger
from meter.ledger_terms import LedgerTerms
from meter.mqtt import MqttConnection
from meter.override import OverrideFile, override_path
from meter.policies import Policies, PolicyDevices
from meter.relay import Relay, RelayExtras
from meter.relay_store import RelayStore
from meter.settings import MeterSettings
from meter.switch_journal import SwitchJournal
from meter.switches.actuator import Actuator
from meter.switches.catalogue import open_switch
from primitives.clock import Clock


@dataclass(frozen=True, slots=True)
class Supply:
    """What decides on the household's supply; each part is missing where the settings switch it off."""

    relay: Relay | None
    policies: Policies | None


def build_supply(
    settings: MeterSettings,
    clock: Clock,
    ledger: MeterLedger,
    daemon: MeterDaemon,
    connection: MqttConnection | None = None,
) -> Supply:
    """Raises UserError."""
    store = RelayStore(daemon.outbox.database)
    terms = LedgerTerms(ledger, settings.ledger.policy_contract)
    poll_interval_s = float(settings.relay.poll_interval_s)
    policies = None
    if settings.policy.enabled:
        devices = _devices(settings, clock, connection)
        own_interval_s = float(settings.policy.poll_interval_s) or poll_interval_s
        policies = Policies(daemon.outbox.meter, terms, store, clock, settings.policy, devices, own_interval_s)
    if not settings.relay.enabled:
        return Supply(None, policies)
    book = AccountBook(terms, daemon.outbox, store, clock, settings.relay.allowance_wei, poll_interval_s)
    override = OverrideFile(override_path(settings.meter.outbox), settings.relay.longest_override_s)
    extras = RelayExtras(book, override, noting=daemon, listeners=[daemon.set_supply])
    if policies is not None:
        extras.overload = policies.overload
    relay = Relay(
        daemon.outbox.meter,
        ledger,
        open_switch(settings.relay, connection),
        SwitchJournal(daemon.outbox.database),
        store,
        clock,
        settings.relay.rules(settings.ledger.confirmations),
        extras,
    )
    return Supply(relay, policies)


def _devices(settings: MeterSettings, clock: Clock, connection: MqttConnection | None) -> PolicyDevices:
    circuits = {
        circuit.number: Actuator(
            f"circuit {circuit.number}{f' ({circuit.name})' if circuit.name else ''}",
            open_switch(circuit, connection),
            clock,
        )
        for circuit in settings.circuits
    }
    saving = settings.saving
    return PolicyDevices(
        circuits,
        None if saving is None else Actuator("power-saving mode", open_switch(saving, connection), clock),
        None if connection is None else connection.publish,
    )
