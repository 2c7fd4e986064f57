"""The shared MQTT connection against a real broker: what is held, what is lost, and what hostile messages can do."""

import asyncio
import gc
import logging
import random
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path

import aiomqtt
import pytest

from meter import mqtt
from meter.mqtt import MqttConnection, MqttTrouble
from meter.mqtt_settings import PROTOCOLS, MqttSettings
from primitives.clock import SystemClock
from primitives.errors import UserError
from tests.meter.broker import HOST, Broker, running_broker
from tests.meter.certificates import Authority

pytestmark = pytest.mark.usefixtures("quick_retries")
WAIT_S = 10


@pytest.fixture
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mqtt, "FIRST_DELAY_S", 0.02)
    monkeypatch.setattr(mqtt, "GREATEST_DELAY_S", 0.05)
    monkeypatch.setattr(mqtt, "CONNECT_TIMEOUT_S", 1.0)
    monkeypatch.setattr(mqtt, "GOODBYE_TIMEOUT_S", 0.2)


@asynccontextmanager
async def connected(settings: MqttSettings) -> AsyncIterator[MqttConnection]:
    connection = MqttConnection(settings, "0xab", SystemClock(), random.Random(1))
    task = asyncio.create_task(connection.run())
    try:
        async with asyncio.timeout(WAIT_S):
            await connection.wait_connected()
        yield connection
    finally:
        task.cancel()
        async with asyncio.timeout(WAIT_S):
            await asyncio.wait([task])


@asynccontextmanager
async def listening(broker: Broker, *topics: str) -> AsyncIterator[aiomqtt.Client]:
    async with broker.client() as client:
        for topic in topics:
            await client.subscribe(topic, qos=1)
        yield client


async def run_until(connection: MqttConnection, pattern: str) -> None:
    """Let it try until its state says what is wanted."""
    task = asyncio.create_task(connection.run())
    async with asyncio.timeout(WAIT_S):
        while not re.search(pattern, connection.state()):
            await asyncio.wait([task], timeout=0.02)
        await asyncio.wait([task], timeout=0.1)  # some more attempts
        task.cancel()
        await asyncio.wait([task])


async def next_message(client: aiomqtt.Client) -> aiomqtt.Message:
    async with asyncio.timeout(WAIT_S):
        return await anext(client.messages)


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_it_publishes_receives_and_says_goodbye(broker: Broker, protocol: str) -> None:
    async with listening(broker, "wattchain/#", "orders") as other:
        async with connected(MqttSettings(HOST, broker.port, protocol=protocol)) as connection:
            assert connection.is_connected
            subscription = connection.subscribe("home/+/power")
            online = await next_message(other)
            assert (online.topic.value, online.payload) == ("wattchain/0xab/availability", b"online")
            await connection.send("orders", b"on")
            assert (await next_message(other)).payload == b"on"
            connection.publish("wattchain/0xab/x", b"1")
            assert (await next_message(other)).payload == b"1"
            await other.publish("home/attic/power", b"12")
            async with asyncio.timeout(WAIT_S):
                received = await subscription.next()
            assert (received.topic, received.payload, received.is_retained) == ("home/attic/power", b"12", False)
        assert (await next_message(other)).payload == b"offline"


async def test_retained_messages_are_told_apart(broker: Broker) -> None:
    async with broker.client() as other:
        await other.publish("meter", b"old", qos=1, retain=True)
        async with connected(MqttSettings(HOST, broker.port)) as connection:
            subscription = connection.subscribe("meter")
            async with asyncio.timeout(WAIT_S):
                assert (await subscription.next()).is_retained
                await other.publish("meter", b"new", qos=1, retain=True)
                new = await subscription.next()
            assert (new.payload, new.is_retained) == (b"new", False)


async def test_a_broker_that_comes_back_has_everything_again(broker: Broker) -> None:
    async with connected(MqttSettings(HOST, broker.port)) as connection:
        subscription = connection.subscribe("meter")
        async with listening(broker, "config") as other:
            connection.hold("config", b"first")
            connection.hold("config", b"second")
            assert (await next_message(other)).payload == b"second"
        broker.stop()
        connection.hold("late", b"kept")
        for number in range(3):
            connection.publish("queue", b"%d" % number, retain=True)
        with pytest.raises(MqttTrouble, match=r"not connected|did not confirm"):
            await connection.send("orders", b"off")
        await broker.start()
        async with listening(broker, "config", "late", "queue", "wattchain/0xab/availability") as other:
            found: dict[str, bytes] = {}
            async with asyncio.timeout(WAIT_S):
                while found.get("queue") != b"2" or len(found) < 4:
                    message = await next_message(other)
                    found[message.topic.value] = bytes(message.payload)
                await other.publish("meter", b"heard", qos=1)
                assert (await subscription.next()).payload == b"heard"
        assert found == {
            "config": b"second",
            "late": b"kept",
            "queue": b"2",
            "wattchain/0xab/availability": b"online",
        }


async def test_the_broker_tells_that_a_meter_vanished(broker: Broker) -> None:
    topic = "wattchain/0xab/availability"
    async with listening(broker, topic) as other, connected(MqttSettings(HOST, broker.port)) as connection:
        assert (await next_message(other)).payload == b"online"
        client = connection._client
        assert client is not None
        client._client.socket().shutdown(socket.SHUT_RDWR)  # type: ignore[union-attr]
        assert (await next_message(other)).payload == b"offline"
        assert (await next_message(other)).payload == b"online"


async def test_a_frozen_broker_is_left_at_shutdown(broker: Broker) -> None:
    async with asyncio.timeout(WAIT_S), connected(MqttSettings(HOST, broker.port)) as connection:
        broker.freeze()
        with pytest.raises(MqttTrouble, match="did not confirm a message: Operation timed out"):
            await connection.send("orders", b"off", timeout_s=0.05)


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_huge_messages_are_thrown_away(broker: Broker, protocol: str) -> None:
    async with broker.client() as other, connected(MqttSettings(HOST, broker.port, protocol=protocol)) as connection:
        subscription = connection.subscribe("meter")
        await other.publish("meter", b"first", qos=1, retain=True)
        async with asyncio.timeout(WAIT_S):
            await subscription.next()
        await other.publish("meter", b"x" * 5_000_000, qos=1)
        await other.publish("meter", b"small", qos=1)
        async with asyncio.timeout(WAIT_S):
            assert (await subscription.next()).payload == b"small"
        # A broker of MQTT 5 does not even send them.
        assert subscription.dropped == (0 if protocol == "5" else 1)


async def test_queues_are_bounded_and_the_oldest_makes_room(caplog: pytest.LogCaptureFixture) -> None:
    connection = MqttConnection(MqttSettings("localhost"), "0xab", SystemClock())
    for number in range(mqtt.MAX_OUTGOING + 5):
        connection.publish("x", b"%d" % number)
    assert connection.dropped == 5
    assert connection._outgoing[0][1] == b"5"
    subscription = connection.subscribe("x")
    for number in range(mqtt.MAX_WAITING + 7):
        subscription.put(mqtt.Received("x", b"%d" % number, False, 0))
    assert subscription.dropped == 7
    assert (await subscription.next()).payload == b"7"
    for number in range(mqtt.MAX_HELD):
        connection.hold(f"t{number}", b"")
    with pytest.raises(ValueError, match="topics are held"):
        connection.hold("one too many", b"")
    for _ in range(mqtt.MAX_SUBSCRIPTIONS - 1):
        connection.subscribe("y")
    with pytest.raises(UserError, match="use wildcards"):
        connection.subscribe("y")
    subscription.close()
    connection.subscribe("y")


async def test_passwords(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with running_broker(tmp_path, {"meter": "right"}) as broker:
        password_file = tmp_path / "password"
        password_file.write_text("right\n")
        settings = MqttSettings(HOST, broker.port, username="meter", password_file=password_file)
        async with connected(settings) as connection:
            await connection.send("x", b"y")
        password_file.write_text("wrong\n")
        connection = MqttConnection(settings, "0xab", SystemClock())
        with caplog.at_level(logging.WARNING):
            await run_until(connection, "Not authorized")
        assert not connection.is_connected
        # Said once, however often it is tried.
        assert len([one for one in caplog.records if "no connection to the MQTT broker" in one.message]) == 1


# paho-mqtt leaves the socket of a handshake that failed to the garbage collector.
@pytest.mark.filterwarnings("ignore:unclosed <ssl.SSLSocket:ResourceWarning")
async def test_a_broker_is_trusted_by_its_certificate_and_the_meter_by_its_own(tmp_path: Path) -> None:
    authority, stranger = Authority(tmp_path), Authority(tmp_path, "stranger")
    certificate, key = authority.issue("broker")
    own_certificate, own_key = authority.issue("meter")
    options = [
        f"cafile {authority.certificate_file}",
        f"certfile {certificate}",
        f"keyfile {key}",
        "require_certificate true",
    ]
    async with running_broker(tmp_path, options=options) as broker:
        settings = MqttSettings(
            HOST,
            broker.port,
            tls=True,
            ca_file=authority.certificate_file,
            certificate_file=own_certificate,
            certificate_key_file=own_key,
        )
        async with connected(settings) as connection:
            await connection.send("x", b"y")
        for refused, why in (
            (replace(settings, ca_file=stranger.certificate_file), "CERTIFICATE_VERIFY_FAILED"),
            (replace(settings, host="localhost"), "CERTIFICATE_VERIFY_FAILED"),
            (replace(settings, certificate_file=None, certificate_key_file=None), "not connected: (?!no connection)"),
        ):
            connection = MqttConnection(refused, "0xab", SystemClock())
            await run_until(connection, why)
            assert not connection.is_connected
        gc.collect()


async def test_a_port_where_no_broker_answers() -> None:
    ended = asyncio.Event()

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-OpenSSH_9.2\r\n" * 20)
        with suppress(ConnectionError):
            await reader.read()
        writer.close()
        ended.set()

    server = await asyncio.start_server(greet, HOST, 0)
    async with server:
        connection = MqttConnection(MqttSettings(HOST, server.sockets[0].getsockname()[1]), "0xab", SystemClock())
        await run_until(connection, "is not connected: (?!no connection was tried)")
        assert not connection.is_connected
        async with asyncio.timeout(WAIT_S):
            await ended.wait()
