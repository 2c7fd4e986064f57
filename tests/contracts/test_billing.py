"""Billing: the paper's numbers by both rules, bills and their periods, payments, late fees, cuts, changes of meters."""

import pytest

from contracts.addresses import BILLING_ADDRESS
from tests.contracts.billing_attacks import RECEIVER, RECEIVER_ADDRESS, receiver_alloc, receiver_does
from tests.contracts.billing_stage import (
    BILLING,
    DAY_S,
    EL_DAPP,
    EL_DAPP_WHOLE,
    FIRST_DAY,
    HOUSE,
    METER,
    NEXT,
    OTHER,
    OWNER,
    PAYER,
    PERIOD_DAYS,
    RIVAL,
    STRANGER,
    SUPPLIER,
    Bills,
    events,
    names,
    only,
    reason,
    shown,
)
from tests.contracts.ledgers import Result
from tests.contracts.meter_book import BOOK_ADDRESS, DIRECTOR, Role
from tests.contracts.tariff_stage import KWH, WATT

CENT = WATT // 100
COUNTERS = ("attempts", "successes")


@pytest.fixture
def street() -> Bills:
    return Bills()


def bill_of(street: Bills, wei: int, meter: bytes = METER) -> int:
    """A bill of HOUSE's prices over so much money of energy: its number. It is due in 30 days."""
    place = street.install(meter, HOUSE)
    street.days_pass(1)
    assert wei % (296 * CENT) == 0
    street.read(place, wei // (296 * CENT) * KWH)
    street.days_pass(PERIOD_DAYS)
    street.read(place)
    (issued,) = street.bills(meter)
    return issued.number


# What a period costs


@pytest.mark.parametrize(
    ("version", "expected_cents"),
    [
        # 90, 120, 290 and 100 kWh: each part at 2.96, 5.56, 9.16 or 10.61 by the slab that it falls in.
        (EL_DAPP, 100 * 296 + 200 * 556 + 200 * 916 + 100 * 1_061),
        # The program of listing 4 charges all of a reading at the slab that its total falls in.
        (EL_DAPP_WHOLE, 90 * 296 + 120 * 556 + 290 * 916 + 100 * 1_061),
    ],
)
def test_the_papers_slabs(street: Bills, version: object, expected_cents: int) -> None:
    place = street.install(METER, version)  # type: ignore[arg-type]
    street.days_pass(1)
    for energy_kwh in (90, 120, 290, 100):
        street.read(place, energy_kwh * KWH)
    assert street.account().energy_wei == expected_cents * CENT
    street.days_pass(PERIOD_DAYS)
    issued = only(street.read(place, 1), "BillIssued")
    bill = street.bill(1)
    assert (bill.start_day, bill.end_day) == (FIRST_DAY - 1, FIRST_DAY + PERIOD_DAYS)
    assert bill.due_wei == bill.energy_wei == bill.open_wei == issued["dueWei"] == expected_cents * CENT
    assert (bill.imported_wh, issued["importedWh"]) == (600 * KWH, 600 * KWH)
    # The next period begins at the lowest slab again.
    assert street.account().energy_wei == 296 * CENT // KWH
    assert street.pay(METER, 1, expected_cents * CENT).success
    assert street.supplier_account() == expected_cents * CENT


def test_a_bill_has_energy_days_and_credit(street: Bills) -> None:
    place = street.install(METER, HOUSE)
    for _ in range(4):
        street.days_pass(1)
        street.read(place, 10 * KWH, 2 * KWH)
    street.days_pass(PERIOD_DAYS)
    result = street.read(place, 5 * KWH)
    assert names(result) == ["BillIssued", "Charged", "StandingCharged"]
    bill = street.bill(1)
    assert (bill.imported_wh, bill.exported_wh) == (40 * KWH, 8 * KWH)
    assert (bill.energy_wei, bill.standing_wei, bill.export_wei) == (40 * 296 * CENT, 4 * WATT // 2, 16 * WATT)
    assert bill.due_wei == bill.energy_wei + bill.standing_wei - bill.export_wei
    # The ten days since the last reading stand on the next bill.
    assert street.account().standing_wei == 10 * WATT // 2
    assert street.account().start_day == FIRST_DAY + PERIOD_DAYS


def test_what_energy_given_was_worth_more_is_carried_over_until_it_is_used(street: Bills) -> None:
    place = street.install(METER, HOUSE)
    street.days_pass(1)
    street.read(place, 0, 20 * KWH)  # 40 WATT less half a WATT for the day
    street.days_pass(PERIOD_DAYS)
    street.read(place)
    assert (street.bill(1).due_wei, street.account().credit_wei) == (0, 40 * WATT - WATT // 2)
    assert reason(street.pay(METER, 1, 1)) == f"BillPaid({shown(METER)}, 1)"
    street.read(place, 10 * KWH)  # 29.60, and 5 for ten days
    street.days_pass(PERIOD_DAYS)
    street.read(place)
    left = 40 * WATT - WATT // 2 - 2_960 * CENT - 5 * WATT
    assert (street.bill(2).due_wei, street.account().credit_wei) == (0, left)
    street.read(place, 10 * KWH)
    street.days_pass(PERIOD_DAYS)
    street.read(place)
    assert street.bill(3).due_wei == 2_960 * CENT + 5 * WATT - left
    assert street.account().credit_wei == 0


def test_days_are_those_of_the_suppliers_clock(street: Bills) -> None:
    """India: a reading of 18:30 UTC ends the local day."""
    place = street.install(METER, EL_DAPP, zone_s=19_800)
    end_s = (FIRST_DAY + PERIOD_DAYS) * DAY_S - 19_800
    street.ledger.time_s = end_s
    street.read(place, KWH)
    assert street.account().bill_count == 0
    street.ledger.time_s = end_s + 1
    assert "BillIssued" in names(street.read(place, KWH))
    assert street.bill(1).imported_wh == KWH


def test_without_a_tariff_nothing_costs_anything_and_nothing_stops(street: Bills) -> None:
    place = street.install()
    place.tariff = 99
    street.days_pass(3)
    assert names(street.read(place, 7 * KWH)) == ["Charged"]
    assert (street.account().energy_wei, street.account().imported_wh, street.account().end_day) == (0, 7 * KWH, 0)
    assert reason(street.act(STRANGER, "closePeriod", METER)) == f"NothingToBill({shown(METER)})"
    place.tariff = 1
    street.read(place, KWH)
    assert (street.account().energy_wei, street.account().imported_wh) == (296 * CENT, 8 * KWH)


def test_no_reading_makes_the_sink_revert(street: Bills) -> None:
    """The greatest registers, over and over as changes of the meter allow them: sums stop instead of overflowing."""
    place = street.install(METER, HOUSE)
    for _ in range(12):
        street.days_pass(1)
        assert street.read(place, 2**53 - 1, 2**53 - 1).success
    account = street.account()
    assert account.bill_count == 1
    for _ in range(9):
        assert street.read(place, 2**53 - 1, 2**53 - 1).success
    assert street.account().imported_wh == 2**56 - 1
    assert street.read(place, 0, 0, time_s=0).success
    assert street.read(place, 0, 0, time_s=2**40 - 1).success


# Closing a period


def test_anybody_closes_a_period_a_day_after_its_end(street: Bills) -> None:
    place = street.install()
    street.days_pass(1)
    street.read(place, KWH)
    end_day = FIRST_DAY + PERIOD_DAYS
    for day in (1, PERIOD_DAYS, PERIOD_DAYS + 1):
        street.ledger.time_s = (FIRST_DAY + day) * DAY_S
        today = FIRST_DAY + day - 1
        assert reason(street.act(STRANGER, "closePeriod", METER)) == (
            f"PeriodOpen({shown(METER)}, {end_day + 1}, {today})"
        )
    street.ledger.time_s += 1
    assert names(street.act(STRANGER, "closePeriod", METER)) == ["BillIssued"]
    assert reason(street.act(STRANGER, "closePeriod", METER)) == f"NothingToBill({shown(METER)})"
    assert street.bill(1).due_wei == 296 * CENT


def test_a_reading_that_comes_after_the_bill_stands_on_the_next_one(street: Bills) -> None:
    place = street.install()
    street.days_pass(1)
    street.read(place, 99 * KWH)
    street.days_pass(PERIOD_DAYS + 1)
    street.act(STRANGER, "closePeriod", METER)
    late_s = (FIRST_DAY + 5) * DAY_S
    assert names(street.read(place, 2 * KWH, time_s=late_s)) == ["Charged"]
    # By the slabs of its own period: one kWh of the first, one of the second.
    assert street.account().energy_wei == (296 + 556) * CENT
    assert names(street.read(place, KWH)) == ["Charged"]
    assert street.account().energy_wei == (296 + 556 + 296) * CENT
    street.days_pass(PERIOD_DAYS)
    street.read(place)
    assert (street.bill(1).imported_wh, street.bill(2).imported_wh) == (99 * KWH, 3 * KWH)
    assert street.bill(2).start_day == street.bill(1).end_day


def test_the_last_bill_of_a_meter_that_leaves_comes_at_once(street: Bills) -> None:
    place = street.install()
    street.days_pass(3)
    street.read(place, KWH)
    assert reason(street.act(STRANGER, "closePeriod", METER)) is not None
    street.remove(place)
    assert names(street.act(STRANGER, "closePeriod", METER)) == ["BillIssued"]
    assert (street.bill(1).start_day, street.bill(1).end_day) == (FIRST_DAY - 1, FIRST_DAY + 3)
    assert reason(street.act(STRANGER, "closePeriod", METER)) == f"NothingToBill({shown(METER)})"
    assert not street.account().active
    street.reinstate(place)
    street.read(place, KWH)
    street.days_pass(PERIOD_DAYS)
    street.read(place)
    assert [bill.imported_wh for bill in street.bills()] == [KWH, KWH]


# Paying


def test_a_bill_is_paid_in_parts_by_anyone_with_receipts(street: Bills) -> None:
    number = bill_of(street, 296 * WATT)
    due = street.bill(number).due_wei
    assert due == 296 * WATT + WATT // 2
    first = only(street.pay(METER, number, 100 * WATT, PAYER), "Paid")
    assert first == {
        "account": METER,
        "supplier": SUPPLIER,
        "payer": PAYER,
        "number": number,
        "receipt": 1,
        "amountWei": 100 * WATT,
        "openWei": due - 100 * WATT,
    }
    too_much = street.pay(METER, number, due)
    assert reason(too_much) == f"AmountAboveBill({due}, {due - 100 * WATT})"
    last = only(street.pay(METER, number, due - 100 * WATT, OWNER), "Paid")
    assert (last["receipt"], last["openWei"]) == (2, 0)
    assert street.ledger.balance(BILLING_ADDRESS) == street.supplier_account() == due
    assert reason(street.pay(METER, number, 1)) == f"BillPaid({shown(METER)}, {number})"


def test_bills_that_are_not_there_cannot_be_paid(street: Bills) -> None:
    number = bill_of(street, 296 * WATT)
    assert reason(street.pay(METER, 0, 1)) == f"BillUnknown({shown(METER)}, 0, 1)"
    assert reason(street.pay(METER, 2, 1)) == f"BillUnknown({shown(METER)}, 2, 1)"
    assert reason(street.pay(STRANGER, 1, 1)) == f"BillUnknown({shown(STRANGER)}, 1, 0)"
    assert reason(street.pay(METER, number, 0)) == "AmountZero()"


def test_a_supplier_takes_only_what_was_paid_to_it(street: Bills) -> None:
    number = bill_of(street, 296 * WATT)
    street.pay(METER, number, 10 * WATT)
    for caller in (RIVAL, OWNER, PAYER, STRANGER):
        assert reason(street.act(caller, "withdraw", caller, 1)) == f"AccountTooSmall({shown(caller)}, 1, 0)"
    assert reason(street.act(SUPPLIER, "withdraw", SUPPLIER, 10 * WATT + 1)) == (
        f"AccountTooSmall({shown(SUPPLIER)}, {10 * WATT + 1}, {10 * WATT})"
    )
    assert reason(street.act(SUPPLIER, "withdraw", bytes(20), 1)) == "ZeroAddress()"
    assert reason(street.act(SUPPLIER, "withdraw", SUPPLIER, 0)) == "AmountZero()"
    # Who takes no money gets none, and loses none.
    assert reason(street.act(SUPPLIER, "withdraw", BOOK_ADDRESS, 1)) == f"WithdrawalFailed({shown(BOOK_ADDRESS)}, 1)"
    before = street.ledger.balance(STRANGER)
    taken = only(street.act(SUPPLIER, "withdraw", STRANGER, 4 * WATT), "Withdrawn")
    assert taken == {"supplier": SUPPLIER, "to": STRANGER, "amountWei": 4 * WATT}
    assert street.ledger.balance(STRANGER) == before + 4 * WATT
    assert street.ledger.balance(BILLING_ADDRESS) == street.supplier_account() == 6 * WATT


@pytest.mark.parametrize("again_wei", [1, 4 * WATT, 6 * WATT])
def test_a_supplier_that_calls_back_is_paid_once(again_wei: int) -> None:
    street = Bills(receiver_alloc())
    street.book.set_role(RECEIVER_ADDRESS, Role.SUPPLIER)
    place = street.install(METER, HOUSE, supplier=RECEIVER_ADDRESS)
    street.days_pass(1)
    street.read(place, 100 * KWH)
    street.days_pass(PERIOD_DAYS)
    street.read(place)
    street.pay(METER, 1, 10 * WATT)
    withdrawals = [BILLING.abi.encode_call("withdraw", [RECEIVER_ADDRESS, wei]) for wei in (again_wei, 6 * WATT)]
    receiver_does(street.ledger, "prepare", withdrawals[0])
    assert receiver_does(street.ledger, "act", BILLING_ADDRESS, withdrawals[1]).success
    asked = [street.ledger.call(DIRECTOR, RECEIVER_ADDRESS, RECEIVER.abi.encode_call(name, [])) for name in COUNTERS]
    assert [int.from_bytes(one.output, "big") for one in asked] == [1, 0]
    assert street.supplier_account(RECEIVER_ADDRESS) == street.ledger.balance(BILLING_ADDRESS) == 4 * WATT


# Terms and late fees


def test_terms_are_announced_a_month_before_they_hold(street: Bills) -> None:
    assert street.ask("termsOf", SUPPLIER, street.ledger.time_s) == (30, 0)
    told = only(street.act(SUPPLIER, "announceTerms", 14, 500), "TermsAnnounced")
    from_s = street.ledger.time_s + 30 * DAY_S
    assert told == {"supplier": SUPPLIER, "dueDays": 14, "lateFeeBasisPoints": 500, "from": from_s}
    assert street.ask("termsOf", SUPPLIER, from_s - 1) == (30, 0)
    assert street.ask("termsOf", SUPPLIER, from_s) == (14, 500)
    street.days_pass(29)
    street.act(SUPPLIER, "announceTerms", 7, 1_000)  # in place of the others, which never hold
    assert street.ask("termsOf", SUPPLIER, from_s) == (30, 0)
    street.days_pass(30)
    assert street.ask("termsOf", SUPPLIER, street.ledger.time_s) == (7, 1_000)
    street.act(SUPPLIER, "announceTerms", 366, 0)
    assert street.ask("termsOf", SUPPLIER, street.ledger.time_s) == (7, 1_000)
    assert street.ask("latestTermsOf", SUPPLIER) == (366, 0, street.ledger.time_s + 30 * DAY_S)


def test_terms_are_bounded(street: Bills) -> None:
    assert reason(street.act(SUPPLIER, "announceTerms", 6, 0)) == "DueDaysOutOfRange(6, 7, 366)"
    assert reason(street.act(SUPPLIER, "announceTerms", 367, 0)) == "DueDaysOutOfRange(367, 7, 366)"
    assert reason(street.act(SUPPLIER, "announceTerms", 30, 1_001)) == "LateFeeTooHigh(1001, 1000)"


def test_a_late_fee_is_charged_once_on_what_was_open_when_the_time_ran_out(street: Bills) -> None:
    street.act(SUPPLIER, "announceTerms", 14, 333)
    street.days_pass(30)
    number = bill_of(street, 296 * WATT)
    street.act(SUPPLIER, "announceTerms", 7, 1_000)  # what is issued goes by what held then
    due = street.bill(number).due_wei
    street.pay(METER, number, 7)
    street.days_pass(14)
    assert street.bill(number).fee_wei == 0
    assert reason(street.act(STRANGER, "chargeLateFee", METER, number)) == (
        f"BillNotOverdue({shown(METER)}, {number}, {street.bill(number).due_at_s})"
    )
    street.ledger.time_s += 1
    fee = (due - 7) * 333 // 10_000
    assert (street.bill(number).fee_wei, street.bill(number).open_wei) == (fee, due - 7 + fee)
    # A payment after the time makes the fee part of the bill first; the rest of the bill bears no second one.
    assert names(street.pay(METER, number, due - 7)) == ["LateFeeCharged", "Paid"]
    assert street.bill(number).open_wei == fee
    street.days_pass(100)
    assert reason(street.act(STRANGER, "chargeLateFee", METER, number)) == f"BillWithoutFee({shown(METER)}, {number})"
    assert street.bill(number).open_wei == fee
    assert names(street.pay(METER, number, fee)) == ["Paid"]
    assert street.supplier_account() == due + fee


def test_anybody_may_make_a_late_fee_part_of_the_bill(street: Bills) -> None:
    street.act(SUPPLIER, "announceTerms", 14, 1_000)
    street.days_pass(30)
    number = bill_of(street, 296 * WATT)
    street.days_pass(15)
    told = only(street.act(STRANGER, "chargeLateFee", METER, number), "LateFeeCharged")
    assert told["feeWei"] == street.bill(number).due_wei // 10 == street.bill(number).fee_wei


# Cutting the supply


def test_the_supply_is_cut_for_an_overdue_bill_after_a_week_and_comes_back_with_the_money(street: Bills) -> None:
    number = bill_of(street, 296 * WATT)
    assert reason(street.act(SUPPLIER, "announceDisconnection", METER, number)) is not None
    street.days_pass(30)
    street.ledger.time_s += 1
    told = only(street.act(SUPPLIER, "announceDisconnection", METER, number), "DisconnectionAnnounced")
    at_s = street.ledger.time_s + 7 * DAY_S
    assert told["disconnectionAt"] == at_s
    assert street.ask("disconnectionOf", METER) == (number, at_s)
    assert reason(street.act(SUPPLIER, "announceDisconnection", METER, number)) == (
        f"DisconnectionPending({shown(METER)}, {number}, {at_s})"
    )
    assert street.supply_allowed(METER, at_s - 1)
    assert not street.supply_allowed(METER, at_s)
    street.days_pass(8)
    open_wei = street.bill(number).open_wei
    assert names(street.pay(METER, number, open_wei - 1)) == ["Paid"]
    assert not street.supply_allowed()
    assert names(street.pay(METER, number, 1)) == ["Paid", "DisconnectionEnded"]
    assert street.supply_allowed()
    assert reason(street.act(SUPPLIER, "announceDisconnection", METER, number)) == f"BillPaid({shown(METER)}, {number})"


def test_a_supplier_may_take_a_cut_back(street: Bills) -> None:
    number = bill_of(street, 296 * WATT)
    assert reason(street.act(SUPPLIER, "withdrawDisconnection", METER)) == f"NoDisconnection({shown(METER)})"
    street.days_pass(31)
    street.act(SUPPLIER, "announceDisconnection", METER, number)
    street.days_pass(8)
    assert not street.supply_allowed()
    assert names(street.act(SUPPLIER, "withdrawDisconnection", METER)) == ["DisconnectionEnded"]
    assert street.supply_allowed()


def test_supply_needs_an_active_meter_that_is_billed_here(street: Bills) -> None:
    place = street.install()
    assert street.supply_allowed()
    assert not street.supply_allowed(OTHER)
    street.remove(place)
    assert not street.supply_allowed()


# Changes of a meter


def test_bills_and_the_open_period_go_on_under_a_successor(street: Bills) -> None:
    place = street.install(METER, HOUSE)
    street.days_pass(1)
    street.read(place, 50 * KWH)
    street.days_pass(PERIOD_DAYS)
    street.read(place, 3 * KWH, 1 * KWH)
    before = street.account()
    moved = only(street.swap(place, NEXT), "AccountMoved")
    assert moved == {"account": METER, "meter": METER, "successor": NEXT}
    after = street.account(NEXT)
    assert after == before
    assert (street.account(METER).imported_wh, street.account(METER).active) == (0, False)
    assert street.bill(1, NEXT) == street.bill(1, METER)
    only(street.pay(NEXT, 1, 1), "Paid")
    street.pay(METER, 1, 1)
    assert street.bill(1, NEXT).paid_wei == 2
    # The slabs go on as well: the successor's kWh cost what the meter's would have cost.
    street.read(place, 98 * KWH)
    assert street.account(NEXT).energy_wei == (100 * 296 + 556) * CENT
    street.swap(place, OTHER)
    assert street.account(OTHER).account == METER
    street.days_pass(PERIOD_DAYS)
    street.read(place)
    assert only(street.pay(NEXT, 2, 5), "Paid")["account"] == METER
    assert [bill.number for bill in street.bills(OTHER)] == [1, 2]


# Who may do what


def test_only_meter_and_registry_tell_of_readings_and_changes(street: Bills) -> None:
    delta = (METER, SUPPLIER, 1, 1, 1, 1, 1, 0)
    for caller in (SUPPLIER, OWNER, STRANGER, METER):
        assert reason(street.act(caller, "onReading", delta)) == f"NotMeterContract({shown(caller)})"
        assert reason(street.act(caller, "onSwap", METER, NEXT)) == f"NotRegistry({shown(caller)})"


def test_only_suppliers_have_terms_and_only_its_own_one_cuts_a_meter(street: Bills) -> None:
    number = bill_of(street, 296 * WATT)
    street.days_pass(31)
    for caller in (OWNER, PAYER, STRANGER, METER):
        assert reason(street.act(caller, "announceTerms", 30, 0)) == f"NotSupplier({shown(caller)})"
        assert reason(street.act(caller, "describeProvider", "x", "")) == f"NotSupplier({shown(caller)})"
    for caller in (RIVAL, OWNER, PAYER, STRANGER, METER):
        expected = f"NotSupplierOf({shown(METER, caller)})"
        assert reason(street.act(caller, "announceDisconnection", METER, number)) == expected
        assert reason(street.act(caller, "withdrawDisconnection", METER)) == expected


def test_bills_are_listed_in_bounded_pieces(street: Bills) -> None:
    place = street.install()
    for _ in range(5):
        street.days_pass(PERIOD_DAYS)
        street.read(place, KWH)
    listed = street.ask_one("billsOf", METER, 2, 2)
    assert [one[0] for one in listed] == [2, 3]
    assert street.ask_one("billsOf", METER, 9, 2) == ()
    assert len(street.ask_one("billsOf", METER, 0, 64)) == street.account().bill_count == 4
    refused: Result = street.ledger.call(STRANGER, BILLING_ADDRESS, BILLING.abi.encode_call("billsOf", [METER, 1, 65]))
    assert reason(refused) == "RangeTooLong(65, 64)"


def test_every_event_of_a_reading_says_whose_it_is(street: Bills) -> None:
    place = street.install(METER, HOUSE)
    street.days_pass(1)
    told = {event.name: event.arguments for event in events(street.read(place, KWH, 2 * KWH))}
    whose = {"meter": METER, "supplier": SUPPLIER}
    assert told == {
        "Charged": whose | {"energyWei": 296 * CENT},
        "StandingCharged": whose | {"standingWei": WATT // 2},
        "ExportCredited": whose | {"exportedWh": 2 * KWH, "exportWei": 4 * WATT},
    }
