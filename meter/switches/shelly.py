"""A Shelly (Gen2 and later) as a switch, by its own remote calls over MQTT; and any other switch that obeys a topic.

A call is published to `<device>/rpc` as JSON-RPC with `src`, and answered to `<src>/rpc` with the same id
(shelly-api-docs.shelly.cloud/gen2, RPC protocol, RPC channels, Switch). The answer is awaited, and the state is asked
afterwards: only what the device says of its output counts.
"""

import asyncio
import json
import secrets

from meter.mqtt import MqttConnection, MqttTrouble, Received, Subscription
from meter.switches.switch import SwitchTrouble
from primitives.json_text import InvalidJson, parse_json

# An answer of Switch.GetStatus has some 400 bytes.
MAX_ANSWER_BYTES = 8_192
MAX_TOLD_CHARACTERS = 200
ATTEMPTS = 2


class ShellySwitch:
    """One channel of one device; `device` is its topic prefix in its MQTT settings, by default its id."""

    def __init__(self, connection: MqttConnection, device: str, channel: int, timeout_s: float) -> None:
        self._connection = connection
        self._device = device
        self._channel = channel
        self._timeout_s = timeout_s
        # Nobody else listens there, and an answer to an earlier run of this program does not come here.
        self._source = f"{connection.base_topic}/calls/{secrets.token_hex(6)}"
        self._answers: Subscription = connection.subscribe(f"{self._source}/rpc")
        self._number = 0

    async def set(self, is_on: bool) -> None:
        await self._call("Switch.Set", {"id": self._channel, "on": is_on})
        if await self.state() is not is_on:
            raise SwitchTrouble(f"the Shelly {self._device} took the order, but its output does not follow")

    async def state(self) -> bool | None:
        answer = await self._call("Switch.GetStatus", {"id": self._channel})
        output = answer.get("output")
        if not isinstance(output, bool):
            raise SwitchTrouble(f"the Shelly {self._device} does not tell the state of switch {self._channel}")
        return output

    async def close(self) -> None:
        self._answers.close()

    async def _call(self, method: str, parameters: dict[str, object]) -> dict[str, object]:
        """The answer to a call, which is made twice at most: a message may get lost while a connection begins."""
        for _ in range(ATTEMPTS):
            self._number += 1
            call = {"id": self._number, "src": self._source, "method": method, "params": parameters}
            try:
                async with asyncio.timeout(self._timeout_s / ATTEMPTS):
                    await self._connection.wait_connected()
                    await self._connection.send(f"{self._device}/rpc", json.dumps(call).encode(), self._timeout_s)
                    return self._result(method, await self._answer_to(self._number))
            except MqttTrouble as error:
                raise SwitchTrouble(str(error)) from error
            except TimeoutError:
                continue
        raise SwitchTrouble(self._silence())

    async def _answer_to(self, number: int) -> dict[str, object]:
        """The frame with this id; all others are late, foreign or broken."""
        while True:
            frame = _parse(await self._answers.next())
            if frame is not None and frame.get("id") == number and not isinstance(frame.get("id"), bool):
                return frame

    def _result(self, method: str, frame: dict[str, object]) -> dict[str, object]:
        result = frame.get("result")
        if isinstance(result, dict):
            return result
        error = frame.get("error")
        reason = error.get("message") if isinstance(error, dict) else None
        told = str(reason or "no result")[:MAX_TOLD_CHARACTERS]
        raise SwitchTrouble(f"the Shelly {self._device} refuses {method} for switch {self._channel}: {told}")

    def _silence(self) -> str:
        if not self._connection.is_connected:
            return self._connection.state()
        return (
            f"the Shelly {self._device} did not answer within {self._timeout_s:g} s: is it on, is MQTT with RPC "
            "switched on in it, and is the topic prefix in its settings the same as `device` here?"
        )


class TopicSwitch:
    """A switch that takes one word for on and one for off, such as Tasmota's `cmnd/NAME/POWER`. It tells nothing."""

    def __init__(
        self, connection: MqttConnection, topic: str, on_payload: str, off_payload: str, timeout_s: float
    ) -> None:
        self._connection = connection
        self._topic = topic
        self._payloads = {True: on_payload.encode(), False: off_payload.encode()}
        self._timeout_s = timeout_s

    async def set(self, is_on: bool) -> None:
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._connection.wait_connected()
                await self._connection.send(self._topic, self._payloads[is_on], self._timeout_s)
        except (MqttTrouble, TimeoutError) as error:
            raise SwitchTrouble(str(error) or self._connection.state()) from error

    async def state(self) -> bool | None:
        return None

    async def close(self) -> None:
        pass


def _parse(message: Received) -> dict[str, object] | None:
    if message.is_retained or len(message.payload) > MAX_ANSWER_BYTES:
        return None
    try:
        frame = parse_json(message.payload)
    except InvalidJson:
        return None
    return frame if isinstance(frame, dict) else None
