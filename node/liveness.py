"""Tells the service manager how the node does, for as long as its event loop runs: one that hangs says nothing."""

import asyncio
from collections.abc import Callable

from wallet.service_manager import ServiceManager

# Where no watchdog asks for more, the line of status is as new as this.
STATUS_INTERVAL_S = 30.0


async def tell_alive(manager: ServiceManager, status: Callable[[], str]) -> None:
    """Until cancelled. Of the wall's time, whatever clock the node has: the manager's is the wall's."""
    interval_s = min(manager.ping_interval_s or STATUS_INTERVAL_S, STATUS_INTERVAL_S)
    while manager.is_present:
        manager.alive()
        manager.status(status())
        await asyncio.sleep(interval_s)
