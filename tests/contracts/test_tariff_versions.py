"""Versions of tariffs: notice, replacing, what counts as dearer, who may, and what is refused."""

from dataclasses import replace

import pytest
from hypothesis import given, settings

from contracts.addresses import TARIFFS_ADDRESS
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
from tests.contracts.ledgers import GENESIS_TIME_S
from tests.contracts.tariff_stage import (
    OWNER,
    RIVAL,
    STRANGER,
    SUPPLIER,
    TARIFFS,
    TariffStage,
    energy_cost,
    local_moment,
    time_of_use,
)
from tests.contracts.tariff_strategies import energies_wh, times_s, versions
from vm.addresses import create_address


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


def test_the_first_version_needs_notice_too_where_it_replaces_one_that_does_not_hold_yet() -> None:
    """Until then the tariff costs nothing, and meters may have it."""
    stage = TariffStage()
    assert stage.create(TariffVersion.flat(1), GENESIS_TIME_S + 10 * NOTICE_S).success
    earliest = GENESIS_TIME_S + NOTICE_S
    refused = stage.announce(1, TariffVersion.flat(9), GENESIS_TIME_S)
    assert reason(refused) == f"VersionTooSoon(from={GENESIS_TIME_S}, earliest={earliest})"
    assert stage.announce(1, TariffVersion.flat(9)).success
    assert stage.held_at(1, earliest - 1) == (0, None)
    assert stage.held_at(1, earliest) == (earliest, TariffVersion.flat(9))


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


def reason(result: object) -> str | None:
    output = getattr(result, "output", b"")
    return None if getattr(result, "success", False) else TARIFFS.abi.revert_reason(output)


def _as_result(version: TariffVersion) -> tuple[object, ...]:
    """As a decoded Version: lists come back as tuples."""
    *plain, slabs, windows = version.argument()
    assert isinstance(slabs, list)
    assert isinstance(windows, list)
    return (*plain, tuple(slabs), tuple((*head, tuple(own)) for *head, own in windows))
