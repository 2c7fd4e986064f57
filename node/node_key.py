"""The key that makes a node who it is: its address is the node's id, and a validator's name in the ledger.

It lies in the data directory, unlocked since a node starts without anybody, readable by its owner alone. It is worth a
copy: a validator that loses it is somebody else from then on. It is no account's key; it signs no transactions.
"""

import os
import secrets
import stat
from pathlib import Path

from primitives.errors import UserError
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
        raise UserError(
            f"Others on this computer may read the node's key {path}, and so speak in its name. "
            f"Protect it with: chmod 600 {path}"
        )
    key = _parse(content)
    if key is None:
        raise UserError(
            f"{path} does not hold a node's key (64 hexadecimal digits). Put a copy of the right file in its place, "
            "or remove it and the node gets a new key, which makes it another node to its network."
        )
    return key


def make_node_key(path: Path) -> bytes:
    """A new key in a new file. Raises UserError where there is a file already."""
    key = secrets.token_bytes(32)
    while not private_key_is_valid(key):
        key = secrets.token_bytes(32)
    try:
        write_private_file(path, key.hex() + "\n")
    except FileExistsError as error:
        raise UserError(f"There is a node's key at {path} already; it is not overwritten.") from error
    except OSError as error:
        raise UserError(f"The node's key {path} cannot be written: {error.strerror}.") from error
    return key


def load_node_key(data_directory: Path) -> bytes:
    """The key of a data directory, made where there is none yet. Raises UserError."""
    path = data_directory / NODE_KEY_FILE
    try:
        return read_node_key(path)
    except FileNotFoundError:
        return make_node_key(path)


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
