"""Where a transaction is, by its hash, kept so that writing it does not wear out a card.

Hashes fall anywhere, so one great index would rewrite a page for every transaction. Blocks are gathered in epochs of
64 instead, each a small index that takes few pages; old epochs are merged into eras of 4,096 blocks, sorted, once. A
search asks each epoch and era in turn, about a microsecond each.

A row holds 48 bits of the hash only; the caller compares the whole one.
"""

import sqlite3
from collections.abc import Iterator, Sequence

EPOCH_BLOCKS = 64
ERA_BLOCKS = 4_096
_UNMERGED_ERAS = 2
"""The newest eras, the one that grows included, stay in epochs: a reorganisation never reaches merged blocks."""

_POSITION_BITS = 16
MAX_TRANSACTIONS = 1 << _POSITION_BITS
"""In a block; 30 million gas allow 1,428."""

_PREFIX_BYTES = 6


def add(connection: sqlite3.Connection, number: int, hashes: Sequence[bytes]) -> None:
    """The transactions of canonical block `number` have these hashes, in order."""
    if len(hashes) > MAX_TRANSACTIONS:
        raise ValueError(f"a block of {len(hashes)} transactions; at most {MAX_TRANSACTIONS} can be indexed")
    connection.executemany("INSERT INTO transaction_index VALUES (?, ?, ?)", sorted(_rows(number, hashes)))
    if number % ERA_BLOCKS == 0 and number >= _UNMERGED_ERAS * ERA_BLOCKS:
        _merge(connection, number // ERA_BLOCKS - _UNMERGED_ERAS)


def leap(connection: sqlite3.Connection, head: int) -> None:
    """Block `head` became the newest without those below having been added: merge what they would have merged."""
    epochs_of_era = ERA_BLOCKS // EPOCH_BLOCKS
    oldest = connection.execute("SELECT min(epoch) FROM transaction_index WHERE epoch >= 0").fetchone()[0]
    newest = connection.execute("SELECT max(epoch) FROM transaction_index").fetchone()[0]
    if oldest is not None:
        last = min(newest // epochs_of_era, head // ERA_BLOCKS - _UNMERGED_ERAS)
        for era in range(oldest // epochs_of_era, last + 1):
            _merge(connection, era)


def remove(connection: sqlite3.Connection, number: int, hashes: Sequence[bytes]) -> None:
    """Block `number` is no longer canonical."""
    connection.executemany(
        "DELETE FROM transaction_index WHERE epoch = ? AND prefix = ? AND position = ?", _rows(number, hashes)
    )


def candidates(connection: sqlite3.Connection, head: int, transaction_hash: bytes) -> Iterator[tuple[int, int]]:
    """(block number, index) of the transactions whose hash begins like this one, newest epochs first."""
    merged_eras = max(0, head // ERA_BLOCKS - _UNMERGED_ERAS + 1)
    first_epoch = merged_eras * (ERA_BLOCKS // EPOCH_BLOCKS)
    # One era more: a reorganisation to a heavier but shorter branch may have brought the head back across an era's end.
    for first, last in ((first_epoch, head // EPOCH_BLOCKS), (-merged_eras - 1, -1)):
        for (position,) in connection.execute(
            "WITH RECURSIVE span (epoch) AS "
            "(VALUES (:last) UNION ALL SELECT epoch - 1 FROM span WHERE epoch > :first) "
            "SELECT rows.position FROM span CROSS JOIN transaction_index AS rows "
            "ON rows.epoch = span.epoch AND rows.prefix = :prefix",
            {"first": first, "last": last, "prefix": _prefix(transaction_hash)},
        ):
            yield position >> _POSITION_BITS, position & (MAX_TRANSACTIONS - 1)


def _rows(number: int, hashes: Sequence[bytes]) -> list[tuple[int, int, int]]:
    epoch, start = number // EPOCH_BLOCKS, number << _POSITION_BITS
    return [(epoch, _prefix(transaction_hash), start | index) for index, transaction_hash in enumerate(hashes)]


def _merge(connection: sqlite3.Connection, era: int) -> None:
    """Make one sorted index of an era's epochs. Eras count -1, -2, ... where epochs count 0, 1, ..."""
    epochs = (era * (ERA_BLOCKS // EPOCH_BLOCKS), (era + 1) * (ERA_BLOCKS // EPOCH_BLOCKS) - 1)
    connection.execute(
        "INSERT OR IGNORE INTO transaction_index SELECT ?, prefix, position FROM transaction_index "
        "WHERE epoch BETWEEN ? AND ? ORDER BY prefix, position",
        (-1 - era, *epochs),
    )
    connection.execute("DELETE FROM transaction_index WHERE epoch BETWEEN ? AND ?", epochs)


def _prefix(transaction_hash: bytes) -> int:
    return int.from_bytes(transaction_hash[:_PREFIX_BYTES], "big")
