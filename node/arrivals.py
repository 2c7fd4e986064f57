"""When blocks arrive at a node: a line of its log for every import, and that line read back.

Off unless asked for (`wattchain node --log-blocks`). The time is the machine's monotonic clock, which all processes of
one Linux machine share and nobody sets, so that the logs of several nodes on it can be compared to the microsecond.
"""

import logging
import re
import time
from dataclasses import dataclass

from chain.block import Block
from chain.importer import ImportStatus

LOGGER = "node.arrivals"

_log = logging.getLogger(LOGGER)
_LINE = re.compile(
    rf"{re.escape(LOGGER)}: block (?P<number>\d{{1,18}}) 0x(?P<hash>[0-9a-f]{{64}}) on 0x(?P<parent>[0-9a-f]{{64}}) "
    r"by 0x(?P<coinbase>[0-9a-f]{40}) (?P<status>[a-z ]{1,20}) at (?P<time>\d{1,12}\.\d{6})$"
)


@dataclass(frozen=True, slots=True)
class Arrival:
    """One import of a block at one node."""

    number: int
    block_hash: bytes
    parent_hash: bytes
    coinbase: bytes
    status: ImportStatus
    time_s: float
    """Monotonic, when the import had ended."""

    @property
    def became_head(self) -> bool:
        return self.status in (ImportStatus.EXTENDED, ImportStatus.REORGANISED)


def log_arrival(block: Block, status: ImportStatus) -> None:
    """Say that an import has ended just now, if somebody wants to know."""
    if not _log.isEnabledFor(logging.DEBUG) or status is ImportStatus.KNOWN:
        return
    _log.debug(
        "block %d 0x%s on 0x%s by 0x%s %s at %.6f",
        block.number,
        block.hash.hex(),
        block.header.parent_hash.hex(),
        block.header.coinbase.hex(),
        status.value,
        time.monotonic(),
    )


def parse_arrival(line: str) -> Arrival | None:
    """The arrival that a whole line of a log tells; None for any other line."""
    found = _LINE.search(line.rstrip("\n"))
    if found is None:
        return None
    try:
        status = ImportStatus(found["status"])
    except ValueError:
        return None
    return Arrival(
        int(found["number"]),
        bytes.fromhex(found["hash"]),
        bytes.fromhex(found["parent"]),
        bytes.fromhex(found["coinbase"]),
        status,
        float(found["time"]),
    )
