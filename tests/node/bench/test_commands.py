"""`wattchain bench mining` where it cannot do what it was asked: one sentence, before anything is measured."""

import importlib.util
from pathlib import Path

import pytest
from click.testing import CliRunner

from node.bench.commands import parse_peers
from node.cli import main
from primitives.errors import UserError


def refused(*arguments: object) -> str:
    result = CliRunner().invoke(main, ["bench", "mining", *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    return result.stderr


def test_numbers_of_peers() -> None:
    assert parse_peers("2,3,4") == (2, 3, 4)
    assert parse_peers(" 16, 1 ") == (16, 1)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "whole numbers"),
        ("2,,3", "whole numbers"),
        ("two", "whole numbers"),
        ("2.5", "whole numbers"),
        ("\N{SUPERSCRIPT TWO}", "whole numbers"),
        ("1000", "whole numbers"),
        (",".join(["2"] * 100), "whole numbers"),
        ("17", "from 1 to 16"),
        ("0", "from 1 to 16"),
        ("2,3,2", "twice"),
    ],
)
def test_numbers_of_peers_that_make_no_sense(text: str, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        parse_peers(text)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--peers", "17"], "from 1 to 16"),
        (["--unthrottled", "--hash-rate", 5_000], "give one of them"),
        (["--consensus", "qbft", "--unthrottled"], "nobody mines"),
        (["--consensus", "qbft", "--difficulty", "asert"], "nobody mines"),
        (["--scale", "1000"], "from 0.1 to 100"),
        (["--blocks", "1"], "from 2 to 10000"),
    ],
)
def test_options_that_do_not_fit(tmp_path: Path, options: list[object], sentence: str) -> None:
    assert sentence in refused("--output", tmp_path / "results", *options)
    assert not (tmp_path / "results").exists()


def test_a_picture_without_matplotlib_is_refused_before_half_an_hour_of_measuring(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    assert "matplotlib" in refused("--output", tmp_path / "results")


def test_folders_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "cannot be made" in refused("--output", tmp_path / "file" / "results")
    assert "is not empty" in refused("--output", tmp_path / "results", "--data-dir", tmp_path)
