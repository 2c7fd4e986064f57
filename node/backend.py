"""The node as its gateway sees it (gateway/backend.py)."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from chain.miner import Miner
from chain.pool.status import PoolContent, PoolStatus
from chain.transaction import Transaction
from gateway.backend import ChainView, NodeInfo, NodeStatus, PeerInfo, SyncProgress
from node.core import NodeCore
from node.settings import NodeSettings
from p2p.messages import PROTOCOL_VERSION, DisconnectReason
from p2p.node_url import NodeUrl, parse_node_url
from p2p.session import PeerSession
from primitives.clock import Clock
from primitives.errors import Invalid

T = TypeVar("T")


class NodeBackend:
    """Fits gateway.backend.Backend."""

    def __init__(
        self, core: NodeCore, clock: Clock, settings: NodeSettings, miner: Miner, public_key: bytes, own_host: str
    ) -> None:
        """`own_host`: under which other computers find this one, as far as it can tell."""
        self.clock = clock
        self._core = core
        self._service = core.service
        self._settings = settings
        self._miner = miner
        self._public_key = public_key
        self._own_host = own_host
        self._started_s = clock.time_s()

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
        coinbase = self._core.settings.builder.coinbase
        return NodeStatus(
            client_version=self._core.settings.client_version,
            coinbase=coinbase if any(coinbase) else None,
            is_mining=self._settings.mining.enabled,
            hashes_per_second=self._miner.hash_rate,
            is_listening=self._core.listening_port > 0,
            peer_count=len(self._core.peers.sessions()),
            sync=self._sync_progress(),
        )

    def node_info(self) -> NodeInfo:
        core, p2p = self._core, self._settings.p2p
        url = str(NodeUrl(core.node_id, self._own_host, core.listening_port)) if core.listening_port else ""
        return NodeInfo(
            node_id=core.node_id,
            public_key=self._public_key,
            url=url,
            listen_host=p2p.host,
            listen_port=core.listening_port,
            protocol_version=PROTOCOL_VERSION,
            validators=() if core.validator is None else core.validator.validators.addresses,
            is_validating=core.validator is not None and core.validator.is_validator,
            consensus_round=0 if core.validator is None else core.validator.round,
            started_s=self._started_s,
        )

    def peers(self) -> Sequence[PeerInfo]:
        return [self._peer(session) for session in self._core.peers.sessions()]

    def add_peer(self, url: str) -> bool:
        self._check_networked()
        return self._core.peers.add_static(parse_node_url(url))

    def remove_peer(self, url: str) -> bool:
        self._check_networked()
        peers, node_id = self._core.peers, parse_node_url(url).node_id
        was_known = peers.is_static(node_id) or peers.session(node_id) is not None
        peers.remove_static(node_id)
        peers.disconnect(node_id, DisconnectReason.UNSPECIFIED)
        return was_known

    def _check_networked(self) -> None:
        if not self._settings.p2p.enabled:
            raise Invalid("this node talks to no other nodes: peer-to-peer is off in its settings")

    def _peer(self, session: PeerSession) -> PeerInfo:
        host, port = str(session.remote_address), session.listening_port
        head, ping_s = session.head_seen, session.ping_time_s
        validator = self._core.validator
        return PeerInfo(
            node_id=session.node_id,
            url=str(NodeUrl(session.node_id, host, port)) if port else "",
            client_version=session.client_version,
            protocol_version=PROTOCOL_VERSION,
            local_address="",
            remote_address=host,
            is_outbound=session.is_outbound,
            is_static=self._core.peers.is_static(session.node_id),
            is_validator=validator is not None and session.node_id in validator.validators,
            connected_s=session.age_s,
            ping_ms=None if ping_s is None else round(ping_s * 1000),
            head_number=head.number,
            head_hash=head.hash,
            total_difficulty=session.claimed_head.total_difficulty,
        )

    def _sync_progress(self) -> SyncProgress | None:
        progress = self._core.synchroniser.board.progress
        if not progress.is_syncing:
            return None
        return SyncProgress(progress.starting_block, progress.current_block, progress.highest_block)
