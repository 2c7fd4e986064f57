"""The table of messages: round trips of everything that it allows, and refusal of everything else."""

import contextlib
import ipaddress
from dataclasses import fields

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chain.block import MAX_BLOCK_BYTES
from chain.pool.admission import MAX_TRANSACTION_BYTES
from p2p import limits, messages
from p2p.fields import InvalidMessage, Record, Uint
from p2p.framing import RawMessage
from p2p.messages import (
    TABLE,
    AnnounceBlocks,
    AnnounceTransactions,
    BlockAnnouncement,
    Bodies,
    CertifiedHeader,
    Codes,
    Consensus,
    Disconnect,
    DisconnectReason,
    GetBodies,
    GetCodes,
    GetHeaders,
    GetPeers,
    GetReceipts,
    GetStatePieces,
    GetTransactions,
    Headers,
    Message,
    NewBlock,
    PeerAddress,
    Peers,
    Ping,
    Pong,
    Receipts,
    StatePieces,
    StatePlace,
    Status,
    Transactions,
    UnknownMessage,
    decode,
    encode,
    max_payload_bytes,
)

hashes = st.binary(min_size=32, max_size=32)
uint16, uint32, uint64 = (st.integers(0, 2**bits - 1) for bits in (16, 32, 64))
total_difficulties = st.integers(0, 2**256 - 1)
certificates = st.binary(max_size=100)
printable = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=limits.MAX_CLIENT_VERSION_CHARACTERS)
addresses = st.ip_addresses().filter(lambda address: getattr(address, "ipv4_mapped", None) is None)

nibbles = st.lists(st.integers(0, 15), max_size=limits.MAX_STATE_PATH_NIBBLES).map(bytes)
places = st.builds(StatePlace, st.just(b"") | hashes, nibbles)


def tuples(entries: st.SearchStrategy[object], least: int = 0) -> st.SearchStrategy[object]:
    return st.lists(entries, min_size=least, max_size=5).map(tuple)


KINDS: dict[type, st.SearchStrategy[Message]] = {
    Status: st.builds(Status, uint16, printable, uint64, hashes, total_difficulties, uint16),
    Disconnect: st.builds(Disconnect, st.sampled_from(DisconnectReason)),
    Ping: st.builds(Ping, uint64),
    Pong: st.builds(Pong, uint64),
    GetPeers: st.builds(GetPeers, uint32),
    Peers: st.builds(
        Peers, uint32, tuples(st.builds(PeerAddress, st.binary(min_size=20, max_size=20), addresses, uint16))
    ),
    AnnounceTransactions: st.builds(AnnounceTransactions, tuples(hashes, 1)),
    GetTransactions: st.builds(GetTransactions, uint32, tuples(hashes, 1)),
    Transactions: st.builds(Transactions, uint32, tuples(st.binary(min_size=1, max_size=200))),
    NewBlock: st.builds(NewBlock, st.binary(min_size=1, max_size=200), certificates, total_difficulties),
    AnnounceBlocks: st.builds(AnnounceBlocks, tuples(st.builds(BlockAnnouncement, uint64, hashes), 1)),
    GetHeaders: st.builds(
        GetHeaders,
        uint32,
        hashes | uint64,
        st.integers(0, limits.MAX_REQUESTED_HEADERS),
        st.integers(0, limits.MAX_HEADER_SKIP),
        st.booleans(),
    ),
    Headers: st.builds(
        Headers, uint32, tuples(st.builds(CertifiedHeader, st.binary(min_size=1, max_size=200), certificates))
    ),
    GetBodies: st.builds(GetBodies, uint32, tuples(hashes, 1)),
    Bodies: st.builds(Bodies, uint32, tuples(st.binary(max_size=200))),
    GetReceipts: st.builds(GetReceipts, uint32, tuples(hashes, 1)),
    Receipts: st.builds(Receipts, uint32, tuples(st.binary(max_size=200))),
    GetStatePieces: st.builds(GetStatePieces, uint32, hashes, tuples(places, 1)),
    StatePieces: st.builds(StatePieces, uint32, tuples(st.binary(max_size=200))),
    GetCodes: st.builds(GetCodes, uint32, tuples(hashes, 1)),
    Codes: st.builds(Codes, uint32, tuples(st.binary(max_size=200))),
    Consensus: st.builds(Consensus, st.booleans(), st.binary(min_size=1, max_size=200)),
}
any_message = st.one_of(list(KINDS.values()))
wire_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.binary(max_size=40) | st.text(),
    lambda children: st.lists(children, max_size=7) | st.dictionaries(st.text(max_size=3), children, max_size=2),
    max_leaves=20,
)


def raw(code: int, *items: object) -> RawMessage:
    return RawMessage(code, msgpack.packb(items))


def test_every_row_of_the_table_is_drawn_by_these_tests() -> None:
    assert set(KINDS) == {row.record.kind for row in TABLE}
    assert len({row.code for row in TABLE}) == len(TABLE) == 22
    assert all(0 <= row.code <= 255 for row in TABLE)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_what_is_encoded_decodes_to_itself(kind: type) -> None:
    @settings(max_examples=40)
    @given(KINDS[kind])
    def check(message: Message) -> None:
        assert decode(encode(message)) == message

    check()


LARGEST: list[Message] = [
    Status(2**16 - 1, "x" * 128, 2**64 - 1, bytes(32), 2**256 - 1, 2**16 - 1),
    Peers(2**32 - 1, (PeerAddress(bytes(20), ipaddress.ip_address("::1"), 65_535),) * limits.MAX_EXCHANGED_PEERS),
    AnnounceTransactions((bytes(32),) * limits.MAX_ANNOUNCED_TRANSACTIONS),
    GetTransactions(2**32 - 1, (bytes(32),) * limits.MAX_REQUESTED_TRANSACTIONS),
    Transactions(2**32 - 1, (bytes(MAX_TRANSACTION_BYTES),) * 17),
    Transactions(2**32 - 1, (bytes(8_000),) * limits.MAX_REQUESTED_TRANSACTIONS),
    NewBlock(bytes(limits.MAX_PUSHED_BLOCK_BYTES), bytes(limits.MAX_CERTIFICATE_BYTES), 2**256 - 1),
    AnnounceBlocks((BlockAnnouncement(2**64 - 1, bytes(32)),) * limits.MAX_ANNOUNCED_BLOCKS),
    GetHeaders(2**32 - 1, bytes(32), limits.MAX_REQUESTED_HEADERS, limits.MAX_HEADER_SKIP, True),
    Headers(
        2**32 - 1,
        (CertifiedHeader(bytes(limits.MAX_HEADER_BYTES), bytes(limits.MAX_CERTIFICATE_BYTES)),)
        * limits.MAX_REQUESTED_HEADERS,
    ),
    GetBodies(2**32 - 1, (bytes(32),) * limits.MAX_REQUESTED_BODIES),
    Bodies(2**32 - 1, (bytes(limits.SOFT_RESPONSE_BYTES), bytes(MAX_BLOCK_BYTES)) + (b"",) * 126),
    GetReceipts(2**32 - 1, (bytes(32),) * limits.MAX_REQUESTED_RECEIPTS),
    Receipts(2**32 - 1, (bytes(limits.SOFT_RESPONSE_BYTES), bytes(limits.MAX_RECEIPTS_BYTES)) + (b"",) * 14),
    GetStatePieces(2**32 - 1, bytes(32), (StatePlace(bytes(32), bytes(64)),) * limits.MAX_REQUESTED_STATE_PIECES),
    StatePieces(2**32 - 1, (bytes(limits.MAX_STATE_PIECE_BYTES),) * 9),
    GetCodes(2**32 - 1, (bytes(32),) * limits.MAX_REQUESTED_CODES),
    Codes(2**32 - 1, (bytes(limits.MAX_SENT_CODE_BYTES),) * 9),
    Consensus(True, bytes(limits.MAX_CONSENSUS_MESSAGE_BYTES)),
]


@pytest.mark.parametrize("message", LARGEST, ids=lambda message: type(message).__name__)
def test_the_largest_message_that_its_fields_allow_fits_its_size(message: Message) -> None:
    encoded = encode(message)
    assert decode(encoded) == message
    assert len(encoded.payload) <= (max_payload_bytes(encoded.code) or 0)


@given(st.sampled_from([row.code for row in TABLE]), st.binary(max_size=200))
def test_garbage_is_a_message_or_refused(code: int, payload: bytes) -> None:
    with contextlib.suppress(InvalidMessage):
        message = decode(RawMessage(code, payload))
        assert decode(encode(message)) == message


@given(st.sampled_from(TABLE), st.data())
def test_wrong_values_in_any_field_are_a_message_or_refused(row: messages.MessageType, data: st.DataObject) -> None:
    count = len(fields(row.record.kind)) + data.draw(st.sampled_from([0, 0, 0, 0, -1, 1]))
    items = [data.draw(wire_values) for _ in range(count)]
    with contextlib.suppress(InvalidMessage):
        message = decode(raw(row.code, row.version, *items))
        assert decode(encode(message)) == message


@given(any_message, st.data())
def test_an_altered_message_is_a_message_or_refused(message: Message, data: st.DataObject) -> None:
    encoded = encode(message)
    altered = bytearray(encoded.payload)
    altered[data.draw(st.integers(0, len(altered) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(InvalidMessage):
        decode(RawMessage(encoded.code, bytes(altered)))


@given(any_message, st.data())
def test_a_message_cut_short_or_with_something_behind_it_is_refused(message: Message, data: st.DataObject) -> None:
    encoded = encode(message)
    shorter = encoded.payload[: data.draw(st.integers(0, len(encoded.payload) - 1))]
    for payload in (shorter, encoded.payload + b"\0"):
        with pytest.raises(InvalidMessage):
            decode(RawMessage(encoded.code, payload))


def test_what_a_newer_version_says_is_unknown_rather_than_wrong() -> None:
    with pytest.raises(UnknownMessage, match="0x7f"):
        decode(RawMessage(0x7F, b""))
    for version in (0, 2, True, None, "1", [1]):
        with pytest.raises(UnknownMessage, match="another version"):
            decode(raw(0x02, version, 5))
    assert decode(raw(0x02, 1, 5)) == Ping(5)
    assert decode(raw(0x01, 1, 200)) == Disconnect(DisconnectReason.UNSPECIFIED)


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (raw(0x02), "begins with a version"),
        (RawMessage(0x02, b"\x05"), "begins with a version"),
        (RawMessage(0x02, b"\x80"), "begins with a version"),
        (raw(0x02, 1), "expected the 1 fields"),
        (raw(0x02, 1, 2, 3), "not msgpack as declared"),
        (raw(0x02, 1, True), "nonce: expected a number"),
        (raw(0x02, 1, 2.0), "nonce: expected a number"),
        (raw(0x02, 1, -1), "nonce: expected a number"),
        (raw(0x02, 1, {}), "nonce: expected a number"),
        (raw(0x04, 1, 2**32), "request_id: expected a number"),
        (raw(0x10, 1, []), "expected a list of 1 to 1024"),
        (raw(0x10, 1, [bytes(31)]), "expected 32 to 32 bytes"),
        (raw(0x10, 1, ["a" * 32]), "expected 32 to 32 bytes"),
        (raw(0x11, 1, 1, [bytes(32)] * 257), "expected a list of 1 to 256|not msgpack"),
        (raw(0x12, 1, 1, [b""]), "expected 1 to"),
        (raw(0x20, 1, b"b", b"", b"\0\1"), "shortest bytes of a number"),
        (raw(0x20, 1, b"b", b"", bytes(33)), "shortest bytes of a number"),
        (raw(0x22, 1, 1, bytes(20), 1, 0, False), "origin: expected 32 to 32 bytes"),
        (raw(0x22, 1, 1, "7", 1, 0, False), "origin: expected a number"),
        (raw(0x22, 1, 1, 7, 193, 0, False), "count: expected a number up to 192"),
        (raw(0x22, 1, 1, 7, 1, 2**20 + 1, False), "skip: expected a number up to 1048576"),
        (raw(0x22, 1, 1, 7, 1, 0, 1), "falling: expected true or false"),
        (raw(0x05, 1, 1, [[bytes(20), bytes(5), 1]]), "address: expected the 4 or 16 bytes"),
        (raw(0x05, 1, 1, [[bytes(20), bytes(10) + b"\xff\xff" + bytes(4), 1]]), "IPv6 clothes"),
        (raw(0x05, 1, 1, [[bytes(20), bytes(4)]]), "expected the 3 fields"),
        (raw(0x00, 1, 1, "v\x1b[2J", 1, bytes(32), b"", 1), "client_version: expected up to 128 printable"),
        (raw(0x00, 1, 1, "w\u00e4tt", 1, bytes(32), b"", 1), "client_version: expected up to 128 printable"),
        (raw(0x00, 1, 1, "x" * 129, 1, bytes(32), b"", 1), "client_version: expected up to 128 printable"),
        (raw(0x28, 1, 1, bytes(32), []), "expected a list of 1 to 64"),
        (raw(0x28, 1, 1, bytes(32), [[bytes(20), b""]]), "owner: expected 32 to 32 bytes"),
        (raw(0x28, 1, 1, bytes(32), [[b"", b"\x10"]]), "path: expected up to 64 half bytes"),
        (raw(0x28, 1, 1, bytes(32), [["", b""]]), "owner: expected 32 to 32 bytes"),
        (raw(0x28, 1, 1, bytes(32), [[b"", bytes(65)]]), "path: expected up to 64 half bytes"),
        (raw(0x30, 1, False, b""), "data: expected 1 to"),
        (RawMessage(0x00, bytes(1_025)), "at most 1024 are accepted"),
    ],
)
def test_what_breaks_a_rule_is_refused_with_the_rule(message: RawMessage, reason: str) -> None:
    with pytest.raises(InvalidMessage, match=reason):
        decode(message)


@pytest.mark.parametrize(
    "payload",
    [
        b"\xdd\xff\xff\xff\xff" * 200,  # arrays that claim 2^32 - 1 items each
        b"\x91" * 1_000,  # a thousand levels
        b"\xdc\x04\x01" * 300,  # arrays of as many items as are allowed, nested
        b"\xdf\xff\xff\xff\xff",  # a map of 2^32 - 1
        b"\xc6\xff\xff\xff\xff",  # 4 GiB of bytes
        b"\xc9\xff\xff\xff\xff\x01",  # an extension of 4 GiB
        b"\xd6\xff\0\0\0\0",  # a timestamp
        b"\x92\x01\xa2\xff\xfe",  # text that is not UTF-8
        b"\x92\x01\xc1",  # a byte that msgpack never uses
        b"",
    ],
)
@pytest.mark.parametrize("code", [0x00, 0x02, 0x10])
def test_msgpack_bombs_are_refused(code: int, payload: bytes) -> None:
    with pytest.raises(InvalidMessage):
        decode(RawMessage(code, payload))


@pytest.mark.parametrize("code", [0x12, 0x23, 0x25])
def test_nesting_without_end_is_refused_in_large_messages(code: int) -> None:
    with pytest.raises(InvalidMessage):
        decode(RawMessage(code, b"\x91" * 1_000_000))


@pytest.mark.parametrize(
    "message",
    [
        Ping(-1),
        Ping(2**64),
        AnnounceTransactions(()),
        AnnounceTransactions((bytes(32),) * (limits.MAX_ANNOUNCED_TRANSACTIONS + 1)),
        NewBlock(b"b", b"", -1),
        NewBlock(b"b", b"", 2**256),
        Disconnect(3),  # type: ignore[arg-type]
        Peers(1, (PeerAddress(bytes(20), "127.0.0.1", 1),)),  # type: ignore[arg-type]
        Peers(1, (PeerAddress(bytes(20), ipaddress.ip_address("::ffff:1.2.3.4"), 1),)),
        Peers(1, ("peer",)),  # type: ignore[arg-type]
        Transactions(1, (bytes(MAX_TRANSACTION_BYTES),) * 18),
    ],
)
def test_we_cannot_send_what_nobody_would_accept(message: Message) -> None:
    with pytest.raises(ValueError, match="cannot be sent"):
        encode(message)


def test_a_record_describes_all_fields_of_its_class() -> None:
    with pytest.raises(ValueError, match="has 2 fields, 1 are described"):
        Record(BlockAnnouncement, Uint(64))
