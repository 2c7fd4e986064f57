"""The readings that the ledger has accepted, asked for in stretches of blocks that nodes answer.

A stretch is halved where the node refuses it or answers too much, and doubled again after each answer.
"""

from dataclasses import dataclass

from meter.ledger import AcceptedReading, MeterLedger
from wallet.client import InvalidAnswer, RpcError

# Blocks asked for in one eth_getLogs, within what public and own nodes answer.
MAX_LOG_BLOCKS = 1000


@dataclass(frozen=True, slots=True)
class Stretch:
    """The blocks from one to another, both included, and what was accepted in them, in order."""

    first_block: int
    last_block: int
    accepted: list[AcceptedReading]


class LogStretches:
    """Of one meter. Each question raises one of NodeTrouble where the node answers not even for a single block."""

    def __init__(self, ledger: MeterLedger, meter: bytes) -> None:
        self._ledger = ledger
        self._meter = meter
        self._blocks = MAX_LOG_BLOCKS

    async def forward(self, first_block: int, last_block: int) -> Stretch:
        """The first stretch from a block on, `last_block` at most."""
        while True:
            found = await self._ask(first_block, min(first_block + self._blocks - 1, last_block))
            if found is not None:
                return found

    async def backward(self, last_block: int, first_block: int) -> Stretch:
        """The last stretch up to a block, `first_block` at least."""
        while True:
            found = await self._ask(max(last_block - self._blocks + 1, first_block), last_block)
            if found is not None:
                return found

    async def _ask(self, first_block: int, last_block: int) -> Stretch | None:
        """None where fewer blocks are to be asked for."""
        count = last_block - first_block + 1
        try:
            accepted = await self._ledger.accepted_readings(self._meter, first_block, last_block)
        except (RpcError, InvalidAnswer):
            if count <= 1:
                raise
            self._blocks = count // 2
            return None
        self._blocks = min(self._blocks * 2, MAX_LOG_BLOCKS)
        return Stretch(first_block, last_block, accepted)


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
