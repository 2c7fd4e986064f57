"""Finding the nodes of the same chain on the local network by multicast DNS, and being found: no settings needed.

The library zeroconf speaks the protocol (RFC 6762, 6763) and bounds its own memory; here is decided what is announced,
and how much of what others announce is looked at. Nothing that goes wrong here stops the node: a network without
multicast is a line in the log, and tried again. IPv4 only: every local network has it.
"""

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import IPv4Interface

from zeroconf import Error as ZeroconfError
from zeroconf import IPVersion, ServiceStateChange, Zeroconf
from zeroconf.asyncio import AsyncServiceBrowser, AsyncServiceInfo, AsyncZeroconf

from p2p import limits
from p2p.announcement import (
    SERVICE_TYPE,
    Announcement,
    InvalidAnnouncement,
    announced_texts,
    read_announcement,
)
from p2p.identity import Network, NodeId
from p2p.messages import PeerAddress
from p2p.own_addresses import listening_interfaces, own_interfaces
from p2p.rate import TokenBucket
from primitives.clock import SystemClock
from primitives.hexadecimal import to_checksum_address

LOGGER = logging.getLogger(__name__)


class LocalDiscovery:
    """Announces one node and hears of others, as long as `run` runs."""

    def __init__(
        self,
        network: Network,
        node_id: NodeId,
        listen_host: str,
        port: int,
        hear_of: Callable[[PeerAddress], object],
        interfaces: Callable[[], Sequence[IPv4Interface]] = own_interfaces,
    ) -> None:
        """`hear_of` is told of every node nearby, and reminded of it from time to time. A node that listens on
        loopback alone looks around there alone."""
        self._network = network
        self._node_id = node_id
        self._listen_host = listen_host
        self._port = port
        self._hear_of = hear_of
        self._own_interfaces = interfaces
        self._trouble = ""

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            try:
                interfaces = await self._interfaces()
                if interfaces:
                    await self._take_part(interfaces)
                else:
                    self._complain("this machine has no address on a local network yet")
                    await self._interfaces_differ_from(interfaces)
            except Exception as error:
                cause = _first(error)
                if isinstance(cause, (OSError, ZeroconfError)):
                    self._complain(str(cause) or type(cause).__name__)
                else:
                    # A fault of ours or of the library is worth a loud line, but no node: peers come by other ways too.
                    LOGGER.exception("Looking for nodes on the local network failed")
                await asyncio.sleep(limits.LOCAL_RETRY_S)

    async def _take_part(self, interfaces: Sequence[IPv4Interface]) -> None:
        """Until the machine's addresses change."""
        addresses = [interface.ip for interface in interfaces]
        multicast = AsyncZeroconf(interfaces=[str(address) for address in addresses], ip_version=IPVersion.V4Only)
        try:
            # A name of its own for each start: nobody can take it beforehand, and so nobody has to be asked for it.
            name = f"{self._node_id.hex()[:12]}-{secrets.token_hex(4)}"
            service = AsyncServiceInfo(
                SERVICE_TYPE,
                f"{name}.{SERVICE_TYPE}",
                port=self._port,
                addresses=[address.packed for address in addresses],
                properties=announced_texts(self._network, self._node_id),
                server=f"wattchain-{name}.local.",
            )
            announcing = await multicast.async_register_service(service, cooperating_responders=True)
            LOGGER.info("looking for nodes of this chain from %s", ", ".join(map(str, addresses)))
            self._trouble = ""
            neighbourhood = Neighbourhood(multicast.zeroconf, self._read_from(interfaces), self._hear_of)
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(neighbourhood.run()),
                    group.create_task(_wait_for(announcing)),
                ]
                await self._interfaces_differ_from(interfaces)
                for task in tasks:
                    task.cancel()
        finally:
            # Says goodbye, so that others forget the name at once.
            with contextlib.suppress(OSError, ZeroconfError):
                await multicast.async_close()

    def _read_from(self, interfaces: Sequence[IPv4Interface]) -> Callable[[Announcement], PeerAddress | None]:
        def read(announcement: Announcement) -> PeerAddress | None:
            peer = read_announcement(announcement, self._network, interfaces)
            return None if peer is None or peer.node_id == self._node_id else peer

        return read

    async def _interfaces(self) -> tuple[IPv4Interface, ...]:
        own = await asyncio.to_thread(self._own_interfaces)
        return listening_interfaces(self._listen_host, own)

    async def _interfaces_differ_from(self, known: Sequence[IPv4Interface]) -> None:
        while True:
            await asyncio.sleep(limits.OWN_ADDRESSES_CHECK_S)
            if await self._interfaces() != tuple(known):
                return

    def _complain(self, trouble: str) -> None:
        """Once, and again when it is another one."""
        if trouble != self._trouble:
            LOGGER.warning("no nodes are looked for on the local network: %s", trouble)
        self._trouble = trouble


class Neighbourhood:
    """Who is there, by the names of their announcements."""

    def __init__(
        self,
        multicast: Zeroconf,
        read: Callable[[Announcement], PeerAddress | None],
        hear_of: Callable[[PeerAddress], object],
    ) -> None:
        self._multicast = multicast
        self._read = read
        self._hear_of = hear_of
        self._names: asyncio.Queue[str] = asyncio.Queue(limits.MAX_WAITING_LOCAL_NAMES)
        self._rate = TokenBucket(SystemClock(), limits.LOCAL_NAMES_BURST, limits.LOCAL_NAMES_PER_S)
        self._peers: dict[str, PeerAddress] = {}
        self._earlier: dict[str, PeerAddress] = {}
        """Of the look around before this one."""

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(limits.LOCAL_LOOKUPS_AT_ONCE):
                group.create_task(self._look_up_names())
            group.create_task(self._remind())
            while True:
                browser = AsyncServiceBrowser(self._multicast, SERVICE_TYPE, handlers=[self._changed])
                try:
                    await asyncio.sleep(limits.LOCAL_LOOK_AROUND_S)
                finally:
                    await browser.async_cancel()
                # Whoever is still there is told of again at once, from what the library remembers.
                self._earlier, self._peers = self._peers, {}

    def _changed(
        self, zeroconf: Zeroconf, service_type: str, name: str, state_change: ServiceStateChange
    ) -> None:  # the library calls it by these names
        if state_change is ServiceStateChange.Removed:
            self._peers.pop(name, None)
        elif self._names.full() or not self._rate.take():
            LOGGER.debug("too much is announced on the local network")
        else:
            self._names.put_nowait(name)

    async def _look_up_names(self) -> None:
        while True:
            name = await self._names.get()
            try:
                if (peer := await self._look_up(name)) is not None:
                    self._found(name, peer)
            except (InvalidAnnouncement, ZeroconfError, ValueError) as error:
                # ValueError: what the library makes of texts and names that are none.
                LOGGER.debug("%.80r on the local network is not a node: %s", name, error)

    async def _look_up(self, name: str) -> PeerAddress | None:
        service = AsyncServiceInfo(SERVICE_TYPE, name)
        if not await service.async_request(self._multicast, limits.LOCAL_LOOKUP_TIME_S * 1_000):
            return None
        addresses = service.addresses_by_version(IPVersion.V4Only)
        return self._read(Announcement(service.port or 0, addresses, service.properties))

    def _found(self, name: str, peer: PeerAddress) -> None:
        if name not in self._peers and len(self._peers) >= limits.MAX_LOCAL_NODES:
            return
        if peer not in (self._peers.get(name), self._earlier.get(name)):
            LOGGER.info("%s is nearby, at %s", to_checksum_address(peer.node_id), peer.address)
        self._peers[name] = peer
        self._hear_of(peer)

    async def _remind(self) -> None:
        while True:
            await asyncio.sleep(limits.LOCAL_REMINDER_S)
            for peer in self._peers.values():
                self._hear_of(peer)


async def _wait_for(announcing: Awaitable[object]) -> None:
    await announcing


def _first(error: BaseException) -> BaseException:
    """Of a group of tasks that failed."""
    first = error
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    return first
