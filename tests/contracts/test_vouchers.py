"""Long vouchers: redeemed once by the right meter on the right chain, revoked, expired, forged; and their text."""

from dataclasses import replace
from itertools import pairwise

import pytest

from contracts.addresses import EXHAUSTION_ADDRESS
from contracts.reading_format import compact_signature
from contracts.roles import Role
from contracts.voucher_format import (
    NO_SIGNATURE,
    VOUCHER_FIELDS,
    SignedVoucher,
    Voucher,
    issue_voucher,
    voucher_from_text,
    voucher_typed_data,
)
from primitives.errors import UserError
from primitives.hexadecimal import to_data
from primitives.secp256k1 import address_of, sign
from tests.contracts.ledgers import CHAIN_ID, GENESIS_TIME_S, Result
from tests.contracts.neighbourhood import (
    EXHAUSTION,
    REGULATOR,
    RIVAL,
    STRANGER,
    SUPPLIER,
    Device,
    Neighbourhood,
    event_names,
    key_of,
    only,
    reason,
)

EXPIRY_S = GENESIS_TIME_S + 1_000
SUPPLIER_KEY, HOLDER_KEY = key_of("supplier"), key_of("holder")


@pytest.fixture
def device() -> Device:
    return Device("meter one")


@pytest.fixture
def street(device: Device) -> Neighbourhood:
    """The supplier has 1,000 wei here."""
    made = Neighbourhood(device)
    data = EXHAUSTION.abi.encode_call("deposit", [SUPPLIER])
    assert made.ledger.transact(SUPPLIER, EXHAUSTION_ADDRESS, data, 1_000).success
    return made


def voucher_for(device: Device, serial: int = 7, amount_wei: int = 300, chain_id: int = CHAIN_ID) -> SignedVoucher:
    return issue_voucher(SUPPLIER_KEY, amount_wei, serial, EXPIRY_S, chain_id, meter=device.address)


def redeem(street: Neighbourhood, signed: SignedVoucher, device: Device, sender: bytes = STRANGER) -> Result:
    return street.exhaustion(sender, "redeem", *signed.redemption(device.address))


def status(street: Neighbourhood, serial: int = 7) -> object:
    return street.ask_exhaustion("voucherStatus", SUPPLIER, serial)[0]


def test_a_voucher_is_redeemed_once_out_of_the_suppliers_account(street: Neighbourhood, device: Device) -> None:
    result = redeem(street, voucher_for(device), device)
    assert event_names(result) == ["VoucherRedeemed", "ToppedUp", "Restored"]
    assert only(result, "VoucherRedeemed") == {
        "supplier": SUPPLIER,
        "meter": device.address,
        "serial": 7,
        "amountWei": 300,
        "by": STRANGER,
    }
    assert (street.account(device)[0], street.supplier_account()) == (300, 700)
    assert street.ledger.balance(EXHAUSTION_ADDRESS) == 1_000
    again = redeem(street, voucher_for(device), device)
    assert reason(again) == f"VoucherNotOpen(supplier={to_data(SUPPLIER)}, serial=7, status=1)"
    # The same serial number is used up, whatever else it says; its neighbours are not.
    assert not redeem(street, voucher_for(device, amount_wei=1), device).success
    assert [status(street, serial) for serial in (6, 7, 8, 135)] == [0, 1, 0, 0]
    assert redeem(street, voucher_for(device, serial=8), device).success


def test_a_voucher_pays_what_is_overdrawn_like_any_top_up(street: Neighbourhood, device: Device) -> None:
    device.time_s = GENESIS_TIME_S
    street.submit(device.measure(import_wh=0))
    assert redeem(street, voucher_for(device), device).success
    assert only(redeem(street, voucher_for(device, serial=8), device), "ToppedUp")["payer"] == SUPPLIER


def test_a_bearers_voucher_goes_to_the_meter_that_its_key_names(street: Neighbourhood, device: Device) -> None:
    other = Device("meter two")
    street.install(other, tariff=1)
    signed = issue_voucher(SUPPLIER_KEY, 300, 9, EXPIRY_S, CHAIN_ID, holder_key=HOLDER_KEY)
    # Somebody has seen the transaction, and wants it for another meter.
    voucher, signature, _, holder_signature = signed.redemption(device.address)
    stolen = street.exhaustion(STRANGER, "redeem", voucher, signature, other.address, holder_signature)
    assert reason(stolen) == f"VoucherSignatureInvalid(signer={to_data(address_of(HOLDER_KEY))})"
    bare = street.exhaustion(STRANGER, "redeem", voucher, signature, other.address, NO_SIGNATURE)
    assert not bare.success
    assert redeem(street, signed, device).success
    assert (street.account(device)[0], street.account(other)[0]) == (300, 0)
    assert not redeem(street, signed, other).success


def test_it_is_worth_nothing_elsewhere(street: Neighbourhood, device: Device) -> None:
    other = Device("meter two")
    street.install(other, tariff=1)
    assert reason(redeem(street, voucher_for(device), other)) == (
        f"VoucherForAnotherMeter(meter={to_data(other.address)}, voucherMeter={to_data(device.address)})"
    )
    invalid = f"VoucherSignatureInvalid(signer={to_data(SUPPLIER)})"
    assert reason(redeem(street, voucher_for(device, chain_id=CHAIN_ID + 1), device)) == invalid
    elsewhere = issue_voucher(SUPPLIER_KEY, 300, 7, EXPIRY_S, CHAIN_ID, meter=device.address, exhaustion=b"\x99" * 20)
    assert reason(redeem(street, elsewhere, device)) == invalid
    assert status(street) == 0


def test_another_suppliers_meters_are_not_for_it(street: Neighbourhood, device: Device) -> None:
    other = Device("meter two")
    street.registry(REGULATOR, "addMember", RIVAL, Role.SUPPLIER)
    street.install(other, RIVAL)
    signed = issue_voucher(SUPPLIER_KEY, 300, 9, EXPIRY_S, CHAIN_ID, holder_key=HOLDER_KEY)
    assert (reason(redeem(street, signed, other)) or "").startswith("VoucherOfAnotherSupplier(")
    unknown = redeem(street, signed, Device("nobody's"))
    assert (reason(unknown) or "").startswith("VoucherOfAnotherSupplier(")


def test_a_successor_redeems_what_was_for_the_meter(street: Neighbourhood, device: Device) -> None:
    successor = Device("successor")
    street.registry(SUPPLIER, "swapMeter", device.address, successor.address, 0, 0, 0, 0)
    assert redeem(street, voucher_for(device), successor).success
    assert street.account(successor)[0] == 300


def test_a_voucher_goes_on_over_many_changes_of_a_meter_but_not_over_all(street: Neighbourhood, device: Device) -> None:
    """Sixteen, and no more: the search must end."""
    chain = [device, *(Device(f"device {number}") for number in range(17))]
    for before, after in pairwise(chain):
        if after is chain[-1]:
            assert redeem(street, voucher_for(device, serial=8), before).success
        assert street.registry(SUPPLIER, "swapMeter", before.address, after.address, 0, 0, 0, 0).success
    assert street.account(chain[-1])[0] == 300
    assert (reason(redeem(street, voucher_for(device), chain[-1])) or "").startswith("VoucherForAnotherMeter(")
    assert redeem(street, voucher_for(chain[1]), chain[-1]).success
    # Not the other way round: what was for the successor is not for the meter that was there before.
    backwards = redeem(street, voucher_for(chain[2], serial=9), chain[1])
    assert (reason(backwards) or "").startswith("VoucherForAnotherMeter(")


def test_a_voucher_expires_after_its_last_second(street: Neighbourhood, device: Device) -> None:
    street.ledger.time_s = EXPIRY_S + 1
    text = f"VoucherExpired(supplier={to_data(SUPPLIER)}, serial=7, expiry={EXPIRY_S})"
    assert reason(redeem(street, voucher_for(device), device)) == text
    street.ledger.time_s = EXPIRY_S
    assert redeem(street, voucher_for(device), device).success


def test_a_supplier_revokes_its_own_open_vouchers(street: Neighbourhood, device: Device) -> None:
    redeem(street, voucher_for(device, serial=8), device)
    assert event_names(street.exhaustion(RIVAL, "revokeVouchers", [7])) == ["VoucherRevoked"]
    assert status(street) == 0
    revoked = street.exhaustion(SUPPLIER, "revokeVouchers", [7, 7, 8, 135])
    assert event_names(revoked) == ["VoucherRevoked", "VoucherRevoked"]
    assert [status(street, serial) for serial in (7, 8, 135)] == [2, 1, 2]
    refused = redeem(street, voucher_for(device), device)
    assert reason(refused) == f"VoucherNotOpen(supplier={to_data(SUPPLIER)}, serial=7, status=2)"
    many = street.exhaustion(SUPPLIER, "revokeVouchers", list(range(65)))
    assert reason(many) == "SerialCountInvalid(count=65, maximum=64)"


def test_a_voucher_above_the_account_stays_open(street: Neighbourhood, device: Device) -> None:
    signed = voucher_for(device, amount_wei=1_001)
    text = f"AccountTooSmall(supplier={to_data(SUPPLIER)}, amountWei=1001, accountWei=1000)"
    assert reason(redeem(street, signed, device)) == text
    assert status(street) == 0
    data = EXHAUSTION.abi.encode_call("deposit", [SUPPLIER])
    street.ledger.transact(STRANGER, EXHAUSTION_ADDRESS, data, 1)
    assert redeem(street, signed, device).success


@pytest.mark.parametrize("name", ["operator", "regulator", "rival", "owner", "stranger", "meter one"])
def test_nobody_else_signs_for_the_supplier(street: Neighbourhood, device: Device, name: str) -> None:
    voucher = replace(voucher_for(device).voucher)
    forged = compact_signature(*sign(voucher_typed_data(CHAIN_ID).hash(voucher.fields()), key_of(name)))
    result = redeem(street, SignedVoucher(voucher, forged, CHAIN_ID), device)
    assert reason(result) == f"VoucherSignatureInvalid(signer={to_data(SUPPLIER)})"


def test_vouchers_without_a_meter_and_a_holder_or_with_both_are_refused(street: Neighbourhood, device: Device) -> None:
    for meter, holder in ((bytes(20), bytes(20)), (device.address, address_of(HOLDER_KEY))):
        voucher = Voucher(SUPPLIER, 300, 7, EXPIRY_S, meter, holder)
        signature = compact_signature(*sign(voucher_typed_data(CHAIN_ID).hash(voucher.fields()), SUPPLIER_KEY))
        result = redeem(street, SignedVoucher(voucher, signature, CHAIN_ID), device)
        assert (reason(result) or "").startswith("VoucherIncomplete(")
    nothing = Voucher(SUPPLIER, 0, 7, EXPIRY_S, device.address)
    assert reason(redeem(street, SignedVoucher(nothing, NO_SIGNATURE, CHAIN_ID), device)) == "AmountZero()"


def test_the_contract_hashes_as_python_does(street: Neighbourhood, device: Device) -> None:
    voucher = voucher_for(device).voucher
    typed_data = voucher_typed_data(CHAIN_ID)
    assert street.ask_exhaustion("hashVoucher", voucher.argument()) == (typed_data.struct_hash(voucher.fields()),)
    entry = next(one for one in EXHAUSTION.abi_json if one.get("name") == "hashVoucher")
    members = tuple((member["name"], member["type"]) for member in entry["inputs"][0]["components"])
    assert members == VOUCHER_FIELDS


def test_a_voucher_comes_back_from_its_text(device: Device) -> None:
    for signed in (
        voucher_for(device),
        issue_voucher(SUPPLIER_KEY, 10**33, 2**64 - 1, EXPIRY_S, 1, holder_key=HOLDER_KEY),
    ):
        text = signed.to_text()
        assert voucher_from_text(text) == signed
        assert voucher_from_text(text.replace("-", " ").lower()) == signed
        for wrong in (text[:-1], text[:30] + ("A" if text[30] != "A" else "B") + text[31:], text + "A", text[5:], ""):
            with pytest.raises(UserError):
                voucher_from_text(wrong)


@pytest.mark.parametrize(
    "change", [{"amount_wei": 0}, {"amount_wei": 10**33 + 1}, {"serial": -1}, {"expiry_s": 2**64}, {"meter": None}]
)
def test_vouchers_that_cannot_be_are_not_issued(device: Device, change: dict[str, object]) -> None:
    arguments: dict[str, object] = {"amount_wei": 1, "serial": 1, "expiry_s": EXPIRY_S, "meter": device.address}
    with pytest.raises(UserError):
        issue_voucher(SUPPLIER_KEY, chain_id=CHAIN_ID, **(arguments | change))  # type: ignore[arg-type]
