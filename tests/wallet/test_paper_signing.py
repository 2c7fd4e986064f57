"""The options of commands that sign what is handed over reach them as one argument."""

from pathlib import Path

import click
from click.testing import CliRunner

from primitives.hexadecimal import to_checksum_address
from wallet.command_line import PlainGroup
from wallet.paper_signing import PaperSigning, paper_signing_options


@click.group(cls=PlainGroup)
def house() -> None:
    """A house."""


@house.command()
@click.argument("what")
@paper_signing_options
def sign(what: str, signing: PaperSigning) -> None:
    """Sign WHAT."""
    click.echo(f"{what} {to_checksum_address(signing.key().address)} {signing.node} {signing.as_json}")


def test_one_argument_with_all_of_them(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("01" * 32 + "\n")
    key.chmod(0o600)
    result = CliRunner().invoke(house, ["sign", "tea", "--key-file", str(key), "--node", "http://x", "--json"])
    assert result.stdout == "tea 0x1a642f0E3c3aF545E7AcBD38b07251B3990914F1 http://x True\n"


def test_its_help_names_them() -> None:
    text = CliRunner().invoke(house, ["sign", "--help"]).stdout
    assert "Sign WHAT." in text
    for option in ("--from", "--key-file", "--keystore", "--node", "--password-file", "--json"):
        assert option in text


def test_a_key_that_is_not_there_is_said_plainly(tmp_path: Path) -> None:
    result = CliRunner().invoke(house, ["sign", "tea", "--keystore", str(tmp_path)])
    assert result.exit_code == 2
    assert "Say which key signs" in result.stderr
