"""Agents over the real contracts come through restarts, outages and lost blocks, bound their work, and say why."""

import contextlib

import pytest

from chain.transaction import decode_transaction
from contracts.roles import Role
from meter.agent.journal import DONE, DROPPED, IN_BLOCK, UNDER_WAY
from primitives.errors import UserError
from tests.meter.agent.agents import LIMITS, Agent, World
from tests.meter.agent.trading_node import DAY_S, HOUR_S, Home, key_of
from tests.meter.fake_node import Failure
from wallet.auction import AUCTION
from wallet.client import InvalidAnswer, NodeUnreachable, RpcError
from wallet.contract_call import Contract
from wallet.market import MARKET
from wallet.meter_contract import METER
from wallet.registry import REGISTRY


async def test_a_power_cut_at_any_question_orders_nothing_twice(world: World) -> None:
    node = world.node
    seller, buyer = world.agent(world.solar), world.agent(world.home)
    await seller.round()
    count = 0
    for at_call in range(1, 170, 5):
        node.failures = [Failure(node.call_count + at_call, NodeUnreachable("cut"), is_after=at_call % 2 == 0)]
        try:
            await buyer.round()
        except NodeUnreachable:
            count += 1
        node.failures = []
        buyer.restart()
    await buyer.round()
    assert count > 10
    assert len(node.events("EnergySold")) == 1
    assert not buyer.journal.unsettled() or buyer.journal.unsettled()[0].state != UNDER_WAY


async def test_while_a_transaction_is_under_way_nothing_else_is_decided(world: World) -> None:
    node = world.node
    seller = world.agent(world.solar)
    node.holds_blocks = True
    seller.runner._clock = node.clock  # the node's own, which the waiting below moves on

    async def sleep_s(duration_s: float) -> None:
        node.time_s.advance_s(duration_s)

    node.time_s.sleep_s = sleep_s  # type: ignore[method-assign]
    await seller.round()
    heard: list[tuple[str, bool]] = []
    seller.runner._note = lambda status, gets_on: heard.append((status, gets_on))
    await seller.round()
    assert heard == [("what was sent is in no block yet", False)]  # or a watchdog would take it for stuck
    assert len(node.pool) == 1
    seller.restart()
    node.pool.clear()  # the node has forgotten it
    await seller.round()
    assert len(node.pool) == 1
    assert seller.told == ["choose meter"]
    node.holds_blocks = False
    node.tick()
    await seller.round()
    assert seller.told[:2] == ["choose meter", "advertise"]


async def test_a_block_that_is_taken_back_is_noticed(world: World) -> None:
    node = world.node
    seller = world.agent(world.solar)
    await seller.round()
    assert len(node.events("EnergyAdvertised")) == 1
    node.reorganise(1, forget_pool=True)
    assert not node.events("EnergyAdvertised")
    node.tick(5)
    await seller.round()
    assert len(node.events("EnergyAdvertised")) == 1
    node.tick(5)
    node.tick(5)
    await seller.round()
    assert [one.state for one in seller.journal.newest(2)] == [DONE, DONE]


async def test_what_waits_while_fees_rise_is_sent_again_for_more(world: World) -> None:
    node = world.node
    seller = world.agent(world.solar)
    node.base_fee, node.holds_blocks = 1_000, True

    async def sleep_s(duration_s: float) -> None:
        node.time_s.advance_s(duration_s)

    node.time_s.sleep_s = sleep_s  # type: ignore[method-assign]
    await seller.round()
    node.base_fee = 10_000
    for _ in range(3):
        node.time_s.advance_s(200)
        await seller.round()
    sent = seller.journal.newest(5)
    assert len({one.hash for one in sent}) == 2
    assert len({one.nonce for one in sent}) == 1
    raised, first = [decode_transaction(one.raw) for one in sent]
    assert raised.max_fee_per_gas >= 2 * 10_000 > first.max_fee_per_gas
    node.holds_blocks = False
    node.tick()
    await seller.round()
    assert {one.state for one in seller.journal.newest(10)[-2:]} == {DROPPED, IN_BLOCK}
    assert "advertise" in seller.told


async def test_a_transaction_that_another_one_replaced_is_given_up(world: World) -> None:
    node = world.node
    seller = world.agent(world.solar)
    node.holds_blocks = True

    async def sleep_s(duration_s: float) -> None:
        node.time_s.advance_s(duration_s)

    node.time_s.sleep_s = sleep_s  # type: ignore[method-assign]
    await seller.round()
    node.pool.clear()
    node.holds_blocks = False
    node.act(key_of("solar"), MARKET, "chooseMeter", world.solar.meter)
    await seller.round()
    assert [one.state for one in seller.journal.newest(5)][-1] == DROPPED
    assert "advertise" in seller.told


async def test_what_the_contract_refuses_is_said_once_and_holds_nothing_up(world: World) -> None:
    node = world.node
    seller = world.agent(world.solar)
    original = node.estimate_gas

    async def full(sender: bytes, to: bytes | None, value: int = 0, data: bytes = b"") -> int:
        if data[:4] == MARKET.abi.function("availableEnergyAdvert").selector:
            error = MARKET.abi.errors
            selector = next(key for key, one in error.items() if one.name == "StoreFull")
            raise RpcError("eth_estimateGas", 3, "reverted", "0x" + (selector + bytes(31) + b"\x01" + bytes(64)).hex())
        return await original(sender, to, value, data)

    node.estimate_gas = full  # type: ignore[method-assign]
    for _ in range(4):
        await seller.round()
        node.tick(60)
    refused = [text for text in seller.texts if "Not possible now: There is no room" in text]
    assert len(refused) == 1
    node.estimate_gas = original  # type: ignore[method-assign]
    node.pass_hours(2)
    await seller.round()
    assert node.events("EnergyAdvertised")


async def test_nothing_to_do_is_said_once_a_day(world: World) -> None:
    seller = world.agent(world.solar, greatest_energy_wh=500)
    await world.hours(30, seller)
    assert seller.told.count("too little to advertise") == 2
    assert "0.5 kWh are left of the limit of 24 hours" in seller.texts[-1]


async def test_a_trial_sends_nothing_and_says_what_it_would_do(world: World) -> None:
    agent = Agent(world.node, world.solar, world.folder, trial=True)
    world.agents.append(agent)
    count = len(world.node.accepted_raw)
    world.node.act(key_of("solar"), MARKET, "chooseMeter", world.solar.meter)
    for _ in range(3):
        await agent.round()
    assert len(world.node.accepted_raw) == count + 1
    assert agent.told == ["would advertise"]
    assert agent.texts[0].startswith("Would do, were it no trial: Advertise 7.2 kWh")


async def test_thousands_of_absurd_adverts_are_bounded_work(world: World) -> None:
    node = world.node
    spammer = node.homes[2]
    seller, buyer = world.agent(world.solar), world.agent(world.home)
    await seller.round()
    original = node.call

    async def many(
        to: bytes, data: bytes, block: int | str = "latest", sender: bytes | None = None, value: int = 0
    ) -> bytes:
        if data[:4] == MARKET.abi.function("advertCount").selector:
            return (1_000_000).to_bytes(32, "big")
        if data[:4] == MARKET.abi.function("adverts").selector:
            node.call_count += 1
            _, count = MARKET.abi.function("adverts").decode_call(data)
            one = (spammer.owner, node.now_s, 0, 0, spammer.meter, DAY_S, 10**9, 10**19, 10**13, 0, 0, 10**9)
            return MARKET.abi.function("adverts").outputs.encode(([one] * int(str(count)),))
        return await original(to, data, block, sender, value)

    node.call = many  # type: ignore[method-assign]
    before = node.call_count
    await buyer.round()
    assert node.call_count - before < 200
    assert not node.events("EnergySold")
    text = next(text for text in buyer.texts if "none of 256 adverts fits" in text)
    assert "more were not looked at" in text


async def test_a_store_that_is_full_of_what_is_over_is_emptied(world: World) -> None:
    node = world.node
    node.act(key_of("spammer"), MARKET, "chooseMeter", node.homes[2].meter)
    value = node.ask(MARKET, "depositFor", 996_000, 1)
    node.act(key_of("spammer"), MARKET, "availableEnergyAdvert", 996_000, 1, value=value)
    seller = world.agent(world.solar)
    await seller.round()
    assert world.solar.owner not in [one["producer"] for one in node.events("EnergyAdvertised")][:-1]
    assert node.events("EnergyAdvertised")[-1]["energyWh"] == 4_000  # what fits
    node.act(key_of("solar"), MARKET, "withdrawAdvert", node.events("EnergyAdvertised")[-1]["time"])
    node.pass_hours(4)
    await seller.round()
    assert "make room" in seller.told
    assert node.events("EnergyAdvertised")[-1]["energyWh"] == 7_200


@pytest.mark.parametrize("garbage", [b"", b"\xff" * 31, b"\xff" * 64, bytes(4_096), b"\xff" * 4_096])
async def test_garbage_from_the_node_is_trouble_and_no_crash(world: World, garbage: bytes) -> None:
    seller = world.agent(world.solar, markets=("market", "auction"))
    node = world.node
    original = node.call
    for at_call in range(0, 60, 5):
        count = 0

        async def lies(
            to: bytes, data: bytes, block: int | str = "latest", sender: bytes | None = None, value: int = 0
        ) -> bytes:
            nonlocal count
            count += 1
            return garbage if count == at_call + 1 else await original(to, data, block, sender, value)  # noqa: B023

        node.call = lies  # type: ignore[method-assign]
        with contextlib.suppress(InvalidAnswer):
            await seller.round()
        seller.restart()
    assert all(one["energyWh"] <= LIMITS.greatest_energy_wh for one in node.events("EnergyAdvertised"))


@pytest.mark.parametrize(
    ("contract", "function", "place", "value"),
    [
        (MARKET, "rules", 1, 65_535),
        (MARKET, "rules", 2, 0),
        (METER, "lastReading", 1, 2**64 - 1),
        (METER, "zoneOf", None, 2**31 - 1),
        (AUCTION, "rulesAt", 0, 0),
        (AUCTION, "slotOf", 0, 7),
        (AUCTION, "slotOf", 1, 65_535),
        (AUCTION, "slotOf", 8, 9),
        (REGISTRY, "roleOf", None, 200),
    ],
)
async def test_values_that_the_contracts_do_not_allow_are_not_believed(
    world: World, contract: Contract, function: str, place: int | None, value: int
) -> None:
    node = world.node
    seller = world.agent(world.solar, markets=("market", "auction"))
    original, abi = node.call, contract.abi.function(function)

    async def lies(
        to: bytes, data: bytes, block: int | str = "latest", sender: bytes | None = None, wei: int = 0
    ) -> bytes:
        answer = await original(to, data, block, sender, wei)
        if to != contract.address or data[:4] != abi.selector:
            return answer
        (told,) = abi.decode_result(answer)
        changed = value if place is None else [*told[:place], value, *told[place + 1 :]]  # type: ignore[index]
        return abi.outputs.encode((changed,))

    node.call = lies  # type: ignore[method-assign]
    with pytest.raises(InvalidAnswer):
        await seller.round()
    assert not node.events("EnergyAdvertised")


async def test_an_outage_is_waited_out(world: World) -> None:
    node, delays = world.node, []
    seller = world.agent(world.solar)
    node.is_down = True

    async def sleep_s(duration_s: float) -> None:
        delays.append(duration_s)
        if len(delays) == 4:
            node.is_down = False
        if len(delays) == 6:
            raise KeyboardInterrupt

    node.time_s.sleep_s = sleep_s  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        await seller.runner.run()
    assert delays[0] <= 1
    assert delays[3] <= 8
    assert delays[4:] == [300, 300]
    assert node.events("EnergyAdvertised")


async def test_who_watches_hears_what_was_decided_and_what_is_in_the_way(world: World) -> None:
    heard: list[tuple[str, bool]] = []
    seller = world.agent(world.solar)
    seller.runner._note = lambda status, gets_on: heard.append((status, gets_on))
    await seller.round()
    assert [text.split(":")[0] for text, _ in heard] == ["choose meter", "advertise", "on offer"]
    assert all(gets_on for _, gets_on in heard)
    world.node.is_down = True

    async def sleep_s(duration_s: float) -> None:
        raise KeyboardInterrupt

    world.node.time_s.sleep_s = sleep_s  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        await seller.runner.run()
    assert heard[-1][0].startswith("no decision now: ")
    assert not heard[-1][1]


async def test_a_node_that_lags_behind_is_not_decided_upon(world: World) -> None:
    seller = world.agent(world.solar)
    world.node.time_s.advance_s(2 * HOUR_S)
    await seller.round()
    assert seller.told == ["cannot decide"]
    assert "it is not up to date" in seller.texts[0]


async def test_another_ledger_stops_the_agent(world: World) -> None:
    seller = world.agent(world.solar)
    seller.runner._chain_id = 1
    with pytest.raises(UserError, match="is on the ledger 4711, the settings name 1"):
        await seller.runner.run()
    assert not world.node.events("EnergyAdvertised")


async def test_another_s_meter_is_not_traded_with(world: World) -> None:
    thief = Home("home", Role.CONSUMER, [0] * 24, [0] * 24)
    thief.meter = world.solar.meter
    agent = world.agent(thief)
    await agent.round()
    assert agent.told == ["meter"]
    assert "does not belong to this account" in agent.texts[0]
