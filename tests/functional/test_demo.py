"""`wattchain demo` from beginning to end, in its own process: it plays, a node is killed meanwhile and comes back,
the books it prints are equal, nothing is left.

Once with the profile that it makes up, once with a measured one.
"""

from pathlib import Path

import pytest

from tests.functional.running_node import RunningCommand

MEASURED = """\
month,hour,day_type,non_shiftable_load,solar_generation
1,1,1,0.412,0
1,2,1,1.7305,0

1,3,1,0.0004,12.5
# the meter was read by hand here
1,4,1,2.05,0
"""


@pytest.mark.slow
@pytest.mark.parametrize("measured", [False, True])
async def test_the_books_of_the_demo(tmp_path: Path, measured: bool) -> None:
    options: list[object] = ["--days", 1, "--rate", 20_000, "--data-dir", tmp_path / "demo"]
    if measured:
        (tmp_path / "home.csv").write_text(MEASURED)
        options += ["--profile", tmp_path / "home.csv"]
    async with RunningCommand(tmp_path, tmp_path / "demo.log", "demo", *options) as demo:
        printed = await demo.finish()
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
