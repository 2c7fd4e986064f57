"""Meters over MQTT against a real broker: the layouts of known devices, what is retained, stale, huge or a lie."""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import TypeVar

import aiomqtt
import pytest

from meter import mqtt
from meter.drivers.catalogue import open_section
from meter.drivers.measurement import DeviceTrouble, Measurement, Source
from meter.drivers.mqtt_meter import MAX_SENSELESS, JsonField, MqttMeter, MqttMeterSettings, open_device
from meter.mqtt import MqttConnection
from meter.mqtt_settings import MqttSettings
from meter.settings import load_settings
from primitives.clock import SystemClock
from primitives.errors import UserError
from tests.meter.broker import HOST, Broker

LIMIT_S = 10
T = TypeVar("T")


@pytest.fixture(autouse=True)
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mqtt, "FIRST_DELAY_S", 0.02)
    monkeypatch.setattr(mqtt, "GREATEST_DELAY_S", 0.05)


async def within(waiting: Awaitable[T]) -> T:
    async with asyncio.timeout(LIMIT_S):
        return await waiting


class House:
    """A broker, a meter that publishes there, and the driver that listens."""

    def __init__(self, device: MqttMeter, publisher: aiomqtt.Client, connection: MqttConnection) -> None:
        self.device = device
        self.publisher = publisher
        self.connection = connection

    async def say(self, topic: str, payload: object, *, retain: bool = False) -> None:
        sent = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        await self.publisher.publish(topic, sent, qos=1, retain=retain)

    async def next(self) -> Measurement:
        measurement = await within(self.device.read())
        assert measurement is not None
        return measurement


@asynccontextmanager
async def house(broker: Broker, settings: MqttMeterSettings) -> AsyncIterator[House]:
    settings.check()
    clock = SystemClock()
    connection = MqttConnection(MqttSettings(HOST, broker.port), "0xab", clock, random.Random(1))
    device = open_device(settings, clock, connection)
    task = asyncio.create_task(connection.run())
    try:
        await within(connection.wait_connected())
        async with broker.client() as publisher:
            here = House(device, publisher, connection)
            await until_subscribed(here, settings)
            yield here
        await device.close()
    finally:
        task.cancel()
        await within(asyncio.wait([task]))


async def until_subscribed(here: House, settings: MqttMeterSettings) -> None:
    """The device subscribes with its first read; a message proves that the broker knows."""
    topic = settings.rows()[-1].topic
    reading = asyncio.create_task(here.device.read())
    probe = here.connection.subscribe(topic)
    while True:
        await here.say(topic, {"probe": 1})
        try:
            async with asyncio.timeout(0.05):
                await probe.next()
        except TimeoutError:
            continue
        break
    probe.close()
    reading.cancel()
    await within(asyncio.wait([reading]))


async def test_shelly_pro_3em(broker: Broker) -> None:
    async with house(broker, MqttMeterSettings(model="shelly-em", topic="shellypro3em-a0dd6c")) as here:
        assert here.device.source is Source.REGISTER
        status = {"id": 0, "a_current": 4.029, "a_voltage": 236.1, "a_act_power": 951.2, "total_act_power": 2484.782}
        await here.say("shellypro3em-a0dd6c/status/em:0", status)
        power = await here.next()
        assert (power.power_mw, power.import_mwh, power.export_mwh) == (2_484_782, None, None)
        assert power.values == (("voltage_1_mv", 236_100), ("current_1_ma", 4_029))
        energy = {"id": 0, "a_total_act_energy": 1.0, "total_act": 7302.01, "total_act_ret": 0.0}
        await here.say("shellypro3em-a0dd6c/status/emdata:0", energy)
        measured = await here.next()
        assert (measured.import_mwh, measured.export_mwh, measured.power_mw) == (7_302_010, 0, 2_484_782)


@pytest.mark.parametrize(
    ("settings", "topic", "message", "expected"),
    [
        (
            MqttMeterSettings(model="shelly-em1", topic="pro", channel=1),
            "pro/status/em1data:1",
            {"id": 1, "total_act_energy": 2776.175, "total_act_ret_energy": 571584.87},
            (2_776_175, 571_584_870, None),
        ),
        (
            MqttMeterSettings(model="shelly-switch", topic="plug"),
            "plug/status/switch:0",
            {"id": 0, "output": True, "apower": 8.9, "voltage": 237.5, "aenergy": {"total": 6.532, "by_minute": [45]}},
            (6_532, None, 8_900),
        ),
        (
            MqttMeterSettings(model="tasmota", topic="washer"),
            "tele/washer/SENSOR",
            {
                "Time": "2026-03-01T12:00:00",
                "ENERGY": {"TotalStartTime": "2025-01-01T00:00:00", "Total": 337.433, "Power": 61, "Voltage": 230},
            },
            (337_433_000, None, 61_000),
        ),
        (
            MqttMeterSettings(model="tasmota", topic="three"),
            "tele/three/SENSOR",
            {"ENERGY": {"Total": 3.5, "ExportActive": 0.25, "Power": [100, -20, 3], "Voltage": [229, 230, 231]}},
            (3_500_000, 250_000, 83_000),
        ),
        (
            MqttMeterSettings(model="zigbee2mqtt", topic="Meter in the cellar"),
            "zigbee2mqtt/Meter in the cellar",
            {"current": 0.03, "energy": 12.07, "power": 4, "produced_energy": None, "linkquality": 142, "state": "ON"},
            (12_070_000, None, 4_000),
        ),
        (
            MqttMeterSettings(
                fields=(
                    JsonField("heat", "SML.1_8_0", "import", "kWh"),
                    JsonField("heat", "SML.extra", "import", "Wh", Decimal("0.5")),
                    JsonField("heat", "SML.p", "power", "kW", Decimal(-1)),
                )
            ),
            "heat",
            {"SML": {"1_8_0": "100.25", "extra": 3, "p": 0.5}},
            (100_251_500, None, -500_000),
        ),
        (MqttMeterSettings(fields=(JsonField("kwh", "", "import", "kWh"),)), "kwh", 3.25, (3_250_000, None, None)),
    ],
)
async def test_layouts(
    broker: Broker, settings: MqttMeterSettings, topic: str, message: object, expected: tuple[int | None, ...]
) -> None:
    async with house(broker, settings) as here:
        await here.say(topic, message)
        measured = await here.next()
        assert (measured.import_mwh, measured.export_mwh, measured.power_mw) == expected


FIELDS = MqttMeterSettings(fields=(JsonField("m", "e", "import", "Wh"), JsonField("m", "p", "power", "W")))


async def test_what_is_retained_is_not_measured(broker: Broker) -> None:
    async with broker.client() as before:
        await before.publish("m", b'{"e": 999999}', qos=1, retain=True)
    async with house(broker, FIELDS) as here:
        await here.say("m", {"e": 5}, retain=True)
        assert (await here.next()).import_mwh == 5_000


async def test_a_broker_that_restarts(broker: Broker) -> None:
    async with house(broker, FIELDS) as here:
        await here.say("m", {"e": 5})
        await here.next()
        broker.stop()
        await broker.start()
        reading = asyncio.create_task(here.device.read())
        async with broker.client() as publisher:
            while not reading.done():
                await publisher.publish("m", b'{"e": 6}', qos=1)
                await asyncio.wait([reading], timeout=0.05)
        measured = reading.result()
        assert measured is not None
        assert measured.import_mwh == 6_000
    assert "is not connected" in here.connection.state()


async def test_a_power_that_makes_no_sense_costs_no_register(broker: Broker) -> None:
    async with house(broker, FIELDS) as here:
        await here.say("m", {"e": 5, "p": 100})
        await here.next()
        for odd in ("much", 10**30, {}):
            await here.say("m", {"e": 6, "p": odd})
            measured = await here.next()
            assert (measured.import_mwh, measured.power_mw) == (6_000, None)
        assert here.device.senseless == 0
        # Alone it is no measurement.
        await here.say("m", {"p": "much"})
        await here.say("m", {"e": 7})
        assert (await here.next()).import_mwh == 7_000
        assert here.device.senseless == 1


async def test_what_makes_no_sense_is_dropped_and_counted(broker: Broker) -> None:
    wrong = [
        b"",
        b"\xff\xff",
        b"{",
        b"[" * 10_000,
        b'{"e": true}',
        b'{"e": "much"}',
        b'{"e": -1}',
        b'{"e": 1e25}',
        b'{"e": NaN}',
    ]
    assert len(wrong) < MAX_SENSELESS
    async with house(broker, FIELDS) as here:
        for payload in wrong:
            await here.say("m", payload)
        await here.say("m", b"x" * 1_000_000)
        await here.say("m", {"other": 3})
        await here.say("m", {"e": 7, "p": 1.5})
        measured = await here.next()
        assert (measured.import_mwh, measured.power_mw) == (7_000, 1_500)
        assert here.device.senseless == len(wrong)
        for _ in range(MAX_SENSELESS):
            await here.say("m", b"?")
        with pytest.raises(DeviceTrouble, match="10 messages in a row in m make no sense"):
            await here.next()


async def test_power_is_forgotten_when_it_is_old(broker: Broker) -> None:
    async with house(broker, MqttMeterSettings(model="shelly-em1", topic="s", interval_s=Decimal("0.2"))) as here:
        await here.say("s/status/em1:0", {"act_power": 100.5})
        assert (await here.next()).power_mw == 100_500
        await asyncio.sleep(0.25)
        await here.say("s/status/em1data:0", {"total_act_energy": 1})
        assert (await here.next()).power_mw is None


async def test_a_meter_that_is_gone(broker: Broker) -> None:
    async with house(broker, MqttMeterSettings(model="shelly-em", topic="s", interval_s=Decimal("0.1"))) as here:
        await here.say("s/online", b"true", retain=True)
        await here.say("s/online", b"false", retain=True)
        with pytest.raises(DeviceTrouble, match="the meter is not there, says s/online"):
            await here.next()
        with pytest.raises(DeviceTrouble, match=r"no message came in s/status/em:0, .* for 0.3 s; the broker"):
            await here.next()
        await here.say("s/status/emdata:0", {"total_act": 1.5, "total_act_ret": 0})
        assert (await here.next()).import_mwh == 1_500


def test_the_kind_needs_a_broker(tmp_path: Path) -> None:
    (tmp_path / "meter.toml").write_text(
        """
[meter]
key = "k"
outbox = "o"
[ledger]
chain_id = 5
[mqtt]
host = "localhost"
[driver]
kind = "mqtt"
fields = [{ topic = "m", path = "e", what = "import", unit = "kWh", scale = 0.001 }]
"""
    )
    driver = load_settings(tmp_path / "meter.toml").driver
    assert isinstance(driver, MqttMeterSettings)
    assert driver.rows()[0] == JsonField("m", "e", "import", "kWh", Decimal("0.001"))
    with pytest.raises(UserError, match=r"needs the section \[mqtt\]"):
        open_section(driver, SystemClock())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (MqttMeterSettings(), "set either driver.model"),
        (MqttMeterSettings(model="x", topic="t"), "there is shelly-em"),
        (MqttMeterSettings(model="shelly-em"), "driver.topic must be the name of an MQTT topic"),
        (MqttMeterSettings(model="shelly-em", topic="a/#"), "driver.topic must be the name of an MQTT topic"),
        (MqttMeterSettings(model="shelly-em", topic="a", channel=9), "driver.channel must be from 0 to 7"),
        (MqttMeterSettings(fields=(JsonField("t", "p", "power", "W"),)), "needs a row with what"),
        (MqttMeterSettings(fields=(JsonField("t", "p", "heat", "W"),)), "what is 'heat'"),
        (MqttMeterSettings(fields=(JsonField("t", "p", "import", "W"),)), "for import choose one of Wh"),
        (MqttMeterSettings(fields=(JsonField("t", "a..b", "import", "Wh"),)), "names with dots between"),
        (MqttMeterSettings(fields=(JsonField("+", "a", "import", "Wh"),)), "must be the name of an MQTT topic"),
        (MqttMeterSettings(fields=(JsonField("t", "a", "import", "Wh"),) * 50), "40 are the most"),
    ],
)
def test_mistakes_are_named(settings: MqttMeterSettings, message: str) -> None:
    with pytest.raises(UserError, match=message):
        settings.check()
