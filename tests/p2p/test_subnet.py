"""What addresses say about who is behind them."""

from ipaddress import ip_address

import pytest

from p2p.subnet import Reach, enclosing, public_subnet, reach


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0.0.0.0", Reach.NOWHERE),
        ("::", Reach.NOWHERE),
        ("224.0.0.251", Reach.NOWHERE),
        ("ff02::fb", Reach.NOWHERE),
        ("255.255.255.255", Reach.NOWHERE),
        ("127.0.0.1", Reach.MACHINE),
        ("::1", Reach.MACHINE),
        ("192.168.1.7", Reach.NETWORK),
        ("10.0.0.1", Reach.NETWORK),
        ("169.254.3.4", Reach.NETWORK),
        ("100.64.0.1", Reach.NETWORK),
        ("fe80::1%eth0", Reach.NETWORK),
        ("fd00::1", Reach.NETWORK),
        ("8.8.8.8", Reach.INTERNET),
        ("2600::1", Reach.INTERNET),
    ],
)
def test_how_far_an_address_reaches(text: str, expected: Reach) -> None:
    assert reach(ip_address(text)) is expected


def test_strangers_are_counted_by_subnet_and_neighbours_are_not() -> None:
    assert str(public_subnet(ip_address("8.8.8.8"))) == "8.8.8.0/24"
    assert str(public_subnet(ip_address("2600:1:2:3::4"))) == "2600:1:2::/48"
    assert public_subnet(ip_address("192.168.1.7")) is None
    assert public_subnet(ip_address("127.0.0.1")) is None
    assert str(enclosing(ip_address("fe80::1%eth0"), 64)) == "fe80::/64"
