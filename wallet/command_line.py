"""What all commands of the house share: plain error messages, JSON or text output, and asking for passwords.

Results go to standard output, everything else (questions, progress, errors) to standard error, so that a result can be
piped. Exit status: 0 done, 1 stopped by the person, 2 an error that is named in one plain sentence; 78 of a service
where no later try would mend that.
"""

import errno
import functools
import importlib
import inspect
import json
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import click

from primitives.errors import Invalid, NeedsPerson, UserError

P = ParamSpec("P")
T = TypeVar("T")

EXIT_STATUS_ERROR = 2
EXIT_STATUS_NEEDS_PERSON = 78
"""EX_CONFIG of sysexits.h. The units of systemd start a service that ended with it no more (node/units)."""
# Three lines beside a command's name on a terminal of 80 columns.
MAX_SUMMARY_CHARACTERS = 180
# What is wrong is shown, so that it can be found; a slip of the mouse should not fill the screen.
MAX_SHOWN_CHARACTERS = 80
# More digits than any number that a command takes (2^256 has 78).
WHOLE_NUMBER = re.compile(r"[+-]?[0-9]{1,80}")
# A password file holds one line; a wrong file name should not read a disk image into memory.
MAX_PASSWORD_BYTES = 4096


class NumberType(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.2 on
    """A finite decimal number."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Decimal:
        try:
            number = Decimal(value)
        except InvalidOperation:
            number = Decimal("nan")
        if not number.is_finite():
            self.fail(f"{str(value)[:80]!r} is no number such as 1.5.", param, ctx)
        return number


NUMBER = NumberType()


class NumberInRange(click.FloatRange):
    """A number, which may have a least and a greatest one."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = float(NUMBER.convert(value, param, ctx))
        if (self.min is not None and number < self.min) or (self.max is not None and number > self.max):
            self.fail(f"{number:g} is out of range: it must be {self._describe_range()}.", param, ctx)
        return number

    def _describe_range(self) -> str:
        """What click puts behind the help of an option."""
        return range_text(self.min, self.max)


def range_text(least: float | None, greatest: float | None) -> str:
    """As in "from 1 to 64"; empty where all is allowed."""
    low, high = (f"{one:g}" if isinstance(one, float) else str(one) for one in (least, greatest))
    if greatest is None:
        return "" if least is None else f"{low} or more"
    return f"up to {high}" if least is None else f"from {low} to {high}"


class WholeNumber(click.IntRange):
    """A whole number, which may have a least and a greatest one; help and errors in words of a person."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        text, bounds = str(value), self._describe_range()
        advice = f": it must be {bounds}" if bounds else ""
        if not WHOLE_NUMBER.fullmatch(text):
            self.fail(f"{text[:MAX_SHOWN_CHARACTERS]!r} is no whole number{advice}.", param, ctx)
        number = int(text)
        if (self.min is not None and number < self.min) or (self.max is not None and number > self.max):
            self.fail(f"{number} is out of range{advice}.", param, ctx)
        return number

    def _describe_range(self) -> str:
        """What click puts behind the help of an option."""
        return range_text(None if self.min is None else int(self.min), None if self.max is None else int(self.max))


class PlainError(click.ClickException):
    """An error as one sentence on standard error."""

    exit_code = EXIT_STATUS_ERROR


class LastingError(PlainError):
    """One that no later try mends."""

    exit_code = EXIT_STATUS_NEEDS_PERSON


def service(command: Callable[P, T]) -> Callable[P, T]:
    """A command that systemd runs: it ends with a status of its own where starting it again would be of no use."""

    @functools.wraps(command)
    def run(*arguments: P.args, **options: P.kwargs) -> T:
        try:
            return command(*arguments, **options)
        except NeedsPerson as error:
            raise LastingError(as_sentence(str(error))) from error

    return run


def _advice(error: BaseException | None) -> str:
    """Of what belongs to somebody else, such as to the user of a service."""
    if isinstance(error, PermissionError):
        return " Try it as the user to whom it belongs, or with sudo in front."
    return ""


class PlainGroup(click.Group):
    """A group of commands that tells Invalid, UserError and what the system refuses plainly, with exit status 2."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (Invalid, UserError) as error:
            raise PlainError(as_sentence(str(error)) + _advice(error.__cause__)) from error
        except OSError as error:
            if error.errno == errno.EPIPE or not error.strerror:  # a reader that has seen enough is for click
                raise
            place = f"{str(error.filename)[:MAX_SHOWN_CHARACTERS]!r}: " if error.filename is not None else ""
            raise PlainError(f"{place}{error.strerror}.{_advice(error)}") from error

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        for one in args:
            if any("\ud800" <= character <= "\udfff" for character in one):
                shown = one[:MAX_SHOWN_CHARACTERS].encode(errors="replace").decode()
                raise PlainError(f"'{shown}' is not written in UTF-8: type it again, or give the file another name.")
        return super().parse_args(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """With whole sentences: click cuts them off at the end of the line."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, self.summary(ctx, name)) for name in self.list_commands(ctx)])

    def summary(self, ctx: click.Context, name: str) -> str:
        command = self.get_command(ctx, name)
        return "" if command is None else command.get_short_help_str(MAX_SUMMARY_CHARACTERS)


@dataclass(frozen=True, slots=True)
class LazyCommand:
    """A command that is loaded when it is called."""

    target: str
    """As in "wallet.commands:wallet"."""
    summary: str
    """One line for the list of commands."""


class LazyGroup(PlainGroup):
    """A group with commands that cost nothing before they are called, beside others that are there."""

    def __init__(self, *arguments: Any, lazy_commands: Mapping[str, LazyCommand], **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self._lazy_commands = lazy_commands

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*self._lazy_commands, *super().list_commands(ctx)})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        lazy = self._lazy_commands.get(cmd_name)
        if lazy is None:
            return super().get_command(ctx, cmd_name)
        module, attribute = lazy.target.split(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def summary(self, ctx: click.Context, name: str) -> str:
        lazy = self._lazy_commands.get(name)
        return super().summary(ctx, name) if lazy is None else lazy.summary


DEFAULT_NODE = "http://127.0.0.1:8545"

node_option = click.option(
    "--node",
    envvar="WATTCHAIN_NODE",
    default=DEFAULT_NODE,
    show_default=True,
    metavar="URL",
    help="The node to ask (or set WATTCHAIN_NODE).",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON, for programs.")
password_file_option = click.option(
    "--password-file",
    type=click.Path(path_type=Path),
    help="Read the password from this file's first line instead of asking.",
)


def as_one_argument(
    name: str, kind: Callable[..., object], options: Sequence[Callable[..., Any]]
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Gives a command these options, and hands their values over as one argument: a dataclass with their names."""
    members = tuple(inspect.signature(kind).parameters)

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def gathered(**arguments: Any) -> None:
            chosen = kind(**{member: arguments.pop(member) for member in members})
            command(**arguments, **{name: chosen})

        decorated: Callable[..., None] = gathered
        for option in reversed(options):
            decorated = option(decorated)
        return decorated

    return decorate


def as_sentence(message: str) -> str:
    if message.partition(" ")[0].isalpha():  # a file's name at the beginning stays as it is
        message = message[:1].upper() + message[1:]
    return message if message.endswith((".", "!", "?")) else message + "."


def print_result(result: object, text: str, as_json: bool) -> None:
    """The result as JSON, or the text that says the same to a person."""
    if as_json:
        print_json(result)
    else:
        click.echo(text)


def print_json(result: object, *, on_one_line: bool = False) -> None:
    """A result for programs; on one line where more follow."""
    click.echo(json_text(result, on_one_line=on_one_line))


def json_text(result: object, *, on_one_line: bool = False) -> str:
    """Every result of the house goes through here. Names are in small_letters and say their units; wei are text, since
    numbers of JSON are too small for them in most languages. Only the gateway's JSON-RPC has Ethereum's own names."""
    return json.dumps(result, indent=None if on_one_line else 2)


def say(text: str) -> None:
    """A remark beside the result."""
    click.echo(text, err=True)


def read_password(password_file: Path | None, prompt: str, *, is_new: bool = False) -> str:
    """The password in the file, or typed without being shown; a new one twice. Raises UserError."""
    if password_file is not None:
        return secret_in(password_file)
    return ask_secret(prompt, twice=is_new, otherwise="give a file with --password-file")


def ask_secret(prompt: str, *, twice: bool, otherwise: str) -> str:
    """A secret typed at the terminal; `otherwise` says what to do where there is none. Raises UserError."""
    if not sys.stdin.isatty():
        raise UserError(f"There is no terminal to ask for the secret; {otherwise}.")
    secret = click.prompt(prompt, hide_input=True, confirmation_prompt=twice, err=True)
    return str(secret)


def confirm(question: str, yes: bool) -> None:
    """Ask to go on, unless the answer was given by --yes. Raises UserError where nobody can be asked."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise UserError("There is no terminal to confirm this; add --yes if you are sure.")
    click.confirm(question, abort=True, err=True)


def secret_in(path: Path, *, warns: bool = True) -> str:
    """The password in the first line of a file; says so where others may read it. Raises UserError."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_PASSWORD_BYTES + 1)
            is_open_to_others = bool(os.fstat(file.fileno()).st_mode & 0o077)
        password = content.decode().split("\n", 1)[0].removesuffix("\r")
    except OSError as error:
        raise UserError(f"The password file {path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise UserError(f"The password file {path} is not a text file.") from error
    if len(content) > MAX_PASSWORD_BYTES or not password:
        raise UserError(f"The password file {path} must hold one line with the password.")
    if is_open_to_others and warns:
        say(f"Warning: others on this computer may read {path}; protect it with: chmod 600 {path}")
    return password
