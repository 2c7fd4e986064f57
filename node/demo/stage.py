"""What the demo plays on: a network of four nodes in a new folder, with a supplier, two households and their meters.

Files only; nothing runs yet. Keys are made anew every time and are worth nothing.
"""

import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path

from chain.config import DEVELOPMENT, QBFT
from contracts.genesis import GenesisMeter
from meter.drivers.measured_csv import Column, CsvFormat, read_rows
from meter.profile import write_profile
from node.new_network import NetworkPlan, make_node, parse_plan, write_settings
from node.node_key import new_node_key
from node.settings import ClockSettings, NodeSettings, P2pSettings, RpcSettings
from primitives.errors import UserError
from primitives.secp256k1 import address_of
from wallet.key_directory import write_private_file
from wallet.keystore import LIGHT_COST, encrypt_key

WATT = 10**18
RATE_WEI_PER_WH = 3 * 10**14
"""0.30 WATT a kWh."""
WALLET_WEI = 1_000_000 * WATT
"""What each household's wallet has from the start; enough to play a year."""
NODES = 4
"""As many as it takes for blocks to be made while one of them is off: three of four decide."""
PROFILE_FORMAT = CsvFormat(Column("non_shiftable_load", "kWh"))
"""The form of the CityLearn data set, which is also what a meter's settings say where they say nothing."""
MAX_DAILY_PERIOD_S = 86_400
"""The longest time between blocks that settings allow, in seconds of the demo's clock."""


@dataclass(frozen=True, slots=True)
class Household:
    """One home: the wallet that pays, and the meter that signs."""

    name: str
    wallet_key: bytes
    meter_key: bytes
    folder: Path
    profile_wh: tuple[Fraction, ...]
    """What it would use in each hour, if its supply were always on."""

    @property
    def wallet(self) -> bytes:
        return address_of(self.wallet_key)

    @property
    def meter(self) -> bytes:
        return address_of(self.meter_key)

    @property
    def settings_path(self) -> Path:
        return self.folder / "meter.toml"


@dataclass(frozen=True, slots=True)
class DemoNode:
    """One of those that keep the ledger."""

    name: str
    folder: Path
    key: bytes

    @property
    def address(self) -> bytes:
        return address_of(self.key)


@dataclass(frozen=True, slots=True)
class Stage:
    """Everything the demo needs to begin."""

    folder: Path
    chain_id: int
    supplier_key: bytes
    nodes: tuple[DemoNode, ...]
    households: tuple[Household, ...]
    """The meter of the first talks to the first node, that of the second to the second, and so on."""
    clock: ClockSettings

    @property
    def supplier(self) -> bytes:
        return address_of(self.supplier_key)


@dataclass(frozen=True, slots=True)
class DemoPlan:
    """What was asked for on the command line."""

    folder: Path
    profile: Path | None
    days: int
    rate: float
    """Seconds of the demo's clock in one second of the wall's."""


def build_stage(plan: DemoPlan, chain_id: int, origin_s: int, wall_origin_s: float) -> Stage:
    """Make keys, load profiles, genesis and the node's settings. Raises UserError."""
    clock = ClockSettings(plan.rate, float(origin_s), wall_origin_s)
    households = tuple(
        _household(plan, name, seed) for seed, name in enumerate(("Household 1", "Household 2"), start=1)
    )
    nodes = tuple(
        DemoNode(f"Node {number}", plan.folder / f"node-{number}", new_node_key()) for number in range(1, NODES + 1)
    )
    stage = Stage(plan.folder, chain_id, secrets.token_bytes(32), nodes, households, clock)
    period_s = max(1, min(int(clock.rate), MAX_DAILY_PERIOD_S))
    network = NetworkPlan(
        operator=stage.supplier,
        chain_id=chain_id,
        suppliers={stage.supplier: RATE_WEI_PER_WH},
        funds={household.wallet: WALLET_WEI for household in households},
        meters=tuple(GenesisMeter(household.meter, household.wallet, stage.supplier) for household in households),
        block_time_s=period_s,
        empty_block_period_s=period_s,
        consensus=QBFT,
        validators=tuple(node.address for node in nodes),
        network=DEVELOPMENT,
        timestamp_s=origin_s,
    )
    document, _ = parse_plan(network)
    for node in nodes:
        make_node(node.folder, document, node.key)
        write_settings(_node_settings(node, clock))
    return stage


def write_meter_settings(stage: Stage, household: Household, rpc_urls: Sequence[str]) -> None:
    """The settings of a household's meter, once the nodes' addresses are known: first that of its own node."""
    poll_s = max(min(stage.clock.rate / 2, MAX_DAILY_PERIOD_S), 0.01)
    resend_s = max(min(stage.clock.rate * 20, MAX_DAILY_PERIOD_S), 1)
    household.settings_path.write_text(
        f"""\
[meter]
key = "meter-key.json"
password_file = "password"
outbox = "outbox.sqlite"

[ledger]
chain_id = {stage.chain_id}
node = "{rpc_urls[0]}"
spare_nodes = {json.dumps(list(rpc_urls[1:]))}
confirmations = 1
poll_interval_s = {poll_s}
resend_after_s = {resend_s}

[driver]
file = "load.csv"

[relay]
poll_interval_s = {poll_s}
fail_safe_after_s = {MAX_DAILY_PERIOD_S * 30}

[clock]
rate = {stage.clock.rate}
origin_s = {stage.clock.origin_s}
wall_origin_s = {stage.clock.wall_origin_s}
""",
        "utf-8",
    )


def _household(plan: DemoPlan, name: str, seed: int) -> Household:
    folder = plan.folder / name.lower().replace(" ", "-")
    folder.mkdir(parents=True)
    source = plan.profile
    if source is None:
        source = folder / "year.csv"
        write_profile(source, max(plan.days, 1), seed)
    rows = _cut(source, folder / "load.csv", plan.days * 24)
    password, meter_key = secrets.token_hex(16), secrets.token_bytes(32)
    write_private_file(folder / "password", password + "\n")
    write_private_file(folder / "meter-key.json", encrypt_key(meter_key, password, LIGHT_COST))
    return Household(name, secrets.token_bytes(32), meter_key, folder, rows)


def _cut(source: Path, target: Path, hours: int) -> tuple[Fraction, ...]:
    """Copy the first hours of a profile; what is used in each, in Wh. Raises UserError naming a line that is wrong."""
    used = tuple(row.net_wh or Fraction(0) for row in islice(read_rows(source, PROFILE_FORMAT), hours))
    if not used:
        raise UserError(f"The profile {source} has no rows below its header line.")
    if not any(used):
        raise UserError(f"The profile {source} uses no energy in its first {len(used)} hours; the demo would be idle.")
    try:
        with source.open(encoding="utf-8-sig") as file, target.open("w", encoding="utf-8") as copy:
            # The header and a line an hour, as the meter counts them.
            copy.writelines(islice((line for line in file if line.strip() and not line.startswith("#")), len(used) + 1))
    except OSError as error:
        raise UserError(f"The profile {source} cannot be copied to {target}: {error.strerror}.") from error
    return used


def _node_settings(node: DemoNode, clock: ClockSettings) -> NodeSettings:
    p2p = P2pSettings(host="127.0.0.1", port=0, discovery=False)
    return NodeSettings(node.folder, rpc=RpcSettings(port=0), clock=clock, p2p=p2p)
