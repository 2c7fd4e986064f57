"""The lines about arriving blocks and tried hashes: what a node logs is what a benchmark reads."""

import logging
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain.block import Block
from chain.importer import ImportStatus
from node.arrivals import LOGGER, log_arrival, parse_arrival
from node.log import configure_log
from node.mining_total import LOGGER as MINING_LOGGER
from node.mining_total import MiningTotal, log_mining_total, parse_mining_total
from p2p.received import LOGGER as RECEIVED
from tests.chain.ledger_world import world_genesis

BLOCK = Block(world_genesis().header(bytes(32)), ())
_FORMAT = logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s")


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [_FORMAT.format(record) for record in caplog.records]


@pytest.mark.parametrize("status", [ImportStatus.EXTENDED, ImportStatus.REORGANISED, ImportStatus.SIDE_BRANCH])
def test_an_arrival_is_read_back(status: ImportStatus, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, LOGGER):
        before_s = time.monotonic()
        log_arrival(BLOCK, status)
    (line,) = lines(caplog)
    arrival = parse_arrival(line + "\n")
    assert arrival is not None
    assert (arrival.number, arrival.block_hash) == (BLOCK.number, BLOCK.hash)
    assert (arrival.parent_hash, arrival.coinbase) == (BLOCK.header.parent_hash, BLOCK.header.coinbase)
    assert arrival.status is status
    assert arrival.became_head is (status is not ImportStatus.SIDE_BRANCH)
    assert before_s - 1e-6 <= arrival.time_s <= time.monotonic() + 1e-6


def test_known_blocks_and_nodes_that_were_not_asked_stay_silent(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, LOGGER):
        log_arrival(BLOCK, ImportStatus.EXTENDED)
    with caplog.at_level(logging.DEBUG, LOGGER):
        log_arrival(BLOCK, ImportStatus.KNOWN)
    assert caplog.records == []


def test_only_these_parts_become_talkative(monkeypatch: pytest.MonkeyPatch) -> None:
    loggers = [logging.getLogger(name) for name in (LOGGER, RECEIVED)]
    for logger in loggers:
        monkeypatch.setattr(logger, "level", logging.NOTSET)
    monkeypatch.setattr(logging, "basicConfig", lambda **_: None)
    try:
        configure_log("info")
        assert {logger.level for logger in loggers} == {logging.NOTSET}
        configure_log("info", blocks=True)
        assert {logger.level for logger in loggers} == {logging.DEBUG}
    finally:
        for logger in loggers:
            logger.setLevel(logging.NOTSET)


def test_the_total_of_the_miner_is_read_back(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, MINING_LOGGER):
        log_mining_total(123_456, 7.5)
    (line,) = lines(caplog)
    assert parse_mining_total(line) == MiningTotal(123_456, 7.5)
    assert parse_arrival(line) is None


@given(st.one_of(st.text(), st.from_regex(rf"{LOGGER}: block \d+ 0x[0-9a-f]{{60,64}} on .*")))
def test_other_lines_tell_nothing(text: str) -> None:
    assert parse_arrival(text) is None
    assert parse_mining_total(text) is None


def test_a_status_that_does_not_exist() -> None:
    line = f"{LOGGER}: block 1 0x{'1' * 64} on 0x{'2' * 64} by 0x{'3' * 40} %s at 1.000000"
    assert parse_arrival(line % "extended") is not None
    assert parse_arrival(line % "eaten") is None
