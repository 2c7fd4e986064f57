"""What happens to the nodes, one thing after another: kills, stops, frosts, partitions, lost ledgers. Drawn by a seed.

The first node of each kind, a validator and a follower, is never killed, so that its memory can be watched; it is
frozen and cut off like the others. After each trouble everything is healed and the chain must go on.
"""

import asyncio
import random
import signal
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from tests.functional.running_network import NetworkNode, RunningNetwork, block_number, until
from tests.functional.running_node import ProcessFailed

LEDGER_FILES = "chain.sqlite*"
SHORTEST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 8.0
"""Between two troubles."""
LONGEST_DOWN_S = 10.0
LONGEST_STANDSTILL_S = 8.0
"""With too few validators for a quorum: rounds grow to half a minute, and it takes them as long to meet again."""
LONGEST_APART_S = 20.0
LONGEST_START_S = 1.5
PROGRESS_TIMEOUT_S = 120.0
"""From the end of a trouble until every node has a block more than any had: a round of validators that were apart can
take half a minute, and links are called again after up to a minute."""


@dataclass(slots=True)
class Record:
    """What was done and seen."""

    troubles: Counter[str] = field(default_factory=Counter)
    kills: int = 0
    starts: int = 0
    longest_recovery_s: float = 0.0
    """From the end of a trouble until all nodes were a block further."""


class Troubles:
    """All that befalls a network."""

    def __init__(self, network: RunningNetwork, validators: int, randomness: random.Random) -> None:
        self.record = Record()
        self._network = network
        self._random = randomness
        self._validators = network.nodes[:validators]
        self._followers = network.nodes[validators:]
        self._mortal = [*self._validators[1:], *self._followers[1:]]
        self._kinds: list[tuple[str, int, Callable[[], Awaitable[None]]]] = [
            ("a node is killed", 6, self._kill_one),
            ("a node is killed, and again while it starts", 2, self._kill_while_starting),
            ("a node is stopped and started", 2, self._stop_one),
            ("two validators, or miners, are killed", 2, self._kill_two),
            ("all but two nodes are killed at once", 1, self._kill_many),
            ("a node hangs", 3, self._freeze_one),
            ("a node is cut off", 4, self._cut_one),
            ("the network is cut in two halves", 3, self._cut_in_two),
            ("every link is cut for a moment", 2, self._cut_all),
        ]
        if self._followers[1:]:
            self._kinds.append(("a follower loses its ledger", 1, self._lose_ledger))

    def spares(self, node: NetworkNode) -> bool:
        """Whether this node is never killed."""
        return node not in self._mortal

    async def run(self, until_s: float) -> None:
        """One trouble after another until the loop's clock shows that time. Raises ProcessFailed."""
        loop = asyncio.get_running_loop()
        kinds, weights = [kind for kind, _, _ in self._kinds], [weight for _, weight, _ in self._kinds]
        strike = {kind: act for kind, _, act in self._kinds}
        while loop.time() < until_s:
            (kind,) = self._random.choices(kinds, weights)
            try:
                await strike[kind]()
                await self._goes_on()
            except ProcessFailed as failure:
                raise ProcessFailed(f"trouble {self.record.troubles.total() + 1}, {kind}: {failure}") from None
            self.record.troubles[kind] += 1
            await asyncio.sleep(self._random.uniform(SHORTEST_PAUSE_S, LONGEST_PAUSE_S))

    # The troubles

    async def _kill_one(self) -> None:
        await self._kill_for(self._random.uniform(0, LONGEST_DOWN_S), self._random.choice(self._mortal))

    async def _kill_while_starting(self) -> None:
        node = self._random.choice(self._mortal)
        await self._kill(node)
        await node.process.start()
        await asyncio.sleep(self._random.uniform(0, LONGEST_START_S))
        await self._kill(node)
        await self._start(node)

    async def _stop_one(self) -> None:
        node = self._random.choice(self._mortal)
        node.is_running = False
        if (status := await node.process.stop()) != 0:
            raise ProcessFailed(f"node {node.number} was asked to stop and ended with status {status}")
        await self._start(node)

    async def _kill_two(self) -> None:
        two = self._random.sample([node for node in self._mortal if node in self._validators], 2)
        await self._kill_for(self._random.uniform(0, LONGEST_STANDSTILL_S), *two)

    async def _kill_many(self) -> None:
        await self._kill_for(self._random.uniform(0, LONGEST_STANDSTILL_S), *self._mortal)

    async def _lose_ledger(self) -> None:
        """As when a card is replaced: the node begins anew, with the key and the pool's journal that it had."""
        node = self._random.choice(self._followers[1:])
        await self._kill(node)
        for path in node.folder.glob(LEDGER_FILES):
            path.unlink()
        await self._start(node)

    async def _freeze_one(self) -> None:
        """It hangs with all its connections open, and goes on as if nothing had happened."""
        node = self._random.choice(self._network.nodes)
        node.process.send_signal(signal.SIGSTOP)
        try:
            await asyncio.sleep(self._random.uniform(0, LONGEST_DOWN_S))
        finally:
            node.process.send_signal(signal.SIGCONT)

    async def _cut_one(self) -> None:
        node = self._random.choice(self._network.nodes)
        others = [other for other in self._network.nodes if other is not node]
        await self._cut_for(self._random.uniform(0, LONGEST_APART_S), [node], others)

    async def _cut_in_two(self) -> None:
        """So that neither part has a quorum."""
        validators = self._random.sample(self._validators, len(self._validators))
        followers = self._random.sample(self._followers, len(self._followers))
        half = len(validators) // 2
        one, other = validators[:half] + followers[:1], validators[half:] + followers[1:]
        await self._cut_for(self._random.uniform(0, LONGEST_STANDSTILL_S), one, other)

    async def _cut_all(self) -> None:
        await self._cut_for(self._random.uniform(0, 1), *[[node] for node in self._network.nodes])

    # Their parts

    async def _kill_for(self, seconds: float, *nodes: NetworkNode) -> None:
        await self._kill(*nodes)
        await asyncio.sleep(seconds)
        await self._start(*nodes)

    async def _cut_for(self, seconds: float, *groups: Sequence[NetworkNode]) -> None:
        await self._network.cut(*groups)
        await asyncio.sleep(seconds)
        self._network.mend()

    async def _kill(self, *nodes: NetworkNode) -> None:
        await self._network.kill(*nodes)
        self.record.kills += len(nodes)

    async def _start(self, *nodes: NetworkNode) -> None:
        await self._network.start(*nodes)
        self.record.starts += len(nodes)

    async def _goes_on(self) -> None:
        """All nodes come to a block that none has yet. Raises ProcessFailed."""
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        nodes = self._network.nodes
        number = max([await block_number(node) for node in nodes]) + 1
        for node in nodes:
            await until(
                f"node {node.number} has block {number}", lambda node=node: _has(node, number), PROGRESS_TIMEOUT_S
            )
        self.record.longest_recovery_s = max(self.record.longest_recovery_s, loop.time() - began_s)


async def _has(node: NetworkNode, number: int) -> bool:
    return await block_number(node) >= number
