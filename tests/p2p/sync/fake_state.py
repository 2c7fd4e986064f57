"""States of a fake ledger: trees of pieces that say which places are below them, and a target that gathers them."""

from collections.abc import Collection, Sequence

from chain.header import Header
from p2p.messages import StatePlace
from p2p.sync.headers import CheckedHeader
from p2p.sync.target import StateNeeds, StateShare, StateTaken
from primitives.errors import InvalidBlock
from primitives.keccak import keccak256
from tests.p2p.memory_network import FakeChain

ROOT = StatePlace(b"", b"")
WIDTH = 16
DEPTH = 2
EPOCH_BLOCKS = 100
"""The first sixteenth of a state changes with every block, the rest only so often."""


def code_of(number: int) -> bytes:
    return b"code %d" % number


CODES = {keccak256(code_of(number)): code_of(number) for number in range(5)}


def piece_of(number: int, place: StatePlace) -> bytes:
    """What stands at a place of the state after block `number`; empty where nothing does."""
    path = place.path
    if len(path) > DEPTH or place.owner:
        return b""
    version = number if not path or path[0] == 0 else number // EPOCH_BLOCKS
    kind = b"node" if len(path) < DEPTH else b"leaves"
    return b"%s %d %s" % (kind, version, path.hex().encode())


class FakeTarget:
    """Gathers one state after another, and makes its block the head of the chain."""

    def __init__(self, chain: FakeChain, truth: FakeChain) -> None:
        """`truth` is the chain whose blocks the headers are of."""
        self.kept: dict[int, CheckedHeader] = {}
        self.pieces: dict[StatePlace, bytes] = {}
        self.codes: set[bytes] = set()
        self.pivots: list[Header] = []
        self.refusal: InvalidBlock | None = None
        """Of `finish`."""
        self.abandoned = 0
        self._is_aimed = False
        self._chain = chain
        self._truth = truth

    def has_begun(self) -> bool:
        return self._is_aimed

    async def keep_headers(self, headers: Sequence[CheckedHeader]) -> None:
        for checked in headers:
            number = checked.header.number
            assert number == self._chain.best.number + 1 or number - 1 in self.kept
            self.kept[number] = checked

    async def aim_at(self, pivot: Header) -> None:
        assert self.kept[pivot.number].header == pivot
        self.pivots.append(pivot)
        self._is_aimed = True
        wrong = [place for place, piece in self.pieces.items() if piece != piece_of(pivot.number, place)]
        for place in wrong:
            del self.pieces[place]

    async def needs(self, count: int, besides: Collection[StatePlace | bytes]) -> StateNeeds:
        places = [place for place in self._missing() if place not in besides]
        codes = [code for code in CODES if code not in besides and code not in self.codes]
        return StateNeeds(tuple(places[:count]), tuple(codes[: max(0, count - len(places))]))

    async def take_pieces(self, pieces: Sequence[tuple[StatePlace, bytes]]) -> StateTaken:
        for position, (place, piece) in enumerate(pieces):
            if piece != piece_of(self.pivots[-1].number, place):
                return StateTaken(position)
            self.pieces[place] = piece
        return StateTaken()

    async def take_codes(self, codes: Sequence[tuple[bytes, bytes]]) -> StateTaken:
        for position, (code_hash, code) in enumerate(codes):
            if keccak256(code) != code_hash:
                return StateTaken(position)
            self.codes.add(code_hash)
        return StateTaken()

    async def share(self) -> StateShare:
        return StateShare(len(self.pieces), len(self.pieces) / sum(WIDTH**depth for depth in range(DEPTH + 1)))

    async def finish(self) -> None:
        assert not self._missing()
        if self.refusal is not None:
            raise self.refusal
        pivot = self.pivots[-1]
        for number in range(self._chain.best.number + 1, pivot.number + 1):
            self._chain.put(self._truth.blocks[self.kept[number].header.hash])
        self.pieces.clear()
        self._is_aimed = False

    async def abandon(self) -> None:
        self.abandoned += self._is_aimed
        self._is_aimed = False
        self.pieces.clear()
        self.kept.clear()

    def _missing(self) -> list[StatePlace]:
        missing, below = [], [ROOT]
        while below:
            place = below.pop()
            if place not in self.pieces:
                missing.append(place)
            elif len(place.path) < DEPTH:
                below += [StatePlace(b"", place.path + bytes([nibble])) for nibble in range(WIDTH)]
        return missing
