"""The account of a prepaid meter, kept by the meter itself while no ledger is in reach.

It begins with what the ledger last said (KnownAccount) and charges what was used since: each reading that was signed,
as the contract will charge it, and what has come since the last one as if a reading were signed now. Whole wei
throughout, by the same arithmetic (contracts/tariff_charge.py). Where it cannot know, it errs to the supplier's side:
energy given settles costs and what is overdrawn, but never becomes credit; holidays and top-ups are not known; a tariff
counts that was announced already. The ledger decides again as soon as it is in reach.
"""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any

from contracts.tariff_charge import TariffPosition, charge, local_second
from contracts.tariff_format import TariffVersion
from meter.drivers.driver import Registers
from meter.ledger import LATEST_S
from meter.ledger_terms import AccountTerms, DatedVersion, KnownAccount, SupplyTerms
from primitives.errors import UserError


@dataclass(frozen=True, slots=True)
class _Standing:
    """The account after some registers."""

    registers: Registers
    balance_wei: int
    debt_wei: int
    position: TariffPosition


class LocalAccount:
    """Fed with readings and samples in their order."""

    def __init__(self, known: KnownAccount, allowance_wei: int = 0) -> None:
        self.known = known
        self._allowance_wei = allowance_wei
        self._signed = _Standing(known.registers, known.balance_wei, known.debt_wei, known.position)
        self._now = self._signed

    def add_readings(self, registers: Iterable[Registers]) -> None:
        """Readings that were signed behind the known ones, in their order; those the account has are left out."""
        for one in registers:
            if one.time_s >= self._signed.registers.time_s:
                self._signed = self._charged(self._signed, one)
        if self._now.registers.time_s < self._signed.registers.time_s:
            self._now = self._signed
        else:
            self._now = self._charged(self._signed, self._now.registers)

    def observe(self, registers: Registers) -> None:
        """Where the registers stand now."""
        last = self._signed.registers
        if registers.time_s >= last.time_s:
            self._now = self._charged(self._signed, registers)

    @property
    def balance_wei(self) -> int:
        """Credit left; overdrawn where negative."""
        return self._now.balance_wei

    def allows(self, time_s: int) -> bool:
        """Whether the supply is to be on, by the contract's own rule and the allowance."""
        terms = self.known.account.terms
        if self._now.balance_wei + terms.emergency_wei + self._allowance_wei > 0:
            return True
        if self._now.debt_wei >= terms.debt_limit_wei:
            return False
        return terms.is_friendly(local_second(time_s + 1, self.known.account.zone_s))

    def _charged(self, before: _Standing, registers: Registers) -> _Standing:
        """As Exhaustion.onReading and _chargeBeyond do it."""
        account = self.known.account
        zone_s = account.zone_s
        position, cost = charge(
            self._version_at(registers.time_s),
            before.position,
            max(0, registers.import_wh - before.registers.import_wh),
            max(0, registers.export_wh - before.registers.export_wh),
            before.registers.time_s,
            registers.time_s,
            zone_s,
        )
        cost_wei = cost.energy_wei + cost.standing_wei
        open_wei = max(0, cost_wei - cost.export_wei)
        rest_wei = max(0, cost.export_wei - cost_wei)
        balance_wei, debt_wei = before.balance_wei - open_wei, before.debt_wei
        if open_wei and balance_wei < 0 and account.terms.is_friendly(local_second(registers.time_s, zone_s)):
            # What is charged beyond the credit in friendly hours becomes debt.
            debt_wei += open_wei - min(max(before.balance_wei, 0), open_wei)
            balance_wei = min(before.balance_wei, 0)
        if rest_wei and balance_wei < 0:
            balance_wei = min(0, balance_wei + rest_wei)
        return _Standing(registers, balance_wei, debt_wei, position)

    def _version_at(self, time_s: int) -> TariffVersion | None:
        holding = [dated for dated in self.known.account.versions if dated.from_s <= time_s]
        return max(holding, key=lambda dated: dated.from_s).version if holding else None


def to_text(known: KnownAccount) -> str:
    """For the meter's database. Numbers as decimal texts: some are larger than other readers of JSON bear."""
    account = known.account
    versions = [[dated.from_s, _version_json(dated.version)] for dated in account.versions]
    document = {
        "block": known.block_number,
        "sequence": known.sequence,
        "registers": asdict(known.registers),
        "balance_wei": str(known.balance_wei),
        "debt_wei": str(known.debt_wei),
        "position": asdict(known.position),
        "supplier": account.supplier.hex(),
        "zone_s": account.zone_s,
        "installed_s": account.installed_s,
        "terms": {name: str(value) for name, value in asdict(account.terms).items()},
        "versions": versions,
    }
    return json.dumps(document, separators=(",", ":"))


def from_text(text: str) -> KnownAccount | None:
    """None for anything else than what `to_text` writes: the ledger will be asked again."""
    try:
        document = json.loads(text)
        account = AccountTerms(
            bytes.fromhex(document["supplier"]),
            int(document["zone_s"]),
            SupplyTerms(**{name: int(value) for name, value in document["terms"].items()}),
            tuple([DatedVersion(int(from_s), _version(values)) for from_s, values in document["versions"]]),
            int(document["installed_s"]),
        )
        known = KnownAccount(
            int(document["block"]),
            int(document["sequence"]),
            Registers(**document["registers"]),
            int(document["balance_wei"]),
            int(document["debt_wei"]),
            TariffPosition(**document["position"]),
            account,
        )
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, IndexError, UserError):
        return None
    numbers = (*asdict(known.registers).values(), *asdict(known.position).values())
    is_sound = all(type(number) is int and number >= 0 for number in numbers)
    return known if is_sound and known.registers.time_s <= LATEST_S else None


def same_money(one: KnownAccount | None, other: KnownAccount | None) -> bool:
    """Whether they differ in the block alone: no reason to write."""
    if one is None or other is None:
        return one is other
    return replace(one, block_number=0) == replace(other, block_number=0)


def _version_json(version: TariffVersion) -> list[Any]:
    whole, period_days, anchor_day, *wei, slabs, windows = version.argument()
    return [whole, period_days, anchor_day, *[str(one) for one in wei], slabs, windows]


def _version(values: list[Any]) -> TariffVersion:
    whole, period_days, anchor_day, *wei, slabs, windows = values
    version = TariffVersion.from_result((bool(whole), period_days, anchor_day, *map(int, wei), slabs, windows))
    version.check()
    return version
