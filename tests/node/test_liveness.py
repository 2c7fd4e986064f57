"""Whether the node says that it lives: as long as its event loop runs, and to a manager that is there."""

import asyncio

from node.liveness import tell_alive
from tests.wallet.service_manager_socket import manager_socket
from wallet.service_manager import ServiceManager


async def test_it_is_told_in_time_and_the_status_when_it_changes() -> None:
    statuses = iter(["block 1", "block 1", "block 2"])
    async with manager_socket() as listener:
        manager = ServiceManager.from_environment(listener.environment(watchdog_s=0.02))
        task = asyncio.create_task(tell_alive(manager, lambda: next(statuses, "block 2")))
        await listener.wait_for("STATUS=block 2")
        task.cancel()
        assert listener.heard[:5] == ["WATCHDOG=1", "STATUS=block 1", "WATCHDOG=1", "WATCHDOG=1", "STATUS=block 2"]


async def test_without_a_manager_it_ends_at_once() -> None:
    await asyncio.wait_for(tell_alive(ServiceManager(), lambda: "unused"), timeout=5)
