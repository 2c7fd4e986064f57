"""Processor time and memory of process groups, of real processes."""

import os
import subprocess
import sys

import pytest

from node.bench.usage import Usage, usage_of_fields, usage_of_groups, usage_of_process

NOBODY = 2**22 + 1
"""Above the largest number that Linux gives to a process."""

_BUSY_PARENT = """
import subprocess, sys, time
child = "import time\\nwhile time.process_time() < 0.15: pass\\nprint(flush=True)\\ntime.sleep(60)"
process = subprocess.Popen([sys.executable, "-c", child], stdout=subprocess.PIPE)
process.stdout.readline()
print(flush=True)
time.sleep(60)
"""


def test_a_group_is_its_leader_and_what_it_started() -> None:
    leader = subprocess.Popen([sys.executable, "-c", _BUSY_PARENT], stdout=subprocess.PIPE, start_new_session=True)
    try:
        assert leader.stdout is not None
        leader.stdout.readline()
        both, alone = usage_of_groups([leader.pid])[leader.pid], usage_of_process(leader.pid)
        assert both.cpu_s >= 0.15
        assert both.memory_mib > alone.memory_mib > 1
    finally:
        os.killpg(leader.pid, 9)
        leader.communicate()


def test_a_group_that_nobody_is_in() -> None:
    assert usage_of_groups([NOBODY]) == {NOBODY: Usage()}


def test_a_process_that_has_ended() -> None:
    with pytest.raises(OSError, match="No such"):
        usage_of_process(NOBODY)


def test_fields_are_read_by_their_places_in_proc_5() -> None:
    text = "R 1 77 77 0 -1 0 0 0 0 0 100 50 30 20 20 0 1 0 73252 3133440 256 18446744073709551615"
    usage = usage_of_fields(text.split())
    assert usage.cpu_s == pytest.approx(200 / os.sysconf("SC_CLK_TCK"))
    assert usage.memory_mib == pytest.approx(256 * os.sysconf("SC_PAGE_SIZE") / 2**20)
