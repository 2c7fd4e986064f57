"""The node's key file: made once, for its owner's eyes, and a plain sentence for everything that is no key."""

import os
from pathlib import Path

import pytest

from node.node_key import NODE_KEY_FILE, load_node_key, new_node_key, read_node_key, write_node_key
from primitives.errors import UserError
from primitives.secp256k1 import ORDER

KEY = bytes.fromhex("11" * 32)


def write(folder: Path, content: bytes) -> Path:
    path = folder / NODE_KEY_FILE
    path.write_bytes(content)
    path.chmod(0o600)
    return path


def test_a_key_is_made_once_and_is_nobody_elses(tmp_path: Path) -> None:
    key = load_node_key(tmp_path)
    path = tmp_path / NODE_KEY_FILE
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.read_text() == key.hex() + "\n"
    assert load_node_key(tmp_path) == key
    assert load_node_key_of(tmp_path / "other") != key
    with pytest.raises(UserError, match="is not overwritten"):
        write_node_key(path, new_node_key())
    assert read_node_key(path) == key


def load_node_key_of(folder: Path) -> bytes:
    folder.mkdir()
    return load_node_key(folder)


@pytest.mark.parametrize("text", ["11" * 32, "0x" + "11" * 32 + "\n", " " + "11" * 32 + "\r\n"])
def test_forms_that_tools_write(tmp_path: Path, text: str) -> None:
    assert read_node_key(write(tmp_path, text.encode())) == KEY


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"11" * 31,
        b"11" * 33,
        b"zz" * 32,
        b"\xff" * 64,
        b"1 " * 32,
        b"00" * 32,
        ORDER.to_bytes(32, "big").hex().encode(),
        b"11" * 32 + b" " * 100,
        b"11 " * 20 + b"1122",
        b'{"address": "not a key file of a wallet"}',
        bytes(10_000),
    ],
)
def test_what_is_no_key(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(UserError, match="does not hold a node's key"):
        load_node_key(write(tmp_path, content).parent)


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620])
def test_a_key_that_others_may_read_or_change(tmp_path: Path, mode: int) -> None:
    path = write(tmp_path, KEY.hex().encode())
    path.chmod(mode)
    with pytest.raises(UserError, match=f"Protect it with: chmod 600 {path}"):
        load_node_key(tmp_path)


def test_places_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / NODE_KEY_FILE).mkdir()
    with pytest.raises(UserError, match="cannot be read: Is a directory"):
        load_node_key(tmp_path)
    with pytest.raises(UserError, match="cannot be written: No such file"):
        load_node_key(tmp_path / "absent")
    with pytest.raises(FileNotFoundError):
        read_node_key(tmp_path / "absent")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_key_of_somebody_else(tmp_path: Path) -> None:
    write(tmp_path, KEY.hex().encode()).chmod(0)
    with pytest.raises(UserError, match="cannot be read: Permission denied"):
        load_node_key(tmp_path)
