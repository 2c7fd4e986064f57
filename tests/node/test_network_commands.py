"""`wattchain network new` and the nodes it makes: same genesis, own keys, settings that name the others; or nothing."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from chain.config import DEVELOPMENT, EIP1559, POW, QBFT
from chain.genesis import load_genesis
from chain.ledger import Ledger
from contracts.addresses import METER_ADDRESS, REGISTRY_ADDRESS
from contracts.binding import load_artifact
from contracts.roles import Role
from node.cli import main
from node.node_key import read_node_key
from node.settings import load_settings
from p2p.node_url import parse_node_url
from primitives.clock import SystemClock
from primitives.hexadecimal import to_checksum_address
from primitives.secp256k1 import address_of

ADDRESS = "0x" + "11" * 20
OTHER = "0x" + "22" * 20


@pytest.fixture(autouse=True)
def _own_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("WATTCHAIN_NODE", raising=False)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["network", *map(str, arguments)], catch_exceptions=False)


def made(*arguments: object) -> dict[str, Any]:
    result = run("new", "--operator", ADDRESS, *arguments, "--json")
    assert result.exit_code == 0, result.output
    facts: dict[str, Any] = json.loads(result.stdout)
    return facts


def refused(*arguments: object) -> str:
    result = run("new", *arguments)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    (sentence,) = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert sentence.endswith((".", "!", "?"))
    return sentence.removeprefix("Error: ")


def test_four_validators_on_one_computer(tmp_path: Path) -> None:
    facts = made("--out", "net")
    assert (facts["consensus"], len(facts["nodes"])) == (QBFT, 4)
    folders = [Path(node["data_directory"]) for node in facts["nodes"]]
    assert sorted(path.name for path in Path("net").iterdir()) == ["genesis.json", *(folder.name for folder in folders)]
    genesis = load_genesis(Path("net/genesis.json"))
    assert genesis.config.chain_id == facts["chain_id"]
    assert (genesis.config.block_time_s, genesis.config.empty_block_period_s) == (2, 60)
    ids = []
    for index, (folder, node) in enumerate(zip(folders, facts["nodes"], strict=True)):
        assert (folder / "genesis.json").read_bytes() == Path("net/genesis.json").read_bytes()
        key_path = folder / "node.key"
        assert key_path.stat().st_mode & 0o777 == 0o600
        assert to_checksum_address(address_of(read_node_key(key_path))) == node["node_id"]
        ids.append(address_of(read_node_key(key_path)))
        settings = load_settings(folder)
        assert (settings.rpc.host, settings.rpc.port) == ("127.0.0.1", 8545 + index)
        assert (settings.p2p.host, settings.p2p.port) == ("127.0.0.1", 30_403 + index)
        assert node["url"] == f"wattchain://{node['node_id']}@127.0.0.1:{30_403 + index}"
        assert node["rpc"] == f"http://127.0.0.1:{8545 + index}"
        named = {str(url) for url in settings.static_peers()}
        assert named == {other["url"] for other in facts["nodes"]} - {node["url"]}
        assert not settings.mining.enabled
        assert not settings.p2p.discovery
    assert len(set(ids)) == 4
    assert genesis.validators().addresses == tuple(sorted(ids))
    # What is told of the genesis is what the nodes will find.
    with Ledger.open(folders[0], load_genesis(folders[0] / "genesis.json"), SystemClock()) as ledger:
        assert "0x" + ledger.genesis_hash.hex() == facts["genesis_hash"]
    assert not list(tmp_path.glob(".net*"))


def test_computers_of_their_own() -> None:
    facts = made("--out", "net", "--hosts", "pi1.local, 192.168.1.12,[fd00::7]", "--base-port", 7000)
    assert [node["host"] for node in facts["nodes"]] == ["pi1.local", "192.168.1.12", "fd00::7"]
    for node in facts["nodes"]:
        assert parse_node_url(node["url"]).port == 7000
        settings = load_settings(Path(node["data_directory"]))
        assert (settings.p2p.host, settings.p2p.port, settings.p2p.discovery) == ("0.0.0.0", 7000, True)
        assert (settings.rpc.host, settings.rpc.port) == ("127.0.0.1", 8545)


def test_miners() -> None:
    facts = made("--out", "net", "--consensus", POW, "--nodes", 2, "--difficulty", 5, "--block-time", 7,
                 "--development", "--fees", EIP1559, "--chain-id", 77, "--fund", f"{OTHER}=3", "--supplier",
                 f"{OTHER}=9")  # fmt: skip
    genesis = load_genesis(Path("net/node2/genesis.json"))
    config = genesis.config
    assert (config.chain_id, config.consensus, genesis.difficulty, config.block_time_s) == (77, POW, 5, 7)
    assert (config.network, config.fee_rule) == (DEVELOPMENT, EIP1559)
    account = genesis.state.accounts[bytes.fromhex(OTHER[2:])]
    assert account is not None
    assert account.balance == 3 * 10**18
    for node in facts["nodes"]:
        mining = load_settings(Path(node["data_directory"])).mining
        assert (mining.enabled, mining.coinbase) == (True, node["node_id"])


def test_a_person_is_told_what_to_do_next() -> None:
    here = run("new", "--operator", ADDRESS, "--out", "net").stdout
    assert "wattchain node --data-dir net/node4" in here
    assert "wattchain status --node http://127.0.0.1:8545" in here
    assert "while at most 1 of them is out of order" in here
    assert "scp" not in here
    apart = run("new", "--operator", ADDRESS, "--out", "apart", "--hosts", "pi1.local,fd00::7").stdout
    assert "scp -pr apart/node1 pi1.local:\n" in apart
    assert "scp -pr apart/node2 [fd00::7]:\n" in apart
    assert "Validators: 2; no blocks are made while one of them is out of order." in apart
    assert "validators" not in run("new", "--operator", ADDRESS, "--out", "pow", "--consensus", POW).stdout


def test_the_registry_begins_with_those_who_are_named() -> None:
    regulator, producer = "0x" + "33" * 20, "0x" + "44" * 20
    named = ("--regulator", regulator, "--member", f"{producer}=producer", "--supplier", f"{OTHER}=5")
    made("--out", "net", *named, "--time-zone", "+05:30")
    state = load_genesis(Path("net/genesis.json")).state
    registry, meter = load_artifact("Registry").storage_layout, load_artifact("Meter").storage_layout

    def role(address: str) -> int:
        return state.storage[REGISTRY_ADDRESS].get(registry.slot("_members", bytes.fromhex(address[2:])), 0)

    assert [role(one) for one in (ADDRESS, regulator, OTHER, producer)] == [
        Role.NONE,
        Role.REGULATOR,
        Role.SUPPLIER,
        Role.PRODUCER,
    ]
    assert state.storage[REGISTRY_ADDRESS][registry.slot("owner")] == int(ADDRESS, 16)
    assert state.storage[METER_ADDRESS][meter.slot("_zones", bytes.fromhex(OTHER[2:]))] == 19_800


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ([], "Name the address that owns the registry: --operator"),
        (["--fund", f"{OTHER}=1"], "name its --operator as well"),
        (["--operator", "0x12"], "and '0x12' has 2 after 0x"),
        (["--operator", ADDRESS, "--nodes", "0"], "Invalid value for '--nodes'"),
        (["--operator", ADDRESS, "--nodes", "65"], "Invalid value for '--nodes'"),
        (["--operator", ADDRESS, "--nodes", "3", "--hosts", "a,b"], "--nodes says 3, but --hosts names 2 computers"),
        (["--operator", ADDRESS, "--hosts", "a,,b"], "names or addresses with commas between them"),
        (["--operator", ADDRESS, "--hosts", ""], "names or addresses with commas between them"),
        (["--operator", ADDRESS, "--hosts", "a,b,a"], "--hosts names a computer twice"),
        (["--operator", ADDRESS, "--hosts", ",".join(f"pi{n}" for n in range(65))], "1 to 64 nodes, not 65"),
        (["--operator", ADDRESS, "--hosts", "pi1 .local"], "A node cannot be called at 'pi1 .local'"),
        (["--operator", ADDRESS, "--hosts", "http://pi1"], "A node cannot be called at 'http://pi1'"),
        (["--operator", ADDRESS, "--host", "999.1.1.1"], "A node cannot be called at '999.1.1.1'"),
        (["--operator", ADDRESS, "--base-port", "65534"], "The ports of 4 nodes do not fit below 65536"),
        (["--operator", ADDRESS, "--base-port", "8547"], "The ports of 4 nodes overlap: from 8547 and from 8545 on"),
        (["--operator", ADDRESS, "--hosts", "a", "--base-port", "8545"], "The ports of 1 nodes overlap"),
        (["--operator", ADDRESS, "--difficulty", "5"], "--difficulty is for mining"),
        (["--operator", ADDRESS, "--difficulty-rule", "fixed"], "--difficulty is for mining"),
        (["--operator", ADDRESS, "--consensus", POW, "--empty-block-period", "5"], "is for --consensus qbft"),
        (["--regulator", OTHER], "name its --operator as well"),
        (["--operator", ADDRESS, "--time-zone", "5:30"], "an offset from UTC such as +05:30 or -08:00, not 5:30"),
        (["--operator", ADDRESS, "--supplier", f"{OTHER}=1", "--time-zone", "+15:00"], "a time zone is a multiple of"),
        (["--operator", ADDRESS, "--member", f"{OTHER}=king"], "a role, producer, consumer, relay; got king"),
        (["--operator", ADDRESS, "--regulator", OTHER, "--member", f"{OTHER}=relay"], "be relay and regulator at once"),
        (["--operator", ADDRESS, "--supplier", f"{OTHER}={2**64}"], "The network cannot be made like this: a rate"),
    ],
)
def test_networks_that_cannot_be_made(tmp_path: Path, options: list[str], sentence: str) -> None:
    assert sentence in refused("--out", "net", *options)
    assert list(tmp_path.iterdir()) == []


def test_folders_that_cannot_be(tmp_path: Path) -> None:
    made("--out", "net", "--nodes", 1)
    before = sorted(path.name for path in tmp_path.rglob("*"))
    assert "holds a network already; choose a new one" in refused("--operator", ADDRESS, "--out", "net")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter").touch()
    assert "is not empty; choose a new one" in refused("--operator", ADDRESS, "--out", "full")
    (tmp_path / "file").touch()
    assert "cannot be used: Not a directory" in refused("--operator", ADDRESS, "--out", "file")
    assert "cannot be" in refused("--operator", ADDRESS, "--out", "file/net")
    (tmp_path / "file").unlink()
    (tmp_path / "full" / "letter").unlink()
    (tmp_path / "full").rmdir()
    assert sorted(path.name for path in tmp_path.rglob("*")) == before


def test_an_empty_folder_is_taken(tmp_path: Path) -> None:
    (tmp_path / "net").mkdir()
    made("--out", "net", "--nodes", 1)
    assert (tmp_path / "net" / "node1" / "node.key").exists()


def test_a_failure_halfway_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("node.network_plan.write_settings", fail)
    assert "cannot be made: No space left on device" in refused("--operator", ADDRESS, "--out", "net")
    assert list(tmp_path.iterdir()) == []


# One node after another, by `init`


def test_init_makes_a_network_of_one_validator(tmp_path: Path) -> None:
    result = CliRunner().invoke(
        main, ["init", "--data-dir", "node", "--operator", ADDRESS, "--consensus", QBFT, "--json"]
    )
    assert result.exit_code == 0, result.output
    facts = json.loads(result.stdout)
    genesis = load_genesis(Path("node/genesis.json"))
    key = read_node_key(Path("node/node.key"))
    assert genesis.validators().addresses == (address_of(key),)
    assert facts["validators"] == [facts["node_id"]] == [to_checksum_address(address_of(key))]
    # Again, with the same key.
    assert CliRunner().invoke(main, ["init", "--data-dir", "node"]).exit_code == 0
    assert read_node_key(Path("node/node.key")) == key


def test_init_keeps_a_key_that_was_there(tmp_path: Path) -> None:
    Path("node").mkdir()
    path = Path("node/node.key")
    path.write_text("11" * 32)
    path.chmod(0o600)
    assert (
        CliRunner().invoke(main, ["init", "--data-dir", "node", "--operator", ADDRESS, "--consensus", QBFT]).exit_code
        == 0
    )
    (validator,) = load_genesis(Path("node/genesis.json")).validators().addresses
    assert validator == address_of(bytes.fromhex("11" * 32))


def test_init_with_a_key_that_is_none(tmp_path: Path) -> None:
    Path("node").mkdir()
    Path("node/node.key").write_text("secret")
    Path("node/node.key").chmod(0o600)
    result = CliRunner().invoke(main, ["init", "--data-dir", "node", "--operator", ADDRESS])
    assert result.exit_code == 2
    assert "does not hold a node's key" in result.stderr
    assert not Path("node/genesis.json").exists()
