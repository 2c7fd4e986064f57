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


async def lives(
    monkeypatch: pytest.MonkeyPatch,
    folder: Path,
    *,
    what: str,
    key_file: str,
    settings: str,
    credential: str,
    status: str,
) -> None:
    """It is ready, tells what keeps it from its work and that it lives, and says that it stops.

    The password of its key comes as systemd hands it over.
    """
    (folder / key_file).write_text(encrypt_key(bytes([7]) * 32, "secret", ScryptCost(2**10, 8, 1)))
    (folder / "settings.toml").write_text(settings)
    (folder / "credentials").mkdir()
    (folder / "credentials" / credential).write_text("secret\n")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(folder / "credentials"))
    async with manager_socket() as listener:
        for name, value in listener.environment(watchdog_s=0.2).items():
            monkeypatch.setenv(name, value)
        arguments = (what, "run", "--settings", folder / "settings.toml")
        async with RunningCommand(folder, folder / "log", *arguments) as command:
            assert (await listener.next_lines())[0] == "READY=1"
            await listener.wait_for(f"STATUS={status}")
            for _ in range(3):
                await listener.wait_for("WATCHDOG=1")
            assert await command.stop() == 0
        await listener.wait_for("STOPPING=1")


async def test_a_meter_lives_while_it_waits_for_a_ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await lives(
        monkeypatch,
        tmp_path,
        what="meter",
        key_file="meter.json",
        settings=SETTINGS,
        credential="meter-password",
        status="no measurements: a new meter has to ask the ledger once",
    )


async def test_an_agent_lives_while_it_waits_for_a_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await lives(
        monkeypatch,
        tmp_path,
        what="agent",
        key_file="owner.json",
        settings=AGENT_SETTINGS,
        credential="account-password",
        status="no decision now: No node answers at http://127.0.0.1:9",
    )
