"""The simulated network: streams keep their order, stall, break and end, as those of real machines do."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import replace
from ipaddress import ip_address
from random import Random
from typing import Any

import pytest

from p2p import limits
from p2p.framing import InvalidFrame, MaxBytes
from p2p.handshake import InvalidHandshake
from p2p.messages import AnnounceBlocks, BlockAnnouncement, Consensus, Message, Ping, Pong, max_payload_bytes
from p2p.transport import ConnectionLost, PeerTooSlow
from tests.simulation.host import Accept, Host
from tests.simulation.network import SimulatedNetwork
from tests.simulation.virtual_time import Life, VirtualLoop
from tests.simulation.weather import CALM, Weather
from tests.simulation.wire import SimulatedWire


class Blind:
    """Watches nothing."""

    def event(self, *what: object) -> None: ...

    def said(self, host: Host, message: Message) -> None: ...

    def is_final(self, message: Message) -> bool:
        return False


class Pair:
    """Two machines; the second one takes calls."""

    def __init__(self, seed: int = 1) -> None:
        self.loop = VirtualLoop()
        self.network = SimulatedNetwork(self.loop, Random(seed), Blind())
        self.first = Host("first", b"\x01" * 20, ip_address("10.0.0.1"))
        self.second = Host("second", b"\x02" * 20, ip_address("10.0.0.2"))
        self.lives: list[Life] = []
        self.answered: list[SimulatedWire] = []
        self.refused: list[Exception] = []
        self.takes_calls = True
        for host in (self.first, self.second):
            self.network.add(host)
            self.power_on(host)

    def power_on(self, host: Host) -> None:
        life = host.life = Life(self.loop, host.name)
        self.lives.append(life)

        def take_call(address: Any, accept: Accept) -> bool:
            if self.takes_calls:
                life.start(self._answer(accept))
            return self.takes_calls

        host.take_call = take_call
        self.network.ways_changed()

    def power_off(self, host: Host) -> None:
        assert host.life is not None
        host.life.is_over = True
        host.life = None

    async def _answer(self, accept: Callable[[MaxBytes], Awaitable[Any]]) -> None:
        try:
            self.answered.append(await accept(max_payload_bytes))
        except (ConnectionLost, PeerTooSlow) as error:
            self.refused.append(error)

    async def connect(self, max_bytes: MaxBytes = max_payload_bytes) -> SimulatedWire:
        return await self.network.connect(self.first, self.second.address, self.second.node_id, max_bytes)

    async def connected(self) -> tuple[SimulatedWire, SimulatedWire]:
        ours = await self.connect()
        await asyncio.sleep(1)
        return ours, self.answered[-1]

    def run(self, work: Coroutine[Any, Any, Any], limit_s: float = 10_000) -> Any:
        assert self.first.life is not None

        async def main() -> Any:
            assert self.first.life is not None
            return await self.first.life.start(work)

        task = self.loop.create_task(main())
        try:
            assert self.loop.run_while_pending(task, limit_s)
            assert self.loop.troubles == []
            return task.result()
        finally:
            task.cancel()
            self.loop.clear_up(self.lives)


async def pings(wire: SimulatedWire, count: int) -> None:
    for nonce in range(count):
        await wire.send(Ping(nonce))


async def heard(wire: SimulatedWire, count: int) -> list[Message]:
    return [await wire.receive() for _ in range(count)]


def test_messages_arrive_in_order_whatever_the_weather() -> None:
    pair = Pair()

    async def work() -> None:
        ours, theirs = await pair.connected()
        pair.network.weather = Weather((0.001, 0.5), stalls=0.3, lost_notices=1, repeated_notices=1)
        await pings(ours, 50)
        assert await heard(theirs, 50) == [Ping(nonce) for nonce in range(50)]
        await theirs.send(Pong(7))
        assert await ours.receive() == Pong(7)

    pair.run(work())


def test_notices_may_be_lost_repeated_and_overtaken() -> None:
    pair = Pair()
    notices = [AnnounceBlocks((BlockAnnouncement(number, bytes(32)),)) for number in range(300)]

    async def work() -> list[Message]:
        ours, theirs = await pair.connected()
        pair.network.weather = Weather((0.001, 0.01), lost_notices=0.1, repeated_notices=0.1, overtaking_notices=0.1)
        for notice in notices:
            await ours.send(notice)
            await asyncio.sleep(0.05)
        await asyncio.sleep(10)
        await ours.close()
        received: list[Message] = []
        with contextlib.suppress(ConnectionLost):
            while True:
                received.append(await theirs.receive())
        return received

    received = pair.run(work())
    assert len(set(received)) < len(received)
    assert 240 < len(set(received)) < 300
    assert received != sorted(received, key=lambda one: one.blocks[0].number)


def test_what_is_sent_into_a_partition_waits_and_comes_after_it() -> None:
    pair = Pair(seed=3)

    async def work() -> None:
        ours, theirs = await pair.connected()
        pair.network.weather = Weather(islands={"second": 1})
        await ours.send(Ping(1))
        receiving = asyncio.ensure_future(theirs.receive())
        await asyncio.sleep(2)
        assert not receiving.done()
        began_s = pair.loop.time()
        pair.network.weather = CALM
        assert await receiving == Ping(1)
        assert pair.loop.time() - began_s <= 3

    pair.run(work())


def test_a_long_partition_breaks_connections_on_each_side_in_its_time() -> None:
    outcomes = set()
    for seed in range(12):
        pair = Pair(seed)

        async def work(pair: Pair = pair) -> None:
            ours, theirs = await pair.connected()
            pair.network.weather = Weather(islands={"second": 1})
            await ours.send(Ping(1))
            began_s = pair.loop.time()
            with pytest.raises((ConnectionLost, PeerTooSlow)) as raised:
                await ours.receive()
            outcomes.add(raised.type)
            assert pair.loop.time() - began_s <= limits.IDLE_TIME_S
            with pytest.raises(PeerTooSlow):
                await theirs.receive()
            assert pair.loop.time() - began_s == pytest.approx(limits.IDLE_TIME_S, abs=2)

        pair.run(work())
    assert outcomes == {ConnectionLost, PeerTooSlow}


def test_a_way_that_is_cut_in_one_direction_is_open_in_the_other() -> None:
    pair = Pair()

    async def work() -> None:
        ours, theirs = await pair.connected()
        pair.network.weather = Weather(cut_ways=frozenset({("first", "second")}))
        await ours.send(Ping(1))
        await theirs.send(Ping(2))
        assert await ours.receive() == Ping(2)
        with pytest.raises(PeerTooSlow):
            await theirs.receive()

    pair.run(work())


def test_a_machine_that_lost_power_is_silent_and_knows_nothing_when_it_is_back() -> None:
    pair = Pair(seed=2)

    async def work() -> None:
        ours, _ = await pair.connected()
        pair.power_off(pair.second)
        await ours.send(Ping(1))
        receiving = asyncio.ensure_future(ours.receive())
        await asyncio.sleep(2)
        assert not receiving.done()
        pair.power_on(pair.second)
        with pytest.raises(ConnectionLost, match="has left"):
            await receiving
        assert await pair.connect() is not ours

    pair.run(work())


def test_both_ends_learn_of_a_broken_connection() -> None:
    pair = Pair()

    async def work() -> None:
        ours, theirs = await pair.connected()
        pair.network.weather = Weather(breaks=1)
        await ours.send(Ping(1))
        for wire in (ours, theirs):
            with pytest.raises(ConnectionLost):
                await wire.receive()
            with pytest.raises(ConnectionLost):
                await wire.send(Ping(2))

    pair.run(work())


def test_what_was_sent_before_a_hang_up_is_read_first() -> None:
    pair = Pair()

    async def work() -> None:
        ours, theirs = await pair.connected()
        await pings(ours, 3)
        await ours.close()
        assert await heard(theirs, 3) == [Ping(0), Ping(1), Ping(2)]
        with pytest.raises(ConnectionLost, match="hung up"):
            await theirs.receive()

    pair.run(work())


def test_a_sender_waits_for_a_reader_and_not_for_ever() -> None:
    pair = Pair()
    large = Consensus(False, bytes(200_000))

    async def work() -> None:
        ours, theirs = await pair.connected()
        await ours.send(large)
        await ours.send(large)
        sending = asyncio.ensure_future(ours.send(large))
        await asyncio.sleep(5)
        assert not sending.done()
        await theirs.receive()
        await sending
        with pytest.raises(PeerTooSlow, match="not reading"):
            await ours.send(large)

    pair.run(work())


def test_a_message_that_is_too_large_ends_the_connection() -> None:
    pair = Pair()

    async def work() -> None:
        ours = await pair.connect(lambda code: 3)
        await asyncio.sleep(1)
        await pair.answered[-1].send(Ping(2**60))
        with pytest.raises(InvalidFrame):
            await ours.receive()
        with pytest.raises(ConnectionLost):
            await ours.receive()

    pair.run(work())


@pytest.mark.parametrize("cut", [("first", "second"), ("second", "first")])
def test_a_call_without_a_way_takes_as_long_as_a_call_may(cut: tuple[str, str]) -> None:
    pair = Pair()

    async def work() -> None:
        pair.network.weather = Weather(cut_ways=frozenset({cut}))
        with pytest.raises(ConnectionLost, match="no answer"):
            await pair.connect()
        assert pair.loop.time() == limits.CONNECT_TIME_S

    pair.run(work())


def test_a_handshake_that_is_cut_off_fails_on_both_sides() -> None:
    pair = Pair()

    async def work() -> None:
        calling = asyncio.ensure_future(pair.connect())
        pair.network.weather = replace(CALM, delay_s=(1, 1))
        await asyncio.sleep(2.5)
        pair.network.weather = Weather(islands={"first": 1})
        with pytest.raises(PeerTooSlow, match="handshake"):
            await calling
        await asyncio.sleep(1)
        assert [type(error) for error in pair.refused] == [PeerTooSlow]

    pair.run(work())


def test_a_caller_who_is_refused_or_finds_another_hears_of_it() -> None:
    pair = Pair()

    async def work() -> None:
        pair.takes_calls = False
        with pytest.raises(ConnectionLost, match="hung up"):
            await pair.connect()
        pair.takes_calls = True
        with pytest.raises(InvalidHandshake):
            await pair.network.connect(pair.first, pair.second.address, b"\x03" * 20, max_payload_bytes)
        await asyncio.sleep(1)
        assert [type(error) for error in pair.refused] == [ConnectionLost]
        with pytest.raises(ConnectionLost):
            await pair.network.connect(pair.first, ip_address("10.9.9.9"), b"\x03" * 20, max_payload_bytes)

    pair.run(work())


def test_a_cancelled_receive_loses_nothing() -> None:
    pair = Pair()

    async def work() -> None:
        ours, theirs = await pair.connected()
        receiving = asyncio.ensure_future(theirs.receive())
        await asyncio.sleep(0)
        await ours.send(Ping(5))
        receiving.cancel()
        assert await theirs.receive() == Ping(5)

    pair.run(work())
