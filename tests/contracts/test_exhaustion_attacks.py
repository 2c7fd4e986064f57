"""Exhaustion: who may call what, suppliers' money, attacks, and the largest numbers."""

from pathlib import Path

import pytest

from contracts.addresses import EXHAUSTION_ADDRESS, METER_ADDRESS, REGISTRY_ADDRESS, TARIFFS_ADDRESS
from contracts.binding import load_artifact
from contracts.reading_format import MAX_REGISTER_WH
from contracts.roles import Role
from contracts.tariff_format import GenesisTariff, Slab, TariffVersion
from contracts.voucher_format import issue_voucher
from primitives.hexadecimal import to_data
from primitives.secp256k1 import address_of
from tests.contracts.ledgers import CHAIN_ID, GENESIS_TIME_S
from tests.contracts.neighbourhood import (
    EXHAUSTION,
    OPERATOR,
    OWNER,
    POINT_OF_SUPPLY,
    RATE_WEI_PER_WH,
    REGISTRY,
    REGULATOR,
    RIVAL,
    STRANGER,
    SUPPLIER,
    TARIFFS,
    WATT,
    Device,
    Neighbourhood,
    consent,
    key_of,
    only,
    reason,
)

DAY_S = 86_400
ATTACKERS = Path(__file__).parent / "artifacts"


@pytest.fixture
def device() -> Device:
    return Device("meter one")


@pytest.fixture
def street(device: Device) -> Neighbourhood:
    return Neighbourhood(device)


# Who may what


PEOPLE = {
    "operator": OPERATOR,
    "regulator": REGULATOR,
    "supplier": SUPPLIER,
    "rival": RIVAL,
    "owner": OWNER,
    "stranger": STRANGER,
    "meter": address_of(key_of("meter one")),
}


@pytest.mark.parametrize("name", PEOPLE)
def test_every_role_tries_every_function(device: Device, name: str) -> None:
    """What each role gets through, of all that takes money or changes what a meter or a supplier has."""
    street = Neighbourhood(device, credit_wei=1_000 * RATE_WEI_PER_WH)
    street.registry(REGULATOR, "addMember", RIVAL, Role.SUPPLIER)
    other = Device("meter two")
    street.install(other, tariff=1)
    street.submit(device.measure(import_wh=100))
    person = PEOPLE[name]
    delta = (device.address, SUPPLIER, 1, 1_000, 0, GENESIS_TIME_S, GENESIS_TIME_S, 0)
    attempts = {
        "onReading": (delta,),
        "onSwap": (device.address, other.address),
        "onVersion": (1, 1, GENESIS_TIME_S),
        "withdraw": (person, 1),
        "withdrawCredit": (device.address,),
        "transferCredit": (device.address, other.address, 1),
        "setLowCreditThreshold": (device.address, 1),
    }
    passed = {function for function, given in attempts.items() if street.exhaustion(person, function, *given).success}
    allowed = {"supplier": {"withdraw"}, "owner": {"transferCredit", "setLowCreditThreshold"}}
    assert passed == allowed.get(name, set())
    street.registry(SUPPLIER, "removeMeter", device.address)
    assert street.exhaustion(person, "withdrawCredit", device.address).success == (name == "owner")


def test_refusals_say_who_called(street: Neighbourhood, device: Device) -> None:
    delta = (device.address, SUPPLIER, 1, 1_000, 0, GENESIS_TIME_S, GENESIS_TIME_S, 0)
    caller = f"caller={to_data(STRANGER)}"
    assert reason(street.exhaustion(STRANGER, "onReading", delta)) == f"NotMeterContract({caller})"
    assert reason(street.exhaustion(STRANGER, "onSwap", STRANGER, STRANGER)) == f"NotRegistry({caller})"
    assert reason(street.exhaustion(STRANGER, "onVersion", 1, 1, 1)) == f"NotTariffs({caller})"
    refused = street.exhaustion(STRANGER, "setLowCreditThreshold", device.address, 1)
    assert reason(refused) == f"NotOwner(meter={to_data(device.address)}, {caller})"


# Suppliers


def test_a_supplier_withdraws_what_it_earned_and_no_more(street: Neighbourhood, device: Device) -> None:
    """From two tariffs and the purse together."""
    other = Device("meter two")
    street.tariffs(SUPPLIER, "createTariff", b"two".ljust(32, b"\0"), 0, TariffVersion.flat(3).argument())
    street.install(other, tariff=2)
    street.top_up(device, WATT)
    street.top_up(other, 1_000)
    street.submit(device.measure(import_wh=100))
    other.time_s = GENESIS_TIME_S
    street.submit(other.measure(import_wh=50))
    street.submit(other.measure(import_wh=300))
    assert street.top_up(other, 50).success
    earned = 100 * RATE_WEI_PER_WH + 1_050
    target = b"\x77" * 20
    refused = street.exhaustion(SUPPLIER, "withdraw", target, earned + 1)
    text = f"AccountTooSmall(supplier={to_data(SUPPLIER)}, amountWei={earned + 1}, accountWei={earned})"
    assert reason(refused) == text
    result = street.exhaustion(SUPPLIER, "withdraw", target, earned - 3)
    assert only(result, "Withdrawn") == {"supplier": SUPPLIER, "to": target, "amountWei": earned - 3}
    assert street.ledger.balance(target) == earned - 3
    assert street.supplier_account() == 3


def test_withdrawals_that_go_nowhere_are_refused(street: Neighbourhood, device: Device) -> None:
    street.top_up(device, WATT)
    street.submit(device.measure(import_wh=100))
    assert reason(street.exhaustion(SUPPLIER, "withdraw", bytes(20), 1)) == "ZeroAddress()"
    assert reason(street.exhaustion(SUPPLIER, "withdraw", SUPPLIER, 0)) == "AmountZero()"
    refused = street.exhaustion(SUPPLIER, "withdraw", METER_ADDRESS, 1)
    assert reason(refused) == f"WithdrawalFailed(to={to_data(METER_ADDRESS)}, amountWei=1)"
    assert street.supplier_account() == 100 * RATE_WEI_PER_WH


def test_a_supplier_that_reenters_is_paid_once(street: Neighbourhood) -> None:
    attacker = load_artifact("ReenteringSupplier", ATTACKERS)
    address = street.ledger.transact(STRANGER, None, attacker.deployment([EXHAUSTION_ADDRESS])).output
    other = Device("meter two")

    def act(target: bytes, data: bytes) -> bool:
        return street.ledger.transact(STRANGER, address, attacker.abi.encode_call("act", [target, data])).success

    street.registry(REGULATOR, "addMember", address, Role.SUPPLIER)
    tariff = [b"trap".ljust(32, b"\0"), 0, TariffVersion.flat(5).argument()]
    assert act(TARIFFS_ADDRESS, TARIFFS.abi.encode_call("createTariff", tariff))
    arguments = [other.address, OWNER, EXHAUSTION_ADDRESS, 2, POINT_OF_SUPPLY, 0, 0]
    assert act(
        REGISTRY_ADDRESS, REGISTRY.abi.encode_call("installMeter", [*arguments, consent(other.address, address)])
    )
    street.top_up(other, 1_000)
    other.time_s = GENESIS_TIME_S
    street.submit(other.measure(import_wh=20))
    assert street.supplier_account(address) == 100
    assert act(EXHAUSTION_ADDRESS, EXHAUSTION.abi.encode_call("withdraw", [address, 60]))
    refusal = street.ledger.call(STRANGER, address, attacker.abi.encode_call("refusal")).output
    reentrant_call = bytes.fromhex("3ee5aeb5")
    assert attacker.abi.decode_result("refusal", refusal)[0] == reentrant_call
    assert EXHAUSTION.error_name(reentrant_call) == "ReentrancyGuardReentrantCall"
    assert street.ledger.balance(address) == 60
    assert street.supplier_account(address) == 40


@pytest.mark.parametrize("function", ["withdrawCredit", "transferCredit", "topUp", "payOwed", "redeem"])
def test_an_owner_that_reenters_while_leaving_is_paid_once(
    street: Neighbourhood, device: Device, function: str
) -> None:
    """Its money arrives when all of it is written: nothing that it calls then brings it a second time."""
    attacker = load_artifact("ReenteringSupplier", ATTACKERS)
    address = street.ledger.transact(STRANGER, None, attacker.deployment([EXHAUSTION_ADDRESS])).output
    own = Device("meter of the attacker")
    for meter, owner in ((own, address), (Device("meter three"), address)):
        arguments = (meter.address, owner, EXHAUSTION_ADDRESS, 1, POINT_OF_SUPPLY, 0, 0)
        assert street.registry(SUPPLIER, "installMeter", *arguments).success
    street.top_up(device, 5_000)
    street.top_up(own, 1_000)
    street.registry(SUPPLIER, "removeMeter", own.address)
    voucher = issue_voucher(key_of("supplier"), 1, 1, 2**40, CHAIN_ID, meter=own.address)
    calls: dict[str, tuple[object, ...]] = {
        "withdrawCredit": (own.address,),
        "transferCredit": (own.address, Device("meter three").address, 1),
        "topUp": (own.address,),
        "payOwed": (own.address,),
        "redeem": voucher.redemption(own.address),
    }
    attack = EXHAUSTION.abi.encode_call(function, calls[function])
    assert street.ledger.transact(STRANGER, address, attacker.abi.encode_call("prepare", [attack])).success
    leave = EXHAUSTION.abi.encode_call("withdrawCredit", [own.address])
    assert street.ledger.transact(
        STRANGER, address, attacker.abi.encode_call("act", [EXHAUSTION_ADDRESS, leave])
    ).success
    assert street.ledger.balance(address) == 1_000
    assert street.account(device)[0] == street.ledger.balance(EXHAUSTION_ADDRESS) == 5_000
    succeeded = street.ledger.call(STRANGER, address, attacker.abi.encode_call("succeeded")).output
    assert attacker.abi.decode_result("succeeded", succeeded) == (function == "payOwed",)


def test_forced_money_disturbs_no_account(street: Neighbourhood, device: Device) -> None:
    street.top_up(device, WATT)
    self_destruct = b"\x73" + EXHAUSTION_ADDRESS + b"\xff"
    street.ledger.transact(STRANGER, None, self_destruct, 12_345)
    assert street.ledger.balance(EXHAUSTION_ADDRESS) == WATT + 12_345
    assert street.account(device)[:2] == (WATT, 0)
    street.submit(device.measure(import_wh=10))
    assert street.exhaustion(SUPPLIER, "withdraw", SUPPLIER, 10 * RATE_WEI_PER_WH).success
    assert not street.exhaustion(SUPPLIER, "withdraw", SUPPLIER, 1).success


def test_the_largest_numbers_still_fit(device: Device) -> None:
    """A reading cannot revert: the highest prices, all of both registers, and the largest debt that is handed over."""
    highest = 2**64 - 1
    version = TariffVersion((Slab(highest),), export_price_wei_per_wh=highest, standing_wei_per_day=2**80 - 1)
    street = Neighbourhood(
        device, tariffs=[GenesisTariff(SUPPLIER, "dear", version)], installed_at_s=GENESIS_TIME_S - DAY_S
    )
    device.time_s = street.ledger.time_s
    assert street.submit(device.measure()).success
    account = {"balanceWei": -(2**120), "usedWh": 2**56 - 1, "endDay": 2**24 - 1, "chargedDay": 20_000, "hasDebt": 1}
    layout = EXHAUSTION.storage_layout
    slots = layout.assign("_accounts", device.address, value=account)
    slots |= layout.assign("_dues", device.address, value={"debtWei": 2**120, "owedWei": 0})
    street.ledger.write_storage(EXHAUSTION_ADDRESS, slots)
    successor = Device("successor", time_s=street.ledger.time_s)
    assert street.registry(SUPPLIER, "swapMeter", device.address, successor.address, 0, 0, 0, 0).success
    assert street.account_view(successor)["periodWh"] == 2**55
    successor.time_s = street.ledger.time_s = 2**34
    only(street.submit(successor.measure(import_wh=MAX_REGISTER_WH)), "Charged")
    assert street.account(successor)[1] > 2**120 + MAX_REGISTER_WH * highest
    given = street.submit(successor.measure(export_wh=MAX_REGISTER_WH))
    assert only(given, "ExportCredited")["creditWei"] == MAX_REGISTER_WH * highest
    # That is more than a second successor may take over.
    refused = street.registry(
        SUPPLIER, "swapMeter", successor.address, Device("second").address, *[MAX_REGISTER_WH] * 2, 0, 0
    )
    assert (reason(refused) or "").startswith("OverdrawnTooLarge(")
