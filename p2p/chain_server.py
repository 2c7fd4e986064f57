"""Answers to those who ask for parts of blocks, pieces of a state and codes, within what one answer may hold."""

from p2p.backend import ChainBackend
from p2p.limits import SOFT_RESPONSE_BYTES, SOFT_STATE_RESPONSE_BYTES
from p2p.messages import (
    Bodies,
    Codes,
    GetBodies,
    GetCodes,
    GetHeaders,
    GetReceipts,
    GetStatePieces,
    Headers,
    Receipts,
    StatePieces,
)
from p2p.session import PeerSession


class ChainServer:
    """Serves one chain to all peers; a session asks for one answer at a time."""

    def __init__(self, chain: ChainBackend) -> None:
        self._chain = chain

    async def headers(self, _: PeerSession, request: GetHeaders) -> Headers:
        headers = await self._chain.headers(request.origin, request.count, request.skip, request.falling)
        return Headers(request.request_id, tuple(headers[: request.count]))

    async def bodies(self, _: PeerSession, request: GetBodies) -> Bodies:
        bodies = await self._chain.bodies(request.block_hashes, SOFT_RESPONSE_BYTES)
        return Bodies(request.request_id, tuple(bodies[: len(request.block_hashes)]))

    async def receipts(self, _: PeerSession, request: GetReceipts) -> Receipts:
        receipts = await self._chain.receipts(request.block_hashes, SOFT_RESPONSE_BYTES)
        return Receipts(request.request_id, tuple(receipts[: len(request.block_hashes)]))

    async def state_pieces(self, _: PeerSession, request: GetStatePieces) -> StatePieces:
        pieces = await self._chain.state_pieces(request.block_hash, request.places, SOFT_STATE_RESPONSE_BYTES)
        return StatePieces(request.request_id, tuple(pieces[: len(request.places)]))

    async def codes(self, _: PeerSession, request: GetCodes) -> Codes:
        codes = await self._chain.codes(request.code_hashes, SOFT_STATE_RESPONSE_BYTES)
        return Codes(request.request_id, tuple(codes[: len(request.code_hashes)]))
