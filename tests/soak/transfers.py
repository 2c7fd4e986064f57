"""A wallet that pays all the time, and remembers which transfers the node has accepted.

What was handed in while the node died is handed in again, byte for byte, as any careful wallet does.
"""

import asyncio
import random
from dataclasses import dataclass, field

from chain.transaction import DYNAMIC_FEE, Transaction, sign_transaction
from primitives.hexadecimal import parse_address, to_data
from tests.functional.running_node import ProcessFailed
from tests.soak.place import CHAIN_ID
from wallet.client import InvalidAnswer, NodeUnreachable, RpcClient, RpcError

RECIPIENTS = 16
LONGEST_PAUSE_S = 0.15
RETRY_PAUSE_S = 0.05
GAS_LIMIT = 21_000
MAX_FEE_PER_GAS = 100 * 10**9
PRIORITY_FEE_PER_GAS = 2 * 10**9


@dataclass(slots=True)
class Transfers:
    """Everything sent so far. Transfer n has nonce n and pays n + 1 wei."""

    key: bytes
    randomness: random.Random
    hashes: list[bytes] = field(default_factory=list)
    """By nonce, of those that the node has said to have: it may never lose one."""
    stopping: bool = False
    _settled: int = 0
    """Nonces below this were seen in a block."""

    async def run(self, client: RpcClient) -> None:
        """Pay until `stopping`."""
        while not self.stopping:
            transaction = self._transaction(len(self.hashes))
            if await self._hand_in(client, transaction):
                self.hashes.append(transaction.hash)
                await asyncio.sleep(self.randomness.uniform(0, LONGEST_PAUSE_S))
            else:
                await asyncio.sleep(RETRY_PAUSE_S)

    def _transaction(self, nonce: int) -> Transaction:
        unsigned = Transaction(
            type=DYNAMIC_FEE,
            chain_id=CHAIN_ID,
            nonce=nonce,
            max_priority_fee_per_gas=PRIORITY_FEE_PER_GAS,
            max_fee_per_gas=MAX_FEE_PER_GAS,
            gas_limit=GAS_LIMIT,
            to=recipient(nonce),
            value=nonce + 1,
            data=b"",
        )
        return sign_transaction(unsigned, self.key)

    async def count_waiting(self, client: RpcClient) -> int:
        """How many are in no block yet; the node has every one of them. Raises ProcessFailed where one is lost."""
        waiting = 0
        for nonce in range(self._settled, len(self.hashes)):
            found = await client.request("eth_getTransactionByHash", to_data(self.hashes[nonce]))
            if not isinstance(found, dict):
                raise ProcessFailed(f"transfer {nonce}, 0x{self.hashes[nonce].hex()}, was accepted and is lost")
            if found["blockHash"] is None:
                waiting += 1
            elif nonce == self._settled:
                self._settled += 1
        return waiting

    async def _hand_in(self, client: RpcClient, transaction: Transaction) -> bool:
        try:
            answered = await client.send_raw(transaction.encoded)
        except (NodeUnreachable, InvalidAnswer):
            return False
        except RpcError as error:
            # It was handed in before and the node died, or was about to, before it could say so.
            if "already known" in error.message or "nonce too low" in error.message:
                return True
            if "nonce too high" in error.message:
                return False  # as many as the node holds for one sender wait already
            raise ProcessFailed(f"transfer {transaction.nonce} was refused: {error.message}") from error
        if answered != transaction.hash:
            raise ProcessFailed(f"transfer {transaction.nonce} was answered with another hash, 0x{answered.hex()}")
        return True


def recipient(nonce: int) -> bytes:
    return parse_address(f"0x{0xAB00 + nonce % RECIPIENTS:040x}")
