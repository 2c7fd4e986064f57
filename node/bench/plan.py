"""What the mining benchmark measures, and what others say it should be: the paper's table and its formula.

The paper is "EL DAPP - An Electricity Meter Tracking Decentralized Application" (Bhalaji, Shanmuga Skandh Vinayak),
table 2 and equation 2. Times here are the machine's seconds; "paper seconds" are those times the scale.
"""

import math
from dataclasses import dataclass

from chain.config import FIXED, POW

PAPER_REFERENCE_PEERS = 2
PAPER_REFERENCE_S = 9.0
"""The row of the table that the difficulty is calibrated to."""
PAPER_DIFFICULTY_HASHES = 2**32
"""Hashes that the paper's unit of difficulty, which is Bitcoin's, stands for; ours counts single hashes."""
MAX_PEERS = 16
MAX_BLOCKS = 10_000
"""A day of the paper's two peers; the mean is then known to 2 %."""
MAX_SCALE = 100.0
"""Two peers then make a block in 90 ms; beyond it, making and passing on a block takes as long as finding it."""
DEFAULT_HASH_RATE = 20_000
"""Of one peer, in hashes a second: some 2 % of a core of a desktop and a quarter of a Pi 3's, so that 16 peers leave
two cores mostly idle and a Pi can play one peer."""
MIN_HASH_RATE = 1_000
"""A miner looks at 256 nonces at a time, so that a slower one would find blocks on a coarse raster of times."""

LEDGER_SECONDS_A_BLOCK = 100
"""The nodes' clock runs so fast that a block takes this many of its seconds. A block's time is in whole seconds and
after its parent's, so that nobody may mine in the second of the head: with 3 s a block that rule alone would add 5 %.
At 100 it adds 0.005 %."""
WARM_UP_BLOCKS = 2
ASERT_WARM_UP_BLOCKS = 100
"""Five half-lives of the difficulty: eight times the hash rate that it began with is then settled to a few percent."""


@dataclass(frozen=True, slots=True)
class PaperRow:
    """A row of the paper's table 2."""

    peers: int
    cpu_percent: float
    block_time_s: float


PAPER = {row.peers: row for row in (PaperRow(2, 12.0, 9.0), PaperRow(3, 7.0, 5.0), PaperRow(4, 4.2, 3.0))}


@dataclass(frozen=True, slots=True)
class MiningPlan:
    """What was asked for on the command line."""

    peers: tuple[int, ...]
    """Numbers of peers, one run each."""
    blocks: int
    """Blocks to measure in each run."""
    scale: float = 1.0
    """How many times as fast as the paper's network blocks come, for the same hash rate."""
    hash_rate: int = DEFAULT_HASH_RATE
    """Of each peer, in hashes a second; 0: unthrottled."""
    consensus: str = POW
    difficulty_rule: str = FIXED

    @property
    def reference_s(self) -> float:
        """Machine seconds a block that two peers are calibrated to, and that asert and qbft aim at."""
        return PAPER_REFERENCE_S / self.scale

    @property
    def is_mined(self) -> bool:
        return self.consensus == POW

    @property
    def follows_formula(self) -> bool:
        """Whether block times fall with the hash rate; elsewhere the rules of the chain set them."""
        return self.is_mined and self.difficulty_rule == FIXED

    @property
    def warm_up_blocks(self) -> int:
        """Blocks before the measured ones."""
        return WARM_UP_BLOCKS if self.follows_formula or not self.is_mined else ASERT_WARM_UP_BLOCKS

    def planned_s(self, peers: int) -> float:
        """Machine seconds a block that should be seen with so many peers, each with an equal hash rate."""
        return self.reference_s * PAPER_REFERENCE_PEERS / peers if self.follows_formula else self.reference_s

    def clock_rate(self, peers: int) -> float:
        """How fast the nodes' clock runs."""
        return LEDGER_SECONDS_A_BLOCK / self.planned_s(peers)

    def block_time_ledger_s(self, peers: int) -> int:
        """Seconds of the nodes' clock that asert and qbft aim at, at least 1."""
        return max(round(self.reference_s * self.clock_rate(peers)), 1)

    def duration_s(self) -> float:
        """Machine seconds that all runs take, without starting the nodes."""
        blocks = self.blocks + self.warm_up_blocks
        return math.fsum(blocks * self.planned_s(peers) for peers in self.peers)


def calibrated_difficulty(plan: MiningPlan, hash_rate: float) -> int:
    """The genesis difficulty with which two peers of this hash rate average the reference time."""
    return max(round(hash_rate * PAPER_REFERENCE_PEERS * plan.reference_s), 1)


def paper_difficulty(difficulty: float) -> float:
    """A difficulty in the paper's unit."""
    return difficulty / PAPER_DIFFICULTY_HASHES


def formula_s(paper_unit_difficulty: float, hash_rate: float) -> float:
    """The paper's equation 2, time = D * 2^32 / H: seconds a block at a hash rate of the whole network."""
    return paper_unit_difficulty * PAPER_DIFFICULTY_HASHES / hash_rate
