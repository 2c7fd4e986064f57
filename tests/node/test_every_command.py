"""All commands of the house at once: each says what it is for, and answers programs as well as people."""

import ast
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from node.cli import main
from tests.json_names import json_faults
from wallet.command_line import LazyCommand, LazyGroup

ROOT = Path(__file__).parents[2]


def walk(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """All commands and groups with the words that call them."""
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None
            yield from walk(inner, (*path, name))


EVERY = list(walk(main))
LEAVES = [(path, command) for path, command in EVERY if not isinstance(command, click.Group)]


def names(commands: list[tuple[tuple[str, ...], click.Command]]) -> list[str]:
    return [" ".join(path) or "wattchain" for path, _ in commands]


@pytest.mark.parametrize(("path", "command"), EVERY, ids=names(EVERY))
def test_help_says_what_it_is_for(path: tuple[str, ...], command: click.Command) -> None:
    assert command.help
    summary = command.help.split("\n\n")[0].strip()
    assert summary.endswith((".", ":")), summary
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, f"{parameter.opts[0]} has no help"
            assert parameter.help.rstrip().endswith((".", "]", ")")), parameter.help
        else:
            if isinstance(parameter.type, click.Choice) and all(
                str(choice).upper() in command.help.upper() for choice in parameter.type.choices
            ):
                continue
            name = (parameter.metavar or parameter.name or "").strip("[].").upper().replace("_", "-")
            assert name in command.help.upper(), f"the argument {name} is not told of"


@pytest.mark.parametrize(("path", "command"), LEAVES, ids=names(LEAVES))
def test_programs_can_read_the_result(path: tuple[str, ...], command: click.Command) -> None:
    assert any("--json" in parameter.opts for parameter in command.params)


def test_one_way_to_take_money_out() -> None:
    paths = {" ".join(path) for path, _ in EVERY}
    assert {"bill payout", "channel payout", "credit payout", "market payout", "market auction payout"} <= paths
    withdrawing = {path for path in paths if path.endswith("withdraw")}
    assert withdrawing == {"market withdraw", "validators withdraw"}  # of an advert and of a vote, not of money


def test_summaries_of_groups_are_of_their_commands() -> None:
    for path, command in EVERY:
        lazy = command._lazy_commands if isinstance(command, LazyGroup) else {}
        for name, one in lazy.items():
            assert isinstance(one, LazyCommand)
            assert one.summary.endswith("."), (path, name)


GROUPS = [(path, command) for path, command in EVERY if isinstance(command, click.Group)]


@pytest.mark.parametrize(("path", "group"), GROUPS, ids=names(GROUPS))
def test_no_summary_is_cut_off(path: tuple[str, ...], group: click.Group) -> None:
    text = group.get_help(click.Context(group, info_name=" ".join(path), max_content_width=80))
    listed = text.partition("Commands:")[2]
    assert listed
    assert [line for line in listed.splitlines() if line.endswith("...")] == []


def test_faults_of_json_are_seen() -> None:
    good = {"a_b": [{"fee_wei": "1", "block": None, "is_it": True}], "c2": 2**53}
    assert json_faults(good) == []
    assert len(json_faults([{"chainId": 1}, {"fee_wei": 5}, {"a": {"b": 2**53 + 1}}, {"0xAb": 1}])) == 4


def test_results_in_json_go_one_way() -> None:
    """So that what tests check of them (tests/json_names.py) is checked of all."""
    for room in ("node", "wallet", "meter"):
        for file in (ROOT / room).rglob("*command*.py"):
            nodes = ast.walk(ast.parse(file.read_text()))
            echoes = [one for one in map(ast.unparse, nodes) if one.startswith("click.echo(")]
            assert not [one for one in echoes if "json." in one], file
