"""The picture: it is drawn, from any kind of run, and a machine without matplotlib is told so in time."""

import importlib.util
from pathlib import Path

import pytest

from chain.config import QBFT
from node.bench.plan import MiningPlan
from node.bench.plot import require_plotting, write_plot
from primitives.errors import UserError
from tests.node.bench.sample_results import sample_results


@pytest.mark.parametrize("plan", [None, MiningPlan((4, 2), 10, consensus=QBFT)])
def test_the_picture_is_a_png(tmp_path: Path, plan: MiningPlan | None) -> None:
    path = write_plot(sample_results(plan), tmp_path)
    content = path.read_bytes()
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = int.from_bytes(content[16:20], "big"), int.from_bytes(content[20:24], "big")
    assert width > 2 * height > 400


def test_a_picture_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be written: No such file"):
        write_plot(sample_results(), tmp_path / "absent")


def test_without_matplotlib_a_sentence_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    require_plotting()
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(UserError, match=r"wattchain\[bench\].*--no-plot"):
        require_plotting()
