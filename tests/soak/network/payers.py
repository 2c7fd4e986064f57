"""Those who pay all the time: some at every node, each with its own accounts; what a node accepted is remembered.

What was handed in while a node died, was frozen or had no room is handed in again, byte for byte, until it is accepted,
as any careful wallet does.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from chain.transaction import DYNAMIC_FEE, Transaction, sign_transaction
from primitives.keccak import keccak256
from primitives.secp256k1 import address_of
from tests.functional.running_network import NetworkNode
from tests.functional.running_node import ProcessFailed
from wallet.client import InvalidAnswer, NodeUnreachable, RpcClient, RpcError

SENDERS_OF_NODE = 16
"""A pool holds 64 transactions of one sender: so many accounts are not held up while a network stands still."""
RETRY_PAUSE_S = 0.2
PASSING_REFUSALS = ("nonce too high", "txpool is full", "too many requests")
KNOWN = ("already known", "nonce too low")
"""It was accepted before, and the node died, or was about to, before it could say so."""
GAS_LIMIT = 21_000
FUNDS_WATT = 1_000


def payer_key(node: int, sender: int) -> bytes:
    return keccak256(b"soak payer %d at node %d" % (sender, node))


def payer_addresses(nodes: int) -> list[bytes]:
    """Of all payers, to be funded in the genesis."""
    return [address_of(payer_key(node, sender)) for node in range(nodes) for sender in range(SENDERS_OF_NODE)]


@dataclass(slots=True)
class Payers:
    """All who pay at one node. Transfers go from its accounts in turn."""

    node: NetworkNode
    chain_id: int
    interval_s: float
    """From one transfer to the next."""
    accepted: list[bytes] = field(default_factory=list)
    """Hashes: not one may be lost."""
    retries: int = 0
    stopping: bool = False

    async def run(self) -> None:
        """Pay until `stopping`. Raises ProcessFailed where a good transfer is refused."""
        keys = [payer_key(self.node.number, sender) for sender in range(SENDERS_OF_NODE)]
        loop = asyncio.get_running_loop()
        due_s = loop.time()
        async with self.node.client() as client:
            while not self.stopping:
                nonce, sender = divmod(len(self.accepted), len(keys))
                await self._pay(client, self._transfer(keys, sender, nonce))
                # After a time of refusals it goes on at its pace, rather than with all that was missed.
                due_s = max(due_s + self.interval_s, loop.time())
                await asyncio.sleep(due_s - loop.time())

    async def _pay(self, client: RpcClient, transfer: Transaction) -> None:
        while not await self._hand_in(client, transfer):
            self.retries += 1
            await asyncio.sleep(RETRY_PAUSE_S)
        self.accepted.append(transfer.hash)

    async def _hand_in(self, client: RpcClient, transfer: Transaction) -> bool:
        try:
            answered = await client.send_raw(transfer.encoded)
        except (NodeUnreachable, InvalidAnswer):
            return False
        except RpcError as error:
            if any(words in error.message for words in KNOWN):
                return True
            if any(words in error.message for words in PASSING_REFUSALS):
                return False
            raise ProcessFailed(f"node {self.node.number} refused a good transfer: {error.message}") from error
        if answered != transfer.hash:
            raise ProcessFailed(f"node {self.node.number} answered with another hash, 0x{answered.hex()}")
        return True

    def _transfer(self, keys: Sequence[bytes], sender: int, nonce: int) -> Transaction:
        recipient = address_of(keys[(sender + 1) % len(keys)])
        unsigned = Transaction(DYNAMIC_FEE, self.chain_id, nonce, 0, 0, GAS_LIMIT, recipient, 1, b"")
        return sign_transaction(unsigned, keys[sender])
