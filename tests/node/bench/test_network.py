"""Networks for a benchmark before they run: folders, genesis, settings; and what is read from their logs."""

import asyncio
from pathlib import Path
from typing import NoReturn

import pytest

from chain.config import ASERT, DEVELOPMENT, FIXED, POW, QBFT
from chain.genesis import load_genesis
from chain.importer import ImportStatus
from node.arrivals import LOGGER
from node.bench.network import BenchNetwork, all_or_first_failure, mining_network
from node.bench.network import _peer_url as peer_url
from node.bench.plan import MiningPlan
from node.mining_total import MiningTotal
from node.node_key import read_node_key
from node.settings import load_settings
from p2p.node_url import parse_node_url
from primitives.errors import UserError
from primitives.hexadecimal import parse_address


def network_of(tmp_path: Path, plan: MiningPlan, peers: int = 3) -> BenchNetwork:
    return mining_network(plan, peers, 36_000, tmp_path / "run")


def test_every_node_has_the_same_genesis_and_a_key_of_its_own(tmp_path: Path) -> None:
    network = network_of(tmp_path, MiningPlan((3,), 10, scale=10))
    texts = {(node.folder / "genesis.json").read_text() for node in network.nodes}
    assert len(texts) == 1
    genesis = load_genesis(network.nodes[0].folder / "genesis.json")
    assert genesis.header(bytes(32)).difficulty == 36_000
    assert (genesis.config.consensus, genesis.config.difficulty_rule) == (POW, FIXED)
    assert genesis.config.network == DEVELOPMENT
    assert [read_node_key(node.folder / "node.key") for node in network.nodes] == [node.key for node in network.nodes]
    assert sorted(network.makers.values()) == [0, 1, 2]


def test_nodes_mine_all_the_time_at_the_set_rate_and_talk_on_this_machine_only(tmp_path: Path) -> None:
    plan = MiningPlan((3,), 10, scale=10, hash_rate=5_000)
    for node in network_of(tmp_path, plan).nodes:
        settings = load_settings(node.folder)
        assert settings.mining.enabled
        assert (settings.mining.hash_rate, settings.mining.cpu_share_percent) == (5_000, 100)
        assert settings.mining.empty_block_period_s == 0
        assert parse_address(settings.mining.coinbase) == node.node_id
        assert (settings.p2p.host, settings.p2p.port, settings.p2p.discovery) == ("127.0.0.1", 0, False)
        assert (settings.rpc.host, settings.rpc.port) == ("127.0.0.1", 0)
        assert settings.clock.rate == pytest.approx(plan.clock_rate(3))


def test_adaptive_difficulty_aims_at_the_paper_s_time_on_the_nodes_clock(tmp_path: Path) -> None:
    plan = MiningPlan((3,), 10, difficulty_rule=ASERT)
    genesis = load_genesis(network_of(tmp_path, plan).nodes[0].folder / "genesis.json")
    assert genesis.config.difficulty_rule == ASERT
    assert genesis.config.block_time_s / plan.clock_rate(3) == pytest.approx(9)


def test_with_qbft_all_nodes_are_validators_and_none_mines(tmp_path: Path) -> None:
    network = network_of(tmp_path, MiningPlan((3,), 10, consensus=QBFT))
    genesis = load_genesis(network.nodes[0].folder / "genesis.json")
    assert genesis.config.consensus == QBFT
    assert set(genesis.validators().addresses) == {node.node_id for node in network.nodes}
    assert genesis.config.empty_block_period_s == genesis.config.block_time_s == 100
    assert not any(load_settings(node.folder).mining.enabled for node in network.nodes)


def test_a_log_tells_arrivals_and_the_total_of_the_miner(tmp_path: Path) -> None:
    node = network_of(tmp_path, MiningPlan((3,), 10)).nodes[0]
    assert (node.head_number, node.mining) == (0, None)
    line = f"2026-01-01 DEBUG {LOGGER}: block %d 0x{'1' * 64} on 0x{'2' * 64} by 0x{'3' * 40} %s at 1.500000\n"
    log = tmp_path / "run" / "node-0.log"
    log.write_text("something else\n" + line % (7, "extended") + line % (8, "side branch"))
    node.read_log()
    assert node.head_number == 7
    assert [one.status for one in node.arrivals] == [ImportStatus.EXTENDED, ImportStatus.SIDE_BRANCH]
    with log.open("a") as more:
        more.write("2026-01-01 INFO    node.mining: tried 12 hashes in 3.000 s of sealing\n")
    node.read_log()
    assert node.mining == MiningTotal(12, 3.0)


def test_how_a_node_is_called_follows_from_what_it_says_of_itself(tmp_path: Path) -> None:
    node = network_of(tmp_path, MiningPlan((3,), 10)).nodes[1]
    url = parse_node_url(peer_url(node, {"ports": {"listener": 30_303}}))
    assert (url.node_id, url.host, url.port) == (node.node_id, "127.0.0.1", 30_303)
    for answer in (None, {}, {"ports": 1}, {"ports": {"listener": 0}}, {"ports": {"listener": "1"}}):
        with pytest.raises(UserError, match="Node 1 does not listen"):
            peer_url(node, answer)


async def test_the_first_failure_ends_the_others() -> None:
    ended = asyncio.Event()

    async def fails() -> NoReturn:
        raise UserError("no")

    async def waits() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    with pytest.raises(UserError, match="no"):
        await all_or_first_failure([waits(), fails()])
    assert ended.is_set()
