"""Where a peer's chain leaves ours: the last block of both, looked for no deeper than what can be undone."""

import logging

from chain.header import decode_header
from p2p.backend import SyncBackend
from p2p.reputation import Offence
from p2p.session import PeerSession
from p2p.sync.outcome import NotAhead, RoundEnded
from primitives.errors import InvalidBlock

LOGGER = logging.getLogger(__name__)


async def common_ancestor(chain: SyncBackend, session: PeerSession) -> int:
    """The number of the highest block that the peer is seen to share with us.

    Raises NotAhead where it has less than what is final here; RoundEnded where it has something else, or answers badly;
    NoAnswer or SessionEnded.
    """
    head = chain.head()
    final = max(0, head.number - chain.final_depth_blocks)
    its_hash = await _hash_at(session, head.number)
    if its_hash == head.hash:
        return head.number
    if final == head.number:
        _check_final(session, final, head.hash, its_hash)
    elif final > 0:
        _check_final(session, final, await chain.canonical_hash(final), await _hash_at(session, final))
    shared, different = final, head.number
    while different - shared > 1:
        middle = (shared + different) // 2
        own_hash = await chain.canonical_hash(middle)
        if own_hash is not None and own_hash == await _hash_at(session, middle):
            shared = middle
        else:
            different = middle
    return shared


def _check_final(session: PeerSession, final: int, own_hash: bytes | None, its_hash: bytes | None) -> None:
    if its_hash is None:
        raise NotAhead(f"it has no block {final}, which is final here")
    if its_hash != own_hash:
        # Not a fault of the peer's: on a chain that was cut in two, both sides have been right.
        LOGGER.warning("%s is on another chain: its block %d is not ours, and ours cannot be undone", session, final)
        raise RoundEnded(f"its block {final} is another one, and ours is final")


async def _hash_at(session: PeerSession, number: int) -> bytes | None:
    """Of the peer's canonical block of this number, if it has one."""
    headers = await session.get_headers(number, 1)
    if not headers:
        return None
    try:
        header = decode_header(headers[0].header)
    except InvalidBlock as error:
        session.offend(Offence.WRONG_ANSWER, str(error))
        raise RoundEnded(str(error)) from error
    if header.number != number:
        session.offend(Offence.WRONG_ANSWER, f"header {header.number} in place of {number}")
        raise RoundEnded("a wrong header")
    return header.hash
