"""The bar of long work: on a terminal, and nowhere else."""

import pytest

from wallet.progress_bar import progress_bar, tell_nobody


def test_nothing_is_written_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar("Looking") as told:
        told(1, 2)
    tell_nobody(2, 2)
    assert capsys.readouterr() == ("", "")


def test_a_terminal_sees_how_far_it_is(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # which makes rich take anything for a terminal
    monkeypatch.setenv("TERM", "xterm")
    with progress_bar("Looking") as told:
        told(1, 2)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "Looking" in shown.err
    assert "1/2" in shown.err
