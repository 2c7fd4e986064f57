"""Frames of meters that encrypt, sealed by another library than the one that opens them here."""

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from meter.drivers.p1_cipher import UnreadableFrame, open_frame

KEY, AUTHENTICATION_KEY = bytes(range(16)), bytes(range(100, 116))
TITLE = b"SAG\x67\x00\x00\x00\x01"


def sealed(plain: bytes, counter: int = 7, control: int = 0x30, title: bytes = TITLE) -> bytes:
    count, header = counter.to_bytes(4, "big"), bytes((control,))
    ciphertext = AESGCM(KEY).encrypt(title + count, plain, header + AUTHENTICATION_KEY)
    body = header + count + ciphertext[:-4]  # of the tag's 16 bytes the first 12
    return b"\xdb" + bytes((len(title),)) + title + b"\x82" + len(body).to_bytes(2, "big") + body


@given(st.binary(max_size=3000), st.integers(0, 2**32 - 1))
def test_what_was_sealed_is_read(plain: bytes, counter: int) -> None:
    assert open_frame(sealed(plain, counter), KEY, AUTHENTICATION_KEY) == plain


def test_the_library_of_the_standard_agrees() -> None:
    xdlms = pytest.importorskip("dlms_cosem.protocol.xdlms", reason='needs pip install "wattchain[dsmr]"')
    frame = sealed(b"/ABC5\r\n!")
    assert xdlms.GeneralGlobalCipher.from_bytes(frame).to_plain_apdu(KEY, AUTHENTICATION_KEY) == b"/ABC5\r\n!"


def test_each_changed_or_missing_byte_is_noticed() -> None:
    frame = sealed(b"1-0:1.8.0(000842.911*kWh)")
    for place in range(len(frame)):
        for wrong in (frame[:place], frame[:place] + bytes((frame[place] ^ 1,)) + frame[place + 1 :]):
            with pytest.raises(UnreadableFrame):
                open_frame(wrong, KEY, AUTHENTICATION_KEY)
    with pytest.raises(UnreadableFrame):
        open_frame(frame + b"\0", KEY, AUTHENTICATION_KEY)


@pytest.mark.parametrize(
    "frame", [sealed(b"x", control=control) for control in (0x00, 0x10, 0x20)] + [sealed(b"x", title=b"123456789")]
)
def test_what_is_not_both_encrypted_and_authenticated_by_a_meter_is_refused(frame: bytes) -> None:
    with pytest.raises(UnreadableFrame):
        open_frame(frame, KEY, AUTHENTICATION_KEY)


@given(st.binary(max_size=60), st.binary(min_size=16, max_size=16))
def test_garbage(frame: bytes, key: bytes) -> None:
    with pytest.raises(UnreadableFrame):
        open_frame(frame, key, AUTHENTICATION_KEY)
