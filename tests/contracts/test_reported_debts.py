"""The half of Billing that a meter's own program reports to: El DApp, listings 1 and 4, and table 1.

The program itself, with web3.py against a node, is in tests/functional/test_el_dapp_program.py.
"""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from contracts.addresses import BILLING_ADDRESS
from tests.contracts.billing_stage import (
    DAY_S,
    FIRST_DAY,
    OWNER,
    PAYER,
    RIVAL,
    STRANGER,
    SUPPLIER,
    Bills,
    events,
    names,
    reason,
    shown,
)
from tests.contracts.ledgers import Result

USER, OTHER_USER = b"\x91" * 20, b"\x92" * 20
IST_S = 19_800
LARGEST = 2**128 - 1


@pytest.fixture
def street() -> Bills:
    """A provider with a name, and a user that reports itself."""
    street = Bills()
    street.book.set_zone(SUPPLIER, IST_S)
    assert street.act(SUPPLIER, "describeProvider", "TNEB", "Tamil Nadu Electricity Board").success
    assert street.act(SUPPLIER, "activate", USER, True).success
    return street


def stand(street: Bills, user: bytes = USER) -> tuple[int, int]:
    return street.ask_one("getUsage", user), street.ask_one("getBill", user)


def listing_4(street: Bills, new_used: int) -> Result:
    """The program of the paper: all of a reading at the slab that the total falls in, then rounded."""
    used, current = stand(street)
    total = used + new_used
    price = 2.96 if total <= 100 else 5.56 if total <= 300 else 9.16 if total <= 500 else 10.61
    return street.act(USER, "setDebt", round(total), round(current + new_used * price), USER)


def test_the_papers_program_and_its_numbers(street: Bills) -> None:
    found = []
    for new_used in (90, 60, 160, 200, 40):
        assert listing_4(street, new_used).success
        found.append(stand(street))
    # 90 at 2.96; 60 at 5.56; 160 at 9.16; 200 and 40 at 10.61; each sum rounded.
    assert found == [(90, 266), (150, 600), (310, 2_066), (510, 4_188), (550, 4_612)]


def test_what_is_kept_of_an_account(street: Bills) -> None:
    unknown = (False, False, 0, 0, 0, bytes(20), "", "")
    assert street.ask("services", OTHER_USER) == unknown
    set_usage, set_bill = events(street.act(USER, "setDebt", 7, 21, USER))
    assert (set_usage.name, set_usage.arguments) == ("UsageSet", {"user": USER, "by": USER, "usage": 7})
    assert (set_bill.name, set_bill.arguments) == ("BillSet", {"user": USER, "by": USER, "bill": 21})
    described = ("TNEB", "Tamil Nadu Electricity Board")
    expected = (True, True, street.ledger.time_s, 7, 21, SUPPLIER, *described)
    assert street.ask("services", USER) == expected
    assert (street.ask_one("providerName", SUPPLIER), street.ask_one("providerDescription", SUPPLIER)) == described


def test_the_listings_single_setters(street: Bills) -> None:
    assert names(street.act(USER, "setUsage", 5)) == ["UsageSet"]
    assert names(street.act(USER, "setBill", 6)) == ["BillSet"]
    assert stand(street) == (5, 6)
    assert reason(street.act(USER, "setUsage", 4)) == f"UsageFell({shown(USER)}, 4, 5)"
    assert reason(street.act(USER, "setBill", 5)) == f"BillFell({shown(USER)}, 5, 6)"
    assert reason(street.act(USER, "setDebt", 5, 5, USER)) == f"BillFell({shown(USER)}, 5, 6)"


def test_a_provider_may_correct_what_its_accounts_report(street: Bills) -> None:
    street.act(USER, "setDebt", 500, 900, USER)
    assert street.act(SUPPLIER, "setDebt", 0, 0, USER).success
    assert stand(street) == (0, 0)
    assert street.act(SUPPLIER, "setDebt", LARGEST, LARGEST, USER).success
    assert reason(street.act(SUPPLIER, "setDebt", LARGEST + 1, 0, USER)) == f"ValueTooLarge({LARGEST + 1}, {LARGEST})"
    assert reason(street.act(SUPPLIER, "setDebt", 0, LARGEST + 1, USER)) == f"ValueTooLarge({LARGEST + 1}, {LARGEST})"


def test_nobody_else_writes_a_users_debt(street: Bills) -> None:
    street.act(RIVAL, "activate", OTHER_USER, True)
    for caller in (RIVAL, OWNER, PAYER, STRANGER, OTHER_USER):
        expected = f"NotProviderOf({shown(USER, caller)})"
        assert reason(street.act(caller, "setDebt", 9, 9, USER)) == expected
        assert reason(street.act(caller, "deactivate", USER)) == expected
    for caller in (OWNER, PAYER, STRANGER):
        assert reason(street.act(caller, "setUsage", 1)) == f"AccountNotActive({shown(caller)})"
        assert reason(street.act(caller, "setBill", 1)) == f"AccountNotActive({shown(caller)})"
        assert reason(street.act(caller, "activate", caller, True)) == f"NotSupplier({shown(caller)})"
    assert reason(street.act(SUPPLIER, "setUsage", 1)) == f"AccountNotActive({shown(SUPPLIER)})"
    assert stand(street) == (0, 0)


def test_an_account_that_may_not_report_itself_does_not(street: Bills) -> None:
    street.act(SUPPLIER, "activate", USER, False)
    assert reason(street.act(USER, "setDebt", 1, 1, USER)) == f"NotProviderOf({shown(USER, USER)})"
    assert street.act(SUPPLIER, "setDebt", 1, 1, USER).success


def test_an_account_has_one_provider_and_may_leave_it(street: Bills) -> None:
    street.act(USER, "setDebt", 5, 6, USER)
    assert reason(street.act(RIVAL, "activate", USER, True)) == f"AccountTaken({shown(USER, SUPPLIER)})"
    (left,) = events(street.act(USER, "deactivate", USER))
    assert left.arguments == {"user": USER, "provider": SUPPLIER, "by": USER}
    for caller in (USER, SUPPLIER):
        assert reason(street.act(caller, "setDebt", 9, 9, USER)) == f"AccountNotActive({shown(USER)})"
        assert reason(street.act(caller, "deactivate", USER)) == f"AccountNotActive({shown(USER)})"
    assert stand(street) == (5, 6)
    assert names(street.act(SUPPLIER, "activate", USER, True)) == ["AccountActivated"]
    assert stand(street) == (5, 6)
    street.act(SUPPLIER, "deactivate", USER)
    assert names(street.act(RIVAL, "activate", USER, True)) == ["AccountActivated", "UsageSet", "BillSet"]
    assert stand(street) == (0, 0)
    assert reason(street.act(SUPPLIER, "setDebt", 1, 1, USER)) == f"NotProviderOf({shown(USER, SUPPLIER)})"


def test_a_list_of_the_usage_at_the_end_of_each_indian_day(street: Bills) -> None:
    midnight_s = FIRST_DAY * DAY_S - IST_S + DAY_S
    for time_s, usage in ((midnight_s - 3_600, 10), (midnight_s, 12), (midnight_s + 1, 13), (midnight_s + 3_600, 15)):
        street.ledger.time_s = time_s
        street.act(USER, "setUsage", usage)
    days = [street.ask_one("usageOfDay", USER, FIRST_DAY + offset) for offset in (-1, 0, 1, 2)]
    assert days == [0, 12, 15, 0]


def test_names_are_bounded(street: Bills) -> None:
    assert reason(street.act(SUPPLIER, "describeProvider", "", "x")) == "NameInvalid(0, 64)"
    assert reason(street.act(SUPPLIER, "describeProvider", "x" * 65, "x")) == "NameInvalid(65, 64)"
    assert reason(street.act(SUPPLIER, "describeProvider", "x", "x" * 257)) == "DescriptionTooLong(257, 256)"
    assert street.act(SUPPLIER, "describeProvider", "x" * 64, "x" * 256).success
    assert reason(street.act(SUPPLIER, "activate", bytes(20), True)) == "ZeroAddress()"


people = st.sampled_from([SUPPLIER, RIVAL, USER, OTHER_USER])
users = st.sampled_from([USER, OTHER_USER])
values = st.integers(0, 30)


class AnySequence(RuleBasedStateMachine):
    """Whoever calls what in whatever order: accounts are as in a model, and no money comes near them."""

    @initialize()
    def open(self) -> None:
        self.street = Bills()
        self.model: dict[bytes, tuple[bytes | None, bool, bool, int, int]] = dict.fromkeys(
            (USER, OTHER_USER), (None, False, False, 0, 0)
        )

    @rule(by=people, user=users, itself=st.booleans())
    def activate(self, by: bytes, user: bytes, itself: bool) -> None:
        provider, active, _, usage, bill = self.model[user]
        allowed = by in (SUPPLIER, RIVAL) and not (active and provider != by)
        if self._agrees(self.street.act(by, "activate", user, itself), allowed):
            self.model[user] = (by, True, itself, *((usage, bill) if provider == by else (0, 0)))

    @rule(by=people, user=users)
    def deactivate(self, by: bytes, user: bytes) -> None:
        provider, active, itself, usage, bill = self.model[user]
        if self._agrees(self.street.act(by, "deactivate", user), active and by in (provider, user)):
            self.model[user] = (provider, False, itself, usage, bill)

    @rule(by=people, user=users, usage=values, bill=values)
    def set_debt(self, by: bytes, user: bytes, usage: int, bill: int) -> None:
        provider, active, itself, usage_before, bill_before = self.model[user]
        upwards = itself and by == user and usage >= usage_before and bill >= bill_before
        if self._agrees(self.street.act(by, "setDebt", usage, bill, user), active and (by == provider or upwards)):
            self.model[user] = (provider, active, itself, usage, bill)

    @invariant()
    def all_is_as_in_the_model(self) -> None:
        for user, (provider, active, itself, usage, bill) in self.model.items():
            found = self.street.ask("services", user)
            assert (found[0], found[1], *found[3:6]) == (active, itself, usage, bill, provider or bytes(20))
            assert stand(self.street, user) == (usage, bill)
        assert self.street.ledger.balance(BILLING_ADDRESS) == 0

    @staticmethod
    def _agrees(result: Result, allowed: bool) -> bool:
        assert result.success == allowed, reason(result)
        return allowed


TestAnySequence = AnySequence.TestCase
TestAnySequence.settings = settings(max_examples=20, stateful_step_count=30)
