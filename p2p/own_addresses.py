"""The IPv4 addresses of this machine: where its neighbours can call it, and who they are."""

import ipaddress
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Interface

import ifaddr

LOOPBACK = IPv4Interface("127.0.0.1/8")


def own_interfaces() -> tuple[IPv4Interface, ...]:
    """The machine's addresses with their networks, without loopback, in a stable order. Raises OSError."""
    found = {
        IPv4Interface(f"{address.ip}/{address.network_prefix}")
        for adapter in ifaddr.get_adapters()
        for address in adapter.ips
        if isinstance(address.ip, str)
    }
    return tuple(sorted(interface for interface in found if not interface.ip.is_loopback))


def listening_interfaces(listen_host: str, own: Sequence[IPv4Interface]) -> tuple[IPv4Interface, ...]:
    """Those of the machine's addresses at which a listener on that host can be called."""
    address = _address(listen_host)
    if address is None or address.is_unspecified:
        return tuple(own)
    if address.is_loopback:
        return (LOOPBACK,)
    return tuple(interface for interface in own if interface.ip == address)


def _address(host: str) -> IPv4Address | ipaddress.IPv6Address | None:
    """None for a name."""
    if host == "localhost":
        return LOOPBACK.ip
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
