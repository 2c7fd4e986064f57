"""How the demo looks: a live table on a terminal, a line for every event otherwise."""

from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from node.demo.day import Day
from node.demo.observation import View
from wallet.amounts import to_decimal

MAX_SHOWN_EVENTS = 12
"""Newest ones under the table; a small terminal shows them all."""


@dataclass(frozen=True, slots=True)
class BooksEntry:
    """Two sums of the closing check that must be equal."""

    name: str
    unit: str
    left: int
    right: int

    @property
    def agrees(self) -> bool:
        return self.left == self.right

    def as_json(self) -> dict[str, object]:
        # As text: wei are beyond what JSON readers count exactly.
        sides = {"left": str(self.left), "right": str(self.right)}
        return {"name": self.name, "unit": self.unit, **sides, "equal": self.agrees}


class Screen:
    """For use by `with`. Events are printed for good, the table is redrawn."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._events: list[str] = []
        self._view: View | None = None
        self.day: Day | None = None
        """From the time on at which it is known when the demo's day begins, the hour stands before each event."""
        self._live = Live(console=console, refresh_per_second=4, transient=False) if console.is_terminal else None

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def event(self, text: str) -> None:
        """Something happened that the onlooker should know."""
        if self.day is not None:
            text = f"{self.day.text()}  {text}"
        self._events.append(text)
        if self._live is None:
            self._console.print(Text(text), soft_wrap=True)
        else:
            self._draw()

    def show(self, view: View) -> None:
        self._view = view
        self._draw()

    def _draw(self) -> None:
        if self._live is None:
            return
        parts: list[Table | Text] = [] if self._view is None else [_table(self._view, self.day), _nodes(self._view)]
        parts += [Text(f"  {event}") for event in self._events[-MAX_SHOWN_EVENTS:]]
        self._live.update(Group(*parts))


def show_books(console: Console, books: Sequence[BooksEntry]) -> None:
    """The closing check: what was compared, both sides to the last digit, and whether they agree."""
    console.print("\nThe books:")
    for entry in books:
        verdict = Text("equal", style="green") if entry.agrees else Text("DIFFERENT", style="bold red")
        sides = f"{entry.left:,} {entry.unit} = {entry.right:,} {entry.unit}"
        console.print(Text(f"  {entry.name}\n    {sides}  ").append_text(verdict), soft_wrap=True)


def _table(view: View, day: Day | None) -> Table:
    shown = f", {day.text()} on the demo's clock" if day is not None else ""
    table = Table(title=f"Block {view.block_number}{shown}", title_justify="left")
    table.add_column("")
    for name in ("readings", "taken", "charged", "given", "credit", "wallet", "supply"):
        table.add_column(name, justify="right")
    for home in view.households:
        table.add_row(
            home.name,
            f"{home.readings}",
            f"{home.read_wh:,} Wh",
            f"{home.charged_wh:,} Wh",
            f"{home.exported_wh:,} Wh",
            watt(home.credit_wei - home.overdrawn_wei - home.debt_wei),
            watt(home.wallet_wei),
            {True: "[green]on", False: "[bold red]OFF", None: "..."}[home.is_supplied],
        )
    table.add_row("Supplier", "", "", "", "", watt(view.supplier_account_wei), "", "", style="dim")
    return table


def _nodes(view: View) -> Text:
    """One line: each node with its block and its peers."""
    line = Text("  ")
    for node in view.nodes:
        if node.block_number is None:
            line.append(f"{node.name}: ").append("OFF", "bold red")
        else:
            line.append(f"{node.name}: block {node.block_number}, {node.peers} peers")
        line.append("    ")
    return line


def watt(wei: int) -> str:
    """To a ten-thousandth, towards zero: "-1.2345 WATT"."""
    whole, _, fraction = to_decimal(abs(wei)).partition(".")
    return f"{'-' if wei < 0 else ''}{int(whole):,}.{fraction[:4]:<04s} WATT"


def kwh(energy_wh: int) -> str:
    """Exact: "1.25 kWh"."""
    whole, fraction = divmod(energy_wh, 1_000)
    behind = f".{fraction:03}".rstrip("0") if fraction else ""
    return f"{whole}{behind} kWh"
