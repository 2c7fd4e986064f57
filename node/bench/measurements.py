"""From what every node logged to what the run has shown: block times, stale blocks, how long a block travels.

Pure: takes the arrivals of all nodes and says which blocks became canonical. A block's time is its first arrival
anywhere, which is at its maker; it has travelled when the last node has imported it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from node.arrivals import Arrival
from node.bench.intervals import MeanInterval, exponential_interval, percentile, student_interval
from primitives.errors import UserError


@dataclass(frozen=True, slots=True)
class MeasuredBlock:
    """A canonical block. Times are machine seconds; time_s is monotonic."""

    number: int
    block_hash: bytes
    maker: int
    """Which node made it, counted from 0."""
    time_s: float
    interval_s: float
    """Since the block before it."""
    spread_s: float | None
    """From the first node that had it to the last; None where one took it in with a bundle of older blocks."""


@dataclass(frozen=True, slots=True)
class MeasuredChain:
    """The measured stretch of the chain that all nodes agreed on in the end."""

    blocks: tuple[MeasuredBlock, ...]
    stale: int
    """Blocks at these heights that at least one node imported and that are not canonical."""

    @property
    def intervals_s(self) -> list[float]:
        return [block.interval_s for block in self.blocks]

    @property
    def spreads_s(self) -> list[float]:
        return [block.spread_s for block in self.blocks if block.spread_s is not None]

    @property
    def elapsed_s(self) -> float:
        return sum(self.intervals_s)

    def block_time(self, is_mined: bool) -> MeanInterval:
        """Mean time a block: exponential times where blocks are mined, Student's interval elsewhere."""
        return exponential_interval(self.intervals_s) if is_mined else student_interval(self.intervals_s)

    def spread_percentile_s(self, percent: float) -> float | None:
        """Within which time so many percent of the blocks had reached every node; None where none was followed."""
        return percentile(self.spreads_s, percent) if self.spreads_s else None

    def made_by(self, node: int) -> int:
        """How many of the blocks a node made."""
        return sum(block.maker == node for block in self.blocks)


def measure_chain(
    nodes: Sequence[Sequence[Arrival]], makers: Mapping[bytes, int], start: int, blocks: int
) -> MeasuredChain:
    """The `blocks` blocks above block `start`; the arrivals are each node's, in order.

    `makers` names each node's coinbase. Raises UserError where the nodes do not agree on so many blocks.
    """
    chain = settled_chain(nodes)
    times_s: dict[bytes, list[float]] = {}
    for arrivals in nodes:
        for one in arrivals:
            times_s.setdefault(one.block_hash, []).append(one.time_s)
    measured = []
    for number in range(start + 1, start + blocks + 1):
        arrival, parent = chain.get(number), chain.get(number - 1)
        if arrival is None or parent is None:
            raise UserError(f"The nodes did not agree on block {number}, so that it cannot be measured.")
        if arrival.coinbase not in makers:
            raise UserError(f"Block {number} was made by somebody who is no part of this benchmark.")
        seen_s = times_s[arrival.block_hash]
        measured.append(
            MeasuredBlock(
                number,
                arrival.block_hash,
                makers[arrival.coinbase],
                min(seen_s),
                min(seen_s) - min(times_s[parent.block_hash]),
                max(seen_s) - min(seen_s) if len(seen_s) == len(nodes) else None,
            )
        )
    canonical = {block.block_hash for block in measured}
    seen = {one.block_hash for arrivals in nodes for one in arrivals if start < one.number <= start + blocks}
    return MeasuredChain(tuple(measured), len(seen - canonical))


def settled_chain(nodes: Sequence[Sequence[Arrival]]) -> dict[int, Arrival]:
    """By number, the blocks that are canonical at every node: the common part of the chains below their heads."""
    known = {arrival.block_hash: arrival for arrivals in nodes for arrival in arrivals}
    chains = [_chain_below(_head(arrivals), known) for arrivals in nodes]
    if not chains or not all(chains):
        return {}
    shared = set.intersection(*({arrival.block_hash for arrival in chain} for chain in chains))
    return {arrival.number: arrival for arrival in chains[0] if arrival.block_hash in shared}


def _head(arrivals: Sequence[Arrival]) -> Arrival | None:
    return next((arrival for arrival in reversed(arrivals) if arrival.became_head), None)


def _chain_below(head: Arrival | None, known: Mapping[bytes, Arrival]) -> list[Arrival]:
    """The head and its ancestors, as far down as anybody logged them."""
    chain = []
    while head is not None:
        chain.append(head)
        head = known.get(head.parent_hash)
    return chain
