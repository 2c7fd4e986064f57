"""The account that a meter keeps without a ledger is the contract's, to the wei, for every kind of tariff and hour."""

import random
from collections.abc import Iterator
from dataclasses import astuple, replace

import pytest

from contracts.addresses import EXHAUSTION_ADDRESS, METER_ADDRESS, REGISTRY_ADDRESS, TARIFFS_ADDRESS
from contracts.binding import load_artifact
from contracts.consent_format import consent_hash
from contracts.reading_format import compact_signature
from contracts.tariff_charge import TariffPosition
from contracts.tariff_format import Slab, TariffVersion, TimeOfUse, tariff_name
from meter.drivers.driver import Registers
from meter.ledger import MeterLedger
from meter.ledger_terms import AccountTerms, DatedVersion, KnownAccount, LedgerTerms, SupplyTerms
from meter.local_account import LocalAccount, from_text, same_money, to_text
from meter.reading import NO_HASH, Reading, ReadingDomain
from meter.signer import KeySigner
from primitives.secp256k1 import address_of, sign
from tests.meter.fake_node import CHAIN_ID, GENESIS_TIME_S, OTHER_KEY, OWNER, SUPPLIER, FakeNode

DOMAIN = ReadingDomain(CHAIN_ID, METER_ADDRESS)
METER_ABI, REGISTRY, EXHAUSTION, TARIFFS = (
    load_artifact(name).abi for name in ("Meter", "Registry", "Exhaustion", "Tariffs")
)
KEY = b"\x0d" * 31 + b"\x42"
METER = address_of(KEY)
DAY_S = 86_400
VERSION = TariffVersion(
    (Slab(10**14, 3_000), Slab(3 * 10**14, 9_000), Slab(7 * 10**14)),
    (TimeOfUse(31, 17 * 60, 21 * 60, (4 * 10**14, 5 * 10**14, 9 * 10**14)),),
    export_price_wei_per_wh=5 * 10**13,
    standing_wei_per_day=10**16,
    allowance_wh=500,
    allowance_price_wei_per_wh=10**13,
    period_days=7,
    anchor_day=19_000,
)
TERMS = (3 * 10**17, 2 * 10**18, 20 * 60, 7 * 60, 127, 0, 50)
"""0.3 WATT of emergency credit, friendly hours from 20:00 to 7:00 up to a debt of 2 WATT."""


class Ledger:
    """A meter with this tariff and these terms, and a ledger that has been at work for some days."""

    def __init__(self, version: TariffVersion, credit_wei: int) -> None:
        self.node = FakeNode(meter=None)
        self.node.transact(SUPPLIER, EXHAUSTION_ADDRESS, EXHAUSTION.encode_call("setTerms", (TERMS,)))
        holds_s = GENESIS_TIME_S + 3 * DAY_S
        create = TARIFFS.encode_call("createTariff", (tariff_name("house"), holds_s, version.argument()))
        self.node.transact(SUPPLIER, TARIFFS_ADDRESS, create)
        (owned,) = TARIFFS.decode_result("tariffsOf", self._ask(TARIFFS_ADDRESS, TARIFFS, "tariffsOf", SUPPLIER))
        self.node.block_time_s = 3 * DAY_S
        agreed = compact_signature(*sign(consent_hash(CHAIN_ID, METER, SUPPLIER), KEY))
        install = (METER, OWNER, EXHAUSTION_ADDRESS, owned[-1], bytes(32), 0, 0, agreed)
        self.node.transact(SUPPLIER, REGISTRY_ADDRESS, REGISTRY.encode_call("installMeter", install))
        self.node.block_time_s = 15
        self.node.top_up(METER, credit_wei)
        self.sequence = 0

    @property
    def time_s(self) -> int:
        return self.node.blocks[-1].time_s

    def carry(self, registers: Registers) -> None:
        """A reading in a block as late as itself."""
        self.sequence += 1
        reading = Reading(METER, self.sequence, *astuple(registers), 0, 0, NO_HASH)
        signed = DOMAIN.sign(reading, KeySigner(KEY))
        self.node.block_time_s = max(1, registers.time_s - self.time_s)
        call = METER_ABI.function("submit").encode_call(((astuple(reading), *signed.signature),))
        self.node.transact(address_of(OTHER_KEY), METER_ADDRESS, call)

    async def known(self) -> KnownAccount:
        terms = LedgerTerms(MeterLedger(self.node, METER_ADDRESS, EXHAUSTION_ADDRESS))
        block = self.node.blocks[-1].number
        account = await terms.account_terms(METER, self.time_s, block)
        assert account is not None
        return await terms.known_account(METER, account, block)

    def allows(self, time_s: int) -> bool:
        answer = self._ask(EXHAUSTION_ADDRESS, EXHAUSTION, "supplyAllowed", METER, time_s)
        return bool(EXHAUSTION.decode_result("supplyAllowed", answer)[0])

    def _ask(self, contract: bytes, abi, function: str, *arguments: object) -> bytes:
        return self.node._call(None, contract, abi.encode_call(function, arguments), self.node.blocks[-1]).output


def walk(begin: Registers, seed: int, count: int, *, exports: bool = False) -> Iterator[Registers]:
    """Readings some hours apart."""
    randomness, last = random.Random(seed), begin
    for _ in range(count):
        last = Registers(
            last.time_s + randomness.choice((60, 3_600, 5 * 3_600, 30 * 3_600)),
            last.import_wh + randomness.choice((0, 7, 400, 2_500)),
            last.export_wh + (randomness.choice((0, 900)) if exports else 0),
        )
        yield last


@pytest.mark.parametrize("version", [VERSION, replace(VERSION, whole=True, period_days=0, anchor_day=0)])
@pytest.mark.parametrize("seed", range(3))
async def test_charged_as_the_contract_does(version: TariffVersion, seed: int) -> None:
    ledger = Ledger(version, 2 * 10**18)
    for registers in walk(Registers(ledger.time_s), seed, 4):
        ledger.carry(registers)
    known = await ledger.known()
    local = LocalAccount(known)
    for registers in walk(known.registers, seed + 100, 25):
        ledger.carry(registers)
        local.add_readings([registers])
        now = await ledger.known()
        assert (local.balance_wei, local._now.debt_wei) == (now.balance_wei, now.debt_wei)
        for later_s in (0, 3 * 3_600, 11 * 3_600):
            assert local.allows(registers.time_s + later_s) == ledger.allows(registers.time_s + later_s)
    assert local.balance_wei < 0
    assert from_text(to_text(known)) == known


async def test_days_before_the_first_reading_are_charged() -> None:
    ledger = Ledger(VERSION, 2 * 10**18)
    local = LocalAccount(known := await ledger.known())
    assert known.sequence == 0
    registers = Registers(ledger.time_s + 3 * DAY_S, 700, 0)
    ledger.carry(registers)
    local.add_readings([registers])
    assert local.balance_wei == (await ledger.known()).balance_wei < 2 * 10**18 - 2 * VERSION.standing_wei_per_day


async def test_energy_given_settles_but_makes_no_credit() -> None:
    """The supplier has money here, so the contract credits more."""
    ledger = Ledger(VERSION, 10**18)
    ledger.carry(Registers(ledger.time_s + 60))
    local = LocalAccount(known := await ledger.known())
    for registers in walk(known.registers, 5, 20, exports=True):
        ledger.carry(registers)
        local.add_readings([registers])
        assert local.balance_wei <= (await ledger.known()).balance_wei
    assert local.balance_wei <= known.balance_wei


def flat_account(credit_wei: int, *versions: DatedVersion, terms: SupplyTerms | None = None) -> KnownAccount:
    account = AccountTerms(SUPPLIER, 0, terms or SupplyTerms(), versions or (DatedVersion(0, TariffVersion.flat(10)),))
    return KnownAccount(7, 3, Registers(1_000_000, 500, 0), credit_wei, 0, TariffPosition(500, 99_999, 11), account)


def test_what_is_not_signed_yet_counts_as_a_reading_now() -> None:
    local = LocalAccount(flat_account(1_000))
    local.observe(Registers(1_000_100, 599, 0))
    assert (local.balance_wei, local.allows(1_000_100)) == (10, True)
    local.observe(Registers(1_000_200, 600, 0))
    assert (local.balance_wei, local.allows(1_000_200)) == (0, False)
    local.add_readings([Registers(1_000_150, 599, 0)])
    assert local.balance_wei == 0, "a reading changes nothing of what was used"


def test_allowance_is_what_the_owner_or_supplier_has_set() -> None:
    local = LocalAccount(flat_account(1_000), allowance_wei=500)
    local.observe(Registers(1_000_100, 649, 0))
    assert local.allows(1_000_100)
    local.observe(Registers(1_000_100, 650, 0))
    assert not local.allows(1_000_100)


def test_energy_given_settles_what_is_overdrawn_and_no_more() -> None:
    version = replace(TariffVersion.flat(10), export_price_wei_per_wh=7)
    local = LocalAccount(flat_account(1_000, DatedVersion(0, version)))
    local.add_readings([Registers(1_000_100, 620, 0)])
    assert local.balance_wei == -200
    local.add_readings([Registers(1_000_200, 620, 10)])
    assert local.balance_wei == -130
    local.add_readings([Registers(1_000_300, 620, 1_000)])
    assert local.balance_wei == 0


def test_announced_tariff_counts_from_its_time() -> None:
    later = DatedVersion(1_000_200, TariffVersion.flat(100))
    local = LocalAccount(flat_account(5_000, DatedVersion(0, TariffVersion.flat(10)), later))
    local.add_readings([Registers(1_000_100, 510, 0), Registers(1_000_300, 520, 0)])
    assert local.balance_wei == 5_000 - 100 - 1_000


def test_registers_that_fall_and_times_before_cost_nothing() -> None:
    local = LocalAccount(flat_account(1_000))
    local.observe(Registers(999_000, 900, 0))
    local.add_readings([Registers(999_999, 900, 0)])
    local.observe(Registers(1_000_001, 400, 0))
    assert local.balance_wei == 1_000


def test_only_the_block_differs() -> None:
    known = flat_account(5)
    assert same_money(known, replace(known, block_number=8))
    assert not same_money(known, replace(known, balance_wei=6))
    assert same_money(None, None)
    assert not same_money(known, None)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"sequence":3', '"sequence":"x"'),
        ('"registers":{', '"registers":{"x":1,'),
        ('"time_s":1000000', '"time_s":-1'),
        ('"time_s":1000000', '"time_s":1.5'),
        ('"time_s":1000000', '"time_s":1152921504606846976'),
        ('"balance_wei":"1000"', '"balance_wei":"1e3"'),
        ('"supplier":"', '"supplier":"zz'),
        ("[[18446744073709551615,10]]", "[]"),
        ("[[18446744073709551615,10]]", "[[5,10]]"),
        ("{", "["),
    ],
)
def test_text_that_was_altered_is_no_account(old: str, new: str) -> None:
    text = to_text(flat_account(1_000))
    assert old in text
    assert from_text(text.replace(old, new)) is None
