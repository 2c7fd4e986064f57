"""What the ledger tells of by events, asked for in stretches of blocks that nodes answer.

A stretch is halved where the node refuses it or answers too much, and doubled again after each answer.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from meter.ledger import AcceptedReading, MeterLedger
from wallet.client import InvalidAnswer, RpcError

T = TypeVar("T")

# Blocks asked for in one eth_getLogs, within what public and own nodes answer.
MAX_LOG_BLOCKS = 1000


@dataclass(frozen=True, slots=True)
class Stretch(Generic[T]):
    """The blocks from one to another, both included, and what was found in them, in order."""

    first_block: int
    last_block: int
    found: list[T]


class LogStretches(Generic[T]):
    """Of what `ask` finds in the blocks from one to another. Each question raises one of NodeTrouble where the node
    answers not even for a single block."""

    def __init__(self, ask: Callable[[int, int], Awaitable[list[T]]], max_blocks: int | None = None) -> None:
        """`max_blocks` is for what is so rare that nodes answer for more blocks; else MAX_LOG_BLOCKS."""
        self._ask = ask
        self._max_blocks = self._blocks = MAX_LOG_BLOCKS if max_blocks is None else max_blocks

    async def forward(self, first_block: int, last_block: int) -> Stretch[T]:
        """The first stretch from a block on, `last_block` at most."""
        while True:
            found = await self._look(first_block, min(first_block + self._blocks - 1, last_block))
            if found is not None:
                return found

    async def backward(self, last_block: int, first_block: int) -> Stretch[T]:
        """The last stretch up to a block, `first_block` at least."""
        while True:
            found = await self._look(max(last_block - self._blocks + 1, first_block), last_block)
            if found is not None:
                return found

    async def _look(self, first_block: int, last_block: int) -> Stretch[T] | None:
        """None where fewer blocks are to be asked for."""
        count = last_block - first_block + 1
        try:
            found = await self._ask(first_block, last_block)
        except (RpcError, InvalidAnswer):
            if count <= 1:
                raise
            self._blocks = count // 2
            return None
        self._blocks = min(self._blocks * 2, self._max_blocks)
        return Stretch(first_block, last_block, found)


def accepted_readings(ledger: MeterLedger, meter: bytes) -> LogStretches[AcceptedReading]:
    """The readings of a meter that the ledger has accepted."""
    return LogStretches(lambda first_block, last_block: ledger.accepted_readings(meter, first_block, last_block))


async def first_block_from(ledger: MeterLedger, time_s: int, newest: int) -> int:
    """The first block of that time or later, found in halves; the one behind the newest where there is none.

    Raises one of NodeTrouble.
    """
    low, high = 0, newest + 1
    while low < high:
        middle = (low + high) // 2
        block = await ledger.node.block(middle)
        if block is None:
            raise InvalidAnswer(f"the node has no block {middle}, though its newest is {newest}")
        if block.time_s >= time_s:
            high = middle
        else:
            low = middle + 1
    return low
