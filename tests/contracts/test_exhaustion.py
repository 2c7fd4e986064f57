"""The Exhaustion contract: credit used up by readings, debt, restoring, rates, withdrawal, and attacks on them."""

from pathlib import Path

import pytest

from contracts.addresses import EXHAUSTION_ADDRESS, METER_ADDRESS, REGISTRY_ADDRESS
from contracts.binding import load_artifact
from contracts.genesis import MAX_CREDIT_WEI, MAX_LOW_CREDIT_WEI
from contracts.roles import Role
from primitives.hexadecimal import to_data
from tests.contracts.ledgers import GENESIS_TIME_S
from tests.contracts.neighbourhood import (
    EXHAUSTION,
    OPERATOR,
    OWNER,
    PAYER,
    POINT_OF_SUPPLY,
    RATE_WEI_PER_WH,
    REGISTRY,
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
ATTACKERS = Path(__file__).parent / "artifacts"


@pytest.fixture
def device() -> Device:
    return Device("meter one")


@pytest.fixture
def street(device: Device) -> Neighbourhood:
    return Neighbourhood(device)


def test_a_reading_moves_usage_times_rate_to_the_supplier(street: Neighbourhood, device: Device) -> None:
    """Figure 4 of the Wattcoin paper: total = usage * rate, from the user's balance to the supplier's."""
    street.top_up(device, WATT)
    street.submit(device.measure(import_wh=1_500))
    assert street.account(device) == (WATT - 1_500 * RATE_WEI_PER_WH, 0, 1_500)
    assert street.supplier_account() == 1_500 * RATE_WEI_PER_WH
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
        "balanceWei": 5 * WATT,
    }
    assert only(result, "Restored") == {"meter": device.address, "creditWei": 5 * WATT}
    assert street.supply_allowed(device)
    assert event_names(street.top_up(device, WATT, sender=STRANGER)) == ["ToppedUp"]


def test_used_up_credit_becomes_debt_which_the_next_top_up_settles(street: Neighbourhood, device: Device) -> None:
    street.top_up(device, 1_000 * RATE_WEI_PER_WH)
    result = street.submit(device.measure(import_wh=1_200))
    assert event_names(result) == ["ReadingAccepted", "Charged", "Exhausted"]
    charged = only(result, "Charged")
    assert (charged["costWei"], charged["paidWei"]) == (1_200 * RATE_WEI_PER_WH, 1_000 * RATE_WEI_PER_WH)
    assert charged["balanceWei"] == -200 * RATE_WEI_PER_WH
    assert only(result, "Exhausted") == {"meter": device.address, "debtWei": 200 * RATE_WEI_PER_WH}
    assert not street.supply_allowed(device)
    assert street.supplier_account() == 1_000 * RATE_WEI_PER_WH

    # More debt, then a part of it settled: still off.
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
    assert only(result, "Exhausted")["debtWei"] == 0
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


def test_a_threshold_above_the_credit_reports_at_once(street: Neighbourhood, device: Device) -> None:
    street.top_up(device, WATT)
    result = street.exhaustion(OWNER, "setLowCreditThreshold", device.address, MAX_LOW_CREDIT_WEI)
    assert event_names(result) == ["LowCreditThresholdSet", "LowCredit"]


def test_only_the_owner_sets_the_threshold(street: Neighbourhood, device: Device) -> None:
    for person in (OPERATOR, SUPPLIER, STRANGER):
        refused = street.exhaustion(person, "setLowCreditThreshold", device.address, 1)
        assert reason(refused) == f"NotOwner(meter={to_data(device.address)}, caller={to_data(person)})"
    unknown = street.exhaustion(OWNER, "setLowCreditThreshold", b"\x99" * 20, 1)
    assert not unknown.success


@pytest.mark.parametrize(
    "sender", [STRANGER, OPERATOR, SUPPLIER, OWNER], ids=["stranger", "operator", "supplier", "owner"]
)
def test_nobody_but_the_meter_contract_charges(street: Neighbourhood, device: Device, sender: bytes) -> None:
    street.top_up(device, WATT)
    delta = (device.address, sender, 0, 1_000, 0, GENESIS_TIME_S, GENESIS_TIME_S, 0)
    refused = street.exhaustion(sender, "onReading", delta)
    assert reason(refused) == f"NotMeterContract(caller={to_data(sender)})"
    refused = street.exhaustion(sender, "onSwap", device.address, sender)
    assert reason(refused) == f"NotRegistry(caller={to_data(sender)})"


def test_top_ups_that_would_be_lost_are_refused(street: Neighbourhood, device: Device) -> None:
    stranger_device = Device("nobody's meter")
    assert reason(street.top_up(stranger_device, 1)) == f"NotPrepaid(meter={to_data(stranger_device.address)})"
    assert reason(street.top_up(device, 0)) == "AmountZero()"
    assert not street.ledger.transact(PAYER, EXHAUSTION_ADDRESS, b"", 1).success
    assert street.ledger.balance(EXHAUSTION_ADDRESS) == 0


def test_a_credit_has_a_greatest_value(street: Neighbourhood, device: Device) -> None:
    assert reason(street.top_up(device, MAX_CREDIT_WEI + 1)) == (
        f"CreditTooLarge(amountWei={MAX_CREDIT_WEI + 1}, maximumWei={MAX_CREDIT_WEI})"
    )
    assert street.top_up(device, MAX_CREDIT_WEI).success
    assert not street.top_up(device, 1).success
    assert street.ask_exhaustion("MAX_CREDIT_WEI") == (MAX_CREDIT_WEI,)


def test_a_removed_meter_has_no_supply_and_takes_only_its_debt(street: Neighbourhood, device: Device) -> None:
    street.top_up(device, 10 * RATE_WEI_PER_WH)
    street.submit(device.measure(import_wh=5))
    assert street.supply_allowed(device)
    street.registry(SUPPLIER, "removeMeter", device.address)
    assert not street.supply_allowed(device)
    assert not street.top_up(device, 1).success
    street.registry(SUPPLIER, "reinstateMeter", device.address, device.import_wh, 0)
    assert street.supply_allowed(device)
    street.submit(device.measure(import_wh=7))
    street.registry(SUPPLIER, "removeMeter", device.address)
    debt = 2 * RATE_WEI_PER_WH
    text = f"MeterRemovedAboveDebt(meter={to_data(device.address)}, amountWei={debt + 1}, debtWei={debt})"
    assert reason(street.top_up(device, debt + 1)) == text
    assert street.top_up(device, debt).success
    assert street.account(device) == (0, 0, 12)


def test_usage_of_one_meter_and_of_all() -> None:
    first, second = Device("meter one"), Device("meter two")
    street = Neighbourhood(first, second, credit_wei=WATT)
    street.submit(first.measure(import_wh=100, power_w=400))
    street.submit(second.measure(import_wh=20, export_wh=90, power_w=-150))
    assert street.ask_exhaustion("usageOf", first.address) == (100, 400, first.time_s)
    assert street.ask_exhaustion("usageOf", second.address) == (20, -150, second.time_s)
    assert street.ask_exhaustion("usageOfAll") == (120, 250, 2)


# Rates


def test_a_lower_rate_holds_at_once_and_changes_nothing_charged(street: Neighbourhood, device: Device) -> None:
    street.top_up(device, WATT)
    street.submit(device.measure(import_wh=100))
    result = street.exhaustion(SUPPLIER, "setRate", RATE_WEI_PER_WH // 2, 0)
    assert only(result, "RateSet") == {
        "supplier": SUPPLIER,
        "rateWeiPerWh": RATE_WEI_PER_WH // 2,
        "from": GENESIS_TIME_S,
    }
    assert street.supplier_account() == 100 * RATE_WEI_PER_WH
    device.time_s = GENESIS_TIME_S
    assert only(street.submit(device.measure(import_wh=100)), "Charged")["costWei"] == 50 * RATE_WEI_PER_WH


def test_a_late_reading_is_charged_at_the_rate_of_its_own_time(street: Neighbourhood, device: Device) -> None:
    """Three versions; readings from each period arrive after the last has begun."""
    street.top_up(device, WATT)
    for step, rate in enumerate((300, 200, 100)):
        street.ledger.time_s = GENESIS_TIME_S + step * 1_000
        assert street.exhaustion(SUPPLIER, "setRate", rate, 0).success
    street.ledger.time_s += 10_000
    costs = []
    for time_s in (-1, 0, 999, 1_000, 1_500, 2_000, 9_000):
        device.time_s = GENESIS_TIME_S + time_s
        costs.append(only(street.submit(device.measure(import_wh=1)), "Charged")["costWei"])
    assert costs == [RATE_WEI_PER_WH, 300, 300, 200, 200, 100, 100]
    rates = [
        street.ask_exhaustion("rateAt", SUPPLIER, GENESIS_TIME_S + time_s)[0] for time_s in (-1, 999, 1_999, 2_000)
    ]
    assert rates == [RATE_WEI_PER_WH, 300, 200, 100]


def test_a_higher_rate_needs_a_days_notice(street: Neighbourhood, device: Device) -> None:
    street.top_up(device, WATT)
    higher = RATE_WEI_PER_WH * 3
    earliest = GENESIS_TIME_S + DAY_S
    refused = street.exhaustion(SUPPLIER, "setRate", higher, earliest - 1)
    assert reason(refused) == f"RateTooSoon(from={earliest - 1}, earliest={earliest})"
    assert only(street.exhaustion(SUPPLIER, "setRate", higher, 0), "RateSet")["from"] == earliest
    assert street.ask_exhaustion("latestRateOf", SUPPLIER) == (True, higher, earliest)
    street.ledger.time_s = earliest
    device.time_s = earliest - 1
    assert only(street.submit(device.measure(import_wh=1)), "Charged")["rateWeiPerWh"] == RATE_WEI_PER_WH
    device.time_s = earliest
    assert only(street.submit(device.measure(import_wh=1)), "Charged")["rateWeiPerWh"] == higher


def test_an_announced_rate_can_be_replaced_before_it_holds(street: Neighbourhood) -> None:
    street.exhaustion(SUPPLIER, "setRate", RATE_WEI_PER_WH * 3, 0)
    street.ledger.time_s += 100
    assert street.exhaustion(SUPPLIER, "setRate", RATE_WEI_PER_WH - 1, 0).success
    for time_s, rate in ((99, RATE_WEI_PER_WH), (100, RATE_WEI_PER_WH - 1), (9 * DAY_S, RATE_WEI_PER_WH - 1)):
        assert street.ask_exhaustion("rateAt", SUPPLIER, GENESIS_TIME_S + time_s) == (rate,)


def test_a_rise_is_measured_against_the_rate_in_force_not_the_announced_one(street: Neighbourhood) -> None:
    street.exhaustion(SUPPLIER, "setRate", RATE_WEI_PER_WH * 3, 0)
    refused = street.exhaustion(SUPPLIER, "setRate", RATE_WEI_PER_WH * 2, GENESIS_TIME_S)
    assert not refused.success


def test_a_rate_cannot_begin_in_the_past(street: Neighbourhood) -> None:
    refused = street.exhaustion(SUPPLIER, "setRate", 1, GENESIS_TIME_S - 1)
    assert reason(refused) == f"RateTooSoon(from={GENESIS_TIME_S - 1}, earliest={GENESIS_TIME_S})"


def test_a_rate_binds_only_the_callers_own_meters(street: Neighbourhood, device: Device) -> None:
    street.top_up(device, WATT)
    street.exhaustion(RIVAL, "setRate", 2**64 - 1, 0)
    assert only(street.submit(device.measure(import_wh=1)), "Charged")["rateWeiPerWh"] == RATE_WEI_PER_WH


def test_no_money_is_taken_before_a_rate_is_known(street: Neighbourhood) -> None:
    other = Device("meter two")
    street.registry(REGULATOR, "addMember", RIVAL, Role.SUPPLIER)
    assert street.install(other, RIVAL).success
    assert reason(street.top_up(other, 1)) == f"RateNotSet(supplier={to_data(RIVAL)})"
    assert only(street.submit(other.measure(import_wh=9)), "Charged")["costWei"] == 0
    street.exhaustion(RIVAL, "setRate", 7, 0)
    assert street.top_up(other, 1).success
    other.time_s = GENESIS_TIME_S
    assert only(street.submit(other.measure(import_wh=9)), "Charged")["costWei"] == 63


# Withdrawal


def test_a_supplier_withdraws_what_it_earned_and_no_more(street: Neighbourhood, device: Device) -> None:
    street.top_up(device, WATT)
    street.submit(device.measure(import_wh=100))
    earned = 100 * RATE_WEI_PER_WH
    target = b"\x77" * 20
    refused = street.exhaustion(SUPPLIER, "withdraw", target, earned + 1)
    text = f"AccountTooSmall(supplier={to_data(SUPPLIER)}, amountWei={earned + 1}, accountWei={earned})"
    assert reason(refused) == text
    result = street.exhaustion(SUPPLIER, "withdraw", target, earned - 3)
    assert only(result, "Withdrawn") == {"supplier": SUPPLIER, "to": target, "amountWei": earned - 3}
    assert street.ledger.balance(target) == earned - 3
    assert street.supplier_account() == 3
    assert street.ledger.balance(EXHAUSTION_ADDRESS) == WATT - earned + 3


@pytest.mark.parametrize("person", [OPERATOR, OWNER, STRANGER, RIVAL], ids=["operator", "owner", "stranger", "rival"])
def test_nobody_else_withdraws(street: Neighbourhood, device: Device, person: bytes) -> None:
    street.top_up(device, WATT)
    street.submit(device.measure(import_wh=100))
    assert (reason(street.exhaustion(person, "withdraw", person, 1)) or "").startswith("AccountTooSmall")


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
    arguments = [other.address, OWNER, EXHAUSTION_ADDRESS, 0, POINT_OF_SUPPLY, 0, 0]
    assert act(REGISTRY_ADDRESS, REGISTRY.abi.encode_call("installMeter", arguments))
    assert act(EXHAUSTION_ADDRESS, EXHAUSTION.abi.encode_call("setRate", [5, 0]))
    street.top_up(other, 1_000)
    other.time_s = GENESIS_TIME_S
    street.submit(other.measure(import_wh=20))
    assert street.supplier_account(address) == 100
    assert act(EXHAUSTION_ADDRESS, EXHAUSTION.abi.encode_call("withdraw", [address, 60]))
    refusal = street.ledger.call(STRANGER, address, attacker.abi.encode_call("refusal")).output
    assert attacker.abi.decode_result("refusal", refusal)[0] == bytes.fromhex(
        "3ee5aeb5"
    )  # ReentrancyGuardReentrantCall
    assert EXHAUSTION.error_name(bytes.fromhex("3ee5aeb5")) == "ReentrancyGuardReentrantCall"
    assert street.ledger.balance(address) == 60
    assert street.supplier_account(address) == 40


def test_forced_money_disturbs_no_account(street: Neighbourhood, device: Device) -> None:
    street.top_up(device, WATT)
    self_destruct = b"\x73" + EXHAUSTION_ADDRESS + b"\xff"
    street.ledger.transact(STRANGER, None, self_destruct, 12_345)
    assert street.ledger.balance(EXHAUSTION_ADDRESS) == WATT + 12_345
    assert street.account(device) == (WATT, 0, 0)
    street.submit(device.measure(import_wh=10))
    assert street.exhaustion(SUPPLIER, "withdraw", SUPPLIER, 10 * RATE_WEI_PER_WH).success
    assert not street.exhaustion(SUPPLIER, "withdraw", SUPPLIER, 1).success
