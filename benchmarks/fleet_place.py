"""Where a fleet lives: a network of one validator whose registry knows all meters, and the settings of each home.

A closed network without fees, as a supplier would run it; every home has a key, an outbox and a line of its own.
"""

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from chain.config import QBFT
from contracts.genesis import GenesisMeter
from meter.settings import MeterSettings, parse_settings
from node.bench.network import LOOPBACK, BenchNode, new_nodes
from node.new_network import NetworkPlan, make_node, parse_plan, random_chain_id, write_settings
from node.settings import ChainSettings, NodeSettings, P2pSettings, RpcSettings
from primitives.hexadecimal import to_checksum_address
from primitives.keccak import keccak256
from primitives.secp256k1 import address_of

WATT = 10**18
RATE_WEI_PER_WH = WATT // 1000
CREDIT_WEI = 10**6 * WATT
OPERATOR, SUPPLIER, OWNER = b"\xa2" * 20, b"\xa3" * 20, b"\xa1" * 20
READING_INTERVAL_S = 60
PAGE_CACHE_MIB = 2
"""Of the node: SQLite's cache grows with the ledger's file until it is full, and should be before memory is judged."""
IN_MEMORY = Path("/dev/shm")


@dataclass(frozen=True, slots=True)
class FleetPlan:
    """What is measured."""

    homes: int = 200
    minutes: int = 30
    processes: int = 2
    """That hold the homes: 200 Python processes would take 10 GB, and all of a small machine to start."""
    block_time_s: int = 15
    sample_interval_s: int = 5
    poll_interval_s: int = 15
    """How often a home asks the node when nothing is new."""


def home_key(number: int) -> bytes:
    return keccak256(b"fleet home %d" % number)


def make_place(folder: Path, plan: FleetPlan) -> tuple[BenchNode, int]:
    """The node's folder below a new one, and the chain's id. Raises UserError."""
    (node,) = new_nodes(folder, 1, log_blocks=False)
    chain_id = random_chain_id()
    meters = [
        GenesisMeter(address_of(home_key(number)), OWNER, SUPPLIER, credit_wei=CREDIT_WEI)
        for number in range(plan.homes)
    ]
    document, _ = parse_plan(
        NetworkPlan(
            operator=OPERATOR,
            chain_id=chain_id,
            suppliers={SUPPLIER: RATE_WEI_PER_WH},
            meters=tuple(meters),
            block_time_s=plan.block_time_s,
            timestamp_s=int(time.time()),
            consensus=QBFT,
            validators=(node.node_id,),
        )
    )
    make_node(node.folder, document, node.key)
    p2p = P2pSettings(host=LOOPBACK, port=0, discovery=False, max_outbound=0)
    chain = ChainSettings(page_cache_mib=PAGE_CACHE_MIB)
    write_settings(NodeSettings(node.folder, chain=chain, rpc=RpcSettings(port=0), p2p=p2p))
    return node, chain_id


def home_settings(
    folder: Path, runtime: Path, number: int, chain_id: int, node_url: str, plan: FleetPlan
) -> MeterSettings:
    """Every second home has a register of its own, the others tell their power only."""
    home = folder / f"home-{number}"
    home.mkdir(exist_ok=True)
    document: dict[str, object] = {
        "meter": {
            "key": "in-memory.json",
            "outbox": "outbox.sqlite",
            "reading_interval_s": READING_INTERVAL_S,
            "runtime_folder": str(runtime),
        },
        "ledger": {
            "chain_id": chain_id,
            "node": node_url,
            "confirmations": 0,
            "poll_interval_s": plan.poll_interval_s,
        },
        "driver": {
            "kind": "simulated-home",
            "seed": number,
            "source": "register" if number % 2 else "power",
            "interval_s": plan.sample_interval_s,
            "begin_s": int(time.time()) - 86_400,
        },
        "relay": {"poll_interval_s": plan.poll_interval_s},
        "policy": {"poll_interval_s": plan.poll_interval_s},
    }
    return parse_settings(document, home / "meter.toml")


@contextmanager
def memory_folder(name: str) -> Iterator[Path]:
    """What a service has as its runtime folder: in memory, where the machine has such a place, and gone afterwards."""
    with tempfile.TemporaryDirectory(prefix=name, dir=IN_MEMORY if IN_MEMORY.is_dir() else None) as folder:
        yield Path(folder)


def home_name(number: int) -> str:
    return to_checksum_address(address_of(home_key(number)))
