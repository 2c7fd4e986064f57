"""`wattchain voucher short` and `wattchain meter keypad`: a code from supplier to meter, and its long voucher."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from contracts.voucher_format import voucher_from_text
from meter.keypad_commands import keypad
from primitives.hexadecimal import to_checksum_address
from primitives.secp256k1 import address_of
from wallet.short_code_commands import short

SUPPLIER_KEY, METER = b"\x01" * 32, b"\x05" * 20
SUPPLIER = address_of(SUPPLIER_KEY)
WATT = 10**18


class Stage:
    """A supplier's computer and a meter."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {
            "WATTCHAIN_KEYSTORE": str(folder / "keys"),
            "WATTCHAIN_SHORT_CODES": str(folder / "codes.db"),
            "WATTCHAIN_KEYPAD": str(folder / "keypad.db"),
        }
        self.key_file = folder / "supplier.key"
        self.key_file.write_text(SUPPLIER_KEY.hex())
        self.key_file.chmod(0o600)

    def short(self, *arguments: str) -> Result:
        return CliRunner().invoke(short, list(arguments), env=self.environment)

    def new(self, *more: str) -> Result:
        settings = ["--meter", to_checksum_address(METER), "--output", str(self.folder / "keypad.json")]
        return self.short("new", "KP-7", *settings, *more)

    def issue(self, *arguments: str) -> Any:
        signed = ["--key-file", str(self.key_file), "--chain-id", "1947"]
        return _json(self.short("issue", "KP-7", *arguments, *signed, "--json"))

    def meter(self, *arguments: str) -> Result:
        return CliRunner().invoke(keypad, list(arguments), env=self.environment)


def _json(done: Result) -> Any:
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def _refusal(done: Result) -> str:
    assert (done.exit_code, done.stdout) == (2, ""), done.output
    return done.stderr


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


@pytest.mark.parametrize("four_digits", [False, True])
def test_a_code_and_its_voucher_are_the_same_money(stage: Stage, four_digits: bool) -> None:
    assert stage.new("--unit", "0.5", *(["--four-digits"] if four_digits else [])).exit_code == 0
    settings = stage.folder / "keypad.json"
    assert settings.stat().st_mode & 0o077 == 0
    assert _json(stage.meter("install", str(settings), "--json"))["count"] == 1
    made = [stage.issue("12.5"), stage.issue("100", "--long")]
    length = [15, 20] if four_digits else [9, 12]
    assert [len(one["code"]) for one in made] == length
    vouchers = [voucher_from_text(one["voucher"]).voucher for one in made]
    assert [one.amount_wei for one in vouchers] == [125 * WATT // 10, 100 * WATT]
    assert {(one.supplier, one.meter) for one in vouchers} == {(SUPPLIER, METER)}
    assert vouchers[0].serial < vouchers[1].serial
    entered = [_json(stage.meter("enter", one["code"], "--json")) for one in made]
    assert [one["credit_wei"] for one in entered] == [str(125 * WATT // 10), str(1125 * WATT // 10)]
    assert "used already" in _refusal(stage.meter("enter", made[0]["code"]))
    assert _json(stage.short("list", "KP-7", "--json")) == made


def test_codes_that_move_no_money_have_no_voucher(stage: Stage) -> None:
    stage.new()
    stage.meter("install", str(stage.folder / "keypad.json"))
    for arguments, text in (
        (["3", "--kind", "set"], "Set to 3 WATT. Codes have brought 3 WATT in all."),
        (["--kind", "sync"], "The meter counts codes from here on. Codes have brought 3 WATT in all."),
        (["--kind", "unlock"], "The meter is paid for. It needs no more codes."),
    ):
        made = stage.issue(*arguments)
        assert made["voucher"] is None
        code = made["code"]
        assert stage.meter("enter", code[:3], code[3:6], code[6:]).stdout.strip() == text
    assert "needs no more codes" in stage.meter("show").stdout


def test_refusals_are_sentences_and_spend_no_count(stage: Stage) -> None:
    stage.new()
    assert "There is a keypad KP-7" in _refusal(stage.short("new", "KP-7", "--meter", to_checksum_address(METER),
                                                           "--output", str(stage.folder / "other.json")))  # fmt: skip
    assert not (stage.folder / "other.json").exists()
    key = ["--key-file", str(stage.key_file), "--chain-id", "1947"]
    for arguments, expected in (
        (["KP-7", "0.25"], "count in steps of 0.1 WATT"),
        (["KP-7", "0"], "above zero"),
        (["KP-7"], "needs an AMOUNT"),
        (["KP-7", "1", "--kind", "sync"], "needs an AMOUNT"),
        (["KP-7", "100"], "from 0 to 995 units"),
        (["KP-8", "1"], "no keypad 'KP-8' in"),
    ):
        assert expected in _refusal(stage.short("issue", *arguments, *key))
    assert _json(stage.short("list", "--json"))[0]["count"] == 1
    assert "keypad install` makes one" in _refusal(stage.meter("enter", "123456789"))
    assert "no keypad's settings" in _refusal(stage.meter("install", str(stage.key_file)))
