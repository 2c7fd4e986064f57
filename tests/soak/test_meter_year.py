"""Some hours of a meter's year in which far more goes wrong than in a real one; and that the books would notice it."""

from dataclasses import fields, replace
from pathlib import Path

import pytest

from contracts.reading_format import StatusFlag
from meter.drivers.measurement import Source
from meter.gaps import Gap
from tests.soak.meter_year import run_year
from tests.soak.year_books import (
    MWMS_PER_WH,
    SILENT,
    BooksDiffer,
    Log,
    Signing,
    Start,
    SupplyLook,
    TopUp,
    check_energy,
    check_gaps,
    check_relay,
    check_sequences,
    check_times,
)
from tests.soak.year_node import AcceptedReading
from tests.soak.year_world import Rates

WILD = Rates(**{one.name: getattr(Rates(), one.name) / 40 for one in fields(Rates)})
"""A month of troubles in 18 hours."""

T = 1_700_000_000
P = 7_200_000
"""mW: 10 Wh in five seconds."""


@pytest.mark.slow
@pytest.mark.parametrize(("source", "seed"), [(Source.POWER, 1), (Source.REGISTER, 2)])
def test_hours_of_trouble(tmp_path: Path, source: Source, seed: int) -> None:
    year = run_year(tmp_path, seed, 0.5, source, WILD)
    assert year.books.readings > 12
    assert year.gaps > 3
    assert year.checked_gaps > 0
    assert year.books.flagged > 2
    assert year.relay_looks > 5
    assert len(year.events) >= 7, "which troubles there are changes with whatever draws from the seed"


@pytest.mark.parametrize(
    ("time_s", "block_s", "is_right"), [(T + 1, T + 1, True), (T + 1, T + 2, False), (T - 1, 0, False)]
)
def test_a_reading_older_than_what_is_known_is_noticed(time_s: int, block_s: int, is_right: bool) -> None:
    signings = [Signing(1, T, T - 5), Signing(2, time_s, block_s)]
    if is_right:
        check_times(signings)
    else:
        with pytest.raises(BooksDiffer, match="reading 2 is of Unix time"):
            check_times(signings)


def a_log(*, without: range = range(0), start: tuple[int, str] | None = None) -> Log:
    """A sample every five seconds for ten minutes, always 7.2 kW; from or to which the daemon may have been started."""
    log = Log()
    for number in range(120):
        if start is not None and number == start[0]:
            log.start(Start(start[1]))
        if number not in without:
            log.add(5_000 * number, T + 5 * number, P, 0)
    return log


def a_reading(sequence: int, second: int, import_wh: int, flags: int = 0) -> AcceptedReading:
    return AcceptedReading(sequence, sequence, T + second, import_wh, 0, flags)


def test_energy_of_a_steady_home() -> None:
    books = check_energy(a_log(), [a_reading(1, 0, 0), a_reading(2, 300, 600)], has_register=False)
    assert (books.import_wh, books.flagged) == (600, 0)


@pytest.mark.parametrize("wrong_wh", [599, 601])
def test_a_wh_too_many_or_too_few_is_noticed(wrong_wh: int) -> None:
    with pytest.raises(BooksDiffer, match="reading 2 of Unix time"):
        check_energy(a_log(), [a_reading(1, 0, 0), a_reading(2, 300, wrong_wh)], has_register=False)


def test_a_gap_counts_for_nothing_and_has_to_be_listed_and_marked() -> None:
    log = a_log(without=range(20, 40))
    readings = [a_reading(1, 0, 0), a_reading(2, 300, 390, StatusFlag.GAP), a_reading(3, 400, 590)]
    assert check_energy(log, readings, has_register=False).flagged == 1
    with pytest.raises(BooksDiffer, match="reading 2 follows on a gap that it does not mark"):
        check_energy(log, [readings[0], replace(readings[1], flags=0)], has_register=False)
    with pytest.raises(BooksDiffer, match="reading 2 of Unix time"):
        check_energy(log, [readings[0], replace(readings[1], import_wh=600)], has_register=False)
    assert check_gaps(log, [Gap(T + 95, T + 200, "unplugged")], T) == 1
    for wrong in ([], [Gap(T + 100, T + 200, "too late")], [Gap(T + 95, T + 190, "too early")]):
        with pytest.raises(BooksDiffer, match="no gap is listed"):
            check_gaps(log, wrong, T)


def test_what_a_power_cut_takes_is_a_gap() -> None:
    """Samples until 105 s; the card had those of some time before, and the meter is back at 110 s."""
    log = a_log(start=(22, "power cut"))
    for kept_s in (0, 60, 105):
        readings = [a_reading(1, 0, 0), a_reading(2, 300, 590 - 2 * (105 - kept_s), StatusFlag.GAP)]
        assert check_energy(log, readings, has_register=False).flagged == 1
    for wrong_wh in (600, 591):
        readings = [a_reading(1, 0, 0), a_reading(2, 300, wrong_wh, StatusFlag.GAP)]
        with pytest.raises(BooksDiffer, match="power cut"):
            check_energy(log, readings, has_register=False)
    assert check_gaps(log, [Gap(T + 60, T + 110, "no power")], T) == 1
    with pytest.raises(BooksDiffer, match="no gap is listed"):
        check_gaps(log, [], T)


def test_what_one_power_cut_took_is_the_same_for_all_readings_behind_it() -> None:
    log = a_log(start=(22, "power cut"))
    readings = [a_reading(1, 0, 0), a_reading(2, 300, 500), a_reading(3, 310, 530)]
    with pytest.raises(BooksDiffer, match="reading 3 of Unix time"):
        check_energy(log, readings, has_register=False)


def test_a_kill_that_is_over_at_once_costs_nothing() -> None:
    readings = [a_reading(1, 0, 0), a_reading(2, 300, 600)]
    assert check_energy(a_log(start=(22, "kill")), readings, has_register=False).import_wh == 600


def test_a_register_loses_nothing_in_a_gap() -> None:
    log = Log()
    for number in range(120):
        is_silent = 20 <= number < 40
        log.add(5_000 * number, T + 5 * number, SILENT if is_silent else 10_000 * number, 0)
    readings = [a_reading(1, 0, 0), a_reading(2, 150, 190), a_reading(3, 300, 600, StatusFlag.GAP)]
    assert check_energy(log, readings, has_register=True).import_wh == 600
    with pytest.raises(BooksDiffer, match="does not mark"):
        check_energy(log, [*readings[:2], replace(readings[2], flags=0)], has_register=True)
    assert MWMS_PER_WH == 1000 * 3600 * 1000


def test_a_register_may_be_behind_between_a_power_cut_and_the_next_measurement() -> None:
    log = Log()
    for number in range(120):
        if number == 20:
            log.start(Start("power cut"))
        log.add(5_000 * number, T + 5 * number, SILENT if 20 <= number < 40 else 10_000 * number, 0)
    readings = [a_reading(1, 0, 0), a_reading(2, 150, 100), a_reading(3, 300, 600, StatusFlag.GAP)]
    assert check_energy(log, readings, has_register=True).import_wh == 600
    with pytest.raises(BooksDiffer, match="reading 3"):
        check_energy(log, [*readings[:2], replace(readings[2], import_wh=599)], has_register=True)


def test_a_reading_that_is_lost_or_comes_twice_is_noticed() -> None:
    readings = [a_reading(number, 0, 0) for number in (1, 2, 3)]
    check_sequences(readings, 3)
    for wrong, signed in ((readings[:2], 3), ([*readings, readings[2]], 3), (readings[1:], 3), (readings, 2)):
        with pytest.raises(BooksDiffer, match="readings were signed"):
            check_sequences(wrong, signed)


def test_the_relay_goes_by_what_was_paid_for_and_used() -> None:
    accepted = [a_reading(number, 0, 400 * number) for number in range(1, 6)]
    top_ups = [TopUp(0, 1000), TopUp(4, 9000)]
    right = [
        SupplyLook(4, True, True, 0),  # by block 2, 800 Wh of 1,000 are used
        SupplyLook(5, False, True, 0),  # by block 3, 1,200 Wh
        SupplyLook(6, True, True, 0),  # the top-up is final
        SupplyLook(90, True, False, 9_900),
        SupplyLook(90, False, False, 10_100),
    ]
    assert check_relay(right, accepted, top_ups) == (5, 2)
    for look in right:
        with pytest.raises(BooksDiffer, match=f"behind block {look.block_number}"):
            check_relay([replace(look, is_on=not look.is_on)], accepted, top_ups)
