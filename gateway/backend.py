"""What the gateway needs of a node, and nothing more: one Protocol for the chain, one for everything around it.

The node's own classes fit these; tests use a small ledger in memory. The gateway never sees the importer, the store or
the miner.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from chain.account import StateReader
from chain.block import Block
from chain.config import ChainConfig
from chain.header import Header
from chain.pool.status import PoolContent, PoolStatus
from chain.receipt import Receipt
from chain.transaction import Transaction
from primitives.clock import Clock

T = TypeVar("T")


class ChainView(Protocol):
    """One consistent snapshot of the chain, used inside one worker thread for one question.

    A question may be stopped between any two steps by an exception that is no `Exception` (gateway/stoppable.py): what
    the view opened must be closed by `finally`, not by `except Exception`.
    """

    @property
    def config(self) -> ChainConfig: ...

    def head(self) -> Header: ...

    def finalized_number(self) -> int:
        """The highest block that no reorganisation may undo any more; 0 where only the genesis is safe."""

    def header_by_number(self, number: int) -> Header | None:
        """Of the canonical chain."""

    def header_by_hash(self, block_hash: bytes) -> Header | None:
        """Canonical, or of a side branch that is still known."""

    def headers(self, first: int, last: int) -> Iterable[Header]:
        """Canonical headers from `first` to `last`, both included, rising; those beyond the head are left out."""

    def blooms(self, first: int, last: int) -> Iterable[tuple[int, bytes]]:
        """(number, 256-byte bloom) of the same blocks, without decoding their headers."""

    def block_by_hash(self, block_hash: bytes) -> Block | None:
        """None as well where nothing but the header is kept."""

    def is_canonical(self, block_hash: bytes) -> bool: ...

    def total_difficulty(self, block_hash: bytes) -> int | None: ...

    def certificate(self, block_hash: bytes) -> bytes:
        """What proves a block beside its header; empty with proof of work, for the genesis and for an unknown block."""

    def receipts(self, block_hash: bytes) -> Sequence[Receipt] | None:
        """One a transaction, in order, of a block that is canonical, or was and its receipts are still kept; else None.

        A filter that told of a log tells that it was removed only as far as this remembers blocks taken off the chain.
        """

    def find_transaction(self, transaction_hash: bytes) -> tuple[Block, int] | None:
        """The canonical block that holds it, and its index there."""

    def state_at(self, number: int) -> StateReader:
        """The state after a canonical block. Raises Invalid with a sentence where that history is no longer kept."""

    def storage_root(self, address: bytes, number: int) -> bytes:
        """Of an account in the state after a canonical block; that of the empty trie for an absent one."""

    def prove_account(self, address: bytes, number: int) -> Sequence[bytes]:
        """The trie nodes from the state root after a canonical block towards the account (EIP-1186).

        Raises Invalid with a sentence where that history is not kept, or lies too far back for proofs.
        """

    def prove_slot(self, address: bytes, slot: int, number: int) -> Sequence[bytes]:
        """The trie nodes from the account's storage root towards the slot. Raises as prove_account does."""


@dataclass(frozen=True, slots=True)
class SyncProgress:
    """How far a node that is behind its peers has come, in block numbers."""

    starting_block: int
    current_block: int
    highest_block: int


@dataclass(frozen=True, slots=True)
class NodeStatus:
    """What a node says of itself."""

    client_version: str
    """As in "wattchain/0.1.0/linux-x86_64/python3.11"."""
    coinbase: bytes | None
    """Who earns the blocks made here; None where none is set."""
    is_mining: bool
    hashes_per_second: int
    is_listening: bool
    """For peers."""
    peer_count: int
    sync: SyncProgress | None
    """None where the node is up to date."""


@dataclass(frozen=True, slots=True)
class PeerInfo:
    """A node that this one is connected with, as it is known here. What it says of itself is a claim."""

    node_id: bytes
    url: str
    """Where it can be called, as admin_addPeer takes it; empty where it named no port."""
    client_version: str
    """As it says."""
    protocol_version: int
    local_address: str
    """host:port of this end of the connection; empty where it is not known."""
    remote_address: str
    """host:port of the other end."""
    is_outbound: bool
    """This node called it."""
    is_static: bool
    """The operator named it."""
    is_validator: bool
    connected_s: int
    """How long, in seconds."""
    ping_ms: int | None
    """Time of its last answer to a ping; None before the first."""
    head_number: int
    head_hash: bytes
    total_difficulty: int
    """Of the best chain it has told of."""


@dataclass(frozen=True, slots=True)
class NodeInfo:
    """Who this node is in its network."""

    node_id: bytes
    public_key: bytes
    """The 64 bytes of which an enode URL is made."""
    url: str
    """Where others can call it, as far as it can tell; empty where it does not listen."""
    listen_host: str
    listen_port: int
    """0 where it does not listen."""
    protocol_version: int
    validators: tuple[bytes, ...]
    """Who seals the next block; none on a chain of proof of work."""
    is_validating: bool
    """This node is one of them, and takes part."""
    consensus_round: int
    """At which the validators are with the next block, as seen here. Above 0: a proposer failed, or too few answer."""
    started_s: int
    """When it started, on the backend's clock."""


class Backend(Protocol):
    """The node around the chain. Everything but `read`'s function is called in the event loop's thread."""

    @property
    def clock(self) -> Clock: ...

    async def read(self, function: Callable[[ChainView], T]) -> T:
        """The function's answer on a snapshot, computed in a reader thread. What it raises is raised here.

        At least four readers must be able to run at once: two of them may be busy with long calls.
        """

    async def submit(self, transaction: Transaction) -> bytes:
        """Put a signed transaction into the pool, on disk before this returns; its hash.

        Raises a subclass of InvalidTransaction.
        """

    def pooled_transaction(self, transaction_hash: bytes) -> Transaction | None: ...

    def pool_content(self) -> PoolContent: ...

    def pool_status(self) -> PoolStatus: ...

    def pending_nonce(self, address: bytes) -> int:
        """The nonce that the sender's next transaction should have, those in the pool counted."""

    def on_pending(self, listener: Callable[[Sequence[Transaction]], None]) -> Callable[[], None]:
        """Have the listener called, in the event loop, with transactions when they become pending.

        What is returned ends that.
        """

    @property
    def minimum_priority_fee(self) -> int:
        """Wei per gas below which this node's pool and builder do not take a transaction."""

    def status(self) -> NodeStatus: ...

    def node_info(self) -> NodeInfo: ...

    def peers(self) -> Sequence[PeerInfo]:
        """All that are connected at this moment."""

    def add_peer(self, url: str) -> bool:
        """Stay connected with the node of a wattchain:// or enode:// URL until the node stops.

        False where it is this node itself, or too many are named. Raises Invalid for what is no such URL, and where
        this node talks to no others.
        """

    def remove_peer(self, url: str) -> bool:
        """Name it no longer, and take leave of it; False where it was neither named nor connected. Raises Invalid."""
