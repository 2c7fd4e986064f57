"""Log lines on standard error: time, level, part and sentence. A service manager keeps them."""

import logging
import sys

from node.arrivals import LOGGER as ARRIVALS


def configure_log(level: str, *, blocks: bool = False) -> None:
    """Log from this level on ("debug", "info", "warning", "error"); and, if asked, when each block arrives."""
    logging.basicConfig(
        level=level.upper(), stream=sys.stderr, format="%(asctime)s %(levelname)-7s %(name)s: %(message)s"
    )
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)
    logging.getLogger("asyncio").setLevel(logging.WARNING)
    if blocks:
        logging.getLogger(ARRIVALS).setLevel(logging.DEBUG)
