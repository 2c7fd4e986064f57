"""The meter's side of short codes: each is taken once, and what it adds is on the disk before the meter says so.

A meter without a connection counts credit by these codes alone. Wrong codes cost time: a short code has so few digits
that some ten thousand guesses would find one.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from contracts.openpaygo import CodeCounts, CodeKind, CodeSecret, CodeUsed, InvalidCode, ReadCode, read_code
from primitives.errors import InvalidHex, UserError
from primitives.hexadecimal import parse_data, to_data
from primitives.json_text import InvalidJson, parse_json
from wallet.durable_file import DurableFile, FileKind

FREE_TRIES = 3
"""Wrong codes in a row before the keypad waits: people mistype."""
FIRST_WAIT_S = 60
MAX_WAIT_S = 8 * 3_600
"""The wait doubles with each wrong code up to this: three guesses a day then, nine years for an even chance."""
MAX_UNITS = 2**53 - 1
MAX_FILE_BYTES = 4_096

FILE = FileKind(
    "the keypad's file",
    0x77636B70,
    1,
    (
        "CREATE TABLE keypad (id INTEGER PRIMARY KEY CHECK (id = 1), serial TEXT NOT NULL, key BLOB NOT NULL, "
        "starting_code INTEGER NOT NULL, four_digits INTEGER NOT NULL, unit_wei TEXT NOT NULL, count INTEGER NOT NULL, "
        "used TEXT NOT NULL, units INTEGER NOT NULL, is_unlocked INTEGER NOT NULL, wrong_tries INTEGER NOT NULL, "
        "closed_until_s INTEGER NOT NULL) STRICT",
    ),
)


class KeypadWaits(UserError):
    """Too many wrong codes: the keypad takes none before a time."""


@dataclass(frozen=True, slots=True)
class KeypadSettings:
    """What the supplier gives to a meter, once."""

    serial: str
    secret: CodeSecret
    unit_wei: int
    count: int

    def to_text(self) -> str:
        """JSON for the meter's technician; it holds the key."""
        document = {
            "wattchain": "keypad",
            "serial": self.serial,
            "key": to_data(self.secret.key),
            "starting_code": self.secret.starting_code,
            "four_digits": self.secret.keypad_1_to_4,
            "unit_wei": str(self.unit_wei),
            "count": self.count,
        }
        return json.dumps(document)

    @classmethod
    def from_text(cls, text: str) -> "KeypadSettings":
        """Raises UserError for anything else than what `to_text` writes."""
        problem = UserError("That is no keypad's settings: give the file that `wattchain voucher short new` wrote.")
        try:
            document = parse_json(text)
            if not isinstance(document, dict) or document.get("wattchain") != "keypad" or len(document) != 7:
                raise problem
            numbers = [document["starting_code"], document["count"], int(str(document["unit_wei"])[:40])]
            if any(isinstance(one, bool) or not isinstance(one, int) or one < 0 for one in numbers):
                raise problem
            secret = CodeSecret(parse_data(document["key"], 16), numbers[0], document["four_digits"] is True)
            return cls(str(document["serial"])[:40], secret, numbers[2], numbers[1])
        except (InvalidJson, InvalidHex, InvalidCode, KeyError, ValueError) as error:
            raise problem from error


@dataclass(frozen=True, slots=True)
class KeypadState:
    """What the codes have brought so far."""

    settings: KeypadSettings
    counts: CodeCounts
    units: int
    """All units that codes have brought; what the meter has used of them is the meter's to count."""
    is_unlocked: bool
    wrong_tries: int
    closed_until_s: int

    @property
    def credit_wei(self) -> int:
        return self.units * self.settings.unit_wei


class KeypadFile(DurableFile):
    """A meter's keypad; use as a context manager."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, FILE)

    def install(self, settings: KeypadSettings) -> None:
        """Raises UserError where there is a keypad already: a second one would count codes twice."""
        with self.transaction() as connection:
            if connection.execute("SELECT count(*) FROM keypad").fetchone()[0]:
                raise UserError(f"There is a keypad in {self.path} already; it stays as it is.")
            secret = settings.secret
            row = (settings.serial, secret.key, secret.starting_code, int(secret.keypad_1_to_4), str(settings.unit_wei))
            connection.execute(
                "INSERT INTO keypad VALUES (1, ?, ?, ?, ?, ?, ?, '[]', 0, 0, 0, 0)", (*row, settings.count)
            )

    def state(self) -> KeypadState:
        """Raises UserError where no keypad is installed."""
        with self.reading() as connection:
            row = connection.execute(
                "SELECT serial, key, starting_code, four_digits, unit_wei, count, used, units, is_unlocked, "
                "wrong_tries, closed_until_s FROM keypad"
            ).fetchone()
        if row is None:
            raise UserError(f"There is no keypad in {self.path}; `wattchain meter keypad install` makes one.")
        settings = KeypadSettings(row[0], CodeSecret(row[1], row[2], bool(row[3])), int(row[4]), row[5])
        counts = CodeCounts(row[5], frozenset(json.loads(row[6])))
        return KeypadState(settings, counts, row[7], bool(row[8]), row[9], row[10])

    def enter(self, code: str, now_s: int) -> ReadCode:
        """Take a code; what it brings is on the disk when this returns.

        Raises KeypadWaits, CodeUsed, InvalidCode. A wrong code is counted, one that was used is not.
        """
        with self.transaction() as connection:
            state = self.state()
            # A clock that was set back must not lock the customer out for longer than the longest wait.
            wait_s = state.closed_until_s - now_s
            if 0 < wait_s <= MAX_WAIT_S:
                raise KeypadWaits(f"Too many wrong codes: the keypad takes the next one in {-(-wait_s // 60)} min.")
            try:
                read = read_code(state.settings.secret, state.counts, code)
            except CodeUsed:
                raise
            except InvalidCode as error:
                wrong: InvalidCode | None = error
            else:
                wrong = None
                units = self._units_after(state, read)
                is_unlocked = state.is_unlocked or read.kind is CodeKind.DISABLE_PAYG
                connection.execute(
                    "UPDATE keypad SET count = ?, used = ?, units = ?, is_unlocked = ?, wrong_tries = 0",
                    (read.counts.last, json.dumps(sorted(read.counts.used)), units, int(is_unlocked)),
                )
            if wrong is not None:
                tries = state.wrong_tries + 1
                waits = tries - FREE_TRIES
                until_s = now_s + min(MAX_WAIT_S, FIRST_WAIT_S << min(waits, 20)) if waits >= 0 else 0
                connection.execute("UPDATE keypad SET wrong_tries = ?, closed_until_s = ?", (tries, until_s))
        if wrong is not None:
            raise wrong
        return read

    @staticmethod
    def _units_after(state: KeypadState, read: ReadCode) -> int:
        if read.kind is CodeKind.ADD_TIME:
            return min(MAX_UNITS, state.units + read.value)
        return read.value if read.kind is CodeKind.SET_TIME else state.units
