"""Asks the person at the terminal, or answers for a person who is not there: by options, or with what is usual.

Questions go to standard error, as all remarks do. With `--yes` nobody is asked; a question that has no usual answer
then ends with a sentence that names the option which answers it.
"""

import contextlib
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from primitives.errors import UserError
from wallet.command_line import read_password, say

T = TypeVar("T")

# Who mistypes ten times is no person.
MAX_ATTEMPTS = 10


@dataclass(frozen=True, slots=True)
class Person:
    """Whoever sets up a meter."""

    yes: bool
    """Nobody is asked: usual answers are taken."""

    def tell(self, text: str = "") -> None:
        say(text)

    def heading(self, number: int, text: str) -> None:
        """The beginning of a step."""
        say(f"\n{number}. {click.style(text, bold=True)}\n")

    def agrees(self, question: str, *, usual: bool, option: str = "") -> bool:
        """Yes or no."""
        if self.yes:
            return usual
        self._must_be_there(question, option)
        with interruptible():
            return click.confirm(question, default=usual, err=True)

    def new_password(self, file: Path | None, prompt: str) -> str:
        """In a file, or typed twice without being shown."""
        if file is None and self.yes:
            raise UserError("a new key needs a password: give a file with it, --password-file FILE")
        with interruptible():
            return read_password(file, prompt, is_new=True)

    def answer(self, question: str, parse: Callable[[str], T], *, usual: str | None, option: str) -> T:
        """What `parse` makes of the answer; asked again where that raises UserError or ValueError."""
        if self.yes:
            if usual is None:
                raise UserError(f"{question.strip()}? Nobody is asked with --yes: say it with {option}")
            return parse(usual)
        self._must_be_there(question, option)
        for _ in range(MAX_ATTEMPTS):
            with interruptible():
                text = click.prompt(question, default=usual, err=True, show_default=usual != "")
            try:
                return parse(str(text).strip())
            except (UserError, ValueError) as error:
                say(f"   That cannot be: {error}")
        raise UserError(f"{question.strip()}? {MAX_ATTEMPTS} answers could not be used; say it with {option}")

    def choice(self, question: str, choices: Sequence[tuple[T, str]], *, usual: int | None, option: str) -> T:
        """One of several, shown with numbers from 1 on; `usual` counts from 0."""
        if not self.yes:
            for number, (_, text) in enumerate(choices, start=1):
                say(f"   {number:>2}  {text}")

        def parse(text: str) -> T:
            if not (text.isascii() and text.isdigit() and 1 <= int(text[:6]) <= len(choices)):
                raise ValueError(f"type a number from 1 to {len(choices)}")
            return choices[int(text) - 1][0]

        return self.answer(question, parse, usual=None if usual is None else str(usual + 1), option=option)

    @staticmethod
    def _must_be_there(question: str, option: str) -> None:
        if not sys.stdin.isatty():
            by_option = f"say it with {option}, or " if option else ""
            asked = question.strip(" ?")
            raise UserError(f"{asked}? There is no terminal to ask; {by_option}take what is usual: --yes")


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """While a person is asked, Ctrl-C ends the program at once: an event loop would note it and go on waiting."""
    with handling(signal.SIGINT, signal.default_int_handler):
        yield


@contextlib.contextmanager
def handling(number: signal.Signals, handler: Any) -> Iterator[None]:
    """A signal is handled otherwise meanwhile; only the main thread can have it so."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(number, handler)
    try:
        yield
    finally:
        signal.signal(number, before)
