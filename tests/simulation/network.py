"""The network between simulated machines: who reaches whom, how fast, and how a connection is made."""

import asyncio
from collections.abc import Callable
from contextvars import Context, copy_context
from random import Random
from typing import Protocol

from p2p import limits
from p2p.backend import Wire
from p2p.fields import IpAddress
from p2p.framing import MaxBytes
from p2p.handshake import InvalidHandshake
from p2p.identity import NodeId
from p2p.messages import Message
from p2p.transport import ConnectionLost, PeerTooSlow
from tests.simulation.host import Host
from tests.simulation.virtual_time import VirtualLoop
from tests.simulation.way import Way
from tests.simulation.weather import CALM, Weather
from tests.simulation.wire import SimulatedWire

BYTES_A_S = 2_000_000.0
"""Some 16 Mbit/s: Wi-Fi on the far side of the house."""
STALL_S = (0.2, 3.0)
"""TCP waits 0.2 s before it sends a packet again, then twice as long, and so on."""


class Watcher(Protocol):
    """Who hears of everything that happens."""

    def event(self, *what: object) -> None: ...

    def said(self, host: Host, message: Message) -> None:
        """A machine sends a message."""

    def is_final(self, message: Message) -> bool:
        """Whether it is one of those by which a block becomes final."""


class SimulatedNetwork:
    """All machines, and the ways between them."""

    def __init__(self, loop: VirtualLoop, random: Random, watcher: Watcher) -> None:
        self.loop = loop
        self.random = random
        self.watcher = watcher
        self.messages = 0
        self.hosts: dict[IpAddress, Host] = {}
        self.stalled: dict[int, Way] = {}
        """Ways with something to deliver that cannot be delivered now."""
        self._weather = CALM
        self._context: Context = copy_context()
        self._ways = 0

    @property
    def weather(self) -> Weather:
        return self._weather

    @weather.setter
    def weather(self, weather: Weather) -> None:
        self._weather = weather
        self.ways_changed()

    def add(self, host: Host) -> None:
        self.hosts[host.address] = host

    def ways_changed(self) -> None:
        """A way may be open again: the weather is another, or a machine is on again."""
        for way in list(self.stalled.values()):
            way.try_again()

    def is_cut(self, sender: Host, receiver: Host) -> bool:
        weather = self._weather
        return (
            receiver.life is None
            or weather.islands.get(sender.name, 0) != weather.islands.get(receiver.name, 0)
            or (sender.name, receiver.name) in weather.cut_ways
        )

    def later(self, delay_s: float, action: Callable[[], object]) -> None:
        """Something happens in the network, whoever caused it: nobody's life ends it."""
        self.loop.call_at(self.loop.time() + delay_s, action, context=self._context)

    def delay_s(self, size: int = 0) -> float:
        delay_s = self.random.uniform(*self._weather.delay_s) + size / BYTES_A_S
        if self.happens(self._weather.stalls):
            delay_s += self.random.uniform(*STALL_S)
        return delay_s

    def happens(self, probability: float) -> bool:
        return probability > 0 and self.random.random() < probability

    def number_of_way(self) -> int:
        self._ways += 1
        return self._ways

    # Calls

    async def connect(self, caller: Host, address: IpAddress, node_id: NodeId, max_bytes: MaxBytes) -> SimulatedWire:
        """Open a connection, as p2p.backend.Connector says."""
        called = self.hosts.get(address)
        try:
            async with asyncio.timeout(limits.CONNECT_TIME_S):
                if called is None or self.happens(self._weather.refusals):
                    await self.loop.create_future()
                    raise AssertionError
                await self._trip(caller, called)
                await self._trip(called, caller)
        except TimeoutError as error:
            raise ConnectionLost(f"no answer within {limits.CONNECT_TIME_S:g} s") from error
        if caller.life is None or called.life is None:
            raise ConnectionLost("the machine is off")
        ours = SimulatedWire(self, caller, called, True, max_bytes)
        answering = _Answering(self, ours)
        try:
            if not called.life.call(called.take_call, caller.address, answering.accept):
                raise ConnectionLost("hung up on")
            try:
                async with asyncio.timeout(limits.HANDSHAKE_TIME_S):
                    await self._trip(caller, called)
                    await self._trip(called, caller)
            except TimeoutError as error:
                raise PeerTooSlow("the peer is in the handshake") from error
            if called.node_id != node_id:
                raise InvalidHandshake("another node answers")
        except BaseException:
            Way(self, caller, called).send(answering.hung_up)
            ours.abort()
            raise
        Way(self, caller, called).send(answering.finished)
        return ours

    async def _trip(self, sender: Host, receiver: Host) -> None:
        """One packet's way."""
        arrived = self.loop.create_future()
        Way(self, sender, receiver).send(lambda: arrived.done() or arrived.set_result(None))
        await arrived


class _Answering:
    """The called side of a handshake."""

    def __init__(self, network: SimulatedNetwork, caller: SimulatedWire) -> None:
        self._network = network
        self._caller = caller
        self._outcome: asyncio.Future[bool] = network.loop.create_future()

    def finished(self) -> None:
        if not self._outcome.done():
            self._outcome.set_result(True)

    def hung_up(self) -> None:
        if not self._outcome.done():
            self._outcome.set_result(False)

    async def accept(self, max_bytes: MaxBytes) -> Wire:
        caller = self._caller
        theirs = SimulatedWire(self._network, caller.receiver, caller.sender, False, max_bytes)
        theirs.join(caller)
        try:
            async with asyncio.timeout(limits.HANDSHAKE_TIME_S):
                if not await asyncio.shield(self._outcome):
                    raise ConnectionLost("the peer hung up")
        except TimeoutError as error:
            theirs.abort()
            raise PeerTooSlow("the peer is in the handshake") from error
        except BaseException:
            theirs.abort()
            raise
        return theirs
