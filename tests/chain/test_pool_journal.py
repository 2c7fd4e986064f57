"""The pool's journal: what was acknowledged outlives the process, and what is settled leaves the disk."""

import asyncio
import sqlite3
from pathlib import Path

import pytest

from chain.pool.admission import PoolLimits
from chain.pool.journal import PoolJournal
from chain.transaction import Transaction
from primitives.errors import UserError
from tests.chain.pool_world import ADDRESSES, RICH, Accounts, child, header, pool, transaction


def _on_disk(path: Path) -> set[bytes]:
    """What another process would read, were this one to vanish now."""
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as connection:
        hashes = {row[0] for row in connection.execute("SELECT hash FROM submitted")}
    connection.close()
    return hashes


async def test_an_acknowledged_transaction_is_on_disk(tmp_path: Path) -> None:
    path = tmp_path / "pool.sqlite"
    journal = PoolJournal(path)
    world = pool(journal=journal)
    own, gapped, foreign = transaction(0), transaction(1, nonce=5), transaction(2)
    await world.submit_many([own, gapped])
    world.add([foreign])
    await journal.flush()
    assert _on_disk(path) == {own.hash, gapped.hash}
    journal.close()


async def test_a_new_process_takes_everything_back(tmp_path: Path) -> None:
    path = tmp_path / "pool.sqlite"
    journal = PoolJournal(path)
    own = [transaction(0, nonce) for nonce in (0, 1, 3)]
    await pool(journal=journal).submit_many(own)
    journal.close()
    journal = PoolJournal(path)
    world = pool(journal=journal)
    assert list(world.pending()) == own[:2]
    assert world.status().queued == 1
    journal.close()


async def test_what_the_state_after_a_restart_cannot_pay_waits_instead_of_being_lost(tmp_path: Path) -> None:
    """The node may come back a few blocks earlier than it was: before the money had arrived."""
    path = tmp_path / "pool.sqlite"
    journal = PoolJournal(path)
    await pool(journal=journal).submit(transaction())
    journal.close()
    journal = PoolJournal(path)
    world = pool(Accounts({}), journal=journal)
    assert world.status().queued == 1
    head = child(header())
    world.head_changed(Accounts().having(0, balance=RICH), head, [])
    assert list(world.pending()) == [transaction()]
    journal.close()


async def test_settled_ones_leave_the_disk_when_they_are_deep_enough(tmp_path: Path) -> None:
    path = tmp_path / "pool.sqlite"
    journal = PoolJournal(path)
    world = pool(journal=journal)
    own = transaction()
    await world.submit(own)
    head = child(header())
    after = Accounts().having(0, nonce=1)
    world.head_changed(after, head, [own])
    for _ in range(PoolLimits().settled_depth_blocks - 1):
        head = child(head)
        world.head_changed(after, head, [])
    await world.submit(transaction(1))
    assert own.hash in _on_disk(path)
    world.head_changed(after, child(head), [])
    await world.submit(transaction(2))
    assert own.hash not in _on_disk(path)
    journal.close()


async def test_a_settled_one_that_a_reorganisation_returns_is_still_ours_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "pool.sqlite"
    journal = PoolJournal(path)
    world = pool(journal=journal)
    own = transaction()
    await world.submit(own)
    world.head_changed(Accounts().having(0, nonce=1), child(header()), [own])
    journal.close()
    journal = PoolJournal(path)
    world = pool(Accounts().having(0, nonce=1), head=child(header()), journal=journal)
    assert len(world) == 0
    world.head_changed(Accounts(), child(header(), gas_used=1), [], [own])
    assert list(world.pending()) == [own]
    journal.close()
    journal = PoolJournal(path)
    world = pool(journal=journal)
    assert list(world.pending()) == [own]
    journal.close()


async def test_a_returned_one_is_forgotten_like_any_other_of_our_own(tmp_path: Path) -> None:
    path = tmp_path / "pool.sqlite"
    journal = PoolJournal(path)
    world = pool(journal=journal)
    own, replacement = transaction(), transaction(tip=20, max_fee_per_gas=2_000)
    await world.submit(own)
    world.head_changed(Accounts().having(0, nonce=1), child(header()), [own])
    world.head_changed(Accounts(), child(header(), gas_used=1), [], [own])
    await world.submit(replacement)
    assert _on_disk(path) == {replacement.hash}
    journal.close()


async def test_replaced_and_evicted_ones_leave_the_disk(tmp_path: Path) -> None:
    path = tmp_path / "pool.sqlite"
    journal = PoolJournal(path)
    world = pool(journal=journal, max_transactions=2)
    old, new = transaction(0, tip=10), transaction(0, tip=20, max_fee_per_gas=2_000)
    await world.submit(old)
    await world.submit(new)
    await world.submit(transaction(1, tip=30))
    await world.submit(transaction(2, tip=30))
    assert len(world) == 2
    await journal.flush()
    journal.close()
    assert _on_disk(path) == {transaction(1, tip=30).hash, transaction(2, tip=30).hash}


async def test_where_the_ledger_was_lost_what_finds_no_room_waits_for_the_chain(tmp_path: Path) -> None:
    """The journal holds what is in blocks already and what is not; a new ledger cannot tell which, and few may wait."""
    path = tmp_path / "pool.sqlite"
    journal = PoolJournal(path)
    world = pool(Accounts().having(0, nonce=1).having(1, nonce=1), journal=journal)
    own = [transaction(sender, nonce) for nonce in range(1, 7) for sender in (0, 1)]
    for one in own:
        await world.submit(one)
    journal.close()

    journal = PoolJournal(path)
    world = pool(Accounts(), journal=journal, max_queued=4)  # nonce 0 of both is in no block that is here
    assert world.status().queued == 4
    announced: list[Transaction] = []
    world.subscribe(announced.extend)
    head = child(header())
    world.head_changed(Accounts().having(0, nonce=1).having(1, nonce=4), head, [transaction(0, 0), transaction(1, 3)])
    assert world.status().queued == 0
    assert set(world.pending()) == {one for one in own if one.sender == ADDRESSES[0] or one.nonce >= 4}
    assert set(announced) == set(world.pending())
    assert {one.hash for one in own} <= _on_disk(path)
    journal.close()


async def test_one_that_waits_for_room_can_come_again_before_there_is_any(tmp_path: Path) -> None:
    path = tmp_path / "pool.sqlite"
    journal = PoolJournal(path)
    world = pool(Accounts().having(0, nonce=1), journal=journal)
    own = [transaction(0, nonce) for nonce in (1, 2)]
    for one in own:
        await world.submit(one)
    journal.close()

    journal = PoolJournal(path)
    world = pool(Accounts(), journal=journal, max_queued=1)
    assert world.add([transaction(0, 0), own[1]]) == [None, None]  # from a peer
    world.head_changed(Accounts().having(0, nonce=1), child(header()), [transaction(0, 0)])
    assert list(world.pending()) == own
    journal.close()
    assert {one.hash for one in own} <= _on_disk(path)


async def test_one_that_a_peer_brought_first_is_promised_too(tmp_path: Path) -> None:
    path = tmp_path / "pool.sqlite"
    journal = PoolJournal(path)
    world = pool(journal=journal)
    world.add([transaction()])
    (refusal,) = await world.submit_many([transaction()])
    assert str(refusal).startswith("already known")
    assert _on_disk(path) == {transaction().hash}
    journal.close()


async def test_many_submitters_share_commits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = PoolJournal(tmp_path / "pool.sqlite")
    commits = 0
    write = journal._write

    def count(batch: dict[bytes, bytes | None]) -> None:
        nonlocal commits
        commits += bool(batch)
        write(batch)

    monkeypatch.setattr(journal, "_write", count)
    world = pool(journal=journal)
    await asyncio.gather(*(world.submit(transaction(sender)) for sender in range(50)))
    assert commits <= 3
    assert len(_on_disk(tmp_path / "pool.sqlite")) == 50
    journal.close()


async def test_a_failed_write_is_not_acknowledged_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "pool.sqlite"
    journal = PoolJournal(path)
    world = pool(journal=journal)
    write = journal._write

    def fail(batch: dict[bytes, bytes | None]) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(journal, "_write", fail)
    with pytest.raises(sqlite3.OperationalError, match="full"):
        await world.submit(transaction(0))
    monkeypatch.setattr(journal, "_write", write)
    await world.submit(transaction(1))
    assert _on_disk(path) == {transaction(0).hash, transaction(1).hash}
    journal.close()


async def test_a_disk_that_takes_nothing_is_told_to_a_person(tmp_path: Path) -> None:
    journal = PoolJournal(tmp_path / "pool.sqlite")
    journal._connection.execute("PRAGMA query_only = ON")
    with pytest.raises(UserError, match=r"pool\.sqlite.*cannot be written"):
        await pool(journal=journal).submit(transaction(0))
    with pytest.raises(UserError, match="cannot be written"):
        journal.close()
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        journal.load()


async def test_a_journal_that_is_a_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be opened"):
        PoolJournal(tmp_path)


async def test_a_submitter_that_gives_up_takes_nothing_with_it(tmp_path: Path) -> None:
    path = tmp_path / "pool.sqlite"
    journal = PoolJournal(path)
    world = pool(journal=journal)
    hasty = asyncio.create_task(world.submit(transaction(0)))
    await asyncio.sleep(0)
    hasty.cancel()
    await world.submit(transaction(1))
    assert _on_disk(path) == {transaction(0).hash, transaction(1).hash}
    with pytest.raises(asyncio.CancelledError):
        await hasty
    journal.close()


def test_malformed_rows_are_dropped_loudly(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "pool.sqlite"
    journal = PoolJournal(path)
    journal.record(b"\x01" * 32, b"garbage")
    journal.record(transaction().hash, transaction().encoded)
    journal.close()
    journal = PoolJournal(path)
    world = pool(journal=journal)
    assert list(world.pending()) == [transaction()]
    assert "malformed transaction, 0x0101" in caplog.text
    journal.close()
    assert _on_disk(path) == {transaction().hash}


@pytest.mark.parametrize("content", [b"not a database at all, but long enough to be looked at" * 40, None])
def test_a_damaged_or_foreign_file_is_a_message_for_a_person(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "pool.sqlite"
    if content is None:
        with sqlite3.connect(path) as connection:
            connection.execute("CREATE TABLE holiday_photos (name)")
        connection.close()
    else:
        path.write_bytes(content)
    before = path.read_bytes()
    with pytest.raises(UserError, match=r"pool\.sqlite.*move it away"):
        PoolJournal(path)
    assert path.read_bytes() == before
