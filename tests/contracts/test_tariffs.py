"""Tariffs: El DApp's numbers, every rule against the model, versions and notice, roles, and what is refused."""

from dataclasses import replace
from datetime import UTC, date, datetime
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.addresses import TARIFFS_ADDRESS
from contracts.binding import load_artifact
from contracts.tariff_format import (
    MAX_SLABS,
    MAX_TARIFFS,
    MAX_WINDOWS,
    NOTICE_S,
    OPEN_BOUND_WH,
    GenesisTariff,
    Slab,
    TariffVersion,
    TimeOfUse,
    version_address,
)
from primitives.errors import UserError
from tests.contracts.ledgers import GENESIS_TIME_S, make_ledger
from tests.contracts.tariff_stage import (
    EL_DAPP_SLABS,
    EPOCH,
    KWH,
    OWNER,
    RIVAL,
    STRANGER,
    SUPPLIER,
    TARIFFS,
    WATT,
    RunningModel,
    TariffStage,
    energy_cost,
    local_moment,
    time_of_use,
)
from vm.addresses import create_address

PROBE = load_artifact("TariffProbe", Path(__file__).parent / "artifacts")
MONDAY_S = int(datetime(2023, 11, 20, tzinfo=UTC).timestamp())
EVERY_DAY, WEEKEND = 127, 96

prices = st.one_of(st.integers(0, 20), st.integers(0, 2**64 - 1))
energies_wh = st.one_of(st.integers(0, 60), st.integers(0, 2**53 - 1))
zones_s = st.sampled_from((0, 19_800, -34_200, 50_400, -43_200))
times_s = st.integers(0, 2**34)


@st.composite
def versions(draw: st.DrawFn) -> TariffVersion:
    count = draw(st.integers(1, 5))
    bounds = sorted(draw(st.sets(st.one_of(st.integers(1, 60), st.integers(1, 2**54)), min_size=4, max_size=4)))
    slabs = tuple(Slab(draw(prices), bound) for bound in (*bounds[: count - 1], OPEN_BOUND_WH))
    windows = []
    for _ in range(draw(st.integers(0, 3))):
        start, end = sorted(draw(st.lists(st.integers(0, 1_440), min_size=2, max_size=2, unique=True)))
        own = tuple(draw(prices) for _ in range(count))
        windows.append(TimeOfUse(draw(st.integers(1, 127)), start, end, own))
    lowest = min([slab.price_wei_per_wh for slab in slabs] + [min(one.prices_wei_per_wh) for one in windows])
    allowance = draw(st.sampled_from((0, 7, 40, 10**6)))
    period_days = draw(st.sampled_from((0, 0, 1, 7, 30, 366)))
    return TariffVersion(
        slabs,
        tuple(windows),
        whole=draw(st.booleans()),
        period_days=period_days,
        anchor_day=draw(st.sampled_from((0, 5, 19_000, 2**24 - 1))) if period_days else 0,
        export_price_wei_per_wh=draw(prices),
        standing_wei_per_day=draw(st.sampled_from((0, 1, 2**80 - 1))),
        allowance_wh=allowance,
        allowance_price_wei_per_wh=draw(st.sampled_from((0, lowest // 2, lowest))) if allowance else 0,
    )


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


# Versions


def test_a_version_comes_back_as_it_was_given() -> None:
    """The largest there can be: 16 steps, 16 times of use."""
    slabs = (*(Slab(number, 100 + number) for number in range(MAX_SLABS - 1)), Slab(2**64 - 1))
    windows = tuple(
        TimeOfUse(1 << number % 7, number, 1_440 - number, tuple(range(number, number + MAX_SLABS)))
        for number in range(MAX_WINDOWS)
    )
    version = TariffVersion(slabs, windows, True, 30, 19_000, 2**64 - 1, 2**80 - 1, 2**56 - 1, 0)
    stage = TariffStage()
    result = stage.create(version)
    assert result.success
    assert result.gas_used < 2_000_000
    assert stage.held_at(1, GENESIS_TIME_S) == (GENESIS_TIME_S, version)
    assert stage.ask("versionAt", 1, GENESIS_TIME_S) == (version_address(1),)
    again = TariffStage(GenesisTariff(SUPPLIER, "house", version))
    assert again.held_at(1, 5) == (0, version)


def test_a_created_tariff_has_its_name_supplier_and_events() -> None:
    stage = TariffStage()
    result = stage.create(TariffVersion.flat(7))
    created, announced = [TARIFFS.abi.decode_log(log.topics, log.data) for log in result.logs]
    assert created is not None
    assert announced is not None
    assert dict(created.arguments) == {"tariff": 1, "supplier": SUPPLIER, "name": b"house".ljust(32, b"\0")}
    assert (announced.event, announced.arguments["from"]) == ("VersionAnnounced", GENESIS_TIME_S)
    assert announced.arguments["data"] == version_address(1) == create_address(TARIFFS_ADDRESS, 1)
    assert stage.ask("supplierOf", 1) == (SUPPLIER,)
    assert stage.ask("supplierOf", 2) == (bytes(20),)
    assert stage.ask("tariffsOf", SUPPLIER) == ((1,),)
    assert stage.ask("nameOf", 1) == (b"house".ljust(32, b"\0"),)


def test_a_time_that_has_passed_keeps_its_version() -> None:
    stage = TariffStage(GenesisTariff(SUPPLIER, "house", TariffVersion.flat(900)))
    for step in range(1, 9):
        stage.ledger.time_s = GENESIS_TIME_S + 1_000 * step
        assert stage.announce(1, TariffVersion.flat(900 - step)).success
    for seconds in range(-500, 9_000, 250):
        price = 900 - min(8, max(0, seconds // 1_000))
        assert stage.held_at(1, GENESIS_TIME_S + seconds)[1] == TariffVersion.flat(price)
    assert stage.ask("latestVersion", 1) == (GENESIS_TIME_S + 8_000, _as_result(TariffVersion.flat(892)))


def test_a_dearer_version_needs_a_days_notice_and_can_be_replaced_until_it_holds() -> None:
    stage = TariffStage(GenesisTariff(SUPPLIER, "house", TariffVersion.flat(10)))
    earliest = GENESIS_TIME_S + NOTICE_S
    refused = stage.announce(1, TariffVersion.flat(11), earliest - 1)
    assert reason(refused) == f"VersionTooSoon(from={earliest - 1}, earliest={earliest})"
    assert stage.announce(1, TariffVersion.flat(11)).success
    assert stage.held_at(1, earliest - 1)[1] == TariffVersion.flat(10)
    assert stage.held_at(1, earliest) == (earliest, TariffVersion.flat(11))
    stage.ledger.time_s += 100
    # Dearer than the one in force, even though below the announced one.
    assert not stage.announce(1, TariffVersion.flat(11), earliest).success
    assert stage.announce(1, TariffVersion.flat(9), GENESIS_TIME_S + 5_000).success
    assert stage.held_at(1, earliest)[1] == TariffVersion.flat(9)
    assert stage.held_at(1, GENESIS_TIME_S + 4_999)[1] == TariffVersion.flat(10)


BASE = TariffVersion(
    (Slab(10, 100), Slab(20)),
    (time_of_use(31, 18, 22, 30, 40),),
    export_price_wei_per_wh=5,
    standing_wei_per_day=7,
    allowance_wh=50,
    allowance_price_wei_per_wh=3,
)


@pytest.mark.parametrize(
    ("change", "is_lower"),
    [
        ({}, True),
        ({"slabs": (Slab(10, 100), Slab(21))}, False),
        ({"slabs": (Slab(10, 101), Slab(20))}, True),
        ({"slabs": (Slab(10, 99), Slab(20))}, False),
        ({"standing_wei_per_day": 8}, False),
        ({"standing_wei_per_day": 0}, True),
        ({"export_price_wei_per_wh": 4}, False),
        ({"export_price_wei_per_wh": 6}, True),
        ({"allowance_wh": 49}, False),
        ({"allowance_wh": 51}, True),
        ({"allowance_price_wei_per_wh": 4}, False),
        ({"allowance_price_wei_per_wh": 0}, True),
        ({"whole": True}, False),
        ({"period_days": 30}, False),
        ({"windows": ()}, False),
        ({"windows": (time_of_use(31, 18, 22, 30, 39),)}, True),
        ({"windows": (time_of_use(31, 18, 22, 31, 39),)}, False),
        ({"windows": (time_of_use(31, 18, 21, 30, 40),)}, False),
    ],
)
def test_what_counts_as_nowhere_dearer(change: dict[str, object], is_lower: bool) -> None:
    changed = replace(BASE, **change)  # type: ignore[arg-type]
    stage = TariffStage(GenesisTariff(SUPPLIER, "house", BASE))
    assert stage.ask("isNowhereDearer", BASE.argument(), changed.argument()) == (is_lower,)
    assert stage.announce(1, changed, GENESIS_TIME_S).success == is_lower


@given(old=versions(), new=versions(), used_wh=energies_wh, imported_wh=energies_wh, time_s=times_s)
@settings(max_examples=40)
def test_nowhere_dearer_holds_for_any_reading(
    old: TariffVersion, new: TariffVersion, used_wh: int, imported_wh: int, time_s: int
) -> None:
    """Prices of the one are often those of the other lowered, so that the answer is often yes."""
    lowered = replace(
        old,
        slabs=tuple(Slab(slab.price_wei_per_wh * 3 // 4, slab.up_to_wh) for slab in old.slabs),
        allowance_wh=0,
        allowance_price_wei_per_wh=0,
    )
    plain = replace(old, allowance_wh=0, allowance_price_wei_per_wh=0)
    for first, second in ((plain, lowered), (old, new), (plain, replace(new, windows=(), whole=old.whole))):
        if not _STAGE.ask("isNowhereDearer", first.argument(), second.argument())[0]:
            assert first is not plain or second is not lowered
            continue
        moment = local_moment(time_s, 0)
        total_wh = used_wh + imported_wh
        assert energy_cost(second, used_wh, total_wh, moment) <= energy_cost(first, used_wh, total_wh, moment)


_STAGE = TariffStage()


# Who, and what is refused


@pytest.mark.parametrize("person", [OWNER, STRANGER, bytes(20)], ids=["regulator", "stranger", "nobody"])
def test_only_suppliers_have_tariffs(person: bytes) -> None:
    stage = TariffStage(GenesisTariff(SUPPLIER, "house", TariffVersion.flat(10)))
    for refused in (
        stage.create(TariffVersion.flat(1), sender=person),
        stage.announce(1, TariffVersion.flat(1), sender=person),
    ):
        assert (reason(refused) or "").startswith("NotSupplier(caller=0x")


def test_a_supplier_changes_only_its_own_tariffs() -> None:
    stage = TariffStage(GenesisTariff(SUPPLIER, "house", TariffVersion.flat(10)))
    refused = stage.announce(1, TariffVersion.flat(1), sender=RIVAL)
    assert reason(refused) == f"NotTariffOwner(tariff=1, caller=0x{RIVAL.hex()})"
    assert reason(stage.announce(2, TariffVersion.flat(1))) == "TariffUnknown(tariff=2)"


def test_a_supplier_has_a_bounded_number_of_tariffs() -> None:
    stage = TariffStage(*(GenesisTariff(SUPPLIER, str(number), BASE) for number in range(MAX_TARIFFS)))
    assert reason(stage.create(BASE)) == f"TooManyTariffs(supplier=0x{SUPPLIER.hex()}, maximum={MAX_TARIFFS})"
    assert stage.create(BASE, sender=RIVAL).success
    with pytest.raises(UserError):
        TariffStage(*(GenesisTariff(SUPPLIER, str(number), BASE) for number in range(MAX_TARIFFS + 1)))


def test_versions_begin_neither_in_the_past_nor_beyond_all_clocks() -> None:
    stage = TariffStage()
    assert reason(stage.create(BASE, GENESIS_TIME_S - 1)) == (
        f"VersionTooSoon(from={GENESIS_TIME_S - 1}, earliest={GENESIS_TIME_S})"
    )
    assert reason(stage.create(BASE, 2**40)) == f"TimeTooLarge(from={2**40}, maximum={2**40 - 1})"
    nameless = stage.send(SUPPLIER, "createTariff", bytes(32), 0, BASE.argument())
    assert reason(nameless) == "NameMissing()"


@pytest.mark.parametrize(
    ("version", "error"),
    [
        (TariffVersion(()), "SlabCountInvalid(count=0, maximum=16)"),
        (TariffVersion((Slab(1),) * 17), "SlabCountInvalid(count=17, maximum=16)"),
        (TariffVersion((Slab(1, 5),)), "SlabBoundInvalid(index=0, upToWh=5)"),
        (TariffVersion((Slab(1, 0), Slab(1))), "SlabBoundInvalid(index=0, upToWh=0)"),
        (TariffVersion((Slab(1, 5), Slab(2, 5), Slab(1))), "SlabBoundInvalid(index=1, upToWh=5)"),
        (TariffVersion((Slab(1), Slab(2))), f"SlabBoundInvalid(index=0, upToWh={OPEN_BOUND_WH})"),
        (replace(BASE, windows=BASE.windows * 17), "WindowCountInvalid(count=17, maximum=16)"),
        (
            replace(BASE, windows=(TimeOfUse(0, 1, 2, (1, 1)),)),
            "WindowInvalid(index=0, weekdays=0, fromMinute=1, untilMinute=2)",
        ),
        (
            replace(BASE, windows=(TimeOfUse(128, 1, 2, (1, 1)),)),
            "WindowInvalid(index=0, weekdays=128, fromMinute=1, untilMinute=2)",
        ),
        (
            replace(BASE, windows=(TimeOfUse(1, 2, 2, (1, 1)),)),
            "WindowInvalid(index=0, weekdays=1, fromMinute=2, untilMinute=2)",
        ),
        (
            replace(BASE, windows=(TimeOfUse(1, 2, 1_441, (1, 1)),)),
            "WindowInvalid(index=0, weekdays=1, fromMinute=2, untilMinute=1441)",
        ),
        (
            replace(BASE, windows=(TimeOfUse(1, 2, 3, (9,)),)),
            "WindowPricesInvalid(index=0, count=1, slabs=2)",
        ),
        (replace(BASE, period_days=367), "PeriodInvalid(periodDays=367, anchorDay=0, maximumDays=366)"),
        (replace(BASE, anchor_day=1), "PeriodInvalid(periodDays=0, anchorDay=1, maximumDays=366)"),
        (
            replace(BASE, allowance_price_wei_per_wh=11),
            "AllowanceDearer(allowancePriceWeiPerWh=11, lowestPriceWeiPerWh=10)",
        ),
        (
            replace(BASE, windows=(time_of_use(31, 18, 22, 2, 40),)),
            "AllowanceDearer(allowancePriceWeiPerWh=3, lowestPriceWeiPerWh=2)",
        ),
        (replace(BASE, allowance_wh=0), "AllowanceDearer(allowancePriceWeiPerWh=3, lowestPriceWeiPerWh=10)"),
    ],
)
def test_versions_that_are_wrong_are_refused_here_and_there(version: TariffVersion, error: str) -> None:
    assert reason(_STAGE.create(version)) == error
    with pytest.raises(UserError):
        version.check()


def test_tariffs_takes_no_money() -> None:
    payer = b"\x77" * 20
    assert not _STAGE.ledger.transact(payer, TARIFFS_ADDRESS, b"").success


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


def reason(result: object) -> str | None:
    output = getattr(result, "output", b"")
    return None if getattr(result, "success", False) else TARIFFS.abi.revert_reason(output)


def _as_result(version: TariffVersion) -> tuple[object, ...]:
    """As a decoded Version: lists come back as tuples."""
    *plain, slabs, windows = version.argument()
    assert isinstance(slabs, list)
    assert isinstance(windows, list)
    return (*plain, tuple(slabs), tuple((*head, tuple(own)) for *head, own in windows))
