"""A real node, meter and agent as a service manager sees them: ready, alive while they work, stopping when told to.

The manager is a datagram socket, as systemd's is; the processes know it by $NOTIFY_SOCKET.
"""

from pathlib import Path

import pytest

from tests.functional.running_node import RunningCommand, run_command
from tests.wallet.service_manager_socket import manager_socket
from wallet.keystore import ScryptCost, encrypt_key

OPERATOR = "0x" + "11" * 20


async def test_a_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = run_command(tmp_path, "init", "--data-dir", tmp_path / "node", "--operator", OPERATOR)
    assert made.returncode == 0, made.stderr
    async with manager_socket() as listener:
        for name, value in listener.environment(watchdog_s=0.2).items():
            monkeypatch.setenv(name, value)
        options = ("--rpc-port", 0, "--p2p-port", 0, "--no-discovery")
        async with RunningCommand(
            tmp_path, tmp_path / "log", "node", "--data-dir", tmp_path / "node", *options
        ) as node:
            assert (await listener.next_lines())[0] == "READY=1"
            assert await listener.wait_for("STATUS=") == "STATUS=block 0, 0 peers"
            for _ in range(3):
                await listener.wait_for("WATCHDOG=1")
            assert await node.stop() == 0
        await listener.wait_for("STOPPING=1")


SETTINGS = """
[meter]
key = "meter.json"
outbox = "outbox.sqlite"
[ledger]
chain_id = 1947
# Nothing listens on the discard port.
node = "http://127.0.0.1:9"
[driver]
kind = "simulated-home"
[relay]
enabled = false
"""


async def test_a_meter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It lives while it waits for a ledger, with the password of its key as systemd hands it over."""
    (tmp_path / "meter.json").write_text(encrypt_key(bytes([7]) * 32, "secret", ScryptCost(2**10, 8, 1)))
    (tmp_path / "meter.toml").write_text(SETTINGS)
    (tmp_path / "credentials").mkdir()
    (tmp_path / "credentials" / "meter-password").write_text("secret\n")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path / "credentials"))
    async with manager_socket() as listener:
        for name, value in listener.environment(watchdog_s=0.2).items():
            monkeypatch.setenv(name, value)
        settings = tmp_path / "meter.toml"
        async with RunningCommand(tmp_path, tmp_path / "log", "meter", "run", "--settings", settings) as meter:
            assert (await listener.next_lines())[0] == "READY=1"
            await listener.wait_for("STATUS=no measurements: a new meter has to ask the ledger once")
            for _ in range(3):
                await listener.wait_for("WATCHDOG=1")
            assert await meter.stop() == 0
        await listener.wait_for("STOPPING=1")


AGENT_SETTINGS = """
[account]
key = "owner.json"
[ledger]
chain_id = 1947
node = "http://127.0.0.1:9"
[agent]
meter = "0x1111111111111111111111111111111111111111"
dry_run = false
"""


async def test_an_agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It lives while it waits for a node, with the password of its owner's key as systemd hands it over."""
    (tmp_path / "owner.json").write_text(encrypt_key(bytes([8]) * 32, "secret", ScryptCost(2**10, 8, 1)))
    (tmp_path / "agent.toml").write_text(AGENT_SETTINGS)
    (tmp_path / "credentials").mkdir()
    (tmp_path / "credentials" / "account-password").write_text("secret\n")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path / "credentials"))
    async with manager_socket() as listener:
        for name, value in listener.environment(watchdog_s=0.2).items():
            monkeypatch.setenv(name, value)
        settings = tmp_path / "agent.toml"
        async with RunningCommand(tmp_path, tmp_path / "log", "agent", "run", "--settings", settings) as agent:
            assert (await listener.next_lines())[0] == "READY=1"
            await listener.wait_for("STATUS=no decision now: No node answers at http://127.0.0.1:9")
            for _ in range(3):
                await listener.wait_for("WATCHDOG=1")
            assert await agent.stop() == 0
        await listener.wait_for("STOPPING=1")
