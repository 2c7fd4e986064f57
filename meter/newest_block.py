"""A node whose answers about the ledger's newest block are heard by whoever needs to know the ledger's time.

Submitter and relay ask for it every few seconds anyway; nothing more is asked of the node.
"""

from collections.abc import Callable, Sequence

from meter.ledger import Node
from wallet.answers import BlockSummary, Log, Receipt
from wallet.client import BlockTag


class NodeWithEar:
    """`Node` as it is, but that the newest block is asked for whole, and told."""

    def __init__(self, node: Node, on_newest: Callable[[BlockSummary], None]) -> None:
        self._node = node
        self._on_newest = on_newest

    async def block_number(self) -> int:
        block = await self.block("latest")
        return await self._node.block_number() if block is None else block.number

    async def block(self, block: BlockTag = "latest") -> BlockSummary | None:
        answer = await self._node.block(block)
        if block == "latest" and answer is not None:
            self._on_newest(answer)
        return answer

    async def chain_id(self) -> int:
        return await self._node.chain_id()

    async def gas_price(self) -> int:
        return await self._node.gas_price()

    async def max_priority_fee(self) -> int:
        return await self._node.max_priority_fee()

    async def nonce(self, address: bytes, block: BlockTag = "pending") -> int:
        return await self._node.nonce(address, block)

    async def call(
        self, to: bytes, data: bytes, block: BlockTag = "latest", sender: bytes | None = None, value: int = 0
    ) -> bytes:
        return await self._node.call(to, data, block, sender, value)

    async def estimate_gas(self, sender: bytes, to: bytes | None, value: int = 0, data: bytes = b"") -> int:
        return await self._node.estimate_gas(sender, to, value, data)

    async def send_raw(self, encoded_transaction: bytes) -> bytes:
        return await self._node.send_raw(encoded_transaction)

    async def receipt(self, transaction_hash: bytes) -> Receipt | None:
        return await self._node.receipt(transaction_hash)

    async def transaction_data(self, transaction_hash: bytes) -> bytes | None:
        return await self._node.transaction_data(transaction_hash)

    def ask_another(self) -> None:
        self._node.ask_another()

    async def logs(
        self,
        addresses: Sequence[bytes] = (),
        topics: Sequence[bytes | Sequence[bytes] | None] = (),
        from_block: BlockTag = "latest",
        to_block: BlockTag = "latest",
    ) -> list[Log]:
        return await self._node.logs(addresses, topics, from_block, to_block)
