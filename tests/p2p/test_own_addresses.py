"""Where this machine can be called, as far as it can tell."""

from ipaddress import IPv4Interface

import pytest

from p2p.own_addresses import LOOPBACK, listening_interfaces, own_interfaces

HOME, CAMPUS, ALONE = (
    IPv4Interface("192.168.1.7/24"),
    IPv4Interface("130.92.7.7/23"),
    IPv4Interface("169.254.1.1/16"),
)
OWN = (CAMPUS, ALONE, HOME)


def test_this_machines_addresses_are_in_order_and_without_loopback() -> None:
    found = own_interfaces()
    assert list(found) == sorted(set(found))
    assert not any(interface.ip.is_loopback for interface in found)


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("0.0.0.0", OWN),
        ("::", OWN),
        ("pi.local", OWN),
        ("127.0.0.1", (LOOPBACK,)),
        ("::1", (LOOPBACK,)),
        ("localhost", (LOOPBACK,)),
        ("192.168.1.7", (HOME,)),
        ("192.168.1.9", ()),
    ],
)
def test_where_a_listener_can_be_called(host: str, expected: tuple[IPv4Interface, ...]) -> None:
    assert listening_interfaces(host, OWN) == expected
