"""Answers to those who ask for headers and bodies, within what one answer may hold."""

from p2p.backend import ChainBackend
from p2p.limits import SOFT_RESPONSE_BYTES
from p2p.messages import Bodies, GetBodies, GetHeaders, Headers
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
