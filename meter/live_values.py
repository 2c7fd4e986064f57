"""What the running meter's device told last, for programs beside it: the port itself can be open once only.

A small file in memory (tmpfs), replaced at once; nothing is written where there is no such folder. For people and
calibration, never for what is billed.
"""

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Callable
from dataclasses import astuple, dataclass
from pathlib import Path

from meter.drivers.factors import Factor, Factors
from meter.live import Observation

MIN_INTERVAL_S = 0.5
"""A demo's clock may measure a thousand times a second; nobody looks so often."""
MAX_FILE_BYTES = 65_536
MAX_VALUES = 256


@dataclass(frozen=True, slots=True)
class ToldValues:
    """Values by name with unit, and when they were taken."""

    values: tuple[tuple[str, int], ...]
    taken_s: float
    """On the computer's monotonic clock."""
    factors: Factors
    """With which they were calibrated."""
    time_s: int | None = None
    """Unix time then by the meter's own clock; None while that is not set."""

    @property
    def age_s(self) -> float:
        return time.monotonic() - self.taken_s

    def get(self, name: str) -> int | None:
        return dict(self.values).get(name)


class LiveValues:
    """An observer (meter/live.py)."""

    def __init__(self, path: Path | None, factors: Callable[[], Factors] = Factors) -> None:
        self._path = path
        self._factors = factors
        self._written_s = -MIN_INTERVAL_S

    def observe(self, observation: Observation) -> None:
        measurement, now_s = observation.measurement, time.monotonic()
        if self._path is None or measurement is None or now_s - self._written_s < MIN_INTERVAL_S:
            return
        self._written_s = now_s
        values = dict(measurement.values)
        if measurement.power_mw is not None:
            values["power_mw"] = measurement.power_mw
        new = self._path.with_suffix(".new")
        # A full or missing folder must not stop the meter.
        with contextlib.suppress(OSError):
            factors = [astuple(row) for row in self._factors().rows]
            sample = observation.sample
            time_s = sample.registers.time_s if sample.is_timed else None
            told = {"monotonic_s": now_s, "values": values, "factors": factors, "time_s": time_s}
            new.write_text(json.dumps(told))
            new.replace(self._path)


def live_file(outbox: Path, configured: Path | None = None) -> Path | None:
    """The file that the meter of an outbox writes, first of all in `configured`; None where no folder is in memory."""
    for folder in _folders(configured):
        if os.access(folder, os.W_OK | os.X_OK):
            return folder / _name(outbox)
    return None


def live_files(outbox: Path, configured: Path | None = None) -> list[Path]:
    """Where the meter of an outbox may have written; which of them is there, nobody knows."""
    return [folder / _name(outbox) for folder in _folders(configured)]


def read_live(outbox: Path, configured: Path | None = None) -> ToldValues | None:
    """What the meter of an outbox told last; None where none runs here, or what is found is no such file."""
    found = [told for file in live_files(outbox, configured) if (told := _read(file)) is not None]
    return min(found, key=lambda told: told.age_s, default=None)


def _read(path: Path) -> ToldValues | None:
    try:
        with path.open("rb") as file:
            content = json.loads(file.read(MAX_FILE_BYTES))
        taken_s = float(content["monotonic_s"])
        values = tuple([(str(key), int(value)) for key, value in content["values"].items()][:MAX_VALUES])
        time_s = content.get("time_s")
        rows = [Factor(str(row[0]), int(row[1]), int(row[2])) for row in content["factors"][:MAX_VALUES]]
    except (OSError, ValueError, TypeError, LookupError, AttributeError, OverflowError, RecursionError):
        return None
    told = ToldValues(values, taken_s, Factors(tuple(rows)), time_s if isinstance(time_s, int) else None)
    return told if told.age_s >= 0 else None  # of this boot, and a number


def _name(outbox: Path) -> str:
    return hashlib.sha256(bytes(outbox.resolve())).hexdigest()[:32] + ".values"


def _folders(configured: Path | None) -> list[Path]:
    """As configured (meter.runtime_folder), of systemd, of the system, of the user."""
    given = os.environ.get("RUNTIME_DIRECTORY", "").split(":")[0]
    names = (given, "/run/wattchain-meter", "/run/wattchain", os.environ.get("XDG_RUNTIME_DIR", ""))
    return [*([configured] if configured else []), *[Path(name) for name in names if name]]
