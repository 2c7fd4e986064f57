"""How the running meter does, on a page for `wattchain meter status`: the device, the power now, the clock.

A small file in memory (tmpfs) beside that of meter/live_values.py, replaced at once; nothing is written where there is
no such folder. For people, never for what is billed.
"""

import contextlib
import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from meter.live import Observation
from meter.live_values import live_file, live_files
from meter.reading import flag_names

MIN_INTERVAL_S = 2.0
"""Nobody looks more often."""
MAX_FILE_BYTES = 16_384
MAX_TEXT_CHARS = 1_000
FRESH_S = 180.0
"""A meter whose page is older does not run, or measures less often than every three minutes."""


@dataclass(frozen=True, slots=True)
class RunningPage:
    """What the running meter said last."""

    device: str
    """Kind of the driver."""
    power_w: int | None
    """None before the first measurement."""
    measured_s: float
    """When that was, on the computer's monotonic clock."""
    written_s: float
    trouble: str
    """What keeps measurements away just now; empty where they come."""
    is_timed: bool
    """False while the clock is not set, so that nothing is signed."""
    flags: tuple[str, ...]
    """Of the last sample."""

    @property
    def age_s(self) -> float:
        """Since it was written."""
        return time.monotonic() - self.written_s

    def lines(self) -> list[str]:
        """For a person."""
        power = "nothing yet" if self.power_w is None else f"{self.power_w} W"
        when = "" if self.power_w is None else f", {_ago(time.monotonic() - self.measured_s)}"
        lines = [f"Device    {self.device}: {power}{when}"]
        if self.trouble:
            lines = [f"Device    NO MEASUREMENTS from {self.device}: {self.trouble}"]
        elif self.age_s > FRESH_S:
            lines[0] += "; nothing since: does the meter run?"
        if self.flags:
            lines.append(f"Flags     {', '.join(self.flags)}")
        if not self.is_timed:
            lines.append("Clock     NOT SET: nothing is signed until a time server, or the ledger, tells the time")
        return lines

    def to_json(self) -> dict[str, object]:
        return {
            "device": self.device,
            "power_w": self.power_w,
            "measured_ago_s": None if self.power_w is None else round(time.monotonic() - self.measured_s, 1),
            "said_ago_s": round(self.age_s, 1),
            "trouble": self.trouble,
            "clock_is_set": self.is_timed,
            "flags": list(self.flags),
        }


class PageWriter:
    """Observer of a meter, and told of its trouble."""

    def __init__(self, path: Path | None, device: str, now_s: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._now_s = now_s
        self._page = RunningPage(device, None, 0.0, 0.0, "", True, ())
        self._written_s = -MIN_INTERVAL_S

    def observe(self, observation: Observation) -> None:
        sample, power_w, now_s, page = observation.sample, observation.power_w, self._now_s(), self._page
        flags = flag_names(int(sample.flags))
        new = RunningPage(page.device, power_w, now_s, now_s, "", sample.is_timed, flags)
        if power_w is None:  # silence: what was measured last, and what is wrong, stays
            new = replace(new, power_w=page.power_w, measured_s=page.measured_s, trouble=page.trouble)
        self._write(new, at_once=new.trouble != page.trouble or new.is_timed != page.is_timed)

    def trouble(self, reason: str) -> None:
        page, now_s = self._page, self._now_s()
        reason = _plain(reason)
        new = RunningPage(page.device, page.power_w, page.measured_s, now_s, reason, page.is_timed, page.flags)
        self._write(new, at_once=reason != page.trouble)

    def _write(self, page: RunningPage, *, at_once: bool) -> None:
        self._page = page
        if self._path is None or (not at_once and page.written_s - self._written_s < MIN_INTERVAL_S):
            return
        self._written_s = page.written_s
        new = self._path.with_suffix(".page-new")
        # A full or missing folder must not stop the meter.
        with contextlib.suppress(OSError):
            new.write_text(json.dumps(asdict(page)))
            new.replace(self._path)


def page_file(outbox: Path, configured: Path | None = None) -> Path | None:
    """The file that the meter of an outbox writes, first of all in `configured`; None where no folder is in memory."""
    file = live_file(outbox, configured)
    return None if file is None else file.with_suffix(".page")


def read_page(outbox: Path, configured: Path | None = None) -> RunningPage | None:
    """What the meter of an outbox said last; None where none runs here, or what is found is no such file."""
    names = [file.with_suffix(".page") for file in live_files(outbox, configured)]
    found = [page for path in names if (page := _read(path)) is not None]
    return min(found, key=lambda page: page.age_s, default=None)


def _read(path: Path) -> RunningPage | None:
    try:
        with path.open("rb") as file:
            content = json.loads(file.read(MAX_FILE_BYTES))
        power = content["power_w"]
        page = RunningPage(
            _plain(str(content["device"])),
            None if power is None else int(power),
            float(content["measured_s"]),
            float(content["written_s"]),
            _plain(str(content["trouble"])),
            content["is_timed"] is True,
            tuple([_plain(str(name)) for name in content["flags"][:32]]),
        )
        return page if math.isfinite(page.measured_s) and math.isfinite(page.written_s) else None
    except (OSError, ValueError, TypeError, LookupError, AttributeError, OverflowError, RecursionError):
        return None


def _plain(text: str) -> str:
    """For a terminal: devices and brokers say what they like."""
    return "".join([one if one.isprintable() else " " for one in " ".join(text.split())])[:MAX_TEXT_CHARS]


def _ago(seconds: float) -> str:
    if seconds < 2:
        return "just now"
    return f"{seconds:.0f} s ago" if seconds < 120 else f"{seconds / 60:.0f} minutes ago"
