"""What every kind of consensus answers about a block's difficulty and seal; importer and builder know no more of it.

`anchor` is the block of the branch that difficulty is measured from (difficulty.anchor_number), or None while the
parent is the genesis block: a genesis time may lie years back, so nothing is measured from it.
"""

from typing import Protocol

from chain.config import POW, ChainConfig
from chain.consensus.proof_of_work import ProofOfWork
from chain.header import Header


class Engine(Protocol):
    """One chain's rules of difficulty and seal."""

    def next_difficulty(self, parent: Header, timestamp_s: int, anchor: Header | None) -> int:
        """The difficulty that a block of that time on this parent must have."""

    def check_header(self, header: Header, parent: Header, anchor: Header | None) -> None:
        """Raises InvalidBlock where difficulty or seal are wrong; everything else is checked elsewhere."""


def engine_for(config: ChainConfig) -> Engine:
    """The engine that the chain's rules ask for."""
    if config.consensus == POW:
        return ProofOfWork(config)
    raise ValueError(f"no engine for the consensus {config.consensus!r}")
