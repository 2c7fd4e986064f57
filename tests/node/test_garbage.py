"""Nonsense typed behind every command: it ends with one plain sentence, never with a traceback."""

import errno
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from node.cli import main
from tests.node.test_every_command import LEAVES, names
from wallet.command_line import NumberInRange, PlainGroup, WholeNumber

NO_NODE = "http://127.0.0.1:1"
WORDS = ("", "0x123", "-1", "9" * 5_000, "nan", "\udcff", "[red]x[/bold]", "{folder}", "{binary}", "/proc/self/mem")
"""Bytes that are no UTF-8 come from the system as \\udcff; /proc/self/mem is there, but cannot be read."""
THAT_WORK = {("meter", "profile"), ("init",), ("network", "new"), ("meter", "setup"), ("meter", "key", "new")}
"""Make files of any name that they are given, or ask questions: that is tested where they are."""
RUN_ON = {("node",), ("demo",), ("install-service",), ("bench", "mining"), ("meter", "board")}


def calls(path: tuple[str, ...], command: click.Command, words: list[str]) -> Iterator[list[str]]:
    """Each word as every argument, and a word for each option."""
    arguments = [one for one in command.params if isinstance(one, click.Argument)]
    options = [one for one in command.params if isinstance(one, click.Option) and not (one.is_flag or one.count)]
    common = [flag for flag in ("--yes", "--once") if any(flag in one.opts for one in command.params)]
    if arguments:
        for word in words:
            yield [*path, *common, "--", *([word] * len(arguments))]
    for number, option in enumerate(options):
        yield [*path, *common, option.opts[-1], words[number % len(words)], "--", *(["1"] * len(arguments))]


TRIED = [(path, command) for path, command in LEAVES if path not in THAT_WORK | RUN_ON]


@pytest.mark.parametrize(("path", "command"), TRIED, ids=names(TRIED))
def test_nonsense_ends_plainly(
    path: tuple[str, ...], command: click.Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    binary = tmp_path / "binary"
    binary.write_bytes(bytes(range(256)) * 20)
    (tmp_path / "folder").mkdir()
    words = [word.format(folder=tmp_path / "folder", binary=binary) for word in WORDS]
    environment = {"HOME": str(tmp_path), "WATTCHAIN_NODE": NO_NODE, "WATTCHAIN_KEYSTORE": str(tmp_path / "keys")}
    for call in calls(path, command, words):
        result = CliRunner().invoke(main, call, env=environment)
        shown = [one[:40] for one in call]
        assert result.exception is None or isinstance(result.exception, SystemExit), (shown, result.exception)
        assert result.exit_code in (0, 2, 78), (shown, result.output)
        if result.exit_code:
            sentence = result.stderr.strip().splitlines()[-1]
            assert sentence.endswith((".", "!", "?", ")")), (shown, sentence)
            assert not [word for word in ("Errno", "Traceback", "<class", " object at 0x") if word in sentence], shown


@click.group(cls=PlainGroup)
def house() -> None:
    """A house."""


@house.command()
@click.option("--most", type=WholeNumber(1, 64))
@click.option("--seed", type=WholeNumber())
@click.option("--least", type=WholeNumber(7))
def count(most: int | None, seed: int | None, least: int | None) -> None:
    """Count."""
    click.echo(f"{most} {seed} {least}")


@house.command()
@click.option("--rate", type=NumberInRange(0.1, 600))
def pace(rate: float | None) -> None:
    """Set the pace."""
    click.echo(rate)


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("0.05", "0.05 is out of range: it must be from 0.1 to 600."),
        ("inf", "'inf' is no number such as 1.5."),
        ("nan", "'nan' is no number such as 1.5."),
    ],
)
def test_what_is_no_number(word: str, told: str) -> None:
    result = CliRunner().invoke(house, ["pace", "--rate", word])
    assert (result.exit_code, result.stderr.splitlines()[-1].split(": ", 2)[-1]) == (2, told)
    assert CliRunner().invoke(house, ["pace", "--rate", "0.1"]).stdout == "0.1\n"


@house.command()
@click.argument("code", type=int)
def fail(code: int) -> None:
    """Fail as the system does."""
    raise OSError(code, "Read-only file system", "/boot/x")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--most", "x"], "'x' is no whole number: it must be from 1 to 64."),
        (["--most", ""], "'' is no whole number: it must be from 1 to 64."),
        (["--most", "65"], "65 is out of range: it must be from 1 to 64."),
        (["--most", "1_0"], "'1_0' is no whole number: it must be from 1 to 64."),
        (["--most", "٣"], "'٣' is no whole number: it must be from 1 to 64."),
        (["--seed", "1.5"], "'1.5' is no whole number."),
        (["--seed", "9" * 5_000], f"'{'9' * 80}' is no whole number."),
        (["--least", "6"], "6 is out of range: it must be 7 or more."),
    ],
)
def test_what_is_no_whole_number(words: list[str], told: str) -> None:
    result = CliRunner().invoke(house, ["count", *words])
    assert (result.exit_code, result.stderr.splitlines()[-1].split(": ", 2)[-1]) == (2, told)


def test_whole_numbers() -> None:
    assert CliRunner().invoke(house, ["count", "--most", "64", "--seed=-3", "--least", "7"]).stdout == "64 -3 7\n"
    help_text = CliRunner().invoke(house, ["count", "--help"]).stdout
    assert "[from 1 to 64]" in help_text
    assert "[7 or more]" in help_text


def test_what_the_system_refuses_is_said_plainly() -> None:
    result = CliRunner().invoke(house, ["fail", str(errno.EROFS)])
    assert (result.exit_code, result.stderr) == (2, "Error: '/boot/x': Read-only file system.\n")


def test_what_belongs_to_somebody_else_comes_with_advice() -> None:
    result = CliRunner().invoke(house, ["fail", str(errno.EACCES)])
    assert result.exit_code == 2
    assert result.stderr.endswith("Try it as the user to whom it belongs, or with sudo in front.\n")
