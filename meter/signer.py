"""The key of a meter, or of the account that pays for it: an address, and signatures over 32-byte hashes.

Where the key is kept is nobody's business but this file's and meter/pkcs11.py's: in a key file (Web3 Secret Storage)
whose password comes from systemd's credentials, from a file or from the terminal, or in a secure element that never
gives it away.
"""

import asyncio
import os
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeVar

from primitives import secp256k1
from primitives.errors import InvalidKeystore, NeedsPerson, UserError
from wallet.command_line import ask_secret, secret_in
from wallet.key_directory import read_key_file, write_private_file
from wallet.keystore import LIGHT_COST, decrypt_key, encrypt_key

T = TypeVar("T")

CREDENTIALS_VARIABLE = "CREDENTIALS_DIRECTORY"
"""Where systemd puts what a unit names with LoadCredential= or LoadCredentialEncrypted= (systemd.exec(5))."""
METER_PASSWORD = "meter-password"
ACCOUNT_PASSWORD = "account-password"
TOKEN_PIN = "token-pin"
READY_WITHIN_S = 60.0
"""A secure element that takes longer for a signature is taken for one that does not answer."""
LOOK_S = 0.1


class SignerUnavailable(UserError):
    """The key cannot sign now, but may again later without a person: the element was pulled out, or is busy."""


class SignerBusy(SignerUnavailable):
    """The signature is being made: who asks for the same once more later gets it then."""


class Signer(Protocol):
    """A secp256k1 key that signs."""

    @property
    def address(self) -> bytes:
        """20 bytes; known as long as the signer lives, also while it cannot sign."""
        ...

    def sign(self, message_hash: bytes) -> tuple[int, int, int]:
        """(y_parity, r, s) over 32 bytes, s in the lower half (EIP-2). Raises SignerUnavailable, or UserError."""
        ...


async def sign_when_ready(signer: Signer, message_hash: bytes) -> tuple[int, int, int]:
    """As `signer.sign`, but waits for one that is busy, while everything else goes on. Raises what that raises."""
    return await when_ready(lambda: signer.sign(message_hash))


async def when_ready(attempt: Callable[[], T]) -> T:
    """What `attempt` makes, which needs a signature and changes nothing without it. Raises what that raises."""
    until_s = time.monotonic() + READY_WITHIN_S
    while True:
        try:
            return attempt()
        except SignerBusy:
            if time.monotonic() >= until_s:
                raise
        await asyncio.sleep(LOOK_S)


@dataclass(frozen=True, slots=True)
class KeySigner:
    """A private key in this program's memory."""

    private_key: bytes = field(repr=False)
    address: bytes = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "address", secp256k1.address_of(self.private_key))

    def sign(self, message_hash: bytes) -> tuple[int, int, int]:
        return secp256k1.sign(message_hash, self.private_key)


def open_key_file(path: Path, password_file: Path | None, credential: str, what: str) -> KeySigner:
    """The key in a key file. Raises UserError."""
    text = read_key_file(path)
    password = read_secret(credential, password_file, f"Password of the {what} key {path}")
    try:
        return KeySigner(decrypt_key(text, password))
    except InvalidKeystore as error:
        raise NeedsPerson(str(error)) from error


def make_key_file(path: Path, password: str) -> bytes:
    """A new key in a new file, as cheap to open as a small computer needs it; its address. Raises UserError."""
    private_key = secrets.token_bytes(32)
    while not secp256k1.private_key_is_valid(private_key):
        private_key = secrets.token_bytes(32)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private_file(path, encrypt_key(private_key, password, LIGHT_COST))
    except FileExistsError as error:
        raise UserError(f"there is a file {path} already, and no key is ever overwritten: name another") from error
    except OSError as error:
        raise UserError(f"the key cannot be written to {path}: {error.strerror}") from error
    return secp256k1.address_of(private_key)


def read_secret(credential: str, file: Path | None, prompt: str) -> str:
    """A password or PIN: what systemd hands over, else the first line of the file, else asked. Raises UserError."""
    folder = os.environ.get(CREDENTIALS_VARIABLE)
    if folder and (handed := Path(folder) / credential).exists():
        # systemd itself sees to it that nobody else reads it, by means that the mode of a file does not show.
        return secret_in(handed, warns=False)
    if file is not None:
        return secret_in(file)
    return ask_secret(
        prompt,
        twice=False,
        otherwise=f"name a file with it in the meter's settings, or give the service the credential {credential}",
    )
