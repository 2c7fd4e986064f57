"""The demo's four nodes as real processes: started one after another, one of them killed and brought back.

Each new node is told of those that run; its port and its gateway's are whatever is free.
"""

import contextlib
from types import TracebackType
from typing import Self

from node.demo.stage import DemoNode
from node.processes import CommandProcess
from primitives.errors import UserError


class DemoNetwork:
    """For use by `async with`: all nodes run inside, and have ended afterwards."""

    def __init__(self, nodes: tuple[DemoNode, ...]) -> None:
        self._nodes = nodes
        self._processes: dict[DemoNode, CommandProcess] = {}
        self._rpc_urls: dict[DemoNode, str] = {}
        self._node_urls: dict[DemoNode, str] = {}

    async def __aenter__(self) -> Self:
        try:
            for node in self._nodes:
                await self.start(node)
        except BaseException:
            await self._stop_all()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stop_all()

    def rpc_url(self, node: DemoNode) -> str:
        """Where its gateway answers, or did."""
        return self._rpc_urls[node]

    def rpc_urls(self, first: DemoNode) -> list[str]:
        """Of all nodes, beginning with one of them."""
        return [self._rpc_urls[first], *[url for node, url in self._rpc_urls.items() if node != first]]

    def is_running(self, node: DemoNode) -> bool:
        return node in self._processes

    async def start(self, node: DemoNode) -> None:
        """Start a node, or start it again. Raises UserError where it does not come up."""
        peers = [option for other, url in self._node_urls.items() if other != node for option in ("--peer", url)]
        process = CommandProcess(
            node.name, ["node", "--data-dir", str(node.folder), "--json", *peers], node.folder / "node.log"
        )
        await process.__aenter__()
        self._processes[node] = process
        facts = await process.first_line()
        self._rpc_urls[node] = str(facts["rpc"])
        self._node_urls[node] = str(facts["node"])

    async def kill(self, node: DemoNode) -> None:
        """As a power cut would: nothing is said, nothing is closed."""
        await self._processes.pop(node).kill()

    async def stop(self) -> None:
        """Ask all nodes to end. Raises UserError where one of them does not end in order."""
        processes, self._processes = self._processes, {}
        statuses = {process.name: await process.stop() for process in processes.values()}
        if failed := [name for name, status in statuses.items() if status != 0]:
            raise UserError(
                f"{', '.join(failed)} did not stop in order. This should never happen; please report it with the log."
            )

    async def _stop_all(self) -> None:
        with contextlib.suppress(UserError):
            await self.stop()
