"""`wattchain demo` from beginning to end, in its own process: it plays, a node is killed meanwhile and comes back,
the books it prints are equal, nothing is left.

Once a day of trade until the evening, in homes that are made to be reckoned by hand; once at a rate for billing alone.
"""

import asyncio
import contextlib
import re
import signal
from pathlib import Path

import pytest

from tests.functional.running_network import until
from tests.functional.running_node import RunningCommand

MEASURED = """\
month,hour,day_type,non_shiftable_load,solar_generation
1,1,1,0.412,0
1,2,1,1.7305,0

1,3,1,0.0004,12.5
# the meter was read by hand here
1,4,1,2.05,0
"""
SUNNY_HOURS = range(7, 17)
EVENING_HOUR = 18

PLAY_TIMEOUT_S = 240.0
"""Some seventy seconds, on a machine that does ten other things."""


@pytest.mark.slow
async def test_a_day_in_the_neighbourhood(tmp_path: Path) -> None:
    rows = [f"{hour + 1},1.0,{500 if hour in SUNNY_HOURS else 0}" for hour in range(EVENING_HOUR)]
    (tmp_path / "home.csv").write_text("\n".join(["hour,non_shiftable_load,solar_generation", *rows]) + "\n")
    story, books = await play(tmp_path, "--profile", tmp_path / "home.csv")
    # Ten hours of 8 kW x 0.5 - 1 kW; eight hours of 1 kW.
    for home in ("Home 1", "Home 2"):
        assert f"{home}: energy read = energy charged 8,000 Wh = 8,000 Wh equal" in books
        given = f"{home}: energy given = sold to neighbours + credited by the supplier 30,000 Wh = 30,000 Wh equal"
        assert given in books
    # On a busy machine one of them may be refused and try again until its hour is over.
    assert re.search(r"Home [12] has sun to spare: it advertises \S+ kWh at", story)
    assert "Home 3: energy read = energy charged 18,000 Wh = 18,000 Wh equal" in books
    # What is read from the board is what is billed: what was played, but for lines that a busy machine did not read in
    # time, which are a gap.
    assert re.search(
        r"Home 6 has a virtual RPICT board, which its meter reads from the port \S+/home-6/ttyBoard", story
    )
    read = re.search(r"Home 6: energy read = energy charged (\S+) Wh = (\S+) Wh equal", books)
    assert read is not None
    assert read[1] == read[2]
    assert 9_000 < int(read[1].replace(",", "")) < 19_000
    assert "Home 5 has used up its credit; it goes on with emergency credit" in story
    repaid = re.search(r"Home 5 pays \S+ WATT: (\S+) WATT repay the emergency credit first", story)
    assert repaid is not None
    assert float(repaid[1]) > 0
    assert re.search(r"Home 3 buys \S+ kWh from Home [12] at", story)
    assert re.search(r"Both meters show \S+ kWh from Home [12] to Home [34]", story)
    closed = re.search(r"Home 1 closes the channel with the last of (\d+) payments: it gets (\S+) WATT", story)
    assert closed is not None
    assert int(closed[1]) > 0
    sold = [float(one) for one in re.findall(r"Home [12] has sold (\S+) kWh to neighbours", story)]
    assert sum(sold) > float(closed[2]) / 0.12 - 0.001
    assert "Home 4 has used up its credit and its emergency credit: its relay switches the supply OFF." in story
    assert books.count(" equal") == 15


@pytest.mark.slow
async def test_homes_are_billed_at_a_rate_that_leaves_no_time_for_trade(tmp_path: Path) -> None:
    (tmp_path / "home.csv").write_text(MEASURED)
    story, books = await play(tmp_path, "--profile", tmp_path / "home.csv", "--rate", 20_000)
    assert "too short for trade" in story
    assert books.count(" equal") == 15
    # 4,192.9 Wh: what homes have used that never ran out.
    assert "Home 3: energy read = energy charged 4,192 Wh = 4,192 Wh equal" in books


async def play(folder: Path, *options: object) -> tuple[str, str]:
    """The story and the books of a demo, each on one line."""
    options = (*options, "--data-dir", folder / "demo")
    async with RunningCommand(folder, folder / "demo.log", "demo", *options) as demo:
        printed = await demo.finish(PLAY_TIMEOUT_S)
        await demo.group_ended()
    story, _, books = printed.partition("The books:")
    story, books = " ".join(story.split()), " ".join(books.split())
    assert "4 nodes = 4 nodes equal" in books
    assert "Node 2 loses its power." in story
    assert "Node 2 has power again" in story
    assert "All nodes were stopped and ended in order." in story
    assert "Traceback" not in (folder / "demo.log").read_text()
    return story, books


async def test_a_terminal_that_closes_takes_the_whole_demo_with_it(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    async with RunningCommand(tmp_path, tmp_path / "demo.log", "demo", "--data-dir", folder, "--days", 30) as demo:
        await until("a node runs", lambda: _is_logging(folder / "node-1" / "node.log"))
        children = processes_of(folder)
        assert children
        demo.send_signal(signal.SIGHUP)
        await until("the demo has ended", lambda: _has_ended(demo))
        assert demo.exit_status == 1
        assert processes_of(folder) == []


def processes_of(folder: Path) -> list[int]:
    """Those whose command line names the folder, but for the demo itself."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (process / "cmdline").read_bytes().split(b"\0")
            if b"demo" not in words and any(word.startswith(bytes(folder)) for word in words):
                found.append(int(process.name))
    return found


async def _is_logging(path: Path) -> bool:
    return await asyncio.to_thread(lambda: path.exists() and path.stat().st_size > 0)


async def _has_ended(demo: RunningCommand) -> bool:
    return demo.exit_status is not None
