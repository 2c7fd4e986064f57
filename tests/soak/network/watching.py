"""What is seen of the nodes while they are soaked: their newest blocks, their memory, and that none ends by itself."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from tests.functional.running_network import NetworkNode
from tests.functional.running_node import ProcessFailed
from tests.soak.network.memory import Sample, resident_mib
from wallet.client import InvalidAnswer, NodeUnreachable, RpcClient, RpcError

HEAD_INTERVAL_S = 0.5
MEMORY_INTERVAL_S = 2.0
ANSWER_TIME_S = 5.0
"""A frozen node does not answer at all."""


@dataclass(slots=True)
class Watch:
    """Of all nodes of one network."""

    nodes: Sequence[NetworkNode]
    is_final: bool
    """Whether a block that any node has told of may never be replaced."""
    told: dict[int, bytes] = field(default_factory=dict)
    """By number, the hashes that nodes gave as their newest."""
    samples: dict[int, list[Sample]] = field(default_factory=dict)
    """By node."""
    longest_gap_s: float = 0.0
    """Between two blocks that were new anywhere."""
    _newest: tuple[int, float] = (0, 0.0)

    async def run(self) -> None:
        """Until cancelled. Raises ProcessFailed where a node ends by itself, or where final blocks differ."""
        self._newest = 0, asyncio.get_running_loop().time()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watch_memory())
            for node in self.nodes:
                group.create_task(self._watch_head(node))

    def gap_at_end(self) -> None:
        """Count the time since the last block as well."""
        self._see_new(0)

    async def _watch_head(self, node: NetworkNode) -> None:
        async with RpcClient(node.rpc_url, timeout_s=ANSWER_TIME_S) as client:
            while True:
                if node.is_running:
                    if (status := node.process.exit_status) is not None and node.is_running:
                        raise ProcessFailed(f"node {node.number} ended with status {status}.{node.process.log_tail()}")
                    # Refused where the head was taken over with its state, until the block above it is executed.
                    with suppress(NodeUnreachable, InvalidAnswer, RpcError):
                        block = await client.block()
                        assert block is not None
                        self._take_head(node, block.number, block.hash)
                await asyncio.sleep(HEAD_INTERVAL_S)

    def _take_head(self, node: NetworkNode, number: int, block_hash: bytes) -> None:
        before = self.told.setdefault(number, block_hash)
        if self.is_final and before != block_hash:
            raise ProcessFailed(
                f"node {node.number} has 0x{block_hash.hex()} as block {number}, another had 0x{before.hex()}"
            )
        self.told[number] = block_hash
        self._see_new(number)

    def _see_new(self, number: int) -> None:
        highest, since_s = self._newest
        now_s = asyncio.get_running_loop().time()
        self.longest_gap_s = max(self.longest_gap_s, now_s - since_s)
        if number > highest:
            self._newest = number, now_s

    async def _watch_memory(self) -> None:
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        while True:
            for node in self.nodes:
                if node.is_running and (held := resident_mib(node.process.process_id)) is not None:
                    self.samples.setdefault(node.number, []).append(Sample(loop.time() - began_s, held))
            await asyncio.sleep(MEMORY_INTERVAL_S)
