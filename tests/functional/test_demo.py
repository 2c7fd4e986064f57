"""`wattchain demo` from beginning to end, in its own process: it plays, a node is killed meanwhile and comes back,
the books it prints are equal, nothing is left.

Once with the profile that it makes up, once with a measured one.
"""

import asyncio
import contextlib
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


PLAY_TIMEOUT_S = 240.0
"""Some twenty seconds, on a machine that does ten other things."""


@pytest.mark.slow
@pytest.mark.parametrize("measured", [False, True])
async def test_the_books_of_the_demo(tmp_path: Path, measured: bool) -> None:
    options: list[object] = ["--days", 1, "--rate", 20_000, "--data-dir", tmp_path / "demo"]
    if measured:
        (tmp_path / "home.csv").write_text(MEASURED)
        options += ["--profile", tmp_path / "home.csv"]
    async with RunningCommand(tmp_path, tmp_path / "demo.log", "demo", *options) as demo:
        printed = await demo.finish(PLAY_TIMEOUT_S)
        await demo.group_ended()
    books = " ".join(printed.partition("The books:")[2].split())
    assert books.count(" equal") == 5
    assert "4 nodes = 4 nodes equal" in books
    story = " ".join(printed.split())
    assert "Node 2 loses its power." in story
    assert "Node 2 has power again" in story
    assert "All nodes were stopped and ended in order." in story
    if measured:  # 4,192.9 Wh: what the first household, which never runs out, has used
        assert "4,192 Wh = 4,192 Wh equal" in books
    assert "Traceback" not in (tmp_path / "demo.log").read_text()


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
