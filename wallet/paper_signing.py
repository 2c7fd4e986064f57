"""Options of commands that sign what is handed over instead of sent: a voucher, a payment of a channel."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from wallet.command_line import as_one_argument, json_option, node_option, password_file_option
from wallet.commands import keystore_option
from wallet.key_directory import KeyDirectory
from wallet.signing_key import SigningKey, choose_key, from_option, key_file_option


@dataclass(frozen=True, slots=True)
class PaperSigning:
    """Who signs, and which node is asked."""

    sender: str | None
    key_file: Path | None
    keys: KeyDirectory
    node: str
    password_file: Path | None
    as_json: bool

    def key(self) -> SigningKey:
        """The key that is meant, which may be locked. Raises UserError, InvalidKeystore."""
        return choose_key(self.keys, self.sender, self.key_file, self.password_file)


def paper_signing_options(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command all options of PaperSigning and hands them over as one argument `signing`."""
    options = (from_option, key_file_option, keystore_option, node_option, password_file_option, json_option)
    return as_one_argument("signing", PaperSigning, options)(command)
