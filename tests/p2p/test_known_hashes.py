"""A bounded memory of hashes."""

from p2p.known_hashes import KnownHashes

ITEMS = [bytes([number]) * 32 for number in range(3)]


def test_known_hashes_forget_the_oldest() -> None:
    known = KnownHashes(2)
    known.update([ITEMS[0], ITEMS[1], ITEMS[0], ITEMS[2]])
    assert list(known) == [ITEMS[0], ITEMS[2]]
