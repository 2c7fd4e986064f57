"""python -m benchmarks.forecast: how far the market agent's forecast is from what came, beside naive guesses.

Without files it plays the measured homes of the demo, which are eight days each and so show little more than that it
runs; give it files of measured households of a year, as the table in docs/metering/agent.md has them.
"""

import argparse
import json
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

from rich.console import Console
from rich.table import Table

from meter.agent.backtest import Backtest, backtest
from meter.agent.history import Direction, history_of_rows
from meter.agent.shown import DIRECTION_WORDS, backtest_json
from meter.drivers.measured_csv import Column, CsvFormat, read_rows

BUNDLED = Path(__file__).resolve().parent.parent / "node" / "demo" / "measured"
ROW_S = 3_600


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.forecast", description=__doc__)
    parser.add_argument("files", metavar="FILE", nargs="*", type=Path, help="CSV files in the form of CityLearn 2022")
    parser.add_argument("--panel-kw", type=Fraction, default=Fraction(4), help="size of the solar panel (4)")
    parser.add_argument(
        "--held-out", action="store_true", help="only the second half of the days: the rule was chosen on the first"
    )
    parser.add_argument("--json", action="store_true", help="the result as JSON")
    chosen = parser.parse_args(arguments)
    files = chosen.files or sorted(BUNDLED.glob("building_*.csv"))
    results = [
        (path.stem, direction, measured(path, chosen.panel_kw, direction, held_out=chosen.held_out))
        for path in files
        for direction in Direction
    ]
    if chosen.json:
        print(json.dumps([{"home": name, **backtest_json(found)} for name, _, found in results], indent=2))
    else:
        show(results)
    return 0


def measured(path: Path, panel_kw: Fraction, direction: Direction, *, held_out: bool = False) -> Backtest:
    form = CsvFormat(Column("non_shiftable_load", "kWh"), Column("solar_generation", "W", panel_kw), ROW_S)
    hours = history_of_rows([row.net_wh for row in read_rows(path, form)], ROW_S)
    return backtest(hours, direction, held_out=held_out)


def show(results: Sequence[tuple[str, Direction, Backtest]]) -> None:
    table = Table(title="Mean difference, in % of the energy that came")
    for title in ("home", "energy", "days", "kWh a day", "forecast, hour", "yesterday", "week ago", "forecast, day",
                  "yesterday", "week ago", "days below low"):  # fmt: skip
        table.add_column(title, justify="left" if title in ("home", "energy") else "right", no_wrap=title == "home")
    for name, direction, one in results:
        guesses = (one.ours, one.yesterday, one.week_ago)
        errors = [*[each.by_hour_permille for each in guesses], *[each.by_day_permille for each in guesses]]
        table.add_row(
            name, DIRECTION_WORDS[direction], str(one.days), f"{one.energy_wh / 1000 / max(one.days, 1):.1f}",
            *[f"{error / 10:.1f}" for error in errors], f"{100 * one.below_low / max(one.days, 1):.0f} %",
        )  # fmt: skip
    Console(width=140).print(table)


if __name__ == "__main__":
    raise SystemExit(main())
