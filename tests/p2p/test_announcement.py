"""What nodes say of themselves on the local network: ours is read back, and a stranger's leads nobody astray."""

from collections.abc import Mapping
from ipaddress import IPv4Address, IPv4Interface

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2p import limits
from p2p.announcement import Announcement, InvalidAnnouncement, announced_texts, read_announcement
from p2p.identity import Network
from p2p.messages import PeerAddress
from p2p.own_addresses import LOOPBACK

NETWORK = Network(4711, bytes.fromhex("ab" * 32))
ANNA = bytes.fromhex("a0" * 20)
HOME = IPv4Interface("192.168.1.7/24")
CONTAINERS = IPv4Interface("172.17.0.1/16")
INTERFACES = (CONTAINERS, HOME)


def texts(**changes: bytes | None) -> dict[bytes, bytes | None]:
    own: dict[bytes, bytes | None] = {
        name.encode(): value.encode() for name, value in announced_texts(NETWORK, ANNA).items()
    }
    return own | {name.encode(): value for name, value in changes.items()}


def packed(*addresses: str) -> list[bytes]:
    return [IPv4Address(address).packed for address in addresses]


def read(
    *addresses: str,
    port: int = 30_403,
    spoken: Mapping[bytes, bytes | None] | None = None,
    interfaces: tuple[IPv4Interface, ...] = INTERFACES,
) -> PeerAddress | None:
    return read_announcement(Announcement(port, packed(*addresses), spoken or texts()), NETWORK, interfaces)


def test_what_a_node_says_is_understood_by_its_neighbour() -> None:
    assert read("192.168.1.8") == PeerAddress(ANNA, IPv4Address("192.168.1.8"), 30_403)
    # More texts, as a later version may have, do no harm.
    assert read("192.168.1.8", spoken=texts(meter=b"1", flag=None)) is not None
    assert sum(len(name) + len(value or b"") for name, value in texts().items()) < limits.MAX_ANNOUNCEMENT_TEXT_BYTES


@pytest.mark.parametrize(
    "change",
    [
        {"chain": b"4712"},
        {"genesis": b"ac" * 8},
        {"protocol": b"2"},
    ],
)
def test_other_chains_are_nobodys_fault(change: dict[str, bytes]) -> None:
    assert read("192.168.1.8", spoken=texts(**change)) is None


@pytest.mark.parametrize(
    "change",
    [
        {"id": None},
        {"id": b""},
        {"id": b"A0" * 20},
        {"id": b"a0" * 21},
        {"id": b"zz" * 20},
        {"id": b"a0" * 20 + b"\n"},
        {"chain": None},
        {"chain": b""},
        {"chain": b"0"},
        {"chain": b"-1"},
        {"chain": b"1" * 17},
        {"chain": "٤".encode()},
        {"genesis": b"ab" * 7},
        {"genesis": b"ab" * 32},
        {"genesis": b"\xff" * 16},
        {"protocol": b"x"},
        {"protocol": b"10000"},
        {"meter": b"x" * limits.MAX_ANNOUNCEMENT_TEXT_BYTES},
    ],
)
def test_texts_that_no_node_says(change: dict[str, bytes | None]) -> None:
    with pytest.raises(InvalidAnnouncement):
        read("192.168.1.8", spoken=texts(**change))


@pytest.mark.parametrize("port", [0, -1, 65_536])
def test_ports_that_do_not_exist(port: int) -> None:
    with pytest.raises(InvalidAnnouncement, match="the port"):
        read("192.168.1.8", port=port)


def test_too_many_addresses_and_such_of_other_lengths() -> None:
    assert read(*["192.168.1.8"] * limits.MAX_ANNOUNCED_ADDRESSES) is not None
    with pytest.raises(InvalidAnnouncement, match="17 addresses"):
        read(*["192.168.1.8"] * (limits.MAX_ANNOUNCED_ADDRESSES + 1))
    for address in (b"", b"\x7f\x00\x00", bytes(16)):
        with pytest.raises(InvalidAnnouncement, match="not of IPv4"):
            read_announcement(Announcement(1, [address], texts()), NETWORK, INTERFACES)


@pytest.mark.parametrize(
    "address",
    ["8.8.8.8", "192.168.2.8", "10.0.0.1", "127.0.0.1", "0.0.0.0", "224.0.0.251", "255.255.255.255", "169.254.1.1",
     "192.168.1.0", "192.168.1.255"],
)  # fmt: skip
def test_nobody_is_called_who_is_not_next_door(address: str) -> None:
    assert read(address) is None
    assert read() is None


def test_the_address_in_the_common_network_is_chosen() -> None:
    found = read("10.9.9.9", "172.17.0.1", "192.168.1.8", "192.168.1.9")
    assert found is not None
    assert found.address == IPv4Address("192.168.1.8")


def test_a_network_of_containers_that_both_have_leads_nowhere() -> None:
    # 172.17.0.1 is this machine itself, and the other one is not in a common network.
    assert read("172.17.0.1", "10.0.0.8") is None


def test_another_node_on_this_machine() -> None:
    found = read("172.17.0.1", "192.168.1.7", port=2)
    assert found == PeerAddress(ANNA, IPv4Address("172.17.0.1"), 2)
    assert read("127.0.0.1", interfaces=(LOOPBACK,)) == PeerAddress(ANNA, LOOPBACK.ip, 30_403)


def test_an_own_public_network_counts_a_tunnel_to_everywhere_does_not() -> None:
    campus = IPv4Interface("130.92.7.7/23")
    assert read("130.92.6.1", interfaces=(campus,)) is not None
    assert read("130.92.8.1", interfaces=(campus,)) is None
    assert read("8.8.8.8", interfaces=(IPv4Interface("10.8.0.2/0"),)) is None
    assert read("10.0.0.1", interfaces=(IPv4Interface("10.0.0.0/31"),)) is not None
    assert read("10.0.0.1", interfaces=()) is None


@given(
    port=st.integers(-1, 2**17),
    addresses=st.lists(st.binary(min_size=4, max_size=4) | st.just(b"\xc0\xa8\x01\x08") | st.binary(), max_size=20),
    spoken=st.dictionaries(
        st.sampled_from([b"id", b"chain", b"genesis", b"protocol"]) | st.binary(max_size=20),
        st.none() | st.binary(max_size=50) | st.from_regex(rb"[0-9a-f]{40}|[0-9]{1,20}|[0-9a-f]{16}", fullmatch=True),
    ),
    is_ours=st.booleans(),
)
def test_garbage_is_refused_or_leads_next_door(
    port: int, addresses: list[bytes], spoken: dict[bytes, bytes | None], is_ours: bool
) -> None:
    announcement = Announcement(port, addresses, texts() | spoken if is_ours else spoken)
    try:
        peer = read_announcement(announcement, NETWORK, INTERFACES)
    except InvalidAnnouncement:
        return
    if peer is not None:
        assert any(peer.address in interface.network for interface in INTERFACES)
        assert peer.address.packed in addresses
        assert (len(peer.node_id), 0 < peer.port < 2**16) == (20, True)
