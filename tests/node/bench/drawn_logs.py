"""Logs of nodes as tests need them: chains drawn block by block, with who saw which block when."""

from collections.abc import Sequence

from chain.importer import ImportStatus
from node.arrivals import Arrival

MAKERS = {bytes([0xA0 + node]) * 20: node for node in range(4)}
COINBASES = list(MAKERS)


def name(text: str) -> bytes:
    """The hash of a block that a test calls by a short name."""
    return text.encode().rjust(32, b"\0")


def arrival(
    number: int,
    block: str,
    parent: str,
    time_s: float,
    maker: int = 0,
    status: ImportStatus = ImportStatus.EXTENDED,
) -> Arrival:
    return Arrival(number, name(block), name(parent), COINBASES[maker], status, time_s)


def chain_at(times_s: Sequence[float], makers: Sequence[int] | None = None, delay_s: float = 0.0) -> list[Arrival]:
    """A node's log of the blocks b1, b2 ... on genesis b0, made at these times and arriving so much later."""
    makers = makers or [0] * len(times_s)
    return [
        arrival(number, f"b{number}", f"b{number - 1}", time_s + delay_s, maker)
        for number, (time_s, maker) in enumerate(zip(times_s, makers, strict=True), start=1)
    ]
