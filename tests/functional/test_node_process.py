"""`wattchain init` and `wattchain node` as processes: ready, ended by signals, alone in their folder and on their port.

What each refusal says is tested in tests/node; here it is shown that nothing but a sentence comes out of a process.
"""

import asyncio
import json
import signal
import sqlite3
from contextlib import closing
from pathlib import Path

from tests.functional.running_node import RunningCommand, clean_environment, command, run_command
from wallet.client import RpcClient

OPERATOR = "0x" + "11" * 20
FUNDED = "0x" + "22" * 20
REPOSITORY = Path(__file__).resolve().parents[2]
EL_DAPP_GENESIS = REPOSITORY / "tests" / "fixtures" / "el_dapp_genesis.json"
BLOCK_TIMEOUT_S = 30.0
DIFFICULTY_1 = ("--difficulty", 1, "--difficulty-rule", "fixed")


async def reach_block(client: RpcClient, number: int) -> None:
    async with asyncio.timeout(BLOCK_TIMEOUT_S):
        while await client.block_number() < number:  # noqa: ASYNC110 - the node is another process
            await asyncio.sleep(0.02)


def node(home: Path, folder: Path, *options: object) -> RunningCommand:
    arguments = ("node", "--data-dir", folder, "--rpc-port", 0, "--p2p-port", 0, "--no-discovery", "--json", *options)
    return RunningCommand(home, home / f"{folder.name}.log", *arguments)


async def test_a_node_from_its_beginning_to_its_end(tmp_path: Path) -> None:
    folder = tmp_path / "node"
    folder.mkdir()
    (folder / "wattchain.toml").write_text("[mining]\nempty_block_period_s = 1\n")  # init keeps a person's settings
    made = run_command(
        tmp_path,
        *("init", "--data-dir", folder, "--operator", OPERATOR, "--fund", f"{FUNDED}=5", "--chain-id", 7),
        *(*DIFFICULTY_1, "--block-time", 1, "--json"),
    )
    assert made.returncode == 0, made.stderr
    genesis_hash = json.loads(made.stdout)["genesis_hash"]

    async with node(tmp_path, folder, "--mine", "--coinbase", OPERATOR) as running:
        facts = await running.ready()
        assert facts["chain_id"] == 7
        assert facts["process_id"] == running.process_id
        async with RpcClient(facts["rpc"]) as client:
            await reach_block(client, 1)
            assert await client.balance(bytes.fromhex(FUNDED[2:])) == 5 * 10**18
            first = await client.block(0)
            assert first is not None
            assert "0x" + first.hash.hex() == genesis_hash

        # Neither the folder nor the port is shared.
        port = facts["rpc"].rpartition(":")[2]
        other = tmp_path / "other"
        assert run_command(tmp_path, "init", "--data-dir", other, "--genesis", folder / "genesis.json").returncode == 0
        await asyncio.gather(
            refused(tmp_path, "Another node is using the data directory", "node", "--data-dir", folder),
            refused(tmp_path, f"port {port}", "node", "--data-dir", other, "--rpc-port", port, "--p2p-port", 0),
        )

        assert await running.stop() == 0
    assert is_clean(folder)

    # What it had it still has, and Ctrl-C ends it as well; without --mine it makes no blocks.
    async with node(tmp_path, folder) as running:
        facts = await running.ready()
        assert facts["block_number"] >= 1
        assert len(running.group()) == 1
        running.send_signal(signal.SIGINT)
        assert await running.finish() == ""
    assert is_clean(folder)


async def refused(home: Path, sentence: str, *arguments: object) -> None:
    """One sentence on standard error, exit status 2, and not a line more."""
    process = await asyncio.create_subprocess_exec(
        *command(*arguments, "--log-level", "error"),
        cwd=REPOSITORY,
        env=clean_environment(home),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(BLOCK_TIMEOUT_S):
        printed, complaint = await process.communicate()
    assert process.returncode == 2
    assert printed == b""
    (line,) = complaint.decode().splitlines()
    assert line.startswith("Error: ")
    assert sentence in line


def is_clean(folder: Path) -> bool:
    """Closed in order: no log beside the databases, no mark of an open one, no damage."""
    logs = list(folder.glob("*-wal")) + list(folder.glob("*-shm"))
    with closing(sqlite3.connect(folder / "chain.sqlite")) as connection:
        check = connection.execute("PRAGMA integrity_check").fetchall()
    return not logs and (folder / "lock").read_bytes() == b"closed\n" and check == [("ok",)]


async def test_the_el_dapp_genesis_starts_a_chain_unchanged(tmp_path: Path) -> None:
    """The file printed in the El DApp paper, listing 2: its chain, its accounts, and blocks on top of it."""
    folder = tmp_path / "node"
    folder.mkdir()
    (folder / "genesis.json").write_bytes(EL_DAPP_GENESIS.read_bytes())
    (folder / "wattchain.toml").write_text("[mining]\nempty_block_period_s = 0\n")
    async with node(tmp_path, folder, "--mine", "--coinbase", OPERATOR) as running:
        facts = await running.ready()
        assert facts["chain_id"] == 1947
        async with RpcClient(facts["rpc"]) as client:
            await reach_block(client, 2)
            for address in json.loads(EL_DAPP_GENESIS.read_text())["alloc"]:
                assert await client.balance(bytes.fromhex(address)) == 10**24
            assert await client.balance(bytes.fromhex(OPERATOR[2:]), 2) == 4 * 10**18
        assert await running.stop() == 0
    assert (folder / "genesis.json").read_bytes() == EL_DAPP_GENESIS.read_bytes()
    assert is_clean(folder)
