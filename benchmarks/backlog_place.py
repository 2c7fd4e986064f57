"""Where the backlog benchmark runs: a closed network of one validator, and a meter with as many readings as are asked.

Without fees a sender has an allowance of gas a block (contracts/src/Registry.sol); the account that carries readings
for meters is given a whole block, as docs/metering.md advises.
"""

import time
from pathlib import Path

from chain.config import QBFT
from chain.transaction import LEGACY, Transaction, sign_transaction
from contracts.addresses import REGISTRY_ADDRESS
from contracts.binding import load_artifact
from contracts.genesis import GenesisMeter
from contracts.roles import Role
from meter.head import first_head
from meter.outbox import Outbox
from meter.reading import Reading
from meter.signer import KeySigner
from node.bench.network import LOOPBACK, BenchNode, new_nodes
from node.new_network import NetworkPlan, make_node, parse_plan, random_chain_id, write_settings
from node.settings import NodeSettings, P2pSettings, RpcSettings
from primitives.errors import UserError
from wallet.client import RpcClient

WATT = 10**18
METER, CARRIER, OPERATOR = (KeySigner(bytes([number]) * 32) for number in (31, 32, 33))
SUPPLIER, OWNER = b"\xa3" * 20, b"\xa1" * 20
WHOLE_BLOCK_GAS = 30_000_000
RECEIPT_TIMEOUT_S = 60.0


def make_place(folder: Path, block_time_s: int, age_s: int) -> tuple[BenchNode, int]:
    """The node's folder below a new one, and the chain's id. The meter is there for so long. Raises UserError."""
    (node,) = new_nodes(folder, 1, log_blocks=False)
    chain_id = random_chain_id()
    document, _ = parse_plan(
        NetworkPlan(
            operator=OPERATOR.address,
            chain_id=chain_id,
            suppliers={SUPPLIER: WATT // 1000},
            meters=(GenesisMeter(METER.address, OWNER, SUPPLIER, credit_wei=10**6 * WATT),),
            block_time_s=block_time_s,
            timestamp_s=int(time.time()) - age_s,
            consensus=QBFT,
            validators=(node.node_id,),
        )
    )
    make_node(node.folder, document, node.key)
    p2p = P2pSettings(host=LOOPBACK, port=0, discovery=False, max_outbound=0)
    write_settings(NodeSettings(node.folder, rpc=RpcSettings(port=0), p2p=p2p))
    return node, chain_id


async def admit_carrier(client: RpcClient, chain_id: int) -> None:
    """As `wattchain registry add relay` and `registry gas-allowance` do it. Raises UserError."""
    registry = load_artifact("Registry").abi
    role = registry.function("addMember").encode_call((CARRIER.address, int(Role.RELAY)))
    allowance = registry.function("setGasAllowance").encode_call((CARRIER.address, WHOLE_BLOCK_GAS))
    for nonce, call in enumerate((role, allowance)):
        unsigned = Transaction(LEGACY, chain_id, nonce, 0, 0, 500_000, REGISTRY_ADDRESS, 0, call)
        signed = sign_transaction(unsigned, OPERATOR.private_key)
        await client.send_raw(signed.encoded)
        receipt = await client.wait_for_receipt(signed.hash, RECEIPT_TIMEOUT_S)
        if not receipt.succeeded:
            raise UserError("The registry did not take the carrier.")


def fill(outbox: Outbox, count: int, spacing_s: int) -> None:
    """Readings that end now; 300 W taken, and some power given."""
    begin_s = int(time.time()) - count * spacing_s
    connection = outbox.database.connection
    # The benchmark is not about the disk of the machine that it runs on.
    connection.execute("PRAGMA synchronous = OFF")
    for number in range(1, count + 1):
        head = outbox.head() or first_head()
        import_wh, export_wh = (power_w * number * spacing_s // 3600 for power_w in (300, 90))
        reading = Reading(METER.address, number, begin_s + number * spacing_s, import_wh, export_wh, 210, 0, head.hash)
        outbox.append(outbox.domain.sign(reading, METER), b"")
    connection.execute("PRAGMA synchronous = FULL")
