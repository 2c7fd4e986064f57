"""Any sequence of calls keeps the books: money to the wei, energy to the Wh, against a model kept in Python.

Hypothesis draws top-ups, honest readings, replays, forgeries, rate changes, withdrawals, removals and returns of three
meters of two suppliers; after every step the contracts must say exactly what the model says.
"""

from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule

from contracts.addresses import EXHAUSTION_ADDRESS
from contracts.reading_format import Outcome
from contracts.roles import Role
from tests.contracts.ledgers import GENESIS_TIME_S
from tests.contracts.neighbourhood import (
    REGULATOR,
    RIVAL,
    SUPPLIER,
    Device,
    Neighbourhood,
    SignedReading,
    events,
    key_of,
    only,
    outcomes,
)

SUPPLIERS = (SUPPLIER, RIVAL)
NAMES = ("meter one", "meter two", "meter three")
DAY_S = 86_400

meters = st.sampled_from(range(len(NAMES)))
energies_wh = st.one_of(st.just(0), st.integers(1, 50), st.integers(1, 10**9))
rates = st.one_of(st.integers(0, 1_000), st.integers(0, 2**64 - 1))
amounts_wei = st.one_of(st.integers(1, 10_000), st.integers(1, 10**30))


@dataclass
class Model:
    """What one meter should have."""

    device: Device
    supplier: bytes
    active: bool = True
    balance_wei: int = 0
    charged_wh: int = 0
    last_import_wh: int = 0
    last_export_wh: int = 0
    last_sequence: int = 0
    unsent: list[SignedReading] = field(default_factory=list)


class Books(RuleBasedStateMachine):
    signed_readings: Bundle[tuple[int, SignedReading]] = Bundle("signed readings")

    @initialize()
    def open(self) -> None:
        devices = [Device(name, time_s=GENESIS_TIME_S) for name in NAMES]
        self.street = Neighbourhood(devices[0], devices[1], rate_wei_per_wh=100)
        self.street.registry(REGULATOR, "addMember", RIVAL, Role.SUPPLIER)
        self.street.exhaustion(RIVAL, "setRate", 70, 0)
        self.street.install(devices[2], RIVAL)
        self.models = [Model(device, RIVAL if number == 2 else SUPPLIER) for number, device in enumerate(devices)]
        # The versions of each supplier's rate: (from, rate), the last in force one last.
        self.rates = {SUPPLIER: [(0, 100)], RIVAL: [(GENESIS_TIME_S, 70)]}
        self.accounts = dict.fromkeys(SUPPLIERS, 0)
        self.paid_in_wei = self.paid_out_wei = 0

    @rule(number=meters, amount=amounts_wei)
    def top_up(self, number: int, amount: int) -> None:
        model = self.models[number]
        debt = max(0, -model.balance_wei)
        result = self.street.top_up(model.device, amount)
        assert result.success == (model.active or amount <= debt)
        if result.success:
            assert ("Restored" in [event.name for event in events(result)]) == (
                model.balance_wei <= 0 < model.balance_wei + amount
            )
            self.accounts[model.supplier] += min(debt, amount)
            model.balance_wei += amount
            self.paid_in_wei += amount

    @rule(target=signed_readings, number=meters, energy_wh=energies_wh, export_wh=energies_wh)
    def read(self, number: int, energy_wh: int, export_wh: int) -> tuple[int, SignedReading]:
        """The meter signs; what it could not send so far goes along in one batch."""
        model = self.models[number]
        model.device.time_s = self.street.ledger.time_s
        signed = model.device.measure(energy_wh, export_wh, power_w=energy_wh % 5_000)
        model.unsent.append(signed)
        result = self.street.submit_batch(model.unsent)
        expected = [self._accept(model, one) for one in model.unsent]
        assert outcomes(result) == expected
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
        assert outcomes(result) == [self._accept(model, signed), self._accept(model, signed)]

    @rule(number=meters, energy_wh=energies_wh)
    def forge(self, number: int, energy_wh: int) -> None:
        device = self.models[number].device
        fields = device.fields(sequence=device.sequence + 100, importWh=device.import_wh + energy_wh)
        assert not self.street.submit(device.sign(fields, key_of("stranger"))).success

    @rule(supplier=st.sampled_from(SUPPLIERS), rate=rates)
    def set_rate(self, supplier: bytes, rate: int) -> None:
        now = self.street.ledger.time_s
        higher = rate > self._rate_at(supplier, now)
        start = only(self.street.exhaustion(supplier, "setRate", rate, 0), "RateSet")["from"]
        assert start == now + DAY_S * higher
        in_force = [version for version in self.rates[supplier] if version[0] <= now]
        self.rates[supplier] = [*in_force, (now + DAY_S * higher, rate)]

    @rule(seconds=st.sampled_from((1, 900, DAY_S, 3 * DAY_S)))
    def wait(self, seconds: int) -> None:
        self.street.ledger.time_s += seconds

    @rule(supplier=st.sampled_from(SUPPLIERS), part=st.integers(0, 5))
    def withdraw(self, supplier: bytes, part: int) -> None:
        """A fifth, more, all of it, or one wei more than that."""
        account = self.accounts[supplier]
        amount = account * part // 5 if part < 5 else account + 1
        result = self.street.exhaustion(supplier, "withdraw", b"\x77" * 20, amount)
        assert result.success == (0 < amount <= account)
        if result.success:
            self.accounts[supplier] -= amount
            self.paid_out_wei += amount

    @rule(number=meters)
    def remove(self, number: int) -> None:
        model = self.models[number]
        result = self.street.registry(REGULATOR, "removeMeter", model.device.address)
        assert result.success == model.active
        model.active = False

    @rule(number=meters, reading=consumes(signed_readings))
    def reinstate(self, number: int, reading: tuple[int, SignedReading]) -> None:
        """With the register where the device stands: what it measured meanwhile is not charged."""
        model, device = self.models[number], self.models[number].device
        result = self.street.registry(
            model.supplier, "reinstateMeter", device.address, device.import_wh, device.export_wh
        )
        assert result.success == (not model.active)
        if result.success:
            model.active = True
            model.unsent.clear()
            model.last_import_wh, model.last_export_wh = device.import_wh, device.export_wh

    @invariant()
    def books_balance(self) -> None:
        street = self.street
        for model in self.models:
            credit, debt, energy_wh = street.account(model.device)
            assert (credit, debt) == (max(0, model.balance_wei), max(0, -model.balance_wei))
            assert energy_wh == model.charged_wh
            assert street.supply_allowed(model.device) == (model.active and model.balance_wei > 0)
        for supplier, account in self.accounts.items():
            assert street.supplier_account(supplier) == account
        held = sum(max(0, model.balance_wei) for model in self.models) + sum(self.accounts.values())
        assert street.ledger.balance(EXHAUSTION_ADDRESS) == held == self.paid_in_wei - self.paid_out_wei
        total_wh = street.ask_exhaustion("usageOfAll")[0]
        assert total_wh == sum(model.charged_wh for model in self.models)

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
        energy_wh = import_wh - model.last_import_wh
        cost = energy_wh * self._rate_at(model.supplier, time_s)
        self.accounts[model.supplier] += max(0, min(model.balance_wei, cost))
        model.balance_wei -= cost
        model.charged_wh += energy_wh
        model.last_sequence, model.last_import_wh, model.last_export_wh = sequence, import_wh, export_wh
        return Outcome.ACCEPTED

    def _rate_at(self, supplier: bytes, time_s: int) -> int:
        return ([0] + [rate for start, rate in self.rates[supplier] if start <= time_s])[-1]


TestBooks = Books.TestCase
TestBooks.settings = settings(max_examples=50, stateful_step_count=40)
