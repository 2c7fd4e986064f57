"""Two market agents in processes of their own, against a node in a process of its own: one sells, the other buys.

A network is made with a supplier, a producer and a consumer; four days of their meters' signed readings are handed in.
`wattchain agent run` of each does the rest, and `plan` and `status` say what and why.
"""

import asyncio
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from chain.config import DEVELOPMENT, FIXED
from contracts.genesis import GenesisMeter
from contracts.reading_format import READING_FIELDS, compact_signature, reading_typed_data
from contracts.roles import Role
from node.new_network import NetworkPlan, genesis_document
from primitives.hexadecimal import to_checksum_address
from primitives.secp256k1 import address_of, sign
from tests.functional.running_node import REPOSITORY, clean_environment
from tests.functional.test_wallet_on_a_node import Person, running_node
from wallet.amounts import WEI_PER_WATT
from wallet.client import RpcClient
from wallet.contract_call import ContractCall, plan_call
from wallet.keystore import LIGHT_COST, encrypt_key
from wallet.meter_contract import METER
from wallet.transfer import sign_and_send

CHAIN_ID = 4_711
KEYS = {name: bytes([number]) * 32 for number, name in enumerate(("owner", "supplier", "solar", "home"), 31)}
METER_KEYS = {name: bytes([number]) * 32 for number, name in enumerate(("solar", "home"), 41)}
HOURS = 4 * 24
DEADLINE_S = 60.0
SETTINGS = """
[account]
key = "{name}.json"
password_file = "password"
[ledger]
chain_id = {chain_id}
node = "{node}"
[agent]
meter = "{meter}"
state = "{name}.sqlite"
dry_run = false
markets = ["market"]
least_days = 3
least_ask_price = 0.1
greatest_bid_price = 0.2
greatest_energy_per_day = 5
greatest_spend_per_day = 1
interval_s = 10
"""


def shown(key: bytes) -> str:
    return to_checksum_address(address_of(key))


def network() -> NetworkPlan:
    """The meters are there for as long as they have readings."""
    person = {name: address_of(key) for name, key in KEYS.items()}
    return NetworkPlan(
        operator=person["owner"],
        chain_id=CHAIN_ID,
        suppliers={person["supplier"]: 200_000_000_000_000},
        funds={person[name]: 100 * WEI_PER_WATT for name in ("supplier", "solar", "home")},
        meters=tuple(
            GenesisMeter(address_of(key), person[name], person["supplier"]) for name, key in METER_KEYS.items()
        ),
        members={person["solar"]: Role.PRODUCER, person["home"]: Role.CONSUMER},
        difficulty=1,
        difficulty_rule=FIXED,
        block_time_s=1,
        network=DEVELOPMENT,
        timestamp_s=int(time.time()) - (HOURS + 1) * 3_600,
    )


def readings(name: str, now_s: int) -> list[tuple[object, ...]]:
    """An hour's kWh in each reading: given by the producer's meter, taken by the consumer's."""
    key, typed_data, previous, found = METER_KEYS[name], reading_typed_data(CHAIN_ID), bytes(32), []
    for number in range(1, HOURS + 1):
        wh = number * 1_000
        registers = (0, wh) if name == "solar" else (wh, 0)
        values = (address_of(key), number, now_s - 30 - (HOURS - number) * 3_600, *registers, 0, 0, previous)
        reading = {field: value for (field, _), value in zip(READING_FIELDS, values, strict=True)}
        previous = typed_data.struct_hash(reading)
        found.append((values, *compact_signature(*sign(typed_data.hash(reading), key))))
    return found


async def submit(node: str) -> None:
    now_s = int(time.time())
    async with RpcClient(node) as client:
        for name in METER_KEYS:
            call = ContractCall(METER, "submitBatch", (readings(name, now_s),))
            transaction = await plan_call(client, call, address_of(KEYS["supplier"]))
            receipt = await client.wait_for_receipt(await sign_and_send(client, transaction, KEYS["supplier"]))
            assert receipt.succeeded
            assert len(receipt.logs) >= HOURS


def run_agent(people: Person, folder: Path, name: str, until: str) -> str:
    """Until its log has these words; what it said."""
    process = subprocess.Popen(
        [sys.executable, "-m", "node", "agent", "run", "--settings", str(folder / f"{name}.toml")],
        cwd=REPOSITORY,
        env=clean_environment(folder),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    said = []
    try:
        deadline_s = time.monotonic() + DEADLINE_S
        for line in process.stderr:
            said.append(line)
            if until in line or time.monotonic() > deadline_s:
                break
    finally:
        process.send_signal(signal.SIGTERM)
        said += process.stderr.readlines()
        process.stderr.close()
        assert process.wait(timeout=60) == 0, "".join(said)
    return "".join(said)


@pytest.mark.slow
def test_two_agents_trade_on_a_node(tmp_path: Path) -> None:
    people = Person(tmp_path)
    for name, key in KEYS.items():
        (tmp_path / f"{name}.json").write_text(encrypt_key(key, "secret", LIGHT_COST))
    (tmp_path / "network.json").write_text(json.dumps(genesis_document(network())))
    people.json("init", "--genesis", str(tmp_path / "network.json"))
    with running_node(people):
        node = people.environment["WATTCHAIN_NODE"]
        for name, key in METER_KEYS.items():
            settings = SETTINGS.format(name=name, chain_id=CHAIN_ID, node=node, meter=shown(key))
            (tmp_path / f"{name}.toml").write_text(settings)
        asyncio.run(submit(node))

        plan = people.json("agent", "plan", "--settings", str(tmp_path / "solar.toml"))
        assert (plan["role"], plan["forecast"]["given"]["day"]["likely_wh"]) == ("producer", 24_000)
        assert plan["decisions"][0]["action"]["function"] == "chooseMeter"
        sold = run_agent(people, tmp_path, "solar", "on offer")
        assert "advertise: Advertise 5 kWh at 0.15 WATT a kWh, half above the least price" in sold
        bought = run_agent(people, tmp_path, "home", "nothing wanted")
        assert "buy: Buy 5 kWh of advert 1 at 0.15 WATT a kWh" in bought

        (trade,) = people.json("market", "trades")
        assert (trade["energy_wh"], trade["consumer"]) == (5_000, shown(KEYS["home"]))
        status = people.json("agent", "status", "--settings", str(tmp_path / "home.toml"))
        assert (status["energy_left_wh"], status["spend_left_wei"]) == (0, str(25 * 10**16))
        assert {one["state"] for one in status["sent"]} <= {"in a block", "done"}
        assert "5 kWh are bought" in people.run("agent", "plan", "--settings", str(tmp_path / "home.toml")).stdout
