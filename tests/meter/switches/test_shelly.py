"""A Shelly over a real broker: it obeys, refuses, lies, is silent, answers late, and is talked over by others."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal

import pytest

from meter.mqtt import MqttConnection
from meter.mqtt_settings import MqttSettings
from meter.switches.catalogue import SwitchSettings, open_switch
from meter.switches.switch import Switch, SwitchTrouble
from primitives.clock import SystemClock
from tests.meter.broker import HOST, Broker
from tests.meter.simulated_shelly import DEVICE, SimulatedShelly


@asynccontextmanager
async def home(broker: Broker) -> AsyncIterator[tuple[SimulatedShelly, MqttConnection]]:
    shelly = SimulatedShelly()
    connection = MqttConnection(MqttSettings(HOST, broker.port), "0xMeter", SystemClock())
    tasks = [asyncio.ensure_future(shelly.run(broker)), asyncio.ensure_future(connection.run())]
    try:
        async with asyncio.timeout(20):
            await shelly.is_listening.wait()
            await connection.wait_connected()
        yield shelly, connection
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def shelly_switch(connection: MqttConnection, channel: int = 0, timeout_s: str = "10") -> Switch:
    settings = SwitchSettings("shelly", device=DEVICE, channel=channel, timeout_s=Decimal(timeout_s))
    return open_switch(settings, connection)


async def test_obeys_and_is_asked_for_its_output(broker: Broker) -> None:
    async with home(broker) as (shelly, connection):
        switch = shelly_switch(connection)
        for is_on in (True, False, True):
            await switch.set(is_on)
            assert shelly.output is is_on
            assert await switch.state() is is_on
        shelly.output = False
        assert await switch.state() is False, "somebody pressed its button"
        assert [call["method"] for call in shelly.calls][:2] == ["Switch.Set", "Switch.GetStatus"]
        assert len({call["id"] for call in shelly.calls}) == len(shelly.calls)
        await switch.close()


async def test_what_it_says_of_itself_counts_alone(broker: Broker) -> None:
    async with home(broker) as (shelly, connection):
        switch = shelly_switch(connection)
        shelly.mood = "stuck"
        with pytest.raises(SwitchTrouble, match="its output does not follow"):
            await switch.set(True)
        shelly.mood = "lying"
        with pytest.raises(SwitchTrouble, match="does not tell the state"):
            await switch.state()


async def test_refusal_is_told_in_its_words(broker: Broker) -> None:
    async with home(broker) as (_, connection):
        with pytest.raises(SwitchTrouble, match=r"refuses Switch\.Set for switch 7: Argument 'id'"):
            await shelly_switch(connection, channel=7).set(True)


async def test_silence(broker: Broker) -> None:
    async with home(broker) as (shelly, connection):
        shelly.mood = "silent"
        switch = shelly_switch(connection, timeout_s="0.3")
        with pytest.raises(SwitchTrouble, match=r"did not answer within 0\.3 s: is it on"):
            await switch.set(True)


async def test_asked_again_where_the_first_call_was_lost(broker: Broker) -> None:
    async with home(broker) as (shelly, connection):
        shelly.mood = "silent"
        switch = shelly_switch(connection, timeout_s="4")
        order = asyncio.ensure_future(switch.set(True))
        await shelly.is_called.wait()
        shelly.mood = ""
        await order
        assert shelly.output
        assert [call["id"] for call in shelly.calls] == [1, 2, 3]


async def test_garbage_and_late_answers_are_left_out(broker: Broker) -> None:
    async with home(broker) as (shelly, connection):
        switch = shelly_switch(connection)
        await switch.set(False)
        shelly.garbage = [
            b"",
            b"\xff\xfe",
            b"[1, 2]",
            b"5",
            b"[" * 5000,
            b'{"id": 1, "result": {"output": true}}',
            b'{"id": true, "result": {"output": true}}',
            b'{"id": "3", "result": {"output": true}}',
            b'{"id": 10000000000000000000000000000000, "result": {"output": true}}',
            b'{"id": 3, "result": {"output": true}, "long": "' + b"x" * 20_000 + b'"}',
        ]
        assert await switch.state() is False
        assert len(shelly.calls) == 3


async def test_without_a_broker(broker: Broker) -> None:
    broker.stop()
    connection = MqttConnection(MqttSettings(HOST, broker.port), "0xMeter", SystemClock())
    task = asyncio.ensure_future(connection.run())
    try:
        with pytest.raises(SwitchTrouble, match="is not connected"):
            await shelly_switch(connection, timeout_s="0.3").set(True)
        settings = SwitchSettings("mqtt", topic="cmnd/pump/POWER", timeout_s=Decimal("0.3"))
        with pytest.raises(SwitchTrouble, match="is not connected"):
            await open_switch(settings, connection).set(True)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_switch_that_obeys_a_topic(broker: Broker) -> None:
    async with home(broker) as (_, connection), broker.client() as listener:
        await listener.subscribe("cmnd/pump/POWER")
        switch = open_switch(SwitchSettings("mqtt", topic="cmnd/pump/POWER", off_payload="off!"), connection)
        await switch.set(True)
        await switch.set(False)
        heard = listener.messages
        assert [(await anext(heard)).payload for _ in range(2)] == [b"ON", b"off!"]
        assert await switch.state() is None
