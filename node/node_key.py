"""The key that makes a node who it is: its address is the node's id, and a validator's name in the ledger.

It lies in the data directory, unlocked since a node starts without anybody, readable by its owner alone. It is worth a
copy: a validator that loses it is somebody else from then on. Like every key it has an account, from which a validator
votes about other validators; money is better kept elsewhere.
"""

import os
import secrets
import stat
from pathlib import Path

from primitives.errors import NeedsPerson, UserError
from primitives.secp256k1 import private_key_is_valid
from wallet.key_directory import write_private_file

NODE_KEY_FILE = "node.key"
MAX_FILE_BYTES = 128
"""64 digits, 0x and the end of the line; a wrong file is not read into memory."""


def read_node_key(path: Path) -> bytes:
    """The 32 bytes in a file of 64 hexadecimal digits, as geth's `nodekey`. Raises UserError; FileNotFoundError."""
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            content = file.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise UserError(f"The node's key {path} cannot be read: {error.strerror}.") from error
    if mode & 0o077:
        raise NeedsPerson(
            f"Others on this computer may read the node's key {path}, and so speak in its name. "
            f"Protect it with: chmod 600 {path}"
        )
    key = _parse(content)
    if key is None:
        raise NeedsPerson(
            f"{path} does not hold a node's key (64 hexadecimal digits). Put a copy of the right file in its place, "
            "or remove it and the node gets a new key, which makes it another node to its network."
        )
    return key


def new_node_key() -> bytes:
    """32 random bytes that are a private key."""
    key = secrets.token_bytes(32)
    while not private_key_is_valid(key):
        key = secrets.token_bytes(32)
    return key


def write_node_key(path: Path, key: bytes) -> None:
    """Keep a key in a new file. Raises UserError where there is a file already."""
    try:
        write_private_file(path, key.hex() + "\n")
    except FileExistsError as error:
        raise UserError(f"There is a node's key at {path} already; it is not overwritten.") from error
    except OSError as error:
        raise UserError(f"The node's key {path} cannot be written: {error.strerror}.") from error


def existing_node_key(data_directory: Path) -> bytes | None:
    """The key of a data directory, None where there is none yet. Raises UserError."""
    try:
        return read_node_key(data_directory / NODE_KEY_FILE)
    except FileNotFoundError:
        return None


def load_node_key(data_directory: Path) -> bytes:
    """The key of a data directory, made where there is none yet. Raises UserError."""
    key = existing_node_key(data_directory)
    if key is None:
        key = new_node_key()
        write_node_key(data_directory / NODE_KEY_FILE, key)
    return key


def _parse(content: bytes) -> bytes | None:
    text = content.strip()
    digits = text.removeprefix(b"0x")
    if len(content) > MAX_FILE_BYTES or len(digits) != 64:
        return None
    try:
        key = bytes.fromhex(digits.decode("ascii"))
    except ValueError:
        return None
    return key if len(key) == 32 and private_key_is_valid(key) else None
