"""The program of the El DApp paper (listing 4) against a real node, with only its endpoint and its address changed.

The node runs in this process with its store on disk and mines; the program runs as a process of its own with web3.py.
Where the paper's Geth keeps `web3.eth.accounts[0]` and signs for it, two middlewares do that beside the program. Method
names are those of today's web3.py; the rules and numbers are the paper's.
"""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from eth_account import Account
from web3 import AsyncHTTPProvider, AsyncWeb3

from contracts.addresses import BILLING_ADDRESS
from contracts.binding import load_artifact
from contracts.genesis import genesis_alloc
from node.application import NodeFacts, run_node
from node.settings import ClockSettings, MiningSettings, NodeSettings, P2pSettings, RpcSettings
from primitives.clock import SystemClock
from primitives.hexadecimal import parse_address, to_checksum_address

CHAIN_ID = 1_947
GENESIS_TIME_S = 1_700_000_000
CLOCK_RATE = 100
"""Blocks come once a second of the node's clock."""
OPERATOR, SUPPLIER, USER = (Account.from_key("0x" + byte * 32) for byte in ("0a", "5a", "1b"))
PROGRAM_TIMEOUT_S = 60

KEEPER = """
from web3.middleware import SignAndSendRawMiddlewareBuilder, Web3Middleware


def keep_account(web3):
    account = web3.eth.account.from_key("{key}")

    class Accounts(Web3Middleware):
        def wrap_make_request(self, make_request):
            def make(method, params):
                if method == "eth_accounts":
                    return {{"jsonrpc": "2.0", "id": 1, "result": [account.address]}}
                return make_request(method, params)

            return make

    web3.middleware_onion.add(Accounts)
    web3.middleware_onion.inject(SignAndSendRawMiddlewareBuilder.build(account), layer=0)
"""

PROGRAM = """
import sys
import json
from web3 import Web3
from keeper import keep_account

# Set up web3 connection with Geth instance
geth_url = "{url}"
web3 = Web3(Web3.HTTPProvider(geth_url))
keep_account(web3)

# Set a default account to sign transactions
web3.eth.default_account = web3.eth.accounts[0]

# contract ABI
abi = ""
with open("{abi}") as file:
    abi = json.load(file)

# contract address
address = web3.to_checksum_address("{address}")

# get contract from chain instance
contract = web3.eth.contract(address=address, abi=abi)

# Read the current usage
used = contract.functions.getUsage(web3.eth.default_account).call()
new_used = int(sys.argv[1])  # latest used energy amount

total_energy = used + new_used  # calculating total energy used

# Read the current bill amount
curr_bill = contract.functions.getBill(web3.eth.default_account).call()
total_bill = 0

# bill calculations
if total_energy <= 100:
    total_bill = curr_bill + new_used * 2.96
elif total_energy > 100 and total_energy <= 300:
    total_bill = curr_bill + new_used * 5.56
elif total_energy > 300 and total_energy <= 500:
    total_bill = curr_bill + new_used * 9.16
elif total_energy > 500:
    total_bill = curr_bill + new_used * 10.61

# round up the values
total_energy = round(total_energy)
total_bill = round(total_bill)

# Set the new values
tx_hash = contract.functions.setDebt(total_energy, total_bill, web3.eth.default_account).transact()

# Wait for transaction to be mined
web3.eth.wait_for_transaction_receipt(tx_hash)
"""


@dataclass(frozen=True, slots=True)
class Network:
    url: str
    folder: Path


@pytest.fixture
async def network(tmp_path: Path) -> AsyncIterator[Network]:
    alloc = genesis_alloc(parse_address(OPERATOR.address), [parse_address(SUPPLIER.address)])
    for one in (SUPPLIER, USER):
        alloc[one.address.lower()] = {"balance": hex(100 * 10**18)}
    genesis = {
        "config": {"chainId": CHAIN_ID, "wattchain": {"network": "development", "blockTimeSeconds": 1}},
        "difficulty": "0x1",
        "gasLimit": "0x1c9c380",
        "timestamp": hex(GENESIS_TIME_S),
        "alloc": alloc,
    }
    (tmp_path / "genesis.json").write_text(json.dumps(genesis))
    ready: asyncio.Future[NodeFacts] = asyncio.get_running_loop().create_future()
    settings = NodeSettings(
        tmp_path,
        rpc=RpcSettings(port=0),
        mining=MiningSettings(
            enabled=True, coinbase=OPERATOR.address, cpu_share_percent=100, empty_block_period_s=3600
        ),
        clock=ClockSettings(CLOCK_RATE, GENESIS_TIME_S, SystemClock().precise_time_s()),
        p2p=P2pSettings(enabled=False),
    )
    node = asyncio.create_task(run_node(settings, ready.set_result))
    await asyncio.wait({node, ready}, return_when=asyncio.FIRST_COMPLETED)
    if node.done():
        node.result()
    try:
        yield Network(ready.result().rpc_url, tmp_path)
    finally:
        node.cancel()
        await asyncio.gather(node, return_exceptions=True)


async def run_program(network: Network, new_used: int) -> None:
    path = network.folder / "block_creator.py"
    if not path.exists():
        abi = network.folder / "abi.json"
        abi.write_text(json.dumps(list(load_artifact("Billing").abi_json)))
        address = to_checksum_address(BILLING_ADDRESS)
        path.write_text(PROGRAM.format(url=network.url, abi=abi, address=address))
        (network.folder / "keeper.py").write_text(KEEPER.format(key=USER.key.to_0x_hex()))
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(path), str(new_used), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    async with asyncio.timeout(PROGRAM_TIMEOUT_S):
        output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()


@pytest.mark.slow
async def test_the_papers_program_bills_on_this_ledger(network: Network) -> None:
    provider = AsyncHTTPProvider(network.url)
    w3 = AsyncWeb3(provider)
    try:
        contract = w3.eth.contract(to_checksum_address(BILLING_ADDRESS), abi=list(load_artifact("Billing").abi_json))
        activate = contract.functions.activate(USER.address, True)
        fields = {
            "from": SUPPLIER.address,
            "nonce": await w3.eth.get_transaction_count(SUPPLIER.address),
            "chainId": CHAIN_ID,
        }
        signed = SUPPLIER.sign_transaction(await activate.build_transaction(fields))  # type: ignore[arg-type]
        sent = await w3.eth.send_raw_transaction(signed.raw_transaction)
        assert (await w3.eth.wait_for_transaction_receipt(sent, timeout=30, poll_latency=0.05))["status"] == 1
        found = []
        for new_used in (90, 60, 160, 200):
            await run_program(network, new_used)
            usage = await contract.functions.getUsage(USER.address).call()
            found.append((usage, await contract.functions.getBill(USER.address).call()))
        # 90 units at 2.96; 60 at 5.56; 160 at 9.16; 200 at 10.61: all of a reading at the slab that its total falls in.
        assert found == [(90, 266), (150, 600), (310, 2_066), (510, 4_188)]
        active, itself, last_update, usage, bill, provider_address, *_ = await contract.functions.services(
            USER.address
        ).call()
        assert (active, itself, usage, bill, provider_address) == (True, True, 510, 4_188, SUPPLIER.address)
        assert last_update > GENESIS_TIME_S
    finally:
        await provider.disconnect()
