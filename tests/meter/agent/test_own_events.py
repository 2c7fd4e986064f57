"""Own events by account: each block is asked for once when it is deep, and anew where the chain was another."""

from dataclasses import replace

import pytest

from meter.agent.dealings import dealings_of
from meter.agent.decisions import budget_of
from meter.agent.history import DAY_S
from meter.agent.limits import Budget
from meter.agent.own_events import OwnEvents
from tests.meter.agent.agents import World
from tests.meter.agent.made_up import LIMITS, situation_of
from tests.meter.agent.trading_node import HOUR_S, TradingNode, key_of
from wallet.answers import BlockSummary, Log
from wallet.client import InvalidAnswer, RpcError
from wallet.market import MARKET

KWH = 1_000
PRICE = 2 * 10**14


async def head_of(node: TradingNode) -> BlockSummary:
    head = await node.block("latest")
    assert head is not None
    return head


def advertise(world: World) -> None:
    value = world.node.ask(MARKET, "depositFor", KWH, PRICE)
    world.node.act(key_of("solar"), MARKET, "availableEnergyAdvert", KWH, PRICE, value=value)


async def test_an_account_sees_what_names_it_and_nothing_of_others(world: World) -> None:
    node = world.node
    for name, home in (("solar", world.solar), ("home", world.home)):
        node.act(key_of(name), MARKET, "chooseMeter", home.meter)
    advertise(world)
    advert = node.events("EnergyAdvertised")[0]
    value = KWH * PRICE
    node.act(key_of("home"), MARKET, "requestForEnergy", KWH, advert["time"], PRICE, world.solar.owner, value=value)
    sold = {}
    for home in (world.solar, world.home, node.homes[2]):
        events = await OwnEvents(home.owner, 2).read(node.client, await head_of(node))
        sold[home.name] = dealings_of(home.owner, events)
    assert [(one.is_sale, one.energy_wh, one.cost_wei) for one in sold["solar"].trades] == [(True, KWH, value)]
    assert [(one.is_sale, one.other) for one in sold["home"].trades] == [(False, world.solar.owner)]
    assert [one.sold_wh for one in sold["solar"].adverts] == [KWH]
    assert sold["spammer"] == dealings_of(b"", [])
    assert sold["home"].spent_wei(world.begun_s) == value


async def test_deep_blocks_are_asked_for_once(world: World) -> None:
    node, reader = world.node, OwnEvents(world.solar.owner, 2)
    node.act(key_of("solar"), MARKET, "chooseMeter", world.solar.meter)
    advertise(world)
    node.pass_hours(2)
    first = await reader.read(node.client, await head_of(node))
    asked: list[tuple[int, int]] = []
    original = node.logs

    async def logs(addresses: object, topics: object, from_block: int, to_block: int) -> list[Log]:
        asked.append((from_block, to_block))
        return await original(addresses, topics, from_block, to_block)  # type: ignore[arg-type]

    node.logs = logs  # type: ignore[method-assign,assignment]
    node.tick(60)
    assert await reader.read(node.client, await head_of(node)) == first
    number = node.blocks[-1].number
    assert asked == [(number - 2, number)] * 2


async def test_events_of_a_chain_that_is_no_more_are_forgotten(world: World) -> None:
    node, reader = world.node, OwnEvents(world.solar.owner, 2)
    node.act(key_of("solar"), MARKET, "chooseMeter", world.solar.meter)
    advertise(world)
    node.tick(15)
    node.tick(15)
    node.tick(15)
    assert len(await reader.read(node.client, await head_of(node))) == 1
    node.reorganise(5, forget_pool=True)
    node.time_s.advance_s(HOUR_S)
    for _ in range(6):
        node.tick(15)
    assert await reader.read(node.client, await head_of(node)) == []


async def test_events_of_other_blocks_than_asked_for_are_not_believed(world: World) -> None:
    node = world.node
    node.act(key_of("solar"), MARKET, "chooseMeter", world.solar.meter)
    advertise(world)
    original, head = node.logs, await head_of(node)

    async def logs(addresses: object, topics: object, from_block: int, to_block: int) -> list[Log]:
        found = await original(addresses, topics, from_block, to_block)  # type: ignore[arg-type]
        return [replace(one, block_number=head.number + 10) for one in found]

    node.logs = logs  # type: ignore[method-assign,assignment]
    with pytest.raises(InvalidAnswer, match="another block than was asked for"):
        await OwnEvents(world.solar.owner, 2).read(node.client, head)


async def test_a_node_that_began_with_a_later_state_tells_what_it_has_and_since_when(world: World) -> None:
    node = world.node
    node.act(key_of("solar"), MARKET, "chooseMeter", world.solar.meter)
    advertise(world)
    node.pass_hours(4)
    pivot = node.blocks[-1].number
    advertise(world)
    node.tick(15)
    original_logs, original_block = node.logs, node.block

    async def logs(addresses: object, topics: list[bytes | None], from_block: int, to_block: int) -> list[Log]:
        found = await original_logs(addresses, topics, from_block, to_block)  # type: ignore[arg-type]
        # Blocks whose filters say that there is nothing of the account need not be there.
        if any(log.block_number < pivot and topics[-1] in log.topics for log in found):
            raise RpcError("eth_getLogs", 4444, "pruned history unavailable")
        return found

    async def block(tag: int | str = "latest") -> BlockSummary | None:
        if isinstance(tag, int) and tag < pivot:
            raise RpcError("eth_getBlockByNumber", 4444, "pruned history unavailable")
        return await original_block(tag)

    node.logs, node.block = logs, block  # type: ignore[method-assign,assignment]
    reader = OwnEvents(world.solar.owner, 2)
    for _ in range(2):
        events = await reader.read(node.client, await head_of(node))
        assert [one.name for one in events] == ["EnergyReturned", "EnergyAdvertised"]
        assert events[0].time_s == node.blocks[pivot + 1].time_s
        assert node.blocks[pivot].time_s <= reader.known_since_s <= node.blocks[pivot + 1].time_s


def test_a_day_that_is_not_wholly_known_has_no_limits_left() -> None:
    known = situation_of()
    since_s = known.time_s - DAY_S
    assert budget_of(replace(known, known_since_s=since_s), LIMITS).energy_wh > 0
    assert budget_of(replace(known, known_since_s=since_s + 1), LIMITS) == Budget(0, 0)
