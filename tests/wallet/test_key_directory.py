"""The folder of key files: private, whole or absent, never overwritten, found by name or address."""

import os
import stat
from pathlib import Path

import pytest

from primitives.errors import InvalidKeystore, UserError
from primitives.hexadecimal import to_checksum_address
from primitives.secp256k1 import address_of
from wallet.key_directory import KeyDirectory, read_key_file, write_private_file
from wallet.keystore import ScryptCost, encrypt_key

CHEAP = ScryptCost(2, 1, 1)


def key_text(number: int) -> str:
    return encrypt_key(number.to_bytes(32, "big"), "pw", CHEAP)


@pytest.fixture
def keys(tmp_path: Path) -> KeyDirectory:
    return KeyDirectory(tmp_path / "deep" / "keystore")


def test_a_missing_folder_is_an_empty_one(keys: KeyDirectory) -> None:
    assert keys.files() == []
    assert not keys.path.exists()


def test_files_and_folder_are_for_the_owner_alone(keys: KeyDirectory) -> None:
    os.umask(0)
    try:
        file = keys.add(key_text(1), "home")
    finally:
        os.umask(0o022)
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(keys.path.stat().st_mode) == 0o700
    assert os.listdir(keys.path) == ["home.json"]


def test_keys_are_found_by_name_and_by_address(keys: KeyDirectory) -> None:
    home, other = keys.add(key_text(1), "home"), keys.add(key_text(2))
    text = to_checksum_address(address_of((2).to_bytes(32, "big")))
    assert other.name == text
    assert keys.files() == sorted([home, other], key=lambda file: file.path.name)
    assert keys.find("home") == home
    assert keys.find(text) == keys.find(text.lower()) == other
    assert keys.find("0x" + home.address.hex()).read() == home.read()


@pytest.mark.parametrize("name", ["away", "0x" + "11" * 20, "0x12", "home.json", ""])
def test_unknown_keys_are_named_with_what_there_is(keys: KeyDirectory, name: str) -> None:
    with pytest.raises(UserError):
        keys.find(name)
    keys.add(key_text(1), "home")
    with pytest.raises(UserError, match=r"home|no address"):
        keys.find(name)


def test_a_mistyped_address_is_told_from_an_unknown_one(keys: KeyDirectory) -> None:
    text = to_checksum_address(keys.add(key_text(1), "home").address)
    mistyped = "".join(c.lower() if c.isupper() else c.upper() if c.isalpha() else c for c in text[2:])
    with pytest.raises(UserError, match="mistyped"):
        keys.find("0x" + mistyped)


def test_nothing_is_overwritten(keys: KeyDirectory) -> None:
    before = keys.add(key_text(1), "home").read()
    with pytest.raises(UserError, match="named home already"):
        keys.add(key_text(2), "home")
    with pytest.raises(UserError, match="is here already, as home"):
        keys.add(key_text(1), "again")
    assert [file.read() for file in keys.files()] == [before]


@pytest.mark.parametrize("name", ["", "../evil", "a/b", ".hidden", "-rf", "a" * 65, "a b", "ключ", "a\n"])
def test_names_cannot_leave_the_folder(keys: KeyDirectory, name: str) -> None:
    with pytest.raises(UserError, match="cannot be a key's name"):
        keys.add(key_text(1), name)
    assert keys.files() == []


def test_what_is_no_key_file_is_passed_over(keys: KeyDirectory) -> None:
    keys.add(key_text(1), "home")
    (keys.path / "notes.txt").write_text("milk, eggs")
    (keys.path / "empty.json").touch()
    (keys.path / "binary").write_bytes(b"\xff\x00" * 50)
    (keys.path / "huge.json").write_text(" " * 100_000)
    (keys.path / "folder").mkdir()
    (keys.path / ".home.json.partial").write_text(key_text(3))
    assert [file.name for file in keys.files()] == ["home"]


def test_a_file_that_cannot_be_written_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match="No space left on device"):
        KeyDirectory(tmp_path).add(key_text(1), "home")
    assert os.listdir(tmp_path) == []


def test_an_existing_file_is_kept_by_write_private_file(tmp_path: Path) -> None:
    write_private_file(tmp_path / "a", "one")
    with pytest.raises(FileExistsError):
        write_private_file(tmp_path / "a", "two")
    assert (tmp_path / "a").read_text() == "one"


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.json cannot be read"):
        read_key_file(tmp_path / "none.json")
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be read"):
        KeyDirectory(tmp_path / "file").files()
    with pytest.raises(InvalidKeystore, match="without an address"):
        KeyDirectory(tmp_path).add('{"version": 3, "crypto": {}}')
