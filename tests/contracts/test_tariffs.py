"""What readings cost by a tariff: El DApp's numbers, and every rule against the model."""

from dataclasses import replace
from datetime import UTC, date, datetime
from itertools import pairwise
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.addresses import TARIFFS_ADDRESS
from contracts.binding import load_artifact
from contracts.tariff_format import (
    GenesisTariff,
    Slab,
    TariffVersion,
    version_address,
)
from tests.contracts.ledgers import make_ledger
from tests.contracts.tariff_stage import (
    EL_DAPP_SLABS,
    EPOCH,
    KWH,
    STRANGER,
    SUPPLIER,
    WATT,
    RunningModel,
    TariffStage,
    energy_cost,
    local_moment,
    time_of_use,
)
from tests.contracts.tariff_strategies import energies_wh, times_s, versions, zones_s
from vm.addresses import create_address

PROBE = load_artifact("TariffProbe", Path(__file__).parent / "artifacts")
MONDAY_S = int(datetime(2023, 11, 20, tzinfo=UTC).timestamp())
EVERY_DAY, WEEKEND = 127, 96

# What a reading costs


class ElDapp:
    """Listing 4 of El DApp, in hundredths of a unit of money instead of floating point and rounding."""

    def __init__(self) -> None:
        self.used_kwh, self.bill = 0, 0

    def read(self, new_used: int) -> None:
        total_energy = self.used_kwh + new_used
        if total_energy <= 100:
            self.bill += new_used * 296
        elif 100 < total_energy <= 300:
            self.bill += new_used * 556
        elif 300 < total_energy <= 500:
            self.bill += new_used * 916
        elif total_energy > 500:
            self.bill += new_used * 1061
        self.used_kwh = total_energy


def test_the_numbers_of_listing_4_and_what_is_right() -> None:
    """Ten readings of 60 kWh: the program charges the whole of a reading that passes a step at the higher price."""
    stage = TariffStage(
        GenesisTariff(SUPPLIER, "listing 4", TariffVersion(EL_DAPP_SLABS, whole=True)),
        GenesisTariff(SUPPLIER, "house", TariffVersion(EL_DAPP_SLABS)),
    )
    program, bills = ElDapp(), [0, 0]
    for step in range(10):
        for tariff in (1, 2):
            cost, _ = stage.ask("quote", tariff, 60 * KWH * step, 60 * KWH, 0, MONDAY_S, 0)
            bills[tariff - 1] += int(str(cost))
        program.read(60)
        assert bills[0] == program.bill * WATT // 100
    assert bills[0] == 4_434 * WATT
    # 100 at 2.96, 200 at 5.56, 200 at 9.16 and 100 at 10.61.
    assert bills[1] == (100 * 296 + 200 * 556 + 200 * 916 + 100 * 1_061) * WATT // 100 == 4_301 * WATT


def test_at_a_step_and_beside_it() -> None:
    stage = TariffStage(
        GenesisTariff(SUPPLIER, "house", TariffVersion(EL_DAPP_SLABS)),
        GenesisTariff(SUPPLIER, "whole", TariffVersion(EL_DAPP_SLABS, whole=True)),
    )
    low, high = EL_DAPP_SLABS[0].price_wei_per_wh, EL_DAPP_SLABS[1].price_wei_per_wh

    def costs(used_wh: int, imported_wh: int) -> list[object]:
        return [stage.ask("quote", tariff, used_wh, imported_wh, 0, MONDAY_S, 0)[0] for tariff in (1, 2)]

    assert costs(99_999, 1) == [low, low]
    assert costs(100_000, 1) == [high, high]
    assert costs(99_999, 2) == [low + high, 2 * high]
    assert costs(100_000, 0) == [0, 0]


def test_a_time_of_use_takes_the_place_of_the_slabs_prices() -> None:
    """Evenings of working days dearer, the weekend one price; the reading's last second decides."""
    version = TariffVersion(
        (Slab(10, 1_000), Slab(20)),
        (time_of_use(31, 18, 22, 30, 40), time_of_use(WEEKEND, 0, 24, 5, 5)),
        allowance_wh=0,
    )
    stage = TariffStage(GenesisTariff(SUPPLIER, "evening", version))

    def cost(hours: float, used_wh: int = 0, zone_s: int = 0) -> object:
        return stage.ask("quote", 1, used_wh, 1, 0, MONDAY_S + round(3_600 * hours), zone_s)[0]

    assert [cost(18), cost(18 + 1 / 3_600), cost(22), cost(22 + 1 / 3_600)] == [10, 30, 30, 10]
    assert [cost(19, 1_000), cost(12, 1_000)] == [40, 20]
    assert [cost(120), cost(120 + 1 / 3_600), cost(168), cost(168 + 1 / 3_600)] == [10, 5, 5, 10]
    assert [cost(13.5, zone_s=19_800), cost(13, zone_s=19_800)] == [30, 30]
    assert cost(12, zone_s=19_800) == 10


def test_a_social_allowance_comes_first_and_counts_in_the_slabs() -> None:
    version = TariffVersion((Slab(10, 100), Slab(20)), allowance_wh=50, allowance_price_wei_per_wh=3)
    stage = TariffStage(GenesisTariff(SUPPLIER, "social", version))
    assert stage.ask("quote", 1, 0, 120, 0, MONDAY_S, 0) == (50 * 3 + 50 * 10 + 20 * 20, 0)
    assert stage.ask("quote", 1, 40, 20, 0, MONDAY_S, 0) == (10 * 3 + 10 * 10, 0)
    assert stage.ask("quote", 1, 50, 1, 0, MONDAY_S, 0) == (10, 0)


@given(
    version=versions(),
    readings=st.lists(st.tuples(energies_wh, energies_wh, st.integers(0, 200_000)), min_size=1, max_size=4),
    start_s=times_s,
    zone_s=zones_s,
)
@settings(max_examples=30)
def test_any_version_charges_as_the_model_does(
    version: TariffVersion, readings: list[tuple[int, int, int]], start_s: int, zone_s: int
) -> None:
    """A row of readings of one meter, the state carried from each to the next."""
    data, probe = b"\xda" * 20, b"\xbb" * 20
    ledger = make_ledger(
        {
            "0x" + data.hex(): {"balance": "0x0", "nonce": "0x1", "code": "0x" + version.encode(7).hex()},
            "0x" + probe.hex(): {"balance": "0x0", "nonce": "0x1", "code": "0x" + PROBE.runtime_code.hex()},
        }
    )
    model, running, previous_s = RunningModel(), (0, 0, 0), start_s
    for imported_wh, exported_wh, seconds in readings:
        time_s = previous_s + seconds
        call = PROBE.abi.encode_call("charge", [data, running, imported_wh, exported_wh, previous_s, time_s, zone_s])
        result = ledger.call(STRANGER, probe, call)
        charged, moved = PROBE.abi.decode_result("charge", result.output)
        assert charged == model.charge(version, imported_wh, exported_wh, previous_s, time_s, zone_s)
        assert moved == (model.used_wh, model.end_day, model.charged_day)
        assert isinstance(moved, tuple)
        running, previous_s = moved, time_s


@given(version=versions(), pieces=st.lists(energies_wh, min_size=2, max_size=6))
def test_marginal_energy_costs_the_same_however_it_is_split(version: TariffVersion, pieces: list[int]) -> None:
    version = replace(version, whole=False)
    moment = local_moment(MONDAY_S, 0)
    together = energy_cost(version, 0, sum(pieces), moment)
    totals = [sum(pieces[:count]) for count in range(len(pieces) + 1)]
    assert together == sum(energy_cost(version, before, after, moment) for before, after in pairwise(totals))


def test_months_are_those_of_the_calendar() -> None:
    """Every day of some years around the exceptions: 2000 is a leap year, 1900 and 2100 are not; 1970 is the first."""
    data, probe = b"\xda" * 20, b"\xbb" * 20
    ledger = make_ledger(
        {
            "0x" + data.hex(): {"balance": "0x0", "nonce": "0x1", "code": "0x" + TariffVersion.flat(1).encode(0).hex()},
            "0x" + probe.hex(): {"balance": "0x0", "nonce": "0x1", "code": "0x" + PROBE.runtime_code.hex()},
        }
    )
    for year in (1970, 1999, 2000, 2023, 2024, 2100, 2399, 2400):
        for month in range(1, 13):
            start = date(year, month, 1)
            end = date(year + month // 12, month % 12 + 1, 1)
            for day in {start, start.replace(day=min(28, start.day + 27)), date.fromordinal(end.toordinal() - 1)}:
                call = PROBE.abi.encode_call("periodOf", [data, (day - EPOCH).days])
                found = PROBE.abi.decode_result("periodOf", ledger.call(STRANGER, probe, call).output)
                assert found == ((start - EPOCH).days, (end - EPOCH).days)


def test_before_the_first_version_nothing_costs_anything() -> None:
    probe = b"\xbb" * 20
    code = "0x" + PROBE.runtime_code.hex()
    ledger = make_ledger({"0x" + probe.hex(): {"balance": "0x0", "nonce": "0x1", "code": code}})
    call = PROBE.abi.encode_call("charge", [bytes(20), (1, 2, 3), 5, 6, 7, 8, 0])
    result = PROBE.abi.decode_result("charge", ledger.call(STRANGER, probe, call).output)
    assert result == ((0, 0, 0), (1, 2, 3))


@given(number=st.integers(1, 2**32 - 1))
def test_versions_are_found_by_their_number(number: int) -> None:
    assert version_address(number) == create_address(TARIFFS_ADDRESS, number)
    probe = b"\xbb" * 20
    call = PROBE.abi.encode_call("createdAddress", [TARIFFS_ADDRESS, number])
    result = _PROBE_LEDGER.call(STRANGER, probe, call)
    assert PROBE.abi.decode_result("createdAddress", result.output) == (version_address(number),)


_PROBE_LEDGER = make_ledger(
    {"0x" + "bb" * 20: {"balance": "0x0", "nonce": "0x1", "code": "0x" + PROBE.runtime_code.hex()}}
)
