"""Any sequence of readings, payments, fees, withdrawals, cuts and changes of meters leaves what a model in Python has.

The model charges by the independent arithmetic of tariff_stage.RunningModel and keeps bills as a list of its own. After
each step: the contract's balance is the suppliers' accounts; every Wh read stands on one bill or in the open period;
money charged, credited, due, paid and withdrawn agree to the wei.
"""

from dataclasses import dataclass, field
from itertools import pairwise

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from contracts.addresses import BILLING_ADDRESS
from contracts.tariff_format import TariffVersion
from tests.contracts.billing_stage import (
    DAY_S,
    EL_DAPP,
    EL_DAPP_WHOLE,
    HOUSE,
    METER,
    OTHER,
    OWNER,
    PAYER,
    RIVAL,
    STRANGER,
    SUPPLIER,
    Bills,
    Place,
    reason,
    total,
)
from tests.contracts.ledgers import Result
from tests.contracts.tariff_stage import RunningModel, local_moment

EPOCH_ORDINAL = 719_163
NEW_METERS = [bytes([0x80 + number]) * 20 for number in range(20)]


@dataclass
class ModelBill:
    due_wei: int
    due_at_s: int
    fee_rate: int
    fee_wei: int = 0
    has_fee: bool = False
    paid_wei: int = 0

    def settle_fee(self, now_s: int) -> None:
        if not self.has_fee and now_s > self.due_at_s:
            fee = (self.due_wei - self.paid_wei) * self.fee_rate // 10_000
            self.fee_wei, self.has_fee = fee, fee != 0

    @property
    def open_wei(self) -> int:
        return self.due_wei + self.fee_wei - self.paid_wei


@dataclass
class ModelAccount:
    place: Place
    version: TariffVersion
    running: RunningModel = field(default_factory=RunningModel)
    read_wh: int = 0
    given_wh: int = 0
    charged_wei: int = 0
    """Of the open period, for energy and days."""
    export_wei: int = 0
    credit_wei: int = 0
    ever_charged_wei: int = 0
    ever_exported_wei: int = 0
    billed_until: int = 0
    bills: list[ModelBill] = field(default_factory=list)
    cut: tuple[int, int] | None = None
    is_active: bool = True

    @property
    def is_empty(self) -> bool:
        return not (self.charged_wei or self.export_wei or self.open_wh)

    open_wh: int = 0

    def close(self, until: int, due_at_s: int, fee_rate: int) -> None:
        used = min(self.charged_wei, self.credit_wei + self.export_wei)
        self.bills.append(ModelBill(self.charged_wei - used, due_at_s, fee_rate))
        self.credit_wei += self.export_wei - used
        self.charged_wei = self.export_wei = self.open_wh = 0
        self.billed_until = until


@dataclass
class Terms:
    days: int = 30
    rate: int = 0
    later: tuple[int, int, int] | None = None

    def at(self, now_s: int) -> tuple[int, int]:
        if self.later is not None and now_s >= self.later[2]:
            return self.later[0], self.later[1]
        return self.days, self.rate


class AnySequence(RuleBasedStateMachine):
    @initialize(zone_s=st.sampled_from([0, 19_800, -36_000]))
    def open(self, zone_s: int) -> None:
        self.street = Bills()
        self.zone_s = zone_s
        self.accounts: list[ModelAccount] = []
        self.touched: list[ModelAccount] = []
        for meter, version in ((METER, HOUSE), (OTHER, EL_DAPP), (NEW_METERS[-1], EL_DAPP_WHOLE)):
            place = self.street.install(meter, version, zone_s=zone_s)
            self.accounts.append(ModelAccount(place, version, billed_until=self._day(self.street.ledger.time_s)))
        self.terms = Terms()
        self.paid_wei = self.withdrawn_wei = self.receipts = 0
        self.swaps = 0

    @rule(hours=st.one_of(st.integers(1, 48), st.sampled_from([240, 264, 745])))
    def time_passes(self, hours: int) -> None:
        self.street.ledger.time_s += hours * 3_600

    @rule(
        number=st.integers(0, 2), imported=st.integers(0, 300_000), exported=st.integers(0, 60_000), late=st.booleans()
    )
    def read(self, number: int, imported: int, exported: int, late: bool) -> None:
        account = self._account(number)
        if not account.is_active:
            return
        previous_s, now_s = account.place.last_s, self.street.ledger.time_s
        time_s = (previous_s + now_s) // 2 if late else now_s
        day, end = self._day(time_s), account.running.end_day
        if end and day >= end and account.billed_until < end:
            self._close(account, end)
        energy, days, export = account.running.charge(
            account.version, imported, exported, previous_s, time_s, self.zone_s
        )
        account.charged_wei += energy + days
        account.export_wei += export
        account.ever_charged_wei += energy + days
        account.ever_exported_wei += export
        account.read_wh += imported
        account.given_wh += exported
        account.open_wh += imported + exported
        result = self.street.read(account.place, imported, exported, time_s)
        assert result.success, reason(result)

    @rule(number=st.integers(0, 2))
    def close_period(self, number: int) -> None:
        account = self._account(number)
        result = self.street.act(STRANGER, "closePeriod", account.place.meter)
        today = self._day(self.street.ledger.time_s)
        if account.is_active:
            until = account.running.end_day
            allowed = account.billed_until < until < today
        else:
            until = max(account.billed_until, min(account.running.end_day, account.running.charged_day + 1))
            allowed = not account.is_empty
        if self._agrees(result, allowed):
            self._close(account, until)

    @precondition(lambda self: any(account.bills for account in self.accounts))
    @rule(data=st.data(), payer=st.sampled_from([OWNER, PAYER, STRANGER]))
    def pay(self, data: st.DataObject, payer: bytes) -> None:
        account, number, bill = self._bill(data)
        bill_open = ModelBill(bill.due_wei, bill.due_at_s, bill.fee_rate, bill.fee_wei, bill.has_fee, bill.paid_wei)
        bill_open.settle_fee(self.street.ledger.time_s)
        open_wei = bill_open.open_wei
        amount = data.draw(st.one_of(st.just(open_wei), st.integers(0, open_wei), st.just(open_wei + 1)))
        names = [account.place.meter, *account.place.predecessors]
        result = self.street.pay(data.draw(st.sampled_from(names)), number, amount, payer)
        if self._agrees(result, 0 < amount <= open_wei):
            bill.settle_fee(self.street.ledger.time_s)
            bill.paid_wei += amount
            self.paid_wei += amount
            self.receipts += 1
            if bill.open_wei == 0 and account.cut is not None and account.cut[0] == number:
                account.cut = None

    @precondition(lambda self: any(account.bills for account in self.accounts))
    @rule(data=st.data())
    def charge_late_fee(self, data: st.DataObject) -> None:
        account, number, bill = self._bill(data)
        result = self.street.act(STRANGER, "chargeLateFee", account.place.meter, number)
        had_fee = bill.has_fee
        bill_then = ModelBill(bill.due_wei, bill.due_at_s, bill.fee_rate, bill.fee_wei, bill.has_fee, bill.paid_wei)
        bill_then.settle_fee(self.street.ledger.time_s)
        if self._agrees(result, bill_then.has_fee and not had_fee):
            bill.settle_fee(self.street.ledger.time_s)

    @precondition(lambda self: any(account.bills for account in self.accounts))
    @rule(data=st.data(), caller=st.sampled_from([SUPPLIER, SUPPLIER, RIVAL]))
    def cut(self, data: st.DataObject, caller: bytes) -> None:
        account, number, bill = self._bill(data)
        now_s = self.street.ledger.time_s
        result = self.street.act(caller, "announceDisconnection", account.place.meter, number)
        overdue = now_s > bill.due_at_s and bill.open_wei > 0
        if self._agrees(result, caller == SUPPLIER and overdue and account.cut is None):
            bill.settle_fee(now_s)
            account.cut = (number, now_s + 7 * DAY_S)

    @rule(number=st.integers(0, 2))
    def take_the_cut_back(self, number: int) -> None:
        account = self._account(number)
        result = self.street.act(SUPPLIER, "withdrawDisconnection", account.place.meter)
        if self._agrees(result, account.cut is not None):
            account.cut = None

    @rule(days=st.integers(5, 40), rate=st.integers(0, 1_100))
    def announce_terms(self, days: int, rate: int) -> None:
        now_s = self.street.ledger.time_s
        result = self.street.act(SUPPLIER, "announceTerms", days, rate)
        if self._agrees(result, days >= 7 and rate <= 1_000):
            self.terms.days, self.terms.rate = self.terms.at(now_s)
            self.terms.later = (days, rate, now_s + 30 * DAY_S)

    @rule(share=st.integers(0, 100), caller=st.sampled_from([SUPPLIER, SUPPLIER, SUPPLIER, RIVAL]))
    def withdraw(self, share: int, caller: bytes) -> None:
        held = self.paid_wei - self.withdrawn_wei if caller == SUPPLIER else 0
        amount = held * share // 90
        result = self.street.act(caller, "withdraw", caller, amount)
        if self._agrees(result, 0 < amount <= held):
            self.withdrawn_wei += amount

    @rule(number=st.integers(0, 2))
    def swap_the_meter(self, number: int) -> None:
        account = self._account(number)
        if account.is_active and self.swaps < len(NEW_METERS) - 1:
            assert self.street.swap(account.place, NEW_METERS[self.swaps]).success
            self.swaps += 1

    @rule(number=st.integers(0, 2))
    def leave_or_come_back(self, number: int) -> None:
        account = self._account(number)
        (self.street.remove if account.is_active else self.street.reinstate)(account.place)
        account.is_active = not account.is_active

    @invariant()
    def the_books_balance(self) -> None:
        balance = self.street.ledger.balance(BILLING_ADDRESS)
        assert balance == self.street.supplier_account() == self.paid_wei - self.withdrawn_wei
        assert self.street.supplier_account(RIVAL) == 0
        self._check_accounts(self.touched)
        self.touched = []

    def teardown(self) -> None:
        """What was not touched by the last steps has not changed either."""
        if hasattr(self, "accounts"):
            self._check_accounts(self.accounts)

    def _check_accounts(self, accounts: list[ModelAccount]) -> None:
        for model in accounts:
            meter = model.place.meter
            account = self.street.account(meter)
            bills = self.street.bills(meter)
            assert account.imported_wh + total(bills, "imported_wh") == model.read_wh
            assert account.exported_wh + total(bills, "exported_wh") == model.given_wh
            charged = account.energy_wei + account.standing_wei
            assert (charged, account.export_wei) == (model.charged_wei, model.export_wei)
            assert account.credit_wei == model.credit_wei
            ever = charged + total(bills, "energy_wei") + total(bills, "standing_wei")
            assert ever == model.ever_charged_wei
            assert account.export_wei + total(bills, "export_wei") == model.ever_exported_wei
            # All that was charged, less all that was credited, is due, or open, less what is carried over.
            net = model.ever_charged_wei - model.ever_exported_wei
            assert net == total(bills, "due_wei") + charged - account.export_wei - account.credit_wei
            assert len(bills) == len(model.bills)
            for found, expected in zip(bills, model.bills, strict=True):
                now = ModelBill(
                    expected.due_wei,
                    expected.due_at_s,
                    expected.fee_rate,
                    expected.fee_wei,
                    expected.has_fee,
                    expected.paid_wei,
                )
                now.settle_fee(self.street.ledger.time_s)
                assert (found.due_wei, found.due_at_s) == (now.due_wei, now.due_at_s)
                assert (found.fee_wei, found.paid_wei, found.open_wei) == (now.fee_wei, now.paid_wei, now.open_wei)
            for one, following in pairwise(bills):
                assert one.end_day == following.start_day
            is_cut = model.cut is not None and self.street.ledger.time_s >= model.cut[1]
            assert self.street.supply_allowed(meter) == (model.is_active and not is_cut)

    def _account(self, number: int) -> ModelAccount:
        self.touched = [self.accounts[number]]
        return self.accounts[number]

    def _close(self, account: ModelAccount, until: int) -> None:
        now_s = self.street.ledger.time_s
        days, rate = self.terms.at(now_s)
        account.close(until, now_s + days * DAY_S, rate)

    def _bill(self, data: st.DataObject) -> tuple[ModelAccount, int, ModelBill]:
        account = data.draw(st.sampled_from([one for one in self.accounts if one.bills]))
        self.touched = [account]
        number = data.draw(st.integers(1, len(account.bills)))
        return account, number, account.bills[number - 1]

    def _day(self, time_s: int) -> int:
        return local_moment(time_s, self.zone_s).toordinal() - EPOCH_ORDINAL

    @staticmethod
    def _agrees(result: Result, allowed: bool) -> bool:
        assert result.success == allowed, reason(result)
        return allowed


TestAnySequence = AnySequence.TestCase
TestAnySequence.settings = settings(max_examples=40, stateful_step_count=50)
