"""What an address may be in the Registry contract; each is one of these at most."""

from enum import IntEnum


class Role(IntEnum):
    """Registry's `enum Role`."""

    NONE = 0
    REGULATOR = 1
    """Made and unmade by the registry's owner alone."""
    SUPPLIER = 2
    PRODUCER = 3
    CONSUMER = 4
    RELAY = 5
    """Carries the readings of others; a supplier may name its own."""
