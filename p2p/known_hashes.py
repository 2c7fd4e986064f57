"""A bounded memory of hashes: the oldest are forgotten first."""

from collections.abc import Iterable, Iterator


class KnownHashes:
    """At most `capacity` hashes. What is remembered again counts as new."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._hashes: dict[bytes, None] = {}

    def __contains__(self, item: bytes) -> bool:
        return item in self._hashes

    def __len__(self) -> int:
        return len(self._hashes)

    def __iter__(self) -> Iterator[bytes]:
        """The oldest first."""
        return iter(self._hashes)

    def add(self, item: bytes) -> None:
        self._hashes.pop(item, None)
        self._hashes[item] = None
        if len(self._hashes) > self._capacity:
            del self._hashes[next(iter(self._hashes))]

    def update(self, items: Iterable[bytes]) -> None:
        for item in items:
            self.add(item)

    def discard(self, item: bytes) -> None:
        self._hashes.pop(item, None)

    def clear(self) -> None:
        self._hashes.clear()
