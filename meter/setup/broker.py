"""The MQTT broker in `wattchain meter setup`: asked for once, by whichever step needs it first, and connected to while
something is tried."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from meter.mqtt import MqttConnection
from meter.mqtt_settings import MqttSettings
from meter.setup.person import Person
from meter.setup.sections import Chosen, parse_value
from primitives.clock import Clock

MQTT = "mqtt"


def ask_broker(person: Person, chosen: Chosen) -> None:
    """Raises UserError."""
    if chosen.get(MQTT, "host") is not None:
        return
    host = person.answer(
        "   Address of the MQTT broker",
        lambda typed: parse_value(MqttSettings, MQTT, "host", typed),
        usual="127.0.0.1",
        option="--set mqtt.host=HOST",
    )
    chosen.set(MQTT, "host", host)


@asynccontextmanager
async def connected(chosen: Chosen, clock: Clock) -> AsyncIterator[MqttConnection | None]:
    """A connection to the broker that was chosen; None where none was. Raises UserError."""
    if not chosen.values[MQTT]:
        yield None
        return
    settings = MqttSettings(**chosen.values[MQTT])  # type: ignore[arg-type]
    settings.check()
    # Another name than the meter's, which may be running.
    connection = MqttConnection(settings, f"setup-{secrets.token_hex(4)}", clock)
    task = asyncio.create_task(connection.run())
    try:
        yield connection
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
