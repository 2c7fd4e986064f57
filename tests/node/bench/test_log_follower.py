"""Following a log that another process writes."""

from pathlib import Path

import pytest

from node.bench.log_follower import LogFollower
from primitives.errors import UserError


def test_each_whole_line_is_told_once(tmp_path: Path) -> None:
    path = tmp_path / "node.log"
    follower = LogFollower(path)
    assert follower.new_lines() == []
    with path.open("w") as log:
        log.write("one\ntwo\nthr")
        log.flush()
        assert follower.new_lines() == ["one", "two"]
        assert follower.new_lines() == []
        log.write("ee\n")
        log.flush()
        assert follower.new_lines() == ["three"]


def test_bytes_that_are_no_text_do_not_stop_it(tmp_path: Path) -> None:
    path = tmp_path / "node.log"
    path.write_bytes(b"\xff\xfe\n good\n")
    assert LogFollower(path).new_lines()[1] == " good"


def test_a_log_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        LogFollower(tmp_path).new_lines()
