"""Answers about the contracts: none where there is none, nonsense, and numbers that cannot be."""

import pytest

from contracts.addresses import EXHAUSTION_ADDRESS, METER_ADDRESS
from meter.ledger import MeterLedger
from primitives.errors import UserError
from tests.meter.fake_node import (
    GENESIS_TIME_S,
    METER,
)
from tests.meter.submitter_scene import Scene
from wallet.client import InvalidAnswer


async def test_ledger_without_the_contract(scene: Scene) -> None:
    ledger = MeterLedger(scene.node, b"\x77" * 20, b"\x77" * 20)
    with pytest.raises(UserError, match="there is no Meter contract"):
        await ledger.last_reading(METER)
    with pytest.raises(UserError, match="there is no Exhaustion contract"):
        await ledger.supply_allowed(METER, GENESIS_TIME_S, "latest")


@pytest.mark.parametrize("answer", [b"", b"\x01", b"\xff" * 32 * 7, b"\x00" * 31])
async def test_a_contract_that_has_answered_is_there_whatever_a_node_says_later(scene: Scene, answer: bytes) -> None:
    ledger = MeterLedger(scene.node, METER_ADDRESS, EXHAUSTION_ADDRESS)
    await ledger.last_reading(METER)
    await ledger.supply_allowed(METER, GENESIS_TIME_S, "latest")

    async def lie(*_: object) -> bytes:
        return answer

    scene.node.call = lie  # type: ignore[method-assign, assignment]
    with pytest.raises(InvalidAnswer):
        await ledger.last_reading(METER)
    with pytest.raises(InvalidAnswer):
        await ledger.supply_allowed(METER, GENESIS_TIME_S, "latest")


@pytest.mark.parametrize(
    "lie", [(2**48, 0, 0, 0), (1, 2**37 + 1, 0, 0), (1, 2**63, 0, 0), (1, 0, 2**53, 0), (1, 0, 0, 2**64 - 1)]
)
async def test_a_last_reading_that_cannot_be_is_none(scene: Scene, lie: tuple[int, ...]) -> None:
    async def answer(*_: object) -> bytes:
        words = [*lie, 0, 0]
        return b"".join(word.to_bytes(32, "big") for word in words) + b"\x05" * 32

    scene.node.call = answer  # type: ignore[method-assign, assignment]
    with pytest.raises(InvalidAnswer):
        await scene.submitter.adopt()
