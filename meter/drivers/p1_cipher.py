"""Encrypted telegrams of P1 ports: the frame general-global-cipher of DLMS (Green Book, security suite 0), opened.

Frame and AES-GCM alone, by the library that opens the meter's key file anyway: dlms_cosem and cryptography, by which
dsmr-parser would do it, take 11 MB, a fifth of what a meter may take of a Pi's memory.
"""

from Crypto.Cipher import AES

GENERAL_GLOBAL_CIPHER = 0xDB
# The key by which all encrypted P1 ports of Luxembourg authenticate; it is public, and stands in Luxmetering's
# specification of the port. What is secret is each meter's own.
AUTHENTICATION_KEY = bytes.fromhex("00112233445566778899AABBCCDDEEFF")
TITLE_BYTES = 8
"""The system title: maker and number of the meter."""
COUNTER_BYTES = 4
TAG_BYTES = 12
# A length of two bytes follows; a telegram is never so short that one would do.
LONG_LENGTH = 0x82
# Bits of the security control byte.
AUTHENTICATED, ENCRYPTED = 0x10, 0x20

_HEAD_BYTES = 2 + TITLE_BYTES + 3
_LEAST_BYTES = 1 + COUNTER_BYTES + TAG_BYTES


class UnreadableFrame(ValueError):
    """Damaged, of another form, or sealed with another key."""


def open_frame(frame: bytes, key: bytes) -> bytes:
    """What the meter sealed with its own key, 16 bytes. Raises UnreadableFrame."""
    title, sealed = frame[2 : 2 + TITLE_BYTES], frame[_HEAD_BYTES:]
    length = len(sealed).to_bytes(2, "big") if len(sealed) < 2**16 else b""
    head = bytes((GENERAL_GLOBAL_CIPHER, TITLE_BYTES)) + title + bytes((LONG_LENGTH,)) + length
    if len(sealed) < _LEAST_BYTES or frame[:_HEAD_BYTES] != head:
        raise UnreadableFrame("not a frame of a P1 port")
    control, counter, ciphertext = sealed[:1], sealed[1 : 1 + COUNTER_BYTES], sealed[1 + COUNTER_BYTES : -TAG_BYTES]
    both = AUTHENTICATED | ENCRYPTED
    if control[0] & both != both:
        raise UnreadableFrame("a frame that is not both encrypted and authenticated")
    cipher = AES.new(key, AES.MODE_GCM, nonce=title + counter, mac_len=TAG_BYTES)
    cipher.update(control + AUTHENTICATION_KEY)
    try:
        return cipher.decrypt_and_verify(ciphertext, sealed[-TAG_BYTES:])
    except ValueError as error:
        raise UnreadableFrame("the key is not that of this frame, or the frame is damaged") from error
