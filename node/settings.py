"""The settings of one node, read from wattchain.toml in its data directory; the command line overrides them.

Every setting has a default that suits a Pi in a closed network, so that an empty file is a valid one.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from chain.store.database import DEFAULT_PAGE_CACHE_MIB
from p2p.identity import AllowList, NodeId
from p2p.limits import MAX_INBOUND_STRANGERS, MAX_OUTBOUND_STRANGERS, MAX_STATIC_PEERS
from p2p.node_url import InvalidNodeUrl, NodeUrl, parse_node_url, read_static_peers
from primitives.errors import InvalidHex, NeedsPerson, UserError, mended_by_a_person
from primitives.hexadecimal import parse_address
from wallet.settings_file import DAY_S, check_ranges, parse_sections, read_document
from wallet.settings_file import ClockSettings as ClockSettings  # for whoever makes settings

SETTINGS_FILE = "wattchain.toml"
GENESIS_FILE = "genesis.json"
STATIC_NODES_FILE = "static-nodes.json"
"""geth's name for a list of peers; read where it lies in the data directory."""
DEFAULT_RPC_PORT = 8545
"""What wallets expect."""
DEFAULT_P2P_PORT = 30_403
"""Next to the 30303 of Ethereum's nodes, so that both can run on one machine."""
MAX_ALLOWED_NODES = 1_024
"""On the allow-list: as many as the address book holds."""
MAX_SETTING_INBOUND = 256
MAX_SETTING_OUTBOUND = 64
"""Strangers that a strong machine may take: a gossip to all of them still ends within a block's time."""
MAX_OVERRIDES = 64
"""Each one is a rescue after the majority of the validators was lost."""
MAX_VALIDATORS = 128
"""Of one set; the rules of the chain allow no more."""
MAX_PAGE_CACHE_MIB = 4_096
"""More than a Pi has: the whole file of a large ledger."""
DEFAULT_DATA_DIRECTORY = Path("~/.wattchain")


@dataclass(frozen=True, slots=True)
class ChainSettings:
    archive: bool = False
    """Keep every past state, not only the last 1,024; a new node executes every block for it, as with sync.full."""
    reorganisation_cap: int = 128
    """Blocks that a heavier branch may replace at most."""
    page_cache_mib: int = DEFAULT_PAGE_CACHE_MIB
    """Memory for the most used pages of the ledger's file, in MiB."""


@dataclass(frozen=True, slots=True)
class RpcSettings:
    host: str = "127.0.0.1"
    """Address to listen on. The gateway holds no keys, but anybody who reaches it can read the ledger."""
    port: int = DEFAULT_RPC_PORT
    allowed_hosts: tuple[str, ...] = ()
    """Names besides localhost under which browsers may reach the gateway (protection from DNS rebinding)."""
    cors_origins: tuple[str, ...] = ()
    """Web pages of these origins may call the gateway."""
    admin: bool = True
    """Let programs on this computer name peers; off where a proxy on it passes on what strangers ask."""


@dataclass(frozen=True, slots=True)
class MiningSettings:
    enabled: bool = False
    coinbase: str = "0x0000000000000000000000000000000000000000"
    """Address that receives fees and rewards."""
    cpu_share_percent: int = 50
    """Share of one processor core that mining may take, so that the Pi stays usable."""
    hash_rate: int = 0
    """Hashes a second at most; 0 sets no limit."""
    minimum_block_period_s: int = 1
    """Time from one block to the next, at least; useful where the difficulty is fixed and low."""
    empty_block_period_s: int = 60
    """Where nothing is waiting, a block is made only this often; 0 mines all the time."""
    gas_limit_target: int = 30_000_000
    """Gas limit towards which blocks move, by 1/1024 a block."""


@dataclass(frozen=True, slots=True)
class P2pSettings:
    """[p2p]: the other nodes of the network."""

    enabled: bool = True
    """Off: this node neither calls others nor answers them."""
    host: str = "0.0.0.0"
    """Address to listen on. Connections are encrypted and every message is checked, so all of the network may call."""
    port: int = DEFAULT_P2P_PORT
    """0 takes a free one, which nodes on the same network find out by themselves."""
    peers: tuple[str, ...] = ()
    """URLs of nodes to stay connected with, beside those in static-nodes.json."""
    allowed_nodes: tuple[str, ...] = ()
    """Node ids or URLs of those that may connect, in either direction; empty for everybody. Peers may always."""
    discovery: bool = True
    """Find nodes of the same chain on the local network (mDNS), and be found."""
    max_inbound: int = MAX_INBOUND_STRANGERS
    """Connections of strangers to this node; validators and peers that are named come on top."""
    max_outbound: int = MAX_OUTBOUND_STRANGERS
    """Strangers that this node calls."""

    @property
    def peer_urls(self) -> tuple[NodeUrl, ...]:
        """Raises UserError."""
        return tuple([_peer_url(text) for text in self.peers])

    @property
    def allowed_node_ids(self) -> frozenset[NodeId]:
        """Raises UserError."""
        return frozenset([_node_id(text) for text in self.allowed_nodes])


@dataclass(frozen=True, slots=True)
class SyncSettings:
    """[sync]: catching up with the other nodes."""

    full: bool = False
    """Execute every block from the first one on, instead of fetching a recent state."""


@dataclass(frozen=True, slots=True)
class OverrideSettings:
    """From this block on these are the validators, whatever the ledger says."""

    block: int
    validators: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class ConsensusSettings:
    """[consensus]: making blocks together, on qbft networks."""

    validate: bool = True
    """Take part where this node's key is a validator's; off: only follow."""
    validator_overrides: tuple[OverrideSettings, ...] = ()
    """A way out when too many validators are lost for ever; all nodes of the network need the same ones."""


@dataclass(frozen=True, slots=True)
class NodeSettings:
    data_directory: Path
    chain: ChainSettings = field(default_factory=ChainSettings)
    rpc: RpcSettings = field(default_factory=RpcSettings)
    mining: MiningSettings = field(default_factory=MiningSettings)
    clock: ClockSettings = field(default_factory=ClockSettings)
    p2p: P2pSettings = field(default_factory=P2pSettings)
    sync: SyncSettings = field(default_factory=SyncSettings)
    consensus: ConsensusSettings = field(default_factory=ConsensusSettings)

    @property
    def genesis_path(self) -> Path:
        return self.data_directory / GENESIS_FILE

    @property
    def executes_everything(self) -> bool:
        """An archive does, because states older than one that was taken over can never be had again."""
        return self.sync.full or self.chain.archive

    def static_peers(self) -> tuple[NodeUrl, ...]:
        """Those of the settings, then those of static-nodes.json where there is one. Raises UserError."""
        path = self.data_directory / STATIC_NODES_FILE
        in_file = read_static_peers(path) if path.exists() else ()
        by_node = {url.node_id: url for url in (*in_file, *self.p2p.peer_urls)}
        if len(by_node) > MAX_STATIC_PEERS:
            raise NeedsPerson(
                f"The settings and {path} name {len(by_node)} peers; at most {MAX_STATIC_PEERS} are called."
            )
        return tuple(by_node.values())

    def allow_list(self) -> AllowList:
        """Who may connect: everybody, or the nodes that are named. Raises UserError."""
        allowed = self.p2p.allowed_node_ids
        if not allowed:
            return AllowList()
        return AllowList(allowed | {url.node_id for url in self.static_peers()})


_SECTIONS: dict[str, Any] = {
    "chain": ChainSettings,
    "rpc": RpcSettings,
    "mining": MiningSettings,
    "clock": ClockSettings,
    "p2p": P2pSettings,
    "sync": SyncSettings,
    "consensus": ConsensusSettings,
}


def load_settings(data_directory: Path) -> NodeSettings:
    """The settings in a data directory; the defaults where it has no file. Raises UserError."""
    path = data_directory / SETTINGS_FILE
    settings = NodeSettings(data_directory)
    try:
        document = read_document(path)
    except FileNotFoundError:
        return settings
    return check_settings(replace(settings, **parse_sections(document, _SECTIONS, path)))


@mended_by_a_person()
def check_settings(settings: NodeSettings) -> NodeSettings:
    """The same settings where every value is in range. Raises UserError naming the one that is not."""
    mining, rpc, chain = settings.mining, settings.rpc, settings.chain
    check_ranges(
        (
            ("rpc.port", rpc.port, 0, 65_535),
            ("mining.cpu_share_percent", mining.cpu_share_percent, 1, 100),
            ("mining.hash_rate", mining.hash_rate, 0, 10**12),
            ("mining.minimum_block_period_s", mining.minimum_block_period_s, 1, DAY_S),
            ("mining.empty_block_period_s", mining.empty_block_period_s, 0, DAY_S),
            ("mining.gas_limit_target", mining.gas_limit_target, 5_000, 10**12),
            ("chain.reorganisation_cap", chain.reorganisation_cap, 1, 1_024),
            ("chain.page_cache_mib", chain.page_cache_mib, 1, MAX_PAGE_CACHE_MIB),
            ("p2p.port", settings.p2p.port, 0, 65_535),
            ("p2p.max_inbound", settings.p2p.max_inbound, 0, MAX_SETTING_INBOUND),
            ("p2p.max_outbound", settings.p2p.max_outbound, 0, MAX_SETTING_OUTBOUND),
            *settings.clock.ranges(),
        )
    )
    try:
        parse_address(mining.coinbase)
    except InvalidHex as error:
        raise UserError(f"The setting mining.coinbase is not an address: {error}.") from error
    _check_p2p(settings.p2p)
    _check_overrides(settings.consensus.validator_overrides)
    return settings


def _check_p2p(p2p: P2pSettings) -> None:
    if not p2p.host:
        # The system would take it for all addresses, which nobody means who leaves a setting empty.
        raise UserError("The setting p2p.host is empty. 0.0.0.0 is the network, 127.0.0.1 this computer alone.")
    if len(p2p.peers) > MAX_STATIC_PEERS:
        raise UserError(f"The setting p2p.peers names {len(p2p.peers)} nodes; at most {MAX_STATIC_PEERS} are called.")
    if len(p2p.allowed_nodes) > MAX_ALLOWED_NODES:
        raise UserError(f"The setting p2p.allowed_nodes names more than {MAX_ALLOWED_NODES} nodes.")
    _ = p2p.peer_urls, p2p.allowed_node_ids


def _check_overrides(overrides: tuple[OverrideSettings, ...]) -> None:
    if len(overrides) > MAX_OVERRIDES:
        raise UserError(f"The setting consensus.validator_overrides has more than {MAX_OVERRIDES} entries.")
    for override in overrides:
        where = f"The override of validators for block {override.block} (consensus.validator_overrides)"
        if not 1 <= override.block < 2**63:
            raise UserError(f"{where} must name a block from 1 on.")
        if not 1 <= len(override.validators) <= MAX_VALIDATORS:
            raise UserError(f"{where} must name 1 to {MAX_VALIDATORS} validators, not {len(override.validators)}.")
        if len(set(override.validators)) != len(override.validators):
            raise UserError(f"{where} names a validator twice.")
    if len({override.block for override in overrides}) != len(overrides):
        raise UserError("The setting consensus.validator_overrides names a block twice.")


def _peer_url(text: str) -> NodeUrl:
    try:
        return parse_node_url(text)
    except InvalidNodeUrl as error:
        raise UserError(f"The setting p2p.peers names a node that cannot be called: {error}.") from error


def _node_id(text: str) -> NodeId:
    """Of an entry of the allow-list: a node id, or a URL."""
    try:
        return parse_node_url(text).node_id if "://" in text else parse_address(text)
    except (InvalidHex, InvalidNodeUrl) as error:
        raise UserError(f"The setting p2p.allowed_nodes names what is no node id and no URL: {error}.") from error
