"""The settings of one node, read from wattchain.toml in its data directory; the command line overrides them.

Every setting has a default that suits a Pi in a closed network, so that an empty file is a valid one.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, get_type_hints

from primitives.errors import InvalidHex, UserError
from primitives.hexadecimal import parse_address

SETTINGS_FILE = "wattchain.toml"
GENESIS_FILE = "genesis.json"
DEFAULT_DATA_DIRECTORY = Path("~/.wattchain")
MAX_SETTINGS_BYTES = 1024 * 1024
"""A settings file is a page of text; anything larger is a mistake."""

MAX_TIME_S = 10**11
"""A Unix time some thousand years ahead: later is a mistake, such as milliseconds."""


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
class ClockSettings:
    rate: float = 1.0
    """How many times as fast as the wall's the node's clock runs; development networks only."""
    origin_s: float = 0.0
    """What the node's clock showed (Unix seconds) when the wall's showed wall_origin_s; used where rate is not 1."""
    wall_origin_s: float = 0.0


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
        if path.stat().st_size > MAX_SETTINGS_BYTES:
            raise UserError(f"The settings file {path} is too large; it should be a page of text.")
        document = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return settings
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(
            f"The settings file {path} is not valid TOML: {error}. Correct that line and start again."
        ) from error
    except OSError as error:
        raise UserError(f"The settings file {path} cannot be read: {error.strerror}.") from error
    for name, section in document.items():
        if name not in _SECTIONS:
            what = f"section [{name}]" if isinstance(section, Mapping) else f"setting {name} outside of all sections"
            raise UserError(f"The settings file {path} has an unknown {what}. Known sections: {', '.join(_SECTIONS)}.")
        settings = replace(settings, **{name: _parse_section(path, name, section)})
    return check_settings(settings)


def check_settings(settings: NodeSettings) -> NodeSettings:
    """The same settings where every value is in range. Raises UserError naming the one that is not."""
    mining, rpc, chain = settings.mining, settings.rpc, settings.chain
    _in_range("rpc.port", rpc.port, 0, 65_535)
    _in_range("mining.cpu_share_percent", mining.cpu_share_percent, 1, 100)
    _in_range("mining.hash_rate", mining.hash_rate, 0, 10**12)
    _in_range("mining.minimum_block_period_s", mining.minimum_block_period_s, 1, 86_400)
    _in_range("mining.empty_block_period_s", mining.empty_block_period_s, 0, 86_400)
    _in_range("mining.gas_limit_target", mining.gas_limit_target, 5_000, 10**12)
    _in_range("chain.reorganisation_cap", chain.reorganisation_cap, 1, 1_024)
    _in_range("clock.rate", settings.clock.rate, 0.01, 100_000)
    _in_range("clock.origin_s", settings.clock.origin_s, 0, MAX_TIME_S)
    _in_range("clock.wall_origin_s", settings.clock.wall_origin_s, 0, MAX_TIME_S)
    try:
        parse_address(mining.coinbase)
    except InvalidHex as error:
        raise UserError(f"The setting mining.coinbase is not an address: {error}.") from error
    return settings


def _parse_section(path: Path, name: str, section: object) -> Any:
    if not isinstance(section, Mapping):
        raise UserError(f"In {path}, [{name}] must be a section with settings below it.")
    kind = _SECTIONS[name]
    types = get_type_hints(kind)
    known = {item.name for item in fields(kind)}
    values = {}
    for key, value in section.items():
        if key not in known:
            raise UserError(
                f"The settings file {path} has an unknown setting {name}.{key}. Known are: {', '.join(sorted(known))}."
            )
        values[key] = _convert(path, f"{name}.{key}", value, types[key])
    return kind(**values)


def _convert(path: Path, name: str, value: object, kind: object) -> object:
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if kind == tuple[str, ...]:
        if isinstance(value, list) and all(isinstance(entry, str) for entry in value):
            return tuple(value)
        raise UserError(f'In {path}, {name} must be a list of texts such as ["name"].')
    if type(value) is not kind:
        words = {bool: "true or false", int: "a whole number", str: "a text in quotes", float: "a number"}
        raise UserError(f"In {path}, {name} must be {words[kind]}, not {value!r}.")  # type: ignore[index]
    return value


def _in_range(name: str, value: float, lowest: float, highest: float) -> None:
    # "Not in", so that nan is refused as well.
    if not lowest <= value <= highest:
        raise UserError(f"The setting {name} must be from {lowest} to {highest}, not {value}.")
