"""The key that signs a person's transaction: one of the key folder, or the one in a file, such as a node's own.

Whose key it is, is known before its password is asked, so that a transaction can be shown first.
"""

from dataclasses import dataclass, field
from pathlib import Path

import click

from primitives.errors import UserError
from primitives.secp256k1 import address_of
from wallet.command_line import read_password, say
from wallet.key_directory import KeyDirectory, parse_private_key, read_key_file
from wallet.keystore import decrypt_key, keystore_address

from_option = click.option("--from", "sender", metavar="ACCOUNT", help="Name or address of the key in your key folder.")
key_file_option = click.option(
    "--key-file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="A file with the key instead, such as a node's node.key: a locked key file, or 64 hexadecimal digits.",
)


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A key that may still be locked."""

    name: str
    address: bytes
    _content: str = field(repr=False)

    def unlock(self, password_file: Path | None) -> bytes:
        """The private key, after asking for the password where it has one. Raises UserError, InvalidKeystore."""
        if not _is_locked(self._content):
            return parse_private_key(self._content)
        return decrypt_key(self._content, read_password(password_file, f"Password of {self.name}"))


def choose_key(
    keys: KeyDirectory, sender: str | None, key_file: Path | None, password_file: Path | None = None
) -> SigningKey:
    """The key in the file, the one of that name or address in the folder, or the only one there.

    Raises UserError where none or several are meant, and for a file without a key; InvalidKeystore.
    """
    if key_file is not None:
        if sender is not None:
            raise UserError("Give either --from, for a key of your key folder, or --key-file, not both.")
        return _key_in_file(key_file, password_file)
    if sender is None:
        files = keys.files()
        if len(files) != 1:
            names = ", ".join(file.name for file in files) or "none"
            raise UserError(
                f"Say which key signs: with --from one of your key folder, or with --key-file a file such as a node's "
                f"node.key. Keys in {keys.path}: {names}."
            )
        (file,) = files
    else:
        file = keys.find(sender)
    return SigningKey(file.name, file.address, file.read())


def _key_in_file(path: Path, password_file: Path | None) -> SigningKey:
    content = read_key_file(path)
    if not _is_locked(content):
        if path.stat().st_mode & 0o077:
            say(f"Warning: others on this computer may read {path}; protect it with: chmod 600 {path}")
        return SigningKey(str(path), address_of(parse_private_key(content)), content)
    address = keystore_address(content)
    if address is not None:
        return SigningKey(str(path), address, content)
    # A file that keeps its address to itself has to be opened first.
    private_key = decrypt_key(content, read_password(password_file, f"Password of {path}"))
    return SigningKey(str(path), address_of(private_key), private_key.hex())


def _is_locked(content: str) -> bool:
    return content.lstrip().startswith("{")
