"""The submitter against a node with the real contracts: whatever fails, each reading is charged exactly once."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from contracts.addresses import EXHAUSTION_ADDRESS, METER_ADDRESS
from contracts.reading_format import MAX_BATCH
from meter.backoff import MAX_BACKOFF_S
from meter.drivers.driver import Registers
from meter.head import Head
from meter.ledger import MeterLedger, NodeTrouble
from meter.outbox import Outbox
from meter.reading import Reading, ReadingDomain, SignedReading
from meter.signer import KeySigner
from meter.submitter import (
    BACKLOG_HURRY,
    MAX_ATTEMPTS,
    MAX_LOG_BLOCKS,
    MAX_STRETCHES,
    Submitter,
    SubmitterSettings,
)
from primitives.clock import ManualClock
from primitives.errors import UserError
from primitives.secp256k1 import address_of
from tests.meter.fake_node import (
    BLOCK_TIME_S,
    CHAIN_ID,
    GENESIS_TIME_S,
    METER,
    METER_KEY,
    OTHER_KEY,
    SENDER_KEY,
    Failure,
    FakeNode,
)
from wallet.client import BlockTag, InvalidAnswer, NodeUnreachable, RpcError

DOMAIN = ReadingDomain(CHAIN_ID, METER_ADDRESS)
SETTINGS = SubmitterSettings(confirmations=2, poll_interval_s=5, resend_after_s=60)
STEP_WH = 1000


class Scene:
    """A node, an outbox and a submitter that can be thrown away and made anew, as a crash does."""

    def __init__(
        self,
        folder: Path,
        node: FakeNode | None = None,
        settings: SubmitterSettings = SETTINGS,
        meter_key: bytes = METER_KEY,
    ) -> None:
        self.path = folder / "outbox.sqlite"
        self.meter_key, self.meter = meter_key, address_of(meter_key)
        self.node = node or FakeNode()
        self.settings = settings
        self.clock = ManualClock(GENESIS_TIME_S)
        self.node.clock = self.clock
        self.outbox = Outbox.open(self.path, DOMAIN, self.meter)
        self.submitter = self._new_submitter()

    def _new_submitter(self) -> Submitter:
        ledger = MeterLedger(self.node, METER_ADDRESS, EXHAUSTION_ADDRESS)
        return Submitter(self.outbox, ledger, KeySigner(SENDER_KEY), self.clock, self.settings, random.Random(1))

    def crash(self) -> None:
        self.outbox.close()
        self.outbox = Outbox.open(self.path, DOMAIN, self.meter)
        self.submitter = self._new_submitter()

    def measure(self, count: int = 1, *, time_s: int | None = None) -> None:
        for _ in range(count):
            signed = self.next_reading(time_s)
            self.outbox.append(signed, b"state")

    def next_reading(self, time_s: int | None = None) -> SignedReading:
        head = self.outbox.head()
        assert head is not None
        last = head.registers
        sequence = head.sequence + 1
        time_s = max(last.time_s, GENESIS_TIME_S) if time_s is None else time_s
        reading = Reading(self.meter, sequence, time_s, last.import_wh + STEP_WH, 0, 5, 0, head.hash)
        return DOMAIN.sign(reading, KeySigner(self.meter_key))

    async def settle(self, rounds: int = 40) -> None:
        """Rounds of the submitter with a block after each, as they come, until nothing waits."""
        for _ in range(rounds):
            with suppress(*NodeTrouble):
                await self.submitter.step()
            self.node.mine()
            self.clock.advance_s(BLOCK_TIME_S)
            if self.outbox.count() == self.outbox.count_quarantined() and not self.outbox.transactions():
                return
        raise AssertionError(f"{self.outbox.count()} readings, {len(self.outbox.transactions())} transactions left")

    def check_charged_once(self, count: int) -> None:
        assert self.node.accepted_sequences() == list(range(1, count + 1))
        assert self.node.charged_wh() == count * STEP_WH
        assert self.outbox.count() == 0


async def idle() -> None:
    """Let the other tasks run until all of them wait; the fake node answers without waiting."""
    for _ in range(200):
        await asyncio.sleep(0)


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    made = Scene(tmp_path)
    await made.submitter.adopt()
    yield made
    made.outbox.close()  # which one that is, crashes have decided


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


async def test_the_same_bytes_are_sent_again_to_a_node_that_has_them(scene: Scene) -> None:
    scene.measure(1)
    await scene.submitter.step()
    stored = scene.outbox.transactions()
    scene.node.mine(is_empty=True)
    for _ in range(3):
        scene.clock.advance_s(SETTINGS.resend_after_s)
        await scene.submitter.step()
        assert scene.outbox.transactions() == stored
    assert scene.node.calls.count("send_raw") == 4
    await scene.settle()
    scene.check_charged_once(1)


async def test_reorganisation_drops_the_block_and_the_pool(scene: Scene) -> None:
    scene.measure(2)
    await scene.submitter.step()
    scene.node.mine()
    await scene.submitter.step()
    scene.node.reorganise(1, forget_pool=True)
    assert scene.node.accepted_sequences() == []
    scene.clock.advance_s(SETTINGS.resend_after_s)
    await scene.settle()
    scene.check_charged_once(2)
    assert len(set(scene.node.accepted_raw)) == 1


async def test_reorganisation_below_what_was_forgotten_as_deep(scene: Scene) -> None:
    """The account's nonce falls back: later transactions would wait for ever behind the gap."""
    scene.measure(1)
    await scene.settle()
    scene.measure(1)
    await scene.submitter.step()
    assert scene.outbox.transactions()[0].nonce == 1
    scene.node.reorganise(scene.node.blocks[-1].number, forget_pool=True)
    scene.node.mine(5, is_empty=True)
    scene.clock.advance_s(SETTINGS.resend_after_s)
    await scene.settle()
    # The first reading is lost with its blocks, its energy is not: registers are cumulative.
    assert scene.node.accepted_sequences() == [2]
    assert scene.node.charged_wh() == 2 * STEP_WH


async def test_somebody_else_carried_the_readings(scene: Scene) -> None:
    scene.measure(3)
    data = MeterLedger(scene.node, METER_ADDRESS, EXHAUSTION_ADDRESS).batch_call(scene.outbox.waiting(0, 10))
    scene.node.transact(address_of(OTHER_KEY), METER_ADDRESS, data)
    await scene.settle()
    scene.check_charged_once(3)
    assert scene.node.accepted_raw == []


async def test_another_program_takes_the_nonce(scene: Scene) -> None:
    scene.measure(2)
    await scene.submitter.step()
    scene.node.pool.clear()
    scene.node.transact(scene.submitter.sender, address_of(OTHER_KEY), b"", 1)
    await scene.submitter.step()
    assert [one.nonce for one in scene.outbox.transactions()] == [1], "found at once, not when it is time to send again"
    await scene.settle()
    scene.check_charged_once(2)


@pytest.mark.parametrize("chain_forgets", [False, True])
async def test_two_meters_with_one_account_take_nonces_from_each_other(tmp_path: Path, chain_forgets: bool) -> None:
    node = FakeNode(neighbours=[address_of(OTHER_KEY)])
    scenes = [Scene(tmp_path / "one", node), Scene(tmp_path / "two", node, meter_key=OTHER_KEY)]
    node.clock = scenes[0].clock
    answer = node.nonce

    async def late_answer(address: bytes, block: BlockTag = "pending") -> int:
        nonce = await answer(address, block)
        await asyncio.sleep(0)  # so that both act on the same answer
        return nonce

    node.nonce = late_answer  # type: ignore[method-assign]
    chance = random.Random(3)
    for scene in scenes:
        await scene.submitter.adopt()
    for round_number in range(30):
        if round_number < 20:
            for scene in scenes:
                scene.measure(chance.randrange(3))
        await asyncio.gather(*[scene.submitter.step() for scene in scenes], return_exceptions=True)
        if chain_forgets and chance.random() < 0.2:
            node.reorganise(min(chance.randrange(1, 3), len(node.blocks) - 1), forget_pool=chance.random() < 0.5)
        node.mine()
        for scene in scenes:
            scene.clock.advance_s(BLOCK_TIME_S)
    for scene in scenes:
        with closing(scene.outbox):
            await scene.settle()
            head = scene.outbox.head()
            assert head is not None
            assert head.sequence > 10
            assert node.charged_wh(scene.meter) == head.registers.import_wh
            # Where transactions vanish from chain and pool a later reading may overtake; it carries the energy.
            assert scene.outbox.count() == scene.outbox.count_quarantined()
            assert chain_forgets or scene.outbox.count() == 0


async def test_batches_are_bounded_and_fill_the_pipeline(scene: Scene) -> None:
    count = MAX_BATCH * 2 + 7
    scene.measure(count)
    await scene.submitter.step()
    assert [one.last_sequence for one in scene.outbox.transactions()] == [MAX_BATCH, 2 * MAX_BATCH, count]
    await scene.settle()
    scene.check_charged_once(count)


BATCH = 5


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("meter.submitter.MAX_BATCH", BATCH)


async def test_backlog_is_sent_as_far_as_nodes_hold_it_and_looked_after_more_often(
    tmp_path: Path, small_batches: None
) -> None:
    scene = Scene(tmp_path, settings=replace(SETTINGS, max_in_flight=2))
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


async def test_node_that_holds_no_more_of_a_sender_is_no_reason_for_smaller_batches(
    tmp_path: Path, small_batches: None
) -> None:
    scene = Scene(tmp_path)
    await scene.submitter.adopt()
    scene.measure(3 * BATCH)
    honest_send = scene.node.send_raw

    async def send(raw: bytes) -> bytes:
        if len(scene.node.pool) == 2:
            raise RpcError("eth_sendRawTransaction", -32000, "gas allowance exceeded: 8520000 gas wait already")
        return await honest_send(raw)

    scene.node.send_raw = send  # type: ignore[method-assign]
    assert await scene.submitter.step()
    assert [one.last_sequence for one in scene.outbox.transactions()] == [BATCH, 2 * BATCH]
    await scene.settle()
    scene.check_charged_once(3 * BATCH)
    assert len(scene.node.accepted_raw) == 3


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


async def test_where_it_matters_they_go_at_once_up_to_a_number(tmp_path: Path) -> None:
    scene = Scene(tmp_path, settings=replace(SETTINGS, prompt_transactions=2))
    await scene.submitter.adopt()
    for _ in range(4):
        scene.measure(1)
        await scene.submitter.step()
    assert [one.last_sequence for one in scene.outbox.transactions()] == [1, 2]
    await scene.settle()
    scene.check_charged_once(4)


async def test_one_estimate_serves_a_round_and_one_that_was_too_low_is_not_used_again(
    tmp_path: Path, small_batches: None
) -> None:
    scene = Scene(tmp_path)
    await scene.submitter.adopt()
    scene.measure(3 * BATCH)
    await scene.submitter.step()
    assert scene.node.calls.count("estimate_gas") == 1
    assert len(scene.outbox.transactions()) == 3
    scene.node.mine(gas_left=60_000)
    await scene.settle()
    scene.check_charged_once(3 * BATCH)


@pytest.mark.parametrize(
    "change",
    [
        "raw = x'00'",
        "raw = x'', max_fee_per_gas = 'much'",
        "hash = zeroblob(32)",
        "nonce = 9223372036854775807",
        "nonce = -1",
        "max_fee_per_gas = '-7'",
        "sender = x'01'",
        "last_sequence = 9223372036854775807",
    ],
)
async def test_transaction_that_was_altered_in_the_outbox_is_signed_anew(scene: Scene, change: str) -> None:
    scene.node.base_fee = 7
    scene.measure(3)
    await scene.submitter.step()
    scene.node.pool.clear()
    scene.node.base_fee = 70
    with scene.outbox.database.transaction() as connection:
        connection.execute(f"UPDATE transactions SET {change}")
    scene.crash()
    await scene.settle()
    scene.check_charged_once(3)


async def test_small_blocks_make_small_batches(scene: Scene) -> None:
    scene.node.gas_limit = 1_000_000
    scene.measure(60)
    await scene.settle(80)
    scene.check_charged_once(60)


async def test_failed_transaction_is_halved_and_each_reading_charged_once(scene: Scene) -> None:
    scene.measure(8)
    await scene.submitter.step()
    scene.node.mine(gas_left=60_000)
    assert scene.node.accepted_sequences() == []
    await scene.settle()
    scene.check_charged_once(8)
    assert len(scene.node.accepted_raw) > 2


async def test_reading_that_always_fails_alone_is_set_aside_loudly(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    scene.measure(1)
    for _ in range(MAX_ATTEMPTS):
        await scene.submitter.step()
        scene.node.mine(gas_left=1000)
    await scene.submitter.step()
    assert [one.quarantined for one in scene.outbox.quarantined(9)] == [f"its transaction failed {MAX_ATTEMPTS} times"]
    assert "READING 1 IS SET ASIDE" in caplog.text
    scene.measure(1)
    await scene.settle()
    assert scene.node.accepted_sequences() == [2]
    assert scene.node.charged_wh() == 2 * STEP_WH
    assert scene.outbox.count() == 1, "the reading that was set aside is kept"


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


async def test_underpriced_transaction_is_offered_again_for_more(scene: Scene) -> None:
    scene.node.base_fee = 1000
    scene.measure(1)
    await scene.submitter.step()
    (first,) = scene.outbox.transactions()
    scene.node.base_fee = 100_000
    scene.clock.advance_s(SETTINGS.resend_after_s)
    await scene.submitter.step()
    (second,) = scene.outbox.transactions()
    assert second.nonce == first.nonce
    assert second.max_fee_per_gas > 100_000
    await scene.settle()
    scene.check_charged_once(1)


async def test_a_node_that_asks_an_absurd_fee_gets_no_transaction(scene: Scene) -> None:
    scene.node.base_fee = 10**13  # 2 WATT and more for a reading
    scene.measure(1)
    with pytest.raises(InvalidAnswer, match=r"could cost .* WATT, more than the setting ledger\.max_fee_wei allows"):
        await scene.submitter.step()
    assert scene.outbox.transactions() == []
    assert scene.node.accepted_raw == []
    scene.node.base_fee = 1000
    await scene.settle()
    scene.check_charged_once(1)


async def test_a_fee_is_not_raised_above_what_is_allowed(scene: Scene) -> None:
    scene.node.base_fee = 1000
    scene.measure(1)
    await scene.submitter.step()
    before = scene.outbox.transactions()
    scene.node.base_fee = 10**13
    scene.clock.advance_s(SETTINGS.resend_after_s)
    await scene.submitter.step()
    assert scene.outbox.transactions() == before


async def test_node_without_money_for_the_sender_keeps_everything(scene: Scene) -> None:
    scene.measure(1)

    async def refuse(encoded_transaction: bytes) -> bytes:
        raise RpcError("eth_sendRawTransaction", -32000, "insufficient funds for gas * price + value")

    honest, scene.node.send_raw = scene.node.send_raw, refuse  # type: ignore[method-assign]
    with pytest.raises(RpcError, match="insufficient funds"):
        await scene.submitter.step()
    assert scene.outbox.transactions() == []
    scene.node.send_raw = honest  # type: ignore[method-assign]
    await scene.settle()
    scene.check_charged_once(1)


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


async def test_new_outbox_goes_on_behind_the_ledger(scene: Scene, tmp_path: Path) -> None:
    scene.measure(3)
    await scene.settle()
    second = Scene(tmp_path / "new", scene.node)
    await second.submitter.adopt()
    assert second.outbox.head() == Head(
        3,
        scene.outbox.head().hash,
        Registers(GENESIS_TIME_S, 3 * STEP_WH, 0),
        None,  # type: ignore[union-attr]
    )
    second.measure(2)
    await second.settle()
    assert scene.node.accepted_sequences() == [1, 2, 3, 4, 5]
    assert scene.node.charged_wh() == 5 * STEP_WH
    second.outbox.close()


async def test_two_devices_with_one_key_are_exposed(
    scene: Scene, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    scene.measure(1)
    clone = Scene(tmp_path / "clone", scene.node)
    await clone.submitter.adopt()
    clone.measure(1, time_s=GENESIS_TIME_S + 1)
    clone.measure(1)
    await clone.submitter.step()
    scene.node.mine()
    with pytest.raises(UserError, match="another device uses the same key"):
        await scene.submitter.step()
    scene.node.mine(3)
    with pytest.raises(UserError, match="another device"):
        await scene.submitter.step()
    assert "THE LEDGER HOLDS ANOTHER READING 1 THAN OURS" in caplog.text
    clone.outbox.close()


async def test_wrong_ledger_is_refused(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.node.blocks[0].hash = bytes(32)
    scene.crash()
    with pytest.raises(UserError, match="the node's ledger begins with block"):
        await scene.submitter.step()
    monkeypatch.setattr("tests.meter.fake_node.CHAIN_ID", 5)
    with pytest.raises(UserError, match="the node is on chain 5"):
        await scene.submitter.adopt()


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


async def test_what_was_sent_when_is_forgotten_although_something_is_always_under_way(scene: Scene) -> None:
    for _ in range(20):
        scene.measure(1)
        await scene.submitter.step()
        scene.node.mine()
    assert scene.outbox.transactions()
    assert len(scene.submitter._sent_s) <= SETTINGS.confirmations + 2


@pytest.mark.parametrize(
    "lie",
    [
        Head(1000, b"\x05" * 32, Registers(GENESIS_TIME_S + 3600, 900_000_000, 0), None),
        Head(1000, b"\x05" * 32, Registers(GENESIS_TIME_S + 3600, 3 * STEP_WH, 900_000_000), None),
        Head(1000, b"\x05" * 32, Registers(GENESIS_TIME_S + 10**9, 900_000_000, 0), None),
        Head(2**47, b"\x05" * 32, Registers(GENESIS_TIME_S + 3600, 3 * STEP_WH, 0), None),
        Head(4, b"\x05" * 32, Registers(GENESIS_TIME_S - 1, 3 * STEP_WH, 0), None),
        Head(4, b"\x05" * 32, Registers(GENESIS_TIME_S + 3600, 0, 0), None),
    ],
)
async def test_a_node_that_lies_makes_the_meter_sign_no_energy_that_nobody_used(
    scene: Scene, lie: Head, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.measure(3)
    await scene.settle()

    async def last_reading(*_: object) -> Head:
        return lie

    with monkeypatch.context() as patch:
        patch.setattr(MeterLedger, "last_reading", last_reading)
        with pytest.raises(InvalidAnswer, match="by the node's word"):
            await scene.submitter.step()  # while it runs
        scene.crash()
        with pytest.raises(InvalidAnswer, match="by the node's word"):
            await scene.submitter.adopt()  # and at a start
    assert not scene.outbox.alterations.newest(1)
    scene.measure(2)
    await scene.settle()
    scene.check_charged_once(5)


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
