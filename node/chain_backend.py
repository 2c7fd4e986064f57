"""The node's chain as its peers see it, and as synchronisation fills it (p2p/backend.py).

Answers to peers come from reader threads, on snapshots; imports go through the one chain thread. Nothing is judged
here.
"""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

from chain.block import Block, encode_body
from chain.config import QBFT
from chain.header import Header
from chain.header_chain import HeaderChain
from chain.importer import ImportResult, ImportStatus
from chain.ledger import Ledger
from chain.queries import ChainQueries
from chain.receipt import encode_receipts
from chain.store.state_reader import StateUnavailable
from node.service import LedgerService
from p2p.backend import CertifiedBlock, ChainHead, HeaderChecker, Unsubscribe
from p2p.limits import MAX_SENT_CODE_BYTES, MAX_STATE_PIECE_BYTES
from p2p.messages import CertifiedHeader, StatePlace

K = TypeVar("K")
T = TypeVar("T")

STATE_QUESTIONS_AT_ONCE = 1
"""Of all peers together. Tries of past states are worked out one after another anyway, a new one takes seconds, and the
other reader threads are for those who ask for something else."""


class LedgerChain:
    """Fits p2p.backend.ChainBackend and SyncBackend."""

    def __init__(self, service: LedgerService, ledger: Ledger, reorganisation_cap: int) -> None:
        self._service = service
        self._is_final_at_once = ledger.config.consensus == QBFT
        self._reorganisation_cap = reorganisation_cap
        self._state_turn = asyncio.Semaphore(STATE_QUESTIONS_AT_ONCE)

    def head(self) -> ChainHead:
        head = self._service.head
        return ChainHead(head.number, head.hash, self._service.total_difficulty)

    @property
    def final_depth_blocks(self) -> int:
        """How far below the head nothing can undo a block."""
        return 0 if self._is_final_at_once else self._reorganisation_cap

    async def has_block(self, block_hash: bytes) -> bool:
        return await self._service.read(lambda chain: chain.header_by_hash(block_hash) is not None)

    async def canonical_hash(self, number: int) -> bytes | None:
        def find(chain: ChainQueries) -> bytes | None:
            header = chain.header_by_number(number)
            return None if header is None else header.hash

        return await self._service.read(find)

    async def total_difficulty(self, block_hash: bytes) -> int | None:
        return await self._service.read(lambda chain: chain.total_difficulty(block_hash))

    async def import_block(self, block: Block, certificate: bytes) -> ImportStatus:
        """Raises InvalidBlock, or UnknownParent, BlockFromFuture or ReorganisationTooDeep of its subclasses."""
        return (await self._service.import_block(block, certificate)).status

    async def headers(self, origin: bytes | int, count: int, skip: int, falling: bool) -> Sequence[CertifiedHeader]:
        return await self._service.read(lambda chain: _headers(chain, origin, count, skip, falling))

    async def bodies(self, block_hashes: Sequence[bytes], soft_limit_bytes: int) -> Sequence[bytes]:
        return await self._service.read(lambda chain: _up_to(soft_limit_bytes, block_hashes, partial(_body, chain)))

    async def receipts(self, block_hashes: Sequence[bytes], soft_limit_bytes: int) -> Sequence[bytes]:
        return await self._service.read(lambda chain: _up_to(soft_limit_bytes, block_hashes, partial(_receipts, chain)))

    async def state_pieces(
        self, block_hash: bytes, places: Sequence[StatePlace], soft_limit_bytes: int
    ) -> Sequence[bytes]:
        def pieces(chain: ChainQueries) -> Sequence[bytes]:
            header = chain.header_by_hash(block_hash)
            if header is None or not chain.is_canonical(block_hash):
                return ()

            def piece(place: StatePlace) -> bytes:
                found = chain.state_piece(header.number, place.owner, place.path, MAX_STATE_PIECE_BYTES)
                return b"" if found is None else found.encode()

            try:
                return _up_to(soft_limit_bytes, places, piece)
            except StateUnavailable:
                return ()

        async with self._state_turn:
            return await self._service.read(pieces)

    async def codes(self, code_hashes: Sequence[bytes], soft_limit_bytes: int) -> Sequence[bytes]:
        return await self._service.read(lambda chain: _up_to(soft_limit_bytes, code_hashes, partial(_code, chain)))

    def subscribe(self, listener: Callable[[CertifiedBlock], None]) -> Unsubscribe:
        """Call with every new head of the canonical chain."""

        def imported(result: ImportResult) -> None:
            if not result.connected:
                return
            certificate = result.certificates[-1] if result.certificates else b""
            listener(CertifiedBlock(result.connected[-1], certificate, self._service.total_difficulty))

        return self._service.on_import(imported)

    async def header_checker(self, parent_hash: bytes) -> HeaderChecker:
        """For the headers that follow a block which is here. Raises UnknownParent."""

        def make(ledger: Ledger) -> HeaderChain:
            return ledger.header_chain(parent_hash)

        return await self._service.write(make)

    async def beside(self, work: Callable[[], T]) -> T:
        """Run what takes long, and touches nothing of the node, beside the event loop and the import of blocks."""
        return await self._service.work(work)


def _body(chain: ChainQueries, block_hash: bytes) -> bytes:
    block = chain.block_by_hash(block_hash)
    return b"" if block is None else encode_body(block.transactions)


def _receipts(chain: ChainQueries, block_hash: bytes) -> bytes:
    receipts = chain.receipts(block_hash)
    return b"" if receipts is None else encode_receipts(receipts)


def _code(chain: ChainQueries, code_hash: bytes) -> bytes:
    code = chain.code(code_hash) or b""
    return code if len(code) <= MAX_SENT_CODE_BYTES else b""


def _headers(chain: ChainQueries, origin: bytes | int, count: int, skip: int, falling: bool) -> list[CertifiedHeader]:
    """Canonical headers by number; from a hash on a side branch, falling to its ancestors, only that branch's."""
    header = chain.header_by_number(origin) if isinstance(origin, int) else chain.header_by_hash(origin)
    found: list[CertifiedHeader] = []
    step = skip + 1
    while header is not None and len(found) < count:
        found.append(CertifiedHeader(header.encode(), chain.certificate(header.hash)))
        header = _ancestor(chain, header, step) if falling else _successor(chain, header, step)
    return found


def _successor(chain: ChainQueries, header: Header, step: int) -> Header | None:
    return chain.header_by_number(header.number + step) if chain.is_canonical(header.hash) else None


def _ancestor(chain: ChainQueries, header: Header, step: int) -> Header | None:
    if step > header.number:
        return None
    number = header.number - step
    ancestor: Header | None = header
    while ancestor is not None and ancestor.number > number:
        if chain.is_canonical(ancestor.hash):
            return chain.header_by_number(number)
        ancestor = chain.header_by_hash(ancestor.parent_hash)
    return ancestor


def _up_to(soft_limit_bytes: int, keys: Sequence[K], answer: Callable[[K], bytes]) -> list[bytes]:
    """The answers in order; none is added when the limit has been reached."""
    answers: list[bytes] = []
    size = 0
    for key in keys:
        if size >= soft_limit_bytes:
            break
        answers.append(answer(key))
        size += len(answers[-1])
    return answers
