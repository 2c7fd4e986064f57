"""What is served of a chain: each kind of question gets its answer, within the limits of one."""

from collections.abc import Sequence

from p2p.chain_server import ChainServer
from p2p.limits import SOFT_RESPONSE_BYTES, SOFT_STATE_RESPONSE_BYTES
from p2p.messages import (
    Bodies,
    CertifiedHeader,
    Codes,
    GetBodies,
    GetCodes,
    GetHeaders,
    GetReceipts,
    GetStatePieces,
    Headers,
    Receipts,
    StatePieces,
    StatePlace,
)
from tests.p2p.memory_network import FakeChain, begin_talk


class GenerousChain(FakeChain):
    """Gives one more of everything than it was asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.limits: list[int] = []

    async def headers(self, origin: bytes | int, count: int, skip: int, falling: bool) -> Sequence[CertifiedHeader]:
        return [CertifiedHeader(b"header", b"")] * (count + 1)

    async def bodies(self, block_hashes: Sequence[bytes], soft_limit_bytes: int) -> Sequence[bytes]:
        self.limits.append(soft_limit_bytes)
        return [b"body"] * (len(block_hashes) + 1)

    async def receipts(self, block_hashes: Sequence[bytes], soft_limit_bytes: int) -> Sequence[bytes]:
        self.limits.append(soft_limit_bytes)
        return [b"receipts"] * (len(block_hashes) + 1)

    async def state_pieces(
        self, block_hash: bytes, places: Sequence[StatePlace], soft_limit_bytes: int
    ) -> Sequence[bytes]:
        self.limits.append(soft_limit_bytes)
        return [b"piece"] * (len(places) + 1)

    async def codes(self, code_hashes: Sequence[bytes], soft_limit_bytes: int) -> Sequence[bytes]:
        self.limits.append(soft_limit_bytes)
        return [b"code"] * (len(code_hashes) + 1)


async def test_every_answer_has_the_number_of_its_question_and_no_more_items_than_that_asked_for() -> None:
    chain = GenerousChain()
    server, talk = ChainServer(chain), await begin_talk()
    session, hashes = talk.session, (bytes(32),) * 2
    assert await server.headers(session, GetHeaders(1, 0, 1, 0, False)) == Headers(
        1, (CertifiedHeader(b"header", b""),)
    )
    assert await server.bodies(session, GetBodies(2, hashes)) == Bodies(2, (b"body",) * 2)
    assert await server.receipts(session, GetReceipts(3, hashes)) == Receipts(3, (b"receipts",) * 2)
    places = (StatePlace(b"", b""),)
    assert await server.state_pieces(session, GetStatePieces(4, bytes(32), places)) == StatePieces(4, (b"piece",))
    assert await server.codes(session, GetCodes(5, hashes)) == Codes(5, (b"code",) * 2)
    assert chain.limits == [SOFT_RESPONSE_BYTES] * 2 + [SOFT_STATE_RESPONSE_BYTES] * 2
    session.end(None, "the test is over")
    await talk.ended()
