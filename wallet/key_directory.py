"""The folder with a person's key files: one encrypted key a file, found by name or by address.

A file is readable by its owner alone and is there whole or not at all; no file is ever overwritten. Other tools' key
files may lie here as well; what is no key file is passed over.
"""

import contextlib
import os
import re
import secrets
from dataclasses import dataclass
from pathlib import Path

from primitives.errors import InvalidHex, InvalidKeystore, UserError
from primitives.hexadecimal import parse_address, to_checksum_address
from primitives.secp256k1 import private_key_is_valid
from wallet.keystore import MAX_FILE_BYTES, keystore_address

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", re.ASCII)
_SUFFIX = ".json"


@dataclass(frozen=True, slots=True)
class KeyFile:
    """One key file; its name is the file's without .json."""

    name: str
    address: bytes
    path: Path

    def read(self) -> str:
        return read_key_file(self.path)


class KeyDirectory:
    def __init__(self, path: Path) -> None:
        self.path = path

    def files(self) -> list[KeyFile]:
        """All key files by name. Raises UserError where the folder cannot be read; a missing one is empty."""
        try:
            paths = sorted(path for path in self.path.iterdir() if not path.name.startswith("."))
        except FileNotFoundError:
            return []
        except OSError as error:
            raise UserError(f"The key folder {self.path} cannot be read: {error.strerror}.") from error
        found = []
        for path in paths:
            with contextlib.suppress(InvalidKeystore, UserError):
                address = keystore_address(read_key_file(path))
                if address is not None:
                    found.append(KeyFile(path.name.removesuffix(_SUFFIX), address, path))
        return found

    def find(self, name_or_address: str) -> KeyFile:
        """The key of that name or address. Raises UserError where there is none."""
        files = self.files()
        for file in files:
            if file.name == name_or_address:
                return file
        try:
            address = parse_address(name_or_address)
        except InvalidHex as error:
            if name_or_address.startswith("0x"):
                raise UserError(f"{name_or_address[:80]} is no address: {error}.") from error
            address = None
        for file in files:
            if file.address == address:
                return file
        known = ", ".join(file.name for file in files) or "none yet; `wattchain wallet new` makes one"
        raise UserError(f"No key for {name_or_address[:80]!r} in {self.path}. Keys there: {known}.")

    def add(self, text: str, name: str | None = None) -> KeyFile:
        """Keep a key file under a name, or under its address. Raises UserError where name or address is taken."""
        address = keystore_address(text)
        if address is None:
            raise InvalidKeystore("a key file without an address cannot be kept")
        name = to_checksum_address(address) if name is None else name
        if not _NAME.fullmatch(name):
            raise UserError(f"{name[:80]!r} cannot be a key's name: use up to 64 letters, digits, dots, - and _.")
        for file in self.files():
            if file.address == address:
                raise UserError(f"The key of {to_checksum_address(address)} is here already, as {file.name}.")
        path = self.path / (name + _SUFFIX)
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_private_file(path, text)
        except FileExistsError as error:
            raise UserError(f"There is a key named {name} already; choose another name.") from error
        except OSError as error:
            raise UserError(f"The key cannot be written to {path}: {error.strerror}.") from error
        return KeyFile(name, address, path)


def read_key_file(path: Path) -> str:
    """The text of a file that may be a key file. Raises UserError or InvalidKeystore."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise UserError(f"The key file {path} cannot be read: {error.strerror}.") from error
    return decode_key_file(content, str(path))


def decode_key_file(content: bytes, source: str) -> str:
    """The text in bytes from a file or a pipe. Raises InvalidKeystore."""
    if len(content) > MAX_FILE_BYTES:
        raise InvalidKeystore(f"{source} is too large to be a key file")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise InvalidKeystore(f"{source} is not a text file") from error


def parse_private_key(text: str) -> bytes:
    """The key in 64 hexadecimal digits, as many tools keep it unlocked. Raises UserError, which never repeats them."""
    try:
        private_key = bytes.fromhex(text.strip().removeprefix("0x"))
    except ValueError:
        private_key = b""
    if not private_key_is_valid(private_key):
        # Never repeat the text: it may be a key with a typing error.
        raise UserError("That is no private key: it must be 64 hexadecimal digits, and not zero or too large.")
    return private_key


def write_private_file(path: Path, text: str) -> None:
    """Write a new file for the owner's eyes, whole or not at all. Raises FileExistsError rather than overwrite."""
    # The empty file takes the name, so that two writers cannot both have it; then the content replaces it at once.
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        descriptor = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        path.unlink(missing_ok=True)
        raise
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
