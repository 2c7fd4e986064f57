"""A Shelly of the second generation with one switch, as it behaves at a broker; it also misbehaves."""

import asyncio
import json
from typing import Any

from tests.meter.broker import Broker

DEVICE = "shellyplus1-a8032ab12345"


class SimulatedShelly:
    """Answers as the device does; `garbage` goes before each answer, `mood` is how it misbehaves."""

    def __init__(self) -> None:
        self.output = False
        self.mood = ""
        self.garbage: list[bytes] = []
        self.calls: list[dict[str, Any]] = []
        self.is_listening, self.is_called = asyncio.Event(), asyncio.Event()

    async def run(self, broker: Broker) -> None:
        async with broker.client() as client:
            await client.subscribe(f"{DEVICE}/rpc", qos=1)
            self.is_listening.set()
            async for message in client.messages:
                call = json.loads(message.payload)
                self.calls.append(call)
                answer = self.answer(call)
                self.is_called.set()
                for payload in self.garbage:
                    await client.publish(f"{call['src']}/rpc", payload)
                if answer is not None:
                    await client.publish(f"{call['src']}/rpc", json.dumps(answer).encode())

    def answer(self, call: dict[str, Any]) -> dict[str, Any] | None:
        frame = {"id": call["id"], "src": DEVICE, "dst": call["src"]}
        if self.mood == "silent":
            return None
        if call["params"]["id"] != 0 or self.mood == "refusing":
            return frame | {"error": {"code": -105, "message": "Argument 'id', value 7 not found!"}}
        if call["method"] == "Switch.Set":
            was_on = self.output
            if self.mood != "stuck":
                self.output = call["params"]["on"]
            return frame | {"result": {"was_on": was_on}}
        output: Any = "yes" if self.mood == "lying" else self.output
        return frame | {"result": {"id": 0, "source": "MQTT", "output": output, "apower": 8.9, "voltage": 237.5}}
