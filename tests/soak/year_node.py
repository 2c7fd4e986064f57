"""The ledger of a meter's year: real contracts in the real interpreter (tests/meter/fake_node.py), and memory for
100,000 blocks. States of old blocks are forgotten, events and receipts are found without looking at every block.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from chain.execution import TransactionOutcome
from contracts.addresses import METER_ADDRESS
from contracts.binding import load_artifact
from primitives.clock import Clock
from tests.meter.fake_node import METER, Block, FakeNode, MemoryState
from wallet.answers import BlockSummary, Log, Receipt
from wallet.client import BlockTag, RpcError

KEPT_STATES = 50
"""More than any reorganisation here is deep."""
_NO_STATE = MemoryState({}, {}, {})


@dataclass(frozen=True, slots=True)
class AcceptedReading:
    """A reading on the ledger."""

    block_number: int
    sequence: int
    time_s: int
    import_wh: int
    export_wh: int
    flags: int

    @property
    def registers_wh(self) -> tuple[int, int]:
        return self.import_wh, self.export_wh


class YearNode(FakeNode):
    """A block bears the time at which it is made."""

    def __init__(self, credit_wei: int, clock: Clock) -> None:
        super().__init__(credit_wei=credit_wei)
        self.clock = clock
        self.told_time_s = 0
        """Of the newest block that was last told to the meter that runs now."""
        self._blocks_of: dict[bytes, Block] = {}

    def mine(self, count: int = 1, *, is_empty: bool = False, gas_left: int | None = None) -> Block:
        self._tell_time()
        block = super().mine(count, is_empty=is_empty, gas_left=gas_left)
        self._remember(block)
        return block

    def transact(self, sender: bytes, to: bytes, data: bytes, value: int = 0) -> None:
        self._tell_time()
        super().transact(sender, to, data, value)
        self._remember(self.blocks[-1])

    def accepted(self) -> list[AcceptedReading]:
        """All readings of the meter, in the order of acceptance."""
        event = load_artifact("Meter").abi.event("ReadingAccepted")
        found = []
        for block in self.blocks:
            for log in block.logs:
                if log.address == METER_ADDRESS and log.topics[0] == event.topic:
                    values = cast(dict[str, Any], event.decode_log(log.topics, log.data))
                    assert values["meter"] == METER
                    names = ("sequence", "time", "importWh", "exportWh", "flags")
                    found.append(AcceptedReading(block.number, *[values[name] for name in names]))
        return found

    async def block(self, block: BlockTag = "latest") -> BlockSummary | None:
        answer = await super().block(block)
        if block == "latest" and answer is not None:
            self.told_time_s = answer.time_s
        return answer

    async def receipt(self, transaction_hash: bytes) -> Receipt | None:
        def find() -> Receipt | None:
            block = self._blocks_of.get(transaction_hash)
            if block is None or block.number >= len(self.blocks) or self.blocks[block.number] is not block:
                return None
            return block.receipts[transaction_hash]

        return await self._answer("receipt", find)

    async def logs(
        self,
        addresses: Sequence[bytes] = (),
        topics: Sequence[bytes | Sequence[bytes] | None] = (),
        from_block: BlockTag = "latest",
        to_block: BlockTag = "latest",
    ) -> list[Log]:
        def find() -> list[Log]:
            first, last = int(from_block), int(to_block)
            wanted = [[topic] if isinstance(topic, bytes) else topic for topic in topics]
            return [
                log
                for block in self.blocks[first : last + 1]
                for log in block.logs
                if log.address in addresses
                and all(one is None or topic in one for one, topic in zip(wanted, log.topics, strict=False))
            ]

        return await self._answer("logs", find)

    def _tell_time(self) -> None:
        self.block_time_s = max(1, self.clock.time_s() - self.blocks[-1].time_s)

    def _remember(self, block: Block) -> None:
        self._blocks_of.update(dict.fromkeys(block.receipts, block))
        if block.number >= KEPT_STATES:
            self.blocks[block.number - KEPT_STATES].state = _NO_STATE

    def _call(self, sender: bytes | None, to: bytes, data: bytes, block: Block) -> TransactionOutcome:
        if block.state is _NO_STATE:
            raise RpcError("eth_call", -32000, "the state of this block is no longer kept")
        return super()._call(sender, to, data, block)
