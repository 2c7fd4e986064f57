"""The peers that this node knows of: whom to call next, whom to tell others about, and a file that survives restarts.

Nothing that a stranger says about a node replaces what was seen by connecting to it, and no subnet and no liar can fill
the book. The file is a cache: it is written whole or not at all, and a damaged one is put aside, never fatal.
"""

import json
import logging
import os
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

from p2p import limits
from p2p.fields import IpAddress
from p2p.identity import NodeId
from p2p.messages import PeerAddress
from p2p.node_url import InvalidNodeUrl, NodeUrl, parse_node_url
from p2p.subnet import Reach, Subnet, public_subnet, reach
from primitives.clock import Clock
from primitives.json_text import InvalidJson, parse_json

LOGGER = logging.getLogger(__name__)

FILE_VERSION = 1
_COUNTERS = ("lastSuccess", "nextAttempt", "failures")


@dataclass(frozen=True, slots=True)
class KnownPeer:
    """One node in the book. Times are Unix seconds, 0 for never."""

    url: NodeUrl
    is_static: bool = False
    last_success_s: int = 0
    next_attempt_s: int = 0
    """Not to be called before."""
    failures: int = 0
    """Calls in vain since the last success."""


class AddressBook:
    """At most MAX_KNOWN_PEERS nodes, and the static ones, which are never forgotten."""

    def __init__(self, clock: Clock, own_node_id: NodeId, random: Random) -> None:
        self._clock = clock
        self._own_node_id = own_node_id
        self._random = random
        self._peers: dict[NodeId, KnownPeer] = {}
        self._in_subnet: Counter[Subnet] = Counter()

    def __len__(self) -> int:
        return len(self._peers)

    def get(self, node_id: NodeId) -> KnownPeer | None:
        return self._peers.get(node_id)

    def static_nodes(self) -> frozenset[NodeId]:
        return frozenset(node_id for node_id, peer in self._peers.items() if peer.is_static)

    def add_static(self, url: NodeUrl) -> bool:
        """Keep calling this node, at this place, whatever happens. False where it is this node itself, or too many."""
        known = self._peers.get(url.node_id)
        is_new = known is None or not known.is_static
        if url.node_id == self._own_node_id or (is_new and len(self.static_nodes()) >= limits.MAX_STATIC_PEERS):
            return False
        # Whoever names it wants it called now.
        self._put(KnownPeer(url, True, known.last_success_s if known else 0))
        return True

    def remove_static(self, node_id: NodeId) -> None:
        """It may be called on, as any other."""
        if (known := self._peers.get(node_id)) is not None:
            self._put(replace(known, is_static=False))

    def heard_of(self, peer: PeerAddress, from_address: IpAddress) -> bool:
        """Take in what somebody says about a node. False where it is not believed, or there is no room."""
        if not _is_plausible(peer, from_address) or peer.node_id == self._own_node_id:
            return False
        url = NodeUrl(peer.node_id, str(peer.address), peer.port)
        known = self._peers.get(peer.node_id)
        if known is not None:
            is_proven = known.is_static or (known.last_success_s > 0 and known.failures < limits.MIN_FAILURES_TO_DOUBT)
            if is_proven or known.url == url or not self._has_room_in_subnet(peer.address):
                return False
            # Backoff and failures stay: else a liar could have a dead node called without end.
            self._put(replace(known, url=url))
            return True
        if not self._has_room_in_subnet(peer.address) or not self._has_room():
            return False
        self._put(KnownPeer(url))
        return True

    def succeeded(self, url: NodeUrl) -> None:
        """The node was called there and is the one it should be. Whether it is of any use, `lasted` tells."""
        known = self._peers.get(url.node_id)
        if known is None and not self._has_room():
            return
        is_static = known is not None and known.is_static
        # What the operator named for a static peer stays: a name may lead to changing addresses.
        kept_url = known.url if known is not None and is_static else url
        failures = known.failures if known is not None else 0
        self._put(KnownPeer(kept_url, is_static, self._clock.time_s(), failures=failures))

    def lasted(self, node_id: NodeId) -> None:
        """A conversation with the node was worth the call: what failed before is forgotten."""
        if (known := self._peers.get(node_id)) is not None:
            self._put(replace(known, failures=0, next_attempt_s=0))

    def failed(self, node_id: NodeId) -> None:
        """The node was called in vain; wait longer before the next time, and forget it after too many."""
        known = self._peers.get(node_id)
        if known is None:
            return
        failures = known.failures + 1
        if failures >= limits.MAX_DIAL_FAILURES and not known.is_static:
            self._drop(node_id)
            return
        longest_s = _longest_backoff_s(known)
        backoff_s = min(limits.DIAL_BACKOFF_S << min(failures - 1, 16), longest_s)
        # Up to a quarter less, so that nodes that lost power together do not call each other in step for ever.
        backoff_s -= self._random.randrange(backoff_s // 4 + 1)
        failures = min(failures, limits.MAX_DIAL_FAILURES)
        self._put(replace(known, failures=failures, next_attempt_s=self._clock.time_s() + backoff_s))

    def forget(self, node_id: NodeId) -> None:
        """Of a banned node; a static one stays."""
        known = self._peers.get(node_id)
        if known is not None and not known.is_static:
            self._drop(node_id)

    def to_call(self, count: int, exclude: Collection[NodeId]) -> list[NodeUrl]:
        """Up to `count` nodes that may be called now: static ones first; then mostly such as were reached before,
        the last one first, among them new ones at random, and at most MAX_OUTBOUND_TO_SUBNET of one public subnet."""
        due = [peer for node_id, peer in self._peers.items() if node_id not in exclude and self._is_due(peer)]
        self._random.shuffle(due)
        chosen = [peer.url for peer in due if peer.is_static]
        proven = [peer for peer in due if not peer.is_static and peer.last_success_s]
        proven.sort(key=lambda peer: peer.last_success_s)
        rumoured = [peer for peer in due if not peer.is_static and not peer.last_success_s]
        in_subnet: Counter[Subnet] = Counter()
        while len(chosen) < count and (proven or rumoured):
            # One in three is new: a book full of the past must not keep a node among those it already knew.
            take_new = rumoured and (not proven or self._random.randrange(3) == 0)
            url = (rumoured if take_new else proven).pop().url
            if (subnet := _subnet(url)) is not None:
                in_subnet[subnet] += 1
                if in_subnet[subnet] > limits.MAX_OUTBOUND_TO_SUBNET:
                    continue
            chosen.append(url)
        return chosen[:count]

    def to_tell(self, asking: NodeId, asking_address: IpAddress, count: int) -> tuple[PeerAddress, ...]:
        """Nodes that we reached ourselves, for one who asks: those that can be called from where it is."""
        told = []
        for node_id, peer in self._peers.items():
            address = peer.url.address
            if peer.last_success_s and address is not None and node_id != asking:
                candidate = PeerAddress(node_id, address, peer.url.port)
                if _is_plausible(candidate, asking_address):
                    told.append(candidate)
        self._random.shuffle(told)
        return tuple(told[: min(count, limits.MAX_EXCHANGED_PEERS)])

    def to_json(self) -> str:
        """The text of the file, for `save_address_book`."""
        peers = [
            {"url": str(peer.url)}
            | dict(zip(_COUNTERS, (peer.last_success_s, peer.next_attempt_s, peer.failures), strict=True))
            for peer in self._peers.values()
        ]
        return json.dumps({"version": FILE_VERSION, "peers": peers}, indent=1) + "\n"

    def load(self, path: Path) -> None:
        """Add what a file holds; static peers are those of the settings, not of the file. A missing file is an empty
        one, a damaged one is renamed and named in the log. Raises OSError."""
        try:
            with path.open("rb") as file:
                content = file.read(limits.MAX_ADDRESS_BOOK_BYTES + 1)
        except FileNotFoundError:
            return
        try:
            peers = _parse_file(content)
        except (InvalidJson, InvalidNodeUrl) as error:
            damaged = path.with_name(f"{path.name}.damaged")
            path.replace(damaged)
            LOGGER.warning("The address book %s cannot be read (%s); it is now %s.", path, error, damaged.name)
            return
        for peer in peers:
            node_id = peer.url.node_id
            if node_id != self._own_node_id and node_id not in self._peers and self._has_room():
                self._put(peer)

    def _is_due(self, peer: KnownPeer) -> bool:
        waiting_s = peer.next_attempt_s - self._clock.time_s()
        # A time further away than any backoff was written by a clock that has been set back since.
        return waiting_s <= 0 or waiting_s > _longest_backoff_s(peer)

    def _put(self, peer: KnownPeer) -> None:
        self._drop(peer.url.node_id)
        self._peers[peer.url.node_id] = peer
        if (subnet := _subnet(peer.url)) is not None:
            self._in_subnet[subnet] += 1

    def _drop(self, node_id: NodeId) -> None:
        peer = self._peers.pop(node_id, None)
        if peer is not None and (subnet := _subnet(peer.url)) is not None:
            self._in_subnet[subnet] -= 1
            if not self._in_subnet[subnet]:
                del self._in_subnet[subnet]

    def _has_room_in_subnet(self, address: IpAddress) -> bool:
        subnet = public_subnet(address)
        return subnet is None or self._in_subnet[subnet] < limits.MAX_KNOWN_PEERS_IN_SUBNET

    def _has_room(self) -> bool:
        """Whether one more fits, after forgetting the worst of those that were never reached where need be."""
        if len(self._peers) < limits.MAX_KNOWN_PEERS:
            return True
        rumoured = [peer for peer in self._peers.values() if not peer.is_static and not peer.last_success_s]
        worst = max(rumoured, key=lambda peer: peer.failures, default=None)
        if worst is None or worst.failures == 0:
            return False
        self._drop(worst.url.node_id)
        return True


def save_address_book(path: Path, text: str) -> None:
    """Write the file, whole or not at all. It waits for the disk, so it belongs into a thread. Raises OSError."""
    temporary = path.with_name(f".{path.name}.new")
    with temporary.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _longest_backoff_s(peer: KnownPeer) -> int:
    return limits.MAX_STATIC_BACKOFF_S if peer.is_static else limits.MAX_DIAL_BACKOFF_S


def _subnet(url: NodeUrl) -> Subnet | None:
    address = url.address
    return None if address is None else public_subnet(address)


def _is_plausible(peer: PeerAddress, other: IpAddress) -> bool:
    """Whether `other` can call that address: a private one means something in its own network only."""
    can_reach = reach(peer.address)
    return can_reach is not Reach.NOWHERE and peer.port > 0 and can_reach >= reach(other)


def _parse_file(content: bytes) -> list[KnownPeer]:
    if len(content) > limits.MAX_ADDRESS_BOOK_BYTES:
        raise InvalidJson("too large")
    document = parse_json(content)
    if not isinstance(document, dict) or document.get("version") != FILE_VERSION:
        raise InvalidJson(f"not an address book of version {FILE_VERSION}")
    entries = document.get("peers")
    if not isinstance(entries, list):
        raise InvalidJson("no list of peers")
    return [_parse_entry(entry) for entry in entries]


def _parse_entry(entry: object) -> KnownPeer:
    if not isinstance(entry, dict):
        raise InvalidJson("a peer is not an object")
    last_success_s, next_attempt_s, failures = (_counter(entry.get(name)) for name in _COUNTERS)
    return KnownPeer(parse_node_url(entry.get("url")), False, last_success_s, next_attempt_s, failures)


def _counter(value: object) -> int:
    if type(value) is not int or not 0 <= value < 2**63:
        raise InvalidJson("a time or a count of a peer is not a number")
    return value
