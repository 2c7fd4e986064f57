"""The price of a reading in Python is the contract's: to the wei, over periods, steps, times of use and days."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.tariff_charge import TariffCharge, TariffPosition, charge, period_end
from contracts.tariff_format import TariffVersion
from tests.contracts.tariff_stage import RunningModel, TariffStage
from tests.contracts.tariff_strategies import energies_wh, times_s, versions, zones_s


@settings(max_examples=150)
@given(
    versions().filter(lambda version: version.anchor_day < 2**20),  # the model counts back day by day
    zones_s,
    times_s,
    st.lists(st.tuples(st.integers(0, 40 * 86_400), energies_wh, energies_wh), min_size=1, max_size=6),
)
def test_same_as_the_model_of_the_contract(
    version: TariffVersion, zone_s: int, start_s: int, readings: list[tuple[int, int, int]]
) -> None:
    """The model is compared with the contract in test_tariffs.py."""
    model, position, previous_s = RunningModel(), TariffPosition(), start_s
    for later_s, imported_wh, exported_wh in readings:
        time_s = previous_s + later_s
        expected = model.charge(version, imported_wh, exported_wh, previous_s, time_s, zone_s)
        position, cost = charge(version, position, imported_wh, exported_wh, previous_s, time_s, zone_s)
        assert (cost.energy_wei, cost.standing_wei, cost.export_wei) == expected
        assert (position.used_wh, position.end_day) == (model.used_wh, model.end_day)
        previous_s = time_s


@settings(max_examples=10, deadline=None)
@given(versions(), zones_s, times_s, energies_wh, energies_wh, energies_wh)
def test_same_as_the_contract_itself(
    version: TariffVersion, zone_s: int, time_s: int, used_wh: int, imported_wh: int, exported_wh: int
) -> None:
    stage = TariffStage()
    from_s = 2_000_000_000
    assert stage.create(version, from_s).success
    time_s += from_s
    _, cost = charge(
        version, TariffPosition(used_wh, 2**24 - 1, 2**24 - 1), imported_wh, exported_wh, 0, time_s, zone_s
    )
    quoted = stage.ask("quote", 1, used_wh, imported_wh, exported_wh, time_s, zone_s)
    assert (cost.energy_wei, cost.export_wei) == quoted


def test_without_a_version_nothing_costs_anything() -> None:
    position = TariffPosition(7, 8, 9)
    assert charge(None, position, 1_000, 1_000, 1, 10**9, 0) == (position, TariffCharge())


def test_a_tariff_with_a_closed_last_step_is_no_tariff() -> None:
    broken = TariffVersion(())
    with pytest.raises(ValueError, match="last step"):
        charge(broken, TariffPosition(), 1, 0, 0, 10**9, 0)


def test_a_period_that_is_counted_from_a_day_far_ahead() -> None:
    version = replace(TariffVersion.flat(1), period_days=7, anchor_day=2**24 - 1)
    assert [period_end(version, 2**24 - days) for days in (1, 2, 8, 9)] == [2**24 + 6, 2**24 - 1, 2**24 - 1, 2**24 - 8]
