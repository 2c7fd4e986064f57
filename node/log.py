"""Log lines on standard error: time, level, part and sentence. A service manager keeps them."""

import logging
import sys
from typing import TextIO

from node.arrivals import LOGGER as ARRIVALS
from p2p.received import LOGGER as RECEIVED


def configure_log(level: str, *, blocks: bool = False) -> None:
    """Log from this level on ("debug", "info", "warning", "error"); and, if asked, when each block arrives."""
    logging.basicConfig(
        level=level.upper(), handlers=[_ErrorHandler()], format="%(asctime)s %(levelname)-7s %(name)s: %(message)s"
    )
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)
    logging.getLogger("asyncio").setLevel(logging.WARNING)
    if blocks:
        for name in (ARRIVALS, RECEIVED):
            logging.getLogger(name).setLevel(logging.DEBUG)


class _ErrorHandler(logging.StreamHandler[TextIO]):
    """Writes to whatever is standard error at the moment: while a bar is drawn there, lines go above it."""

    @property
    def stream(self) -> TextIO:
        return sys.stderr

    @stream.setter
    def stream(self, _: TextIO) -> None:
        """It cannot be another."""
