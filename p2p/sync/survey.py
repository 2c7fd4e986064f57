"""Seeing all headers of a long branch before anything of it is executed, where blocks can be undone only so deep.

A branch is worth what its headers prove, and that is known at its end. Whoever executed on the way could find out too
late that it is light: too deep in it to come back. So its headers are gone through twice, which costs little beside
executing the blocks; from the first time a few hashes are kept, from which the second one must not deviate.
"""

from collections.abc import Sequence

from p2p.backend import ChainHead
from p2p.limits import SURVEY_GROWTH_PART, SURVEY_MARK_BLOCKS
from p2p.sync.headers import CheckedHeader, HeaderSource
from p2p.sync.outcome import BranchLeft, RoundEnded
from p2p.sync.peers import SyncPeers


class Survey:
    """What was seen of a branch."""

    def __init__(self, parent: ChainHead) -> None:
        self.top = parent
        """The last header, and what the branch weighs."""
        self._marks: dict[int, bytes] = {}

    def add(self, headers: Sequence[CheckedHeader]) -> None:
        """The next ones."""
        for checked in headers:
            if checked.header.number % SURVEY_MARK_BLOCKS == 0:
                self._marks[checked.header.number] = checked.header.hash
        last = headers[-1]
        self.top = ChainHead(last.header.number, last.header.hash, last.total_difficulty)

    def proven(self, headers: Sequence[CheckedHeader]) -> int:
        """How many of these, which begin where those before ended, lead to one that was seen or come after all of them.

        Raises BranchLeft where one is not what was seen.
        """
        count = 0
        for position, checked in enumerate(headers, 1):
            number = checked.header.number
            seen = self.top.hash if number == self.top.number else self._marks.get(number)
            if seen is not None and seen != checked.header.hash:
                raise BranchLeft(f"header {number} is another one than it was")
            if seen is not None or number > self.top.number:
                count = position
        return count


def check_heaviest(peers: SyncPeers, source: HeaderSource) -> None:
    """Raises RoundEnded where another peer claims a chain that is clearly heavier than what was seen: by more than what
    this one may have grown by meanwhile."""
    seen = source.top.total_difficulty
    if peers.another_claims_more(seen + seen // SURVEY_GROWTH_PART, source.peer):
        raise RoundEnded("another peer claims a heavier chain")
