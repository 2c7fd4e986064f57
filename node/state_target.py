"""The node's ledger while it takes over a state from its peers: fits p2p.sync.target.StateTarget.

Everything is chain/state_fetch.py's; here it is called in the chain thread, and those who wait for a new head are told.
"""

from collections.abc import Collection, Sequence

from chain.header import Header
from chain.ledger import Ledger
from chain.state_fetch import KeptHeader, Needs, Taken
from chain.state_pieces import Place
from node.service import LedgerService
from p2p.messages import StatePlace
from p2p.sync.headers import CheckedHeader
from p2p.sync.target import StateNeeds, StateShare, StateTaken


class LedgerStateTarget:
    """Made before anything else uses the ledger."""

    def __init__(self, service: LedgerService, ledger: Ledger) -> None:
        self._service = service
        self._fetch = ledger.state_fetch
        self._has_begun = self._fetch.has_begun and self._fetch.pivot is not None

    def has_begun(self) -> bool:
        return self._has_begun

    async def keep_headers(self, headers: Sequence[CheckedHeader]) -> None:
        kept = [KeptHeader(one.header, one.certificate, one.receipts) for one in headers]
        await self._service.write(lambda _: self._fetch.keep_headers(kept))

    async def aim_at(self, pivot: Header) -> None:
        self._has_begun = True
        await self._service.write(lambda _: self._fetch.aim_at(pivot))

    async def needs(self, count: int, besides: Collection[StatePlace | bytes]) -> StateNeeds:
        known = {one if isinstance(one, bytes) else Place(one.owner, one.path) for one in besides}

        def find(_: Ledger) -> Needs:
            return self._fetch.needs(count, known)

        found = await self._service.write(find)
        return StateNeeds(tuple(StatePlace(place.owner, place.path) for place in found.places), found.codes)

    async def take_pieces(self, pieces: Sequence[tuple[StatePlace, bytes]]) -> StateTaken:
        answers = [(Place(place.owner, place.path), encoded) for place, encoded in pieces]
        return _taken(await self._service.write(lambda _: self._fetch.take_pieces(answers)))

    async def take_codes(self, codes: Sequence[tuple[bytes, bytes]]) -> StateTaken:
        return _taken(await self._service.write(lambda _: self._fetch.take_codes(codes)))

    async def share(self) -> StateShare:
        progress = await self._service.write(lambda _: self._fetch.progress())
        return StateShare(progress.accounts, progress.share)

    async def finish(self) -> None:
        await self._service.write(lambda _: self._fetch.finish())
        self._has_begun = False
        await self._service.head_replaced()

    async def abandon(self) -> None:
        await self._service.write(lambda _: self._fetch.abandon())
        self._has_begun = False


def _taken(taken: Taken) -> StateTaken:
    return StateTaken(taken.bad)
