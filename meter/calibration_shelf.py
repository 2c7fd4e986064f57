"""The calibrations of a running meter, whatever was done to their file: nobody switches a meter off by editing it.

A file that was edited, cut, replaced or taken away is moved aside under a dated name, never deleted; it is told like
any tampering (meter/alterations.py). The meter goes on with what both have signed as the outbox knows it from before,
and checks again; where it knows nothing, with factors of 1 until the ledger answers (meter/calibration_carrier.py).
"""

import logging
import os
import sqlite3
from pathlib import Path

from meter.alterations import Alteration, Kind
from meter.calibration import AlteredBook, CalibrationBook
from meter.database import DiskFull, companions, move_aside
from meter.kept_values import KeptValues
from meter.outbox import Outbox
from meter.signed_calibration import History, history_text, parse_history
from primitives.clock import Clock
from primitives.errors import Invalid, UserError

logger = logging.getLogger(__name__)

KEPT_HISTORY = "calibrations"
# Samples wait meanwhile; another program holds the file for milliseconds.
BUSY_TIMEOUT_S = 0.5
# A file that cannot be used now is looked at again so soon.
RETRY_MS = 60_000
# With less space on the card SQLite may complain of anything.
MIN_FREE_BYTES = 256 * 1024
_PASSING = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL, sqlite3.SQLITE_NOMEM)


class CalibrationShelf:
    """What is known of one meter's calibrations: `history`."""

    def __init__(self, path: Path, chain_id: int, outbox: Outbox, clock: Clock) -> None:
        self.path = path
        self.chain_id = chain_id
        self.meter = outbox.meter
        self.history = History()
        self._outbox = outbox
        self._kept = KeptValues(outbox.database)
        self._clock = clock
        self._book: CalibrationBook | None = None
        self._version = -1
        self._tried_ms: int | None = None
        self._told = ""
        self._told_tampering = ""

    def open(self) -> None:
        """Never fails for what is wrong with the file."""
        known = self._known()
        try:
            if known not in (None, History()) and not os.path.lexists(self.path):
                raise UserError("it was taken away")
            self._open_book()
            if known is not None and not self.history.continues(known):
                raise UserError("it does not go on from what the meter went by before")
        except UserError as error:
            self._recover(error, known)
        if self._book is not None:
            self._keep()

    def close(self) -> None:
        if self._book is not None:
            self._book.close()
            self._book = None

    def look(self) -> bool:
        """Take over what was written to the file since; whether the calibrations are others now."""
        before = self.history
        book = self._book
        if book is None:
            if self._tried_ms is None or self._clock.elapsed_ms() - self._tried_ms >= RETRY_MS:
                self.open()
        elif not book.is_in_place():
            self.close()
            self.open()
        else:
            self._look_into(book)
        return self.history != before

    def replace(self, history: History) -> None:
        """Go by other calibrations from now on; the file with those up to now is kept aside."""
        self.history = history
        self._keep()
        try:
            if self._book is not None and self._book.history() == History():
                self._book.fill(history)
                self._version = self._book.version()
                return
            self.close()
            name = self._move_aside("replaced")
            logger.warning("the file of calibrations up to now was kept as %s", name)
            self._begin_anew(history)
        except (UserError, OSError) as error:
            self._do_without(str(error))

    def doubt(self) -> None:
        """The ledger holds others: what is kept beside the file brings nothing back any more."""
        self._kept.set(KEPT_HISTORY, "")

    def _look_into(self, book: CalibrationBook) -> None:
        known = self.history
        try:
            version = book.version()
            if version == self._version:
                return
            history = book.history()
            if not history.continues(known):
                raise UserError("it does not go on from what the meter went by before")
        except UserError as error:
            self._recover(error, known)
            return
        self.history, self._version = history, version
        self._keep()

    def _open_book(self) -> None:
        self._tried_ms = self._clock.elapsed_ms()
        self._book = book = CalibrationBook(self.path, self.chain_id, self.meter, BUSY_TIMEOUT_S)
        self._version = book.version()
        self.history = book.history()
        self._told = ""

    def _recover(self, error: UserError, known: History | None) -> None:
        """Go on with what is known to be genuine."""
        self.close()
        if self._is_passing(error):
            self.history = known or History()
            self._do_without(str(error))
            return
        self.history = genuine = known if known is not None and known.is_signed else History()
        where = "nothing of it was left"
        try:
            if any(os.path.lexists(part) for part in companions(self.path)):
                where = f"it was kept as {self._move_aside('altered')}"
            self._begin_anew(genuine)
        except (UserError, OSError) as trouble:
            self._do_without(str(trouble))
            where = f"it cannot be moved aside ({trouble})"
        count, why = len(genuine.records), error.reason if isinstance(error, AlteredBook) else str(error)
        factors = f"those known to be genuine, by {count} calibrations" if count else "1 until the ledger tells others"
        self._tell_tampering(
            f"the file of calibrations {self.path.name} was altered ({why}); {where}. The factors are {factors}"
        )

    def _begin_anew(self, history: History) -> None:
        self._open_book()
        if self._book is not None and history != History():
            self._book.fill(history)
            self._version = self._book.version()
            self.history = history

    def _move_aside(self, why: str) -> str:
        """The new name. Raises OSError."""
        return move_aside(self.path, why, self._clock.time_s()).name

    def _is_passing(self, error: UserError) -> bool:
        """Whether it may be nobody's doing: another program that holds the file, or no space."""
        code = getattr(error.__cause__, "sqlite_errorcode", None)
        if code is not None and code & 0xFF in _PASSING:
            return True
        try:
            free = os.statvfs(self.path.parent)
        except OSError:
            return False
        return free.f_bavail * free.f_frsize < MIN_FREE_BYTES

    def _do_without(self, why: str) -> None:
        self._tried_ms = self._clock.elapsed_ms()
        if why != self._told:
            self._told = why
            logger.error("THE FILE OF CALIBRATIONS CANNOT BE USED (%s); the meter goes on without it", why)

    def _tell_tampering(self, what: str) -> None:
        if what == self._told_tampering:
            return  # it was looked at again, and cannot be moved away
        self._told_tampering = what
        head = self._outbox.head()
        sequence = 0 if head is None else head.sequence
        try:
            self._outbox.alterations.record(Alteration(Kind.CALIBRATIONS, sequence, sequence, what))
        except DiskFull as error:
            logger.error("TAMPERING: %s", what)
            self._outbox.database.left_out("That the file of calibrations was altered", error)

    def _known(self) -> History | None:
        """What the meter went by when it ran last; None where nothing is kept, or what is kept was edited, too."""
        text = self._kept.get(KEPT_HISTORY)
        if not text:
            return None
        try:
            return parse_history(text, self.chain_id, self.meter)
        except Invalid as error:
            logger.error("what the outbox kept of the calibrations does not count: %s", error)
            return None

    def _keep(self) -> None:
        text = history_text(self.history)
        if text != self._kept.get(KEPT_HISTORY):
            self._kept.set(KEPT_HISTORY, text)
