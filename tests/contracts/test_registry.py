"""Who may give roles, approve sinks, install, remove and swap meters, and change tariffs; and who is admitted."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from contracts.addresses import EXHAUSTION_ADDRESS, METER_ADDRESS, REGISTRY_ADDRESS
from contracts.binding import Artifact, load_artifact
from contracts.genesis import genesis_alloc
from contracts.reading_format import MAX_REGISTER_WH, MeterStatus
from contracts.roles import Role
from contracts.tariff_format import TariffVersion
from primitives.hexadecimal import to_data
from primitives.secp256k1 import address_of
from tests.contracts.ledgers import GENESIS_TIME_S, Result, make_ledger
from tests.contracts.neighbourhood import (
    METER,
    OPERATOR,
    OWNER,
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
    consent,
    event_names,
    key_of,
    only,
    reason,
)

ATTACKERS = Path(__file__).parent / "artifacts"
PRODUCER, CONSUMER, RELAY = (address_of(key_of(name)) for name in ("producer", "consumer", "a relay"))
NOBODY = b"\x05" * 20
DAY_S = 86_400
FIRST_ALLOWANCE = 6_000_000


@dataclass
class Town(Neighbourhood):
    """A neighbourhood with somebody in each role, and a meter of the supplier's."""

    def __init__(self, device: Device) -> None:
        super().__init__(device, credit_wei=WATT)
        for address, role in ((PRODUCER, Role.PRODUCER), (CONSUMER, Role.CONSUMER), (RELAY, Role.RELAY)):
            assert self.registry(REGULATOR, "addMember", address, role).success
        assert self.registry(REGULATOR, "addMember", RIVAL, Role.SUPPLIER).success

    def role(self, account: bytes) -> Role:
        return Role(int(str(self.ask_registry("roleOf", account)[0])))

    def record(self, meter: bytes) -> tuple[object, ...]:
        (record,) = self.ask_registry("meterOf", meter)
        assert isinstance(record, tuple)
        return record

    def is_admitted(self, account: bytes) -> bool:
        admitted = bool(self.ask_registry("isAdmitted", account)[0])
        assert admitted == (self.allowance(account) > 0)
        return admitted

    def allowance(self, account: bytes) -> int:
        return int(str(self.ask_registry("gasAllowanceOf", account)[0]))


EVERYBODY = {
    "owner of the registry": OPERATOR,
    "regulator": REGULATOR,
    "supplier": SUPPLIER,
    "rival supplier": RIVAL,
    "producer": PRODUCER,
    "consumer": CONSUMER,
    "relay": RELAY,
    "customer": OWNER,
    "stranger": STRANGER,
}


@pytest.fixture
def device() -> Device:
    return Device("meter one", import_wh=100, export_wh=7)


@pytest.fixture
def town(device: Device) -> Town:
    return Town(device)


# Every role tries every function


@pytest.mark.parametrize("name", EVERYBODY)
def test_each_function_is_for_its_own_roles(name: str) -> None:
    """All functions with arguments that are good in themselves: only the caller decides."""
    caller = EVERYBODY[name]
    device, other, third = Device("meter one"), Device("meter two"), Device("meter three")
    town = Town(device)
    assert town.install(third).success
    assert town.registry(SUPPLIER, "removeMeter", third.address).success
    assert town.registry(SUPPLIER, "setTariff", device.address, 0).success
    assert town.registry(REGULATOR, "distrust", b"\x07" * 20).success
    installation = (other.address, OWNER, EXHAUSTION_ADDRESS, 0, POINT_OF_SUPPLY, 0, 0, consent(other.address, caller))
    is_owner, is_regulator = f"NotOwner(caller={to_data(caller)})", f"NotRegulator(caller={to_data(caller)})"
    of_meter = f"NotSupplierOf(meter={to_data(device.address)}, caller={to_data(caller)})"
    of_third = f"NotSupplierOf(meter={to_data(third.address)}, caller={to_data(caller)})"
    too_soon = f"TariffTooSoon(meter={to_data(device.address)}, from={GENESIS_TIME_S + DAY_S})"
    not_both = f"NotRegulatorOrSupplier(caller={to_data(caller)})"
    suppliers, regulators = {SUPPLIER, RIVAL}, {REGULATOR}
    trials: list[tuple[set[bytes], str, str, tuple[object, ...]]] = [
        ({OPERATOR}, is_owner, "addRegulator", (NOBODY,)),
        ({OPERATOR}, is_owner, "removeRegulator", (REGULATOR,)),
        ({OPERATOR}, is_owner, "transferOwnership", (caller,)),
        ({OPERATOR}, "AlreadyConnected()" if caller == OPERATOR else is_owner, "connect", (NOBODY, NOBODY)),
        (set(), f"NotPendingOwner(caller={to_data(caller)})", "acceptOwnership", ()),
        (regulators, is_regulator, "addMember", (NOBODY, Role.SUPPLIER)),
        (regulators, is_regulator, "addMember", (NOBODY, Role.PRODUCER)),
        (regulators, is_regulator, "addMember", (NOBODY, Role.CONSUMER)),
        (regulators | suppliers, not_both, "addMember", (NOBODY, Role.RELAY)),
        (set(), "RoleNotAssignable(role=1)", "addMember", (NOBODY, Role.REGULATOR)),
        (set(), "RoleNotAssignable(role=0)", "addMember", (NOBODY, Role.NONE)),
        (regulators, is_regulator, "removeMember", (PRODUCER,)),
        (regulators, is_regulator, "removeMember", (CONSUMER,)),
        (regulators, is_regulator, "removeMember", (RIVAL,)),
        (regulators, is_regulator, "removeMember", (RELAY,)),
        (regulators, is_regulator, "approveSink", (EXHAUSTION_ADDRESS,)),
        (regulators, is_regulator, "revokeSink", (EXHAUSTION_ADDRESS,)),
        (regulators, is_regulator, "setDefaultGasAllowance", (2_000_000,)),
        (regulators, is_regulator, "setGasAllowance", (NOBODY, 2_000_000)),
        (regulators, is_regulator, "distrust", (NOBODY,)),
        (regulators, is_regulator, "trust", (b"\x07" * 20,)),
        (suppliers, f"NotSupplier(caller={to_data(caller)})", "installMeter", installation),
        ({SUPPLIER}, of_meter, "setTariff", (device.address, 0)),
        ({OWNER}, too_soon, "applyTariff", (device.address, 0)),
        (
            {SUPPLIER},
            of_meter,
            "swapMeter",
            (device.address, other.address, 0, 0, 0, 0, consent(other.address, caller)),
        ),
        ({SUPPLIER, REGULATOR}, of_meter, "removeMeter", (device.address,)),
        ({SUPPLIER}, of_third, "reinstateMeter", (third.address, 0, 0)),
    ]
    functions = {
        entry["name"] for entry in REGISTRY.abi_json if entry.get("stateMutability") == "nonpayable" and "name" in entry
    }
    assert {function for _, _, function, _ in trials} == functions
    for allowed, refusal, function, arguments in trials:
        data = REGISTRY.abi.encode_call(function, arguments)
        result = town.ledger.call(caller, REGISTRY_ADDRESS, data)
        expected = None if caller in allowed and function != "connect" else refusal
        assert reason(result) == expected, function


@pytest.mark.parametrize("name", EVERYBODY)
def test_nobody_but_the_registry_keeps_the_meters(town: Town, device: Device, name: str) -> None:
    caller, successor = EVERYBODY[name], b"\x06" * 20
    for function, arguments in (
        ("open", (successor, SUPPLIER, EXHAUSTION_ADDRESS, 0, 0, 0)),
        ("close", (device.address,)),
        ("swap", (device.address, successor, 500, 500, 0, 0)),
        ("assignTariff", (device.address, 1)),
    ):
        assert reason(town.meter(caller, function, *arguments)) == f"NotRegistry(caller={to_data(caller)})"


# The owner, regulators, members


def test_ownership_is_handed_over_in_two_steps(town: Town) -> None:
    offered = town.registry(OPERATOR, "transferOwnership", RIVAL)
    assert only(offered, "OwnershipTransferStarted") == {"owner": OPERATOR, "pendingOwner": RIVAL}
    assert town.ask_registry("owner") == (OPERATOR,)
    assert not town.registry(STRANGER, "acceptOwnership").success
    accepted = town.registry(RIVAL, "acceptOwnership")
    assert only(accepted, "OwnershipTransferred") == {"previousOwner": OPERATOR, "owner": RIVAL}
    assert town.ask_registry("owner") == (RIVAL,)
    assert not town.registry(OPERATOR, "addRegulator", STRANGER).success
    assert not town.registry(RIVAL, "acceptOwnership").success
    assert (town.is_admitted(OPERATOR), town.is_admitted(RIVAL)) == (False, True)


def test_an_offer_of_ownership_can_be_withdrawn(town: Town) -> None:
    town.registry(OPERATOR, "transferOwnership", RIVAL)
    town.registry(OPERATOR, "transferOwnership", bytes(20))
    assert not town.registry(RIVAL, "acceptOwnership").success


def test_regulators_come_and_go_by_the_owner(town: Town) -> None:
    added = town.registry(OPERATOR, "addRegulator", STRANGER)
    assert only(added, "RegulatorAdded") == {"regulator": STRANGER, "by": OPERATOR}
    assert town.role(STRANGER) is Role.REGULATOR
    assert town.registry(STRANGER, "addMember", NOBODY, Role.CONSUMER).success
    refused = town.registry(STRANGER, "removeMember", REGULATOR)
    assert reason(refused) == "RoleNotAssignable(role=1)"
    removed = town.registry(OPERATOR, "removeRegulator", STRANGER)
    assert only(removed, "RegulatorRemoved") == {"regulator": STRANGER, "by": OPERATOR}
    assert not town.registry(STRANGER, "removeMember", NOBODY).success
    text = f"RoleMissing(account={to_data(PRODUCER)}, role=1)"
    assert reason(town.registry(OPERATOR, "removeRegulator", PRODUCER)) == text


def test_roles_are_mutually_exclusive(town: Town) -> None:
    for address in (REGULATOR, SUPPLIER, PRODUCER, CONSUMER, RELAY):
        role = town.role(address)
        text = f"RoleTaken(account={to_data(address)}, role={int(role)})"
        for other in (Role.SUPPLIER, Role.PRODUCER, Role.CONSUMER, Role.RELAY):
            assert reason(town.registry(REGULATOR, "addMember", address, other)) == text
        assert reason(town.registry(OPERATOR, "addRegulator", address)) == text
        assert town.role(address) is role
    assert reason(town.registry(REGULATOR, "addMember", bytes(20), Role.PRODUCER)) == "ZeroAddress()"
    changed = town.registry(REGULATOR, "removeMember", PRODUCER)
    assert only(changed, "MemberRemoved") == {"account": PRODUCER, "role": Role.PRODUCER, "by": REGULATOR}
    again = town.registry(REGULATOR, "addMember", PRODUCER, Role.CONSUMER)
    assert only(again, "MemberAdded") == {"account": PRODUCER, "role": Role.CONSUMER, "by": REGULATOR}
    assert town.role(PRODUCER) is Role.CONSUMER
    text = f"RoleMissing(account={to_data(NOBODY)}, role=0)"
    assert reason(town.registry(REGULATOR, "removeMember", NOBODY)) == text


def test_a_supplier_takes_away_the_relays_it_added_and_no_others(town: Town) -> None:
    assert town.registry(SUPPLIER, "addMember", NOBODY, Role.RELAY).success
    assert town.ask_registry("relayAddedBy", NOBODY) == (SUPPLIER,)
    assert not town.registry(RIVAL, "removeMember", NOBODY).success
    assert not town.registry(SUPPLIER, "removeMember", RELAY).success
    assert town.registry(SUPPLIER, "removeMember", NOBODY).success
    assert town.ask_registry("relayAddedBy", NOBODY) == (bytes(20),)
    assert town.registry(SUPPLIER, "addMember", NOBODY, Role.RELAY).success
    assert town.registry(REGULATOR, "removeMember", SUPPLIER).success
    assert not town.registry(SUPPLIER, "removeMember", NOBODY).success
    assert town.registry(REGULATOR, "removeMember", NOBODY).success


# Who is admitted


def test_people_meters_and_relays_are_admitted_and_no_strangers(town: Town, device: Device) -> None:
    for address in {*EVERYBODY.values(), device.address} - {STRANGER}:
        assert town.allowance(address) == FIRST_ALLOWANCE
    for address in (STRANGER, NOBODY, bytes(20)):
        assert not town.is_admitted(address)


def test_who_leaves_can_still_take_the_own_money_along(town: Town, device: Device) -> None:
    town.registry(SUPPLIER, "removeMeter", device.address)
    town.registry(REGULATOR, "removeMember", SUPPLIER)
    town.registry(REGULATOR, "removeMember", PRODUCER)
    assert town.is_admitted(OWNER)
    assert town.is_admitted(SUPPLIER)
    assert not town.is_admitted(device.address)
    assert not town.is_admitted(PRODUCER)


def test_regulators_set_the_gas_that_senders_have_a_block(town: Town) -> None:
    default = town.registry(REGULATOR, "setDefaultGasAllowance", 2_000_000)
    assert only(default, "DefaultGasAllowanceSet") == {"gas": 2_000_000, "by": REGULATOR}
    own = town.registry(REGULATOR, "setGasAllowance", RELAY, 30_000_000)
    assert only(own, "GasAllowanceSet") == {"account": RELAY, "gas": 30_000_000, "by": REGULATOR}
    assert [town.allowance(one) for one in (CONSUMER, RELAY, STRANGER)] == [2_000_000, 30_000_000, 0]
    assert town.ask_registry("defaultGasAllowance") == (2_000_000,)
    town.registry(REGULATOR, "setGasAllowance", STRANGER, 1_000_000)
    assert not town.is_admitted(STRANGER)
    town.registry(REGULATOR, "setGasAllowance", RELAY, 0)
    assert town.allowance(RELAY) == 2_000_000
    for gas in (999_999, 30_000_001):
        text = f"GasAllowanceInvalid(gas={gas}, minimum=1000000, maximum=30000000)"
        assert reason(town.registry(REGULATOR, "setDefaultGasAllowance", gas)) == text
        assert reason(town.registry(REGULATOR, "setGasAllowance", RELAY, gas)) == text


# Meters


def test_an_installed_meter_is_on_record_and_counts_from_its_registers(town: Town) -> None:
    other = Device("meter two", import_wh=40)
    installed = town.install(other, RIVAL)
    assert only(installed, "MeterInstalled") == {
        "meter": other.address,
        "supplier": RIVAL,
        "owner": OWNER,
        "sink": EXHAUSTION_ADDRESS,
        "tariff": 0,
        "pointOfSupply": POINT_OF_SUPPLY,
        "openingImportWh": 40,
        "openingExportWh": 0,
    }
    assert town.record(other.address) == (
        OWNER,
        RIVAL,
        MeterStatus.ACTIVE,
        EXHAUSTION_ADDRESS,
        0,
        POINT_OF_SUPPLY,
        GENESIS_TIME_S,
        0,
        bytes(20),
        bytes(20),
    )
    assert town.ask_registry("registrationOf", other.address) == (MeterStatus.ACTIVE, RIVAL, OWNER, EXHAUSTION_ADDRESS)
    assert town.ask_meter("totals")[3] == 2
    assert town.registry(REGULATOR, "removeMember", RIVAL).success
    assert reason(town.install(Device("meter three"), RIVAL)) == f"NotSupplier(caller={to_data(RIVAL)})"
    assert only(town.submit(other.measure(import_wh=2)), "Charged")["energyWh"] == 2


def test_a_meter_can_be_installed_once(town: Town, device: Device) -> None:
    text = f"MeterAlreadyInstalled(meter={to_data(device.address)})"
    assert reason(town.install(device)) == text
    town.registry(SUPPLIER, "removeMeter", device.address)
    assert reason(town.install(device)) == text


def test_nothing_is_installed_without_address_or_within_range(town: Town) -> None:
    def install(meter: bytes, owner: bytes, opening_wh: tuple[int, int] = (0, 0), tariff: int = 0) -> str:
        arguments = (meter, owner, EXHAUSTION_ADDRESS, tariff, POINT_OF_SUPPLY, *opening_wh)
        return reason(town.registry(SUPPLIER, "installMeter", *arguments)) or ""

    other = Device("meter two").address
    assert install(bytes(20), OWNER) == install(other, bytes(20)) == "ZeroAddress()"
    for opening_wh in ((MAX_REGISTER_WH + 1, 0), (0, MAX_REGISTER_WH + 1)):
        assert install(other, OWNER, opening_wh).startswith("ReadingOutOfRange(")


def test_a_sink_must_be_approved_and_have_code(town: Town) -> None:
    other = Device("meter two")
    assert reason(town.install(other, sink=STRANGER)) == f"SinkNotApproved(sink={to_data(STRANGER)})"
    assert (
        reason(town.registry(REGULATOR, "approveSink", STRANGER)) == f"ContractWithoutCode(target={to_data(STRANGER)})"
    )
    revoked = town.registry(REGULATOR, "revokeSink", EXHAUSTION_ADDRESS)
    assert only(revoked, "SinkRevoked") == {"sink": EXHAUSTION_ADDRESS, "by": REGULATOR}
    assert town.ask_registry("isApprovedSink", EXHAUSTION_ADDRESS) == (False,)
    assert not town.install(other).success
    assert not town.registry(REGULATOR, "revokeSink", EXHAUSTION_ADDRESS).success
    approved = town.registry(REGULATOR, "approveSink", EXHAUSTION_ADDRESS)
    assert only(approved, "SinkApproved") == {"sink": EXHAUSTION_ADDRESS, "by": REGULATOR}
    assert town.install(other).success
    assert town.ask_meter("sinkCount") == (1,)


@pytest.mark.parametrize("remover", [SUPPLIER, REGULATOR], ids=["supplier", "regulator"])
def test_removing_a_meter_takes_its_power_out_of_the_totals(town: Town, device: Device, remover: bytes) -> None:
    town.submit(device.measure(import_wh=10, power_w=-300))
    removed = town.registry(remover, "removeMeter", device.address)
    assert only(removed, "MeterRemoved") == {"meter": device.address, "supplier": SUPPLIER, "by": remover}
    assert town.ask_meter("totals") == (10, 0, 0, 0)
    assert town.record(device.address)[7] == GENESIS_TIME_S
    text = f"MeterInactive(meter={to_data(device.address)})"
    assert reason(town.registry(SUPPLIER, "removeMeter", device.address)) == text
    assert reason(town.registry(SUPPLIER, "removeMeter", NOBODY)) == f"MeterUnknown(meter={to_data(NOBODY)})"


def test_a_reinstated_meter_goes_on_without_the_energy_between(town: Town, device: Device) -> None:
    old = device.measure(import_wh=10)
    town.submit(old)
    assert not town.registry(SUPPLIER, "reinstateMeter", device.address, 110, 7).success
    town.registry(SUPPLIER, "removeMeter", device.address)
    fell = town.registry(SUPPLIER, "reinstateMeter", device.address, 109, 7)
    assert reason(fell) == f"ImportFell(meter={to_data(device.address)}, importWh=109, lastImportWh=110)"
    device.import_wh += 500
    back = town.registry(SUPPLIER, "reinstateMeter", device.address, device.import_wh, 7)
    assert only(back, "MeterReinstated") == {
        "meter": device.address,
        "supplier": SUPPLIER,
        "openingImportWh": 610,
        "openingExportWh": 7,
    }
    assert town.record(device.address)[7] == 0
    assert (reason(town.submit(old)) or "").startswith("ReadingStale")
    device.time_s = GENESIS_TIME_S
    following = town.submit(device.measure(import_wh=3))
    assert event_names(following) == ["ReadingAccepted", "Charged"]
    assert town.account(device)[2] == 13
    assert town.ask_meter("totals") == (13, 0, 0, 1)


# A meter, or its key, is replaced


def _swap(town: Town, device: Device, successor: Device, closing_wh: tuple[int, int]) -> Result:
    opening_wh = (successor.import_wh, successor.export_wh)
    return town.registry(SUPPLIER, "swapMeter", device.address, successor.address, *closing_wh, *opening_wh)


def test_a_swap_charges_up_to_the_closing_registers_and_credit_goes_on(town: Town, device: Device) -> None:
    town.submit(device.measure(import_wh=1_000, power_w=400))
    successor = Device("its successor", GENESIS_TIME_S, import_wh=5, export_wh=6)
    swapped = _swap(town, device, successor, (1_150, 9))
    assert event_names(swapped) == ["MeterSwapped", "DayClosed", "RegistersClosed", "Charged", "CreditMoved"]
    assert only(swapped, "MeterSwapped") == {
        "meter": device.address,
        "successor": successor.address,
        "supplier": SUPPLIER,
        "closingImportWh": 1_150,
        "closingExportWh": 9,
        "openingImportWh": 5,
        "openingExportWh": 6,
    }
    assert only(swapped, "Charged")["energyWh"] == 50
    assert only(swapped, "RegistersClosed")["time"] == GENESIS_TIME_S
    assert town.account(successor) == (WATT - 1_050 * RATE_WEI_PER_WH, 0, 1_050)
    assert town.account(device) == (0, 0, 0)
    assert town.ask_meter("totals") == (1_050, 2, 0, 1)
    assert town.supply_allowed(successor)
    assert not town.supply_allowed(device)
    old, new = town.record(device.address), town.record(successor.address)
    assert (old[2], old[7], old[9]) == (MeterStatus.REMOVED, GENESIS_TIME_S, successor.address)
    assert new == (*old[:2], MeterStatus.ACTIVE, *old[3:6], GENESIS_TIME_S, 0, device.address, bytes(20))
    assert (town.is_admitted(device.address), town.is_admitted(successor.address)) == (False, True)
    assert (reason(town.submit(device.measure(import_wh=1))) or "").startswith("MeterInactive")
    assert only(town.submit(successor.measure(import_wh=20)), "Charged")["energyWh"] == 20
    text = f"MeterHasSuccessor(meter={to_data(device.address)}, successor={to_data(successor.address)})"
    assert reason(town.registry(SUPPLIER, "reinstateMeter", device.address, 2_000, 9)) == text


def test_a_key_rotation_is_a_swap_with_the_same_registers(town: Town, device: Device) -> None:
    town.submit(device.measure(import_wh=1_000))
    successor = Device("its new key", GENESIS_TIME_S, import_wh=device.import_wh, export_wh=device.export_wh)
    swapped = _swap(town, device, successor, (device.import_wh, device.export_wh))
    assert only(swapped, "Charged")["costWei"] == 0
    first = town.submit(successor.measure(import_wh=30))
    assert event_names(first) == ["ReadingAccepted", "Charged"]
    assert town.account(successor)[2] == 1_030


def test_closing_and_opening_registers_must_make_sense(town: Town, device: Device) -> None:
    town.submit(device.measure(import_wh=1_000))
    successor, other = Device("its successor"), Device("meter two")
    text = f"ImportFell(meter={to_data(device.address)}, importWh=1099, lastImportWh=1100)"
    assert reason(_swap(town, device, successor, (1_099, 7))) == text
    text = f"ExportFell(meter={to_data(device.address)}, exportWh=6, lastExportWh=7)"
    assert reason(_swap(town, device, successor, (1_100, 6))) == text
    assert (reason(_swap(town, device, successor, (MAX_REGISTER_WH + 1, 7))) or "").startswith("ReadingOutOfRange(")
    successor.import_wh = MAX_REGISTER_WH + 1
    assert (reason(_swap(town, device, successor, (1_100, 7))) or "").startswith("ReadingOutOfRange(")
    assert town.install(other).success
    for taken in (other, device):
        text = f"MeterAlreadyInstalled(meter={to_data(taken.address)})"
        assert reason(_swap(town, device, taken, (1_100, 7))) == text
    nobody = town.registry(SUPPLIER, "swapMeter", device.address, bytes(20), 1_100, 7, 0, 0)
    assert reason(nobody) == "ZeroAddress()"
    assert town.account(device)[2] == 1_000


def test_debt_goes_on_with_the_successor(town: Town, device: Device) -> None:
    town.submit(device.measure(import_wh=6_000))
    successor = Device("its successor")
    moved = only(_swap(town, device, successor, (6_100, 7)), "CreditMoved")
    assert moved["balanceWei"] == -1_000 * RATE_WEI_PER_WH
    assert town.account(successor)[1] == 1_000 * RATE_WEI_PER_WH
    assert town.top_up(successor, WATT).success
    assert reason(town.top_up(device, WATT)) is not None


# Tariffs


def test_a_meter_gets_another_tariff_after_notice_or_by_its_owners_consent(town: Town, device: Device) -> None:
    announced = town.registry(SUPPLIER, "setTariff", device.address, 0)
    start = GENESIS_TIME_S + DAY_S
    assert only(announced, "TariffAnnounced") == {
        "meter": device.address,
        "supplier": SUPPLIER,
        "tariff": 0,
        "from": start,
    }
    assert town.ask_registry("nextTariffOf", device.address) == (0, start)
    town.ledger.time_s = start - 1
    assert not town.registry(STRANGER, "applyTariff", device.address, 0).success
    town.ledger.time_s = start
    assigned = town.registry(STRANGER, "applyTariff", device.address, 0)
    assert only(assigned, "TariffAssigned") == {"meter": device.address, "supplier": SUPPLIER, "tariff": 0}
    text = f"TariffNotAnnounced(meter={to_data(device.address)}, tariff=0)"
    assert reason(town.registry(OWNER, "applyTariff", device.address, 0)) == text


def test_an_owner_agrees_to_one_tariff_and_to_no_other_that_is_announced_meanwhile(town: Town, device: Device) -> None:
    """The supplier sees the owner's transaction, and is faster."""
    for price in (RATE_WEI_PER_WH // 2, 10 * RATE_WEI_PER_WH):
        version = TariffVersion.flat(price).argument()
        assert town.tariffs(SUPPLIER, "createTariff", b"another".ljust(32, b"\0"), 0, version).success
    cheap, dear = 2, 3
    assert town.registry(SUPPLIER, "setTariff", device.address, cheap).success
    assert town.registry(SUPPLIER, "setTariff", device.address, dear).success
    text = f"TariffNotAnnounced(meter={to_data(device.address)}, tariff={cheap})"
    assert reason(town.registry(OWNER, "applyTariff", device.address, cheap)) == text
    assert town.ask_meter("linkOf", device.address)[3] == 1


def test_a_meter_has_its_own_suppliers_tariffs_only(town: Town, device: Device) -> None:
    """Tariff 1 is the supplier's from the genesis on, 2 the rival's, 3 the supplier's again; there is no 4."""
    for supplier, price in ((RIVAL, 7), (SUPPLIER, 2)):
        version = TariffVersion.flat(price).argument()
        assert town.tariffs(supplier, "createTariff", b"another".ljust(32, b"\0"), 0, version).success
    other = Device("meter two")
    for tariff in (2, 4, 2**32 - 1):
        text = f"TariffNotOfSupplier(tariff={tariff}, supplier={to_data(SUPPLIER)})"
        assert reason(town.registry(SUPPLIER, "setTariff", device.address, tariff)) == text
        assert reason(town.install(other, tariff=tariff)) == text
    assert only(town.install(other, RIVAL, tariff=2), "MeterInstalled")["tariff"] == 2
    assert town.ask_meter("linkOf", other.address)[3] == 2
    assert town.registry(SUPPLIER, "setTariff", device.address, 3).success
    assert only(town.registry(OWNER, "applyTariff", device.address, 3), "TariffAssigned")["tariff"] == 3
    assert town.ask_meter("linkOf", device.address)[3] == town.record(device.address)[4] == 3
    device.time_s = GENESIS_TIME_S
    assert only(town.submit(device.measure(import_wh=10)), "Charged")["costWei"] == 20


def test_an_announced_tariff_goes_to_the_successor_and_not_back_to_a_removed_meter(town: Town, device: Device) -> None:
    town.registry(SUPPLIER, "setTariff", device.address, 0)
    successor = Device("its successor")
    assert _swap(town, device, successor, (100, 7)).success
    assert town.ask_registry("nextTariffOf", device.address) == (0, 0)
    assert town.ask_registry("nextTariffOf", successor.address) == (0, GENESIS_TIME_S + DAY_S)
    town.registry(SUPPLIER, "removeMeter", successor.address)
    assert town.ask_registry("nextTariffOf", successor.address) == (0, 0)


# Once, at its beginning; and a sink that calls back


def test_a_registry_is_connected_once_with_contracts() -> None:
    ledger = make_ledger(genesis_alloc(OPERATOR))
    registry = ledger.transact(OPERATOR, None, REGISTRY.deployment([OPERATOR])).output

    def connect(*addresses: bytes) -> Result:
        return ledger.transact(OPERATOR, registry, REGISTRY.abi.encode_call("connect", addresses))

    for addresses in ((NOBODY, METER_ADDRESS), (METER_ADDRESS, NOBODY)):
        assert reason(connect(*addresses)) == f"ContractWithoutCode(target={to_data(NOBODY)})"
    (log,) = connect(METER_ADDRESS, EXHAUSTION_ADDRESS).logs
    connected = REGISTRY.abi.decode_log(log.topics, log.data)
    assert connected is not None
    assert dict(connected.arguments) == {"meterContract": METER_ADDRESS, "tariffs": EXHAUSTION_ADDRESS}
    assert reason(connect(METER_ADDRESS, EXHAUSTION_ADDRESS)) == "AlreadyConnected()"


def test_a_sink_that_submits_again_meets_a_finished_reading(town: Town) -> None:
    attacker = load_artifact("ReenteringSink", ATTACKERS)
    sink = town.ledger.transact(STRANGER, None, attacker.deployment([METER_ADDRESS])).output
    town.registry(REGULATOR, "approveSink", sink)
    other = Device("meter two")
    assert town.install(other, sink=sink).success
    assert town.ask_meter("sinkCount") == (2,)

    def ask(function: str) -> object:
        return _ask(town, sink, attacker, function)

    first, second, third = (other.measure(import_wh=100, power_w=10) for _ in range(3))
    town.ledger.transact(STRANGER, sink, attacker.abi.encode_call("prepare", [first]))
    assert town.submit(first).success
    refusal = ask("refusal")
    assert isinstance(refusal, bytes)
    assert METER.error_name(refusal) == "ReadingStale"
    # The next reading from within this one is accepted after it, once.
    town.ledger.transact(STRANGER, sink, attacker.abi.encode_call("prepare", [third]))
    assert town.submit_batch([second, third]).success
    assert (ask("calls"), ask("importedTotalWh")) == (3, 300)
    assert town.ask_meter("totals") == (300, 0, 10, 2)


def _ask(town: Town, address: bytes, artifact: Artifact, function: str) -> object:
    output = town.ledger.call(STRANGER, address, artifact.abi.encode_call(function)).output
    return artifact.abi.decode_result(function, output)[0]
