"""`wattchain meter key`: a key in a file or in an element, and a meter that signs with it."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from contracts.consent_format import consent_hash
from meter.commands import meter
from meter.qr_code import qr_text
from meter.signer import open_key_file
from primitives.hexadecimal import parse_address, to_checksum_address
from primitives.secp256k1 import recover_address
from tests.meter.element import PIN, TOKEN, plugged_in
from wallet.installation_commands import parse_consent

SUPPLIER = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"
REST = """
[ledger]
chain_id = 1947
[driver]
file = "profile.csv"
"""


@pytest.fixture(autouse=True)
def no_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(meter, ["key", *[str(argument) for argument in arguments]])


def secret(path: Path, text: str) -> Path:
    path.write_text(text + "\n")
    path.chmod(0o600)
    return path


def test_key_in_a_file(tmp_path: Path) -> None:
    password = secret(tmp_path / "password", "secret")
    made = run("new", "--file", tmp_path / "meter.json", "--password-file", password, "--json")
    assert made.exit_code == 0
    answer = json.loads(made.stdout)
    signer = open_key_file(tmp_path / "meter.json", password, "meter-password", "meter's")
    assert signer.address == parse_address(answer["address"])
    settings = tmp_path / "meter.toml"
    settings.write_text(answer["settings"] + f'\npassword_file = "password"\noutbox = "outbox"\n{REST}')
    assert answer["address"] in run("show", "--settings", settings).stdout
    assert "signs, in" in run("test", "--settings", settings).stdout
    again = run("new", "--file", tmp_path / "meter.json", "--password-file", password)
    assert again.exit_code == 2
    assert "no key is ever overwritten" in again.stderr


def test_a_key_agrees_to_be_a_suppliers_meter(tmp_path: Path) -> None:
    password = secret(tmp_path / "password", "secret")
    made = json.loads(run("new", "--file", tmp_path / "meter.json", "--password-file", password, "--json").stdout)
    settings = tmp_path / "meter.toml"
    settings.write_text(made["settings"] + f'\npassword_file = "password"\noutbox = "outbox"\n{REST}')
    agreed = run("consent", SUPPLIER, "--settings", settings, "--json")
    assert agreed.exit_code == 0, agreed.stderr
    answer = json.loads(agreed.stdout)
    assert (answer["meter"], answer["supplier"], answer["chain_id"]) == (made["address"], SUPPLIER, 1947)
    r, vs = parse_consent(answer["consent"])
    number = int.from_bytes(vs, "big")
    digest = consent_hash(1947, parse_address(made["address"]), parse_address(SUPPLIER))
    signer = recover_address(digest, number >> 255, int.from_bytes(r, "big"), number & 2**255 - 1)
    assert to_checksum_address(signer) == made["address"]
    told = run("consent", SUPPLIER.lower(), "--settings", settings).stdout
    assert f"wattchain meter install {made['address']} {answer['consent']} --owner" in told
    assert qr_text(f"{made['address']} {answer['consent']}") in told
    for other in ("supplier", SUPPLIER[:-1], "0x" + "1" * 64):
        refused = run("consent", other, "--settings", settings)
        assert refused.exit_code == 2
        assert "is no address of a supplier" in refused.stderr


def test_key_in_an_element(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with plugged_in(tmp_path) as element:
        pin = secret(tmp_path / "pin", PIN)
        made = run("new", "--module", element.module, "--token", TOKEN, "--password-file", pin, "--json")
        assert made.exit_code == 0, made.stderr
        answer = json.loads(made.stdout)
        settings = tmp_path / "meter.toml"
        settings.write_text(f'{answer["settings"]}\n[meter]\noutbox = "outbox"\n{REST}')
        shown = run("show", "--settings", settings)
        assert shown.stdout == f"{answer['address']} in the secure element wattchain\n"
        asked = run("test", "--settings", settings)
        assert asked.exit_code == 2  # no terminal here
        monkeypatch.setattr("meter.pkcs11.read_secret", lambda *_: PIN)
        assert "signs, in" in run("test", "--settings", settings).stdout
        agreed = json.loads(run("consent", SUPPLIER, "--settings", settings, "--json").stdout)
        assert agreed["meter"] == answer["address"]
        assert len(b"".join(parse_consent(agreed["consent"]))) == 64


def test_one_place_must_be_named(tmp_path: Path) -> None:
    for arguments in ([], ["--module", "a.so"], ["--file", "a", "--module", "a.so", "--token", "b"]):
        refused = run("new", *arguments)
        assert refused.exit_code == 2
        assert "--file FILE, or --module LIBRARY and --token LABEL" in refused.stderr


def test_settings_name_the_key_in_one_place(tmp_path: Path) -> None:
    settings = tmp_path / "meter.toml"
    element = f'[pkcs11]\nmodule = "a"\ntoken = "b"\naddress = "0x{"11" * 20}"\n'
    for text, complaint in (
        ('[meter]\noutbox = "outbox"\n', "must be in one place"),
        (f'{element}[meter]\noutbox = "outbox"\nkey = "meter.json"\n', "must be in one place"),
        (f'{element}[meter]\noutbox = "outbox"\n', "must name the key in the element"),
    ):
        settings.write_text(text + REST)
        refused = run("show", "--settings", settings)
        assert refused.exit_code == 2
        assert complaint in refused.stderr
