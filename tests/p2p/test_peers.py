"""The set of peers: whole nodes in one process, without sockets, on a clock that the test moves."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_address
from itertools import pairwise
from pathlib import Path

import pytest

from chain.block import Block
from p2p import limits
from p2p.backend import Wire
from p2p.framing import InvalidFrame, MaxBytes
from p2p.handshake import InvalidHandshake
from p2p.messages import Disconnect, DisconnectReason, GetPeers, NewBlock, PeerAddress, Peers, Ping, Status
from p2p.session import Handlers, PeerSession
from p2p.transport import ConnectionLost
from primitives.clock import ManualClock
from primitives.errors import Invalid
from tests.chain.pool_world import transaction
from tests.p2p.memory_network import STATUS, MemoryNetwork, MemoryWire, Node, next_block, node, settle, wire_pair

STRANGER = ip_address("10.9.9.9")


@asynccontextmanager
async def network(count: int, *, in_line: bool = True) -> AsyncIterator[tuple[MemoryNetwork, list[Node]]]:
    """Nodes that run; in a line, each knows the next as a static peer."""
    made = MemoryNetwork(ManualClock())
    nodes = [made.add(number) for number in range(1, count + 1)]
    if in_line:
        for one, following in pairwise(nodes):
            one.peers.add_static(following.url)
    running = [asyncio.create_task(one.run()) for one in nodes]
    await made.passes_s(2)
    try:
        yield made, nodes
    finally:
        for task in running:
            task.cancel()
        for outcome in await asyncio.gather(*running, return_exceptions=True):
            assert isinstance(outcome, asyncio.CancelledError), outcome


async def calls(called: Node, number: int = 99, address: str = "10.9.9.9") -> MemoryWire:
    """A stranger's call, as far as the end of its handshake; the stranger's end of the wire."""
    ours, theirs = wire_pair(node(number), called.node_id)

    async def accept(max_bytes: MaxBytes) -> Wire:
        theirs._max_bytes = max_bytes
        return theirs

    assert called.peers.take_call(ip_address(address), accept)
    await settle()
    return ours


async def greets(called: Node, number: int = 99, status: Status = STATUS) -> MemoryWire:
    wire = await calls(called, number)
    await wire.send(status)
    await settle()
    return wire


def last_reason(wire: MemoryWire) -> DisconnectReason:
    (goodbye,) = [message for message in wire.other.sent if isinstance(message, Disconnect)]
    return goodbye.reason


async def test_transactions_and_blocks_reach_every_node_of_a_line() -> None:
    async with network(5) as (net, nodes):
        assert nodes[1].connected() >= {nodes[0].node_id, nodes[2].node_id}
        one = transaction()
        nodes[0].pool.add([one])
        await net.passes_s(5)
        assert all(one.hash in each.pool for each in nodes)
        block: Block = next_block(nodes[4].chain.best, transactions=(one,))
        await nodes[4].chain.import_block(block, b"")
        await net.passes_s(2)
        assert [each.chain.best for each in nodes] == [block] * 5
        assert [each.chain.imports for each in nodes] == [[block.hash]] * 5


async def test_nodes_find_each_other_by_asking_those_they_know() -> None:
    async with network(4) as (net, nodes):
        await net.passes_s(2 * limits.ASK_FOR_PEERS_INTERVAL_S, step_s=20)
        others = {each.node_id for each in nodes}
        assert [each.connected() for each in nodes] == [others - {each.node_id} for each in nodes]


async def test_a_static_peer_is_called_again_when_it_is_back() -> None:
    async with network(2) as (net, (first, second)):
        assert first.connected() == {second.node_id}
        net.nodes.clear()
        second.peers.disconnect(first.node_id, DisconnectReason.SHUTTING_DOWN)
        await net.passes_s(30)
        assert not first.connected()
        assert first.calls < 10, "calls in vain are spaced out"
        net.nodes[second.node_id] = second
        await net.passes_s(2 * limits.MAX_STATIC_BACKOFF_S)
        assert first.connected() == {second.node_id}


async def test_a_flawed_peer_takes_no_other_down_and_is_banned() -> None:
    async with network(3) as (net, nodes):
        wire = await greets(nodes[1])
        assert node(99) in nodes[1].connected()
        await wire.send(NewBlock(b"\xc0", b"", 1))
        await settle()
        assert nodes[1].connected() == {nodes[0].node_id, nodes[2].node_id}
        assert last_reason(wire) is DisconnectReason.MISBEHAVIOUR
        again = await calls(nodes[1])
        assert last_reason(again) is DisconnectReason.BANNED
        net.clock.advance_s(limits.BAN_TIME_S)
        assert node(99) not in nodes[1].connected()


async def test_a_validator_is_disconnected_but_not_banned() -> None:
    async with network(1) as (_, (one,)):
        one.peers.set_validators([node(99)])
        wire = await greets(one)
        await wire.send(NewBlock(b"\xc0", b"", 1))
        await settle()
        assert not one.connected()
        await greets(one)
        assert one.connected() == {node(99)}


async def test_a_second_connection_replaces_an_old_one_even_while_it_says_nothing() -> None:
    async with network(1) as (net, (one,)):
        first = await calls(one)  # sends no Status
        second = await greets(one)
        assert first.is_closed or first.other.is_closed
        assert one.connected() == {node(99)}
        await net.passes_s(limits.MIN_REPLACED_AGE_S)
        third = await greets(one)
        assert last_reason(second) is DisconnectReason.ALREADY_CONNECTED
        assert one.connected() == {node(99)}
        assert not third.other.is_closed
        assert len(one.slots.connected()) == 1


async def test_strangers_beyond_the_slots_are_told_so_and_reserved_ones_are_not() -> None:
    async with network(1) as (_, (one,)):
        for number in range(limits.MAX_INBOUND_STRANGERS):
            wire = await calls(one, 100 + number, f"10.9.9.{number}")
            await wire.send(STATUS)
        await settle()
        assert len(one.connected()) == limits.MAX_INBOUND_STRANGERS
        refused = await calls(one, 90, "10.9.8.1")
        assert last_reason(refused) is DisconnectReason.TOO_MANY_PEERS
        one.peers.set_validators([node(91)])
        await greets(one, 91)
        assert node(91) in one.connected()


@pytest.mark.parametrize(
    ("error", "points"), [(InvalidHandshake("bad"), 10), (InvalidFrame("bad"), 10), (ConnectionLost("gone"), 0)]
)
async def test_a_failed_handshake_is_counted_against_the_address(error: Invalid, points: int) -> None:
    async with network(1) as (_, (one,)):

        async def accept(_: MaxBytes) -> Wire:
            raise error

        assert one.peers.take_call(STRANGER, accept)
        await settle()
        assert one.reputation.points(STRANGER) == points
        one.reputation.ban(STRANGER)
        assert not one.peers.take_call(STRANGER, accept)


async def test_a_bug_in_a_call_stays_there(caplog: pytest.LogCaptureFixture) -> None:
    async with network(2) as (_, (first, second)):

        async def accept(_: MaxBytes) -> Wire:
            raise RuntimeError("a bug")

        assert first.peers.take_call(STRANGER, accept)
        await settle()
        assert "a bug" in caplog.text
        assert first.connected() == {second.node_id}


async def test_a_book_is_not_drained_by_asking_and_not_filled_by_callers() -> None:
    async with network(2) as (net, (first, second)):
        wire = await greets(first)
        for request_id in range(3):
            await wire.send(GetPeers(request_id))
        await settle()
        answers = [message for message in wire.other.sent if isinstance(message, Peers)]
        told = PeerAddress(second.node_id, ip_address(second.url.host), second.url.port)
        assert [answer.peers for answer in answers] == [(told,), (), ()]
        await net.passes_s(limits.ASK_FOR_PEERS_INTERVAL_S, step_s=25)
        assert not [message for message in wire.other.sent if isinstance(message, GetPeers)]


async def test_a_caller_that_listens_is_remembered_where_it_says() -> None:
    async with network(1) as (_, (one,)):
        await greets(one, status=Status(1, "test", 0, bytes(32), 0, 30_999))
        known = one.book.get(node(99))
        assert known is not None
        assert (known.url.port, known.last_success_s) == (30_999, 0)


async def test_silent_peers_are_left_and_the_others_are_not() -> None:
    async with network(2) as (net, (first, second)):
        await calls(first, 98)  # no Status
        mute = await greets(first, 99)  # no Pong
        await net.passes_s(limits.STATUS_TIME_S)
        assert first.slots.connected() == {second.node_id, node(99)}
        await net.passes_s(limits.PING_INTERVAL_S + limits.IDLE_TIME_S)
        assert [message for message in mute.other.sent if isinstance(message, Ping)]
        assert first.connected() == {second.node_id}


async def test_the_end_says_goodbye_to_everybody_and_saves_the_book(tmp_path: Path) -> None:
    async with network(1, in_line=False) as (_, (one,)):
        one.peers._book_path = tmp_path / "peers.json"
        wire = await greets(one, status=Status(1, "test", 0, bytes(32), 0, 30_999))
    assert last_reason(wire) is DisconnectReason.SHUTTING_DOWN
    assert not one.slots.connected()
    assert "30999" in (tmp_path / "peers.json").read_text()

    async def accept(_: MaxBytes) -> Wire:
        raise AssertionError("nobody is there any more")

    assert not one.peers.take_call(STRANGER, accept)


async def test_everybody_takes_leave_of_the_old_connection_before_the_new_one_joins() -> None:
    async with network(1) as (net, (one,)):
        events: list[str] = []
        closed = asyncio.Event()

        class Recorder:
            def joined(self, session: PeerSession) -> None:
                events.append("joined")

            def left(self, session: PeerSession) -> None:
                events.append("left")

        one.peers.serve(Handlers(), [Recorder()])
        first = await greets(one)
        await net.passes_s(limits.MIN_REPLACED_AGE_S)

        async def slow_close(_: DisconnectReason | None = None) -> None:
            await closed.wait()

        first.other.close = slow_close  # type: ignore[method-assign]
        await greets(one)
        assert events == ["joined"]
        closed.set()
        await settle()
        assert events == ["joined", "left", "joined"]
        assert one.connected() == {node(99)}
