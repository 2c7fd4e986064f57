"""Agents in the auction: offers, bids, clearing, proofs and money; sealed orders, whose secrets must not be lost."""

import pytest

from tests.meter.agent.agents import LIMITS, World
from tests.meter.agent.trading_node import HOUR_S
from wallet.sealed_orders import SealedOrders


async def test_two_agents_trade_in_the_auction_and_prove_what_their_meters_showed(world: World) -> None:
    node, whole_wei = world.node, world.whole_wei()
    seller = world.agent(world.solar, markets=("auction",))
    buyer = world.agent(world.home, markets=("auction",))
    node.pass_hours(10)  # the sun shines
    await world.hours(2, seller, buyer, a_hour=4)
    await world.hours(3, seller, buyer)
    assert len(node.events("SlotCleared")) >= 6
    settled = [one for one in node.events("TradeSettled") if "slot" in one]
    assert len(settled) >= 6
    assert all(one["delivery"][0] > 0 and one["delivery"][2] == 0 for one in settled)
    least, greatest = LIMITS.least_ask_wei_per_wh, LIMITS.greatest_bid_wei_per_wh
    assert all(least <= one["priceWeiPerWh"] <= greatest for one in settled)
    await world.hours(1, seller, buyer)
    dealings = (await seller.asker.situation(node.client, node.now_s)).dealings
    assert all(one.settled for one in dealings.orders if one.matched_wh and one.slot_s < node.now_s - 2 * HOUR_S)
    assert world.whole_wei() == whole_wei
    assert {"offer", "clear", "prove", "settle"} <= set(seller.told) | set(buyer.told)
    assert "release" in buyer.told


async def test_a_sealed_order_is_revealed_after_a_restart(sealed_world: World) -> None:
    node = sealed_world.node
    node.pass_hours(10)
    seller = sealed_world.agent(sealed_world.solar, markets=("auction",))
    await seller.round()
    sealed = node.events("OrderSealed")
    assert len(sealed) == 3
    assert len(list((seller.folder / "sealed-orders").iterdir())) == 3
    slot_s = sealed[0]["slot"]
    seller.restart()
    node.tick(slot_s - 1_800 - node.now_s + 5)
    await seller.round()
    assert [one["slot"] for one in node.events("OrderRevealed")] == [slot_s]
    assert "reveal" in seller.told
    # What is on the ledger for all to see is not kept any more.
    assert len(node.events("OrderSealed")) == len(list((seller.folder / "sealed-orders").iterdir())) + 1


async def test_agents_with_sealed_orders_trade_and_are_paid(sealed_world: World) -> None:
    world = sealed_world
    node, whole_wei = world.node, world.whole_wei()
    node.pass_hours(10)
    seller = world.agent(world.solar, markets=("auction",))
    buyer = world.agent(world.home, markets=("auction",))
    await world.hours(1, seller, buyer, a_hour=6)
    await world.hours(2, seller, buyer, a_hour=3)
    settled = [one for one in node.events("TradeSettled") if "slot" in one]
    assert len(settled) >= 2
    assert all(one["delivery"][0] > 0 and one["delivery"][2] == 0 for one in settled)
    assert len(node.events("OrderRevealed")) >= 4
    assert world.whole_wei() == whole_wei


async def test_the_secret_is_on_the_disk_before_the_node_hears_of_the_order(sealed_world: World) -> None:
    node = sealed_world.node
    node.pass_hours(10)
    seller = sealed_world.agent(sealed_world.solar, markets=("auction",))
    folder = seller.folder / "sealed-orders"
    original, sent = node.send_raw, list[bytes]()

    async def dies(raw: bytes) -> bytes:
        assert len(list(folder.iterdir())) == 1
        sent.append(raw)
        raise KeyboardInterrupt  # the power is cut

    node.send_raw = dies  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        await seller.round()
    node.send_raw = original  # type: ignore[method-assign]
    seller.restart()
    await seller.round()
    # The very transaction that was written down was sent, not another order for the slot.
    assert sent[0] in node.accepted_raw
    sealed = node.events("OrderSealed")
    assert len({one["slot"] for one in sealed}) == len(sealed) == 3
    first = sealed[0]
    found = SealedOrders(seller.folder / "keys").find(first["slot"], sealed_world.solar.owner, first["commitment"])
    assert found.commitment == first["commitment"]


async def test_a_lost_secret_is_said(sealed_world: World) -> None:
    node = sealed_world.node
    node.pass_hours(10)
    seller = sealed_world.agent(sealed_world.solar, markets=("auction",))
    await seller.round()
    for file in (seller.folder / "sealed-orders").iterdir():
        file.unlink()
    slot_s = node.events("OrderSealed")[0]["slot"]
    node.tick(slot_s - 1_800 - node.now_s + 5)
    await seller.round()
    assert f"secret lost {slot_s}" in seller.told
    # Nobody knows what was offered, so the day's energy counts as used up.
    assert len(node.events("OrderSealed")) == 3
