"""The process that mines: takes jobs on standard input, tries nonces, tells what it found on standard output.

Started by chain/miner.py as `python -m chain.consensus.mining_worker`, with the share of the CPU and the highest hash
rate as arguments. It imports little, so that it stays small beside the node on a Pi. It ends as soon as its standard
input is closed: however the node dies, its end of the pipe dies with it. The time it reads paces the CPU, nothing else.

A job is a fixed 80 bytes: number (0: be idle), seal hash, target, first nonce. A report is 25 bytes: kind, job number,
nonce, hashes done for the job since the last report.
"""

import os
import select
import signal
import struct
import sys
import time
from typing import NamedTuple

from chain.consensus.nonce_search import NONCE_SPACE, NONCES_A_RUN, search_nonce

JOB = struct.Struct(">Q32s32sQ")
REPORT = struct.Struct(">BQ8sQ")
FOUND, PROGRESS = 1, 2
NO_NONCE = bytes(8)
IDLE_JOB = JOB.pack(0, bytes(32), bytes(32), 0)

SLICE_S = 0.02
"""Work between two looks at the pipe: a new job waits at most this long, and the loop is still hot."""
REPORT_INTERVAL_S = 1.0
NICENESS = 19
"""The lowest priority: everything else on a Pi goes before mining."""


class Pace(NamedTuple):
    """How much of one core may be used; both bounds hold."""

    cpu_share: float
    """From 0 (never work) to 1."""
    hash_rate: int
    """Hashes a second; 0 for no bound."""

    def pause_s(self, busy_s: float, hashes: int) -> float:
        """How long to rest after a slice of so much CPU time and so many hashes."""
        pause_s = busy_s * (1 / self.cpu_share - 1)
        if self.hash_rate:
            pause_s = max(pause_s, hashes / self.hash_rate - busy_s)
        return pause_s


class Worker:
    """The loop between the two pipes."""

    def __init__(self, pace: Pace, jobs: int, reports: int) -> None:
        self._pace = pace
        self._jobs = jobs
        self._reports = reports
        self._input = b""
        self._number = 0
        self._seal_hash = self._target = b""
        self._nonce = 0
        self._hashes = 0
        self._reported_s = 0.0
        self._rest_until_s = 0.0
        self._runs = 1

    def run(self) -> None:
        """Serve until the pipe of jobs is closed."""
        while self._take_jobs(self._rest_s()):
            if self._rest_s() == 0:
                self._work()

    def _rest_s(self) -> float | None:
        """How long to rest from now on; None: until a job comes. A new job does not shorten the rest that is due."""
        if self._number == 0 or self._pace.cpu_share <= 0:
            return None
        return max(self._rest_until_s - time.monotonic(), 0)

    def _work(self) -> None:
        """One slice of the search."""
        began_s = time.thread_time()
        nonce = search_nonce(self._seal_hash, self._target, self._nonce, self._runs)
        busy_s = time.thread_time() - began_s
        if nonce is None:
            hashes = self._runs * NONCES_A_RUN
            self._runs = self._next_runs(busy_s)
        else:
            hashes = (int.from_bytes(nonce, "big") - self._nonce // NONCES_A_RUN * NONCES_A_RUN) % NONCE_SPACE + 1
        self._nonce = (self._nonce + hashes) % NONCE_SPACE
        self._hashes += hashes
        self._rest_until_s = time.monotonic() + self._pace.pause_s(busy_s, hashes)
        if nonce is not None:
            self._report(FOUND, nonce)
            self._number = 0
        elif time.monotonic() - self._reported_s >= REPORT_INTERVAL_S:
            self._report(PROGRESS, NO_NONCE)

    def _next_runs(self, busy_s: float) -> int:
        wanted = int(self._runs * SLICE_S / max(busy_s, 1e-6))
        if self._pace.hash_rate:
            # With a low hash rate a slice is small as well, or the rest after it would be long.
            wanted = min(wanted, int(self._pace.hash_rate * SLICE_S / NONCES_A_RUN))
        return max(min(wanted, 2 * self._runs), 1)

    def _take_jobs(self, pause_s: float | None) -> bool:
        """Read what has come, waiting no longer than the pause (None: until something comes); False at the end."""
        readable, _, _ = select.select([self._jobs], [], [], pause_s)
        if not readable:
            return True
        received = os.read(self._jobs, 64 * JOB.size)
        if not received:
            return False
        self._input += received
        complete = len(self._input) // JOB.size * JOB.size
        if complete:
            self._begin(self._input[complete - JOB.size : complete])
            self._input = self._input[complete:]
        return True

    def _begin(self, job: bytes) -> None:
        if self._hashes:
            self._report(PROGRESS, NO_NONCE)  # of the job that is given up: the node counts every hash
        self._number, self._seal_hash, self._target, self._nonce = JOB.unpack(job)
        self._hashes = 0
        self._reported_s = time.monotonic()

    def _report(self, kind: int, nonce: bytes) -> None:
        os.write(self._reports, REPORT.pack(kind, self._number, nonce, self._hashes))
        self._hashes = 0
        self._reported_s = time.monotonic()


def main(arguments: list[str]) -> int:
    # Ctrl-C goes to every process of the terminal; the node decides when mining ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.nice(NICENESS)
    worker = Worker(Pace(int(arguments[0]) / 100, int(arguments[1])), sys.stdin.fileno(), sys.stdout.fileno())
    try:
        worker.run()
    except BrokenPipeError:
        return 0  # The node is gone.
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
