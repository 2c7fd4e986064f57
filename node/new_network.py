"""Making a data directory: the genesis file of a new network, or a given one, and settings to edit.

The genesis holds the contracts at their fixed addresses, so that a network bills electricity from its first block on.
"""

import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chain.config import ASERT, DEFAULT_BLOCK_TIME_S, DEFAULT_EMPTY_BLOCK_PERIOD_S, POW, PRODUCTION, QBFT, ZERO
from chain.genesis import Genesis, load_genesis, parse_genesis
from contracts.addresses import VALIDATORS_ADDRESS
from contracts.genesis import GenesisMeter, genesis_alloc
from contracts.market import MarketRules
from contracts.roles import Role
from contracts.tariff_format import GenesisTariff
from node.node_key import NODE_KEY_FILE, existing_node_key, write_node_key
from node.settings import GENESIS_FILE, SETTINGS_FILE, NodeSettings, OverrideSettings
from primitives.errors import InvalidGenesis, UserError
from primitives.hexadecimal import to_checksum_address

DEFAULT_GAS_LIMIT = 30_000_000
"""A batch of 50 readings takes under 3 million; the interpreter works through 30 million in seconds even on a Pi."""
DEFAULT_DIFFICULTY = 2_000_000
"""Where asert starts: some seconds for one Pi at half its CPU; it adapts from there."""

MAX_COMMENTED_CHARACTERS = 60
"""Of a line in the settings file that still has its comment behind it."""


@dataclass(frozen=True, slots=True)
class NetworkPlan:
    """What a new network starts with. Amounts are wei."""

    operator: bytes
    """Owns the Registry contract; its first regulator too, where none is named and it is no supplier."""
    chain_id: int
    suppliers: Mapping[bytes, int] = field(default_factory=dict)
    """Address -> rate in wei per Wh."""
    funds: Mapping[bytes, int] = field(default_factory=dict)
    meters: tuple[GenesisMeter, ...] = ()
    difficulty: int = DEFAULT_DIFFICULTY
    difficulty_rule: str = ASERT
    block_time_s: int = DEFAULT_BLOCK_TIME_S
    block_reward: int = 0
    fee_rule: str = ZERO
    network: str = PRODUCTION
    timestamp_s: int = 0
    consensus: str = POW
    validators: tuple[bytes, ...] = ()
    """Node ids of those who make the first blocks, with qbft; difficulty and its rule mean nothing there."""
    empty_block_period_s: int = DEFAULT_EMPTY_BLOCK_PERIOD_S
    """With qbft: from block to block where nothing is waiting."""
    regulators: tuple[bytes, ...] = ()
    members: Mapping[bytes, Role] = field(default_factory=dict)
    """Producers, consumers and relays."""
    zones_s: Mapping[bytes, int] = field(default_factory=dict)
    """Supplier -> seconds east of UTC of its local time, by which days and hours are counted."""
    tariffs: tuple[GenesisTariff, ...] = ()
    """Numbered from 1. A supplier with one here has none of the single price in `suppliers`."""
    market_rules: MarketRules | None = None
    """Other first rules than the market's own."""


def random_chain_id() -> int:
    """An id that no public chain is likely to have, so that no signature of one chain is good on the other."""
    return 10**9 + secrets.randbelow(10**9)


def genesis_document(plan: NetworkPlan) -> dict[str, Any]:
    """The genesis file of a plan, in geth's format. Raises InvalidGenesis."""
    with_tariffs = {tariff.supplier for tariff in plan.tariffs}
    alloc: dict[str, dict[str, Any]] = dict(
        genesis_alloc(
            plan.operator,
            list(plan.suppliers),
            {supplier: rate for supplier, rate in plan.suppliers.items() if supplier not in with_tariffs},
            plan.meters,
            plan.validators,
            regulators=plan.regulators or None,
            members=plan.members,
            zones_s=plan.zones_s,
            time_s=plan.timestamp_s,
            market_rules=plan.market_rules,
            tariffs=plan.tariffs,
        )
    )
    for address, amount in plan.funds.items():
        alloc.setdefault("0x" + address.hex(), {})["balance"] = hex(amount)
    is_qbft = plan.consensus == QBFT
    return {
        "config": {
            "chainId": plan.chain_id,
            "wattchain": {
                "consensus": plan.consensus,
                "blockTimeSeconds": plan.block_time_s,
                "blockRewardWei": str(plan.block_reward),
                "fees": plan.fee_rule,
                "network": plan.network,
            }
            | (_qbft_rules(plan) if is_qbft else {"difficulty": plan.difficulty_rule}),
        },
        "difficulty": "0x1" if is_qbft else hex(plan.difficulty),
        "gasLimit": hex(DEFAULT_GAS_LIMIT),
        "timestamp": hex(plan.timestamp_s),
        "alloc": alloc,
    }


def _qbft_rules(plan: NetworkPlan) -> dict[str, object]:
    return {
        "emptyBlockPeriodSeconds": plan.empty_block_period_s,
        "validatorContract": to_checksum_address(VALIDATORS_ADDRESS),
    }


def parse_plan(plan: NetworkPlan) -> tuple[dict[str, Any], Genesis]:
    """The genesis file of a plan and what it means. Raises UserError."""
    try:
        document = genesis_document(plan)
        return document, parse_genesis(document)
    except InvalidGenesis as error:
        raise UserError(f"The network cannot be made like this: {error}.") from error


def make_node(data_directory: Path, document: Mapping[str, Any], key: bytes) -> Genesis:
    """A node's folder: its key, and the genesis file that may already count on it. Raises UserError.

    The key goes first: after a power cut in between, a key without a network does no harm, a network whose validator
    has lost its key never makes a block.
    """
    refuse_other_genesis(data_directory, document)
    _prepare_directory(data_directory)
    if existing_node_key(data_directory) != key:
        write_node_key(data_directory / NODE_KEY_FILE, key)
    return write_genesis(data_directory, document)


def write_genesis(data_directory: Path, document: Mapping[str, Any]) -> Genesis:
    """Check the document and store it as the directory's genesis file. Raises UserError where another one is there."""
    try:
        genesis = parse_genesis(document)
    except InvalidGenesis as error:
        raise UserError(f"The network cannot be made like this: {error}.") from error
    _prepare_directory(data_directory)
    refuse_other_genesis(data_directory, document)
    _write(data_directory / GENESIS_FILE, genesis_text(document))
    return genesis


def genesis_text(document: Mapping[str, Any]) -> str:
    """As it stands in the file."""
    return json.dumps(document, indent=2, sort_keys=True) + "\n"


def refuse_other_genesis(data_directory: Path, document: Mapping[str, Any]) -> None:
    """Raises UserError where the folder is of another network."""
    path = data_directory / GENESIS_FILE
    if _is_there(path) and not _holds(path, document):
        raise UserError(
            f"The folder {data_directory} already belongs to another network ({path} is there). "
            "Choose another folder with --data-dir, or remove it if you no longer need its ledger."
        )


def copy_genesis(data_directory: Path, source: Path) -> Genesis:
    """Store a given genesis file as the directory's own. Raises UserError."""
    try:
        genesis = load_genesis(source)
        document = json.loads(source.read_text("utf-8"))
    except OSError as error:
        raise UserError(f"The genesis file {source} cannot be read: {error.strerror}.") from error
    except InvalidGenesis as error:
        raise UserError(f"The genesis file {source} cannot be used: {error}.") from error
    write_genesis(data_directory, document)
    return genesis


def has_genesis(data_directory: Path) -> bool:
    """Whether the folder has a genesis file already. Raises UserError where it cannot be looked at."""
    return _is_there(data_directory / GENESIS_FILE)


def write_settings(settings: NodeSettings) -> Path:
    """Write the settings file with a comment to every line, unless there is one; its path."""
    path = settings.data_directory / SETTINGS_FILE
    if not path.exists():
        _write(path, settings_text(settings))
    return path


def settings_text(settings: NodeSettings) -> str:
    """The settings as TOML, explained line by line."""
    chain, rpc, mining, clock = settings.chain, settings.rpc, settings.mining, settings.clock
    p2p, sync, consensus = settings.p2p, settings.sync, settings.consensus
    rows: list[tuple[str, object, str]] = [
        ("[chain]", None, ""),
        ("archive", chain.archive, "keep every past state, not only the last 1,024"),
        ("reorganisation_cap", chain.reorganisation_cap, "blocks that a heavier branch may replace at most"),
        ("page_cache_mib", chain.page_cache_mib, "memory for the most used pages of the ledger's file, in MiB"),
        ("[rpc]", None, ""),
        ("host", rpc.host, "address to listen on; 0.0.0.0 opens the gateway to the whole network"),
        ("port", rpc.port, "8545 is what wallets expect"),
        ("allowed_hosts", list(rpc.allowed_hosts), "names besides localhost under which browsers may come"),
        ("cors_origins", list(rpc.cors_origins), "web pages of these origins may call the gateway"),
        ("admin", rpc.admin, "let programs on this computer name peers; false behind a proxy"),
        ("[mining]", None, ""),
        ("enabled", mining.enabled, "make blocks"),
        ("coinbase", mining.coinbase, "address that receives fees and rewards"),
        ("cpu_share_percent", mining.cpu_share_percent, "share of one core that mining may take"),
        ("hash_rate", mining.hash_rate, "hashes a second at most; 0 sets no limit"),
        ("minimum_block_period_s", mining.minimum_block_period_s, "time between two blocks, at least"),
        ("empty_block_period_s", mining.empty_block_period_s, "a block this often where nothing is waiting; 0: always"),
        ("gas_limit_target", mining.gas_limit_target, "gas limit towards which blocks move"),
        ("[p2p]", None, ""),
        ("enabled", p2p.enabled, "talk to the other nodes of the network"),
        ("host", p2p.host, "address to listen on for other nodes; 127.0.0.1 is this computer alone"),
        ("port", p2p.port, "0 takes a free one"),
        ("peers", list(p2p.peers), "nodes to stay connected with: wattchain://0x<node id>@<host>:<port>"),
        ("allowed_nodes", list(p2p.allowed_nodes), "ids of the only nodes that may connect; empty: everybody"),
        ("discovery", p2p.discovery, "find nodes of this chain on the local network, and be found"),
        ("max_inbound", p2p.max_inbound, "strangers that may be connected, beside validators and peers named here"),
        ("max_outbound", p2p.max_outbound, "strangers that this node calls"),
        ("[sync]", None, ""),
        ("full", sync.full, "execute every block from the first one on instead of fetching a recent state"),
        ("[consensus]", None, ""),
        ("validate", consensus.validate, "on qbft networks: help to make blocks if this node's key is a validator's"),
        (
            "validator_overrides",
            list(consensus.validator_overrides),
            "a way out when too many validators are lost: see docs/operating.md",
        ),
    ]
    if clock.rate != 1.0:
        rows += [
            ("[clock]", None, ""),
            ("rate", clock.rate, "the node's clock runs this many times as fast; development networks only"),
            ("origin_s", clock.origin_s, "what it showed (Unix seconds) ..."),
            ("wall_origin_s", clock.wall_origin_s, "... when the wall's clock showed this"),
        ]
    lines = [
        "# Settings of a Wattchain node. Every line may be left out; what stands here is in force at its next start."
    ]
    for name, value, comment in rows:
        lines += [f"\n{name}"] if value is None else _lines(name, _toml(value), comment)
    return "\n".join(lines) + "\n"


def _lines(name: str, value: str, comment: str) -> list[str]:
    """One, or two where the value is long."""
    line = f"{name} = {value}"
    return [f"# {comment}:", line] if len(line) > MAX_COMMENTED_CHARACTERS else [f"{line}  # {comment}"]


def _toml(value: object) -> str:
    if isinstance(value, OverrideSettings):
        validators = [to_checksum_address(validator) for validator in value.validators]
        return f"{{ block = {value.block}, validators = {_toml(validators)} }}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def describe(genesis: Genesis, genesis_hash: bytes) -> dict[str, object]:
    """The facts of a network that a person or a program wants to see after `init`."""
    is_qbft = genesis.config.consensus == QBFT
    return {
        "chain_id": genesis.config.chain_id,
        "genesis_hash": "0x" + genesis_hash.hex(),
        "consensus": genesis.config.consensus,
        "difficulty_rule": genesis.config.difficulty_rule,
        "validators": [to_checksum_address(one) for one in genesis.validators().addresses] if is_qbft else [],
        "fees": genesis.config.fee_rule,
        "accounts": [to_checksum_address(address) for address in list(genesis.state.accounts)[:20]],
    }


def _prepare_directory(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise UserError(f"The folder {path} cannot be made: {error.strerror}.") from error


def _is_there(path: Path) -> bool:
    try:
        path.lstat()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise UserError(f"The file {path} cannot be read: {error.strerror}.") from error
    return True


def _holds(path: Path, document: Mapping[str, Any]) -> bool:
    """Whether the file is this document, however it is laid out."""
    try:
        return bool(json.loads(path.read_bytes()) == json.loads(genesis_text(document)))
    except (ValueError, RecursionError):  # It is not JSON at all.
        return False
    except OSError as error:
        raise UserError(f"The file {path} cannot be read: {error.strerror}.") from error


def _write(path: Path, text: str) -> None:
    """Whole or not at all, whatever moment the power goes."""
    temporary = path.with_name(path.name + ".new")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise UserError(f"The file {path} cannot be written: {error.strerror}.") from error
