"""Where this machine can be called, as far as it can tell."""

from ipaddress import IPv4Interface

import pytest

from p2p.own_addresses import LOOPBACK, listening_interfaces, own_interfaces, own_url

ANNA = bytes.fromhex("a0" * 20)
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


@pytest.mark.parametrize(
    ("host", "own", "expected"),
    [
        ("0.0.0.0", OWN, "192.168.1.7"),
        ("::", (CAMPUS, ALONE), "130.92.7.7"),
        ("0.0.0.0", (ALONE,), "169.254.1.1"),
        ("0.0.0.0", (), "127.0.0.1"),
        ("130.92.7.7", OWN, "130.92.7.7"),
        ("fd00::7", OWN, "fd00::7"),
        ("localhost", OWN, "127.0.0.1"),
        ("pi.local", OWN, "pi.local"),
    ],
)
def test_the_url_of_this_node(host: str, own: tuple[IPv4Interface, ...], expected: str) -> None:
    url = own_url(ANNA, host, 30_403, own)
    assert (url.node_id, url.host, url.port) == (ANNA, expected, 30_403)
