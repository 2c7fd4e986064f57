"""The settings of one node, read from wattchain.toml in its data directory; the command line overrides them.

Every setting has a default that suits a Pi in a closed network, so that an empty file is a valid one.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from primitives.errors import InvalidHex, UserError
from primitives.hexadecimal import parse_address
from wallet.settings_file import DAY_S, check_ranges, parse_sections, read_document
from wallet.settings_file import ClockSettings as ClockSettings  # for whoever makes settings

SETTINGS_FILE = "wattchain.toml"
GENESIS_FILE = "genesis.json"
DEFAULT_DATA_DIRECTORY = Path("~/.wattchain")


@dataclass(frozen=True, slots=True)
class ChainSettings:
    archive: bool = False
    """Keep every past state, not only the last 1,024."""
    reorganisation_cap: int = 128
    """Blocks that a heavier branch may replace at most."""


@dataclass(frozen=True, slots=True)
class RpcSettings:
    host: str = "127.0.0.1"
    """Address to listen on. The gateway holds no keys, but anybody who reaches it can read the ledger."""
    port: int = 8545
    allowed_hosts: tuple[str, ...] = ()
    """Names besides localhost under which browsers may reach the gateway (protection from DNS rebinding)."""
    cors_origins: tuple[str, ...] = ()
    """Web pages of these origins may call the gateway."""


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
class NodeSettings:
    data_directory: Path
    chain: ChainSettings = field(default_factory=ChainSettings)
    rpc: RpcSettings = field(default_factory=RpcSettings)
    mining: MiningSettings = field(default_factory=MiningSettings)
    clock: ClockSettings = field(default_factory=ClockSettings)

    @property
    def genesis_path(self) -> Path:
        return self.data_directory / GENESIS_FILE


_SECTIONS: dict[str, Any] = {
    "chain": ChainSettings,
    "rpc": RpcSettings,
    "mining": MiningSettings,
    "clock": ClockSettings,
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
            *settings.clock.ranges(),
        )
    )
    try:
        parse_address(mining.coinbase)
    except InvalidHex as error:
        raise UserError(f"The setting mining.coinbase is not an address: {error}.") from error
    return settings
