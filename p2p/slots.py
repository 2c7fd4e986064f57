"""Which connections there is room for: limits an address and a subnet, and slots kept for validators and static peers.

Pure bookkeeping on a Clock. A connection begins as pending, with an address only; when the handshake has shown whose it
is, it is established, or refused. Established connections are never given up for strangers.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass

from p2p import limits
from p2p.fields import IpAddress
from p2p.identity import NodeId
from p2p.messages import DisconnectReason
from p2p.subnet import Reach, public_subnet, reach
from primitives.clock import Clock


class NoSlot(Exception):
    """There is no room for the connection, which is nobody's fault."""

    def __init__(self, reason: DisconnectReason, text: str) -> None:
        super().__init__(text)
        self.reason = reason


@dataclass(slots=True, eq=False)
class Slot:
    """One connection's place. Hand it back with `ConnectionSlots.release`."""

    address: IpAddress
    is_outbound: bool
    node_id: NodeId | None
    """Of an inbound connection only when it is established."""
    is_reserved: bool = False
    established_s: int | None = None


class ConnectionSlots:
    """All connections of this node, pending and established."""

    def __init__(
        self,
        clock: Clock,
        own_node_id: NodeId,
        max_inbound: int = limits.MAX_INBOUND_STRANGERS,
        max_outbound: int = limits.MAX_OUTBOUND_STRANGERS,
    ) -> None:
        """The two numbers are of strangers."""
        self._clock = clock
        self._own_node_id = own_node_id
        self._max_inbound = max_inbound
        self._max_outbound = max_outbound
        self._reserved_nodes: frozenset[NodeId] = frozenset()
        self._slots: list[Slot] = []

    def reserve_for(self, nodes: Collection[NodeId]) -> None:
        """Whose slots are kept, from now on: the validators of the present set and the static peers."""
        self._reserved_nodes = frozenset(nodes)

    def connected(self) -> frozenset[NodeId]:
        """The nodes with an established connection."""
        return frozenset(slot.node_id for slot in self._slots if slot.established_s is not None and slot.node_id)

    def outbound_strangers_wanted(self) -> int:
        """How many more nodes should be called, beside the reserved ones."""
        return max(0, self._max_outbound - self._count(_is_outbound_stranger))

    def begin_inbound(self, address: IpAddress) -> Slot:
        """A place for a call that has just come in. Raises NoSlot."""
        if self._count(_is_pending_inbound) >= limits.MAX_PENDING_HANDSHAKES:
            raise _too_many("handshakes in progress")
        same = self._count(lambda slot: _is_pending_inbound(slot) and slot.address == address)
        if reach(address) is not Reach.MACHINE and same >= limits.MAX_PENDING_FROM_ADDRESS:
            raise _too_many(f"handshakes with {address} in progress")
        return self._add(Slot(address, False, None))

    def begin_outbound(self, address: IpAddress, node_id: NodeId) -> Slot:
        """A place for a call to a node. Raises NoSlot."""
        if any(slot.node_id == node_id for slot in self._slots):
            raise NoSlot(DisconnectReason.ALREADY_CONNECTED, "the node is connected, or being called, already")
        slot = Slot(address, True, node_id, self._can_be_reserved(node_id))
        if not slot.is_reserved:
            if self._count(_is_outbound_stranger) >= self._max_outbound:
                raise _too_many("outbound connections")
            subnet = public_subnet(address)
            same = self._count(lambda other: _is_outbound_stranger(other) and public_subnet(other.address) == subnet)
            if subnet is not None and same >= limits.MAX_OUTBOUND_TO_SUBNET:
                raise _too_many(f"outbound connections to {subnet}")
        return self._add(slot)

    def establish(self, slot: Slot, node_id: NodeId) -> Slot | None:
        """The handshake has shown whose connection it is. Gives the slot of the connection that it replaces, if any:
        that one is released, and to be closed. Raises NoSlot, after which `slot` is still to be released."""
        replaced = self._established(node_id)
        if replaced is not None and not self._replaces(slot, replaced):
            raise NoSlot(DisconnectReason.ALREADY_CONNECTED, "the node is connected already")
        if replaced is not None:
            self._slots.remove(replaced)
        try:
            slot.is_reserved = slot.is_reserved or self._can_be_reserved(node_id)
            if not (slot.is_outbound or slot.is_reserved):
                self._check_inbound_stranger(slot.address)
        except NoSlot:
            if replaced is not None:
                self._slots.append(replaced)
            raise
        slot.node_id = node_id
        slot.established_s = self._clock.time_s()
        return replaced

    def release(self, slot: Slot) -> None:
        """The connection has ended. May be called again."""
        if slot in self._slots:
            self._slots.remove(slot)

    def _add(self, slot: Slot) -> Slot:
        self._slots.append(slot)
        return slot

    def _count(self, condition: Callable[[Slot], bool]) -> int:
        return sum(1 for slot in self._slots if condition(slot))

    def _established(self, node_id: NodeId) -> Slot | None:
        for slot in self._slots:
            if slot.established_s is not None and slot.node_id == node_id:
                return slot
        return None

    def _can_be_reserved(self, node_id: NodeId) -> bool:
        return (
            node_id in self._reserved_nodes
            and self._count(lambda slot: slot.is_reserved) < limits.MAX_RESERVED_PEERS
        )  # fmt: skip

    def _check_inbound_stranger(self, address: IpAddress) -> None:
        if self._count(_is_inbound_stranger) >= self._max_inbound:
            raise _too_many("inbound connections")
        same = self._count(lambda slot: _is_inbound_stranger(slot) and slot.address == address)
        if reach(address) is not Reach.MACHINE and same >= limits.MAX_INBOUND_FROM_ADDRESS:
            raise _too_many(f"connections from {address}")
        subnet = public_subnet(address)
        same = self._count(lambda slot: _is_inbound_stranger(slot) and public_subnet(slot.address) == subnet)
        if subnet is not None and same >= limits.MAX_INBOUND_FROM_SUBNET:
            raise _too_many(f"connections from {subnet}")

    def _replaces(self, new: Slot, old: Slot) -> bool:
        """Both ends of two connections have to choose the same one."""
        age_s = self._clock.time_s() - (old.established_s or 0)
        if new.is_outbound == old.is_outbound or age_s >= limits.MIN_REPLACED_AGE_S:
            return True
        # Two nodes called each other at once: the call of the one with the smaller id stays.
        other = old.node_id or b""
        caller_of_new = self._own_node_id if new.is_outbound else other
        return caller_of_new == min(self._own_node_id, other)


def _is_pending_inbound(slot: Slot) -> bool:
    return slot.established_s is None and not slot.is_outbound


def _is_inbound_stranger(slot: Slot) -> bool:
    return slot.established_s is not None and not slot.is_outbound and not slot.is_reserved


def _is_outbound_stranger(slot: Slot) -> bool:
    return slot.is_outbound and not slot.is_reserved


def _too_many(what: str) -> NoSlot:
    return NoSlot(DisconnectReason.TOO_MANY_PEERS, f"too many {what}")
