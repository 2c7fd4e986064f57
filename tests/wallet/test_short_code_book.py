"""The supplier's book of short codes: no count twice, and each code with the voucher over its money."""

from pathlib import Path

import pytest

from contracts.openpaygo import CodeKind, CodeSecret, InvalidCode
from primitives.errors import UserError
from wallet.short_code_book import Keypad, ShortCodeBook

METER = b"\x05" * 20
KEYPAD = Keypad("TEST1", METER, CodeSecret(bytes(range(16)), 123_456_789), 10**17)


def voucher(keypad: Keypad, wei: int, serial: int) -> str:
    return f"{keypad.meter.hex()} {wei} {serial}"


def test_counts_go_on_across_restarts_and_vouchers_have_their_own_numbers(tmp_path: Path) -> None:
    path = tmp_path / "codes.db"
    with ShortCodeBook(path) as book:
        book.add(KEYPAD)
        first = book.issue("TEST1", CodeKind.ADD_TIME, 50, first_voucher_serial=900, make_voucher=voucher)
        assert (first.count, first.voucher) == (2, f"{METER.hex()} {50 * 10**17} 900")
    with ShortCodeBook(path) as book:
        second = book.issue("TEST1", CodeKind.ADD_TIME, 5, first_voucher_serial=900, make_voucher=voucher)
        assert (second.count, second.voucher) == (4, f"{METER.hex()} {5 * 10**17} 901")
        third = book.issue("TEST1", CodeKind.COUNTER_SYNC)
        assert (third.count, third.voucher) == (5, None)
        assert book.codes("TEST1") == [first, second, third]
        assert [one.count for one in book.keypads()] == [5]
    assert path.stat().st_mode & 0o077 == 0


def test_where_the_voucher_cannot_be_made_no_count_is_spent(tmp_path: Path) -> None:
    def fail(keypad: Keypad, wei: int, serial: int) -> str:
        raise UserError("no")

    with ShortCodeBook(tmp_path / "codes.db") as book:
        book.add(KEYPAD)
        with pytest.raises(UserError, match="no"):
            book.issue("TEST1", CodeKind.ADD_TIME, 50, make_voucher=fail)
        with pytest.raises(InvalidCode):
            book.issue("TEST1", CodeKind.ADD_TIME, 996)
        assert (book.keypad("TEST1").count, book.codes("TEST1")) == (1, [])


def test_what_the_book_refuses(tmp_path: Path) -> None:
    with ShortCodeBook(tmp_path / "codes.db") as book:
        book.add(KEYPAD)
        with pytest.raises(UserError, match="already"):
            book.add(KEYPAD)
        with pytest.raises(UserError, match="no keypad 'OTHER'"):
            book.issue("OTHER", CodeKind.ADD_TIME, 1)
        with pytest.raises(UserError, match="printable"):
            book.add(Keypad("", METER, KEYPAD.secret, 1))
        with pytest.raises(UserError, match="worth more"):
            book.add(Keypad("A", METER, KEYPAD.secret, 0))
