"""What a node's miner has done until it stopped: the line of the node's log that says so, and that line read back."""

import logging
import re
from dataclasses import dataclass

LOGGER = "node.mining"

_log = logging.getLogger(LOGGER)
_LINE = re.compile(
    rf"{re.escape(LOGGER)}: tried (?P<hashes>\d{{1,18}}) hashes in (?P<time>\d{{1,12}}\.\d{{3}}) s of sealing$"
)


@dataclass(frozen=True, slots=True)
class MiningTotal:
    """All that was tried, and the time in which there was a header to seal."""

    hashes: int
    sealing_s: float


def log_mining_total(hashes: int, sealing_s: float) -> None:
    _log.info("tried %d hashes in %.3f s of sealing", hashes, sealing_s)


def parse_mining_total(line: str) -> MiningTotal | None:
    """The total that a whole line of a log tells; None for any other line."""
    found = _LINE.search(line.rstrip("\n"))
    return None if found is None else MiningTotal(int(found["hashes"]), float(found["time"]))
