"""How many hashes a second a peer of the benchmark really tries, measured with as many miners as the reference has.

A throttled miner falls a little short of what it is set to, since each of its rests ends a little late; an unthrottled
one is as fast as the machine. The difficulty follows from what was measured, not from what was set.
"""

import asyncio
import contextlib
import time
from dataclasses import dataclass

from chain.header import EMPTY_OMMERS_HASH, Header
from chain.miner import Miner
from node.bench.plan import PAPER_REFERENCE_PEERS
from node.bench.usage import usage_of_process
from primitives.errors import UserError

CALIBRATION_S = 2.0
"""Several reports of each miner, which come once a second."""
POLL_INTERVAL_S = 0.01
REPORT_TIMEOUT_S = 30.0
"""Until the first report: a Pi takes a second to start a miner."""

_ZEROS = bytes(32)
_HOPELESS = 2**200
_HEADER = Header(
    _ZEROS, EMPTY_OMMERS_HASH, bytes(20), _ZEROS, _ZEROS, _ZEROS, bytes(256), _HOPELESS, 1, 30_000_000, 0,
    1, b"", _ZEROS, bytes(8), 0,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Calibration:
    """Of one peer, the mean of those that were measured together."""

    hash_rate: float
    """Hashes a second."""
    cpu_percent: float
    """Share of one core that they took."""


async def calibrate(hash_rate: int, duration_s: float = CALIBRATION_S) -> Calibration:
    """Let as many miners as the reference has peers try hashes. `hash_rate` bounds each, 0 for no bound."""
    found = await asyncio.gather(*[_measure_miner(hash_rate, duration_s) for _ in range(PAPER_REFERENCE_PEERS)])
    count = len(found)
    return Calibration(sum(one.hash_rate for one in found) / count, sum(one.cpu_percent for one in found) / count)


async def _measure_miner(hash_rate: int, duration_s: float) -> Calibration:
    async with Miner(cpu_share_percent=100, hash_rate_limit=hash_rate) as miner:
        sealing = asyncio.create_task(miner.seal(_HEADER))
        try:
            # From report to report, so that starting the process is not counted.
            await _next_report(miner)
            began = _snapshot(miner)
            await asyncio.sleep(duration_s)
            await _next_report(miner)
            ended = _snapshot(miner)
        finally:
            sealing.cancel()
            await asyncio.gather(sealing, return_exceptions=True)
    (hashes, cpu_s, time_s) = (after - before for before, after in zip(began, ended, strict=True))
    return Calibration(hashes / time_s, 100 * cpu_s / time_s)


async def _next_report(miner: Miner) -> None:
    before = miner.hashes
    try:
        async with asyncio.timeout(REPORT_TIMEOUT_S):
            while miner.hashes == before:  # noqa: ASYNC110 - the miner sets no event when its process reports
                await asyncio.sleep(POLL_INTERVAL_S)
    except TimeoutError as error:
        raise UserError(f"The mining process reported no hashes for {REPORT_TIMEOUT_S:.0f} s.") from error


def _snapshot(miner: Miner) -> tuple[int, float, float]:
    """Hashes, processor seconds, time."""
    cpu_s = 0.0
    with contextlib.suppress(OSError):
        if miner.process_id is not None:
            cpu_s = usage_of_process(miner.process_id).cpu_s
    return miner.hashes, cpu_s, time.monotonic()
