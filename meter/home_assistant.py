"""Shows the meter in Home Assistant: its sensors appear by themselves (MQTT discovery), over the connection of [mqtt].

Power, energy, supply, credit and the price just now. Registers and power are those of the last sample, the power
unknown while the device is silent; credit and price are asked from the ledger at intervals, and are unavailable while
it is not in reach. Everything is retained, so that a Home Assistant that starts later knows it all.
"""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

from contracts.tariff_charge import charge
from meter.ledger import MeterLedger, NodeTrouble
from meter.ledger_terms import AccountTerms, KnownAccount, LedgerTerms
from meter.live import Observation
from meter.mqtt import OFFLINE, ONLINE, MqttConnection
from meter.mqtt_settings import check_topic
from primitives.clock import Clock
from primitives.errors import UserError
from wallet.amounts import to_decimal
from wallet.settings_file import DAY_S, check_ranges

# Tariff and terms change by days (meter/account_book.py asks as often).
TERMS_INTERVAL_S = 600
MAX_NAME = 80


@dataclass(frozen=True, slots=True)
class HomeAssistantSettings:
    """[home_assistant]: without this section nothing is shown there."""

    discovery_prefix: str = "homeassistant"
    name: str = "Electricity meter"
    interval_s: Decimal = Decimal(10)
    """Values are told so often at most."""
    ledger_interval_s: Decimal = Decimal(60)
    """Credit and price are asked so often."""

    def check(self) -> None:
        """Raises UserError for values that make no sense."""
        check_topic(self.discovery_prefix, "home_assistant.discovery_prefix")
        if not self.name.strip() or len(self.name) > MAX_NAME or not self.name.isprintable():
            raise UserError(f"home_assistant.name must be a name of at most {MAX_NAME} characters")
        check_ranges(
            (
                ("home_assistant.interval_s", self.interval_s, Decimal("0.1"), DAY_S),
                ("home_assistant.ledger_interval_s", self.ledger_interval_s, 5, DAY_S),
            )
        )


@dataclass(frozen=True, slots=True)
class Entity:
    """A value in Home Assistant, by the words of its MQTT integration."""

    key: str
    name: str
    component: str = "sensor"
    unit: str = ""
    device_class: str = ""
    state_class: str = ""
    icon: str = ""
    is_of_ledger: bool = False
    """Unavailable while no ledger is in reach."""


ENTITIES = (
    Entity("power_w", "Power", unit="W", device_class="power", state_class="measurement"),
    Entity("import_wh", "Energy taken", unit="Wh", device_class="energy", state_class="total_increasing"),
    Entity("export_wh", "Energy given", unit="Wh", device_class="energy", state_class="total_increasing"),
    Entity("supply", "Supply", "binary_sensor", device_class="power"),
    Entity("credit", "Credit", unit="WATT", state_class="measurement", icon="mdi:wallet", is_of_ledger=True),
    Entity("price", "Price now", unit="WATT/kWh", state_class="measurement", icon="mdi:cash", is_of_ledger=True),
    Entity(
        "export_price",
        "Price of energy given",
        unit="WATT/kWh",
        state_class="measurement",
        icon="mdi:cash-refund",
        is_of_ledger=True,
    ),
)


class HomeAssistant:
    """An observer and a service (meter/live.py)."""

    def __init__(
        self,
        settings: HomeAssistantSettings,
        connection: MqttConnection,
        ledger: MeterLedger,
        meter: bytes,
        clock: Clock,
        supply: Callable[[], bool | None] | None,
    ) -> None:
        """`supply` tells whether the household is supplied, None while nobody knows; it is None without a relay."""
        self._settings = settings
        self._connection = connection
        self._ledger = ledger
        self._terms = LedgerTerms(ledger)
        self._meter = meter
        self._clock = clock
        self._supply = supply
        self._seen: Observation | None = None
        self._account_terms: AccountTerms | None = None
        self._terms_asked_ms: int | None = None
        self._known: KnownAccount | None = None
        self._told: dict[str, bytes] = {}
        self._state_topic = f"{connection.base_topic}/state"
        self._ledger_topic = f"{connection.base_topic}/ledger"

    def observe(self, observation: Observation) -> None:
        self._seen = observation

    async def run(self) -> None:
        """Until cancelled."""
        self._announce()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._tell_often())
            group.create_task(self._ask_ledger_often())

    def _announce(self) -> None:
        """Each entity by a retained message of its own; what this meter has not is taken away there."""
        for entity in ENTITIES:
            topic = f"{self._settings.discovery_prefix}/{entity.component}/{self._id}/{entity.key}/config"
            is_there = entity.key != "supply" or self._supply is not None
            self._connection.hold(topic, json.dumps(self._config(entity)).encode() if is_there else b"")

    @property
    def _id(self) -> str:
        return f"wattchain_{self._connection.name}"

    def _config(self, entity: Entity) -> dict[str, object]:
        topics = [self._connection.availability_topic, *([self._ledger_topic] if entity.is_of_ledger else [])]
        config: dict[str, object] = {
            "name": entity.name,
            "unique_id": f"{self._id}_{entity.key}",
            "state_topic": self._state_topic,
            "value_template": f"{{{{ value_json.{entity.key} }}}}",
            "availability": [{"topic": topic} for topic in topics],
            "availability_mode": "all",
            "device": {
                "identifiers": [self._id],
                "name": self._settings.name,
                "manufacturer": "Wattchain",
                "serial_number": self._connection.name,
            },
        }
        for key, value in (
            ("unit_of_measurement", entity.unit),
            ("device_class", entity.device_class),
            ("state_class", entity.state_class),
            ("icon", entity.icon),
        ):
            if value:
                config[key] = value
        return config

    async def _tell_often(self) -> None:
        while True:
            self.tell()
            await self._clock.sleep_s(float(self._settings.interval_s))

    def tell(self) -> None:
        """The values as they are known now, where they are others than before."""
        seen, known = self._seen, self._known
        if seen is None:
            return
        supply = None if self._supply is None else self._supply()
        now_s = self._clock.time_s()
        price, export_price = (None, None) if known is None else prices_now(known, now_s)
        state = {
            "power_w": seen.power_w,
            "import_wh": seen.sample.registers.import_wh,
            "export_wh": seen.sample.registers.export_wh,
            "supply": None if supply is None else ("ON" if supply else "OFF"),
            "credit": None if known is None else to_decimal(known.balance_wei),
            "price": price,
            "export_price": export_price,
        }
        self._hold(self._state_topic, json.dumps(state).encode())

    async def _ask_ledger_often(self) -> None:
        while True:
            try:
                await self._ask_ledger()
                self._hold(self._ledger_topic, ONLINE)
            except NodeTrouble:  # told by the submitter, which cannot do without
                self._hold(self._ledger_topic, OFFLINE)
            await self._clock.sleep_s(float(self._settings.ledger_interval_s))

    async def _ask_ledger(self) -> None:
        block = await self._ledger.node.block_number()
        now_ms = self._clock.elapsed_ms()
        if self._terms_asked_ms is None or now_ms - self._terms_asked_ms >= TERMS_INTERVAL_S * 1000:
            self._account_terms = await self._terms.account_terms(self._meter, self._clock.time_s(), block)
            self._terms_asked_ms = now_ms
        account = self._account_terms
        self._known = None if account is None else await self._terms.known_account(self._meter, account, block)
        self.tell()

    def _hold(self, topic: str, payload: bytes) -> None:
        if self._told.get(topic) != payload:
            self._told[topic] = payload
            self._connection.hold(topic, payload)


def prices_now(known: KnownAccount, time_s: int) -> tuple[str, str]:
    """What the next kWh costs, and what one given is credited with, in WATT: at the step that the meter is on."""
    versions = [dated for dated in known.account.versions if dated.from_s <= time_s]
    if not versions:
        return to_decimal(0), to_decimal(0)
    version = max(versions, key=lambda dated: dated.from_s).version
    # Of one more Wh, as a reading of it would be charged.
    _, cost = charge(version, known.position, 1, 0, 0, time_s, known.account.zone_s)
    return to_decimal(cost.energy_wei * 1000), to_decimal(version.export_price_wei_per_wh * 1000)
