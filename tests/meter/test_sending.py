"""Transactions with readings: sent again as they are, halved where they fail, paid within what the owner allows."""

import asyncio
import random
from contextlib import closing
from pathlib import Path

import pytest

from meter.sending import MAX_ATTEMPTS
from primitives.secp256k1 import address_of
from tests.meter.fake_node import (
    BLOCK_TIME_S,
    OTHER_KEY,
    FakeNode,
)
from tests.meter.submitter_scene import BATCH, SETTINGS, STEP_WH, Scene
from wallet.client import BlockTag, InvalidAnswer, RpcError


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


async def test_a_clock_that_is_set_back_holds_nothing_up(scene: Scene) -> None:
    """A node forgot what it was sent, and a time server put a clock right that was years ahead."""
    scene.measure(1)
    await scene.submitter.step()
    scene.node.pool.clear()
    scene.clock.step_s(-3 * 365 * 86_400)
    await scene.submitter.step()
    assert not scene.node.pool, "it was sent just now"
    scene.clock.advance_s(SETTINGS.resend_after_s)
    await scene.submitter.step()
    assert scene.node.calls.count("send_raw") == 2
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


async def test_node_that_holds_no_more_of_a_sender_is_no_reason_for_smaller_batches(
    small_batches: None, scene: Scene
) -> None:
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


async def test_one_estimate_serves_a_round_and_one_that_was_too_low_is_not_used_again(
    small_batches: None, scene: Scene
) -> None:
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
        "hash = x'01'",
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


async def test_what_was_sent_when_is_forgotten_although_something_is_always_under_way(scene: Scene) -> None:
    for _ in range(20):
        scene.measure(1)
        await scene.submitter.step()
        scene.node.mine()
    assert scene.outbox.transactions()
    assert len(scene.submitter._sending._sent_s) <= SETTINGS.confirmations + 2
