"""Meters with a pulse output (S0, or a photodiode before the lamp) on GPIO pins, by gpiozero: so many pulses a kWh.

The count is this program's own and begins at 0 with each start: what comes while it does not run is lost, and that
time is marked as a gap. A meter with a register that can be read bills better. Export has an output and a pin of its
own.
"""

from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from meter.drivers.measurement import Measurement, Source
from meter.drivers.turns import Turns
from meter.gpio import MAX_PIN, PULLS, InputPin, open_input
from primitives.clock import Clock
from primitives.errors import UserError
from wallet.settings_file import DAY_S, Range, check_ranges

MWH_PER_KWH = 10**6
MS_PER_HOUR = 3_600_000
# Lamps blink up to 10,000 times a kWh.
MAX_PULSES_PER_KWH = 100_000
# Power is told from the distance of two pulses, as long as there are such; slower than this it is told as none.
MAX_DISTANCE_MS = 600_000

Pull = Literal["up", "down", "none"]


@dataclass(frozen=True, slots=True)
class PulsesSettings:
    """[driver]: pulses on pins."""

    pin: int
    """Number of the GPIO pin (BCM) of the pulses of energy taken."""
    pulses_per_kwh: int
    """As printed on the meter: imp/kWh."""
    kind: str = "pulses"
    export_pin: int = -1
    """Pin of the pulses of energy given, where the meter has such an output; -1 for none."""
    pull: str = "up"
    """The resistor inside the Pi: "up" for an output that connects the pin to ground, "down" for one that connects it
    to 3.3 V, "none" for a board with a resistor of its own."""
    active_high: bool = False
    """With pull = "none": whether a pulse is 3.3 V or ground."""
    debounce_ms: int = 5
    """Changes that come sooner after another are none: contacts bounce. S0 pulses last 30 ms at least."""
    interval_s: Decimal = Decimal(10)
    """The count is told so often."""

    def ranges(self) -> tuple[Range, ...]:
        return (
            ("driver.pin", self.pin, 0, MAX_PIN),
            ("driver.export_pin", self.export_pin, -1, MAX_PIN),
            ("driver.pulses_per_kwh", self.pulses_per_kwh, 1, MAX_PULSES_PER_KWH),
            ("driver.debounce_ms", self.debounce_ms, 0, 1000),
            ("driver.interval_s", self.interval_s, Decimal("0.01"), DAY_S),
        )

    def check(self) -> None:
        """Raises UserError for values that make no sense."""
        check_ranges(self.ranges())
        if self.pin == self.export_pin:
            raise UserError(f"driver.pin and driver.export_pin are both {self.pin}: each output needs a pin of its own")
        if self.pull not in PULLS:
            raise UserError(f"driver.pull is {self.pull!r}; choose one of {', '.join(PULLS)}")


def open_device(settings: PulsesSettings, clock: Clock) -> "PulseDevice":
    """Counts from now on. Raises UserError where the pins cannot be used."""
    return PulseDevice(settings, clock)


class PulseCounter:
    """The pulses of one pin. Counted in a thread of gpiozero, read in the event loop: one whole tuple at a time."""

    def __init__(self, clock: Clock, debounce_ms: int = 0) -> None:
        self._clock = clock
        self._debounce_ms = debounce_ms
        self._seen: tuple[int, int, int] = (0, 0, 0)

    def changed(self, is_active: bool) -> None:
        """Called by the pin. Its own thread is the only one that writes."""
        count, _, last_ms = self._seen
        now_ms = self._clock.elapsed_ms()
        if is_active and (not count or now_ms - last_ms >= self._debounce_ms):
            self._seen = (count + 1, last_ms, now_ms)

    def read(self) -> tuple[int, int | None]:
        """How many there were, and ms from the one before the last to the last; None where there were no two."""
        count, before_ms, last_ms = self._seen
        return count, last_ms - before_ms if count >= 2 else None

    @property
    def last_ms(self) -> int:
        return self._seen[2]


class PulseDevice:
    """One meter, with one or two pulse outputs."""

    source = Source.COUNTER

    def __init__(self, settings: PulsesSettings, clock: Clock) -> None:
        self.interval_s = float(settings.interval_s)
        self._clock = clock
        self._per_kwh = settings.pulses_per_kwh
        self._import = PulseCounter(clock, settings.debounce_ms)
        self._export = PulseCounter(clock, settings.debounce_ms) if settings.export_pin >= 0 else None
        self._turns = Turns(self.interval_s, clock)
        self._pins: list[InputPin] = []
        try:
            self._open(settings, settings.pin, self._import)
            if self._export is not None:
                self._open(settings, settings.export_pin, self._export)
        except BaseException:
            self._release()
            raise

    async def read(self) -> Measurement | None:
        """The counts, as soon as the interval has passed."""
        await self._turns.next()
        now_ms = self._clock.elapsed_ms()
        return Measurement(
            now_ms,
            self._power_mw(self._import, now_ms) - (self._power_mw(self._export, now_ms) if self._export else 0),
            self._energy_mwh(self._import),
            self._energy_mwh(self._export) if self._export else None,
        )

    async def close(self) -> None:
        self._release()

    def _open(self, settings: PulsesSettings, pin: int, counter: PulseCounter) -> None:
        pull: Pull = next(known for known in PULLS if known == settings.pull)
        bounce_s = settings.debounce_ms / 1000 or None
        self._pins.append(
            open_input(pin, pull=pull, active_high=settings.active_high, bounce_s=bounce_s, on_change=counter.changed)
        )

    def _release(self) -> None:
        while self._pins:
            self._pins.pop().close()

    def _energy_mwh(self, counter: PulseCounter) -> int:
        """Whole mWh of all pulses together, so that no remainder is lost from one to the next."""
        return counter.read()[0] * MWH_PER_KWH // self._per_kwh

    def _power_mw(self, counter: PulseCounter, now_ms: int) -> int:
        """From the distance of the last two pulses, or from how long the next one keeps us waiting."""
        _, distance_ms = counter.read()
        if distance_ms is None:
            return 0
        longest_ms = max(distance_ms, now_ms - counter.last_ms, 1)
        return 0 if longest_ms > MAX_DISTANCE_MS else MWH_PER_KWH * MS_PER_HOUR // (self._per_kwh * longest_ms)
