"""A group whose commands are loaded when they are called."""

import sys

import click
from click.testing import CliRunner

from wallet.command_line import LazyCommand, LazyGroup

GROUP = LazyGroup("house", lazy_commands={"tidy": LazyCommand("calendar:absent", "Never loaded by help.")})


def test_help_lists_commands_without_loading_them() -> None:
    result = CliRunner().invoke(GROUP, ["--help"])
    assert result.exit_code == 0
    assert "tidy" in result.output
    assert "Never loaded by help." in result.output


def test_a_command_is_loaded_when_it_is_called() -> None:
    group = LazyGroup("house", lazy_commands={"wallet": LazyCommand("wallet.commands:wallet", "Keys.")})
    assert CliRunner().invoke(group, ["wallet", "--help"]).exit_code == 0
    assert isinstance(sys.modules["wallet.commands"].wallet, click.Group)


def test_an_unknown_command_is_named() -> None:
    result = CliRunner().invoke(GROUP, ["cook"])
    assert result.exit_code == 2
    assert "No such command 'cook'" in result.output
