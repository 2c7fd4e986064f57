"""`wattchain init`, `node` and `demo` where they cannot do what they were asked: one plain sentence, exit status 2.

Run in this process, since nothing here gets as far as running a node; tests/functional runs real ones.
"""

import json
import socket
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from chain.genesis import load_genesis
from chain.ledger import Ledger
from chain.pool.journal import PoolJournal
from node.cli import COMMANDS, main
from node.commands import NodeOptions, with_options
from node.demo.screen import BooksEntry
from node.settings import P2pSettings, load_settings
from primitives.clock import SystemClock

ADDRESS = "0x" + "11" * 20
OTHER = "0x" + "22" * 20


@pytest.fixture(autouse=True)
def _own_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("WATTCHAIN_DATA", "WATTCHAIN_KEYSTORE", "WATTCHAIN_NODE", "WATTCHAIN_METER"):
        monkeypatch.delenv(name, raising=False)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments], catch_exceptions=False)


def refused(*arguments: object, status: int = 2) -> str:
    """What a person reads when a command refuses."""
    result = run(*arguments)
    assert result.exit_code == status, result.output
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    (sentence,) = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert sentence.endswith((".", "!", "?"))
    return sentence.removeprefix("Error: ")


@pytest.fixture
def node(tmp_path: Path) -> Path:
    """A node's folder with a ledger, made by `init`."""
    folder = tmp_path / "node"
    result = run("init", "--data-dir", folder, "--operator", ADDRESS, "--fund", f"{OTHER}=5", "--chain-id", 7, "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["chain_id"] == 7
    return folder


def start(folder: Path, *options: object, passes: bool = False) -> str:
    """What a node says that does not start. `passes`: it may start at the next try, without a person."""
    ports = ("--rpc-port", 0, "--p2p-port", 0)
    status = 2 if passes else 78
    return refused("node", "--data-dir", folder, *ports, "--log-level", "error", *options, status=status)


def change_genesis(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = folder / "genesis.json"
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


# Making a folder


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ([], "Name the network"),
        (["--fund", f"{ADDRESS}=1"], "name its --operator as well"),
        (
            ["--operator", "nope"],
            "--operator: an address is 0x and 40 digits from 0 to 9 and a to f, and 'nope' does not",
        ),
        (["--operator", "0x12"], "--operator: an address is 0x and 40 digits"),
        (["--operator", ADDRESS, "--fund", ADDRESS], "--fund takes an address and a value"),
        (["--operator", ADDRESS, "--fund", f"{ADDRESS}=lots"], "'lots' is no amount"),
        (["--operator", ADDRESS, "--fund", f"{ADDRESS}=-1"], "'-1' is no amount"),
        (["--operator", ADDRESS, "--fund", f"{ADDRESS}=1", "--fund", f"{ADDRESS}=2"], "names the address"),
        (["--operator", ADDRESS, "--supplier", f"{ADDRESS}=1.5"], "A price is a whole number"),
        (["--operator", ADDRESS, "--supplier", f"{ADDRESS}=\N{SUPERSCRIPT TWO}"], "A price is a whole number"),
        (["--operator", ADDRESS, "--supplier", f"{ADDRESS}={'9' * 5_000}"], "A price is a whole number"),
        (["--operator", ADDRESS, "--supplier", f"{ADDRESS}={2**64}"], "a rate must be from 0 to"),
        (["--operator", ADDRESS, "--genesis", "x.json"], "give one of them"),
        (["--genesis", "absent.json"], "The genesis file absent.json cannot be read: No such file"),
        (["--operator", ADDRESS, "--chain-id", "0"], "Invalid value for '--chain-id'"),
    ],
)
def test_networks_that_cannot_be_made(tmp_path: Path, options: list[str], sentence: str) -> None:
    assert sentence in refused("init", "--data-dir", tmp_path / "new", *options)
    assert not (tmp_path / "new").exists()


def test_a_folder_that_belongs_to_another_network(node: Path) -> None:
    assert "already belongs to another network" in refused("init", "--data-dir", node, "--operator", ADDRESS)
    # Without naming a network the folder's own is opened again.
    assert run("init", "--data-dir", node).exit_code == 0


# Starting a node


def test_a_folder_without_a_ledger() -> None:
    assert start(Path("nowhere"), passes=True) == (
        "The folder nowhere is not that of a node yet: nowhere/genesis.json is missing. "
        "Make it with: wattchain init --data-dir nowhere."
    )


def test_an_unreadable_genesis(node: Path) -> None:
    (node / "genesis.json").write_text("{")
    assert "cannot be used" in start(node)
    (node / "genesis.json").unlink()
    (node / "genesis.json").mkdir()
    assert "cannot be read: Is a directory" in start(node, passes=True)


def test_the_genesis_of_another_chain(node: Path) -> None:
    change_genesis(node, lambda document: document.update(difficulty="0x7"))
    assert "use the genesis file it was made with" in start(node)


def test_other_accounts_in_the_genesis(node: Path) -> None:
    change_genesis(node, lambda document: document["alloc"][OTHER].update(balance="0x6"))
    assert "The accounts in the genesis file are not those that the ledger" in start(node)


def test_a_second_node_in_the_same_folder(node: Path) -> None:
    with Ledger.open(node, load_genesis(node / "genesis.json"), SystemClock()):
        assert start(node, passes=True).startswith(f"Another node is using the data directory {node}")
        assert "Another node is using" in refused("init", "--data-dir", node)


def test_a_port_in_use(node: Path) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        port = server.getsockname()[1]
        assert f"cannot listen on 127.0.0.1 port {port}" in start(node, "--rpc-port", port, passes=True)


@pytest.mark.parametrize("rate", ["2", "0.5"])
def test_an_accelerated_clock_on_a_production_network(node: Path, rate: str) -> None:
    (node / "wattchain.toml").write_text(f"[clock]\nrate = {rate}\n")
    assert "The clock may run faster on development networks only" in start(node)


def test_settings_with_a_mistake(node: Path) -> None:
    (node / "wattchain.toml").write_text("[rpc]\nprt = 1\n")
    assert "unknown setting rpc.prt" in start(node)
    (node / "wattchain.toml").write_text('[rpc]\nport = "a"\n')
    assert "rpc.port must be a whole number" in start(node)
    (node / "wattchain.toml").unlink()
    assert "The setting mining.coinbase is not an address" in start(node, "--coinbase", "0x12")


def test_what_is_given_goes_before_the_settings(node: Path) -> None:
    url, other = f"wattchain://{ADDRESS}@10.0.0.7:1", f"wattchain://{OTHER}@10.0.0.8:1"
    settings = replace(load_settings(node), p2p=P2pSettings(peers=(url,), max_inbound=7))
    nothing = NodeOptions(None, None, None, None, (), False, False, False)
    assert with_options(settings, nothing) == settings
    given = NodeOptions(True, ADDRESS, 1, 2, (other,), True, True, True)
    changed = with_options(settings, given)
    assert (changed.mining.enabled, changed.mining.coinbase, changed.rpc.port) == (True, ADDRESS, 1)
    assert changed.p2p == P2pSettings(port=2, peers=(url, other), discovery=False, max_inbound=7)
    assert (changed.sync.full, changed.chain.archive) == (True, True)
    # What the file has switched on stays on.
    assert with_options(changed, nothing) == changed


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--peer", "pi.local"], "p2p.peers names a node that cannot be called"),
        (["--peer", "enode://00@x:1"], "p2p.peers names a node that cannot be called"),
        (["--peer", ""], "p2p.peers names a node that cannot be called"),
    ],
)
def test_options_for_peers_that_cannot_be(node: Path, options: list[str], sentence: str) -> None:
    assert sentence in start(node, *options)


def test_a_port_that_cannot_be(node: Path) -> None:
    assert "Invalid value for '--p2p-port'" in start(node, "--p2p-port", 65_536, passes=True)


def test_a_key_that_others_can_read(node: Path) -> None:
    (node / "node.key").chmod(0o640)
    assert f"Protect it with: chmod 600 {node / 'node.key'}" in start(node)
    assert "chmod 600" in refused("init", "--data-dir", node)


# Damage


def damage_nothing_left(path: Path) -> None:
    path.write_bytes(b"This was a database.\n" * 500)


def damage_truncated(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)


def damage_flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    for position in range(4096, len(content), 64):
        content[position] ^= 0xFF
    path.write_bytes(content)


DAMAGE = [damage_nothing_left, damage_truncated, damage_flipped]


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("name", ["chain.sqlite", "pool.sqlite"])
def test_a_damaged_database(node: Path, damage: Callable[[Path], None], name: str) -> None:
    make_journal(node)
    damage(node / name)
    sentence = start(node, passes=True)
    assert name in sentence
    assert "damaged" in sentence or "not the transaction journal" in sentence


def make_journal(node: Path) -> None:
    """A journal with something in it, as an earlier run of the node may leave it."""
    journal = PoolJournal(node / "pool.sqlite")
    for number in range(200):
        journal.record(bytes([number]) * 32, bytes(100))
    journal.close()


@pytest.mark.parametrize("name", ["chain.sqlite", "pool.sqlite"])
def test_the_database_of_another_program(node: Path, name: str) -> None:
    (node / name).unlink(missing_ok=True)
    with closing(sqlite3.connect(node / name)) as connection:
        connection.execute("CREATE TABLE recipes (name TEXT)")
    before = (node / name).read_bytes()
    sentence = start(node, passes=True)
    assert "of another program" in sentence or "is not the transaction journal of a node" in sentence
    assert (node / name).read_bytes() == before


def test_a_missing_database_is_begun_anew(node: Path) -> None:
    """The ledger can be fetched again: only the genesis file is needed."""
    for path in node.glob("chain.sqlite*"):
        path.unlink()
    assert run("init", "--data-dir", node).exit_code == 0


# The demo, and the command itself


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "No such file"),
        ("", "the header line with the names of the columns is missing"),
        ("month,hour\n1,1\n", "no column named 'non_shiftable_load'"),
        ("non_shiftable_load\n", "has no rows"),
        ("non_shiftable_load\n0.5\nmuch\n", "line 3: 'much' in column 'non_shiftable_load' is not a number"),
        ("hour,non_shiftable_load\n1\n", "line 2: 1 values, but the header names 2 columns"),
        ("non_shiftable_load\n1/0\n", "is not a number"),
        ("non_shiftable_load\n1e99\n", "is the unit right?"),
        ("non_shiftable_load\n0\n", "uses no energy"),
        ("non_shiftable_load\n\xff\n".encode("latin-1"), "not UTF-8 text"),
    ],
)
def test_profiles_that_cannot_be_played(tmp_path: Path, content: str | bytes | None, sentence: str) -> None:
    path = tmp_path / "profile.csv"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert sentence in refused("demo", "--profile", path)


def test_a_folder_that_the_demo_cannot_use(node: Path, tmp_path: Path) -> None:
    assert "is not empty" in refused("demo", "--data-dir", node)
    (tmp_path / "file").touch()
    assert "cannot be used: Not a directory" in refused("demo", "--data-dir", tmp_path / "file" / "demo")
    assert "cannot be used: File exists" in refused("demo", "--data-dir", tmp_path / "file")


@pytest.mark.parametrize(("right", "status", "sentence"), [(5, 0, "books balance."), (6, 1, "do not balance.")])
def test_the_demo_fails_where_its_books_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, right: int, status: int, sentence: str
) -> None:
    async def play(plan: object, console: object) -> list[BooksEntry]:
        return [BooksEntry("energy", "Wh", 4, 4), BooksEntry("money", "wei", 5, right)]

    monkeypatch.setattr("node.commands.play", play)
    result = run("demo", "--data-dir", tmp_path / "demo")
    assert result.exit_code == status
    assert sentence in result.stderr
    assert ("DIFFERENT" in result.stdout) == (status == 1)


@pytest.mark.parametrize("command", [[], *([name] for name in COMMANDS)])
def test_every_command_explains_itself(command: list[str]) -> None:
    result = run(*command, "--help")
    assert result.exit_code == 0
    assert result.stdout.startswith("Usage: main")


def test_a_command_that_does_not_exist() -> None:
    assert refused("nosuch") == "No such command 'nosuch'."
