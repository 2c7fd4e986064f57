"""The folders of all nodes of a new network, made on one computer: each with genesis file, key and settings.

All nodes run on this computer at first, on ports in a row, or each on a computer of its own, whose name or address is
given. Every node knows the others, so nothing has to be found; nothing is shared between folders but the genesis.
"""

import secrets
import shutil
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from chain.config import POW
from chain.ledger import Ledger
from node.network_options import NetworkOptions
from node.new_network import make_node, parse_plan, write_genesis, write_settings
from node.node_key import new_node_key
from node.settings import GENESIS_FILE, MiningSettings, NodeSettings, P2pSettings, RpcSettings, check_settings
from p2p.node_url import InvalidNodeUrl, NodeUrl, parse_node_url
from primitives.clock import SystemClock
from primitives.errors import UserError
from primitives.hexadecimal import to_checksum_address
from primitives.secp256k1 import address_of

MAX_NODES = 64
"""Validators and named peers that a node keeps a place for (p2p.limits.MAX_RESERVED_PEERS)."""
LOOPBACK_HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Places:
    """Where the nodes will run."""

    hosts: tuple[str, ...]
    """Of each node."""
    p2p_port: int
    rpc_port: int
    are_apart: bool
    """On a computer each; else all on one, with ports in a row."""

    def ports(self, index: int) -> tuple[int, int]:
        """Those of a node, for other nodes and for JSON-RPC."""
        step = 0 if self.are_apart else index
        return self.p2p_port + step, self.rpc_port + step

    def check(self) -> None:
        """Raises UserError."""
        count = len(self.hosts)
        if not 1 <= count <= MAX_NODES:
            raise UserError(f"A network is made of 1 to {MAX_NODES} nodes, not {count}.")
        if self.are_apart and len(set(self.hosts)) != count:
            raise UserError("--hosts names a computer twice; each node needs one of its own.")
        step = 1 if self.are_apart else count
        if max(self.p2p_port, self.rpc_port) + step - 1 > 65_535:
            raise UserError(f"The ports of {count} nodes do not fit below 65536: choose lower ones.")
        if abs(self.p2p_port - self.rpc_port) < step:
            raise UserError(
                f"The ports of {count} nodes overlap: from {self.p2p_port} and from {self.rpc_port} on. "
                "Choose --base-port and --rpc-base-port further apart."
            )


@dataclass(frozen=True, slots=True)
class NewNode:
    """One node of the network that was made."""

    folder: Path
    node_id: bytes
    url: NodeUrl
    rpc_url: str
    """On the node's own computer."""

    def as_json(self) -> dict[str, object]:
        return {
            "data_directory": str(self.folder),
            "node_id": to_checksum_address(self.node_id),
            "url": str(self.url),
            "host": self.url.host,
            "rpc": self.rpc_url,
        }


@dataclass(frozen=True, slots=True)
class NewNetwork:
    """What was made."""

    folder: Path
    chain_id: int
    genesis_hash: bytes
    nodes: tuple[NewNode, ...]


def make_network(folder: Path, options: NetworkOptions, places: Places) -> NewNetwork:
    """Make all folders, or none. Raises UserError, Invalid."""
    options.check()
    places.check()
    _refuse_used(folder)
    keys = [new_node_key() for _ in places.hosts]
    nodes = [_node(folder, index, key, places) for index, key in enumerate(keys)]
    document, genesis = parse_plan(options.plan(validators=tuple(node.node_id for node in nodes)))
    genesis_hash = _genesis_hash(document)
    unfinished = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}")
    try:
        write_genesis(unfinished, document)
        for index, (node, key) in enumerate(zip(nodes, keys, strict=True)):
            make_node(unfinished / node.folder.name, document, key)
            settings = _settings(unfinished / node.folder.name, index, nodes, places, options)
            write_settings(check_settings(settings))
        unfinished.replace(folder)
    except OSError as error:
        raise UserError(f"The folder {folder} cannot be made: {error.strerror}.") from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return NewNetwork(folder, genesis.config.chain_id, genesis_hash, tuple(nodes))


def _node(folder: Path, index: int, key: bytes, places: Places) -> NewNode:
    p2p_port, rpc_port = places.ports(index)
    url = NodeUrl(address_of(key), places.hosts[index], p2p_port)
    try:
        url = parse_node_url(str(url))
    except InvalidNodeUrl as error:
        raise UserError(f"A node cannot be called at {places.hosts[index]!r:.80}: {error}.") from error
    return NewNode(folder / f"node{index + 1}", url.node_id, url, f"http://{LOOPBACK_HOST}:{rpc_port}")


def _settings(folder: Path, index: int, nodes: list[NewNode], places: Places, options: NetworkOptions) -> NodeSettings:
    p2p_port, rpc_port = places.ports(index)
    own = nodes[index]
    defaults = P2pSettings()
    return replace(
        NodeSettings(folder),
        rpc=RpcSettings(port=rpc_port),
        p2p=P2pSettings(
            host=defaults.host if places.are_apart else own.url.host,
            port=p2p_port,
            peers=tuple(str(node.url) for node in nodes if node is not own),
            # Where all are on one computer and know each other, there is nobody to be found.
            discovery=places.are_apart,
        ),
        # A network of miners without a miner would stand still.
        mining=MiningSettings(enabled=options.consensus == POW, coinbase=to_checksum_address(own.node_id)),
    )


def _genesis_hash(document: dict[str, object]) -> bytes:
    with tempfile.TemporaryDirectory(prefix="wattchain-") as name:
        genesis = write_genesis(Path(name), document)
        with Ledger.open(Path(name), genesis, SystemClock()) as ledger:
            return ledger.genesis_hash


def _refuse_used(folder: Path) -> None:
    """Raises UserError where something is there already."""
    try:
        is_used = any(folder.iterdir())
    except FileNotFoundError:
        return
    except OSError as error:
        raise UserError(f"The folder {folder} cannot be used: {error.strerror}.") from error
    if is_used:
        kind = "holds a network already" if (folder / GENESIS_FILE).exists() else "is not empty"
        raise UserError(f"The folder {folder} {kind}; choose a new one with --out.")
