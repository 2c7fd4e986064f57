"""A node that lies about the account's orders, about the time of day, or about what became of a transaction."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from chain.transaction import decode_transaction
from meter.agent.journal import DROPPED, FAILED, Journal
from tests.meter.agent.agents import KWH, WATT, Agent, World
from tests.meter.agent.trading_node import CHAIN_ID, DAY_S, HOUR_S, TradingNode, address, key_of
from wallet.answers import Receipt
from wallet.client import BlockTag, InvalidAnswer
from wallet.market import MARKET
from wallet.meter_contract import METER
from wallet.transfer import highest_fee

LIMIT_WEI = WATT // 2


def offer(node: TradingNode, count: int) -> None:
    """Adverts of a neighbour, who runs the node."""
    node.act(key_of("spammer"), MARKET, "chooseMeter", node.homes[2].meter)
    for _ in range(count):
        deposit_wei = 1_000 * WATT // 10
        node.act(key_of("spammer"), MARKET, "availableEnergyAdvert", KWH, 3 * 10**14, value=deposit_wei)


def hide_orders(node: TradingNode) -> None:
    async def nothing(*_: object, **__: object) -> list[object]:
        return []

    node.logs = nothing  # type: ignore[method-assign, assignment]


def answer_otherwise(node: TradingNode, name: str, change: Callable[[Any], Sequence[object]]) -> None:
    original, function = node.call, METER.abi.function(name)

    async def lies(
        to: bytes, data: bytes, block: BlockTag = "latest", sender: bytes | None = None, value: int = 0
    ) -> bytes:
        answer = await original(to, data, block, sender, value)
        if to != METER.address or data[:4] != function.selector:
            return answer
        return function.outputs.encode(tuple(change(function.decode_result(answer))))

    node.call = lies  # type: ignore[method-assign]


def hide_receipts_of_purchases(node: TradingNode) -> None:
    """As if another transaction had taken their number."""
    original = node.receipt

    async def lies(transaction_hash: bytes) -> Receipt | None:
        sent = decode_transaction(node.transactions[transaction_hash])
        is_purchase = sent.data[:4] == MARKET.abi.function("requestForEnergy").selector
        return None if is_purchase else await original(transaction_hash)

    async def sleep_s(duration_s: float) -> None:
        node.time_s.advance_s(duration_s)

    node.receipt = lies  # type: ignore[method-assign]
    node.time_s.sleep_s = sleep_s  # type: ignore[method-assign]


def move_midnight(node: TradingNode) -> None:
    """By a time zone in which it is always just past midnight."""
    answer_otherwise(node, "zoneOf", lambda told: [-(node.blocks[-1].time_s % DAY_S)])


async def bought_wei(agent: Agent, rounds: int = 6) -> int:
    for _ in range(rounds):
        try:
            await agent.round()
        except InvalidAnswer:
            agent.restart()
    return sum([one["shareWei"] + one["taxWei"] for one in agent.node.events("EnergySold")])


@pytest.mark.parametrize("lie", [lambda node: None, move_midnight], ids=["", "midnight"])
async def test_who_hides_purchases_and_moves_midnight_gains_no_more_than_a_days_money(
    world: World, lie: Callable[[TradingNode], None]
) -> None:
    node = world.node
    node.pass_hours(10)
    offer(node, 6)
    buyer = world.agent(world.home, greatest_spend_wei=LIMIT_WEI)
    hide_receipts_of_purchases(node)
    hide_orders(node)
    lie(node)
    assert 0 < await bought_wei(buyer) <= LIMIT_WEI


async def test_fees_of_a_day_are_bounded_whatever_the_node_asks_for(world: World) -> None:
    node = world.node
    offer(node, 6)
    node.base_fee = 5 * 10**11  # a purchase costs a seventh of a WATT or so
    buyer = world.agent(world.home)
    for _ in range(4):
        await buyer.round()
        buyer.restart()
    sent = [decode_transaction(one.raw) for one in buyer.journal.newest(100)]
    assert len(sent) >= 2
    assert sum([highest_fee(one) for one in sent]) <= WATT < 12 * highest_fee(sent[0])
    assert "The fees of 24 hours could come to" in " ".join(buyer.texts)


async def test_orders_that_are_in_blocks_and_in_no_event_stop_it(world: World) -> None:
    """A node whose index of events is broken looks like this, too."""
    node = world.node
    seller = world.agent(world.solar, greatest_energy_wh=8 * KWH)
    hide_orders(node)
    with pytest.raises(InvalidAnswer, match="tells of 0 of the account's 1 orders"):
        await seller.round()
    seller.restart()
    with pytest.raises(InvalidAnswer, match="tells of 0"):
        await seller.round()
    assert len(node.events("EnergyAdvertised")) == 1


def test_a_day_is_not_over_because_a_node_says_so(tmp_path: Path) -> None:
    with Journal(tmp_path / "agent.sqlite", CHAIN_ID, address("solar")) as journal:
        noon_s = 100 * DAY_S + 12 * HOUR_S
        assert journal.day_begin_s(100 * DAY_S, noon_s) == 100 * DAY_S
        journal.begin(noon_s, "buy: of advert 1", WATT, 1, b"1" * 32, b"raw")
        for told_s in (noon_s, 101 * DAY_S, 500 * DAY_S, 99 * DAY_S):  # another zone, a later time, an earlier one
            assert journal.day_begin_s(told_s, noon_s + 60) == 100 * DAY_S
        # By its own clock a day has passed, which may have been one of 23 hours.
        assert journal.day_begin_s(noon_s, 101 * DAY_S) == 100 * DAY_S
        assert journal.day_begin_s(101 * DAY_S - HOUR_S, 101 * DAY_S) == 101 * DAY_S - HOUR_S
        journal.begin(noon_s, "buy: of advert 2", WATT, 2, b"2" * 32, b"raw")  # the clock was set back
        assert journal.signed_wei(101 * DAY_S - HOUR_S) == WATT
    with Journal(tmp_path / "agent.sqlite", CHAIN_ID, address("solar")) as journal:
        assert journal.day_begin_s(500 * DAY_S, 101 * DAY_S) == 101 * DAY_S - HOUR_S


def test_of_transactions_with_one_number_the_dearest_counts(tmp_path: Path) -> None:
    """Only one of them can ever be in a block; which one is not for the node to say."""
    with Journal(tmp_path / "agent.sqlite", CHAIN_ID, address("solar")) as journal:
        for number, spend_wei in enumerate((5, 5, 3)):
            journal.begin(100, "bid: 900", spend_wei, 7, bytes([number]) * 32, b"raw")
        journal.begin(100, "bid: 1800", 2, 8, bytes(32), b"raw")
        assert journal.signed_wei(100) == 7
        journal.mark(journal.unsettled()[0], DROPPED)
        journal.mark(journal.unsettled()[0], DROPPED)
        assert journal.signed_wei(100) == 7
        journal.mark(journal.unsettled()[-1], FAILED)
        assert journal.signed_wei(100) == 5
