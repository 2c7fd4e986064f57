"""A supplier's book of short codes: the meters with keypads, their keys and counts, and every code that was given out.

The count goes on, and the code is written down, before a code is shown: after a power cut no count is given twice. With
a code that adds units goes a long voucher over the same money, so that ledger and meter agree
(docs/contracts/short-codes.md).
The keys in this file make codes: whoever has it can give out energy.
"""

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from contracts.openpaygo import CodeKind, CodeSecret, make_code
from primitives.errors import UserError
from wallet.durable_file import DurableFile, FileKind

FIRST_COUNT = 1
"""Of a new meter, as in the specification: its first code has a greater one."""
MAX_SERIAL_CHARACTERS = 40

FILE = FileKind(
    "the book of your short codes",
    0x77637362,
    1,
    (
        "CREATE TABLE keypads (serial TEXT PRIMARY KEY, meter BLOB NOT NULL, key BLOB NOT NULL, "
        "starting_code INTEGER NOT NULL, four_digits INTEGER NOT NULL, unit_wei TEXT NOT NULL, count INTEGER NOT NULL) "
        "STRICT",
        "CREATE TABLE codes (id INTEGER PRIMARY KEY, serial TEXT NOT NULL, count INTEGER NOT NULL, kind TEXT NOT NULL, "
        "value INTEGER NOT NULL, code TEXT NOT NULL, voucher_serial INTEGER UNIQUE, voucher TEXT) STRICT",
    ),
)


@dataclass(frozen=True, slots=True)
class Keypad:
    """A meter that takes codes."""

    serial: str
    """What its supplier calls it; printed on the device."""
    meter: bytes
    """Its address on the ledger."""
    secret: CodeSecret
    unit_wei: int
    """What one unit of a code is worth."""
    count: int = FIRST_COUNT


@dataclass(frozen=True, slots=True)
class IssuedCode:
    """A code that was given out, with the long voucher over the same money."""

    serial: str
    count: int
    kind: CodeKind
    value: int
    code: str
    voucher: str | None


MakeVoucher = Callable[[Keypad, int, int], str]
"""(keypad, wei, serial number of the voucher) -> the text of a long voucher."""


class ShortCodeBook(DurableFile):
    """An open book; use as a context manager."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, FILE)

    def add(self, keypad: Keypad) -> None:
        """Raises UserError where the serial number is taken."""
        if not 0 < len(keypad.serial) <= MAX_SERIAL_CHARACTERS or not keypad.serial.isprintable():
            raise UserError(f"A serial number has from 1 to {MAX_SERIAL_CHARACTERS} printable characters.")
        if keypad.unit_wei <= 0:
            raise UserError("A unit must be worth more than nothing.")
        secret = keypad.secret
        with self.transaction() as connection:
            if self._find(connection, keypad.serial) is not None:
                raise UserError(f"There is a keypad {keypad.serial} in the book already.")
            row = (keypad.serial, keypad.meter, secret.key, secret.starting_code, int(secret.keypad_1_to_4))
            connection.execute(
                "INSERT INTO keypads VALUES (?, ?, ?, ?, ?, ?, ?)", (*row, str(keypad.unit_wei), keypad.count)
            )

    def keypad(self, serial: str) -> Keypad:
        """Raises UserError where the book has none of that serial number."""
        with self.reading() as connection:
            found = self._find(connection, serial)
        if found is None:
            raise UserError(
                f"There is no keypad '{serial[:MAX_SERIAL_CHARACTERS]}' in {self.path}; "
                "`wattchain voucher short list` shows those that are there."
            )
        return found

    def keypads(self) -> list[Keypad]:
        with self.reading() as connection:
            return [_keypad(row) for row in connection.execute("SELECT * FROM keypads ORDER BY serial")]

    def codes(self, serial: str) -> list[IssuedCode]:
        """All that were given out, the newest last."""
        with self.reading() as connection:
            rows = connection.execute(
                "SELECT serial, count, kind, value, code, voucher FROM codes WHERE serial = ? ORDER BY id", (serial,)
            ).fetchall()
        return [IssuedCode(row[0], row[1], CodeKind(row[2]), *row[3:]) for row in rows]

    def issue(
        self,
        serial: str,
        kind: CodeKind,
        value: int = 0,
        *,
        is_long: bool = False,
        first_voucher_serial: int = 0,
        make_voucher: MakeVoucher | None = None,
    ) -> IssuedCode:
        """The next code of a keypad; on the disk, with its voucher, when this returns.

        The voucher's number is `first_voucher_serial`, or the next one that was not given yet. Raises UserError,
        InvalidCode.
        """
        with self.transaction() as connection:
            keypad = self.keypad(serial)
            code, count = make_code(keypad.secret, keypad.count, kind, value, is_long=is_long)
            voucher = voucher_serial = None
            if make_voucher is not None:
                highest = connection.execute("SELECT max(voucher_serial) FROM codes").fetchone()[0]
                voucher_serial = max(first_voucher_serial, 0 if highest is None else highest + 1)
                voucher = make_voucher(keypad, value * keypad.unit_wei, voucher_serial)
            connection.execute("UPDATE keypads SET count = ? WHERE serial = ?", (count, serial))
            connection.execute(
                "INSERT INTO codes (serial, count, kind, value, code, voucher_serial, voucher) VALUES (?,?,?,?,?,?,?)",
                (serial, count, kind.value, value, code, voucher_serial, voucher),
            )
        return IssuedCode(serial, count, kind, value, code, voucher)

    @staticmethod
    def _find(connection: sqlite3.Connection, serial: str) -> Keypad | None:
        row = connection.execute("SELECT * FROM keypads WHERE serial = ?", (serial,)).fetchone()
        return None if row is None else _keypad(row)


def _keypad(row: tuple[str, bytes, bytes, int, int, str, int]) -> Keypad:
    serial, meter, key, starting_code, four_digits, unit_wei, count = row
    return Keypad(serial, meter, CodeSecret(key, starting_code, bool(four_digits)), int(unit_wei), count)
