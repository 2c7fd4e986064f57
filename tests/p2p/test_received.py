"""The line about a block that gossip brought: what a node logs is what a benchmark reads."""

import logging
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain.block import Block
from p2p.received import FETCHED, LOGGER, PUSHED, log_received, parse_received
from tests.chain.ledger_world import world_genesis

BLOCK = Block(world_genesis().header(bytes(32)), ())
_FORMAT = logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s")


@pytest.mark.parametrize("way", [PUSHED, FETCHED])
def test_how_a_block_came_is_read_back(way: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, LOGGER):
        before_s = time.monotonic()
        log_received(BLOCK, way)
    (record,) = caplog.records
    received = parse_received(_FORMAT.format(record) + "\n")
    assert received is not None
    assert (received.number, received.block_hash, received.way) == (BLOCK.number, BLOCK.hash, way)
    assert before_s - 1e-6 <= received.time_s <= time.monotonic() + 1e-6


def test_nodes_that_were_not_asked_stay_silent(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, LOGGER):
        log_received(BLOCK, PUSHED)
    assert caplog.records == []


@given(st.text())
def test_any_other_line_says_nothing(line: str) -> None:
    assert parse_received(line) is None
    assert parse_received(f"{LOGGER}: {line}") is None
