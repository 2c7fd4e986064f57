"""How a register of a device's own is followed: what is energy, what is a roll-over, a reset, or a misreading.

Takes where the register stood and what it says now, and tells the energy in between. A value that cannot follow on the
one before is not believed at once: a single misread or late value would otherwise be counted twice when the register
comes back. Only a run of values that follow on each other is what the device now says. Nothing is ever invented: what
cannot be known is left out and flagged.
"""

from dataclasses import astuple, dataclass, fields, replace

from contracts.reading_format import StatusFlag
from meter.drivers.measurement import NO_FLAGS

# A value that does not fit has to be followed by so many that fit it before the device is believed.
CONFIRMATIONS = 3
# The coarsest registers go on in whole kWh, so this much may come at once whatever the connection can carry.
COARSE_STEP_MWH = 1_000_000
# What a register may say at all: a thousand million kWh; beyond it the value is noise.
MAX_REGISTER_MWH = 10**15
# A register that begins again at 0 was in its last tenth before; a reset can happen anywhere.
LAST_TENTH = 10


@dataclass(frozen=True, slots=True)
class RegisterPosition:
    """Where a register stood, and what it said since that did not fit."""

    last_mwh: int
    spare_mwh: int = COARSE_STEP_MWH
    """What may come above the connection's power: a step of a coarse register; it fills up again with time."""
    odd_first_mwh: int = 0
    odd_last_mwh: int = 0
    odd_count: int = 0
    """So many values followed on each other, but not on `last_mwh`."""
    odd_since_gap: int = 0
    """1 where they began behind a gap."""

    def encode(self) -> list[int]:
        return list(astuple(self))

    @classmethod
    def decode(cls, numbers: list[int]) -> "RegisterPosition":
        """Raises ValueError, TypeError for what `encode` did not make."""
        if len(numbers) != _FIELD_COUNT or any(
            type(number) is not int or not 0 <= number <= MAX_REGISTER_MWH for number in numbers
        ):
            raise ValueError("not a position of a register")
        return cls(*numbers)


_FIELD_COUNT = len(fields(RegisterPosition))


@dataclass(frozen=True, slots=True)
class RegisterStep:
    """What one more value means."""

    position: RegisterPosition
    energy_mwh: int = 0
    flags: StatusFlag = NO_FLAGS


def follow(
    position: RegisterPosition | None,
    now_mwh: int,
    most_mwh: int,
    *,
    rolls_over_at_mwh: int = 0,
    is_after_gap: bool = False,
) -> RegisterStep:
    """The energy since the last value that was believed.

    `most_mwh` is what the connection can carry since then. With `rolls_over_at_mwh` the register begins again at 0
    when it would reach that. A jump that is impossible even for the time of a gap (`is_after_gap`) is another device;
    one without a gap is counted and flagged.
    """
    if position is None:
        return RegisterStep(RegisterPosition(now_mwh))
    most_mwh += position.spare_mwh
    energy_mwh = _energy(position.last_mwh, now_mwh, rolls_over_at_mwh)
    if 0 <= energy_mwh <= most_mwh:
        return RegisterStep(RegisterPosition(now_mwh, min(most_mwh - energy_mwh, COARSE_STEP_MWH)), energy_mwh)
    return _doubt(position, now_mwh, most_mwh, is_after_gap)


def _energy(last_mwh: int, now_mwh: int, rolls_over_at_mwh: int) -> int:
    in_last_tenth = last_mwh >= rolls_over_at_mwh - rolls_over_at_mwh // LAST_TENTH
    if now_mwh < last_mwh < rolls_over_at_mwh and in_last_tenth:
        return now_mwh + rolls_over_at_mwh - last_mwh
    return now_mwh - last_mwh


def _doubt(position: RegisterPosition, now_mwh: int, most_mwh: int, is_after_gap: bool) -> RegisterStep:
    """A value that does not follow on the last one: believed with the last of a run."""
    flags = StatusFlag.JUMP if now_mwh > position.last_mwh else NO_FLAGS
    # What could have come since then may still come, should the register go on where it was.
    position = replace(position, spare_mwh=min(most_mwh, MAX_REGISTER_MWH))
    odd = replace(position, odd_first_mwh=now_mwh, odd_last_mwh=now_mwh, odd_count=1, odd_since_gap=int(is_after_gap))
    if position.odd_count and now_mwh >= position.odd_last_mwh and now_mwh - position.odd_first_mwh <= most_mwh:
        odd = replace(position, odd_last_mwh=now_mwh, odd_count=position.odd_count + 1)
    if odd.odd_count < CONFIRMATIONS:
        return RegisterStep(odd, 0, flags)
    if odd.odd_first_mwh > position.last_mwh and not odd.odd_since_gap:
        return RegisterStep(RegisterPosition(now_mwh), now_mwh - position.last_mwh, flags)
    flags |= StatusFlag.DEVICE_CHANGED | StatusFlag.GAP
    return RegisterStep(RegisterPosition(now_mwh), now_mwh - odd.odd_first_mwh, flags)
