"""Whom a network without fees goes on admitting when a supplier turns out to have invented its customers."""

import pytest

from chain.pool.membership import QUESTION_GAS
from contracts.addresses import EXHAUSTION_ADDRESS, REGISTRY_ADDRESS
from contracts.genesis import MAX_VOUCHERS, GenesisMeter, genesis_alloc
from contracts.roles import Role
from primitives.hexadecimal import to_data
from primitives.secp256k1 import address_of
from tests.contracts.ledgers import Result, make_ledger
from tests.contracts.neighbourhood import (
    OPERATOR,
    OWNER,
    POINT_OF_SUPPLY,
    REGISTRY,
    REGULATOR,
    RIVAL,
    STRANGER,
    SUPPLIER,
    WATT,
    Device,
    Neighbourhood,
    key_of,
    only,
    reason,
)

BAD = address_of(key_of("a bad supplier"))
INVENTED, RELAY = b"\x05" * 20, b"\x06" * 20
INVENTED_METER, NEXT_METER, OTHER_METER, LATE_METER = (
    Device(name).address for name in ("invented", "its successor", "meter two", "meter three")
)
MIN_ALLOWANCE, FIRST_ALLOWANCE = 1_000_000, 6_000_000


class Town(Neighbourhood):
    """SUPPLIER has a customer, OWNER; BAD has invented one, with a meter and a relay."""

    def __init__(self) -> None:
        super().__init__(Device("meter one"), credit_wei=WATT)
        for supplier in (BAD, RIVAL):
            assert self.registry(REGULATOR, "addMember", supplier, Role.SUPPLIER).success
        assert self.give_meter(BAD, INVENTED, INVENTED_METER).success
        assert self.registry(BAD, "addMember", RELAY, Role.RELAY).success

    def give_meter(self, supplier: bytes, owner: bytes, meter: bytes) -> Result:
        return self.registry(supplier, "installMeter", meter, owner, EXHAUSTION_ADDRESS, 0, POINT_OF_SUPPLY, 0, 0)

    def end_trust(self, supplier: bytes = BAD) -> Result:
        assert self.registry(REGULATOR, "removeMember", supplier).success
        return self.registry(REGULATOR, "distrust", supplier)

    def allowance(self, account: bytes) -> int:
        gas = int(str(self.ask_registry("gasAllowanceOf", account)[0]))
        assert self.ask_registry("isAdmitted", account) == (gas > 0,)
        return gas

    def allowances(self, *accounts: bytes) -> list[int]:
        return [self.allowance(account) for account in accounts]


@pytest.fixture
def town() -> Town:
    return Town()


def test_whom_a_distrusted_supplier_has_brought_is_admitted_no_more(town: Town) -> None:
    brought = (INVENTED, INVENTED_METER, RELAY)
    assert town.allowances(*brought) == [FIRST_ALLOWANCE] * 3
    assert only(town.end_trust(), "SupplierDistrusted") == {"supplier": BAD, "by": REGULATOR}
    assert town.allowances(*brought) == [0, 0, 0]
    assert town.allowances(OWNER, SUPPLIER, RIVAL, REGULATOR, OPERATOR) == [FIRST_ALLOWANCE] * 5
    assert town.allowance(Device("meter one").address) == FIRST_ALLOWANCE


def test_a_supplier_that_only_gives_up_leaves_its_customers_admitted(town: Town) -> None:
    assert town.registry(REGULATOR, "removeMember", BAD).success
    assert town.allowances(INVENTED, INVENTED_METER, RELAY, BAD) == [FIRST_ALLOWANCE] * 4


def test_a_distrusted_supplier_can_take_its_own_money_along_and_do_no_more(town: Town) -> None:
    assert town.registry(REGULATOR, "setGasAllowance", BAD, 30_000_000).success
    assert town.allowance(BAD) == 30_000_000
    town.end_trust()
    assert town.allowance(BAD) == MIN_ALLOWANCE
    assert reason(town.give_meter(BAD, INVENTED, NEXT_METER)) == f"NotSupplier(caller={to_data(BAD)})"
    # Its own meter, in the place of which it could put others.
    assert town.registry(BAD, "swapMeter", INVENTED_METER, NEXT_METER, 0, 0, 0, 0).success
    assert town.allowance(NEXT_METER) == 0


def test_customers_with_another_suppliers_meter_stay(town: Town) -> None:
    """Whichever of the two came first, and whichever is trusted no more."""
    assert town.give_meter(BAD, OWNER, NEXT_METER).success
    assert town.give_meter(RIVAL, INVENTED, OTHER_METER).success
    assert town.ask_registry("vouchersOf", OWNER) == ((SUPPLIER, BAD),)
    town.end_trust()
    assert town.allowances(OWNER, INVENTED, NEXT_METER, OTHER_METER) == [FIRST_ALLOWANCE] * 2 + [0, FIRST_ALLOWANCE]
    town.end_trust(RIVAL)
    assert town.allowances(OWNER, INVENTED) == [FIRST_ALLOWANCE, 0]


def test_a_regulator_or_another_supplier_admits_a_true_customer_again(town: Town) -> None:
    town.end_trust()
    assert town.registry(REGULATOR, "addMember", INVENTED, Role.CONSUMER).success
    assert town.registry(REGULATOR, "addMember", INVENTED_METER, Role.RELAY).success
    assert town.registry(REGULATOR, "removeMember", RELAY).success
    assert town.registry(REGULATOR, "addMember", RELAY, Role.RELAY).success
    assert town.allowances(INVENTED, INVENTED_METER, RELAY) == [FIRST_ALLOWANCE] * 3
    assert town.registry(REGULATOR, "removeMember", INVENTED).success
    assert town.allowance(INVENTED) == 0
    assert town.give_meter(SUPPLIER, INVENTED, OTHER_METER).success
    assert town.ask_registry("vouchersOf", INVENTED) == ((SUPPLIER,),)
    assert town.allowance(INVENTED) == FIRST_ALLOWANCE


def test_trust_comes_back(town: Town) -> None:
    town.end_trust()
    text = f"SupplierIsDistrusted(supplier={to_data(BAD)})"
    for role in (Role.SUPPLIER, Role.CONSUMER, Role.RELAY):
        assert reason(town.registry(REGULATOR, "addMember", BAD, role)) == text
    assert reason(town.registry(OPERATOR, "addRegulator", BAD)) == text
    assert reason(town.registry(REGULATOR, "distrust", BAD)) == text
    assert only(town.registry(REGULATOR, "trust", BAD), "SupplierTrusted") == {"supplier": BAD, "by": REGULATOR}
    assert town.allowances(INVENTED, INVENTED_METER, RELAY, BAD) == [FIRST_ALLOWANCE] * 4
    assert town.registry(REGULATOR, "addMember", BAD, Role.SUPPLIER).success
    text = f"SupplierNotDistrusted(supplier={to_data(BAD)})"
    assert reason(town.registry(REGULATOR, "trust", BAD)) == text


def test_trust_ends_only_after_the_role(town: Town) -> None:
    """So nobody is distrusted who has others admitted in another capacity."""
    for member, role in ((BAD, Role.SUPPLIER), (REGULATOR, Role.REGULATOR), (RELAY, Role.RELAY)):
        text = f"SupplierHasRole(supplier={to_data(member)}, role={int(role)})"
        assert reason(town.registry(REGULATOR, "distrust", member)) == text
    for caller in (SUPPLIER, OPERATOR, OWNER, STRANGER):
        for function in ("distrust", "trust"):
            assert reason(town.registry(caller, function, STRANGER)) == f"NotRegulator(caller={to_data(caller)})"


def test_a_bounded_number_of_suppliers_vouches_for_an_owner_and_a_node_can_always_ask(town: Town) -> None:
    suppliers = [bytes([0x20 + number]) * 20 for number in range(MAX_VOUCHERS + 1)]
    for number, supplier in enumerate(suppliers):
        assert town.registry(REGULATOR, "addMember", supplier, Role.SUPPLIER).success
        for repeat in range(2):
            assert town.give_meter(supplier, STRANGER, Device(f"meter {number} {repeat}").address).success
    assert town.ask_registry("vouchersOf", STRANGER) == (tuple(suppliers[:MAX_VOUCHERS]),)
    for supplier in suppliers[:MAX_VOUCHERS]:
        assert town.allowance(STRANGER) == FIRST_ALLOWANCE
        town.end_trust(supplier)
    assert town.allowance(STRANGER) == 0
    data = REGISTRY.abi.encode_call("gasAllowanceOf", [STRANGER])
    question = town.ledger.transact(STRANGER, REGISTRY_ADDRESS, data)
    assert question.success
    assert question.gas_used < QUESTION_GAS / 2
    # The place of one that is trusted no more is free.
    assert town.give_meter(suppliers[-1], STRANGER, LATE_METER).success
    assert town.allowance(STRANGER) == FIRST_ALLOWANCE


def test_suppliers_of_the_genesis_vouch_as_well() -> None:
    meters = [
        GenesisMeter(b"\x11" * 20, OWNER, SUPPLIER),
        GenesisMeter(b"\x12" * 20, OWNER, SUPPLIER),
        GenesisMeter(b"\x13" * 20, OWNER, BAD),
        GenesisMeter(b"\x14" * 20, INVENTED, BAD),
    ]
    town = Town.__new__(Town)
    town.ledger = make_ledger(genesis_alloc(OPERATOR, [SUPPLIER, BAD], meters=meters, regulators=[REGULATOR]))
    assert town.ask_registry("vouchersOf", OWNER) == ((SUPPLIER, BAD),)
    town.end_trust()
    assert town.allowances(OWNER, INVENTED, b"\x13" * 20) == [FIRST_ALLOWANCE, 0, 0]
