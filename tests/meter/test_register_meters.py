"""A meter with its own register from the broker to the ledger, and back to Home Assistant and InfluxDB: all parts as
the settings put them together, a real broker, real contracts.
"""

import asyncio
import json
import random
from pathlib import Path

from meter.assembly import build_daemon
from meter.daemon import MeterDaemon
from meter.home_assistant import HomeAssistant
from meter.mqtt import MqttConnection
from meter.settings import parse_settings
from meter.signer import KeySigner
from primitives.clock import ManualClock
from primitives.hexadecimal import to_checksum_address
from tests.meter.broker import HOST, Broker
from tests.meter.fake_node import CHAIN_ID, METER, METER_KEY, RATE_WEI_PER_WH, SENDER_KEY, FakeNode

LIMIT_S = 30
NAME = to_checksum_address(METER)


class Home:
    def __init__(self, folder: Path, broker: Broker, **sections: object) -> None:
        self.node = FakeNode(credit_wei=10**6 * RATE_WEI_PER_WH)
        self.clock = ManualClock(self.node.blocks[-1].time_s)
        self.node.clock = self.clock
        self.told: dict[str, bytes] = {}
        document: dict[str, object] = {
            "meter": {"key": "unused.json", "outbox": "outbox.sqlite", "reading_interval_s": 60},
            "ledger": {"chain_id": CHAIN_ID, "confirmations": 0},
            "mqtt": {"host": HOST, "port": broker.port},
            "home_assistant": {},
            "influx": {"file": "lines.influx"},
            "driver": {"kind": "mqtt", "model": "shelly-em", "topic": "shelly"},
            **sections,
        }
        self.settings = parse_settings(document, folder / "meter.toml")

    def make(self) -> MeterDaemon:
        return build_daemon(
            self.settings, self.node, self.clock, KeySigner(METER_KEY), KeySigner(SENDER_KEY), random.Random(1)
        )

    async def minute(self) -> None:
        for _ in range(4):
            self.clock.advance_s(15)
            await asyncio.sleep(0.01)
            self.node.mine()

    def state(self) -> dict[str, object]:
        return json.loads(self.told.get(f"wattchain/{NAME}/state", b"{}"))  # type: ignore[no-any-return]


async def test_from_the_broker_to_the_ledger_and_back(tmp_path: Path, broker: Broker) -> None:
    home = Home(tmp_path, broker)
    daemon = home.make()
    connection = next(service for service in daemon.services if isinstance(service, MqttConnection))
    running = asyncio.create_task(daemon.run())
    try:
        async with asyncio.timeout(LIMIT_S), broker.client() as shelly:
            await shelly.subscribe(f"wattchain/{NAME}/#", qos=1)
            await connection.wait_connected()

            async def listen() -> None:
                async for message in shelly.messages:
                    assert isinstance(message.payload, bytes)
                    home.told[message.topic.value] = message.payload

            listening = asyncio.create_task(listen())
            register_wh = 7_000
            while home.node.charged_wh() < 5_000:
                await shelly.publish("shelly/status/em:0", b'{"id":0,"total_act_power":1386.5}', qos=1)
                energy = json.dumps({"id": 0, "total_act": register_wh, "total_act_ret": 0.0})
                await shelly.publish("shelly/status/emdata:0", energy, qos=1)
                register_wh += 500
                await home.minute()
            while home.state().get("credit") is None or home.state()["power_w"] != 1387:
                await home.minute()
            listening.cancel()
    finally:
        running.cancel()
        await asyncio.wait([running])
        daemon.outbox.close()
    # What the meter had counted before it was read for the first time is nobody's debt.
    assert 5_000 <= home.node.charged_wh() <= register_wh - 7_000
    assert home.state()["supply"] == "ON"
    lines = (tmp_path / "lines.influx").read_text().splitlines()
    assert any(line.startswith(f"wattchain,meter={NAME} power_w=1387i,import_wh=") for line in lines)


async def test_home_assistant_is_told_what_is_and_not_what_ought_to_be(tmp_path: Path, broker: Broker) -> None:
    """A relay that does not obey is in a state that nobody knows; a computer's wrong clock is not the meter's."""
    command = {"kind": "command", "on_command": ["/nowhere/on"], "off_command": ["/nowhere/off"]}
    home = Home(tmp_path, broker, relay=command, driver={"kind": "simulated-home", "begin_s": 1_690_000_000})
    daemon = home.make()
    shown = next(service for service in daemon.services if isinstance(service, HomeAssistant))
    held: dict[str, bytes] = {}
    shown._connection.hold = held.__setitem__  # type: ignore[method-assign]
    running = asyncio.create_task(daemon.run())

    def state() -> dict[str, object]:
        shown.tell()
        return json.loads(held.get(f"wattchain/{NAME}/state", b"{}"))  # type: ignore[no-any-return]

    try:
        async with asyncio.timeout(LIMIT_S):
            while state().get("price") is None:
                await home.minute()
            assert daemon.relay is not None
            assert daemon.relay.is_on
            assert (state()["supply"], state()["price"]) == (None, "0.1")
            time_s = home.clock.time_s()
            home.clock.step_s(-86_400)
            assert shown._clock.time_s() == time_s, "the hour of the price is that of the readings"
            assert json.loads(held[f"homeassistant/binary_sensor/wattchain_{NAME}/supply/config"])
    finally:
        running.cancel()
        await asyncio.wait([running])
        daemon.outbox.close()
