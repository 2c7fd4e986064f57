"""When readings leave the outbox: by events that are deep enough, in stretches that nodes answer."""

import pytest

from meter.log_stretches import MAX_LOG_BLOCKS
from meter.settling import MAX_STRETCHES
from tests.meter.submitter_scene import SETTINGS, Scene


async def test_reading_leaves_only_when_deep_enough(scene: Scene) -> None:
    scene.measure(3)
    await scene.submitter.step()
    assert scene.outbox.count() == 3
    scene.node.mine()
    for _ in range(SETTINGS.confirmations):
        await scene.submitter.step()
        assert scene.outbox.count() == 3
        assert len(scene.outbox.transactions()) == 1, "a reorganisation may still throw it out"
        scene.node.mine()
    await scene.submitter.step()
    scene.check_charged_once(3)
    assert len(scene.node.accepted_raw) == 1
    assert scene.outbox.transactions() == []


async def test_too_many_events_for_one_answer(scene: Scene) -> None:
    for _ in range(3):
        scene.measure(2)
        await scene.submitter.step()
        scene.node.mine()
        scene.crash()
    scene.node.max_logs = 3
    scene.node.mine(5)
    await scene.settle()
    scene.check_charged_once(6)


async def test_a_node_that_named_a_block_to_come_makes_no_reading_stay(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def block_number() -> int:
        return 2**40

    scene.measure(2)
    with monkeypatch.context() as patch:
        patch.setattr(scene.node, "block_number", block_number)
        await scene.submitter.step()
    scene.crash()
    await scene.settle()
    scene.check_charged_once(2)
    assert scene.outbox.confirmed_block() <= scene.node.blocks[-1].number
    scene.crash()
    scene.measure(2)
    await scene.settle()
    scene.check_charged_once(4)


async def test_after_long_offline_readings_go_before_all_blocks_are_looked_through(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.measure(3)
    missed = 3 * MAX_STRETCHES * MAX_LOG_BLOCKS

    async def block_number() -> int:
        return missed + scene.node.blocks[-1].number

    monkeypatch.setattr(scene.node, "block_number", block_number)
    assert await scene.submitter.step(), "there is more to do"
    assert len(scene.outbox.transactions()) == 1
    assert scene.node.calls.count("logs") <= MAX_STRETCHES
    for _ in range(3):
        await scene.submitter.step()
    assert scene.outbox.confirmed_block() >= missed - MAX_LOG_BLOCKS
