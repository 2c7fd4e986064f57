"""The index by epochs finds every transaction, before and after epochs are merged into eras, and forgets on request."""

import hashlib

import pytest

from chain.store import transaction_index
from chain.store.database import Database


def hashes(number):
    return [hashlib.sha256(b"%d %d" % (number, index)).digest() for index in range(3)]


@pytest.fixture
def connection(tmp_path, monkeypatch):
    monkeypatch.setattr(transaction_index, "EPOCH_BLOCKS", 4)
    monkeypatch.setattr(transaction_index, "ERA_BLOCKS", 16)
    with Database.open(tmp_path) as database, database.transaction():
        yield database.connection


def found(connection, head, wanted):
    return list(transaction_index.candidates(connection, head, wanted))


def test_every_transaction_is_found_while_the_chain_grows(connection):
    for head in range(100):
        transaction_index.add(connection, head, hashes(head))
        for number in {0, head // 3, head // 2, max(0, head - 17), head}:
            for index, wanted in enumerate(hashes(number)):
                assert found(connection, head, wanted) == [(number, index)]
        assert found(connection, head, bytes(32)) == []
    epochs = {row[0] for row in connection.execute("SELECT epoch FROM transaction_index")}
    assert epochs == {-5, -4, -3, -2, -1, *range(20, 25)}
    assert connection.execute("SELECT count(*) FROM transaction_index").fetchone()[0] == 300


def test_a_reorganisation_over_the_end_of_an_era_loses_nothing(connection):
    for head in range(97):
        transaction_index.add(connection, head, hashes(head))
    for number in range(96, 84, -1):
        transaction_index.remove(connection, number, hashes(number))
        assert found(connection, number - 1, hashes(number)[0]) == []
        assert all(found(connection, number - 1, hashes(older)[1]) == [(older, 1)] for older in range(number))
    for number in range(85, 97):
        transaction_index.add(connection, number, hashes(number + 1_000))
    assert found(connection, 96, hashes(90)[1]) == []
    assert found(connection, 96, hashes(1_090)[1]) == [(90, 1)]
    assert all(found(connection, 96, hashes(number)[2]) == [(number, 2)] for number in range(85))


def test_a_block_of_too_many_transactions_is_refused(connection):
    with pytest.raises(ValueError, match="65537 transactions"):
        transaction_index.add(connection, 1, [bytes(32)] * 65_537)
