"""What a node says of itself on the local network, and what is believed of what others say. Pure.

An announcement is a DNS service record (RFC 6763): a name, a port, addresses, and texts that name the chain and the
node. Anybody on the network can make one up. It says only where to call; the handshake shows who answers.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface

from p2p import limits
from p2p.identity import Network, NodeId
from p2p.messages import PROTOCOL_VERSION, PeerAddress
from primitives.errors import Invalid

SERVICE_TYPE = "_wattchain._tcp.local."

_NODE_ID = re.compile(rb"[0-9a-f]{40}")
_CHAIN_ID = re.compile(rb"[1-9][0-9]{0,15}")
_GENESIS = re.compile(rb"[0-9a-f]{%d}" % limits.LOCAL_GENESIS_DIGITS)
_VERSION = re.compile(rb"[1-9][0-9]{0,3}")


class InvalidAnnouncement(Invalid):
    """An announcement on the local network does not have the form of a node's."""


@dataclass(frozen=True, slots=True)
class Announcement:
    """As it came from the network."""

    port: int
    addresses: Sequence[bytes]
    """IPv4, 4 bytes each."""
    texts: Mapping[bytes, bytes | None]


def announced_texts(network: Network, node_id: NodeId) -> dict[str, str]:
    """What this node says of itself."""
    return {
        "id": node_id.hex(),
        "chain": str(network.chain_id),
        "genesis": network.genesis_hash.hex()[: limits.LOCAL_GENESIS_DIGITS],
        "protocol": str(PROTOCOL_VERSION),
    }


def read_announcement(
    announcement: Announcement, network: Network, interfaces: Sequence[IPv4Interface]
) -> PeerAddress | None:
    """Where the node that is announced can be called from here; None where it is of another chain or version, or out
    of reach. `interfaces` are those of this machine that take part. Raises InvalidAnnouncement."""
    texts = announcement.texts
    if sum(len(name) + len(value or b"") for name, value in texts.items()) > limits.MAX_ANNOUNCEMENT_TEXT_BYTES:
        raise InvalidAnnouncement(f"more than {limits.MAX_ANNOUNCEMENT_TEXT_BYTES} bytes of text")
    node_id = bytes.fromhex(_text(texts, b"id", _NODE_ID))
    own_texts = announced_texts(network, node_id)
    spoken = {
        "chain": _text(texts, b"chain", _CHAIN_ID),
        "genesis": _text(texts, b"genesis", _GENESIS),
        "protocol": _text(texts, b"protocol", _VERSION),
    }
    if not 0 < announcement.port < 2**16:
        raise InvalidAnnouncement(f"the port {announcement.port}")
    address = _reachable(_addresses(announcement.addresses), interfaces)
    if address is None or any(own_texts[name] != value for name, value in spoken.items()):
        return None
    return PeerAddress(node_id, address, announcement.port)


def _text(texts: Mapping[bytes, bytes | None], name: bytes, form: re.Pattern[bytes]) -> str:
    value = texts.get(name)
    if value is None or not form.fullmatch(value):
        raise InvalidAnnouncement(f"the text {name.decode()} is {value!r:.80}")
    return value.decode("ascii")


def _addresses(encoded: Sequence[bytes]) -> list[IPv4Address]:
    if len(encoded) > limits.MAX_ANNOUNCED_ADDRESSES:
        raise InvalidAnnouncement(f"{len(encoded)} addresses")
    if any(len(address) != 4 for address in encoded):
        raise InvalidAnnouncement("an address that is not of IPv4")
    return [IPv4Address(address) for address in encoded]


def _reachable(announced: Sequence[IPv4Address], interfaces: Sequence[IPv4Interface]) -> IPv4Address | None:
    """The first that is in a network of this machine: whoever can be heard by multicast is next door, and an address
    elsewhere would have this node call a victim of somebody's choice.

    Networks of containers have the same addresses on every machine; so an address that is also our own means somebody
    else only where all are, which is another node on this machine.
    """
    near = [address for address in announced if _is_in_network(address, interfaces)]
    own = {interface.ip for interface in interfaces}
    others = [address for address in near if address not in own]
    if others:
        return others[0]
    return near[0] if near and len(near) == len(announced) else None


def _is_in_network(address: IPv4Address, interfaces: Sequence[IPv4Interface]) -> bool:
    for network in [interface.network for interface in interfaces]:
        # The first and the last address are nobody's, but for the smallest networks (RFC 3021).
        is_nobodys = address in (network.network_address, network.broadcast_address) and network.prefixlen < 31
        if address in network and network.prefixlen >= limits.MIN_LOCAL_PREFIX and not is_nobodys:
            return True
    return False
