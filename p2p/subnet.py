"""What an IP address says about who is behind it: its subnet, and how far it reaches."""

import ipaddress
from enum import IntEnum

from p2p.fields import IpAddress
from p2p.limits import SUBNET_PREFIX_IPV4, SUBNET_PREFIX_IPV6

Subnet = ipaddress.IPv4Network | ipaddress.IPv6Network


class Reach(IntEnum):
    """From where an address can be called."""

    NOWHERE = 0
    """No host has it: unspecified, multicast, reserved."""
    MACHINE = 1
    NETWORK = 2
    """The private network that it belongs to."""
    INTERNET = 3


def reach(address: IpAddress) -> Reach:
    if address.is_unspecified or address.is_multicast:
        return Reach.NOWHERE
    if address.is_loopback:
        return Reach.MACHINE
    if address.is_global:
        return Reach.INTERNET
    if isinstance(address, ipaddress.IPv4Address) and address.is_reserved:
        return Reach.NOWHERE
    return Reach.NETWORK


def public_subnet(address: IpAddress) -> Subnet | None:
    """The subnet by which strangers are counted; None in a private network, where one subnet holds all neighbours."""
    if reach(address) is not Reach.INTERNET:
        return None
    return enclosing(address, SUBNET_PREFIX_IPV4 if address.version == 4 else SUBNET_PREFIX_IPV6)


def enclosing(address: IpAddress, prefix: int) -> Subnet:
    # The number, and not the text: a link-local address may name an interface ("%eth0") that networks do not know.
    return ipaddress.ip_network((int(address).to_bytes(address.max_prefixlen // 8, "big"), prefix), strict=False)
