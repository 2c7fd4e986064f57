"""The address book: whom it calls, whom it believes, whom it tells, and its file."""

import json
import random
from ipaddress import ip_address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2p import limits
from p2p.address_book import AddressBook, save_address_book
from p2p.messages import PeerAddress
from p2p.node_url import NodeUrl
from primitives.clock import ManualClock

OWN = b"\x50" * 20
NEIGHBOUR = ip_address("192.168.1.99")
STRANGER = ip_address("9.9.9.9")


def node(number: int) -> bytes:
    return number.to_bytes(20, "big")


def local(number: int) -> NodeUrl:
    return NodeUrl(node(number), f"192.168.{number // 250}.{1 + number % 250}", 30_403)


def rumour(number: int, host: str | None = None, port: int = 30_403) -> PeerAddress:
    return PeerAddress(node(number), ip_address(host or local(number).host), port)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def book(clock: ManualClock) -> AddressBook:
    return AddressBook(clock, OWN, random.Random(1))


def called(book: AddressBook, count: int = 10, exclude: frozenset[bytes] = frozenset()) -> list[int]:
    return [int.from_bytes(url.node_id, "big") for url in book.to_call(count, exclude)]


def test_static_peers_come_first_then_the_proven_among_some_new_ones(book: AddressBook, clock: ManualClock) -> None:
    for number in range(1, 41):
        if number <= 20:
            book.succeeded(local(number))
            clock.advance_s(1)
        else:
            assert book.heard_of(rumour(number), NEIGHBOUR)
    assert book.add_static(local(50))
    chosen = called(book, 16)
    assert chosen[0] == 50
    proven = [number for number in chosen[1:] if number <= 20]
    assert proven == sorted(proven, reverse=True)
    assert proven[0] == 20
    assert 0 < len(chosen) - 1 - len(proven) < 10
    assert called(book, 5, frozenset([node(50), node(20)]))[0] not in (50, 20)
    assert sorted(called(book, 100)) == sorted({*range(1, 41), 50})


def test_backoff_doubles_and_ends_when_a_conversation_lasts(book: AddressBook, clock: ManualClock) -> None:
    book.succeeded(local(1))
    waits = []
    for _ in range(14):
        book.failed(node(1))
        assert called(book) == []
        begin_s = clock.now_s
        while not called(book):
            clock.advance_s(1)
        waits.append(clock.now_s - begin_s)
    ideal = [min(5 * 2**step, limits.MAX_DIAL_BACKOFF_S) for step in range(14)]
    assert all(0.75 * full <= wait <= full for wait, full in zip(waits, ideal, strict=True))
    assert waits[-1] < ideal[-1]
    # One that answers and then hangs up, again and again, is not called more often for it.
    book.succeeded(local(1))
    book.failed(node(1))
    clock.advance_s(5)
    assert called(book) == []
    book.succeeded(local(1))
    book.lasted(node(1))
    book.failed(node(1))
    clock.advance_s(5)
    assert called(book) == [1]


def test_a_static_peer_is_called_for_ever_at_least_every_minute(book: AddressBook, clock: ManualClock) -> None:
    book.add_static(local(1))
    for _ in range(200):
        book.failed(node(1))
        clock.advance_s(limits.MAX_STATIC_BACKOFF_S)
        assert called(book) == [1]


def test_others_are_forgotten_after_many_failures(book: AddressBook) -> None:
    book.heard_of(rumour(1), NEIGHBOUR)
    for _ in range(limits.MAX_DIAL_FAILURES - 1):
        book.failed(node(1))
    assert book.get(node(1)) is not None
    book.failed(node(1))
    book.failed(node(1))
    assert len(book) == 0


def test_a_clock_set_back_does_not_keep_peers_waiting(book: AddressBook, clock: ManualClock) -> None:
    book.succeeded(local(1))
    book.failed(node(1))
    clock.advance_s(-1_000_000)
    assert called(book) == [1]


def test_one_public_subnet_is_called_rarely_at_once(book: AddressBook) -> None:
    for number in range(20):
        book.heard_of(rumour(number, f"8.8.8.{number + 1}"), STRANGER)
    book.heard_of(rumour(30, "8.8.9.1"), STRANGER)
    chosen = called(book, 20)
    assert len(chosen) == limits.MAX_OUTBOUND_TO_SUBNET + 1
    assert 30 in chosen


def test_nobody_can_move_a_node_that_we_reached(book: AddressBook, clock: ManualClock) -> None:
    book.succeeded(local(1))
    assert not book.heard_of(rumour(1, "192.168.1.66"), NEIGHBOUR)
    for _ in range(limits.MIN_FAILURES_TO_DOUBT):
        assert not book.heard_of(rumour(1, "192.168.1.66"), NEIGHBOUR)
        book.failed(node(1))
    assert book.heard_of(rumour(1, "192.168.1.66"), NEIGHBOUR)
    known = book.get(node(1))
    assert known is not None
    assert (known.url.host, known.failures) == ("192.168.1.66", limits.MIN_FAILURES_TO_DOUBT)
    book.add_static(local(2))
    assert not book.heard_of(rumour(2, "192.168.1.66"), NEIGHBOUR)


@pytest.mark.parametrize(
    ("host", "teller", "believed"),
    [
        ("8.8.8.8", "9.9.9.9", True),
        ("192.168.1.5", "9.9.9.9", False),
        ("127.0.0.1", "9.9.9.9", False),
        ("8.8.8.8", "192.168.1.9", True),
        ("192.168.1.5", "192.168.1.9", True),
        ("127.0.0.1", "192.168.1.9", False),
        ("127.0.0.1", "127.0.0.1", True),
        ("192.168.1.5", "127.0.0.1", True),
        ("0.0.0.0", "127.0.0.1", False),
        ("224.0.0.1", "127.0.0.1", False),
        ("::1", "127.0.0.1", True),
        ("fd00::1", "9.9.9.9", False),
    ],
)
def test_addresses_travel_only_where_they_mean_something(
    book: AddressBook, host: str, teller: str, believed: bool
) -> None:
    assert book.heard_of(rumour(1, host), ip_address(teller)) is believed
    book.succeeded(NodeUrl(node(1), host, 30_403))
    told = book.to_tell(node(9), ip_address(teller), 10)
    assert told == ((rumour(1, host),) if believed else ())


def test_nonsense_is_not_believed(book: AddressBook) -> None:
    assert not book.heard_of(rumour(1, port=0), NEIGHBOUR)
    assert not book.heard_of(PeerAddress(OWN, NEIGHBOUR, 1), NEIGHBOUR)
    assert not book.add_static(NodeUrl(OWN, "10.0.0.1", 1))
    assert book.heard_of(rumour(1), NEIGHBOUR)
    assert not book.heard_of(rumour(1), NEIGHBOUR)


def test_only_what_we_reached_ourselves_is_told_and_never_to_itself(book: AddressBook) -> None:
    book.heard_of(rumour(1), NEIGHBOUR)
    book.add_static(NodeUrl(node(2), "pi.local", 1))
    book.succeeded(NodeUrl(node(2), "192.168.1.2", 1))
    for number in range(3, 100):
        book.succeeded(local(number))
    told = {peer.node_id for peer in book.to_tell(node(3), NEIGHBOUR, 1_000)}
    assert len(told) == limits.MAX_EXCHANGED_PEERS
    assert told.isdisjoint({node(1), node(2), node(3)})
    assert len(book.to_tell(node(3), NEIGHBOUR, 5)) == 5


def test_a_static_peer_keeps_the_name_that_the_operator_gave_it(book: AddressBook) -> None:
    book.add_static(NodeUrl(node(2), "pi.local", 1))
    book.succeeded(NodeUrl(node(2), "192.168.1.2", 1))
    assert book.to_call(1, ()) == [NodeUrl(node(2), "pi.local", 1)]
    assert book.static_nodes() == {node(2)}
    book.forget(node(2))
    book.remove_static(node(2))
    book.remove_static(node(3))
    assert book.static_nodes() == frozenset()
    book.forget(node(2))
    assert len(book) == 0


def test_liars_cannot_fill_the_book(book: AddressBook) -> None:
    for number in range(1, 101):
        book.succeeded(local(number))
    for number in range(200, 400):
        book.heard_of(rumour(number, f"8.8.8.{number - 199}"), STRANGER)
    assert len(book) == 100 + limits.MAX_KNOWN_PEERS_IN_SUBNET
    # Nor by moving rumours into a subnet that is full; when one leaves it, another fits.
    assert book.heard_of(rumour(500, "8.8.9.1"), STRANGER)
    assert not book.heard_of(rumour(500, "8.8.8.250"), STRANGER)
    book.forget(node(200))
    assert book.heard_of(rumour(500, "8.8.8.250"), STRANGER)
    assert not book.heard_of(rumour(200, "8.8.8.251"), STRANGER)
    for number in range(1_000, 4_000):
        book.heard_of(rumour(number, f"8.{number // 256}.{number % 256}.1"), STRANGER)
    assert len(book) == limits.MAX_KNOWN_PEERS
    assert all(book.get(node(number)) for number in range(1, 101))
    # A rumour that proved wrong makes room for another.
    assert not book.heard_of(rumour(5_000), NEIGHBOUR)
    book.failed(node(1_000))
    assert book.heard_of(rumour(5_000), NEIGHBOUR)
    assert book.get(node(1_000)) is None
    assert len(book) == limits.MAX_KNOWN_PEERS


def test_static_peers_are_bounded(book: AddressBook) -> None:
    assert all(book.add_static(local(number)) for number in range(limits.MAX_STATIC_PEERS))
    assert not book.add_static(local(limits.MAX_STATIC_PEERS))
    assert book.add_static(local(1))


def test_the_file_brings_back_what_was_known(book: AddressBook, clock: ManualClock, tmp_path: Path) -> None:
    path = tmp_path / "peers.json"
    book.load(path)
    book.succeeded(local(1))
    book.heard_of(rumour(2, "fd00::2"), NEIGHBOUR)
    book.failed(node(2))
    book.add_static(local(3))
    for _ in range(2):
        save_address_book(path, book.to_json())
    assert [entry.name for entry in tmp_path.iterdir()] == ["peers.json"]
    again = AddressBook(clock, OWN, random.Random(1))
    again.load(path)
    assert [again.get(node(number)) for number in (1, 2)] == [book.get(node(number)) for number in (1, 2)]
    # That a peer is static is said by the settings, each time anew.
    assert again.static_nodes() == frozenset()
    assert len(again) == 3
    # What is known already is not replaced, and a node is not its own peer.
    own = AddressBook(clock, node(1), random.Random(1))
    own.add_static(NodeUrl(node(2), "pi.local", 1))
    own.load(path)
    assert own.get(node(1)) is None
    assert own.static_nodes() == {node(2)}


def test_a_full_book_fits_its_file(book: AddressBook, tmp_path: Path) -> None:
    for number in range(limits.MAX_KNOWN_PEERS):
        book.succeeded(NodeUrl(node(number), f"2600:1111:{number:x}:4444:5555:6666:7777:8888", 65_535))
    text = book.to_json()
    assert len(text) < limits.MAX_ADDRESS_BOOK_BYTES // 3
    save_address_book(tmp_path / "peers.json", text)
    again = AddressBook(ManualClock(), OWN, random.Random(1))
    again.load(tmp_path / "peers.json")
    assert len(again) == limits.MAX_KNOWN_PEERS


GOOD = {"url": str(local(1)), "lastSuccess": 1, "nextAttempt": 2, "failures": 3}


@pytest.mark.parametrize(
    "document",
    [
        [],
        {"version": 2, "peers": []},
        {"version": 1},
        {"version": 1, "peers": [7]},
        {"version": 1, "peers": [{}]},
        {"version": 1, "peers": [{**GOOD, "url": "x"}]},
        {"version": 1, "peers": [{**GOOD, "failures": -1}]},
        {"version": 1, "peers": [{**GOOD, "failures": True}]},
        {"version": 1, "peers": [{**GOOD, "lastSuccess": 2**63}]},
        {"version": 1, "peers": [{**GOOD, "nextAttempt": 1.5}]},
    ],
)
def test_a_damaged_file_is_put_aside_and_the_node_starts(book: AddressBook, tmp_path: Path, document: object) -> None:
    path = tmp_path / "peers.json"
    path.write_text(json.dumps(document))
    book.load(path)
    assert len(book) == 0
    assert [entry.name for entry in tmp_path.iterdir()] == ["peers.json.damaged"]


@given(data=st.binary(max_size=60))
def test_any_bytes_as_a_file_are_survived(data: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "any-peers.json"
    path.write_bytes(data)
    book = AddressBook(ManualClock(), OWN, random.Random(1))
    book.load(path)
    assert len(book) == 0


def test_a_file_that_is_too_large_is_not_read(book: AddressBook, tmp_path: Path) -> None:
    path = tmp_path / "peers.json"
    path.write_text(json.dumps({"version": 1, "peers": [GOOD]}) + " " * limits.MAX_ADDRESS_BOOK_BYTES)
    book.load(path)
    assert len(book) == 0
