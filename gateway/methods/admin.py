"""What an operator asks and does: the node's identity, its peers, and its state on one page.

Names and forms of admin_* are geth's, so that its tools work; they are for programs on the node's own computer, since
whoever chooses a node's peers can cut it off. `wattchain_status` tells nothing that is not public anyway.
"""

from dataclasses import dataclass

from chain.config import QBFT, ChainConfig
from chain.header import Header
from gateway.backend import ChainView, NodeInfo, PeerInfo, SyncProgress
from gateway.context import Context
from gateway.errors import InvalidParameter
from gateway.methods.table import Json, Parameter, Table
from primitives.hexadecimal import to_checksum_address, to_data

TABLE = Table()

PROTOCOL = "wattchain"

MAX_URL_CHARACTERS = 512
"""A node's URL has some 200."""


def node_url(value: object) -> str:
    """What it names is for the peer-to-peer part to judge."""
    if not isinstance(value, str) or len(value) > MAX_URL_CHARACTERS:
        raise InvalidParameter("expected the URL of a node: wattchain://0x<node id>@<host>:<port>")
    return value


@TABLE.operate("admin_peers")
async def peers(context: Context) -> Json:
    return [_peer(peer) for peer in context.backend.peers()]


@TABLE.operate("admin_addPeer", Parameter("url", node_url))
async def add_peer(context: Context, url: str) -> Json:
    return context.backend.add_peer(url)


@TABLE.operate("admin_removePeer", Parameter("url", node_url))
async def remove_peer(context: Context, url: str) -> Json:
    return context.backend.remove_peer(url)


@TABLE.operate("admin_nodeInfo")
async def node_info(context: Context) -> Json:
    node = context.backend.node_info()
    chain = await context.read(_ChainFacts.of)
    listen = f"[{node.listen_host}]" if ":" in node.listen_host else node.listen_host
    return {
        "id": to_checksum_address(node.node_id),
        "name": context.backend.status().client_version,
        "enode": _enode(node),
        "url": node.url,
        "ip": _host(node.url),
        "ports": {"discovery": 0, "listener": node.listen_port},
        "listenAddr": f"{listen}:{node.listen_port}" if node.listen_port else "",
        "protocols": {
            PROTOCOL: {
                "version": node.protocol_version,
                "network": chain.config.chain_id,
                "genesis": to_data(chain.genesis_hash),
                "consensus": chain.config.consensus,
                "head": to_data(chain.head.hash),
                "difficulty": chain.total_difficulty,
            }
        },
    }


@TABLE.answer("wattchain_status")
async def status(context: Context) -> Json:
    """All that `wattchain status` shows, in plain JSON numbers."""
    node, own, pool = context.backend.node_info(), context.backend.status(), context.backend.pool_status()
    chain = await context.read(_ChainFacts.of)
    now_s = context.backend.clock.time_s()
    return {
        "version": own.client_version,
        "nodeId": to_checksum_address(node.node_id),
        "url": node.url,
        "chainId": chain.config.chain_id,
        "network": chain.config.network,
        "genesisHash": to_data(chain.genesis_hash),
        "consensus": chain.config.consensus,
        "blockTimeSeconds": chain.config.block_time_s,
        "emptyBlockPeriodSeconds": chain.config.empty_block_period_s if chain.config.consensus == QBFT else None,
        "head": {
            "number": chain.head.number,
            "hash": to_data(chain.head.hash),
            "timestamp": chain.head.timestamp_s,
            "ageSeconds": max(0, now_s - chain.head.timestamp_s),
        },
        "finalized": chain.finalized,
        "validators": [to_checksum_address(address) for address in node.validators],
        "isValidator": node.node_id in node.validators,
        "isValidating": node.is_validating,
        "round": node.consensus_round,
        "listening": own.is_listening,
        "peers": own.peer_count,
        "sync": _sync(own.sync),
        "pool": {"pending": pool.pending, "queued": pool.queued},
        "mining": own.is_mining,
        "hashesPerSecond": own.hashes_per_second,
        "coinbase": None if own.coinbase is None else to_checksum_address(own.coinbase),
        "uptimeSeconds": max(0, now_s - node.started_s),
    }


@dataclass(frozen=True, slots=True)
class _ChainFacts:
    """Of one snapshot."""

    config: ChainConfig
    genesis_hash: bytes
    head: Header
    total_difficulty: int | None
    finalized: int

    @classmethod
    def of(cls, chain: ChainView) -> "_ChainFacts":
        head, genesis = chain.head(), chain.header_by_number(0)
        if genesis is None:
            raise RuntimeError("a chain without a genesis block")
        return cls(chain.config, genesis.hash, head, chain.total_difficulty(head.hash), chain.finalized_number())


def _peer(peer: PeerInfo) -> Json:
    return {
        "enode": peer.url,
        "id": to_checksum_address(peer.node_id),
        "name": peer.client_version,
        "caps": [f"{PROTOCOL}/{peer.protocol_version}"],
        "network": {
            "localAddress": peer.local_address,
            "remoteAddress": peer.remote_address,
            "inbound": not peer.is_outbound,
            "trusted": peer.is_validator,
            "static": peer.is_static,
        },
        "protocols": {
            PROTOCOL: {
                "version": peer.protocol_version,
                "number": peer.head_number,
                "head": to_data(peer.head_hash),
                "difficulty": peer.total_difficulty,
            }
        },
        "validator": peer.is_validator,
        "pingMilliseconds": peer.ping_ms,
        "connectedSeconds": peer.connected_s,
    }


def _enode(node: NodeInfo) -> str:
    """As geth's tools name it; empty where nobody can call this node."""
    place = node.url.partition("@")[2]
    return f"enode://{node.public_key.hex()}@{place}" if place else ""


def _host(url: str) -> str:
    return url.partition("@")[2].rpartition(":")[0].strip("[]")


def _sync(progress: SyncProgress | None) -> Json:
    if progress is None:
        return None
    return {
        "startingBlock": progress.starting_block,
        "currentBlock": progress.current_block,
        "highestBlock": progress.highest_block,
    }
