"""Every command line in README.md and docs/ is one that the program knows, with options that it has."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from node.cli import main

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
_LINE = re.compile(
    r"^ {4,}(?:\w+\$ |sudo |sudo \"\$\(command -v wattchain\)\" )?wattchain (?P<rest>(?:\\\n|[^\n])*)", re.M
)
_INLINE = re.compile(r"`(?:sudo )?wattchain (?P<rest>[^`]+)`")


def command_lines(text: str) -> Iterator[str]:
    for found in (*_LINE.finditer(text), *_INLINE.finditer(text)):
        yield found["rest"].replace("\\\n", " ").replace("\n", " ")


def words_of(line: str) -> list[str]:
    line = re.split(r"\s{2,}again|\s#| \|\| | > | \.\.\.$", line)[0]
    try:
        return shlex.split(line)
    except ValueError:
        return line.split()


def faults(words: list[str]) -> list[str]:
    """The words that no command of the house knows; prose such as "a | b" stands for one of its alternatives."""
    command: click.Command = main
    options: set[str] = {"--help", "--version"}
    found = []
    for word in words:
        if isinstance(command, click.Group) and not word.startswith("-"):
            inner = command.get_command(click.Context(command), word)
            if inner is None:
                return [*found, word] if not command.invoke_without_command else found
            command = inner
            options |= {name for one in inner.params for name in (*one.opts, *one.secondary_opts)}
        elif word.startswith("--") and word.partition("=")[0].rstrip(",.;:") not in options:
            found.append(word)
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_documented_commands_are_there(page: Path) -> None:
    wrong = {}
    for line in command_lines(page.read_text()):
        if "|" in line.split("--")[0] or line.startswith(("...", "[")):
            continue  # names several at once
        if found := faults(words_of(line)):
            wrong[line] = found
    assert not wrong


def test_faults_are_seen() -> None:
    assert faults(["market", "pay-out"]) == ["pay-out"]
    assert faults(["market", "payout", "--frm", "x"]) == ["--frm"]
    assert faults(["peers", "--node", "http://x", "add", "url"]) == []
    assert faults(["node", "--peer=x"]) == []
