"""Signed readings found again in transactions: alone, in batches, over many blocks, and where they are not."""

from collections.abc import Sequence
from typing import Any

import pytest

from contracts.addresses import METER_ADDRESS
from contracts.binding import load_artifact
from primitives.errors import UserError
from primitives.hexadecimal import to_data
from primitives.keccak import keccak256
from tests.contracts.neighbourhood import Device, SignedReading
from wallet.answers import Log
from wallet.client import InvalidAnswer, RpcClient
from wallet.signed_readings import WINDOW_BLOCKS, readings_around

METER = load_artifact("Meter")
ACCEPTED = METER.abi.event("ReadingAccepted")
SUPPLIER = b"\x05" * 20


class Chain(RpcClient):
    """A node's answers about blocks with readings, one transaction each."""

    def __init__(self, height: int) -> None:
        super().__init__("http://127.0.0.1:1")
        self.height = height
        self.found: list[Log] = []
        self.inputs: dict[str, object] = {}
        self.windows: list[tuple[int, int]] = []

    def add(self, block: int, signed: SignedReading, data: object = None) -> None:
        fields = signed[0]
        transaction_hash = keccak256(repr((block, fields)).encode())
        topics = [ACCEPTED.topic, fields[0].rjust(32, b"\0"), SUPPLIER.rjust(32, b"\0")]  # type: ignore[attr-defined]
        words = [int(str(value)) % 2**256 for value in fields[1:7]]
        body = b"".join([word.to_bytes(32, "big") for word in words]) + bytes(fields[7])  # type: ignore[call-overload]
        self.found.append(Log(METER_ADDRESS, tuple(topics), body, block, bytes(32), transaction_hash, 0, False))
        self.inputs[to_data(transaction_hash)] = (
            to_data(METER.abi.encode_call("submit", [signed])) if data is None else data
        )

    async def block_number(self) -> int:
        return self.height

    async def logs(
        self, addresses: Any = (), topics: Any = (), from_block: Any = "latest", to_block: Any = "latest"
    ) -> list[Log]:
        self.windows.append((from_block, to_block))
        assert addresses == [METER_ADDRESS]
        return [log for log in self.found if from_block <= log.block_number <= to_block and log.topics[1] == topics[1]]

    async def request(self, method: str, *parameters: object) -> object:
        assert method == "eth_getTransactionByHash"
        return {"input": self.inputs[str(parameters[0])]}


def history(times_s: Sequence[int]) -> tuple[Device, list[SignedReading]]:
    device = Device("one")
    signed = []
    for time_s in times_s:
        device.time_s = time_s
        signed.append(device.measure(import_wh=10))
    return device, signed


async def around(chain: Chain, device: Device, time_s: int) -> tuple[SignedReading, SignedReading]:
    earlier, later = await readings_around(chain, device.address, time_s)
    return (earlier.fields, earlier.r, earlier.vs), (later.fields, later.r, later.vs)


async def test_the_readings_before_and_after_a_time() -> None:
    device, signed = history([1_000, 1_900, 2_800])
    chain = Chain(50)
    for number, one in enumerate(signed):
        chain.add(10 + number, one)
    for time_s, first in ((1_001, 0), (1_900, 0), (1_901, 1), (2_800, 1)):
        assert await around(chain, device, time_s) == (signed[first], signed[first + 1])


async def test_out_of_a_batch_with_readings_of_others() -> None:
    device, signed = history([1_000, 1_900])
    other = Device("other").measure()
    batch = to_data(METER.abi.encode_call("submitBatch", [[other, *signed]]))
    chain = Chain(50)
    for one in signed:
        chain.add(10, one, batch)
    chain.add(10, other, batch)
    assert await around(chain, device, 1_500) == (signed[0], signed[1])


async def test_blocks_are_looked_through_backwards() -> None:
    device, signed = history([1_000, 1_900])
    chain = Chain(3 * WINDOW_BLOCKS)
    chain.add(7, signed[0])
    chain.add(3 * WINDOW_BLOCKS - 1, signed[1])
    assert await around(chain, device, 1_500) == (signed[0], signed[1])
    assert [last - first + 1 for first, last in chain.windows[:3]] == [WINDOW_BLOCKS] * 3
    assert chain.windows[-1][0] <= 7


@pytest.mark.parametrize(("time_s", "why"), [(500, "no reading .* before"), (2_000, "no reading .* after .* yet")])
async def test_what_is_not_there(time_s: int, why: str) -> None:
    device, signed = history([1_000, 1_900])
    chain = Chain(50)
    for number, one in enumerate(signed):
        chain.add(10 + number, one)
    with pytest.raises(UserError, match=why):
        await readings_around(chain, device.address, time_s)


@pytest.mark.parametrize("data", ["0x12345678", "0x"])
async def test_readings_that_came_through_another_contract(data: str) -> None:
    device, signed = history([1_000, 1_900])
    chain = Chain(50)
    for one in signed:
        chain.add(10, one, data)
    with pytest.raises(UserError, match="through another contract"):
        await readings_around(chain, device.address, 1_500)


@pytest.mark.parametrize("data", [None, 7, "rubbish", to_data(METER.abi.function("submit").selector + b"\x01")])
async def test_a_node_that_answers_rubbish(data: object) -> None:
    device, signed = history([1_000, 1_900])
    chain = Chain(50)
    for one in signed:
        chain.add(10, one, data if data is not None else 0)
    with pytest.raises(InvalidAnswer):
        await readings_around(chain, device.address, 1_500)
