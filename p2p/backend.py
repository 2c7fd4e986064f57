"""What the peer-to-peer part needs of the node around it, and nothing more: a chain, a pool, somebody who synchronises.

All of it is called in the event loop. The chain's questions are asynchronous, because they may wait for a disk or for
the thread that imports; the pool belongs to the event loop and answers at once.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from chain.block import Block
from chain.header import Header
from chain.importer import ImportStatus
from chain.receipt import Receipt
from chain.transaction import Transaction
from p2p.fields import IpAddress
from p2p.framing import MaxBytes
from p2p.identity import NodeId
from p2p.messages import CertifiedHeader, DisconnectReason, Message, StatePlace
from primitives.errors import InvalidTransaction

T = TypeVar("T")

Unsubscribe = Callable[[], None]


@dataclass(frozen=True, slots=True)
class ChainHead:
    """Where a chain stands: our own, or what a peer claims of its."""

    number: int
    hash: bytes
    total_difficulty: int


@dataclass(frozen=True, slots=True)
class CertifiedBlock:
    """A block as it travels: with what proves it beside its header, and the weight of the chain up to it."""

    block: Block
    certificate: bytes
    """Empty with proof of work."""
    total_difficulty: int


class ChainBackend(Protocol):
    """The chain, as peers see it through this node."""

    def head(self) -> ChainHead: ...

    async def has_block(self, block_hash: bytes) -> bool: ...

    async def import_block(self, block: Block, certificate: bytes) -> ImportStatus:
        """Raises InvalidBlock, or UnknownParent, BlockFromFuture or ReorganisationTooDeep of its subclasses."""

    async def headers(self, origin: bytes | int, count: int, skip: int, falling: bool) -> Sequence[CertifiedHeader]:
        """As a GetHeaders asks: from a known hash or a canonical number on, at most `count`, or none."""

    async def bodies(self, block_hashes: Sequence[bytes], soft_limit_bytes: int) -> Sequence[bytes]:
        """The RLP of the transactions for each hash in order, empty bytes for an unknown block; may end early, and
        takes no further one when it has reached the limit."""

    async def receipts(self, block_hashes: Sequence[bytes], soft_limit_bytes: int) -> Sequence[bytes]:
        """What chain.receipt.encode_receipts makes of the receipts of each block; otherwise as `bodies`."""

    async def state_pieces(
        self, block_hash: bytes, places: Sequence[StatePlace], soft_limit_bytes: int
    ) -> Sequence[bytes]:
        """What stands at each place of the state after that block, whole subtrees up to MAX_STATE_PIECE_BYTES, in the
        form of chain.state_pieces; empty bytes where nothing stands there. None at all where the block is not canonical
        or its state not kept; may end early, as `bodies`."""

    async def codes(self, code_hashes: Sequence[bytes], soft_limit_bytes: int) -> Sequence[bytes]:
        """Contract code by its keccak-256; otherwise as `bodies`. One above MAX_SENT_CODE_BYTES counts as unknown."""

    def subscribe(self, listener: Callable[[CertifiedBlock], None]) -> Unsubscribe:
        """Call with every new head of the canonical chain, wherever it came from."""


class HeaderChecker(Protocol):
    """Checks headers one after another; chain.header_chain.HeaderChain is one. Not thread-safe, takes its time."""

    @property
    def needs_receipts(self) -> Header | None:
        """The header added last, where its block may have changed the validators: no other one can be added before
        `supply_receipts`."""

    def add(self, header: Header, certificate: bytes) -> None:
        """Raises InvalidBlock, or BlockFromFuture, and then another header may be added in its place."""

    def supply_receipts(self, receipts: Sequence[Receipt]) -> None:
        """Raises InvalidBlock where they are not those that the header commits to; others may be supplied then."""


class SyncBackend(Protocol):
    """The chain, as whoever synchronises fills it. Whatever serves as ChainBackend may be one as well."""

    def head(self) -> ChainHead: ...

    @property
    def final_depth_blocks(self) -> int:
        """How far below the head nothing can undo a block: 0 where all are final at once, else the reorganisation
        cap."""

    async def canonical_hash(self, number: int) -> bytes | None: ...

    async def total_difficulty(self, block_hash: bytes) -> int | None:
        """Of the chain up to a block that is here."""

    async def has_block(self, block_hash: bytes) -> bool: ...

    async def header_checker(self, parent_hash: bytes) -> HeaderChecker:
        """For the headers that follow a block which is here and executed, or on a side branch. Raises UnknownParent, or
        InvalidBlock where nobody can tell who the validators are."""

    async def import_block(self, block: Block, certificate: bytes) -> ImportStatus:
        """As ChainBackend's."""

    async def beside(self, work: Callable[[], T]) -> T:
        """Run what takes long, and touches nothing of the node, beside the event loop and the import of blocks."""


class PoolBackend(Protocol):
    """The pool of transactions; chain.pool.pool.TransactionPool is one."""

    def __contains__(self, transaction_hash: bytes) -> bool: ...

    def get(self, transaction_hash: bytes) -> Transaction | None: ...

    def add(self, transactions: Sequence[Transaction]) -> list[InvalidTransaction | None]: ...

    def pending(self) -> Iterable[Transaction]: ...

    def subscribe(self, subscriber: Callable[[Sequence[Transaction]], None]) -> Unsubscribe: ...


class Synchroniser(Protocol):
    """Whoever fetches what is missing below a block; gossip only says from whom."""

    @property
    def is_syncing(self) -> bool:
        """While true, new heads are history to others, and are not passed on."""

    def sync_with(self, node_id: NodeId) -> None:
        """That peer has shown a block whose ancestors are not here. Returns at once; may be called often."""


class Wire(Protocol):
    """A connection to a known node; p2p.transport.Connection is one."""

    @property
    def node_id(self) -> NodeId: ...

    @property
    def is_outbound(self) -> bool: ...

    @property
    def remote_address(self) -> IpAddress: ...

    async def send(self, message: Message) -> None: ...

    async def receive(self) -> Message: ...

    async def close(self, reason: DisconnectReason | None = None) -> None: ...

    def abort(self) -> None: ...


class Connector(Protocol):
    """Who opens connections to other nodes."""

    async def resolve(self, host: str) -> IpAddress:
        """The address behind an IP address or a name. Raises ConnectionLost."""

    async def connect(self, address: IpAddress, port: int, node_id: NodeId, max_bytes: MaxBytes) -> Wire:
        """Raises ConnectionLost, or Invalid where whoever answers is not that node."""
