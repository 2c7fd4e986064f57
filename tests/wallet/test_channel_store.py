"""The store of payments: totals only rise, and what was acknowledged is on the disk after a kill."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from contracts.addresses import PAYMENT_CHANNEL_ADDRESS
from primitives.errors import UserError
from primitives.secp256k1 import address_of
from wallet.channel_payment import InvalidPayment, Kind, SignedTotal, encode_total, parse_total, sign_total
from wallet.channel_store import ChannelKey, ChannelStore

KEY = b"\x01" * 32
PRODUCER = b"\x02" * 20
HERE, ELSEWHERE = ChannelKey(b"\xaa" * 32, 7), ChannelKey(b"\xbb" * 32, 7)

KEEP_AND_STOP = """
import sys
from pathlib import Path
from tests.wallet.test_channel_store import HERE, payment
from wallet.channel_store import ChannelStore
store = ChannelStore(Path(sys.argv[1]))
for total in range(1, 1000):
    store.keep_received(HERE, payment(total))
    print(total, flush=True)
"""


def payment(total_wei: int) -> SignedTotal:
    return sign_total(Kind.PAYMENT, 1947, PAYMENT_CHANNEL_ADDRESS, 7, PRODUCER, total_wei, KEY)


def closing(total_wei: int) -> SignedTotal:
    return sign_total(Kind.CLOSING, 1947, PAYMENT_CHANNEL_ADDRESS, 7, address_of(KEY), total_wei, KEY)


def test_totals_rise_and_ledgers_do_not_mix(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "channels.db"
    with ChannelStore(path) as store:
        assert store.best_received(HERE) is None
        assert store.keep_received(HERE, payment(5)) == 5
        assert store.keep_received(HERE, payment(9)) == 4
        for total in (9, 5):
            with pytest.raises(InvalidPayment, match="adds nothing"):
                store.keep_received(HERE, payment(total))
        store.keep_signed(HERE, payment(3))
        with pytest.raises(UserError, match="same moment"):
            store.keep_signed(HERE, payment(3))
    with ChannelStore(path) as store:
        assert store.best_received(HERE) == payment(9)
        assert store.last_signed(HERE) == payment(3)
        assert store.best_received(ELSEWHERE) is None
    assert path.stat().st_mode & 0o077 == 0


def test_after_an_agreement_no_payment_is_taken(tmp_path: Path) -> None:
    with ChannelStore(tmp_path / "channels.db") as store:
        store.keep_received(HERE, payment(5))
        with pytest.raises(UserError, match="same moment"):
            store.keep_agreed(HERE, closing(4))
        store.keep_agreed(HERE, closing(5))
        with pytest.raises(InvalidPayment, match="agreed to the closing"):
            store.keep_received(HERE, payment(6))
        assert store.agreed(HERE) == closing(5)


def test_two_at_once_do_not_both_get_the_same_money(tmp_path: Path) -> None:
    path = tmp_path / "channels.db"
    with ChannelStore(path) as one, ChannelStore(path) as other:
        assert one.keep_received(HERE, payment(5)) == 5
        with pytest.raises(InvalidPayment):
            other.keep_received(HERE, payment(5))


def test_a_kill_after_the_acknowledgement_loses_nothing(tmp_path: Path) -> None:
    """Killed in the middle of its work, a process has on the disk all that it said it has."""
    path = tmp_path / "channels.db"
    process = subprocess.Popen([sys.executable, "-c", KEEP_AND_STOP, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    acknowledged = 0
    while acknowledged < 20:
        acknowledged = int(process.stdout.readline())
    os.kill(process.pid, signal.SIGKILL)
    rest = process.stdout.read().split()
    process.stdout.close()
    process.wait()
    acknowledged = int(rest[-1]) if rest else acknowledged
    with ChannelStore(path) as store:
        best = store.best_received(HERE)
        assert best is not None
        assert acknowledged <= best.total_wei <= acknowledged + 1
        assert best == payment(best.total_wei)


def test_the_text_comes_back_as_it_was() -> None:
    for kind, total in ((Kind.PAYMENT, payment(2**96 - 1)), (Kind.CLOSING, closing(0))):
        assert parse_total(encode_total(total), kind) == total
        assert total.signer() == address_of(KEY)
