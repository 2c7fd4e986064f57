"""A meter's keypad: each code once, across restarts and kills; guessing takes too long."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from contracts.openpaygo import CodeCounts, CodeKind, CodeSecret, CodeUsed, InvalidCode, make_code
from meter.keypad import FREE_TRIES, MAX_WAIT_S, KeypadFile, KeypadSettings, KeypadWaits
from primitives.errors import UserError

SETTINGS = KeypadSettings("TEST1", CodeSecret(bytes(range(16)), 123_456_789), 10**17, 1)
NOW_S = 1_700_000_000

ENTER_AND_STOP = """
import sys
from pathlib import Path
from contracts.openpaygo import CodeKind, make_code
from meter.keypad import KeypadFile
from tests.meter.test_keypad import NOW_S, SETTINGS
keypad, count = KeypadFile(Path(sys.argv[1])), 1
while True:
    code, count = make_code(SETTINGS.secret, count, CodeKind.ADD_TIME, 1)
    keypad.enter(code, NOW_S)
    print(count, flush=True)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    with KeypadFile(tmp_path / "keypad.db") as keypad:
        keypad.install(SETTINGS)
    return tmp_path / "keypad.db"


def added(count: int, value: int, kind: CodeKind = CodeKind.ADD_TIME) -> tuple[str, int]:
    return make_code(SETTINGS.secret, count, kind, value)


def test_codes_add_set_and_unlock_once(path: Path) -> None:
    first, count = added(1, 40)
    second, count = added(count, 2)
    with KeypadFile(path) as keypad:
        assert keypad.enter(second, NOW_S).value == 2
    with KeypadFile(path) as keypad:
        keypad.enter(first, NOW_S)
        for code in (first, second):
            with pytest.raises(CodeUsed):
                keypad.enter(code, NOW_S)
        state = keypad.state()
        assert (state.units, state.credit_wei, state.wrong_tries) == (42, 42 * 10**17, 0)
        assert state.counts == CodeCounts(4, frozenset({2, 4}))
        code, count = added(count, 7, CodeKind.SET_TIME)
        keypad.enter(code, NOW_S)
        code, count = added(count, 0, CodeKind.DISABLE_PAYG)
        keypad.enter(code, NOW_S)
        assert (keypad.state().units, keypad.state().is_unlocked) == (7, True)


def test_guessing_makes_the_keypad_wait_longer_and_longer(path: Path) -> None:
    good, _ = added(1, 40)
    with KeypadFile(path) as keypad:
        now_s = NOW_S
        for _ in range(FREE_TRIES):
            with pytest.raises(InvalidCode):
                keypad.enter("000000000", now_s)
        with pytest.raises(KeypadWaits, match="in 1 min"):
            keypad.enter(good, now_s)
        for _ in range(15):
            now_s = keypad.state().closed_until_s
            with pytest.raises(InvalidCode):
                keypad.enter("000000000", now_s)
        assert keypad.state().closed_until_s == now_s + MAX_WAIT_S
        assert keypad.enter(good, now_s - 10 * MAX_WAIT_S).value == 40  # the clock was set back
        assert keypad.state().wrong_tries == 0


def test_a_kill_neither_loses_a_code_nor_lets_it_count_twice(path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", ENTER_AND_STOP, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    said = 0
    while said < 20:
        said = int(process.stdout.readline())
    os.kill(process.pid, signal.SIGKILL)
    rest = process.stdout.read().split()
    process.stdout.close()
    process.wait()
    said = int(rest[-1]) if rest else said
    with KeypadFile(path) as keypad:
        state = keypad.state()
        assert said <= state.counts.last <= said + 2
        assert state.units == state.counts.last // 2
        with pytest.raises(CodeUsed):
            keypad.enter(added(said - 2, 1)[0], NOW_S)


def test_settings_come_from_the_suppliers_text_only(tmp_path: Path, path: Path) -> None:
    assert KeypadSettings.from_text(SETTINGS.to_text()) == SETTINGS
    good = json.loads(SETTINGS.to_text())
    for bad in ("", "[]", "{}", json.dumps({**good, "key": "0x00"}), json.dumps({**good, "count": -1}),
                json.dumps({**good, "unit_wei": "x"}), json.dumps({**good, "starting_code": 10**9})):  # fmt: skip
        with pytest.raises(UserError, match="no keypad's settings"):
            KeypadSettings.from_text(bad)
    with KeypadFile(path) as keypad, pytest.raises(UserError, match="already"):
        keypad.install(SETTINGS)
    with KeypadFile(tmp_path / "new.db") as keypad, pytest.raises(UserError, match="keypad install` makes one"):
        keypad.enter("123456789", NOW_S)
