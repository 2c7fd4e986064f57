"""Frames of P1 ports that encrypt, sealed by another library than the one that opens them in the meter."""

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from meter.drivers.p1_cipher import AUTHENTICATION_KEY

TITLE = b"SAG\x67\x00\x00\x00\x01"


def sealed(plain: bytes, key: bytes, counter: int, *, control: int = 0x30, title: bytes = TITLE) -> bytes:
    """A frame as meters in Luxembourg send it: general-global-cipher, suite 0, a tag of 12 bytes."""
    count, header = counter.to_bytes(4, "big"), bytes((control,))
    ciphertext = AESGCM(key).encrypt(title + count, plain, header + AUTHENTICATION_KEY)
    body = header + count + ciphertext[:-4]  # of the tag's 16 bytes the first 12
    return b"\xdb" + bytes((len(title),)) + title + b"\x82" + len(body).to_bytes(2, "big") + body
