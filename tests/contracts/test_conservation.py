"""Any sequence of calls keeps the books: money to the wei, energy to the Wh, against a model kept in Python.

Hypothesis draws top-ups, vouchers, honest readings with energy taken and given, replays, forgeries, new versions of
tariffs, terms, deposits, withdrawals, transfers, removals, returns, swaps and leavings of three meters of two
suppliers; after every step the contracts must say exactly what the model says. The prices are computed by tests' own
model.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

from contracts.addresses import EXHAUSTION_ADDRESS
from contracts.reading_format import Outcome
from contracts.roles import Role
from contracts.tariff_format import NOTICE_S, GenesisTariff, Slab, TariffVersion
from contracts.voucher_format import issue_voucher
from tests.contracts.ledgers import CHAIN_ID, GENESIS_TIME_S
from tests.contracts.neighbourhood import (
    EXHAUSTION,
    OWNER,
    PAYER,
    REGULATOR,
    RIVAL,
    SUPPLIER,
    Device,
    Neighbourhood,
    SignedReading,
    key_of,
    only,
    outcomes,
)
from tests.contracts.tariff_stage import RunningModel, local_moment, time_of_use

SUPPLIERS = (SUPPLIER, RIVAL)
SUPPLIER_KEYS = {SUPPLIER: key_of("supplier"), RIVAL: key_of("rival")}
DAY_S = 86_400
INDIA_S = 19_800

HOUSE = TariffVersion(
    (Slab(3, 100), Slab(6, 300), Slab(9, 500), Slab(11)),
    export_price_wei_per_wh=5,
    standing_wei_per_day=17,
    allowance_wh=40,
    allowance_price_wei_per_wh=1,
)
PEAK = TariffVersion((Slab(10, 200), Slab(20)), (time_of_use(31, 17, 22, 30, 60),), whole=True, period_days=7)
VERSIONS = (
    HOUSE,
    PEAK,
    TariffVersion.flat(2),
    TariffVersion.flat(0),
    TariffVersion((Slab(2**64 - 1),), export_price_wei_per_wh=2**64 - 1, standing_wei_per_day=2**80 - 1),
)
FRIENDLY = (0, 10**28, 18 * 60, 8 * 60, 127, 96, 30)
"""From 18:00 to 8:00, and at weekends; 30 % of a top-up for debt."""
TERMS = (FRIENDLY, (500, 10**28, 18 * 60, 8 * 60, 31, 0, 77), (10**25, 0, 0, 0, 0, 0, 100))

meters = st.sampled_from(range(3))
suppliers = st.sampled_from(SUPPLIERS)
energies_wh = st.one_of(st.just(0), st.integers(1, 200), st.integers(1, 10**9))
amounts_wei = st.one_of(st.integers(1, 10_000), st.integers(1, 10**30))


@dataclass
class Model:
    """What one meter should have."""

    device: Device
    supplier: bytes
    tariff: int
    active: bool = True
    balance_wei: int = 0
    debt_wei: int = 0
    owed_wei: int = 0
    opened_s: int = GENESIS_TIME_S
    last_s: int = 0
    charged_wh: int = 0
    last_import_wh: int = 0
    last_export_wh: int = 0
    last_sequence: int = 0
    running: RunningModel = field(default_factory=RunningModel)
    unsent: list[SignedReading] = field(default_factory=list)


class Books(RuleBasedStateMachine):
    signed_readings: Bundle[tuple[int, SignedReading]] = Bundle("signed readings")

    @initialize()
    def open(self) -> None:
        devices = [Device(name, time_s=GENESIS_TIME_S) for name in ("meter one", "meter two", "meter three")]
        tariffs = [GenesisTariff(SUPPLIER, "house", HOUSE), GenesisTariff(SUPPLIER, "peak", PEAK)]
        self.street = Neighbourhood(tariffs=tariffs, zone_s=INDIA_S)
        self.street.registry(REGULATOR, "addMember", RIVAL, Role.SUPPLIER)
        first = TariffVersion.flat(70)
        assert self.street.tariffs(RIVAL, "createTariff", b"flat".ljust(32, b"\0"), 0, first.argument()).success
        self.models = [
            Model(devices[0], SUPPLIER, 1),
            Model(devices[1], SUPPLIER, 2),
            Model(devices[2], RIVAL, 3),
        ]
        for model in self.models:
            assert self.street.install(model.device, model.supplier, tariff=model.tariff).success
        self.versions = {1: [(0, HOUSE)], 2: [(0, PEAK)], 3: [(GENESIS_TIME_S, first)]}
        self.terms: dict[bytes, tuple[int, ...]] = {}
        self.accounts = dict.fromkeys(SUPPLIERS, 0)
        self.tills = dict.fromkeys((1, 2, 3), 0)
        self.held_wei = 0
        self.serial = self.swaps = 0

    # Money in

    @rule(number=meters, amount=amounts_wei)
    def top_up(self, number: int, amount: int) -> None:
        model = self.models[number]
        accepted = self._may_be_paid(model, amount)
        assert self.street.top_up(model.device, amount).success == accepted
        if accepted:
            self.held_wei += amount
            self._credit(model, amount)

    @rule(supplier=suppliers, amount=amounts_wei)
    def deposit(self, supplier: bytes, amount: int) -> None:
        data = EXHAUSTION.abi.encode_call("deposit", [supplier])
        assert self.street.ledger.transact(PAYER, EXHAUSTION_ADDRESS, data, amount).success
        self.accounts[supplier] += amount
        self.held_wei += amount

    @rule(number=meters, part=st.integers(1, 4), is_bearers=st.booleans())
    def redeem(self, number: int, part: int, is_bearers: bool) -> None:
        """A quarter of the supplier's account or more; and again, which must fail."""
        model = self.models[number]
        self.serial += 1
        amount = max(1, self._funds(model.supplier) * part // 4)
        voucher = issue_voucher(
            SUPPLIER_KEYS[model.supplier],
            amount,
            self.serial,
            2**40,
            CHAIN_ID,
            meter=None if is_bearers else model.device.address,
            holder_key=key_of("holder") if is_bearers else None,
        )
        arguments = voucher.redemption(model.device.address)
        accepted = self._may_be_paid(model, amount) and amount <= self._funds(model.supplier)
        assert self.street.exhaustion(PAYER, "redeem", *arguments).success == accepted
        if accepted:
            self._take(model.supplier, amount)
            self._credit(model, amount)
            assert not self.street.exhaustion(PAYER, "redeem", *arguments).success

    # Readings

    @rule(target=signed_readings, number=meters, energy_wh=energies_wh, export_wh=energies_wh)
    def read(self, number: int, energy_wh: int, export_wh: int) -> tuple[int, SignedReading]:
        """The meter signs; what it could not send so far goes along in one batch."""
        model = self.models[number]
        model.device.time_s = self.street.ledger.time_s
        signed = model.device.measure(energy_wh, export_wh, power_w=energy_wh % 5_000)
        model.unsent.append(signed)
        result = self.street.submit_batch(model.unsent)
        assert outcomes(result) == [self._accept(model, one) for one in model.unsent]
        if model.active:
            model.unsent.clear()
        return number, signed

    @rule(number=meters, energy_wh=energies_wh)
    def read_without_sending(self, number: int, energy_wh: int) -> None:
        model = self.models[number]
        if len(model.unsent) < 20:
            model.device.time_s = self.street.ledger.time_s
            model.unsent.append(model.device.measure(energy_wh))

    @rule(reading=signed_readings)
    def replay(self, reading: tuple[int, SignedReading]) -> None:
        number, signed = reading
        model = self.models[number]
        result = self.street.submit_batch([signed, signed])
        if signed[0][0] != model.device.address:
            assert outcomes(result) == [Outcome.INACTIVE_METER] * 2
        else:
            assert outcomes(result) == [self._accept(model, signed), self._accept(model, signed)]

    @rule(number=meters, energy_wh=energies_wh)
    def forge(self, number: int, energy_wh: int) -> None:
        device = self.models[number].device
        fields = device.fields(sequence=device.sequence + 100, importWh=device.import_wh + energy_wh)
        assert not self.street.submit(device.sign(fields, key_of("stranger"))).success

    # What suppliers decide

    @rule(tariff=st.sampled_from((1, 2, 3)), version=st.sampled_from(VERSIONS))
    def announce(self, tariff: int, version: TariffVersion) -> None:
        now = self.street.ledger.time_s
        supplier = RIVAL if tariff == 3 else SUPPLIER
        result = self.street.tariffs(supplier, "announceVersion", tariff, 0, version.argument())
        start = only(result, "VersionAnnounced")["from"]
        assert start in (now, now + NOTICE_S)
        in_force = [one for one in self.versions[tariff] if one[0] <= now]
        self.versions[tariff] = [*in_force, (int(str(start)), version)]

    @rule(supplier=suppliers, terms=st.sampled_from(TERMS))
    def set_terms(self, supplier: bytes, terms: tuple[int, ...]) -> None:
        assert self.street.exhaustion(supplier, "setTerms", terms).success
        self.terms[supplier] = terms

    @rule(seconds=st.sampled_from((1, 900, 4 * 3_600, DAY_S, 3 * DAY_S, 40 * DAY_S)))
    def wait(self, seconds: int) -> None:
        self.street.ledger.time_s += seconds

    @rule(supplier=suppliers, part=st.integers(0, 5))
    def withdraw(self, supplier: bytes, part: int) -> None:
        """A fifth, more, all of it, or one wei more than that."""
        account = self._funds(supplier)
        amount = account * part // 5 if part < 5 else account + 1
        result = self.street.exhaustion(supplier, "withdraw", b"\x77" * 20, amount)
        assert result.success == (0 < amount <= account)
        if result.success:
            self._take(supplier, amount)
            self.held_wei -= amount

    # Meters come and go

    @rule(number=meters)
    def remove(self, number: int) -> None:
        model = self.models[number]
        result = self.street.registry(REGULATOR, "removeMeter", model.device.address)
        assert result.success == model.active
        model.active = False

    @rule(number=meters)
    def reinstate(self, number: int) -> None:
        """With the register where the device stands: what it measured meanwhile is not charged."""
        model, device = self.models[number], self.models[number].device
        arguments = (device.address, device.import_wh, device.export_wh)
        result = self.street.registry(model.supplier, "reinstateMeter", *arguments)
        assert result.success == (not model.active)
        if result.success:
            model.active = True
            model.unsent.clear()
            model.last_import_wh, model.last_export_wh = device.import_wh, device.export_wh
            model.opened_s = self.street.ledger.time_s

    @rule(number=meters, energy_wh=energies_wh)
    def swap(self, number: int, energy_wh: int) -> None:
        """Another device from zero; the closing register has energy that no reading had."""
        model = self.models[number]
        if not model.active or self.swaps == 20:
            return
        self.swaps += 1
        successor = Device(f"successor {self.swaps}", time_s=self.street.ledger.time_s)
        closing_wh = model.device.import_wh + energy_wh
        arguments = (model.device.address, successor.address, closing_wh, model.device.export_wh, 0, 0)
        assert self.street.registry(model.supplier, "swapMeter", *arguments).success
        self._charge(model, closing_wh, model.device.export_wh, max(self.street.ledger.time_s, model.last_s))
        model.device, model.unsent = successor, []
        model.last_import_wh = model.last_export_wh = model.last_sequence = model.last_s = 0
        model.opened_s = self.street.ledger.time_s

    # What owners do

    @rule(source=meters, receiver=meters, part=st.integers(0, 5))
    def transfer(self, source: int, receiver: int, part: int) -> None:
        giver, taker = self.models[source], self.models[receiver]
        settled = min(giver.debt_wei, max(0, giver.balance_wei))
        available = max(0, giver.balance_wei) - settled
        amount = available * part // 5 if part < 5 else available + 1
        accepted = giver is not taker and 0 < amount <= available and self._may_be_paid(taker, amount)
        arguments = (giver.device.address, taker.device.address, amount)
        assert self.street.exhaustion(OWNER, "transferCredit", *arguments).success == accepted
        if accepted:
            giver.debt_wei -= settled
            giver.balance_wei = available - amount
            self.accounts[giver.supplier] += settled
            self._credit(taker, amount)

    @rule(number=meters)
    def leave(self, number: int) -> None:
        model = self.models[number]
        owed = model.owed_wei
        balance = model.balance_wei + min(owed, max(0, -model.balance_wei))
        paid = min(owed - (balance - model.balance_wei), self._funds(model.supplier))
        credit = max(0, balance + paid) if balance >= 0 else 0
        settled = min(model.debt_wei, credit)
        accepted = not model.active and credit > settled
        assert self.street.exhaustion(OWNER, "withdrawCredit", model.device.address).success == accepted
        if accepted:
            model.owed_wei -= balance - model.balance_wei + paid
            self._take(model.supplier, paid)
            self.accounts[model.supplier] += settled
            model.debt_wei -= settled
            model.balance_wei = 0
            self.held_wei -= credit - settled

    @rule(number=meters)
    def pay_owed(self, number: int) -> None:
        model = self.models[number]
        assert self.street.exhaustion(PAYER, "payOwed", model.device.address).success
        settled = min(model.owed_wei, max(0, -model.balance_wei))
        paid = min(model.owed_wei - settled, self._funds(model.supplier))
        self._take(model.supplier, paid)
        model.balance_wei += settled + paid
        model.owed_wei -= settled + paid

    @invariant()
    def books_balance(self) -> None:
        street = self.street
        now = street.ledger.time_s
        for model in self.models:
            seen = street.account_view(model.device)
            assert seen["creditWei"] == max(0, model.balance_wei)
            assert seen["overdrawnWei"] == max(0, -model.balance_wei)
            assert (seen["debtWei"], seen["owedWei"]) == (model.debt_wei, model.owed_wei)
            assert (seen["periodWh"], seen["periodEndDay"]) == (model.running.used_wh, model.running.end_day)
            assert street.supply_allowed(model.device) == self._is_supplied(model, now)
        for supplier in SUPPLIERS:
            assert street.supplier_account(supplier) == self._funds(supplier)
        held = sum(max(0, model.balance_wei) for model in self.models) + sum(map(self._funds, SUPPLIERS))
        assert street.ledger.balance(EXHAUSTION_ADDRESS) == held == self.held_wei
        assert street.ask_meter("totals")[0] == sum(model.charged_wh for model in self.models)

    # How it should be

    def _accept(self, model: Model, signed: SignedReading) -> Outcome:
        """Account for a reading as the contracts should."""
        sequence, time_s, import_wh, export_wh = (int(str(value)) for value in signed[0][1:5])
        if not model.active:
            return Outcome.INACTIVE_METER
        if sequence <= model.last_sequence:
            return Outcome.STALE
        if import_wh < model.last_import_wh:
            return Outcome.IMPORT_FELL
        if export_wh < model.last_export_wh:
            return Outcome.EXPORT_FELL
        self._charge(model, import_wh, export_wh, time_s)
        model.last_sequence = sequence
        return Outcome.ACCEPTED

    def _charge(self, model: Model, import_wh: int, export_wh: int, time_s: int) -> None:
        imported, exported = import_wh - model.last_import_wh, export_wh - model.last_export_wh
        model.charged_wh += imported
        since = max(model.last_s, model.opened_s)
        previous_s = time_s if since > time_s else since
        model.last_import_wh, model.last_export_wh, model.last_s = import_wh, export_wh, time_s
        holding = [version for start, version in self.versions[model.tariff] if start <= time_s]
        if not holding:
            return
        zone_s = self._zone(model.supplier)
        charge = model.running.charge(holding[-1], imported, exported, previous_s, time_s, zone_s)
        energy_wei, standing_wei, export_wei = charge
        cost = energy_wei + standing_wei
        credited = export_wei + model.owed_wei
        if credited <= cost:
            model.owed_wei = 0
            paid = min(cost - credited, max(0, model.balance_wei))
            missing = cost - credited - paid
            model.balance_wei -= paid
            self.tills[model.tariff] += paid
            if missing and self._is_friendly(model.supplier, time_s - 1):
                model.debt_wei += missing
            else:
                model.balance_wei -= missing
            return
        rest = credited - cost
        settled = min(rest, max(0, -model.balance_wei))
        from_till = min(rest - settled, self.tills[model.tariff])
        from_purse = min(rest - settled - from_till, self.accounts[model.supplier])
        self.tills[model.tariff] -= from_till
        self.accounts[model.supplier] -= from_purse
        model.balance_wei += settled + from_till + from_purse
        model.owed_wei = rest - settled - from_till - from_purse

    def _may_be_paid(self, model: Model, amount: int) -> bool:
        return model.active or amount <= max(0, -model.balance_wei) + model.debt_wei

    def _credit(self, model: Model, amount: int) -> None:
        settled = min(amount, max(0, -model.balance_wei))
        percent = self.terms[model.supplier][6] if model.supplier in self.terms and model.active else 100
        recovered = min(model.debt_wei, -((settled - amount) * percent // 100))
        self.accounts[model.supplier] += settled + recovered
        model.debt_wei -= recovered
        model.balance_wei += amount - recovered

    def _take(self, supplier: bytes, amount: int) -> None:
        """Of the purse first, then of whole tills in order."""
        for tariff in (3,) if supplier == RIVAL else (1, 2):
            if self.accounts[supplier] < amount:
                self.accounts[supplier] += self.tills[tariff]
                self.tills[tariff] = 0
        self.accounts[supplier] -= amount
        assert self.accounts[supplier] >= 0

    def _funds(self, supplier: bytes) -> int:
        own = (3,) if supplier == RIVAL else (1, 2)
        return self.accounts[supplier] + sum(self.tills[tariff] for tariff in own)

    def _is_supplied(self, model: Model, time_s: int) -> bool:
        emergency, debt_limit, *_ = self.terms.get(model.supplier, (0, 0))
        if not model.active:
            return False
        if model.balance_wei > min(0, -emergency):
            return True
        return model.debt_wei < debt_limit and self._is_friendly(model.supplier, time_s)

    def _is_friendly(self, supplier: bytes, second: int) -> bool:
        if supplier not in self.terms:
            return False
        _, debt_limit, start, end, weekdays, whole_days, _ = self.terms[supplier]
        if not debt_limit:
            return False
        moment = local_moment(second + 1, self._zone(supplier))
        minute, weekday = 60 * moment.hour + moment.minute, moment.weekday()
        return bool(
            whole_days >> weekday & 1
            or (weekdays >> weekday & 1 and minute >= start)
            or (weekdays >> (weekday - 1) % 7 & 1 and minute < end)
        )

    def _zone(self, supplier: bytes) -> int:
        return INDIA_S if supplier == SUPPLIER else 0


TestBooks = Books.TestCase
TestBooks.settings = settings(max_examples=15, stateful_step_count=50)


def test_a_long_life_keeps_the_books() -> None:
    """Two thousand steps of one and the same street, most of them readings and small payments: what only a history
    brings about, such as debt beside money that is owed, is frequent here.
    """
    chance = random.Random(1947)
    books = Books()
    books.open()

    def meter() -> int:
        return chance.randrange(3)

    def energy_wh() -> int:
        return chance.choice((0, 1, 30, 90, 250, 800))

    def amount_wei() -> int:
        return chance.randint(1, 4_000)

    steps: list[tuple[int, Callable[[], object]]] = [
        (30, lambda: books.read(meter(), energy_wh(), chance.choice((0, 0, 40, 400)))),
        (4, lambda: books.read_without_sending(meter(), energy_wh())),
        (12, lambda: books.top_up(meter(), amount_wei())),
        (20, lambda: books.wait(chance.choice((900, 3 * 3_600, 7 * 3_600)))),
        (1, lambda: books.wait(9 * DAY_S)),
        (2, lambda: books.deposit(chance.choice(SUPPLIERS), amount_wei())),
        (4, lambda: books.redeem(meter(), chance.randint(1, 4), chance.random() < 0.5)),
        (2, lambda: books.announce(chance.randint(1, 3), chance.choice(VERSIONS[:4]))),
        (2, lambda: books.set_terms(chance.choice(SUPPLIERS), chance.choice(TERMS[:2]))),
        (4, lambda: books.withdraw(chance.choice(SUPPLIERS), chance.randint(0, 5))),
        (3, lambda: books.transfer(meter(), meter(), chance.randint(0, 5))),
        (2, lambda: books.remove(meter())),
        (6, lambda: [books.reinstate(number) for number in range(3)]),
        (2, lambda: books.leave(meter())),
        (2, lambda: books.pay_owed(meter())),
        (1, lambda: books.swap(meter(), energy_wh())),
    ]
    weights = [weight for weight, _ in steps]
    for _, step in chance.choices(steps, weights, k=2_000):
        step()
        books.books_balance()
