"""Worlds for agents: nine days of readings are on the ledger, and each test goes on from there by itself."""

import copy
from collections.abc import Iterator
from pathlib import Path

import pytest

from contracts.auction import AuctionRules
from contracts.roles import Role
from tests.meter.agent.agents import World
from tests.meter.agent.trading_node import Home, TradingNode, panel_home, plain_home

DAYS_BEFORE = 9
SPAMMER = Home("spammer", Role.PRODUCER, [0] * 24, [0] * 24)


@pytest.fixture(scope="session")
def before() -> dict[bool, TradingNode]:
    """By whether the auction is sealed."""
    found = {}
    for is_sealed in (False, True):
        node = TradingNode([panel_home(), plain_home(), SPAMMER], auction_rules=AuctionRules(is_sealed=is_sealed))
        node.pass_hours(24 * DAYS_BEFORE)
        found[is_sealed] = node
    return found


@pytest.fixture
def world(before: dict[bool, TradingNode], tmp_path: Path) -> Iterator[World]:
    yield from _world(before[False], tmp_path)


@pytest.fixture
def sealed_world(before: dict[bool, TradingNode], tmp_path: Path) -> Iterator[World]:
    yield from _world(before[True], tmp_path)


def _world(node: TradingNode, folder: Path) -> Iterator[World]:
    world = World(copy.deepcopy(node, {id(one): one for one in node.blocks}), folder)
    yield world
    for agent in world.agents:
        agent.close()
