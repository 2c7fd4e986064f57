"""The Exhaustion contract: credit used up by readings, what is overdrawn, tariffs, export, transfer and leaving."""

import pytest

from contracts.addresses import EXHAUSTION_ADDRESS
from contracts.genesis import MAX_HELD_WEI, MAX_LOW_CREDIT_WEI
from contracts.roles import Role
from contracts.tariff_format import GenesisTariff, Slab, TariffVersion
from primitives.hexadecimal import to_data
from tests.contracts.ledgers import GENESIS_TIME_S
from tests.contracts.neighbourhood import (
    EXHAUSTION,
    OWNER,
    PAYER,
    RATE_WEI_PER_WH,
    REGULATOR,
    RIVAL,
    STRANGER,
    SUPPLIER,
    WATT,
    Device,
    Neighbourhood,
    event_names,
    only,
    reason,
)

DAY_S = 86_400


@pytest.fixture
def device() -> Device:
    return Device("meter one")


@pytest.fixture
def street(device: Device) -> Neighbourhood:
    return Neighbourhood(device)


# Credit


def test_a_reading_moves_usage_times_rate_to_the_supplier(street: Neighbourhood, device: Device) -> None:
    """Figure 4 of the Wattcoin paper: total = usage * rate, from the user's balance to the supplier's."""
    street.top_up(device, WATT)
    street.submit(device.measure(import_wh=1_500))
    assert street.account(device) == (WATT - 1_500 * RATE_WEI_PER_WH, 0, 1_500)
    assert street.supplier_account() == 1_500 * RATE_WEI_PER_WH
    assert street.ask_exhaustion("tillOf", 1) == (1_500 * RATE_WEI_PER_WH,)
    assert street.ledger.balance(EXHAUSTION_ADDRESS) == WATT


def test_anyone_may_top_up_and_supply_returns(street: Neighbourhood, device: Device) -> None:
    assert not street.supply_allowed(device)
    result = street.top_up(device, 5 * WATT)
    assert event_names(result) == ["ToppedUp", "Restored"]
    assert only(result, "ToppedUp") == {
        "meter": device.address,
        "payer": PAYER,
        "amountWei": 5 * WATT,
        "settledWei": 0,
        "recoveredWei": 0,
        "balanceWei": 5 * WATT,
    }
    assert only(result, "Restored") == {"meter": device.address, "creditWei": 5 * WATT}
    assert street.supply_allowed(device)
    assert event_names(street.top_up(device, WATT, sender=STRANGER)) == ["ToppedUp"]


def test_what_is_overdrawn_is_settled_first_by_the_next_top_up(street: Neighbourhood, device: Device) -> None:
    street.top_up(device, 1_000 * RATE_WEI_PER_WH)
    result = street.submit(device.measure(import_wh=1_200))
    assert event_names(result) == ["ReadingAccepted", "Charged", "Exhausted"]
    charged = only(result, "Charged")
    assert (charged["costWei"], charged["paidWei"]) == (1_200 * RATE_WEI_PER_WH, 1_000 * RATE_WEI_PER_WH)
    assert charged["balanceWei"] == -200 * RATE_WEI_PER_WH
    assert only(result, "Exhausted") == {"meter": device.address, "overdrawnWei": 200 * RATE_WEI_PER_WH}
    assert not street.supply_allowed(device)
    assert street.supplier_account() == 1_000 * RATE_WEI_PER_WH

    # More, then a part of it settled: still off.
    assert event_names(street.submit(device.measure(import_wh=50))) == ["ReadingAccepted", "Charged"]
    assert street.account(device) == (0, 250 * RATE_WEI_PER_WH, 1_250)
    partly = street.top_up(device, 100 * RATE_WEI_PER_WH)
    assert event_names(partly) == ["ToppedUp"]
    assert only(partly, "ToppedUp")["settledWei"] == 100 * RATE_WEI_PER_WH
    assert street.supplier_account() == 1_100 * RATE_WEI_PER_WH

    # The exact rest leaves nothing, which is not enough; one wei more is.
    assert event_names(street.top_up(device, 150 * RATE_WEI_PER_WH)) == ["ToppedUp"]
    assert street.account(device) == (0, 0, 1_250)
    assert not street.supply_allowed(device)
    assert event_names(street.top_up(device, 1)) == ["ToppedUp", "Restored"]
    assert street.supply_allowed(device)
    assert street.supplier_account() == 1_250 * RATE_WEI_PER_WH


def test_credit_used_to_the_last_wei_is_exhausted(street: Neighbourhood, device: Device) -> None:
    street.top_up(device, 10 * RATE_WEI_PER_WH)
    result = street.submit(device.measure(import_wh=10))
    assert only(result, "Exhausted")["overdrawnWei"] == 0
    assert street.account(device) == (0, 0, 10)


def test_low_credit_is_reported_once_as_it_falls_below_the_threshold(street: Neighbourhood, device: Device) -> None:
    threshold = 500 * RATE_WEI_PER_WH
    result = street.exhaustion(OWNER, "setLowCreditThreshold", device.address, threshold)
    assert only(result, "LowCreditThresholdSet") == {"meter": device.address, "lowCreditWei": threshold}
    street.top_up(device, 1_000 * RATE_WEI_PER_WH)
    assert event_names(street.submit(device.measure(import_wh=500))) == ["ReadingAccepted", "Charged"]
    fell = street.submit(device.measure(import_wh=1))
    assert only(fell, "LowCredit") == {
        "meter": device.address,
        "creditWei": 499 * RATE_WEI_PER_WH,
        "lowCreditWei": threshold,
    }
    assert event_names(street.submit(device.measure(import_wh=1))) == ["ReadingAccepted", "Charged"]
    assert event_names(street.submit(device.measure(import_wh=600))) == ["ReadingAccepted", "Charged", "Exhausted"]


@pytest.mark.parametrize("threshold", [2, 3, 2**70, 2**70 + 1, MAX_HELD_WEI - 1])
def test_any_threshold_is_noticed_to_the_wei(device: Device, threshold: int) -> None:
    street = Neighbourhood(device, rate_wei_per_wh=1)
    street.exhaustion(OWNER, "setLowCreditThreshold", device.address, threshold)
    street.top_up(device, threshold + 1)
    assert event_names(street.submit(device.measure(import_wh=1)))[2:] == []
    assert event_names(street.submit(device.measure(import_wh=1)))[2:] == ["LowCredit"]


def test_a_threshold_above_the_credit_reports_at_once(street: Neighbourhood, device: Device) -> None:
    street.top_up(device, WATT)
    result = street.exhaustion(OWNER, "setLowCreditThreshold", device.address, MAX_LOW_CREDIT_WEI)
    assert event_names(result) == ["LowCreditThresholdSet", "LowCredit"]


def test_top_ups_that_would_be_lost_are_refused(street: Neighbourhood, device: Device) -> None:
    stranger_device = Device("nobody's meter")
    assert reason(street.top_up(stranger_device, 1)) == f"NotPrepaid(meter={to_data(stranger_device.address)})"
    assert reason(street.top_up(device, 0)) == "AmountZero()"
    assert not street.ledger.transact(PAYER, EXHAUSTION_ADDRESS, b"", 1).success
    assert street.ledger.balance(EXHAUSTION_ADDRESS) == 0


def test_the_money_here_has_a_greatest_value(street: Neighbourhood, device: Device) -> None:
    assert reason(street.top_up(device, MAX_HELD_WEI + 1)) == (
        f"HeldTooLarge(heldWei={MAX_HELD_WEI + 1}, maximumWei={MAX_HELD_WEI})"
    )
    assert street.top_up(device, MAX_HELD_WEI).success
    assert not street.top_up(device, 1).success
    assert street.ask_exhaustion("MAX_HELD_WEI") == (MAX_HELD_WEI,)


def test_a_removed_meter_has_no_supply_and_takes_only_its_debt(street: Neighbourhood, device: Device) -> None:
    street.top_up(device, 10 * RATE_WEI_PER_WH)
    street.submit(device.measure(import_wh=5))
    assert street.supply_allowed(device)
    street.registry(SUPPLIER, "removeMeter", device.address)
    assert not street.supply_allowed(device)
    assert not street.top_up(device, 1).success
    street.registry(SUPPLIER, "reinstateMeter", device.address, device.import_wh, 0)
    assert street.supply_allowed(device)
    device.time_s = street.ledger.time_s
    street.submit(device.measure(import_wh=7))
    street.registry(SUPPLIER, "removeMeter", device.address)
    debt = 2 * RATE_WEI_PER_WH
    text = f"MeterRemovedAboveDebt(meter={to_data(device.address)}, amountWei={debt + 1}, debtWei={debt})"
    assert reason(street.top_up(device, debt + 1)) == text
    assert street.top_up(device, debt).success
    assert street.account(device) == (0, 0, 12)


def test_how_long_the_credit_will_last(street: Neighbourhood, device: Device) -> None:
    """Three days of 100, 200 and 330 Wh, then two days without a reading and 50 Wh: exact integers."""
    street.top_up(device, 10_000 * RATE_WEI_PER_WH)
    day = GENESIS_TIME_S // DAY_S

    def read(day_number: int, import_wh: int) -> None:
        device.time_s = street.ledger.time_s = (day + day_number) * DAY_S + 3_600
        assert street.submit(device.measure(import_wh=import_wh)).success

    read(0, 60)
    assert street.ask_exhaustion("estimateOf", device.address) == (0, 2**256 - 1)
    street.top_up(device, 77)
    read(0, 40)
    read(1, 200)
    assert street.ask_exhaustion("estimateOf", device.address)[0] == 100 * RATE_WEI_PER_WH
    read(2, 330)
    assert street.ask_exhaustion("estimateOf", device.address)[0] == 150 * RATE_WEI_PER_WH
    read(5, 50)
    average = (2 * 150 * RATE_WEI_PER_WH + 330 * RATE_WEI_PER_WH) // 5
    credit = 10_000 * RATE_WEI_PER_WH + 77 - 680 * RATE_WEI_PER_WH
    assert street.ask_exhaustion("estimateOf", device.address) == (average, credit // average)
    read(25, 1)
    assert street.ask_exhaustion("estimateOf", device.address)[0] == 50 * RATE_WEI_PER_WH // 20


# Tariffs


def test_slabs_standing_charge_and_a_new_month(device: Device) -> None:
    version = TariffVersion((Slab(10, 100), Slab(20)), standing_wei_per_day=7)
    street = Neighbourhood(
        device, credit_wei=10**6, tariffs=[GenesisTariff(SUPPLIER, "house", version)], installed_at_s=GENESIS_TIME_S
    )

    def cost(seconds: int, import_wh: int) -> object:
        device.time_s = street.ledger.time_s = GENESIS_TIME_S + seconds
        return only(street.submit(device.measure(import_wh=import_wh)), "Charged")["costWei"]

    # 2023-11-14 22:13:20 UTC: the day of installation is free of the standing charge.
    assert cost(60, 90) == 900
    assert cost(DAY_S, 20) == 10 * 10 + 10 * 20 + 7
    assert cost(DAY_S + 60, 1) == 20
    assert cost(4 * DAY_S, 0) == 3 * 7
    december = 1_701_388_800 - GENESIS_TIME_S
    # A reading of midnight still belongs to November.
    assert cost(december, 10) == 200 + 12 * 7
    assert cost(december + 1, 10) == 100 + 7
    assert street.account_view(device)["periodWh"] == 10


def test_a_late_reading_is_charged_by_the_version_of_its_own_time(street: Neighbourhood, device: Device) -> None:
    """Three versions; readings from each period arrive after the last has begun."""
    street.top_up(device, WATT)
    for step, rate in enumerate((300, 200, 100)):
        street.ledger.time_s = GENESIS_TIME_S + step * 1_000
        assert street.tariffs(SUPPLIER, "announceVersion", 1, 0, TariffVersion.flat(rate).argument()).success
    street.ledger.time_s += 10_000
    costs = []
    for time_s in (-1, 0, 999, 1_000, 1_500, 2_000, 9_000):
        device.time_s = GENESIS_TIME_S + time_s
        costs.append(only(street.submit(device.measure(import_wh=1)), "Charged")["costWei"])
    assert costs == [RATE_WEI_PER_WH, 300, 300, 200, 200, 100, 100]


def test_an_announced_version_begins_by_itself_and_may_be_replaced_before(
    street: Neighbourhood, device: Device
) -> None:
    street.top_up(device, WATT)
    later = GENESIS_TIME_S + DAY_S

    def cost(time_s: int) -> object:
        device.time_s = time_s
        street.ledger.time_s = max(street.ledger.time_s, time_s)
        return only(street.submit(device.measure(import_wh=1)), "Charged")["costWei"]

    dearer = RATE_WEI_PER_WH * 3
    assert street.tariffs(SUPPLIER, "announceVersion", 1, 0, TariffVersion.flat(2 * dearer).argument()).success
    assert street.tariffs(SUPPLIER, "announceVersion", 1, 0, TariffVersion.flat(dearer).argument()).success
    assert cost(later - 1) == RATE_WEI_PER_WH
    assert cost(later) == dearer
    # The next ones, with the announced one still where it was announced.
    street.ledger.time_s = later + 5
    assert street.tariffs(SUPPLIER, "announceVersion", 1, later + 50, TariffVersion.flat(9).argument()).success
    assert cost(later + 49) == dearer
    assert cost(later + 50) == 9
    assert street.tariffs(SUPPLIER, "announceVersion", 1, 0, TariffVersion.flat(8).argument()).success
    assert cost(later + 51) == 8


def test_without_a_tariff_energy_costs_nothing(street: Neighbourhood) -> None:
    other = Device("meter two")
    street.registry(REGULATOR, "addMember", RIVAL, Role.SUPPLIER)
    assert street.install(other, RIVAL).success
    assert only(street.submit(other.measure(import_wh=9)), "Charged")["costWei"] == 0


# Export


def test_energy_given_is_paid_by_the_supplier_as_far_as_it_has_money(device: Device) -> None:
    version = TariffVersion((Slab(10),), export_price_wei_per_wh=6)
    street = Neighbourhood(device, credit_wei=1_000, tariffs=[GenesisTariff(SUPPLIER, "solar", version)])

    def books(credit: int, owed: int, supplier: int) -> None:
        seen = street.account_view(device)
        assert (seen["creditWei"], seen["owedWei"], street.supplier_account()) == (credit, owed, supplier)
        assert street.ledger.balance(EXHAUSTION_ADDRESS) == credit + supplier

    # Nothing has been paid to the supplier yet: 60 wei are owed, none are made.
    result = street.submit(device.measure(export_wh=10))
    assert event_names(result) == ["ReadingAccepted", "ExportCredited", "Charged"]
    assert only(result, "ExportCredited")["owedWei"] == 60
    books(1_000, 60, 0)
    # What is owed comes off the next cost: 100 - 60.
    assert only(street.submit(device.measure(import_wh=10)), "Charged")["paidWei"] == 40
    books(960, 0, 40)
    # 40 of 90 can be paid from the till; a deposit pays the rest, on request.
    street.submit(device.measure(export_wh=15))
    books(1_000, 50, 0)
    assert street.ledger.transact(
        STRANGER, EXHAUSTION_ADDRESS, EXHAUSTION.abi.encode_call("deposit", [SUPPLIER]), 80
    ).success
    assert only(street.exhaustion(STRANGER, "payOwed", device.address), "OwedPaid")["paidWei"] == 50
    books(1_050, 0, 30)
    # From the purse at once.
    street.submit(device.measure(export_wh=4))
    books(1_074, 0, 6)


def test_energy_given_settles_what_is_overdrawn_without_any_money(device: Device) -> None:
    version = TariffVersion((Slab(10),), export_price_wei_per_wh=6)
    street = Neighbourhood(device, tariffs=[GenesisTariff(SUPPLIER, "solar", version)])
    street.submit(device.measure(import_wh=9))
    assert street.account(device)[:2] == (0, 90)
    street.submit(device.measure(export_wh=10))
    assert street.account(device)[:2] == (0, 30)
    restored = street.submit(device.measure(export_wh=10))
    assert street.account_view(device)["owedWei"] == 30
    assert event_names(restored) == ["ReadingAccepted", "ExportCredited", "Charged"]


# Transfer, withdrawal, swap


def test_an_owner_gives_credit_to_a_neighbour(street: Neighbourhood, device: Device) -> None:
    other = Device("meter two")
    street.install(other, tariff=1)
    street.top_up(device, 1_000)
    result = street.exhaustion(OWNER, "transferCredit", device.address, other.address, 400)
    assert event_names(result) == ["CreditTransferred", "ToppedUp", "Restored"]
    assert (street.account(device)[0], street.account(other)[0]) == (600, 400)
    refused = street.exhaustion(OWNER, "transferCredit", device.address, other.address, 601)
    assert reason(refused) == (f"CreditTooSmall(meter={to_data(device.address)}, amountWei=601, availableWei=600)")
    same = street.exhaustion(OWNER, "transferCredit", device.address, device.address, 1)
    assert reason(same) == f"SameMeter(meter={to_data(device.address)})"
    unknown = street.exhaustion(OWNER, "transferCredit", device.address, b"\x99" * 20, 1)
    assert (reason(unknown) or "").startswith("NotPrepaid")
    last = street.exhaustion(OWNER, "transferCredit", device.address, other.address, 600)
    assert event_names(last) == ["CreditTransferred", "Exhausted", "ToppedUp"]


def test_who_leaves_takes_the_credit_along(street: Neighbourhood, device: Device) -> None:
    street.top_up(device, 1_000 * RATE_WEI_PER_WH)
    street.submit(device.measure(import_wh=100))
    refused = street.exhaustion(OWNER, "withdrawCredit", device.address)
    assert reason(refused) == f"MeterNotRemoved(meter={to_data(device.address)})"
    street.registry(SUPPLIER, "removeMeter", device.address)
    before = street.ledger.balance(OWNER)
    result = street.exhaustion(OWNER, "withdrawCredit", device.address)
    assert only(result, "CreditWithdrawn")["amountWei"] == 900 * RATE_WEI_PER_WH
    assert street.ledger.balance(OWNER) == before + 900 * RATE_WEI_PER_WH
    assert not street.exhaustion(OWNER, "withdrawCredit", device.address).success
    assert street.ledger.balance(EXHAUSTION_ADDRESS) == street.supplier_account() == 100 * RATE_WEI_PER_WH


def test_a_successor_goes_on_with_the_account(street: Neighbourhood, device: Device) -> None:
    street.top_up(device, 1_000 * RATE_WEI_PER_WH)
    street.exhaustion(OWNER, "setLowCreditThreshold", device.address, 5)
    street.submit(device.measure(import_wh=100))
    before = street.account_view(device)
    successor = Device("successor")
    swapped = street.registry(SUPPLIER, "swapMeter", device.address, successor.address, 100, 0, 0, 0)
    assert only(swapped, "CreditMoved")["successor"] == successor.address
    assert street.account_view(successor) == before
    assert set(street.account_view(device).values()) == {0}
    assert street.supply_allowed(successor)
    assert not street.supply_allowed(device)
