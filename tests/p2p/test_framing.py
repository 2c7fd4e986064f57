"""Messages as frames and back: sizes at the borders, hostile frames, changes of the key."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2p.framing import HEADER_BYTES, AlteredFrame, FrameReader, FrameWriter, InvalidFrame, RawMessage
from p2p.limits import MAX_UNKNOWN_MESSAGE_BYTES
from p2p.noise import MAX_MESSAGE_BYTES, MAX_PLAINTEXT_BYTES, CipherState
from tests.p2p.peers import sessions

MAX_BYTES = 300_000
FIRST_BYTES = MAX_PLAINTEXT_BYTES - HEADER_BYTES


def max_bytes(code: int) -> int | None:
    return MAX_BYTES if code < 0x80 else None


def ciphers() -> tuple[CipherState, CipherState]:
    pair = (CipherState(), CipherState())
    for cipher in pair:
        cipher.initialize_key(bytes(32))
    return pair


def ends(rekey_interval: int = 1_000) -> tuple[FrameWriter, FrameReader]:
    sending, receiving = ciphers()
    return FrameWriter(sending, rekey_interval), FrameReader(receiving, max_bytes, rekey_interval)


def carry(writer: FrameWriter, reader: FrameReader, message: RawMessage) -> tuple[RawMessage | None, int]:
    """What arrives, and in how many frames."""
    result, count = None, 0
    for frame in writer.frames(message):
        assert result is None
        assert reader.frame_bytes(frame[:2]) == len(frame) - 2 <= MAX_MESSAGE_BYTES
        result, count = reader.receive(frame[2:]), count + 1
    return result, count


def forged(plaintext: bytes) -> bytes:
    """The first frame of a peer that does not keep to our rules, without its length."""
    return ciphers()[0].encrypt_with_ad(b"", plaintext)


@pytest.mark.parametrize(
    ("size", "frames"),
    [
        (0, 1),
        (1, 1),
        (FIRST_BYTES, 1),
        (FIRST_BYTES + 1, 2),
        (FIRST_BYTES + MAX_PLAINTEXT_BYTES, 2),
        (FIRST_BYTES + MAX_PLAINTEXT_BYTES + 1, 3),
        (MAX_BYTES, 5),
    ],
)
def test_messages_at_the_borders_of_frames(size: int, frames: int) -> None:
    message = RawMessage(7, bytes(index % 251 for index in range(size)))
    assert carry(*ends(), message) == (message, frames)


@settings(max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 0x7F), st.sampled_from([0, 1, 100, 65_514, 65_515, 70_000, 140_000]))))
def test_messages_arrive_in_order_whatever_their_sizes(entries: list[tuple[int, int]]) -> None:
    writer, reader = ends(rekey_interval=3)
    for code, size in entries:
        message = RawMessage(code, bytes([code]) * size)
        assert carry(writer, reader, message)[0] == message
        assert not reader.is_inside_message


def test_a_session_of_a_real_handshake_carries_messages_both_ways() -> None:
    first, second = sessions()
    for sender, receiver in ((first, second), (second, first)):
        message = RawMessage(1, b"energy" * 20_000)
        writer, reader = FrameWriter(sender.sending), FrameReader(receiver.receiving, max_bytes)
        assert carry(writer, reader, message) == (message, 2)


def test_the_key_changes_after_every_interval_on_both_sides() -> None:
    writer, reader = ends(rekey_interval=2)
    _, stale_reader = ends(rekey_interval=1_000)
    for number in range(7):
        frame = next(writer.frames(RawMessage(number, b"")))
        assert reader.receive(frame[2:]) == RawMessage(number, b"")
        if number < 2:
            stale_reader.receive(frame[2:])
        elif number == 2:
            with pytest.raises(InvalidFrame):
                stale_reader.receive(frame[2:])


@pytest.mark.parametrize("length", [0, 1, 15, 16])
def test_a_frame_that_holds_nothing_is_refused(length: int) -> None:
    with pytest.raises(InvalidFrame, match="holds nothing"):
        FrameReader.frame_bytes(length.to_bytes(2, "big"))


@pytest.mark.parametrize("size", [1, 4])
def test_a_frame_shorter_than_the_header_is_refused(size: int) -> None:
    with pytest.raises(InvalidFrame, match="less than its header"):
        ends()[1].receive(forged(bytes(size)))


@pytest.mark.parametrize(("code", "limit"), [(0, MAX_BYTES), (0x80, MAX_UNKNOWN_MESSAGE_BYTES)])
def test_a_message_beyond_its_limit_is_refused_at_its_first_frame(code: int, limit: int) -> None:
    def first_frame(size: int) -> bytes:
        return forged((bytes([code]) + size.to_bytes(4, "big")).ljust(MAX_PLAINTEXT_BYTES, b"\0"))

    with pytest.raises(InvalidFrame, match=f"of {limit + 1} bytes"):
        ends()[1].receive(first_frame(limit + 1))
    reader = ends()[1]
    assert reader.receive(first_frame(limit)) is None
    assert reader.is_inside_message


def test_a_message_beyond_its_limit_is_dropped_where_it_may_be_and_the_next_one_is_read() -> None:
    sending, receiving = ciphers()
    writer = FrameWriter(sending)
    reader = FrameReader(receiving, lambda code: 1_000, max_skipped_bytes=lambda code: 200_000 if code == 3 else 0)
    assert carry(writer, reader, RawMessage(3, bytes(200_000))) == (RawMessage(3, b"", is_skipped=True), 4)
    assert not reader.is_inside_message
    assert carry(writer, reader, RawMessage(3, bytes(1_000)))[0] == RawMessage(3, bytes(1_000))
    assert carry(writer, reader, RawMessage(3, bytes(1_001)))[0] == RawMessage(3, b"", is_skipped=True)
    with pytest.raises(InvalidFrame, match="of 200001 bytes"):
        carry(writer, reader, RawMessage(3, bytes(200_001)))


def test_frames_that_are_not_full_cannot_drip() -> None:
    with pytest.raises(InvalidFrame, match="not full"):
        ends()[1].receive(forged(b"\0" + (100).to_bytes(4, "big") + bytes(99)))


def test_bytes_behind_the_end_of_a_message_are_refused() -> None:
    with pytest.raises(InvalidFrame, match="more than the rest"):
        ends()[1].receive(forged(b"\0" + (1).to_bytes(4, "big") + bytes(2)))


def test_repeated_dropped_and_altered_frames_are_refused() -> None:
    def two_frames() -> tuple[FrameReader, list[bytes]]:
        writer, reader = ends()
        return reader, [next(writer.frames(RawMessage(number, b"reading")))[2:] for number in range(2)]

    reader, frames = two_frames()
    reader.receive(frames[0])
    with pytest.raises(AlteredFrame):
        reader.receive(frames[0])
    reader, frames = two_frames()
    with pytest.raises(AlteredFrame):
        reader.receive(frames[1])
    for position in range(len(frames[0])):
        reader, frames = two_frames()
        altered = bytearray(frames[0])
        altered[position] ^= 1
        with pytest.raises(AlteredFrame):
            reader.receive(bytes(altered))


@given(st.binary(max_size=200))
def test_garbage_is_refused(garbage: bytes) -> None:
    with pytest.raises(AlteredFrame):
        ends()[1].receive(garbage)


@given(st.binary(min_size=1, max_size=200))
def test_authentic_nonsense_is_a_message_or_refused(plaintext: bytes) -> None:
    try:
        message = ends()[1].receive(forged(plaintext))
    except InvalidFrame:
        return
    assert message == RawMessage(plaintext[0], plaintext[5:])
