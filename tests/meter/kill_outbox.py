"""Run by test_outbox.py in a process of its own: kills a writer of the outbox at every single SQL statement.

For N = 1, 2, ... a forked child makes an outbox and appends readings; when SQLite begins its Nth statement the child
kills itself with SIGKILL. Each time the survivor on the disk is checked, and carries on. Ends with "N statements".
"""

import os
import signal
import sys
from itertools import pairwise
from pathlib import Path

from meter.drivers.driver import Registers
from meter.head import Head, first_head
from meter.outbox import Outbox, OutgoingTransaction
from meter.reading import Reading, ReadingDomain, SignedReading
from meter.signer import KeySigner
from primitives.secp256k1 import address_of

KEY = b"\x21" * 32
METER = address_of(KEY)
DOMAIN = ReadingDomain(5, b"\x10" * 20)
READINGS = 4
NEVER = 10**9


def reading_after(head: Head) -> SignedReading:
    """Registers are a function of the sequence, so that lost or doubled energy shows."""
    sequence = head.sequence + 1
    return DOMAIN.sign(
        Reading(METER, sequence, 1000 * sequence, 7 * sequence, 3 * sequence, 1, 0, head.hash), KeySigner(KEY)
    )


def write(path: Path, promises: int, kill_at: int) -> None:
    """Append, take some out, and tell through a pipe what was promised."""
    counted = 0

    def count(statement: str) -> None:
        nonlocal counted
        counted += 1
        if counted == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    outbox = Outbox.open(path, DOMAIN, METER, KeySigner(KEY))
    outbox.database.connection.set_trace_callback(count)
    if outbox.head() is None:
        outbox.adopt(first_head(), b"\x01" * 32, 0)
    while (head := outbox.head()) is not None and head.sequence < READINGS:
        signed = reading_after(head)
        outbox.append(signed, b"%d" % signed.reading.sequence)
        os.write(promises, bytes([signed.reading.sequence]))
        if signed.reading.sequence == 2:
            outbox.store_transaction(OutgoingTransaction(0, METER, b"\x02" * 32, b"raw", 1, 2, 9))
            accepted = [one.reading for one in outbox.waiting(0, 1)]
            outbox.settle(accepted, 10)
            outbox.forget_transactions([0])
    os.write(promises, bytes([255]))


def check(path: Path, promised: int) -> None:
    outbox = Outbox.open(path, DOMAIN, METER)
    head, is_sealed = outbox.stored_head()
    assert is_sealed or head is None
    sequence = 0 if head is None else head.sequence
    assert sequence >= promised, f"reading {promised} was promised, the outbox ends at {sequence}"
    waiting = outbox.waiting(0, READINGS)
    for one in waiting:
        DOMAIN.verify(one)
    assert [one.reading.sequence for one in waiting] in (
        list(range(1, sequence + 1)),
        list(range(2, sequence + 1)),
    )
    for earlier, later in pairwise(waiting):
        assert later.reading.previous_hash == earlier.reading.hash
    if head is not None and sequence:
        assert head.registers == Registers(1000 * sequence, 7 * sequence, 3 * sequence)
        assert head.driver_state == b"%d" % sequence
        if waiting:
            assert head.hash == waiting[-1].reading.hash
    outbox.close()


def run_child(path: Path, kill_at: int) -> bytes:
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        write(path, writer, kill_at)
        os._exit(0)
    os.close(writer)
    told = b""
    while chunk := os.read(reader, 100):
        told += chunk
    os.close(reader)
    os.waitpid(child, 0)
    return told


def main(folder: Path) -> None:
    kill_at = 1
    while True:
        path = folder / f"{kill_at}.sqlite"
        told = run_child(path, kill_at)
        check(path, max((number for number in told if number != 255), default=0))
        if told.endswith(b"\xff"):
            break
        resumed = run_child(path, NEVER)
        assert resumed.endswith(b"\xff")
        check(path, READINGS)
        kill_at += 1
    print(f"{kill_at - 1} statements")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
