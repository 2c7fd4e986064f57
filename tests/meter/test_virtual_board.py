"""A board that is not there: the energy that it plays is the energy that a meter reads from its port."""

import asyncio
import json
import os
import signal
import sys
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meter.drivers.board_line import LineDecoder
from meter.drivers.field_map import find_board
from meter.drivers.measured_csv import Column, CsvFormat
from meter.drivers.rpict import RpictSettings, open_device
from meter.integration import MWMS_PER_MWH
from meter.pseudo_terminal import PseudoTerminal
from meter.virtual_board import VirtualBoard, profile_power, rows_power
from primitives.clock import AcceleratedClock, ManualClock, SystemClock
from primitives.errors import UserError

LIMIT_S = 20
BEGIN_S = 1_700_000_000
ROWS_W = [Fraction(1000), Fraction(-2500), Fraction(0), Fraction(1, 3)]


def test_mean_power_of_rows() -> None:
    power = rows_power(ROWS_W, 900, BEGIN_S)
    at = [Fraction(BEGIN_S + second) for second in range(0, 4501, 450)]
    assert power(at[0], at[1]) == power(at[0], at[2]) == 1000
    assert power(at[1], at[3]) == Fraction(1000 - 2500, 2)
    assert power(at[0], at[8]) == sum(ROWS_W) / 4
    assert power(at[0] - 900, at[2]) == 500
    assert (power(at[9], at[10]), power(at[0], at[0]), power(at[1], at[0])) == (0, 0, 0)


@given(st.lists(st.integers(-1000, 5000), min_size=1, max_size=20))
def test_pieces_have_the_energy_of_the_whole(seconds: list[int]) -> None:
    power = rows_power(ROWS_W, 900, BEGIN_S)
    cuts = [Fraction(BEGIN_S + second) for second in (-1000, *sorted(seconds), 5000)]
    energies = [power(first, last) * (last - first) for first, last in pairwise(cuts)]
    assert sum(energies) == sum(ROWS_W) * 900


@given(st.fractions(-100_000, 100_000))
def test_lines_are_those_of_a_board(power_w: Fraction) -> None:
    board = VirtualBoard(PseudoTerminal(Path("unused")), rows_power([], 1, 0), ManualClock(), 5)
    rows = find_board("RPICT3V1").fields
    told = [LineDecoder(rows, node_id=11).decode(board.line(power_w)) for _ in range(2)]
    assert abs(Fraction(told[0].get("power", 1) or 0) - power_w * 1000) <= 5
    assert told[0].get("power", 2) == told[0].get("current", 3) == 0
    # No two lines are the same, or the sensor would be taken for stuck.
    assert told[0].get("voltage", 1) != told[1].get("voltage", 1)


def test_profile_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "home.csv").write_text("non_shiftable_load\n0.5\n?\n1.5\n")
    form = CsvFormat(Column("non_shiftable_load", "kWh"), None, 3600)
    power = profile_power(tmp_path / "home.csv", form, BEGIN_S)
    hours = [Fraction(BEGIN_S + 3600 * hour) for hour in range(4)]
    assert [power(first, first + 3600) for first in hours] == [500, 0, 1500, 0]


async def test_energy_read_is_energy_played(tmp_path: Path) -> None:
    """An hour of an accelerated clock; what is left over is the time between a line and its being read."""
    rate = 3600.0
    clock = AcceleratedClock(rate, BEGIN_S, SystemClock().precise_time_s() + 0.05)
    port = PseudoTerminal(tmp_path / "ttyBoard")
    board = VirtualBoard(port, rows_power(ROWS_W[:2] * 2, 900, BEGIN_S), clock, 60)
    device = open_device(RpictSettings(port=str(port.path)), clock)
    running = asyncio.create_task(board.run())
    taken_mwms = given_mwms = 0
    last_ms: int | None = None
    async with asyncio.timeout(LIMIT_S):
        await asyncio.sleep(0)
        while clock.precise_time_s() < BEGIN_S + 4000:
            measurement = await device.read()
            assert measurement is not None
            assert measurement.power_mw is not None
            duration_ms = 0 if last_ms is None else measurement.elapsed_ms - last_ms
            last_ms = measurement.elapsed_ms
            taken_mwms += max(measurement.power_mw, 0) * duration_ms
            given_mwms += max(-measurement.power_mw, 0) * duration_ms
    await device.close()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert not port.path.exists()
    taken_wh, given_wh = taken_mwms / MWMS_PER_MWH / 1000, given_mwms / MWMS_PER_MWH / 1000
    # 500 Wh and 1250 Wh, but for rows that a line lies across; a busy machine is late by some lines.
    assert 500 * 0.8 < taken_wh < 500 * 1.2
    assert 1250 * 0.8 < given_wh < 1250 * 1.2


SETTINGS = """
[board]
port = "ttyBoard"
interval_s = 0.05
[load]
file = "home.csv"
"""


async def test_as_a_command(tmp_path: Path) -> None:
    (tmp_path / "home.csv").write_text("non_shiftable_load\n0.5\n")
    (tmp_path / "board.toml").write_text(SETTINGS)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "node", "meter", "board", str(tmp_path / "board.toml"), "--json",
        stdout=asyncio.subprocess.PIPE, env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    assert process.stdout is not None
    async with asyncio.timeout(LIMIT_S):
        told = json.loads(await process.stdout.readline())
        assert told == {"port": str(tmp_path / "ttyBoard")}
        device = open_device(RpictSettings(port=told["port"]), SystemClock())
        measurement = await device.read()
        assert measurement is not None
        assert abs((measurement.power_mw or 0) - 500_000) <= 10
        await device.close()
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0
    assert not (tmp_path / "ttyBoard").is_symlink()


def test_a_port_that_is_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "ttyBoard").write_text("precious")
    with pytest.raises(UserError, match="is there already, and is no virtual port"):
        PseudoTerminal(tmp_path / "ttyBoard").plug()
    assert (tmp_path / "ttyBoard").read_text() == "precious"
    with pytest.raises(UserError, match="cannot be made: No such file"):
        PseudoTerminal(tmp_path / "no folder" / "ttyBoard").plug()
