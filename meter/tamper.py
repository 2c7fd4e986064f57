"""What shows that somebody had a hand in a meter: other settings, another program, an open cover.

Each appears in the flags of a signed reading, so that the supplier sees it however the device behaves afterwards. What
the settings and the program were is kept in the meter's database as hashes.
"""

import asyncio
import hashlib
import logging
from dataclasses import dataclass
from pathlib import Path

from contracts.reading_format import StatusFlag
from meter.gpio import MAX_PIN, InputPin, open_input
from meter.kept_values import KeptValues
from meter.live import Noting
from primitives.clock import Clock
from wallet.settings_file import Range

logger = logging.getLogger(__name__)

ROOT = Path(__file__).resolve().parent.parent
PROGRAM_ROOMS = ("primitives", "contracts", "chain", "vm", "wallet", "meter")
"""Whose code a running meter may execute."""
# A switch that rattles is one event.
BOUNCE_S = 0.05
# How often the switch is looked at anyway; an open cover is noted each time, so that every reading says so.
LOOK_S = 1.0


COVER_STATES = ("connected", "open")


@dataclass(frozen=True, slots=True)
class TamperSettings:
    """[tamper]: the switch below the meter's cover."""

    cover_pin: int = -1
    """GPIO pin (BCM) of a switch that connects it to ground; -1: there is none."""
    cover_closed_is: str = "connected"
    """One of COVER_STATES: what the switch is while the cover is closed."""

    def ranges(self) -> tuple[Range, ...]:
        return (("tamper.cover_pin", self.cover_pin, -1, MAX_PIN),)


def program_hash(root: Path = ROOT) -> str:
    """SHA-256 over the program's own files, their names included."""
    digest = hashlib.sha256()
    for room in PROGRAM_ROOMS:
        for path in sorted((root / room).rglob("*.py")):
            content = path.read_bytes()
            digest.update(f"{path.relative_to(root)} {len(content)}\n".encode())
            digest.update(content)
    return digest.hexdigest()


class ChangeWatch:
    """Compares settings and program with those of the last signed reading."""

    def __init__(self, kept: KeptValues, hashes: dict[str, str]) -> None:
        """`hashes` of "settings" and "program" as they are now."""
        self._kept = kept
        self._changed = {name: value for name, value in hashes.items() if kept.get(f"hash of {name}") != value}

    def note(self, noting: Noting) -> None:
        """Before the first reading is signed. A meter without a past has no changes."""
        for name, flag in (("settings", StatusFlag.SETTINGS_CHANGED), ("program", StatusFlag.PROGRAM_CHANGED)):
            if name in self._changed and self._kept.get(f"hash of {name}") is not None:
                noting.note(flag, f"the meter's {name} changed", at_once=True)

    def signed(self) -> None:
        """A reading that says so is on the disk; not before it is, so that no power cut hides a change."""
        for name, value in self._changed.items():
            self._kept.set(f"hash of {name}", value)
        self._changed = {}


class CoverSwitch:
    """Service: notes TAMPER and COVER_OPEN at once when the cover is opened, and COVER_OPEN as long as it is."""

    def __init__(self, settings: TamperSettings, noting: Noting, clock: Clock) -> None:
        self._settings = settings
        self._noting = noting
        self._clock = clock
        self._changed = asyncio.Event()
        self._pin: InputPin | None = None

    async def run(self) -> None:
        """Until cancelled. Raises UserError where the pin cannot be used."""
        loop = asyncio.get_running_loop()

        def on_change(is_active: bool) -> None:  # in a thread of gpiozero
            loop.call_soon_threadsafe(self._changed.set)

        self._pin = open_input(self._settings.cover_pin, bounce_s=BOUNCE_S, on_change=on_change)
        was_open = False
        try:
            while True:
                self._changed.clear()
                was_open = self._look(was_open)
                await self._wait()
        finally:
            self._pin.close()

    def _look(self, was_open: bool) -> bool:
        if self._pin is None:
            raise RuntimeError("a cover switch is looked at before it runs")
        is_connected = self._pin.is_active
        is_open = is_connected != (self._settings.cover_closed_is == "connected")
        if is_open and not was_open:
            logger.warning("THE METER'S COVER IS OPEN")
            self._noting.note(StatusFlag.TAMPER | StatusFlag.COVER_OPEN, "the cover was opened", at_once=True)
        elif is_open:
            self._noting.note(StatusFlag.COVER_OPEN, "the cover is open")
        elif was_open:
            logger.warning("the meter's cover is closed again")
            self._noting.note(StatusFlag.COVER_OPEN, "the cover was closed", at_once=True)
        return is_open

    async def _wait(self) -> None:
        """Until the switch changes, or for a moment: an edge may be lost while it rattles."""
        changing = asyncio.ensure_future(self._changed.wait())
        looking = asyncio.ensure_future(self._clock.sleep_s(LOOK_S))
        try:
            await asyncio.wait((changing, looking), return_when=asyncio.FIRST_COMPLETED)
        finally:
            changing.cancel()
            looking.cancel()
