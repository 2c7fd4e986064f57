"""Nodes find each other by real multicast on the loopback interface; strangers' garbage and trouble stop nothing."""

import asyncio
import contextlib
import logging
import os
import random
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from ipaddress import IPv4Interface
from types import SimpleNamespace
from typing import Any

import pytest
from zeroconf import Error as ZeroconfError
from zeroconf import IPVersion, ServiceStateChange
from zeroconf.asyncio import AsyncServiceInfo, AsyncZeroconf

from p2p import limits, local_discovery
from p2p.announcement import SERVICE_TYPE, announced_texts
from p2p.identity import Network
from p2p.local_discovery import LocalDiscovery, Neighbourhood
from p2p.messages import PeerAddress
from p2p.own_addresses import LOOPBACK

TIME_LIMIT_S = 10.0
ANNA, BEN, EVE = (bytes([number]) * 20 for number in (0xA0, 0xB0, 0xE0))


def has_multicast() -> bool:
    """Whether this machine lets packets to a group through its loopback interface; some sandboxes do not."""
    group = socket.inet_aton("224.0.0.251") + socket.inet_aton("127.0.0.1")
    with contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as receiver:
        try:
            receiver.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, group)
            receiver.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("127.0.0.1"))
            receiver.bind(("", 0))
            receiver.settimeout(1)
            receiver.sendto(b"?", ("224.0.0.251", receiver.getsockname()[1]))
            return receiver.recv(1) == b"?"
        except OSError:
            return False


multicast = pytest.mark.skipif(not has_multicast(), reason="no multicast on the loopback interface here")


class Ears:
    """Remembers what a node heard of."""

    def __init__(self) -> None:
        self.heard: list[PeerAddress] = []
        self._news = asyncio.Event()

    def __call__(self, peer: PeerAddress) -> None:
        self.heard.append(peer)
        self._news.set()

    async def until(self, is_enough: Callable[[list[PeerAddress]], bool]) -> None:
        async with asyncio.timeout(TIME_LIMIT_S):
            while not is_enough(self.heard):
                self._news.clear()
                await self._news.wait()

    async def hear(self, node_id: bytes, port: int) -> None:
        await self.until(lambda heard: PeerAddress(node_id, LOOPBACK.ip, port) in heard)


Start = Callable[..., Ears]


@pytest.fixture
def network() -> Network:
    """Another one for every test: those that run at the same time hear each other."""
    return Network(4711, os.urandom(32))


@pytest.fixture
async def start(network: Network) -> AsyncIterator[Start]:
    """Runs discoveries until the end of the test."""
    tasks: list[asyncio.Task[None]] = []

    def begin(node_id: bytes, port: int, **options: Any) -> Ears:
        ears = Ears()
        own = options.pop("network", network)
        discovery = LocalDiscovery(own, node_id, "127.0.0.1", port, options.pop("hear_of", ears), **options)
        tasks.append(asyncio.create_task(discovery.run()))
        return ears

    yield begin
    for task in tasks:
        assert not task.done()
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@contextlib.asynccontextmanager
async def announced(text: dict[str, Any] | bytes, port: int, name: str = "stranger") -> AsyncIterator[None]:
    """A service that somebody announces with another program."""
    service = AsyncServiceInfo(
        SERVICE_TYPE,
        f"{name}.{SERVICE_TYPE}",
        port=port,
        addresses=[LOOPBACK.ip.packed],
        properties=text,
        server=f"{name}.local.",
    )
    zeroconf = AsyncZeroconf(interfaces=["127.0.0.1"], ip_version=IPVersion.V4Only)
    try:
        repeating = await zeroconf.async_register_service(service, cooperating_responders=True, strict=False)
        yield
        asyncio.ensure_future(repeating).cancel()  # else it goes on after the goodbye
    finally:
        await zeroconf.async_close()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "OWN_ADDRESSES_CHECK_S", 0.02)
    monkeypatch.setattr(limits, "LOCAL_RETRY_S", 0.02)


# Real multicast


@multicast
async def test_two_nodes_find_each_other_with_no_settings_at_all(start: Start) -> None:
    anna, ben = start(ANNA, 20_001), start(BEN, 20_002)
    await anna.hear(BEN, 20_002)
    await ben.hear(ANNA, 20_001)
    # Neither hears of itself.
    assert {peer.node_id for peer in anna.heard} == {BEN}
    assert {peer.node_id for peer in ben.heard} == {ANNA}


@multicast
async def test_a_node_of_another_chain_is_nobody_to_us(start: Start) -> None:
    anna, eve = start(ANNA, 20_003), start(EVE, 20_004, network=Network(4711, os.urandom(32)))
    ben = start(BEN, 20_005)
    await anna.hear(BEN, 20_005)
    await ben.hear(ANNA, 20_003)
    assert EVE not in {peer.node_id for peer in anna.heard + ben.heard}
    assert eve.heard == []


@multicast
async def test_garbage_of_strangers_does_not_keep_neighbours_apart(start: Start, network: Network) -> None:
    good = announced_texts(network, EVE)
    async with contextlib.AsyncExitStack() as stack:
        for number, text in enumerate(
            (
                b"\xff\x00garbage",
                b"\x05a=b",
                {},
                good | {"id": "\N{SNOWMAN}" * 20},
                good | {"id": ANNA.hex()},  # somebody who says to be us
                good | {"chain": "9" * 200},
                good | {"extra": "x" * 240, "more": "y" * 240, "most": "z" * 240},
            )
        ):
            await stack.enter_async_context(announced(text, 20_010 + number, f"stranger {number} \N{SNOWMAN}"))
        with contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as noise:
            noise.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("127.0.0.1"))
            chance = random.Random(7)
            anna = start(ANNA, 20_006)
            for _ in range(200):
                # An answer's header, so that it is read at all, and then anything.
                noise.sendto(b"\0\0\x84\0" + chance.randbytes(chance.randrange(200)), ("224.0.0.251", 5353))
            start(BEN, 20_007)
            await anna.hear(BEN, 20_007)
    assert {peer.node_id for peer in anna.heard} == {BEN}


@multicast
async def test_a_stranger_may_name_a_place_and_no_more(start: Start, network: Network) -> None:
    """Whoever answers there has to prove who it is; here it is only known whom to call."""
    anna = start(ANNA, 20_008)
    async with announced(announced_texts(network, EVE), 20_020):
        await anna.hear(EVE, 20_020)


@multicast
async def test_the_book_is_reminded_until_a_neighbour_says_goodbye(
    start: Start, network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "LOCAL_REMINDER_S", 0.02)
    anna = start(ANNA, 20_009)
    async with announced(announced_texts(network, EVE), 20_021):
        await anna.until(lambda heard: len(heard) > 5)
    await _until_quiet(anna)


async def _until_quiet(ears: Ears) -> None:
    """Until nothing was heard for several reminders."""
    async with asyncio.timeout(TIME_LIMIT_S):
        while True:
            known = len(ears.heard)
            await asyncio.sleep(0.2)
            if len(ears.heard) == known:
                return


@multicast
@pytest.mark.usefixtures("impatient")
async def test_a_network_that_comes_up_after_the_node(
    start: Start, network: Network, caplog: pytest.LogCaptureFixture
) -> None:
    addresses: list[IPv4Interface] = []
    ears = Ears()
    discovery = LocalDiscovery(network, ANNA, "0.0.0.0", 20_011, ears, lambda: tuple(addresses))
    running = asyncio.create_task(discovery.run())
    start(BEN, 20_012)
    try:
        await _until(lambda: "no address on a local network yet" in caplog.text)
        addresses.append(LOOPBACK)
        await ears.hear(BEN, 20_012)
        addresses.clear()
        caplog.clear()
        await _until(lambda: "no address on a local network yet" in caplog.text)
        addresses.append(LOOPBACK)
        known = len(ears.heard)
        await ears.until(lambda heard: len(heard) > known)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(TIME_LIMIT_S):
        while not condition():  # noqa: ASYNC110 - a log has no event
            await asyncio.sleep(0.005)


@multicast
async def test_who_is_gone_without_a_goodbye_is_forgotten_when_the_node_looks_around_anew(
    start: Start, network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "LOCAL_LOOK_AROUND_S", 0.3)
    monkeypatch.setattr(limits, "LOCAL_REMINDER_S", 0.02)
    monkeypatch.setattr(local_discovery, "ServiceStateChange", SimpleNamespace(Removed=None))  # no goodbye is noticed
    anna = start(ANNA, 20_017)
    async with announced(announced_texts(network, EVE), 20_022):
        await anna.hear(EVE, 20_022)
        await anna.until(lambda heard: len(heard) > 5)
    await _until_quiet(anna)


# Trouble


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("trouble", [OSError(19, os.strerror(19)), ZeroconfError("no multicast"), ZeroconfError()])
async def test_a_machine_without_multicast_complains_once_and_goes_on(
    start: Start, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, trouble: Exception
) -> None:
    tries = 0

    def refuse(*_: object, **__: object) -> None:
        nonlocal tries
        tries += 1
        raise trouble

    monkeypatch.setattr(local_discovery, "AsyncZeroconf", refuse)
    start(ANNA, 20_013)
    await _until(lambda: tries >= 3)
    assert caplog.text.count("no nodes are looked for on the local network: ") == 1
    assert "Traceback" not in caplog.text


@pytest.mark.usefixtures("impatient")
async def test_a_machine_whose_addresses_cannot_be_read(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> Sequence[IPv4Interface]:
        raise OSError(12, "out of memory")

    start(ANNA, 20_014, interfaces=fail)
    await _until(lambda: "out of memory" in caplog.text)


@multicast
@pytest.mark.usefixtures("impatient")
async def test_a_fault_of_ours_is_loud_and_the_next_try_works(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    heard: list[PeerAddress] = []

    def hear_of(peer: PeerAddress) -> None:
        heard.append(peer)
        if len(heard) == 1:
            raise RuntimeError("a bug")

    start(ANNA, 20_015, hear_of=hear_of)
    start(BEN, 20_016)
    await _until(lambda: len(heard) >= 2)
    assert "RuntimeError: a bug" in caplog.text


# Floods


async def test_made_up_names_cost_little() -> None:
    neighbourhood = Neighbourhood(None, lambda _: None, lambda _: None)  # type: ignore[arg-type]
    for number in range(10_000):
        neighbourhood._changed(None, SERVICE_TYPE, f"{number}.{SERVICE_TYPE}", ServiceStateChange.Added)  # type: ignore[arg-type]
    assert neighbourhood._names.qsize() == limits.MAX_WAITING_LOCAL_NAMES
    while not neighbourhood._names.empty():
        neighbourhood._names.get_nowait()
    neighbourhood._changed(None, SERVICE_TYPE, SERVICE_TYPE, ServiceStateChange.Updated)  # type: ignore[arg-type]
    assert neighbourhood._names.empty()  # so soon after a flood nothing is looked up


async def test_only_so_many_neighbours_are_kept() -> None:
    ears = Ears()
    neighbourhood = Neighbourhood(None, lambda _: None, ears)  # type: ignore[arg-type]
    for number in range(limits.MAX_LOCAL_NODES + 10):
        neighbourhood._found(str(number), PeerAddress(number.to_bytes(20, "big"), LOOPBACK.ip, 1))
    assert len(ears.heard) == len(neighbourhood._peers) == limits.MAX_LOCAL_NODES
    # One that goes makes room for another.
    neighbourhood._changed(None, SERVICE_TYPE, "3", ServiceStateChange.Removed)  # type: ignore[arg-type]
    neighbourhood._found("new", PeerAddress(EVE, LOOPBACK.ip, 1))
    assert ears.heard[-1].node_id == EVE
