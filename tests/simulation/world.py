"""One simulated world: a loop with its own time, a network, nodes, and a witness; nothing in it outlasts it."""

import asyncio
import logging
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

from chain.genesis import Genesis
from chain.importer import DEFAULT_REORGANISATION_CAP
from tests.simulation.network import SimulatedNetwork
from tests.simulation.node import SimulatedNode
from tests.simulation.power import powered_databases
from tests.simulation.virtual_time import VirtualLoop
from tests.simulation.witness import ErrorsInTheLog, Witness

MEMORY_DISK = Path("/dev/shm")
"""Where the machine has one, files live in its memory: syncing to a real disk would make a run ten times as long."""


class World:
    """What all nodes of one run share."""

    def __init__(
        self,
        seed: int,
        directory: Path,
        loop: VirtualLoop,
        genesis: Genesis,
        witness: Witness,
        reorganisation_cap: int = DEFAULT_REORGANISATION_CAP,
    ) -> None:
        self.seed = seed
        self.directory = directory
        self.loop = loop
        self.genesis = genesis
        self.witness = witness
        self.random = Random(f"world {seed}")
        self.network = SimulatedNetwork(loop, Random(f"network {seed}"), witness)
        self.nodes: list[SimulatedNode] = []
        self.reorganisation_cap = reorganisation_cap
        self.power_cuts = 0
        self.lost_power: Callable[[SimulatedNode], None] = lambda node: None
        """A node went off by itself, or was cut off."""

    def add(self, node: SimulatedNode) -> None:
        self.nodes.append(node)
        self.network.add(node.host)

    def later(self, delay_s: float, action: Callable[[], object]) -> None:
        self.network.later(delay_s, action)

    def run_until(self, is_done: Callable[[], bool], limit_s: float) -> bool:
        """Let time pass; True as soon as it is done, which is looked at after every import. Raises Violation."""
        done: asyncio.Future[None] = self.loop.create_future()

        def look(*_: object) -> None:
            if not done.done() and is_done():
                done.set_result(None)

        self.witness.listeners.append(look)
        self.loop.call_soon(look)
        try:
            self.loop.run_while_pending(done, limit_s)
        finally:
            self.witness.listeners.remove(look)
        self.witness.check()
        return done.done()

    def run_for(self, duration_s: float) -> None:
        """Raises Violation."""
        self.run_until(lambda: False, duration_s)


@contextmanager
def simulated(make_world: Callable[[Path, VirtualLoop], World]) -> Iterator[World]:
    """A world that is cleared away in the end, whatever became of it."""
    loop = VirtualLoop()
    place = MEMORY_DISK if MEMORY_DISK.is_dir() else None
    with tempfile.TemporaryDirectory(prefix="wattchain-", dir=place) as directory, powered_databases():
        world = make_world(Path(directory), loop)
        handler = ErrorsInTheLog(world.witness)
        logging.getLogger().addHandler(handler)
        try:
            yield world
        finally:
            logging.getLogger().removeHandler(handler)
            loop.clear_up([life for node in world.nodes for life in node.lives])
            for node in world.nodes:
                node.disk.close_all()
