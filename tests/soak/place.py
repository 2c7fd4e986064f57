"""Where a soak happens: a network of its own with one funded wallet and one registered meter, all from one seed.

Files only; nothing runs yet. The clock runs fast, so that blocks and readings come several times a second.
"""

import random
from dataclasses import dataclass
from fractions import Fraction
from itertools import cycle, islice
from pathlib import Path

from chain.config import DEVELOPMENT, EIP1559, FIXED
from contracts.genesis import GenesisMeter
from meter.drivers.measured_csv import Column, CsvFormat, read_rows
from meter.profile import write_profile
from node.new_network import NetworkPlan, genesis_document, write_genesis, write_settings
from node.settings import ChainSettings, ClockSettings, MiningSettings, NodeSettings, P2pSettings, RpcSettings
from primitives.clock import SystemClock
from primitives.hexadecimal import to_checksum_address
from primitives.secp256k1 import address_of
from wallet.key_directory import write_private_file
from wallet.keystore import LIGHT_COST, encrypt_key

CHAIN_ID = 97_531
CLOCK_RATE = 60
BLOCK_PERIOD_S = 15
"""Of the fast clock: four blocks a second of the wall's, less what sealing takes."""
ROW_INTERVAL_S = 20
DIFFICULTY = 20_000
"""A good part of a block's time goes into its seal, so that many kills meet the mining process at work."""
CONFIRMATIONS = 2
RATE_WEI_PER_WH = 3 * 10**14
PLENTY_WEI = 10**24
PROFILE_DAYS = 1
PANEL_KW = 3


@dataclass(frozen=True, slots=True)
class Place:
    """The files and keys of one soak."""

    folder: Path
    port: int
    wallet_key: bytes
    meter_key: bytes
    clock: ClockSettings

    @property
    def node_folder(self) -> Path:
        return self.folder / "node"

    @property
    def meter_folder(self) -> Path:
        return self.folder / "meter"

    @property
    def meter(self) -> bytes:
        return address_of(self.meter_key)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def expected_registers_wh(self, readings: int) -> tuple[int, int]:
        """Import and export after so many rows of the profile, which is played again and again. Exact, then floors."""
        form = CsvFormat(
            Column("non_shiftable_load", "kWh"), Column("solar_generation", "W", Fraction(PANEL_KW)), ROW_INTERVAL_S
        )
        rows = [row.net_wh or Fraction(0) for row in read_rows(self.meter_folder / "load.csv", form)]
        played = list(islice(cycle(rows), readings))
        taken = sum((max(net_wh, Fraction(0)) for net_wh in played), Fraction(0))
        given = sum((max(-net_wh, Fraction(0)) for net_wh in played), Fraction(0))
        return int(taken), int(given)


def build_place(folder: Path, seed: int, port: int) -> Place:
    """Write everything below a new folder."""
    randomness = random.Random(f"keys {seed}")
    now_s = SystemClock().precise_time_s()
    clock = ClockSettings(float(CLOCK_RATE), float(int(now_s)), now_s)
    place = Place(folder, port, randomness.randbytes(32), randomness.randbytes(32), clock)
    operator = address_of(randomness.randbytes(32))
    wallet = address_of(place.wallet_key)
    network = NetworkPlan(
        operator=operator,
        chain_id=CHAIN_ID,
        suppliers={operator: RATE_WEI_PER_WH},
        funds={wallet: PLENTY_WEI, place.meter: PLENTY_WEI},
        meters=(GenesisMeter(place.meter, wallet, operator, credit_wei=PLENTY_WEI),),
        difficulty=DIFFICULTY,
        difficulty_rule=FIXED,
        block_reward=10**18,
        fee_rule=EIP1559,
        network=DEVELOPMENT,
        timestamp_s=int(now_s),
    )
    write_genesis(place.node_folder, genesis_document(network))
    mining = MiningSettings(
        enabled=True,
        coinbase=to_checksum_address(operator),
        minimum_block_period_s=BLOCK_PERIOD_S,
        empty_block_period_s=BLOCK_PERIOD_S,
    )
    write_settings(
        NodeSettings(
            place.node_folder, ChainSettings(), RpcSettings(port=port), mining, clock, P2pSettings(enabled=False)
        )
    )
    place.meter_folder.mkdir()
    write_profile(place.meter_folder / "load.csv", PROFILE_DAYS, seed)
    write_private_file(place.meter_folder / "password", "soak\n")
    write_private_file(place.meter_folder / "key.json", encrypt_key(place.meter_key, "soak", LIGHT_COST))
    for name, repeat in (("meter.toml", "true"), ("last.toml", "false")):
        (place.meter_folder / name).write_text(_meter_settings(place, repeat))
    return place


def _meter_settings(place: Place, repeat: str) -> str:
    return f"""\
[meter]
key = "key.json"
password_file = "password"
outbox = "outbox.sqlite"
reading_interval_s = {ROW_INTERVAL_S}

[ledger]
chain_id = {CHAIN_ID}
node = "{place.url}"
confirmations = {CONFIRMATIONS}
poll_interval_s = {BLOCK_PERIOD_S}
resend_after_s = {8 * BLOCK_PERIOD_S}

[driver]
file = "load.csv"
generation_column = "solar_generation"
generation_scale = {PANEL_KW}
row_interval_s = {ROW_INTERVAL_S}
repeat = {repeat}

[relay]
fail_safe = "on"  # supplied from the first second, so that the whole profile is used
poll_interval_s = {BLOCK_PERIOD_S}

[clock]
rate = {place.clock.rate}
origin_s = {place.clock.origin_s}
wall_origin_s = {place.clock.wall_origin_s}
"""
