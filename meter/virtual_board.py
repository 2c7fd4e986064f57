"""A measuring board that is not there: it plays a load, and sends the lines of an RPICT3V1 to a pseudo-terminal.

For demos and tests: what reads it cannot tell it from a board on a wire. Each line tells the mean power since the line
before, so that who integrates it gets the energy that was played.
"""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

from meter.drivers.measured_csv import CsvFormat, read_rows
from meter.pseudo_terminal import PseudoTerminal
from primitives.clock import Clock
from primitives.errors import UserError
from wallet.settings_file import Range

MAX_ROWS = 200_000
"""Kept in memory: five months of minutes."""
MAINS_CV, WOBBLE_CV = 23_000, 151
"""230 V in hundredths, and by how much they go up and down."""

MeanPower = Callable[[Fraction, Fraction], Fraction]
"""Mean power in W between two Unix times; below 0 where energy is given to the grid."""


@dataclass(frozen=True, slots=True)
class BoardSettings:
    """[board]: where the lines go to."""

    port: Path
    """Name of the port that is made."""
    interval_s: Decimal = Decimal(5)
    node_id: int = 11

    def ranges(self) -> tuple[Range, ...]:
        return (
            ("board.interval_s", self.interval_s, Decimal("0.01"), 3600),
            ("board.node_id", self.node_id, 1, 255),
        )


class VirtualBoard:
    """Plugged in while it runs."""

    def __init__(
        self, port: PseudoTerminal, power: MeanPower, clock: Clock, interval_s: float, node_id: int = 11
    ) -> None:
        self.port = port
        self._power = power
        self._clock = clock
        self._interval_s = interval_s
        self._node_id = node_id
        self._lines = 0

    async def run(self) -> None:
        """Until cancelled. A line that would be late is left out, as a board does that was busy."""
        self.port.plug()
        try:
            last_s = self._clock.precise_time_s()
            while True:
                due_s = last_s + self._interval_s
                while (wait_s := due_s - self._clock.precise_time_s()) > 0:
                    await self._clock.sleep_s(wait_s)
                now_s = self._clock.precise_time_s()
                self.port.send_now(self.line(self._power(Fraction(last_s), Fraction(now_s))))
                last_s = now_s
        finally:
            self.port.unplug()

    def line(self, power_w: Fraction) -> bytes:
        """NodeID RP1 RP2 RP3 Irms1 Irms2 Irms3 Vrms, with all of the power on the first clamp."""
        self._lines += 1
        voltage_cv = MAINS_CV - WOBBLE_CV // 2 + self._lines * 37 % WOBBLE_CV
        current_ma = abs(power_w) * 100_000 / voltage_cv
        parts = (
            str(self._node_id),
            _text(power_w, 2),
            "0.00 0.00",
            _text(current_ma, 1),
            "0.0 0.0",
            _text(Fraction(voltage_cv, 100), 2),
        )
        return (" ".join(parts) + "\r\n").encode()


def profile_power(path: Path, form: CsvFormat, begin_s: int) -> MeanPower:
    """The load in a CSV file whose first row begins at a Unix time; 0 W before and after. Raises UserError."""
    powers_w = []
    for row in read_rows(path, form):
        powers_w.append((row.net_wh or Fraction(0)) * 3600 / form.interval_s)
        if len(powers_w) > MAX_ROWS:
            raise UserError(f"{path} has more than {MAX_ROWS} rows: cut it for the virtual board")
    return rows_power(powers_w, form.interval_s, begin_s)


def rows_power(powers_w: list[Fraction], interval_s: int, begin_s: int) -> MeanPower:
    """The load of rows of equal length."""

    def mean(from_s: Fraction, until_s: Fraction) -> Fraction:
        if until_s <= from_s:
            return Fraction(0)
        first, last = (int((moment - begin_s) // interval_s) for moment in (from_s, until_s))
        inner = [Fraction(begin_s + number * interval_s) for number in range(first + 1, last + 1)]
        energy_ws = Fraction(0)
        for start, end in pairwise([from_s, *inner, until_s]):
            row = int((start - begin_s) // interval_s)
            if 0 <= row < len(powers_w):
                energy_ws += powers_w[row] * (end - start)
        return energy_ws / (until_s - from_s)

    return mean


def _text(value: Fraction, digits: int) -> str:
    return f"{Decimal(round(value * 10**digits)) / 10**digits:.{digits}f}"
