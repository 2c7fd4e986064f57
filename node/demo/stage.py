"""What the demo plays on: four nodes in a new folder, and a neighbourhood of a supplier, a council and six homes.

Files only; nothing runs yet. Keys are made anew every time and are worth nothing.
"""

import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from fractions import Fraction
from pathlib import Path

from chain.config import DEVELOPMENT, QBFT
from contracts.market import MarketRules
from contracts.roles import Role
from contracts.tariff_format import GenesisTariff
from node.demo.pricing import TARIFF, TARIFF_NAME, Taken, cost_wei
from node.demo.profiles import Profile, find_profiles
from node.new_network import NetworkPlan, make_node, parse_plan, write_settings
from node.node_key import new_node_key
from node.settings import ClockSettings, NodeSettings, P2pSettings, RpcSettings
from primitives.secp256k1 import address_of
from wallet.key_directory import write_private_file
from wallet.keystore import LIGHT_COST, encrypt_key

WATT = 10**18
WALLET_WEI = 1_000_000 * WATT
"""What everybody's wallet has from the start; enough to play a year."""
NODES = 4
"""As many as it takes for blocks to be made while one of them is off: three of four decide."""
MAX_DAILY_PERIOD_S = 86_400
"""The longest time between blocks that settings allow, in seconds of the demo's clock."""
MAX_STORY_RATE = 1_800
"""Above it a block takes more than half an hour of the demo's clock: too long for a market that asks for readings of
the last hour. Then homes are only billed."""
PANEL_KW = 8
READINGS_AN_HOUR = 4
TAX_BPS, DELIVERY_S = 500, 4 * 3_600
"""Of the market: five percent for the council, and four hours for the energy to come."""


class Part(Enum):
    """What a home does in the story."""

    SELLER = auto()
    """Has solar panels, and sells on the market what they make beyond its own use."""
    BUYER = auto()
    THRIFTY = auto()
    """Buys too, and lets its credit run out: its supply goes off until it pays."""
    EMERGENCY = auto()
    """Uses up its credit by night, goes on with emergency credit, and repays in the morning."""
    CHANNEL = auto()
    """Pays the first home by channel for sun that nobody bought on the market."""


PARTS = (Part.SELLER, Part.SELLER, Part.BUYER, Part.THRIFTY, Part.EMERGENCY, Part.CHANNEL)
ON_A_BOARD = Part.CHANNEL
"""Its meter reads a virtual RPICT board on a pseudo-terminal, as it would a real one; the others replay their file.
What it measures differs from the file by some Wh, since time passes between a line and its reading."""
BOARD_INTERVAL_S = 0.125
"""Of the wall's clock from line to line: three times as long without one is a gap, and a busy computer may take a
fifth of a second for something else."""
BOARD_PORT = "ttyBoard"
LINES_A_READING = 4
"""At least; at a rate that leaves no time for so many, this home replays its file too."""


@dataclass(frozen=True, slots=True)
class Household:
    """One home: the wallet that pays, and the meter that signs."""

    name: str
    part: Part
    wallet_key: bytes
    meter_key: bytes
    folder: Path
    profile: Profile

    @property
    def wallet(self) -> bytes:
        return address_of(self.wallet_key)

    @property
    def meter(self) -> bytes:
        return address_of(self.meter_key)

    @property
    def settings_path(self) -> Path:
        return self.folder / "meter.toml"

    @property
    def board_path(self) -> Path:
        """Settings of its virtual board."""
        return self.folder / "board.toml"

    def taken(self, first_s: int = 0, end_s: int | None = None) -> list[Taken]:
        """What the profile says that it will take from the grid between two times of the demo, interval by interval."""
        return self.profile.taken(first_s, end_s)

    def given_wh(self, first_s: int, end_s: int) -> int:
        """What the profile says that it will give to the grid."""
        return self.profile.given_wh(first_s, end_s)

    def cost_wei(self, share: Fraction = Fraction(1)) -> int:
        """A share of what all its energy would cost, if its supply were always on."""
        return int(cost_wei(self.taken()) * share)


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
    council_key: bytes
    """Of who makes the rules: owner of the registry, regulator, grid controller, and the treasury of taxes."""
    nodes: tuple[DemoNode, ...]
    households: tuple[Household, ...]
    """The meter of the first talks to the first node, that of the second to the second, and so on around."""
    clock: ClockSettings
    has_story: bool
    """Slow enough for a day of trade; else homes are only billed."""

    @property
    def supplier(self) -> bytes:
        return address_of(self.supplier_key)

    @property
    def council(self) -> bytes:
        return address_of(self.council_key)

    def home(self, part: Part) -> Household:
        """The first one with that part."""
        return next(one for one in self.households if one.part is part)

    @property
    def home_on_a_board(self) -> Household | None:
        home = self.home(ON_A_BOARD)
        return home if self.board_interval_s * LINES_A_READING <= home.profile.interval_s else None

    @property
    def board_interval_s(self) -> float:
        """Of the demo's clock."""
        return max(self.clock.rate * BOARD_INTERVAL_S, 1)

    @property
    def sellers(self) -> tuple[Household, ...]:
        return tuple([one for one in self.households if one.part is Part.SELLER])

    @property
    def emergency_wei(self) -> int:
        """The supplier's emergency credit: enough for the night of the home that needs it, in whole hundredths."""
        night_wei = cost_wei(self.home(Part.EMERGENCY).taken(0, 9 * 3_600))
        return (night_wei * 3 // 2 // (WATT // 100) + 10) * (WATT // 100)

    def node_of(self, household: Household) -> DemoNode:
        return self.nodes[self.households.index(household) % len(self.nodes)]


@dataclass(frozen=True, slots=True)
class DemoPlan:
    """What was asked for on the command line."""

    folder: Path
    profile: Path | None
    """A file, or a folder of files; None for those that come with the demo."""
    days: int
    rate: float
    """Seconds of the demo's clock in one second of the wall's."""


def build_stage(plan: DemoPlan, chain_id: int, origin_s: int, wall_origin_s: float) -> Stage:
    """Make keys, load profiles, genesis and the nodes' settings. Raises UserError."""
    clock = ClockSettings(plan.rate, float(origin_s), wall_origin_s)
    has_story = plan.rate <= MAX_STORY_RATE
    nodes = tuple(
        DemoNode(f"Node {number}", plan.folder / f"node-{number}", new_node_key()) for number in range(1, NODES + 1)
    )
    stage = Stage(
        plan.folder,
        chain_id,
        secrets.token_bytes(32),
        secrets.token_bytes(32),
        nodes,
        _households(plan, READINGS_AN_HOUR if has_story else 1),
        clock,
        has_story,
    )
    document, _ = parse_plan(_network(stage, origin_s))
    for node in nodes:
        make_node(node.folder, document, node.key)
        write_settings(_node_settings(node, clock))
    return stage


def _network(stage: Stage, origin_s: int) -> NetworkPlan:
    period_s = max(1, min(int(stage.clock.rate), MAX_DAILY_PERIOD_S))
    people = [stage.supplier, stage.council, *[household.wallet for household in stage.households]]
    return NetworkPlan(
        operator=stage.council,
        chain_id=stage.chain_id,
        suppliers={stage.supplier: 0},
        funds=dict.fromkeys(people, WALLET_WEI),
        members={one.wallet: Role.PRODUCER if one in stage.sellers else Role.CONSUMER for one in stage.households},
        tariffs=(GenesisTariff(stage.supplier, TARIFF_NAME, TARIFF),),
        market_rules=MarketRules(
            tax_bps=TAX_BPS, delivery_s=DELIVERY_S, grid_controller=stage.council, treasury=stage.council
        ),
        block_time_s=period_s,
        empty_block_period_s=period_s,
        consensus=QBFT,
        validators=tuple(node.address for node in stage.nodes),
        network=DEVELOPMENT,
        timestamp_s=origin_s,
    )


def write_meter_settings(stage: Stage, household: Household, rpc_urls: Sequence[str], begin_s: int) -> None:
    """The settings of a home's meter, once the nodes' addresses are known: first that of its own node."""
    poll_s = max(min(stage.clock.rate / 2, MAX_DAILY_PERIOD_S), 0.01)
    resend_s = max(min(stage.clock.rate * 8, MAX_DAILY_PERIOD_S), 1)
    is_on_a_board = household == stage.home_on_a_board
    if is_on_a_board:
        household.board_path.write_text(
            f'[board]\nport = "{BOARD_PORT}"\ninterval_s = {stage.board_interval_s}\n'
            f"{_replay_section('load', household.profile, begin_s)}{_clock_section(stage.clock)}",
            "utf-8",
        )
    household.settings_path.write_text(
        f"""\
[meter]
key = "meter-key.json"
password_file = "password"
outbox = "outbox.sqlite"
reading_interval_s = {household.profile.interval_s}

[ledger]
chain_id = {stage.chain_id}
node = "{rpc_urls[0]}"
spare_nodes = {json.dumps(list(rpc_urls[1:]))}
confirmations = 1
prompt_transactions = 4
poll_interval_s = {poll_s}
resend_after_s = {resend_s}
{_board_driver(stage, household) if is_on_a_board else _replay_section("driver", household.profile, begin_s)}
[relay]
poll_interval_s = {poll_s}
fail_safe_after_s = {MAX_DAILY_PERIOD_S * 30}
{_clock_section(stage.clock)}""",
        "utf-8",
    )


def _replay_section(name: str, profile: Profile, begin_s: int) -> str:
    generation = f'generation_column = "{profile.generation_column}"\n' if profile.generation_column else ""
    return f"""
[{name}]
file = "load.csv"
load_scale = {profile.load_scale}
{generation}generation_scale = {profile.panel_kw}
row_interval_s = {profile.interval_s}
begin_s = {begin_s}
"""


def _board_driver(stage: Stage, household: Household) -> str:
    return f"""
[driver]
kind = "rpict"
board = "RPICT3V1"
port = {json.dumps(str(household.folder.absolute() / BOARD_PORT))}
interval_s = {stage.board_interval_s}
"""


def _clock_section(clock: ClockSettings) -> str:
    return f"""
[clock]
rate = {clock.rate}
origin_s = {clock.origin_s}
wall_origin_s = {clock.wall_origin_s}
"""


def _households(plan: DemoPlan, rows_an_hour: int) -> tuple[Household, ...]:
    sources = find_profiles(plan.profile)
    return tuple([_household(plan, number, sources, rows_an_hour) for number in range(len(PARTS))])


def _household(plan: DemoPlan, number: int, sources: Sequence[Path], rows_an_hour: int) -> Household:
    """Where there are fewer files than homes, a file serves another home with its next day."""
    folder = plan.folder / f"home-{number + 1}"
    folder.mkdir(parents=True)
    part = PARTS[number]
    profile = Profile.cut(
        sources[number % len(sources)],
        folder / "load.csv",
        skip_days=number // len(sources),
        days=plan.days,
        rows_an_hour=rows_an_hour,
        panel_kw=PANEL_KW if part is Part.SELLER else 0,
    )
    password, meter_key = secrets.token_hex(16), secrets.token_bytes(32)
    write_private_file(folder / "password", password + "\n")
    write_private_file(folder / "meter-key.json", encrypt_key(meter_key, password, LIGHT_COST))
    return Household(f"Home {number + 1}", part, secrets.token_bytes(32), meter_key, folder, profile)


def _node_settings(node: DemoNode, clock: ClockSettings) -> NodeSettings:
    p2p = P2pSettings(host="127.0.0.1", port=0, discovery=False)
    return NodeSettings(node.folder, rpc=RpcSettings(port=0), clock=clock, p2p=p2p)
