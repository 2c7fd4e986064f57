"""Key files: what is written is read by others and back; hostile files are refused before they cost anything."""

import hashlib
import json
from typing import Any

import pytest
from eth_account import Account

from primitives.errors import InvalidKeystore
from primitives.secp256k1 import address_of
from wallet.keystore import (
    LIGHT_COST,
    MAX_SCRYPT_MEMORY_BYTES,
    STANDARD_COST,
    ScryptCost,
    WrongPassword,
    decrypt_key,
    encrypt_key,
    keystore_address,
    with_address,
)

KEY = b"\x11" * 32
PASSWORD = "пароль 🔑 with spaces "
# Hardly any work, so that the tests are about the file and not about scrypt.
CHEAP = ScryptCost(2, 1, 1)


def changed(path: str, value: object) -> str:
    """A cheap key file with one entry replaced, or removed by None."""
    document: Any = json.loads(encrypt_key(KEY, PASSWORD, CHEAP))
    place = document
    *parents, last = path.split(".")
    for parent in parents:
        place = place[parent]
    if value is None:
        del place[last]
    else:
        place[last] = value
    return json.dumps(document)


def test_a_key_comes_back_with_its_password_only() -> None:
    text = encrypt_key(KEY, PASSWORD, CHEAP)
    assert decrypt_key(text, PASSWORD) == decrypt_key(text.encode(), PASSWORD) == KEY
    assert keystore_address(text) == address_of(KEY)
    for wrong in ("", PASSWORD.strip(), PASSWORD + "x"):
        with pytest.raises(WrongPassword, match="does not open"):
            decrypt_key(text, wrong)


def test_no_two_files_are_alike() -> None:
    first, second = (json.loads(encrypt_key(KEY, PASSWORD, CHEAP)) for _ in range(2))
    for name in ("ciphertext", "mac"):
        assert first["crypto"][name] != second["crypto"][name]
    assert first["id"] != second["id"]


def test_others_read_our_files() -> None:
    assert Account.decrypt(json.loads(encrypt_key(KEY, PASSWORD, LIGHT_COST)), PASSWORD) == KEY


@pytest.mark.parametrize("kdf", ["scrypt", "pbkdf2"])
def test_we_read_the_files_of_others(kdf: Any) -> None:
    theirs = Account.encrypt(KEY, PASSWORD, kdf=kdf, iterations=2)
    assert decrypt_key(json.dumps(theirs), PASSWORD) == KEY


def test_the_standard_cost_is_that_of_geth_and_can_be_read_again() -> None:
    assert (STANDARD_COST.n, STANDARD_COST.r, STANDARD_COST.p) == (262_144, 8, 1)
    assert decrypt_key(encrypt_key(KEY, PASSWORD), PASSWORD) == KEY


def test_early_capital_letters_and_missing_addresses_are_read() -> None:
    document = json.loads(changed("address", None))
    document["Crypto"] = document.pop("crypto")
    text = json.dumps(document)
    assert keystore_address(text) is None
    assert decrypt_key(text, PASSWORD) == KEY
    assert keystore_address(with_address(text, address_of(KEY))) == address_of(KEY)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("version", 1),
        ("version", None),
        ("version", "3" * 1000),
        ("crypto", None),
        ("crypto", "text"),
        ("crypto.cipher", "aes-256-cbc"),
        ("crypto.cipherparams", []),
        ("crypto.cipherparams.iv", "00"),
        ("crypto.cipherparams.iv", 5),
        ("crypto.ciphertext", "0g" * 32),
        ("crypto.ciphertext", "00" * 31),
        ("crypto.mac", None),
        ("crypto.mac", "00" * 31),
        ("crypto.kdf", "argon2"),
        ("crypto.kdf", None),
        ("crypto.kdfparams", None),
        ("crypto.kdfparams.dklen", 16),
        ("crypto.kdfparams.dklen", 2**40),
        ("crypto.kdfparams.n", 3),
        ("crypto.kdfparams.n", 1),
        ("crypto.kdfparams.n", 0),
        ("crypto.kdfparams.n", -2),
        ("crypto.kdfparams.n", 2.0),
        ("crypto.kdfparams.n", True),
        ("crypto.kdfparams.n", "2"),
        ("crypto.kdfparams.salt", "00" * 1025),
        ("address", "00" * 19),
        ("address", "22" * 20),
    ],
)
def test_malformed_files_are_refused(path: str, value: object) -> None:
    with pytest.raises(InvalidKeystore) as caught:
        decrypt_key(changed(path, value), PASSWORD)
    assert not isinstance(caught.value, WrongPassword)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "5", '"x"', "{}", "[" * 60_000, " " * 70_000, b"\xff\xfe"])
def test_other_texts_are_no_key_files(text: str | bytes) -> None:
    with pytest.raises(InvalidKeystore):
        decrypt_key(text, PASSWORD)


@pytest.mark.parametrize("name", ["ciphertext", "mac"])
def test_an_altered_file_is_not_opened(name: str) -> None:
    value = json.loads(encrypt_key(KEY, PASSWORD, CHEAP))["crypto"][name]
    with pytest.raises(WrongPassword):
        decrypt_key(changed(f"crypto.{name}", ("1" if value[0] == "0" else "0") + value[1:]), PASSWORD)


@pytest.mark.parametrize(
    ("n", "r", "p"), [(2**19, 8, 1), (2**30, 8, 1), (2, 2**30, 1), (2, 1, 2**40), (2**18, 8, 64), (2**200, 1, 1)]
)
def test_greedy_parameters_are_refused_before_any_work(n: int, r: int, p: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashlib, "scrypt", lambda *_, **__: pytest.fail("scrypt was started"))
    document = json.loads(encrypt_key_without_work())
    document["crypto"]["kdfparams"].update(n=n, r=r, p=p)
    with pytest.raises(InvalidKeystore, match="more memory or work"):
        decrypt_key(json.dumps(document), PASSWORD)


def encrypt_key_without_work() -> str:
    crypto = {
        "cipher": "aes-128-ctr",
        "cipherparams": {"iv": "00" * 16},
        "ciphertext": "00" * 32,
        "kdf": "scrypt",
        "kdfparams": {"dklen": 32, "n": 2, "r": 1, "p": 1, "salt": "00"},
        "mac": "00" * 32,
    }
    return json.dumps({"version": 3, "crypto": crypto})


def test_greedy_pbkdf2_is_refused_before_any_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashlib, "pbkdf2_hmac", lambda *_, **__: pytest.fail("PBKDF2 was started"))
    document = json.loads(encrypt_key_without_work())
    document["crypto"]["kdf"] = "pbkdf2"
    for parameters in ({"prf": "hmac-sha256", "c": 10**9}, {"prf": "hmac-sha512", "c": 2}, {"prf": "hmac-sha256"}):
        document["crypto"]["kdfparams"] = {"dklen": 32, "salt": "00", **parameters}
        with pytest.raises(InvalidKeystore):
            decrypt_key(json.dumps(document), PASSWORD)


def test_the_standard_file_is_the_largest_that_is_read() -> None:
    assert STANDARD_COST.memory_bytes <= MAX_SCRYPT_MEMORY_BYTES < 2 * STANDARD_COST.memory_bytes


def test_parameters_that_openssl_refuses_are_computed_otherwise() -> None:
    text = encrypt_key(KEY, PASSWORD, ScryptCost(2**17, 1, 1))
    assert decrypt_key(text, PASSWORD) == KEY
