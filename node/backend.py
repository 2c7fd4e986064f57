"""The node as its gateway sees it (gateway/backend.py)."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from chain.miner import Miner
from chain.pool.pool import PoolContent, PoolStatus
from chain.transaction import Transaction
from gateway.backend import ChainView, NodeStatus
from node.service import LedgerService
from node.settings import MiningSettings
from primitives.clock import Clock
from primitives.hexadecimal import parse_address

T = TypeVar("T")


class NodeBackend:
    """Fits gateway.backend.Backend."""

    def __init__(
        self, service: LedgerService, clock: Clock, mining: MiningSettings, miner: Miner, client_version: str
    ) -> None:
        self.clock = clock
        self._service = service
        self._mining = mining
        self._miner = miner
        self._client_version = client_version

    @property
    def minimum_priority_fee(self) -> int:
        return self._service.pool.minimum_priority_fee

    async def read(self, function: Callable[[ChainView], T]) -> T:
        return await self._service.read(function)

    async def submit(self, transaction: Transaction) -> bytes:
        return await self._service.submit(transaction)

    def pooled_transaction(self, transaction_hash: bytes) -> Transaction | None:
        return self._service.pool.get(transaction_hash)

    def pool_content(self) -> PoolContent:
        return self._service.pool.content()

    def pool_status(self) -> PoolStatus:
        return self._service.pool.status()

    def pending_nonce(self, address: bytes) -> int:
        return self._service.pool.pending_nonce(address)

    def on_pending(self, listener: Callable[[Sequence[Transaction]], None]) -> Callable[[], None]:
        return self._service.pool.subscribe(listener)

    def status(self) -> NodeStatus:
        coinbase = parse_address(self._mining.coinbase)
        return NodeStatus(
            client_version=self._client_version,
            coinbase=coinbase if any(coinbase) else None,
            is_mining=self._mining.enabled,
            hashes_per_second=self._miner.hash_rate,
            is_listening=False,
            peer_count=0,
            sync=None,
        )
