"""A bounded mapping that forgets what was not used lately, in two generations.

When the young generation is full it becomes the old one, and the old one is dropped; what is found in the old one is
young again. That costs less than keeping exact order of use, and holds between half the limit and all of it.
"""

from collections.abc import Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class Missing:
    """The type of MISSING."""


MISSING = Missing()
"""What get() answers for a key that is not held; None is a value like others: "known to be absent"."""


class GenerationCache(Generic[Key, Value]):
    """At most `limit` entries."""

    def __init__(self, limit: int) -> None:
        self._half = limit // 2
        self._young: dict[Key, Value] = {}
        self._old: dict[Key, Value] = {}

    def get(self, key: Key) -> Value | Missing:
        value = self._young.get(key, MISSING)
        if value is MISSING:
            value = self._old.get(key, MISSING)
            if not isinstance(value, Missing):
                self.put(key, value)
        return value

    def put(self, key: Key, value: Value) -> None:
        if len(self._young) >= self._half:
            self._old = self._young
            self._young = {}
        self._young[key] = value

    def clear(self) -> None:
        self._young.clear()
        self._old.clear()

    def __len__(self) -> int:
        return len(self._young.keys() | self._old.keys())
