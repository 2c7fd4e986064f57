"""How blocks first come to a node: a line of its log for each that gossip brings, and that line read back.

Off unless asked for (`wattchain node --log-blocks`). The time is that of node/arrivals.py, so that the way of a block
through the network can be told from what its import takes. Blocks that the validators of a chain vote on, or that
synchronisation fetches, come otherwise and are not told here.
"""

import logging
import re
import time
from dataclasses import dataclass

from chain.block import Block

LOGGER = "p2p.received"
PUSHED, FETCHED = "pushed", "fetched"

_log = logging.getLogger(LOGGER)
_LINE = re.compile(
    rf"{re.escape(LOGGER)}: block (?P<number>\d{{1,18}}) 0x(?P<hash>[0-9a-f]{{64}}) "
    rf"(?P<way>{PUSHED}|{FETCHED}) at (?P<time>\d{{1,12}}\.\d{{6}})$"
)


@dataclass(frozen=True, slots=True)
class Received:
    """One block at one node, before its import."""

    number: int
    block_hash: bytes
    way: str
    """PUSHED by a peer unasked, or FETCHED from one that had announced it."""
    time_s: float
    """Monotonic."""


def log_received(block: Block, way: str) -> None:
    """Say that a block has come just now, if somebody wants to know."""
    if _log.isEnabledFor(logging.DEBUG):
        _log.debug("block %d 0x%s %s at %.6f", block.number, block.hash.hex(), way, time.monotonic())


def parse_received(line: str) -> Received | None:
    """What a whole line of a log tells; None for any other line."""
    found = _LINE.search(line.rstrip("\n"))
    if found is None:
        return None
    return Received(int(found["number"]), bytes.fromhex(found["hash"]), found["way"], float(found["time"]))
