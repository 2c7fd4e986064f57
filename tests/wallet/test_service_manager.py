"""What a service manager hears, over a real datagram socket; and that nobody suffers where there is none."""

import os
import socket

import pytest

from tests.wallet.service_manager_socket import manager_socket
from wallet.service_manager import ServiceManager


async def test_ready_alive_status_and_stopping() -> None:
    async with manager_socket() as listener:
        manager = ServiceManager.from_environment(listener.environment(watchdog_s=10))
        assert manager.ping_interval_s == 5
        manager.ready("block 7")
        assert await listener.next_lines() == ["READY=1", "STATUS=block 7"]
        manager.alive()
        assert await listener.next_lines() == ["WATCHDOG=1"]
        manager.status("block 8\nREADY=0")  # what comes from elsewhere cannot add a line
        assert await listener.next_lines() == ["STATUS=block 8 READY=0"]
        manager.status("block 8\nREADY=0")  # told already
        manager.stopping()
        assert await listener.next_lines() == ["STOPPING=1", "STATUS=stopping"]


async def test_without_a_watchdog_nothing_is_said_of_being_alive() -> None:
    async with manager_socket() as listener:
        manager = ServiceManager.from_environment(listener.environment())
        assert manager.is_present
        assert manager.ping_interval_s is None
        manager.alive()
        assert listener.rest() == []


async def test_a_name_in_the_abstract_namespace() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.setblocking(False)
        name = f"wattchain-test-{os.getpid()}"
        listener.bind("\0" + name)
        ServiceManager.from_environment({"NOTIFY_SOCKET": "@" + name}).ready("well")
        assert listener.recv(100) == b"READY=1\nSTATUS=well"


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"NOTIFY_SOCKET": ""},
        {"NOTIFY_SOCKET": "relative/path", "WATCHDOG_USEC": "1000000"},
        {"NOTIFY_SOCKET": "/nobody/listens/here", "WATCHDOG_USEC": "1000000"},
        {"NOTIFY_SOCKET": "/" + "x" * 200},
    ],
)
def test_nobody_who_listens_is_no_trouble(environment: dict[str, str]) -> None:
    manager = ServiceManager.from_environment(environment)
    manager.ready("a")
    manager.alive()
    manager.status("b")
    manager.stopping()


@pytest.mark.parametrize("timeout", ["0", "-5", "soon", "1e6", "٣", "9" * 40, ""])
def test_a_watchdog_time_that_makes_no_sense(timeout: str) -> None:
    environment = {"NOTIFY_SOCKET": "@x", "WATCHDOG_USEC": timeout}
    assert ServiceManager.from_environment(environment).watchdog_timeout_s is None


def test_a_watchdog_for_another_process() -> None:
    environment = {"NOTIFY_SOCKET": "@x", "WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "1"}
    assert ServiceManager.from_environment(environment).watchdog_timeout_s is None
    ours = environment | {"WATCHDOG_PID": str(os.getpid())}
    assert ServiceManager.from_environment(ours).watchdog_timeout_s == 1


async def test_a_manager_that_does_not_read_holds_nobody_up() -> None:
    async with manager_socket() as listener:
        manager = ServiceManager.from_environment(listener.environment(watchdog_s=1))
        for _ in range(5_000):  # far beyond what the kernel keeps for a socket
            manager.alive()
        assert 0 < len(listener.rest()) < 5_000
