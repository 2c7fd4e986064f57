"""A machine on the simulated network, and who may sit between it and the others."""

from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Protocol

from p2p.backend import Wire
from p2p.fields import IpAddress
from p2p.framing import MaxBytes
from p2p.identity import NodeId
from p2p.messages import Message
from tests.simulation.virtual_time import Life

if TYPE_CHECKING:
    from tests.simulation.wire import SimulatedWire

Accept = Callable[[MaxBytes], Awaitable[Wire]]


class Host:
    """A machine on the network. It is on while a life runs on it."""

    def __init__(self, name: str, node_id: NodeId, address: IpAddress) -> None:
        self.name = name
        self.node_id = node_id
        self.address = address
        self.life: Life | None = None
        self.take_call: Callable[[IpAddress, Accept], bool] = lambda address, accept: False
        """Within the life: somebody calls (p2p.peers.PeerSet.take_call)."""
        self.tamper: Tamper | None = None
        self.wires: list[SimulatedWire] = []
        """Ends of connections at this machine that may be open."""


class Tamper(Protocol):
    """A liar who sits between a node and the network."""

    def sends(self, wire: "SimulatedWire", message: Message) -> Iterable[Message]:
        """What is sent instead of what the node says."""

    def hears(self, wire: "SimulatedWire", message: Message) -> None:
        """What the node is told."""
