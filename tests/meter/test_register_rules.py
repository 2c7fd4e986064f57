"""A device's register, followed: no sequence of resets, roll-overs, swaps and misreadings makes energy."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.reading_format import StatusFlag
from meter.register_rules import COARSE_STEP_MWH, RegisterPosition, follow

ROLLS_AT_MWH = 10**9
MOST_MWH = 60_000
KWH = 10**6
NONE = StatusFlag(0)


class Follower:
    def __init__(self, rolls_over_at_mwh: int = 0) -> None:
        self.position: RegisterPosition | None = None
        self.total_mwh = 0
        self.flags = NONE
        self._rolls_over_at_mwh = rolls_over_at_mwh

    def see(self, *values_mwh: int, most_mwh: int = MOST_MWH, is_after_gap: bool = False) -> None:
        for value_mwh in values_mwh:
            step = follow(
                self.position,
                value_mwh,
                most_mwh,
                rolls_over_at_mwh=self._rolls_over_at_mwh,
                is_after_gap=is_after_gap,
            )
            assert step.energy_mwh >= 0
            assert RegisterPosition.decode(step.position.encode()) == step.position
            self.position = step.position
            self.total_mwh += step.energy_mwh
            self.flags |= step.flags


def test_the_first_value_is_where_it_begins_and_then_differences_count() -> None:
    follower = Follower()
    follower.see(5 * KWH, 5 * KWH + 10, 5 * KWH + 10, 5 * KWH + 4010)
    assert (follower.total_mwh, follower.flags) == (4010, NONE)


def test_it_rolls_over() -> None:
    follower = Follower(ROLLS_AT_MWH)
    follower.see(ROLLS_AT_MWH - 3000, 2000)
    assert (follower.total_mwh, follower.flags) == (5000, NONE)
    follower.see(2500)
    assert follower.total_mwh == 5500


def test_without_a_known_width_a_fall_is_a_reset_and_counts_from_its_first_value() -> None:
    follower = Follower()
    follower.see(ROLLS_AT_MWH - 3000, 2000)
    assert (follower.total_mwh, follower.flags) == (0, NONE)
    follower.see(2600, 3000)
    assert follower.total_mwh == 1000
    assert follower.flags == StatusFlag.DEVICE_CHANGED | StatusFlag.GAP


def test_a_reset_in_the_middle_is_no_roll_over() -> None:
    follower = Follower(ROLLS_AT_MWH)
    follower.see(ROLLS_AT_MWH // 2, 0, 0, 7)
    assert follower.total_mwh == 7
    assert follower.flags & StatusFlag.DEVICE_CHANGED


def test_a_reset_in_a_long_gap_is_no_roll_over_however_much_could_have_flowed() -> None:
    follower = Follower(ROLLS_AT_MWH)
    follower.see(ROLLS_AT_MWH // 2)
    follower.see(5, 5, 5, most_mwh=ROLLS_AT_MWH, is_after_gap=True)
    assert follower.total_mwh == 0
    assert follower.flags & StatusFlag.DEVICE_CHANGED


def test_a_late_value_is_not_counted_twice() -> None:
    follower = Follower()
    follower.see(5 * KWH, 5 * KWH + 10_000, 5 * KWH + 5_000, 5 * KWH + 15_000)
    assert (follower.total_mwh, follower.flags) == (15_000, NONE)


def test_one_misread_value_is_flagged_and_not_energy() -> None:
    follower = Follower()
    follower.see(5 * KWH, 5 * KWH + 10, 900 * KWH, 5 * KWH + 20)
    assert (follower.total_mwh, follower.flags) == (20, StatusFlag.JUMP)


def test_an_impossible_jump_that_stays_is_counted_and_flagged() -> None:
    follower = Follower()
    follower.see(5 * KWH, 900 * KWH, 900 * KWH + 5, 900 * KWH + 9)
    assert (follower.total_mwh, follower.flags) == (895 * KWH + 9, StatusFlag.JUMP)


def test_an_impossible_jump_behind_a_gap_is_another_device() -> None:
    follower = Follower()
    follower.see(5 * KWH)
    follower.see(900 * KWH, is_after_gap=True)
    follower.see(900 * KWH + 5, 900 * KWH + 9)
    assert follower.total_mwh == 9
    assert follower.flags == StatusFlag.JUMP | StatusFlag.DEVICE_CHANGED | StatusFlag.GAP


def test_what_flows_in_a_long_gap_is_possible() -> None:
    follower = Follower()
    follower.see(5 * KWH)
    follower.see(905 * KWH, most_mwh=1000 * KWH, is_after_gap=True)
    assert (follower.total_mwh, follower.flags) == (900 * KWH, NONE)


def test_coarse_steps_pass_but_not_one_after_the_other() -> None:
    follower = Follower()
    follower.see(0, COARSE_STEP_MWH)
    assert follower.flags == NONE
    follower.see(2 * COARSE_STEP_MWH)
    assert follower.flags == StatusFlag.JUMP
    # By and by it fills up again.
    follower = Follower()
    follower.see(0, COARSE_STEP_MWH, *[COARSE_STEP_MWH] * 20, 2 * COARSE_STEP_MWH)
    assert (follower.total_mwh, follower.flags) == (2 * COARSE_STEP_MWH, NONE)


@pytest.mark.parametrize("fields", [[1, 2], [-1, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 0], [1.0, 0, 0, 0, 0, 0], "abcdef"])
def test_foreign_positions_are_refused(fields: list[int]) -> None:
    with pytest.raises((ValueError, TypeError)):
        RegisterPosition.decode(fields)


class Meter:
    """What really flowed, and the register that shows it."""

    def __init__(self) -> None:
        self.true_mwh = 0
        self.shown_mwh = ROLLS_AT_MWH // 3

    def flow(self, energy_mwh: int) -> None:
        self.true_mwh += energy_mwh
        self.shown_mwh = (self.shown_mwh + energy_mwh) % ROLLS_AT_MWH


ENERGY = st.integers(0, MOST_MWH)
EVENTS = st.lists(
    st.tuples(st.sampled_from(("flow", "reset", "swap")), ENERGY, st.integers(0, ROLLS_AT_MWH // 2)), max_size=60
)


@given(EVENTS, st.integers(0, ROLLS_AT_MWH // 2))
def test_no_sequence_of_resets_and_swaps_makes_energy(events: list[tuple[str, int, int]], begin_mwh: int) -> None:
    follower, shown_mwh, true_mwh = Follower(), begin_mwh, 0
    follower.see(shown_mwh)
    for kind, energy_mwh, register_mwh in events:
        if kind == "reset":
            shown_mwh = 0
        elif kind == "swap":
            # With another serial number (meter/energy_rules.py): it is followed anew.
            shown_mwh, follower.position = register_mwh, None
        true_mwh += energy_mwh
        shown_mwh += energy_mwh
        follower.see(shown_mwh)
        assert follower.total_mwh <= true_mwh
    if all(kind == "flow" for kind, _, _ in events):
        assert follower.total_mwh == true_mwh


NOISE = st.one_of(st.integers(0, ROLLS_AT_MWH // 2), st.integers(10**12, 10**15))


@given(st.lists(st.tuples(ENERGY, st.lists(NOISE, max_size=2)), max_size=40))
def test_misreadings_change_nothing(steps: list[tuple[int, list[int]]]) -> None:
    """Up to two in a row that cannot be true; three that fit each other are what the meter says."""
    follower, meter = Follower(), Meter()
    meter.shown_mwh = ROLLS_AT_MWH * 3 // 4
    follower.see(meter.shown_mwh)
    for energy_mwh, noise in steps:
        meter.true_mwh += energy_mwh
        meter.shown_mwh += energy_mwh
        follower.see(*noise, meter.shown_mwh)
    assert follower.total_mwh == meter.true_mwh


@given(st.lists(ENERGY, max_size=60), st.integers(0, ROLLS_AT_MWH - 1))
def test_roll_overs_lose_and_make_nothing(energies_mwh: list[int], begin_mwh: int) -> None:
    follower, meter = Follower(ROLLS_AT_MWH), Meter()
    meter.shown_mwh = begin_mwh
    follower.see(meter.shown_mwh)
    for energy_mwh in energies_mwh:
        meter.flow(energy_mwh)
        follower.see(meter.shown_mwh)
    assert (follower.total_mwh, follower.flags) == (meter.true_mwh, NONE)
