"""Networks of real nodes for loads of transfers: folders, genesis with funded senders, settings.

All on loopback; nodes are started, connected and stopped as those of the mining benchmark are.
"""

import time
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.network.transfers import FUNDS_WEI, sender_addresses
from chain.config import FIXED, POW, QBFT
from contracts.roles import Role
from node.bench.network import LOOPBACK, BenchNetwork, BenchNode, new_nodes
from node.new_network import DEFAULT_GAS_LIMIT, NetworkPlan, make_node, parse_plan, random_chain_id, write_settings
from node.settings import MiningSettings, NodeSettings, P2pSettings, RpcSettings
from primitives.hexadecimal import to_checksum_address

EMPTY_BLOCK_PERIOD_S = 10
"""Blocks come when there is something to be put into them; while a network is being connected now and then."""


@dataclass(frozen=True, slots=True)
class LoadedPlan:
    """A network that will be given transfers."""

    consensus: str
    nodes: int
    makers: int
    """The first so many nodes are validators, or mine."""
    block_time_s: int
    senders: int
    gas_limit: int = DEFAULT_GAS_LIMIT
    """Of every block."""
    hash_rate: int = 0
    """Of each miner, in hashes a second."""

    @property
    def difficulty(self) -> int:
        """With which all miners together need the block time on average."""
        return max(self.hash_rate * self.makers * self.block_time_s, 1)


@dataclass(frozen=True, slots=True)
class LoadedNetwork:
    """A network that has been made, for use by `async with network.nodes`."""

    chain_id: int
    network: BenchNetwork

    @property
    def nodes(self) -> list[BenchNode]:
        return self.network.nodes


def make_loaded_network(plan: LoadedPlan, folder: Path) -> LoadedNetwork:
    """Write all folders below a new one. Raises UserError."""
    nodes = new_nodes(folder, plan.nodes)
    chain_id = random_chain_id()
    document, _ = parse_plan(
        NetworkPlan(
            operator=nodes[0].node_id,
            chain_id=chain_id,
            funds=dict.fromkeys(sender_addresses(plan.senders), FUNDS_WEI),
            members=dict.fromkeys(sender_addresses(plan.senders), Role.CONSUMER),  # without fees, nodes take no others'
            difficulty=plan.difficulty,
            difficulty_rule=FIXED,
            block_time_s=plan.block_time_s,
            timestamp_s=int(time.time()),
            consensus=plan.consensus,
            validators=tuple(node.node_id for node in nodes[: plan.makers]) if plan.consensus == QBFT else (),
            empty_block_period_s=EMPTY_BLOCK_PERIOD_S,
        )
    )
    document["gasLimit"] = hex(plan.gas_limit)
    for node in nodes:
        make_node(node.folder, document, node.key)
        write_settings(_settings(plan, node))
    return LoadedNetwork(chain_id, BenchNetwork(nodes))


def _settings(plan: LoadedPlan, node: BenchNode) -> NodeSettings:
    mining = MiningSettings(
        enabled=plan.consensus == POW and node.number < plan.makers,
        coinbase=to_checksum_address(node.node_id),
        cpu_share_percent=100,
        hash_rate=plan.hash_rate,
        empty_block_period_s=EMPTY_BLOCK_PERIOD_S,
        gas_limit_target=plan.gas_limit,
    )
    p2p = P2pSettings(host=LOOPBACK, port=0, discovery=False, max_outbound=0)
    return replace(NodeSettings(node.folder), rpc=RpcSettings(port=0), mining=mining, p2p=p2p)
