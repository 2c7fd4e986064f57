"""Who may vote at a height, how many of them decide, and whose turn it is to propose.

Follows the QBFT specification of the Enterprise Ethereum Alliance (quorum, f, proposer) and, where the proposer of the
block before is no validator any more, Besu: the next address in order has its turn.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

ADDRESS_BYTES = 20
MAX_VALIDATORS = 128
"""Every certificate is checked signature by signature; 128 recoveries take a Pi about 0.05 s, and 86 seals 6 KB."""


class ProposerPolicy(Enum):
    """Who proposes first at a height; each further round is the next validator's."""

    ROUND_ROBIN = "round-robin"
    """The validator after the one that proposed the block before."""
    STICKY = "sticky"
    """The one that proposed the block before, until it fails."""


def quorum(count: int) -> int:
    """ceil(2N/3): two groups of so many of N validators share more than f of them, so at least an honest one."""
    return (2 * count + 2) // 3


def tolerated_faults(count: int) -> int:
    """f, how many of N validators may fail in any way: floor((N - 1) / 3)."""
    return (count - 1) // 3


@dataclass(frozen=True, slots=True)
class ValidatorSet:
    """The validators of one height, in the order of their addresses. Made by `of`."""

    addresses: tuple[bytes, ...]

    @classmethod
    def of(cls, addresses: Iterable[bytes]) -> "ValidatorSet":
        """Raises ValueError for none, too many, a repeated or a malformed address."""
        ordered = tuple(sorted(addresses))
        if not 0 < len(ordered) <= MAX_VALIDATORS:
            raise ValueError(f"{len(ordered)} validators; from 1 to {MAX_VALIDATORS} are possible")
        if len(set(ordered)) != len(ordered):
            raise ValueError("a validator is named twice")
        if any(len(address) != ADDRESS_BYTES for address in ordered):
            raise ValueError(f"a validator's address does not have {ADDRESS_BYTES} bytes")
        return cls(ordered)

    def __contains__(self, address: object) -> bool:
        return address in self.addresses

    def __len__(self) -> int:
        return len(self.addresses)

    @property
    def quorum(self) -> int:
        return quorum(len(self.addresses))

    @property
    def tolerated_faults(self) -> int:
        return tolerated_faults(len(self.addresses))

    def proposer(self, round_: int, previous_proposer: bytes, policy: ProposerPolicy) -> bytes:
        """Whose turn round `round_` is, after a block of `previous_proposer` (still a validator or not)."""
        find = bisect_right if policy is ProposerPolicy.ROUND_ROBIN else bisect_left
        return self.addresses[(find(self.addresses, previous_proposer) + round_) % len(self.addresses)]
