"""A node that lies about the account's orders, about the time of day, or about what became of a transaction."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from chain.transaction import decode_transaction
from tests.meter.agent.agents import KWH, WATT, Agent, World
from tests.meter.agent.trading_node import DAY_S, TradingNode, key_of
from wallet.answers import BlockSummary, Receipt
from wallet.auction import AUCTION
from wallet.client import BlockTag, InvalidAnswer, RpcError
from wallet.market import MARKET
from wallet.meter_contract import METER
from wallet.transfer import highest_fee

LIMIT_WEI = WATT // 2
ORDERS = (
    MARKET.abi.function("requestForEnergy").selector,
    MARKET.abi.function("availableEnergyAdvert").selector,
    AUCTION.abi.function("placeOrder").selector,
)


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


def _passes_time(node: TradingNode) -> None:
    async def sleep_s(duration_s: float) -> None:
        node.time_s.advance_s(duration_s)

    node.time_s.sleep_s = sleep_s  # type: ignore[method-assign]


def _is_order(node: TradingNode, transaction_hash: bytes) -> bool:
    return decode_transaction(node.transactions[transaction_hash]).data[:4] in ORDERS


def hide_receipts_of_orders(node: TradingNode) -> None:
    """As if another transaction had taken their number."""
    original = node.receipt

    async def lies(transaction_hash: bytes) -> Receipt | None:
        return None if _is_order(node, transaction_hash) else await original(transaction_hash)

    node.receipt = lies  # type: ignore[method-assign]
    _passes_time(node)


def call_orders_refused(node: TradingNode) -> None:
    """As if each had been in a block, and the contract had refused it there."""
    original = node.receipt

    async def lies(transaction_hash: bytes) -> Receipt | None:
        receipt = await original(transaction_hash)
        return replace(receipt, succeeded=False) if receipt and _is_order(node, transaction_hash) else receipt

    node.receipt = lies  # type: ignore[method-assign]


def take_orders_back(node: TradingNode) -> None:
    """As if each order's block were taken back as soon as the agent has seen it."""
    original, seen = node.receipt, set[bytes]()

    async def lies(transaction_hash: bytes) -> Receipt | None:
        receipt = await original(transaction_hash)
        if receipt is None or not _is_order(node, transaction_hash):
            return receipt
        is_new = transaction_hash not in seen
        seen.add(transaction_hash)
        return receipt if is_new else None

    node.receipt = lies  # type: ignore[method-assign]
    _passes_time(node)


def refuse_and_publish(node: TradingNode) -> None:
    """Says that it wants no order, and publishes it all the same."""
    original = node.send_raw

    async def lies(raw: bytes) -> bytes:
        answer = await original(raw)
        if decode_transaction(raw).data[:4] in ORDERS:
            raise RpcError("eth_sendRawTransaction", -32000, "transaction underpriced")
        return answer

    node.send_raw = lies  # type: ignore[method-assign]


def call_everybody_rich(node: TradingNode) -> None:
    async def lies(address: bytes, block: BlockTag = "latest") -> int:
        return 10**30

    node.balance = lies  # type: ignore[method-assign]
    call_orders_refused(node)


def move_midnight(node: TradingNode) -> None:
    """By a time zone in which it is always just past midnight."""
    answer_otherwise(node, "zoneOf", lambda told: [-(node.blocks[-1].time_s % DAY_S)])
    call_orders_refused(node)


LIES = [
    hide_receipts_of_orders,
    call_orders_refused,
    take_orders_back,
    refuse_and_publish,
    call_everybody_rich,
    move_midnight,
]


async def rounds(agent: Agent, count: int = 6) -> None:
    for _ in range(count):
        try:
            await agent.round()
        except InvalidAnswer:
            agent.restart()
        agent.node.tick(30)
        agent.node.tick(30)


@pytest.mark.parametrize("lie", LIES)
async def test_who_hides_purchases_and_lies_about_what_became_of_them_gains_no_more_than_a_days_money(
    world: World, lie: Callable[[TradingNode], None]
) -> None:
    node = world.node
    node.pass_hours(10)
    offer(node, 6)
    buyer = world.agent(world.home, greatest_spend_wei=LIMIT_WEI)
    hide_orders(node)
    lie(node)
    for _ in range(3):
        await rounds(buyer, 2)
        node.pass_hours(1)
    assert 0 < sum([one["shareWei"] + one["taxWei"] for one in node.events("EnergySold")]) <= LIMIT_WEI


@pytest.mark.parametrize("lie", LIES[:-1])  # to a panel, at midnight, no sun will shine
@pytest.mark.parametrize("market", ["market", "auction"])
async def test_who_hides_what_is_for_sale_has_no_more_than_a_days_energy_offered(
    world: World, market: str, lie: Callable[[TradingNode], None]
) -> None:
    node = world.node
    node.pass_hours(10)
    most_wh = 9 * KWH if market == "market" else KWH
    seller = world.agent(world.solar, greatest_energy_wh=most_wh, markets=(market,))
    hide_orders(node)
    lie(node)
    for _ in range(4):
        await rounds(seller, 2)
        node.pass_hours(1)
    offered = [*node.events("EnergyAdvertised"), *node.events("OrderPlaced")]
    assert 0 < sum([one["energyWh"] for one in offered]) <= most_wh


async def test_a_day_is_not_over_because_a_node_says_so(world: World) -> None:
    """By its time all adverts are over, and a new day has begun."""
    node = world.node
    seller = world.agent(world.solar)
    await seller.round()
    original = node.block

    async def lies(block: BlockTag = "latest") -> BlockSummary | None:
        told = await original(block)
        return told and replace(told, time_s=told.time_s + DAY_S)

    node.block = lies  # type: ignore[method-assign]
    seller.restart()
    await seller.round()
    assert len(node.events("EnergyAdvertised")) == 1
    assert seller.told[-1] == "cannot decide"
    assert "one of the two is wrong" in seller.texts[-1]


async def test_nothing_is_signed_for_another_ledger(world: World) -> None:
    """Where the same transaction would spend the owner's money, too."""
    node = world.node
    seller = world.agent(world.solar)

    async def lies() -> int:
        return 1

    node.chain_id = lies  # type: ignore[method-assign]
    await seller.round()
    assert not seller.journal.newest(10)
    assert "The node is on the ledger 1, the settings name 4711" in seller.texts[-1]


async def test_who_names_any_number_for_the_next_transaction_gains_nothing(world: World) -> None:
    node = world.node
    node.pass_hours(10)
    offer(node, 6)
    buyer = world.agent(world.home, greatest_spend_wei=LIMIT_WEI)
    node.act(key_of("home"), MARKET, "chooseMeter", world.home.meter)
    hide_orders(node)
    original, number = node.nonce, 100

    async def lies(address: bytes, block: BlockTag = "pending") -> int:
        nonlocal number
        number += 1
        return number if address == world.home.owner else await original(address, block)

    node.nonce = lies  # type: ignore[method-assign]
    _passes_time(node)
    await rounds(buyer)
    signed = [decode_transaction(one.raw) for one in buyer.journal.newest(100)]
    assert 0 < sum([one.value for one in signed]) <= LIMIT_WEI


async def test_a_sealed_order_is_not_shown_before_its_time_because_a_node_says_so(sealed_world: World) -> None:
    node = sealed_world.node
    node.pass_hours(10)
    seller = sealed_world.agent(sealed_world.solar, markets=("auction",))
    await seller.round()
    slot_s = node.events("OrderSealed")[0]["slot"]
    node.tick(slot_s - 1_800 - 200 - node.now_s)
    original = node.block

    async def lies(block: BlockTag = "latest") -> BlockSummary | None:
        told = await original(block)
        return told and replace(told, time_s=told.time_s + 240)

    node.block = lies  # type: ignore[method-assign]
    await seller.round()
    assert not [code for code in seller.told if "reveal" in code]  # nor was the node asked what it would say to it
    node.tick(205)
    await seller.round()
    assert "reveal" in seller.told


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
