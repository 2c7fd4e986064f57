"""One bad reading is found and set aside; those that only have to wait do, and nobody is blamed for the ledger."""

from dataclasses import replace
from pathlib import Path

import pytest

from meter.signer import KeySigner
from tests.meter.fake_node import (
    BLOCK_TIME_S,
    GENESIS_TIME_S,
    METER_KEY,
    FakeNode,
)
from tests.meter.submitter_scene import DOMAIN, STEP_WH, Scene
from wallet.client import RpcError


async def test_poisoned_reading_is_set_aside_and_the_others_go_on(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    scene.measure(9)
    late = scene.outbox.waiting(3, 1)[0].reading
    poisoned = DOMAIN.sign(replace(late, time_s=late.time_s - 1), KeySigner(METER_KEY))
    with scene.outbox.database.transaction() as connection:
        connection.execute(
            "UPDATE readings SET time_s = ?, hash = ?, r = ?, vs = ? WHERE sequence = 4",
            (late.time_s - 1, poisoned.reading.hash, *poisoned.signature),
        )
    await scene.settle()
    assert scene.node.accepted_sequences() == [1, 2, 3, 5, 6, 7, 8, 9]
    assert scene.node.charged_wh() == 9 * STEP_WH
    assert [one.signed.reading.sequence for one in scene.outbox.quarantined(9)] == [4]
    assert "READING 4 IS SET ASIDE: the ledger refuses it: time fell" in caplog.text


async def test_reading_for_which_the_contract_reverts_is_found_by_halves(scene: Scene) -> None:
    scene.measure(9)
    poisoned = scene.outbox.waiting(4, 1)[0].signature.r
    honest_call = scene.node.call

    async def call(to: bytes, data: bytes, *rest: object) -> bytes:
        if poisoned in data:
            raise RpcError("eth_call", 3, "execution reverted", "0x")
        return await honest_call(to, data, *rest)  # type: ignore[arg-type]

    scene.node.call = call  # type: ignore[method-assign, assignment]
    await scene.settle()
    assert scene.node.accepted_sequences() == [1, 2, 3, 4, 6, 7, 8, 9]
    assert [one.quarantined for one in scene.outbox.quarantined(9)] == ["the contract reverts for this reading alone"]


async def test_contract_that_reverts_for_all_blames_no_reading(scene: Scene) -> None:
    scene.measure(5)
    honest_call = scene.node.call

    async def call(to: bytes, data: bytes, *rest: object) -> bytes:
        if len(data) > 100:
            raise RpcError("eth_call", 3, "execution reverted", "0x")
        return await honest_call(to, data, *rest)  # type: ignore[arg-type]

    scene.node.call = call  # type: ignore[method-assign, assignment]
    with pytest.raises(RpcError, match="execution reverted"):
        await scene.submitter.step()
    assert scene.outbox.count_quarantined() == 0
    scene.node.call = honest_call  # type: ignore[method-assign]
    await scene.settle()
    scene.check_charged_once(5)


async def test_reading_ahead_of_the_ledgers_clock_waits(scene: Scene) -> None:
    scene.measure(1)
    scene.measure(2, time_s=GENESIS_TIME_S + 100 * BLOCK_TIME_S)
    for _ in range(3):
        await scene.submitter.step()
        scene.node.mine()
    assert scene.node.accepted_sequences() == [1]
    scene.node.mine(100)
    await scene.settle()
    scene.check_charged_once(3)


async def test_reading_long_after_the_newest_block_is_sent(scene: Scene) -> None:
    """A node that makes blocks only where there is something to put in them must not wait for one."""
    scene.clock.now_s += 100_000
    scene.node.block_time_s = 100_001
    scene.measure(2, time_s=scene.clock.time_s())
    await scene.submitter.step()
    scene.node.mine()
    assert scene.node.accepted_sequences() == [1, 2]


async def test_unregistered_meter_waits_for_its_supplier(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene(tmp_path, FakeNode(meter=None))
    await scene.submitter.adopt()
    scene.measure(2)
    for _ in range(5):
        await scene.submitter.step()
    assert scene.node.accepted_raw == []
    assert caplog.text.count("reading 1 has to wait: unknown meter") == 1
    assert scene.outbox.count_quarantined() == 0
    scene.outbox.close()
