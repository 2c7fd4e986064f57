"""Programs as switches: real ones, that obey, fail, hang, shout, and leave others behind."""

import os
import sys
from pathlib import Path

import pytest

from meter.switches.command import CommandSwitch, run_command
from meter.switches.switch import SwitchTrouble


def program(folder: Path, name: str, text: str) -> str:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def is_running(process: int) -> bool:
    """What was killed and not yet reaped by anybody does not run."""
    status = Path(f"/proc/{process}/stat")
    return status.exists() and status.read_text().rpartition(")")[2].split()[0] != "Z"


@pytest.fixture
def switch(tmp_path: Path) -> CommandSwitch:
    relay = program(tmp_path, "relay", f'echo "$1" > {tmp_path}/state')
    ask = program(tmp_path, "ask", f'test "$(cat {tmp_path}/state)" = on')
    return CommandSwitch((relay, "on"), (relay, "off"), (ask,), 10)


async def test_on_off_and_the_state(switch: CommandSwitch) -> None:
    for is_on in (True, False, True):
        await switch.set(is_on)
        assert await switch.state() is is_on


async def test_no_shell_reads_the_words(tmp_path: Path) -> None:
    touched = tmp_path / "touched"
    word = f"; touch {touched}; $(touch {touched}) `touch {touched}` *"
    told = program(tmp_path, "tell", f'printf %s "$1" > {tmp_path}/word')
    assert await run_command((told, word), 10) == (0, "")
    assert (tmp_path / "word").read_text() == word
    assert not touched.exists()


async def test_exit_code_and_what_it_said(tmp_path: Path) -> None:
    failing = program(tmp_path, "fail", "echo the relay is stuck >&2; exit 3")
    switch = CommandSwitch((failing,), (failing,), (), 10)
    with pytest.raises(SwitchTrouble, match="fail ended with status 3: the relay is stuck"):
        await switch.set(True)
    assert await switch.state() is None


async def test_switch_that_says_yes_and_does_nothing(tmp_path: Path) -> None:
    yes, off = program(tmp_path, "yes", "exit 0"), program(tmp_path, "off", "exit 1")
    with pytest.raises(SwitchTrouble, match="the switch is off all the same"):
        await CommandSwitch((yes,), (yes,), (off,), 10).set(True)


async def test_state_command_that_fails(tmp_path: Path) -> None:
    odd = program(tmp_path, "odd", "exit 9")
    with pytest.raises(SwitchTrouble, match="odd ended with status 9"):
        await CommandSwitch((odd,), (odd,), (odd,), 10).state()


async def test_what_hangs_is_killed_with_all_that_it_started(tmp_path: Path) -> None:
    hanging = program(tmp_path, "hang", f"sleep 60 & echo $! > {tmp_path}/child; wait")
    with pytest.raises(SwitchTrouble, match=r"did not end within 2 s"):
        await run_command((hanging,), 2)
    child = int((tmp_path / "child").read_text())
    assert not is_running(child)


async def test_what_shouts_does_not_fill_the_memory(tmp_path: Path) -> None:
    shouting = program(tmp_path, "shout", "head -c 3000000 /dev/zero | tr '\\0' x >&2; exit 1")
    status, told = await run_command((shouting,), 20)
    assert status == 1
    assert len(told) < 400


@pytest.mark.parametrize("name", ["absent", "folder"])
async def test_what_cannot_be_run(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(SwitchTrouble, match="cannot be run"):
        await run_command((str(tmp_path / name),), 10)


async def test_the_meters_surroundings_are_not_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", "/run/credentials")
    script = "import os, sys; sys.exit('CREDENTIALS_DIRECTORY' in os.environ or 'PATH' not in os.environ)"
    assert "PATH" in os.environ
    assert (await run_command((sys.executable, "-c", script), 20))[0] == 0
