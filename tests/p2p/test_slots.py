"""Room for connections: limits for strangers, kept slots, two connections of one node."""

from ipaddress import ip_address

import pytest

from p2p import limits
from p2p.fields import IpAddress
from p2p.messages import DisconnectReason
from p2p.slots import ConnectionSlots, NoSlot, Slot
from primitives.clock import ManualClock

OWN = b"\x50" * 20


def node(number: int) -> bytes:
    return number.to_bytes(20, "big")


def public(number: int, host: int = 1) -> IpAddress:
    """An address in the public subnet with that number."""
    return ip_address(f"8.{number // 256}.{number % 256}.{host}")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def slots(clock: ManualClock) -> ConnectionSlots:
    return ConnectionSlots(clock, OWN)


def accept(slots: ConnectionSlots, number: int, address: IpAddress) -> Slot:
    slot = slots.begin_inbound(address)
    try:
        assert slots.establish(slot, node(number)) is None
    except NoSlot:
        slots.release(slot)
        raise
    return slot


def call(slots: ConnectionSlots, number: int, address: IpAddress) -> Slot:
    slot = slots.begin_outbound(address, node(number))
    assert slots.establish(slot, node(number)) is None
    return slot


def test_strangers_fill_their_slots_and_no_more(slots: ConnectionSlots) -> None:
    kept = [accept(slots, number, public(number)) for number in range(limits.MAX_INBOUND_STRANGERS)]
    with pytest.raises(NoSlot, match="inbound connections") as refusal:
        accept(slots, 99, public(99))
    assert refusal.value.reason is DisconnectReason.TOO_MANY_PEERS
    slots.release(kept[0])
    slots.release(kept[0])
    accept(slots, 99, public(99))
    assert len(slots.connected()) == limits.MAX_INBOUND_STRANGERS


def test_strangers_inside_leave_our_own_calls_alone(slots: ConnectionSlots) -> None:
    for number in range(limits.MAX_INBOUND_STRANGERS):
        accept(slots, number, public(number))
    assert slots.outbound_strangers_wanted() == limits.MAX_OUTBOUND_STRANGERS
    for number in range(100, 100 + limits.MAX_OUTBOUND_STRANGERS):
        call(slots, number, public(number))
    assert slots.outbound_strangers_wanted() == 0
    with pytest.raises(NoSlot, match="outbound connections"):
        slots.begin_outbound(public(200), node(200))


def test_one_address_and_one_subnet_get_a_part_only(slots: ConnectionSlots) -> None:
    for number in range(limits.MAX_INBOUND_FROM_ADDRESS):
        accept(slots, number, public(0))
    with pytest.raises(NoSlot, match=r"connections from 8\.0\.0\.1$"):
        accept(slots, 90, public(0))
    for number in range(limits.MAX_INBOUND_FROM_ADDRESS, limits.MAX_INBOUND_FROM_SUBNET):
        accept(slots, number, public(0, host=2))
    with pytest.raises(NoSlot, match=r"connections from 8\.0\.0\.0/24"):
        accept(slots, 90, public(0, host=3))
    accept(slots, 90, public(1))


def test_we_call_few_nodes_of_one_public_subnet(slots: ConnectionSlots) -> None:
    for number in range(limits.MAX_OUTBOUND_TO_SUBNET):
        call(slots, number, public(0, host=number))
    with pytest.raises(NoSlot, match="outbound connections to"):
        slots.begin_outbound(public(0, host=9), node(9))
    for number in range(10, 15):
        call(slots, number, ip_address(f"192.168.1.{number}"))


def test_neighbours_share_a_subnet_and_test_nodes_a_machine(slots: ConnectionSlots) -> None:
    for number in range(limits.MAX_INBOUND_FROM_SUBNET + 4):
        accept(slots, number, ip_address(f"192.168.1.{number}"))
    for number in range(50, 50 + limits.MAX_INBOUND_FROM_ADDRESS + 4):
        accept(slots, number, ip_address("127.0.0.1"))


def test_handshakes_in_progress_are_bounded_in_all_and_an_address(slots: ConnectionSlots) -> None:
    pending = [slots.begin_inbound(public(0)) for _ in range(limits.MAX_PENDING_FROM_ADDRESS)]
    with pytest.raises(NoSlot, match="handshakes with"):
        slots.begin_inbound(public(0))
    pending += [slots.begin_inbound(public(number)) for number in range(1, 13)]
    assert len(pending) == limits.MAX_PENDING_HANDSHAKES
    with pytest.raises(NoSlot, match="handshakes in progress"):
        slots.begin_inbound(public(50))
    slots.establish(pending[0], node(1))
    slots.begin_inbound(public(50))


def test_a_validator_finds_its_slot_when_strangers_fill_all_theirs(slots: ConnectionSlots) -> None:
    slots.reserve_for([node(1), node(2)])
    for number in range(10, 10 + limits.MAX_INBOUND_STRANGERS):
        accept(slots, number, public(number))
    for number in range(100, 100 + limits.MAX_OUTBOUND_STRANGERS):
        call(slots, number, public(number))
    accept(slots, 1, public(10))
    assert call(slots, 2, public(100)).is_reserved
    assert {node(1), node(2)} <= slots.connected()


def test_kept_slots_are_bounded_too(slots: ConnectionSlots) -> None:
    count = limits.MAX_RESERVED_PEERS + limits.MAX_OUTBOUND_STRANGERS
    slots.reserve_for([node(number) for number in range(count + 1)])
    for number in range(count):
        assert call(slots, number, public(number)).is_reserved == (number < limits.MAX_RESERVED_PEERS)
    with pytest.raises(NoSlot):
        slots.begin_outbound(public(count), node(count))


def test_a_node_is_called_once(slots: ConnectionSlots) -> None:
    slots.begin_outbound(public(1), node(1))
    with pytest.raises(NoSlot) as refusal:
        slots.begin_outbound(public(2), node(1))
    assert refusal.value.reason is DisconnectReason.ALREADY_CONNECTED


@pytest.mark.parametrize(("other", "own_call_stays"), [(b"\x60" * 20, True), (b"\x40" * 20, False)])
def test_two_nodes_that_call_each_other_at_once_keep_the_same_connection(other: bytes, own_call_stays: bool) -> None:
    """Seen from both ends, in either order, one connection is left, and it is the same one."""
    for inbound_first in (True, False):
        slots = ConnectionSlots(ManualClock(), OWN)
        outbound, inbound = slots.begin_outbound(public(1), other), slots.begin_inbound(public(1))
        first, second = (inbound, outbound) if inbound_first else (outbound, inbound)
        assert slots.establish(first, other) is None
        staying = outbound if own_call_stays else inbound
        if second is staying:
            assert slots.establish(second, other) is first
        else:
            with pytest.raises(NoSlot, match="connected already"):
                slots.establish(second, other)
            slots.release(second)
        assert slots.connected() == {other}
        slots.release(staying)
        assert slots.connected() == frozenset()


def test_a_node_that_lost_power_comes_back_before_its_old_connection_is_given_up(
    slots: ConnectionSlots, clock: ManualClock
) -> None:
    dead = accept(slots, 1, public(1))
    again = slots.begin_inbound(public(1))
    assert slots.establish(again, node(1)) is dead
    # While connected, nobody is called a second time.
    with pytest.raises(NoSlot):
        slots.begin_outbound(public(1), node(1))
    # Were it two calls at once, ours would stay: our id is the smaller one.
    other = b"\x60" * 20
    dead_call = slots.begin_outbound(public(2), other)
    slots.establish(dead_call, other)
    clock.advance_s(limits.MIN_REPLACED_AGE_S)
    assert slots.establish(slots.begin_inbound(public(2)), other) is dead_call


def test_a_refused_replacement_leaves_the_first_connection_alone(slots: ConnectionSlots, clock: ManualClock) -> None:
    for number in range(limits.MAX_INBOUND_FROM_SUBNET):
        accept(slots, number, public(0, host=1 + number // 2))
    first = accept(slots, 90, public(1))
    clock.advance_s(limits.MIN_REPLACED_AGE_S)
    moved = slots.begin_inbound(public(0, host=200))
    with pytest.raises(NoSlot, match="connections from"):
        slots.establish(moved, node(90))
    slots.release(moved)
    assert node(90) in slots.connected()
    slots.release(first)
    assert node(90) not in slots.connected()


def test_an_operator_may_want_fewer_strangers() -> None:
    slots = ConnectionSlots(ManualClock(), bytes(20), max_inbound=1, max_outbound=1)
    assert slots.outbound_strangers_wanted() == 1
    slots.begin_outbound(ip_address("10.0.0.1"), b"\1" * 20)
    assert slots.outbound_strangers_wanted() == 0
    with pytest.raises(NoSlot):
        slots.begin_outbound(ip_address("10.0.0.2"), b"\2" * 20)
    slots.establish(slots.begin_inbound(ip_address("10.0.0.3")), b"\3" * 20)
    with pytest.raises(NoSlot):
        slots.establish(slots.begin_inbound(ip_address("10.0.0.4")), b"\4" * 20)
