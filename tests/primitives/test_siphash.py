"""SipHash-2-4 against the vectors of its authors' paper and reference code."""

import pytest

from primitives.siphash import siphash_2_4

KEY = bytes(range(16))


@pytest.mark.parametrize(
    ("length", "expected"),
    [(0, 0x726FDB47DD0E0E31), (1, 0x74F839C593DC67FD), (8, 0x93F5F5799A932462), (15, 0xA129CA6149BE45E5)],
)
def test_the_authors_vectors(length: int, expected: int) -> None:
    assert siphash_2_4(KEY, bytes(range(length))) == expected


def test_a_key_of_another_length_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="16 bytes"):
        siphash_2_4(KEY[:-1], b"")
