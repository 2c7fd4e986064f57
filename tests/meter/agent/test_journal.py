"""The agent's book: what was signed counts for 24 hours of the own clock, and older entries make room."""

import sqlite3
from pathlib import Path

import pytest

from chain.transaction import LEGACY, Transaction, sign_transaction
from meter.agent.journal import (
    DONE,
    DROPPED,
    FAILED,
    IN_BLOCK,
    KEPT_SENT_S,
    KIND,
    UNDER_WAY,
    Journal,
    Signed,
    only_agent,
)
from primitives.errors import UserError
from tests.meter.agent.agents import WATT, World
from tests.meter.agent.trading_node import CHAIN_ID, DAY_S, HOUR_S, address, key_of

NOON_S = 20_000 * DAY_S + 12 * HOUR_S


def book(folder: Path) -> Journal:
    return Journal(folder / "agent.sqlite", CHAIN_ID, address("solar"))


def begin(
    journal: Journal, time_s: int, nonce: int, spend_wei: int = 0, energy_wh: int = 0, raw: bytes = b"raw"
) -> None:
    journal.begin(time_s, "bid: 900", spend_wei, energy_wh, nonce, nonce.to_bytes(32, "big"), raw)


@pytest.mark.parametrize("state", [UNDER_WAY, DONE, FAILED, DROPPED])
def test_what_was_signed_counts_whatever_became_of_it(tmp_path: Path, state: str) -> None:
    """By the node's word: it may be in a block all the same."""
    with book(tmp_path) as journal:
        begin(journal, NOON_S, 1, 5 * WATT, 700)
        begin(journal, NOON_S + 1, 2, WATT, 300)
        journal.mark(journal.unsettled()[0], state)
        assert journal.signed(NOON_S + 60) == Signed(2, 6 * WATT, 1_000)


def test_it_counts_for_24_hours_of_the_own_clock(tmp_path: Path) -> None:
    with book(tmp_path) as journal:
        begin(journal, NOON_S, 1, WATT)
        assert journal.signed(NOON_S + DAY_S - 1).spend_wei == WATT
        assert journal.signed(NOON_S + DAY_S) == Signed(0, 0, 0)
        begin(journal, NOON_S - 5 * DAY_S, 2, WATT)  # the clock was set back
        assert journal.signed(NOON_S - 5 * DAY_S).spend_wei == 2 * WATT
        assert journal.signed(NOON_S + DAY_S - 1).spend_wei == 2 * WATT
    with book(tmp_path) as journal:
        assert journal.signed(NOON_S + DAY_S - 1).spend_wei == 2 * WATT


def test_of_transactions_with_one_number_the_dearest_counts(tmp_path: Path) -> None:
    """Only one of them can ever be in a block; which one is not for the node to say."""
    with book(tmp_path) as journal:
        for spend_wei, energy_wh in ((5, 1), (4, 9), (3, 2)):
            begin(journal, NOON_S, 7, spend_wei, energy_wh)
        begin(journal, NOON_S, 8, 2, 100)
        assert journal.signed(NOON_S) == Signed(4, 7, 109)


def test_nothing_of_a_day_is_forgotten_and_older_entries_make_room(tmp_path: Path) -> None:
    raw = sign_transaction(Transaction(LEGACY, CHAIN_ID, 0, 2, 2, 21_000, bytes(20), 0, b""), key_of("solar")).encoded
    a_day, days = 40, 5
    with book(tmp_path) as journal:
        for number in range(days * a_day):
            begin(journal, NOON_S + number * DAY_S // a_day, number, 1, 1, raw)
            newest = journal.newest(1)[0]
            journal.mark(newest, DONE if number % 3 else IN_BLOCK)
            if number >= a_day:
                assert journal.signed(newest.time_s) == Signed(a_day, a_day, a_day)
        assert journal.fees_wei(newest.time_s) == a_day * 42_000
        assert len(journal.newest(1_000)) == KEPT_SENT_S // DAY_S * a_day + 1


async def test_transactions_of_a_day_are_bounded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("meter.agent.runner.MAX_SENT_A_DAY", 1)
    seller = world.agent(world.solar)
    await seller.round()
    assert seller.told == ["choose meter", "refused: advertise"]
    assert "1 transactions in 24 hours are the most" in seller.texts[-1]


def test_a_book_of_the_first_form_goes_on(tmp_path: Path) -> None:
    """It had no energy, and a day's begin that a node could move."""
    path = tmp_path / "agent.sqlite"
    connection = sqlite3.connect(path)
    for table in KIND.tables:
        if "INDEX sent_by_time" not in table:
            connection.execute(table.replace(", energy_wh INTEGER NOT NULL DEFAULT 0", ""))
    connection.execute("CREATE TABLE day (id INTEGER PRIMARY KEY CHECK (id = 1), begin_s INTEGER NOT NULL) STRICT")
    connection.execute(
        "INSERT INTO sent (time_s, text, spend_wei, nonce, hash, raw, state) "
        "VALUES (?, 'buy: x', '7', 3, ?, ?, 'done')",
        (NOON_S, bytes(32), b"raw"),
    )
    connection.execute(f"PRAGMA application_id = {KIND.application_id}")
    connection.execute("PRAGMA user_version = 1")
    connection.commit()
    connection.close()
    with book(tmp_path) as journal:
        assert journal.signed(NOON_S) == Signed(1, 7, 0)
        begin(journal, NOON_S, 4, 0, 5)
        assert journal.signed(NOON_S) == Signed(2, 7, 5)
    with book(tmp_path) as journal:
        assert journal.signed(NOON_S) == Signed(2, 7, 5)


def test_a_book_belongs_to_one_account_and_one_running_agent(tmp_path: Path) -> None:
    path = tmp_path / "agent.sqlite"
    Journal(path, CHAIN_ID + 1, address("home")).close()  # a mistake in the settings, before anything was signed
    with book(tmp_path) as journal:
        begin(journal, NOON_S, 1)
    for chain_id, name in ((CHAIN_ID, "home"), (CHAIN_ID + 1, "solar")):
        with pytest.raises(UserError, match="the book of another account"):
            Journal(path, chain_id, address(name))
    with only_agent(path), pytest.raises(UserError, match="running already"), only_agent(path):
        pass
