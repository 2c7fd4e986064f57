"""A week of two homes with agents on the real market: sun and clouds, restarts, an outage; the books balance."""

import random

from tests.meter.agent.agents import KWH, LIMITS, WATT, World
from tests.meter.agent.trading_node import DAY_S
from wallet.client import NodeUnreachable


async def test_a_week_of_trade_balances_and_stays_within_the_limits(world: World) -> None:
    node, whole_wei, chance = world.node, world.whole_wei(), random.Random(5)
    seller, buyer = world.agent(world.solar), world.agent(world.home)
    for day in range(7):
        # From half of a clear day's sun, and of a plain day's need, to a half more.
        factor_permille = chance.randrange(500, 1_500)
        outage = range(9, 14) if day == 3 else range(0)
        for hour in range(24):
            node.is_down = hour in outage
            for agent in (seller, buyer) if hour % 3 == 1 else ():
                if chance.random() < 0.1:
                    agent.restart()
                try:
                    await agent.round()
                except NodeUnreachable:
                    assert node.is_down
            node.is_down = False
            node.pass_hours(1, factor_permille)
    assert world.whole_wei() == whole_wei

    sales, settled = node.events("EnergySold"), node.events("TradeSettled")
    adverts, delivered = node.events("EnergyAdvertised"), node.events("EnergyDelivered")
    assert len(sales) >= 7
    assert len(settled) >= 6
    sold_wh = sum(one["energyWh"] for one in sales)
    came_wh = sum(one["energyWh"] for one in delivered)
    missing_wh = sum(one["missingWh"] for one in settled)
    assert 25 * KWH < came_wh <= sold_wh
    # Clouds come without notice; what was sold and did not come is a small part.
    assert missing_wh * 5 < came_wh
    least, greatest = LIMITS.least_ask_wei_per_wh, LIMITS.greatest_bid_wei_per_wh
    assert all(one["minPriceWeiPerWh"] >= least for one in adverts)
    assert all(one["unitPriceWeiPerWh"] <= greatest for one in sales)
    for day in range(8):
        of_day = [one for one in sales if (one["deliverUntil"] - DAY_S) // DAY_S == world.begun_s // DAY_S + day]
        assert sum(one["energyWh"] for one in of_day) <= LIMITS.greatest_energy_wh
        assert sum(one["shareWei"] + one["taxWei"] for one in of_day) <= LIMITS.greatest_spend_wei
        offered = [one for one in adverts if one["time"] // DAY_S == world.begun_s // DAY_S + day]
        sold_of_it = {one["advert"]: 0 for one in offered}
        for one in sales:
            if one["advert"] in sold_of_it:
                sold_of_it[one["advert"]] += one["energyWh"]
        assert sum(sold_of_it.values()) <= LIMITS.greatest_energy_wh
    assert {"choose meter", "advertise", "settle", "pay out", "on offer"} <= set(seller.told)
    assert {"choose meter", "buy", "nothing fits"} <= set(buyer.told)
    assert all(text.endswith(".") for text in (*seller.texts, *buyer.texts))


async def test_a_seller_without_a_buyer_lowers_its_price_to_the_least_and_no_further(world: World) -> None:
    seller = world.agent(world.solar)
    await world.hours(30, seller)
    prices = [one["minPriceWeiPerWh"] for one in world.node.events("EnergyAdvertised")]
    assert prices == sorted(prices, reverse=True)
    assert prices[0] == LIMITS.least_ask_wei_per_wh * 3 // 2
    assert prices[-1] == LIMITS.least_ask_wei_per_wh
    returned = world.node.events("EnergyReturned")
    assert len(returned) >= len(prices) - 2
    assert world.node.owned_wei(world.solar.owner) > 999 * WATT
