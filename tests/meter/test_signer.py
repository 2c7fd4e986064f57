"""Where passwords come from, and that a key in memory signs as the ledger wants it."""

from pathlib import Path

import pytest

from meter.signer import METER_PASSWORD, KeySigner, make_key_file, open_key_file, read_secret
from primitives import secp256k1
from primitives.errors import NeedsPerson, UserError

HASH = b"\x07" * 32


@pytest.fixture(autouse=True)
def no_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)


def test_signature_is_the_keys() -> None:
    signer = KeySigner(b"\x21" * 32)
    assert secp256k1.recover_address(HASH, *signer.sign(HASH)) == signer.address
    assert "21" * 32 not in repr(signer)


def test_key_file_opens_with_a_credential_of_systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    address = make_key_file(tmp_path / "keys" / "meter.json", "secret")
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / METER_PASSWORD).write_text("secret\n")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(credentials))
    # The service's credential comes before the file that the settings name.
    signer = open_key_file(tmp_path / "keys" / "meter.json", tmp_path / "absent", METER_PASSWORD, "meter's")
    assert signer.address == address
    assert (tmp_path / "keys" / "meter.json").stat().st_mode & 0o777 == 0o600
    with pytest.raises(UserError, match="no key is ever overwritten"):
        make_key_file(tmp_path / "keys" / "meter.json", "secret")


def test_password_file_and_its_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "password"
    file.write_text("secret\nsecond line\n")
    file.chmod(0o644)
    assert read_secret(METER_PASSWORD, file, "Password") == "secret"
    assert "others on this computer may read" in capsys.readouterr().err
    # systemd's own files are readable by mode where it protects them by other means.
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    file.rename(tmp_path / METER_PASSWORD)
    assert read_secret(METER_PASSWORD, None, "Password") == "secret"
    assert capsys.readouterr().err == ""


def test_nobody_to_ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)
    with pytest.raises(UserError, match="credential meter-password"):
        read_secret(METER_PASSWORD, None, "Password")


def test_wrong_password_is_said_plainly(tmp_path: Path) -> None:
    make_key_file(tmp_path / "meter.json", "secret")
    (tmp_path / "password").write_text("other")
    with pytest.raises(NeedsPerson, match="the password does not open this key file"):
        open_key_file(tmp_path / "meter.json", tmp_path / "password", METER_PASSWORD, "meter's")
