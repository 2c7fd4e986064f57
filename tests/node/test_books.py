"""The closing check of the demo, for a person and for a program."""

import io

from rich.console import Console

from node.demo.screen import BooksEntry, show_books

EQUAL = BooksEntry("read = charged", "Wh", 4_192, 4_192)
DIFFERENT = BooksEntry("paid = received", "wei", 10**18 + 1, 10**18)


def test_both_sides_are_shown_to_the_last_digit() -> None:
    shown = io.StringIO()
    show_books(Console(file=shown), [EQUAL, DIFFERENT])
    lines = [line.strip() for line in shown.getvalue().splitlines()]
    assert lines[2:] == [
        "read = charged",
        "4,192 Wh = 4,192 Wh  equal",
        "paid = received",
        "1,000,000,000,000,000,001 wei = 1,000,000,000,000,000,000 wei  DIFFERENT",
    ]


def test_a_program_gets_exact_numbers() -> None:
    assert DIFFERENT.as_json() == {
        "name": "paid = received",
        "unit": "wei",
        "left": "1000000000000000001",
        "right": "1000000000000000000",
        "equal": False,
    }
