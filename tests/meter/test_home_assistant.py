"""Home Assistant's view of a meter: over a real broker, with credit and price of real contracts."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any, TypeVar

import pytest

from contracts.addresses import EXHAUSTION_ADDRESS, METER_ADDRESS
from contracts.reading_format import StatusFlag
from contracts.tariff_charge import TariffPosition
from contracts.tariff_format import Slab, TariffVersion
from meter.drivers.driver import Registers, Sample
from meter.drivers.measurement import Measurement
from meter.home_assistant import ENTITIES, HomeAssistant, HomeAssistantSettings, prices_now
from meter.ledger import MeterLedger
from meter.ledger_terms import AccountTerms, DatedVersion, KnownAccount, SupplyTerms
from meter.live import Observation
from meter.mqtt import MqttConnection
from meter.mqtt_settings import MqttSettings
from primitives.clock import ManualClock
from primitives.errors import UserError
from tests.meter.broker import HOST, Broker
from tests.meter.fake_node import GENESIS_TIME_S, METER, RATE_WEI_PER_WH, FakeNode

LIMIT_S = 10
NAME = "0xAb"
T = TypeVar("T")


async def within(waiting: Awaitable[T]) -> T:
    async with asyncio.timeout(LIMIT_S):
        return await waiting


def sample(import_wh: int, power_w: int = 5) -> Observation:
    return Observation(Sample(Registers(GENESIS_TIME_S, import_wh, 7), power_w, StatusFlag(0), b""))


class Shown:
    """A meter that shows itself, and what the broker was told."""

    def __init__(self, connection: MqttConnection, node: FakeNode, *, has_relay: bool) -> None:
        self.node = node
        self.clock = ManualClock(GENESIS_TIME_S)
        self.supply: bool | None = True
        self.told: dict[str, bytes] = {}
        self.count = 0
        self.news = asyncio.Event()
        ledger = MeterLedger(node, METER_ADDRESS, EXHAUSTION_ADDRESS)
        self.assistant = HomeAssistant(
            HomeAssistantSettings(), connection, ledger, METER, self.clock, (lambda: self.supply) if has_relay else None
        )

    async def until(self, condition: Any) -> None:
        async with asyncio.timeout(LIMIT_S):
            while not condition():
                self.news.clear()
                await self.news.wait()

    def state(self) -> dict[str, Any]:
        return json.loads(self.told.get(f"wattchain/{NAME}/state", b"{}"))  # type: ignore[no-any-return]


@asynccontextmanager
async def shown(broker: Broker, *, has_relay: bool = True) -> AsyncIterator[Shown]:
    connection = MqttConnection(MqttSettings(HOST, broker.port), NAME, ManualClock())
    here = Shown(connection, FakeNode(credit_wei=3 * 10**18), has_relay=has_relay)
    here.node.clock = here.clock
    async with broker.client() as other:
        await other.subscribe("#", qos=1)

        async def listen() -> None:
            async for message in other.messages:
                assert isinstance(message.payload, bytes)
                here.told[message.topic.value] = message.payload
                here.count += 1
                here.news.set()

        tasks = [asyncio.create_task(work) for work in (connection.run(), here.assistant.run(), listen())]
        try:
            await within(connection.wait_connected())
            yield here
        finally:
            for task in tasks:
                task.cancel()
            await within(asyncio.wait(tasks))
        assert all(task.cancelled() for task in tasks)


async def test_entities_appear_by_themselves(broker: Broker) -> None:
    async with shown(broker) as here:
        await here.until(lambda: len([topic for topic in here.told if topic.endswith("/config")]) == len(ENTITIES))
        power = json.loads(here.told[f"homeassistant/sensor/wattchain_{NAME}/power_w/config"])
        assert power["unique_id"] == f"wattchain_{NAME}_power_w"
        assert power["device"]["identifiers"] == [f"wattchain_{NAME}"]
        assert (power["unit_of_measurement"], power["device_class"], power["state_class"]) == (
            "W",
            "power",
            "measurement",
        )
        assert power["availability"] == [{"topic": f"wattchain/{NAME}/availability"}]
        assert here.told[f"wattchain/{NAME}/availability"] == b"online"
        credit = json.loads(here.told[f"homeassistant/sensor/wattchain_{NAME}/credit/config"])
        assert {"topic": f"wattchain/{NAME}/ledger"} in credit["availability"]
        assert credit["value_template"] == "{{ value_json.credit }}"
        supply = json.loads(here.told[f"homeassistant/binary_sensor/wattchain_{NAME}/supply/config"])
        assert "unit_of_measurement" not in supply
    assert here.told[f"wattchain/{NAME}/availability"] in (b"online", b"offline")


async def test_values_of_the_meter_and_of_the_ledger(broker: Broker) -> None:
    async with shown(broker) as here:
        here.assistant.observe(sample(1234, -50))
        here.assistant.tell()
        await here.until(lambda: here.state().get("import_wh") == 1234 and here.state()["credit"] is not None)
        assert here.state() == {
            "power_w": -50,
            "import_wh": 1234,
            "export_wh": 7,
            "supply": "ON",
            "credit": "3",
            "price": "0.1",
            "export_price": "0",
        }
        assert Decimal(here.state()["price"]) == Decimal(RATE_WEI_PER_WH * 1000) / 10**18
        assert here.told[f"wattchain/{NAME}/ledger"] == b"online"
        here.supply = False
        here.assistant.observe(sample(1235))
        here.clock.advance_s(10)
        await here.until(lambda: here.state()["supply"] == "OFF")
        assert here.state()["import_wh"] == 1235
        here.supply = None  # the switch does not obey
        here.clock.advance_s(10)
        await here.until(lambda: here.state()["supply"] is None)


async def test_the_power_of_a_silent_device_is_unknown_and_its_registers_stay(broker: Broker) -> None:
    async with shown(broker) as here:
        silence = Sample(Registers(GENESIS_TIME_S, 1234, 7), 0, StatusFlag.GAP, b"")
        here.assistant.observe(Observation(silence))
        here.assistant.tell()
        await here.until(lambda: here.state().get("import_wh") == 1234)
        assert here.state()["power_w"] is None
        # A gap that has ended: the device measures again.
        here.assistant.observe(Observation(silence, Measurement(0)))
        here.assistant.tell()
        await here.until(lambda: here.state()["power_w"] == 0)


async def test_without_a_ledger_credit_is_unavailable_and_the_rest_goes_on(broker: Broker) -> None:
    async with shown(broker) as here:
        here.assistant.observe(sample(1))
        await here.until(lambda: here.told.get(f"wattchain/{NAME}/ledger") == b"online")
        here.node.is_down = True
        asked = here.node.call_count
        here.clock.advance_s(60)
        await here.until(lambda: here.told.get(f"wattchain/{NAME}/ledger") == b"offline")
        assert here.node.call_count == asked + 1
        here.assistant.observe(sample(2))
        here.clock.advance_s(10)
        await here.until(lambda: here.state().get("import_wh") == 2)
        here.node.is_down = False
        here.node.top_up(METER, 10**18)
        here.clock.advance_s(60)
        await here.until(lambda: here.told.get(f"wattchain/{NAME}/ledger") == b"online")
        await here.until(lambda: here.state()["credit"] == "4")


async def test_nothing_is_told_twice_or_more_often_than_wished(broker: Broker) -> None:
    async with shown(broker) as here:
        here.assistant.observe(sample(1))
        here.assistant.tell()
        await here.until(lambda: here.state().get("credit") == "3")
        count, asked = here.count, here.node.call_count
        for import_wh in range(2, 50):
            here.assistant.observe(sample(import_wh))
        here.clock.advance_s(9)
        await asyncio.sleep(0.05)
        assert (here.count, here.node.call_count) == (count, asked)
        here.clock.advance_s(1)
        await here.until(lambda: here.state()["import_wh"] == 49)
        here.clock.advance_s(10)
        await asyncio.sleep(0.05)
        assert here.count == count + 1


async def test_a_meter_without_a_relay_shows_no_supply(broker: Broker) -> None:
    topic = f"homeassistant/binary_sensor/wattchain_{NAME}/supply/config"
    async with broker.client() as before:
        await before.publish(topic, b"{}", qos=1, retain=True)
    async with shown(broker, has_relay=False) as here:
        await here.until(lambda: here.told.get(topic) == b"")
        here.assistant.observe(sample(1))
        here.assistant.tell()
        await here.until(lambda: here.state().get("import_wh") == 1)
        assert here.state()["supply"] is None


def known(version: TariffVersion | None, used_wh: int = 0) -> KnownAccount:
    versions = () if version is None else (DatedVersion(0, version),)
    account = AccountTerms(bytes(20), 0, SupplyTerms(), versions)
    # A period that has not ended yet.
    position = TariffPosition(used_wh, 10**6, 10**6)
    return KnownAccount(1, 1, Registers(), 0, 0, position, account)


def test_the_price_is_that_of_the_step_the_meter_is_on() -> None:
    stepped = TariffVersion(
        (Slab(10**14, 1000), Slab(3 * 10**14)),
        export_price_wei_per_wh=5 * 10**13,
        allowance_wh=100,
        allowance_price_wei_per_wh=10**13,
    )
    found = [prices_now(known(stepped, used_wh), GENESIS_TIME_S)[0] for used_wh in (0, 100, 999, 1000)]
    assert found == ["0.01", "0.1", "0.1", "0.3"]
    assert prices_now(known(stepped), GENESIS_TIME_S)[1] == "0.05"
    assert prices_now(known(None), GENESIS_TIME_S) == ("0", "0")


async def test_a_node_that_answers_nonsense_is_a_ledger_out_of_reach(broker: Broker) -> None:
    async with shown(broker) as here:
        await here.until(lambda: here.told.get(f"wattchain/{NAME}/ledger") == b"online")

        async def lie(*_: object) -> bytes:
            return b"\xff" * 31

        here.node.call = lie  # type: ignore[method-assign]
        here.clock.advance_s(700)
        await here.until(lambda: here.told.get(f"wattchain/{NAME}/ledger") == b"offline")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (HomeAssistantSettings(discovery_prefix="a/+"), "home_assistant.discovery_prefix"),
        (HomeAssistantSettings(name=" "), "home_assistant.name"),
        (HomeAssistantSettings(name="x\n"), "home_assistant.name"),
        (HomeAssistantSettings(interval_s=Decimal(0)), "home_assistant.interval_s"),
        (HomeAssistantSettings(ledger_interval_s=Decimal(1)), "home_assistant.ledger_interval_s"),
    ],
)
def test_mistakes_are_named(settings: HomeAssistantSettings, message: str) -> None:
    with pytest.raises(UserError, match=message):
        settings.check()
