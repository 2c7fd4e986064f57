"""A person's order to the relay, above the ledger: one small file beside the outbox, limited in time.

`wattchain meter override` writes it, whether the meter runs or not; the running meter looks at it at every poll, and it
is still there after a restart. Nothing in it is trusted: it is bounded and checked, and a broken one counts for
nothing. Who may write to the meter's folder may override; the switch journal and the readings tell that somebody did.
"""

import errno
import json
import logging
import os
import stat
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from primitives.errors import UserError
from primitives.json_text import InvalidJson, parse_json

logger = logging.getLogger(__name__)

MAX_FILE_BYTES = 4_096
MAX_WHO_CHARACTERS = 60
MAX_REASON_CHARACTERS = 200
MAX_DURATION_S = 7 * 86_400
"""A week: long enough for a repair, short enough to be forgotten without harm."""
# A Pi without a clock of its own begins after a power cut with the time of up to an hour before.
CLOCK_SLACK_S = 3_600


@dataclass(frozen=True, slots=True)
class Override:
    is_on: bool | None
    """None: the ledger decides (auto)."""
    who: str
    at_s: int
    until_s: int
    """Unix time before which it holds."""
    reason: str

    def holds_at(self, time_s: int) -> bool:
        return self.is_on is not None and self.at_s - CLOCK_SLACK_S <= time_s < self.until_s

    def text(self) -> str:
        because = f": {self.reason}" if self.reason else ""
        if self.is_on is None:
            return f"override ended by {self.who}{because}"
        until = datetime.fromtimestamp(self.until_s, UTC).strftime("%Y-%m-%d %H:%M UTC")
        return f"override {'on' if self.is_on else 'off'} by {self.who} until {until}{because}"


def override_path(outbox: Path) -> Path:
    return outbox.with_name(outbox.name + ".override")


def write_override(path: Path, override: Override) -> None:
    """On the disk, whole or not at all, when this returns. Raises UserError."""
    temporary = path.with_name(path.name + ".new")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            os.fchmod(descriptor, 0o644)  # whatever the person's umask: the meter's own user has to read it
            json.dump(asdict(override), file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise UserError(f"the override cannot be written to {path}: {error.strerror}") from error


class OverrideFile:
    """The file as the running meter sees it; read again only where it has changed."""

    def __init__(self, path: Path, longest_s: int = MAX_DURATION_S) -> None:
        self._path = path
        self._longest_s = longest_s
        self._seen: tuple[int, int, int] | None = None
        self._override: Override | None = None

    def read(self) -> Override | None:
        """The newest order, which may be over; None where there is none, or a broken one."""
        try:
            found = self._path.stat()
            if not stat.S_ISREG(found.st_mode):  # a pipe would hold the meter up for ever
                raise OSError(errno.EINVAL, "it is no file")
            seen = (found.st_mtime_ns, found.st_ino, found.st_size)
            if seen != self._seen:
                self._seen = seen
                self._override = self._parse()
        except FileNotFoundError:
            self._seen = self._override = None
        except OSError as error:
            if self._seen != (0, 0, 0):
                logger.error("the override in %s cannot be read: %s", self._path, error.strerror)
            self._seen, self._override = (0, 0, 0), None
        return self._override

    def _parse(self) -> Override | None:
        with self._path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
        try:
            if len(content) > MAX_FILE_BYTES:
                raise InvalidJson("too long")
            return self._checked(parse_json(content))
        except InvalidJson as error:
            logger.error("the override in %s counts for nothing: %s. Give the order again", self._path, error)
            return None

    def _checked(self, document: object) -> Override:
        """Raises InvalidJson."""
        if not isinstance(document, dict) or set(document) != {"is_on", "who", "at_s", "until_s", "reason"}:
            raise InvalidJson("it is not of the form that `wattchain meter override` writes")
        is_on, at_s, until_s = document["is_on"], document["at_s"], document["until_s"]
        texts = (document["who"], document["reason"])
        if not (is_on is None or isinstance(is_on, bool)) or type(at_s) is not int or type(until_s) is not int:
            raise InvalidJson("a value has the wrong type")
        if not all(isinstance(text, str) and len(text) <= MAX_REASON_CHARACTERS for text in texts):
            raise InvalidJson("a text is too long")
        if not 0 <= at_s <= until_s < 2**40:
            raise InvalidJson("it ends before it begins")
        if is_on is not None and until_s - at_s > self._longest_s:
            raise InvalidJson(f"it is to hold {until_s - at_s} s, and relay.longest_override_s is {self._longest_s}")
        who, reason = ["".join(character for character in text if character.isprintable()) for text in texts]
        return Override(is_on, who[:MAX_WHO_CHARACTERS], at_s, until_s, reason)
