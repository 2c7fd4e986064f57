"""Which calibrations are in force, as the running meter keeps it for `wattchain meter status`."""

from meter.calibration import ppm_text
from meter.drivers.factors import ONE_PPM
from meter.kept_values import KeptValues
from meter.signed_calibration import History, Standing
from wallet.quantities import format_time

KEPT_STATE = "calibrations shown"
MAX_SHOWN_FACTORS = 20


def write_state(kept: KeptValues, in_force: Standing, history: History, by_ledger: str) -> None:
    """In the database where it is another than before, which is rare."""
    text = state_text(in_force, history, by_ledger)
    if text != kept.get(KEPT_STATE):
        kept.set(KEPT_STATE, text)


def read_state(kept: KeptValues) -> str | None:
    """None where nothing is calibrated here, or the meter has not run yet."""
    return kept.get(KEPT_STATE)


def state_text(in_force: Standing, history: History, by_ledger: str) -> str:
    """A sentence or three."""
    rows = [row for row in in_force.factors.rows if row.ppm != ONE_PPM]
    shown = [f"{row.quantity} {row.channel} by {ppm_text(row.ppm)}" for row in rows[:MAX_SHOWN_FACTORS]]
    if len(rows) > MAX_SHOWN_FACTORS:
        shown.append(f"{len(rows) - MAX_SHOWN_FACTORS} more")
    parts = [", ".join(shown) or "1 for all, nothing is calibrated"]
    last, last_s = history.last()
    if in_force.sequence:
        parts.append(f"calibration {in_force.sequence} of {format_time(in_force.time_s)} is in force")
    if last > in_force.sequence:
        parts.append(f"CALIBRATION {last} IS DATED {format_time(last_s)}, ahead of the clock, and not in force yet")
    return "; ".join([*parts, by_ledger])
