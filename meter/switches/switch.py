"""What connects a household, or a circuit of it: the two questions that every kind of switch answers."""

from typing import Protocol


class SwitchTrouble(Exception):
    """The switch did not do it, or did not say so; tells what to look at. It is tried again."""


class Switch(Protocol):
    """Called by one task at a time. It may be told the state that it has already."""

    async def set(self, is_on: bool) -> None:
        """Done, and where the device says so confirmed, when this returns. Raises SwitchTrouble."""

    async def state(self) -> bool | None:
        """What the device says of itself; None where it cannot tell. Raises SwitchTrouble."""

    async def close(self) -> None:
        """Release the device."""
