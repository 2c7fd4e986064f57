"""The mining process: what it finds, how it is stopped, and that it never outlives the node."""

import asyncio
import logging
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from chain import miner as miner_module
from chain.consensus.mining_worker import FOUND, IDLE_JOB, JOB, PROGRESS, REPORT, Pace, Worker
from chain.consensus.proof_of_work import check_seal
from chain.header import EMPTY_OMMERS_HASH, Header
from chain.miner import Miner, MiningFailed

_ZEROS = bytes(32)
_EASY, _HOPELESS = 2_000, 2**200


def _header(difficulty: int, number: int = 1) -> Header:
    return Header(
        _ZEROS, EMPTY_OMMERS_HASH, bytes(20), _ZEROS, _ZEROS, _ZEROS, bytes(256), difficulty, number, 8_000_000, 0,
        1_000, b"", _ZEROS, bytes(8), 0,
    )  # fmt: skip


@pytest_asyncio.fixture
async def miner() -> AsyncIterator[Miner]:
    async with Miner() as miner:
        yield miner


async def _process_of(miner: Miner) -> int:
    await _until(lambda: miner.process_id is not None)
    assert miner.process_id is not None
    return miner.process_id


def _state_of(process: int) -> str:
    """As Linux tells it: R runs or wants to, S sleeps."""
    return Path(f"/proc/{process}/stat").read_text().split()[2]


async def _until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - what another process does sets no event here
        await asyncio.sleep(0.001)


async def _cancelled(task: "asyncio.Task[Header]") -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_seals_header_after_header_in_one_process(miner: Miner) -> None:
    processes = set()
    for number in range(5):
        header = _header(_EASY, number)
        sealed = await miner.seal(header)
        check_seal(sealed)
        assert sealed.seal_hash == header.seal_hash
        processes.add(miner.process_id)
    assert len(processes) == 1
    assert miner.restarts == 0


async def test_two_searches_of_equal_headers_start_at_different_nonces(miner: Miner) -> None:
    first, second = [await miner.seal(_header(1)) for _ in range(2)]
    assert first.nonce != second.nonce


async def test_counts_the_hashes_of_headers_that_are_given_up_too(miner: Miner) -> None:
    hopeless = asyncio.create_task(miner.seal(_header(_HOPELESS)))
    await _until(lambda: miner.hashes > 0)
    before = miner.hashes
    await asyncio.sleep(0.05)
    await _cancelled(hopeless)
    await miner.seal(_header(1))
    assert miner.hashes > before + 1
    assert miner.sealing_s > 0.05


async def test_a_cancelled_search_makes_room_for_the_next_at_once(miner: Miner) -> None:
    hopeless = asyncio.create_task(miner.seal(_header(_HOPELESS)))
    await _process_of(miner)
    await _cancelled(hopeless)
    check_seal(await miner.seal(_header(_EASY)))


async def test_reports_a_hash_rate_while_it_searches_and_sleeps_afterwards(miner: Miner) -> None:
    hopeless = asyncio.create_task(miner.seal(_header(_HOPELESS)))
    await _until(lambda: miner.hash_rate > 0)
    assert miner.hash_rate > 100
    process = await _process_of(miner)
    await _cancelled(hopeless)
    assert miner.hash_rate == 0
    await _until(lambda: _state_of(process) == "S")


async def test_a_killed_process_is_replaced_loudly(
    miner: Miner, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(miner_module, "RESTART_PAUSE_S", 0)
    hopeless = asyncio.create_task(miner.seal(_header(_HOPELESS)))
    first = await _process_of(miner)
    os.kill(first, signal.SIGKILL)
    await _until(lambda: miner.restarts == 1 and miner.process_id is not None)
    assert miner.process_id != first
    await _cancelled(hopeless)
    check_seal(await miner.seal(_header(_EASY)))
    assert [record.levelno for record in caplog.records if "died" in record.message] == [logging.ERROR]


async def test_gives_up_when_the_process_cannot_live(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(miner_module, "RESTART_PAUSE_S", 0)
    monkeypatch.setattr(miner_module.sys, "executable", "/bin/false")
    async with Miner() as miner:
        with pytest.raises(MiningFailed, match="died 6 times in a row"):
            await miner.seal(_header(_EASY))


async def test_stopping_ends_the_process_and_the_search(miner: Miner) -> None:
    hopeless = asyncio.create_task(miner.seal(_header(_HOPELESS)))
    process = await _process_of(miner)
    await asyncio.sleep(0)
    await miner.stop()
    with pytest.raises(MiningFailed, match="stopped"):
        await hopeless
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)


def test_the_process_ends_when_the_node_is_killed() -> None:
    """A node without a chance to clean up: the read end of a pipe that the mining process holds open then ends."""
    node = f"""
import asyncio, os, signal
from chain.miner import Miner
from chain.header import EMPTY_OMMERS_HASH, Header
zeros = bytes(32)
header = Header(zeros, EMPTY_OMMERS_HASH, bytes(20), zeros, zeros, zeros, bytes(256), {_HOPELESS}, 1, 8_000_000, 0,
                1_000, b"", zeros, bytes(8), 0)
async def main():
    miner = Miner()
    task = asyncio.create_task(miner.seal(header))
    while miner.process_id is None:
        await asyncio.sleep(0.01)
    os.kill(os.getpid(), signal.SIGKILL)
asyncio.run(main())
"""
    # The mining process inherits standard error: when it ends too, and only then, reading it comes to an end.
    done = subprocess.run([sys.executable, "-c", node], stderr=subprocess.PIPE, timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL


async def test_a_share_of_nothing_never_finds_anything() -> None:
    async with Miner(cpu_share_percent=0) as miner:
        hopeless = asyncio.create_task(miner.seal(_header(1)))
        await _process_of(miner)
        done, _ = await asyncio.wait([hopeless], timeout=0.2)
        assert not done
        await _cancelled(hopeless)


@pytest.mark.parametrize(("share", "rate"), [(-1, 0), (101, 0), (50, -1)])
def test_impossible_settings_are_refused(share: int, rate: int) -> None:
    with pytest.raises(ValueError, match=r"cannot|must"):
        Miner(share, rate)


def test_pace_of_a_share_and_of_a_hash_rate() -> None:
    assert Pace(1.0, 0).pause_s(0.02, 20_000) == 0
    assert Pace(0.25, 0).pause_s(0.02, 20_000) == pytest.approx(0.06)
    assert Pace(1.0, 1_000).pause_s(0.02, 256) == pytest.approx(0.236)
    # Both bounds hold: the longer rest wins.
    assert Pace(0.01, 1_000).pause_s(0.02, 256) == pytest.approx(1.98)


def test_worker_ends_with_its_input_and_takes_the_newest_of_several_jobs() -> None:
    jobs, write_jobs = os.pipe()
    reports, write_reports = os.pipe()
    easiest = b"\xff" * 32
    os.write(write_jobs, JOB.pack(1, _ZEROS, easiest, 0) + JOB.pack(2, _ZEROS, easiest, 512)[:30])
    os.write(write_jobs, JOB.pack(2, _ZEROS, easiest, 512)[30:])
    os.close(write_jobs)
    Worker(Pace(1.0, 0), jobs, write_reports).run()
    os.close(write_reports)
    with os.fdopen(reports, "rb") as stream:
        assert stream.read() == REPORT.pack(FOUND, 2, (512).to_bytes(8, "big"), 1)
    os.close(jobs)


def test_worker_reports_what_it_tried_for_a_job_that_is_given_up() -> None:
    jobs, write_jobs = os.pipe()
    reports, write_reports = os.pipe()
    worker = Worker(Pace(1.0, 0), jobs, write_reports)
    os.write(write_jobs, JOB.pack(1, _ZEROS, _ZEROS, 0))
    assert worker._take_jobs(0)
    worker._work()
    os.write(write_jobs, IDLE_JOB)
    assert worker._take_jobs(0)
    os.close(write_jobs)
    os.close(write_reports)
    with os.fdopen(reports, "rb") as stream:
        assert stream.read() == REPORT.pack(PROGRESS, 1, bytes(8), 256)
    os.close(jobs)
