"""Who may name suppliers, approve sinks and register meters; and a sink that calls back."""

from pathlib import Path

import pytest

from contracts.addresses import EXHAUSTION_ADDRESS
from contracts.binding import load_artifact
from contracts.reading_format import MAX_REGISTER_WH, MeterStatus
from primitives.hexadecimal import to_data
from tests.contracts.ledgers import Result
from tests.contracts.neighbourhood import (
    METER,
    OPERATOR,
    OWNER,
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

ATTACKERS = Path(__file__).parent / "artifacts"
EVERYBODY = {"operator": OPERATOR, "supplier": SUPPLIER, "rival": RIVAL, "owner": OWNER, "stranger": STRANGER}


@pytest.fixture
def device() -> Device:
    return Device("meter one")


@pytest.fixture
def street(device: Device) -> Neighbourhood:
    return Neighbourhood(device, credit_wei=WATT)


def _register(street: Neighbourhood, sender: bytes, device: Device, sink: bytes = EXHAUSTION_ADDRESS) -> Result:
    arguments = (device.address, OWNER, sink, device.import_wh, device.export_wh)
    return street.meter(sender, "registerMeter", *arguments)


@pytest.mark.parametrize("name", [name for name in EVERYBODY if name != "operator"])
def test_only_the_operator_has_the_operators_functions(street: Neighbourhood, name: str) -> None:
    caller = EVERYBODY[name]
    for function, argument in (
        ("addSupplier", RIVAL),
        ("removeSupplier", SUPPLIER),
        ("approveSink", EXHAUSTION_ADDRESS),
        ("revokeSink", EXHAUSTION_ADDRESS),
        ("transferOperator", caller),
    ):
        assert reason(street.meter(caller, function, argument)) == f"NotOperator(caller={to_data(caller)})"


def test_the_operators_role_is_handed_over_in_two_steps(street: Neighbourhood) -> None:
    offered = street.meter(OPERATOR, "transferOperator", RIVAL)
    assert only(offered, "OperatorTransferStarted") == {"operator": OPERATOR, "pendingOperator": RIVAL}
    assert street.ask_meter("operator") == (OPERATOR,)
    assert reason(street.meter(STRANGER, "acceptOperator")) == f"NotPendingOperator(caller={to_data(STRANGER)})"
    accepted = street.meter(RIVAL, "acceptOperator")
    assert only(accepted, "OperatorTransferred") == {"previousOperator": OPERATOR, "operator": RIVAL}
    assert street.ask_meter("operator") == (RIVAL,)
    assert not street.meter(OPERATOR, "addSupplier", STRANGER).success
    assert not street.meter(RIVAL, "acceptOperator").success


def test_an_offer_of_the_role_can_be_withdrawn(street: Neighbourhood) -> None:
    street.meter(OPERATOR, "transferOperator", RIVAL)
    street.meter(OPERATOR, "transferOperator", bytes(20))
    assert not street.meter(RIVAL, "acceptOperator").success


def test_a_supplier_registers_meters_from_being_added_to_being_removed(street: Neighbourhood) -> None:
    other, third = Device("meter two", import_wh=40), Device("meter three")
    assert reason(_register(street, RIVAL, other)) == f"NotSupplier(caller={to_data(RIVAL)})"
    assert only(street.meter(OPERATOR, "addSupplier", RIVAL), "SupplierAdded") == {"supplier": RIVAL}
    assert reason(street.meter(OPERATOR, "addSupplier", RIVAL)) == f"SupplierAlreadyAdded(supplier={to_data(RIVAL)})"
    registered = _register(street, RIVAL, other)
    assert only(registered, "MeterRegistered") == {
        "meter": other.address,
        "supplier": RIVAL,
        "owner": OWNER,
        "sink": EXHAUSTION_ADDRESS,
        "openingImportWh": 40,
        "openingExportWh": 0,
    }
    expected = (MeterStatus.ACTIVE, RIVAL, OWNER, EXHAUSTION_ADDRESS)
    assert street.ask_meter("registrationOf", other.address) == expected
    assert street.ask_meter("totals")[3] == 2
    assert street.meter(OPERATOR, "removeSupplier", RIVAL).success
    assert not _register(street, RIVAL, third).success
    assert only(street.submit(other.measure(import_wh=2)), "Charged")["energyWh"] == 2
    assert reason(street.meter(OPERATOR, "removeSupplier", RIVAL)) == f"SupplierUnknown(supplier={to_data(RIVAL)})"


def test_a_meter_can_be_registered_once(street: Neighbourhood, device: Device) -> None:
    text = f"MeterAlreadyRegistered(meter={to_data(device.address)})"
    assert reason(_register(street, SUPPLIER, device)) == text
    street.meter(SUPPLIER, "removeMeter", device.address)
    assert reason(_register(street, SUPPLIER, device)) == text


def test_nothing_is_registered_without_address_or_within_range(street: Neighbourhood) -> None:
    for meter, owner in ((bytes(20), OWNER), (b"\x01" * 20, bytes(20))):
        assert (
            reason(street.meter(SUPPLIER, "registerMeter", meter, owner, EXHAUSTION_ADDRESS, 0, 0)) == "ZeroAddress()"
        )
    for opening in ((MAX_REGISTER_WH + 1, 0), (0, MAX_REGISTER_WH + 1)):
        assert not street.meter(SUPPLIER, "registerMeter", b"\x01" * 20, OWNER, EXHAUSTION_ADDRESS, *opening).success
    assert not street.meter(OPERATOR, "addSupplier", bytes(20)).success


def test_a_sink_must_be_approved_and_have_code(street: Neighbourhood) -> None:
    other = Device("meter two")
    assert reason(_register(street, SUPPLIER, other, STRANGER)) == f"SinkNotApproved(sink={to_data(STRANGER)})"
    assert reason(street.meter(OPERATOR, "approveSink", STRANGER)) == f"SinkWithoutCode(sink={to_data(STRANGER)})"
    assert street.meter(OPERATOR, "revokeSink", EXHAUSTION_ADDRESS).success
    assert street.ask_meter("isApprovedSink", EXHAUSTION_ADDRESS) == (False,)
    assert not _register(street, SUPPLIER, other).success
    assert not street.meter(OPERATOR, "revokeSink", EXHAUSTION_ADDRESS).success
    assert street.meter(OPERATOR, "approveSink", EXHAUSTION_ADDRESS).success
    assert street.ask_meter("sinkCount") == (1,)
    assert _register(street, SUPPLIER, other).success


@pytest.mark.parametrize("name", ["rival", "owner", "stranger"])
def test_only_supplier_and_operator_remove_a_meter(street: Neighbourhood, device: Device, name: str) -> None:
    caller = EVERYBODY[name]
    text = f"NotSupplierOf(meter={to_data(device.address)}, caller={to_data(caller)})"
    assert reason(street.meter(caller, "removeMeter", device.address)) == text


@pytest.mark.parametrize("name", ["supplier", "operator"])
def test_removing_a_meter_takes_its_power_out_of_the_totals(street: Neighbourhood, device: Device, name: str) -> None:
    street.submit(device.measure(import_wh=10, power_w=-300))
    removed = street.meter(EVERYBODY[name], "removeMeter", device.address)
    assert only(removed, "MeterRemoved") == {"meter": device.address, "supplier": SUPPLIER}
    assert street.ask_meter("totals") == (10, 0, 0, 0)
    text = f"MeterInactive(meter={to_data(device.address)})"
    assert reason(street.meter(SUPPLIER, "removeMeter", device.address)) == text
    unknown = b"\x05" * 20
    assert reason(street.meter(SUPPLIER, "removeMeter", unknown)) == f"MeterUnknown(meter={to_data(unknown)})"


def test_a_reinstated_meter_goes_on_without_the_energy_between(street: Neighbourhood, device: Device) -> None:
    old = device.measure(import_wh=10)
    street.submit(old)
    assert not street.meter(SUPPLIER, "reinstateMeter", device.address, 10, 0).success
    street.meter(SUPPLIER, "removeMeter", device.address)
    for caller in (OPERATOR, OWNER, RIVAL):
        assert not street.meter(caller, "reinstateMeter", device.address, 10, 0).success
    fell = street.meter(SUPPLIER, "reinstateMeter", device.address, 9, 0)
    assert reason(fell) == f"ImportFell(meter={to_data(device.address)}, importWh=9, lastImportWh=10)"
    device.import_wh += 500
    back = street.meter(SUPPLIER, "reinstateMeter", device.address, device.import_wh, 0)
    assert only(back, "MeterReinstated") == {
        "meter": device.address,
        "supplier": SUPPLIER,
        "openingImportWh": 510,
        "openingExportWh": 0,
    }
    assert (reason(street.submit(old)) or "").startswith("ReadingStale")
    following = street.submit(device.measure(import_wh=3))
    assert event_names(following) == ["ReadingAccepted", "Charged"]
    assert street.account(device)[2] == 13
    assert street.ask_meter("totals") == (13, 0, 0, 1)


def test_a_sink_that_submits_again_meets_a_finished_reading(street: Neighbourhood) -> None:
    attacker = load_artifact("ReenteringSink", ATTACKERS)
    deployment = attacker.deployment([bytes.fromhex("0000000000000000000000000000000000001001")])
    sink = street.ledger.transact(STRANGER, None, deployment).output
    street.meter(OPERATOR, "approveSink", sink)
    other = Device("meter two")
    assert _register(street, SUPPLIER, other, sink).success

    def ask(function: str) -> object:
        output = street.ledger.call(STRANGER, sink, attacker.abi.encode_call(function)).output
        return attacker.abi.decode_result(function, output)[0]

    first, second, third = (other.measure(import_wh=100, power_w=10) for _ in range(3))
    street.ledger.transact(STRANGER, sink, attacker.abi.encode_call("prepare", [first]))
    assert street.submit(first).success
    refusal = ask("refusal")
    assert isinstance(refusal, bytes)
    assert METER.error_name(refusal) == "ReadingStale"
    # The next reading from within this one is accepted after it, once.
    street.ledger.transact(STRANGER, sink, attacker.abi.encode_call("prepare", [third]))
    assert street.submit_batch([second, third]).success
    assert (ask("calls"), ask("importedTotalWh")) == (3, 300)
    assert street.ask_meter("totals") == (300, 0, 10, 2)
