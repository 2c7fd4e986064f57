"""Frames of meters that encrypt, sealed by another library than the one that opens them here."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meter.drivers.p1_cipher import AUTHENTICATION_KEY, UnreadableFrame, open_frame
from tests.meter.p1_frames import sealed

KEY = bytes(range(16))


@given(st.binary(max_size=3000), st.integers(0, 2**32 - 1))
def test_what_was_sealed_is_read(plain: bytes, counter: int) -> None:
    assert open_frame(sealed(plain, KEY, counter), KEY) == plain


def test_the_library_of_the_standard_agrees() -> None:
    xdlms = pytest.importorskip("dlms_cosem.protocol.xdlms", reason='needs pip install "wattchain[dsmr]"')
    frame = sealed(b"/ABC5\r\n!", KEY, 7)
    assert xdlms.GeneralGlobalCipher.from_bytes(frame).to_plain_apdu(KEY, AUTHENTICATION_KEY) == b"/ABC5\r\n!"


def test_each_changed_or_missing_byte_is_noticed() -> None:
    frame = sealed(b"1-0:1.8.0(000842.911*kWh)", KEY, 7)
    for place in range(len(frame)):
        for wrong in (frame[:place], frame[:place] + bytes((frame[place] ^ 1,)) + frame[place + 1 :]):
            with pytest.raises(UnreadableFrame):
                open_frame(wrong, KEY)
    with pytest.raises(UnreadableFrame):
        open_frame(frame + b"\0", KEY)


@pytest.mark.parametrize(
    "frame",
    [sealed(b"x", KEY, 7, control=control) for control in (0x00, 0x10, 0x20)]
    + [sealed(b"x", KEY, 7, title=b"123456789")],
)
def test_what_is_not_both_encrypted_and_authenticated_by_a_meter_is_refused(frame: bytes) -> None:
    with pytest.raises(UnreadableFrame):
        open_frame(frame, KEY)


@given(st.binary(max_size=60), st.binary(min_size=16, max_size=16))
def test_garbage(frame: bytes, key: bytes) -> None:
    with pytest.raises(UnreadableFrame):
        open_frame(frame, key)
