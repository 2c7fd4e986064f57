"""Emergency credit, friendly hours, debt and its recovery: what supplyAllowed answers, and what a top-up settles."""

from datetime import UTC, datetime

import pytest

from contracts.addresses import EXHAUSTION_ADDRESS
from tests.contracts.neighbourhood import (
    OWNER,
    RIVAL,
    STRANGER,
    SUPPLIER,
    Device,
    Neighbourhood,
    event_names,
    only,
    reason,
)

MONDAY_S = int(datetime(2023, 11, 20, tzinfo=UTC).timestamp())
HOUR_S, DAY_S = 3_600, 86_400
INDIA_S = 19_800
WEEKEND, EVERY_DAY, NEVER = 96, 127, 0
EVENING = (18 * 60, 22 * 60)
NIGHT = (16 * 60, 10 * 60)


def terms(
    emergency: int = 0,
    debt_limit: int = 10**6,
    hours: tuple[int, int] = (0, 0),
    weekdays: int = NEVER,
    whole_days: int = NEVER,
    recovery: int = 25,
) -> tuple[int, ...]:
    return emergency, debt_limit, *hours, weekdays, whole_days, recovery


class Home:
    """One meter at a price of 1 wei a Wh, whose supplier has terms."""

    def __init__(self, supplier_terms: tuple[int, ...] | None, credit: int = 0, zone_s: int = 0) -> None:
        self.device = Device("meter one")
        self.street = Neighbourhood(self.device, rate_wei_per_wh=1, credit_wei=credit, zone_s=zone_s)
        self.street.ledger.time_s = MONDAY_S
        if supplier_terms is not None:
            assert self.street.exhaustion(SUPPLIER, "setTerms", supplier_terms).success

    def read(self, hours: float, import_wh: int) -> list[str]:
        """A reading so many hours after the beginning of a Monday (UTC)."""
        self.device.time_s = self.street.ledger.time_s = MONDAY_S + round(hours * HOUR_S)
        return event_names(self.street.submit(self.device.measure(import_wh=import_wh)))[2:]

    def is_on(self, hours: float) -> bool:
        return self.street.supply_allowed_at(self.device, MONDAY_S + round(hours * HOUR_S))

    def owes(self) -> tuple[int, int, int]:
        """(credit, overdrawn, debt)."""
        seen = self.street.account_view(self.device)
        return seen["creditWei"], seen["overdrawnWei"], seen["debtWei"]


def test_emergency_credit_carries_on_up_to_its_limit_and_is_repaid_first() -> None:
    home = Home(terms(emergency=100), credit=50)
    assert home.read(1, 49) == []
    assert home.read(2, 31) == ["EmergencyCreditBegun"]
    assert (home.owes(), home.is_on(2)) == ((0, 30, 0), True)
    assert home.read(3, 69) == []
    assert home.is_on(3)
    assert home.read(4, 1) == ["Exhausted"]
    assert (home.owes(), home.is_on(4)) == ((0, 100, 0), False)
    assert home.read(5, 10) == []
    result = home.street.top_up(home.device, 60)
    assert event_names(result) == ["ToppedUp", "Restored"]
    assert only(result, "ToppedUp")["settledWei"] == 60
    assert (home.owes(), home.is_on(5)) == ((0, 50, 0), True)
    home.street.top_up(home.device, 70)
    assert (home.owes(), home.street.supplier_account()) == ((20, 0, 0), 160)


def test_friendly_hours_keep_the_supply_on_and_debt_builds_up() -> None:
    home = Home(terms(hours=EVENING, weekdays=31, whole_days=WEEKEND), credit=10)
    assert home.read(12, 10) == ["Exhausted"]
    on = [hours for hours in range(168) if home.is_on(hours)]
    evenings = [24 * day + hour for day in range(5) for hour in (18, 19, 20, 21)]
    assert on == evenings + list(range(5 * 24, 7 * 24))
    # The reading of 18:00 ends before the friendly hours, the one of 22:00 within them.
    assert home.read(18, 3) == []
    assert home.owes() == (0, 3, 0)
    assert home.read(22, 40) == ["Charged"]  # after DebtIncreased
    assert home.owes() == (0, 3, 40)
    assert home.read(22.25, 5) == []
    assert home.owes() == (0, 8, 40)


def test_credit_that_ends_in_a_friendly_hour_leaves_no_overdraft() -> None:
    home = Home(terms(hours=EVENING, weekdays=EVERY_DAY, emergency=50), credit=10)
    home.device.time_s = home.street.ledger.time_s = MONDAY_S + 20 * HOUR_S
    result = home.street.submit(home.device.measure(import_wh=25))
    assert event_names(result) == ["ReadingAccepted", "DebtIncreased", "Charged", "EmergencyCreditBegun"]
    assert only(result, "DebtIncreased") == {"meter": home.device.address, "addedWei": 15, "debtWei": 15}
    assert (only(result, "Charged")["paidWei"], only(result, "Charged")["balanceWei"]) == (10, 0)
    assert home.owes() == (0, 0, 15)


def test_hours_that_pass_midnight_belong_to_the_day_they_begin_on() -> None:
    """From 16:00 to 10:00 of the next day, on Fridays only."""
    home = Home(terms(hours=NIGHT, weekdays=1 << 4))
    friday = 4 * 24
    assert [hours for hours in range(168) if home.is_on(hours)] == list(range(friday + 16, friday + 24 + 10))


def test_hours_are_those_of_the_suppliers_zone_and_holidays_are_listed() -> None:
    home = Home(terms(hours=EVENING, weekdays=1), zone_s=INDIA_S)
    assert [hours for hours in range(-24, 48) if home.is_on(hours)] == [13, 14, 15, 16]
    day = MONDAY_S // DAY_S + 1
    added = home.street.exhaustion(SUPPLIER, "setHolidays", [day, day + 1], True)
    assert event_names(added) == ["HolidaySet", "HolidaySet"]
    home.street.exhaustion(SUPPLIER, "setHolidays", [day + 1], False)
    assert home.street.ask_exhaustion("isHoliday", SUPPLIER, day) == (True,)
    on = [half / 2 for half in range(-48, 144) if home.is_on(half / 2)]
    assert on == [12.5 + half / 2 for half in range(8)] + [18.5 + half / 2 for half in range(48)]


def test_debt_is_recovered_at_a_share_of_each_top_up() -> None:
    home = Home(terms(whole_days=EVERY_DAY, recovery=30))
    home.read(1, 100)
    assert home.owes() == (0, 0, 100)
    result = home.street.top_up(home.device, 11)
    assert only(result, "ToppedUp")["recoveredWei"] == 4  # a third of a wei more than 3.3, so that debt ends
    assert home.owes() == (7, 0, 96)
    home.street.top_up(home.device, 1_000)
    assert (home.owes(), home.street.supplier_account()) == ((911, 0, 0), 100)


def test_emergency_credit_is_repaid_whole_before_a_share_of_the_rest_recovers_debt() -> None:
    home = Home(terms(hours=EVENING, weekdays=EVERY_DAY, emergency=50, recovery=50))
    home.read(12, 30)
    home.read(20, 40)
    assert home.owes() == (0, 30, 40)
    result = home.street.top_up(home.device, 60)
    told = only(result, "ToppedUp")
    assert (told["settledWei"], told["recoveredWei"], told["balanceWei"]) == (30, 15, 15)
    assert home.owes() == (15, 0, 25)


def test_friendly_hours_end_where_debt_reaches_its_limit() -> None:
    home = Home(terms(whole_days=EVERY_DAY, debt_limit=50))
    home.read(1, 49)
    assert home.is_on(1)
    home.read(2, 1)
    assert not home.is_on(2)
    without = Home(terms(whole_days=EVERY_DAY, debt_limit=0))
    assert not without.is_on(1)


def test_debt_is_settled_before_credit_leaves() -> None:
    home = Home(terms(whole_days=EVERY_DAY, recovery=1))
    other = Device("meter two")
    home.street.install(other, tariff=1)
    home.read(1, 100)
    home.street.top_up(home.device, 1_000)
    assert home.owes() == (990, 0, 90)
    moved = home.street.exhaustion(OWNER, "transferCredit", home.device.address, other.address, 300)
    assert only(moved, "CreditTransferred")["settledWei"] == 90
    assert (home.owes(), home.street.account(other)[0]) == ((600, 0, 0), 300)
    home.read(2, 700)
    home.street.registry(SUPPLIER, "removeMeter", home.device.address)
    assert not home.street.exhaustion(OWNER, "withdrawCredit", home.device.address).success
    # What pays only debt is taken of a meter that has left, whole.
    assert only(home.street.top_up(home.device, 100), "ToppedUp")["recoveredWei"] == 100
    assert not home.street.top_up(home.device, 1).success


def test_a_successor_takes_over_what_is_owed() -> None:
    home = Home(terms(whole_days=EVERY_DAY))
    home.read(1, 100)
    successor = Device("successor")
    assert home.street.registry(SUPPLIER, "swapMeter", home.device.address, successor.address, 130, 0, 0, 0).success
    assert home.street.account_view(successor)["debtWei"] == 130
    home.street.top_up(successor, 1_000)
    assert home.street.account_view(successor)["debtWei"] == 0


def test_only_the_supplier_and_its_meters_are_bound_by_terms() -> None:
    home = Home(None)
    assert home.street.exhaustion(RIVAL, "setTerms", terms(emergency=100, whole_days=EVERY_DAY)).success
    assert home.street.exhaustion(STRANGER, "setHolidays", [MONDAY_S // DAY_S], True).success
    assert not home.is_on(1)
    assert home.street.ask_exhaustion("termsOf", SUPPLIER) == ((0,) * 7,)
    result = home.street.exhaustion(SUPPLIER, "setTerms", terms(emergency=7))
    assert only(result, "TermsSet") == {"supplier": SUPPLIER, "terms": terms(emergency=7)}
    assert home.is_on(1)


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        (terms(hours=(1_440, 5), weekdays=1), "FriendlyHoursInvalid"),
        (terms(hours=(5, 1_441), weekdays=1), "FriendlyHoursInvalid"),
        (terms(hours=(5, 5), weekdays=1), "FriendlyHoursInvalid"),
        (terms(weekdays=128, hours=(1, 2)), "FriendlyHoursInvalid"),
        (terms(whole_days=128), "FriendlyHoursInvalid"),
        (terms(recovery=0), "RecoveryInvalid(recoveryPercent=0)"),
        (terms(recovery=101), "RecoveryInvalid(recoveryPercent=101)"),
    ],
)
def test_terms_that_make_no_sense_are_refused(wrong: tuple[int, ...], error: str) -> None:
    home = Home(None)
    assert (reason(home.street.exhaustion(SUPPLIER, "setTerms", wrong)) or "").startswith(error)
    too_many = home.street.exhaustion(SUPPLIER, "setHolidays", list(range(65)), True)
    assert reason(too_many) == "DayCountInvalid(count=65, maximum=64)"
    assert home.street.ledger.balance(EXHAUSTION_ADDRESS) == 0
