"""What taking over a state needs of the node. Nothing of it touches what is canonical before `finish`."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from chain.header import Header
from p2p.messages import StatePlace
from p2p.sync.headers import CheckedHeader


@dataclass(frozen=True, slots=True)
class StateNeeds:
    """What is to be asked for."""

    places: tuple[StatePlace, ...] = ()
    codes: tuple[bytes, ...] = ()
    """Hashes."""


@dataclass(frozen=True, slots=True)
class StateShare:
    """How much of a state is here."""

    accounts: int
    share: float
    """From 0 to 1: an estimate."""


@dataclass(frozen=True, slots=True)
class StateTaken:
    """What became of pieces or codes."""

    bad: int | None = None
    """The position of the first that is not what was asked for; those before it were taken, none after it."""


class StateTarget(Protocol):
    """The node's ledger while it takes over a state. Each call may wait for the chain thread."""

    def has_begun(self) -> bool:
        """Whether `aim_at` was called, in this run of the node or in an earlier one, and nothing has ended it."""

    async def keep_headers(self, headers: Sequence[CheckedHeader]) -> None:
        """Keep headers that follow each other, and the receipts that come with them. The first one follows a canonical
        block or one that is kept; all may be here already, and take the place of others."""

    async def aim_at(self, pivot: Header) -> None:
        """Take over the state after this block, one that was kept; what is here of another state and is part of this
        one too is not asked for again."""

    async def needs(self, count: int, besides: Collection[StatePlace | bytes]) -> StateNeeds:
        """Up to `count` places and codes that are missing, besides those; none at all when nothing is missing."""

    async def take_pieces(self, pieces: Sequence[tuple[StatePlace, bytes]]) -> StateTaken: ...

    async def take_codes(self, codes: Sequence[tuple[bytes, bytes]]) -> StateTaken: ...

    async def share(self) -> StateShare:
        """For people who wait; takes longer than taking a piece."""

    async def finish(self) -> None:
        """Nothing is missing: make the pivot the head, and the kept headers below it canonical. Everybody is told.

        Raises InvalidBlock where the ledger itself has come as far meanwhile, or is on another branch.
        """

    async def abandon(self) -> None:
        """Forget all this, where there is any of it."""
