"""What a pool tells of itself."""

from dataclasses import dataclass

from chain.transaction import Transaction


@dataclass(frozen=True, slots=True)
class PoolStatus:
    """How many transactions the pool holds."""

    pending: int
    queued: int
    encoded_bytes: int


@dataclass(frozen=True, slots=True)
class PoolContent:
    """All transactions of the pool: by sender, in nonce order."""

    pending: dict[bytes, list[Transaction]]
    queued: dict[bytes, list[Transaction]]
