"""A short code and the long voucher that is made with it: the ledger and a meter without a connection then agree."""

from pathlib import Path

from contracts.addresses import EXHAUSTION_ADDRESS
from contracts.openpaygo import CodeKind, CodeSecret
from contracts.voucher_format import issue_voucher, voucher_from_text
from meter.keypad import KeypadFile, KeypadSettings
from tests.contracts.ledgers import CHAIN_ID, GENESIS_TIME_S
from tests.contracts.neighbourhood import EXHAUSTION, STRANGER, SUPPLIER, WATT, Device, Neighbourhood, key_of, reason
from wallet.short_code_book import Keypad, ShortCodeBook


def test_ledger_and_meter_have_the_same_credit(tmp_path: Path) -> None:
    device = Device("meter one")
    street = Neighbourhood(device)
    deposit = EXHAUSTION.abi.encode_call("deposit", [SUPPLIER])
    assert street.ledger.transact(SUPPLIER, EXHAUSTION_ADDRESS, deposit, 100 * WATT).success
    keypad = Keypad("KP-7", device.address, CodeSecret(b"\x07" * 16, 123_456_789), WATT // 4)

    def voucher(for_keypad: Keypad, wei: int, serial: int) -> str:
        expiry_s = GENESIS_TIME_S + 1_000
        return issue_voucher(key_of("supplier"), wei, serial, expiry_s, CHAIN_ID, meter=for_keypad.meter).to_text()

    with ShortCodeBook(tmp_path / "book.db") as book, KeypadFile(tmp_path / "keypad.db") as meter:
        book.add(keypad)
        meter.install(KeypadSettings("KP-7", keypad.secret, keypad.unit_wei, keypad.count))
        for value in (4, 100, 36):
            made = book.issue("KP-7", CodeKind.ADD_TIME, value, make_voucher=voucher)
            meter.enter(made.code, GENESIS_TIME_S)
            assert made.voucher is not None
            redemption = voucher_from_text(made.voucher).redemption(device.address)
            assert street.exhaustion(STRANGER, "redeem", *redemption).success
            assert "VoucherNotOpen" in (reason(street.exhaustion(STRANGER, "redeem", *redemption)) or "")
            assert street.account(device)[0] == meter.state().credit_wei
        assert meter.state().credit_wei == 35 * WATT
    assert street.supplier_account() == 65 * WATT
