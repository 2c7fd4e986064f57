"""The submitter against a node with the real contracts: whatever fails, each reading is charged exactly once."""

import asyncio
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from contracts.addresses import EXHAUSTION_ADDRESS, METER_ADDRESS
from contracts.reading_format import MAX_BATCH
from meter.backoff import MAX_BACKOFF_S
from meter.ledger import MeterLedger
from meter.submitter import BACKLOG_HURRY
from primitives.secp256k1 import address_of
from tests.meter.fake_node import (
    BLOCK_TIME_S,
    GENESIS_TIME_S,
    OTHER_KEY,
    Failure,
)
from tests.meter.submitter_scene import BATCH, SETTINGS, Scene, idle
from wallet.client import NodeUnreachable


async def test_every_call_fails_once_before_and_after_its_effect(tmp_path: Path) -> None:
    folder = tmp_path / "clean"
    scene = Scene(folder)
    await scene.submitter.adopt()
    scene.node.calls.clear()
    first_call = scene.node.call_count + 1
    scene.measure(5)
    await scene.settle()
    calls = list(scene.node.calls)
    scene.outbox.close()
    assert {"send_raw", "call", "estimate_gas", "receipt", "logs", "nonce", "block_number"} <= set(calls)
    for number, method in enumerate(calls, first_call):
        for is_after in (False, True):
            scene = Scene(tmp_path / f"{number}-{is_after}")
            await scene.submitter.adopt()
            scene.node.failures = [Failure(number, NodeUnreachable(f"{method} timed out"), is_after)]
            scene.measure(5)
            await scene.settle()
            scene.check_charged_once(5)
            scene.outbox.close()


async def test_crash_at_every_call(tmp_path: Path) -> None:
    """A power cut while a call is under way: the outbox on the disk and the ledger are all that is left."""
    for number in range(1, 40):
        for is_after in (False, True):
            scene = Scene(tmp_path / f"{number}-{is_after}")
            await scene.submitter.adopt()
            scene.measure(3)
            scene.node.failures = [Failure(scene.node.call_count + number, KeyboardInterrupt(), is_after)]
            crashed = False
            for _ in range(10):
                try:
                    await scene.settle()
                    break
                except KeyboardInterrupt:
                    scene.crash()
                    crashed = True
            scene.check_charged_once(3)
            assert len(set(scene.node.accepted_raw)) == 1, "the same bytes were sent again, not another transaction"
            scene.outbox.close()
            if not crashed:
                return
    raise AssertionError("the round makes more calls than this test goes through")


async def test_node_down_readings_wait(scene: Scene) -> None:
    scene.node.is_down = True
    scene.measure(4)
    with pytest.raises(NodeUnreachable):
        await scene.submitter.step()
    scene.node.is_down = False
    await scene.settle()
    scene.check_charged_once(4)


async def test_run_goes_on_after_failures_and_stops_on_a_foreign_ledger(scene: Scene) -> None:
    scene.measure(1)
    scene.node.is_down = True
    task = asyncio.create_task(scene.submitter.run())
    await idle()
    assert not scene.submitter.is_reachable
    scene.node.is_down = False
    scene.clock.advance_s(MAX_BACKOFF_S)
    await idle()
    assert len(scene.node.pool) == 1
    assert scene.submitter.is_reachable
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_wake_sends_without_waiting_for_the_poll(scene: Scene) -> None:
    task = asyncio.create_task(scene.submitter.run())
    await idle()
    scene.measure(1)
    scene.submitter.wake()
    await idle()
    assert len(scene.node.pool) == 1
    assert scene.clock.now_s == GENESIS_TIME_S
    calls = scene.node.call_count
    await idle()
    assert scene.node.call_count == calls, "awake once for one call"
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_somebody_else_carried_the_readings(scene: Scene) -> None:
    scene.measure(3)
    data = MeterLedger(scene.node, METER_ADDRESS, EXHAUSTION_ADDRESS).batch_call(scene.outbox.waiting(0, 10))
    scene.node.transact(address_of(OTHER_KEY), METER_ADDRESS, data)
    await scene.settle()
    scene.check_charged_once(3)
    assert scene.node.accepted_raw == []


async def test_batches_are_bounded_and_fill_the_pipeline(scene: Scene) -> None:
    count = MAX_BATCH * 2 + 7
    scene.measure(count)
    await scene.submitter.step()
    assert [one.last_sequence for one in scene.outbox.transactions()] == [MAX_BATCH, 2 * MAX_BATCH, count]
    await scene.settle()
    scene.check_charged_once(count)


async def test_backlog_is_sent_as_far_as_nodes_hold_it_and_looked_after_more_often(
    small_batches: None, scene: Scene
) -> None:
    scene.settings = replace(SETTINGS, max_in_flight=2)
    scene.crash()
    await scene.submitter.adopt()
    scene.measure(3 * BATCH)
    assert await scene.submitter.step(), "a third batch waits for nothing but the first two"
    assert len(scene.outbox.transactions()) == 2
    assert scene.clock.now_s == GENESIS_TIME_S
    running = asyncio.ensure_future(scene.submitter.run())
    await idle()
    scene.node.mine()
    scene.clock.advance_s(SETTINGS.poll_interval_s / BACKLOG_HURRY)
    await idle()
    assert [one.last_sequence for one in scene.outbox.transactions()][-1] == 3 * BATCH
    running.cancel()


async def test_readings_that_come_while_others_are_under_way_go_together(scene: Scene) -> None:
    scene.measure(1)
    assert not await scene.submitter.step()
    for _ in range(3):
        scene.measure(1)
        assert not await scene.submitter.step()
    assert [one.last_sequence for one in scene.outbox.transactions()] == [1]
    scene.node.mine()
    await scene.submitter.step()
    assert [one.last_sequence for one in scene.outbox.transactions()] == [1, 4]
    await scene.settle()
    scene.check_charged_once(4)
    assert len(scene.node.accepted_raw) == 2


async def test_no_reading_waits_for_others_beyond_the_next_block(scene: Scene) -> None:
    scene.measure(1)
    await scene.submitter.step()
    scene.measure(1)
    await scene.submitter.step()
    scene.node.mine(is_empty=True)  # the first transaction came too late for it
    scene.measure(1)
    await scene.submitter.step()
    assert [one.last_sequence for one in scene.outbox.transactions()] == [1, 3]
    scene.measure(1)
    await scene.submitter.step()
    assert [one.last_sequence for one in scene.outbox.transactions()] == [1, 3]
    await scene.settle()
    scene.check_charged_once(4)


async def test_the_block_that_held_back_readings_wait_for_is_looked_out_for(scene: Scene) -> None:
    running = asyncio.ensure_future(scene.submitter.run())
    await idle()
    for _ in range(2):
        scene.measure(1)
        scene.submitter.wake()
        await idle()
    assert len(scene.outbox.transactions()) == 1
    scene.node.mine()
    scene.clock.advance_s(SETTINGS.poll_interval_s / BACKLOG_HURRY)
    await idle()
    assert [one.last_sequence for one in scene.outbox.transactions()] == [1, 2]
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


async def test_where_it_matters_they_go_at_once_up_to_a_number(scene: Scene) -> None:
    scene.settings = replace(SETTINGS, prompt_transactions=2)
    scene.crash()
    await scene.submitter.adopt()
    for _ in range(4):
        scene.measure(1)
        await scene.submitter.step()
    assert [one.last_sequence for one in scene.outbox.transactions()] == [1, 2]
    await scene.settle()
    scene.check_charged_once(4)


async def test_a_full_disk_is_waited_for(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    scene.measure(3)
    connection = scene.outbox.database.connection
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count = {pages}")
    running = asyncio.ensure_future(scene.submitter.run())
    await idle()
    assert "readings wait in the outbox: THE DISK IS FULL" in caplog.text
    connection.execute("PRAGMA max_page_count = 100000")
    for _ in range(10):
        scene.clock.advance_s(BLOCK_TIME_S)
        await idle()
        scene.node.mine()
    scene.check_charged_once(3)
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


async def test_without_news_one_question_has_to_do(scene: Scene) -> None:
    """A node answers hundreds of meters: between two blocks each asks for no more than the newest block."""
    scene.measure(1)
    task = asyncio.create_task(scene.submitter.run())
    await idle()
    scene.node.mine(3)
    for _ in range(2):
        scene.clock.advance_s(SETTINGS.poll_interval_s)
        await idle()
    scene.node.calls.clear()
    scene.clock.advance_s(SETTINGS.poll_interval_s)
    await idle()
    assert scene.node.calls == ["block_number"]
    scene.node.mine()
    scene.clock.advance_s(SETTINGS.poll_interval_s)
    await idle()
    assert "call" in scene.node.calls
    task.cancel()


async def test_what_is_in_no_block_is_sent_again_though_there_is_none(scene: Scene) -> None:
    scene.measure(1)
    task = asyncio.create_task(scene.submitter.run())
    await idle()
    scene.node.pool.clear()
    for _ in range(int(SETTINGS.resend_after_s / SETTINGS.poll_interval_s) + 1):
        scene.clock.advance_s(SETTINGS.poll_interval_s)
        await idle()
    assert len(scene.node.pool) == 1
    task.cancel()
