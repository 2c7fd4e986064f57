"""Following one chain of headers by what nodes tell, one node after another, and believing none of them.

On a qbft chain a header counts that a quorum of its validators sealed; it is final. With proof of work the heaviest
valid chain counts, forks included. A node that lies costs what it takes to find that out, and changes nothing.
"""

from collections.abc import Callable, Sequence
from enum import Enum
from typing import NoReturn

from chain.consensus.difficulty import anchor_number
from chain.header import Header
from chain.importer import DEFAULT_REORGANISATION_CAP
from primitives.errors import Invalid, InvalidBlock, UserError
from wallet.light.branch import Branch, Proved
from wallet.light.source import MAX_HEADERS, SealedHeader, Source
from wallet.light.store import LightStore, Record, StoreMoved
from wallet.light.trust import Trust

MAX_SETTLED_FORK = DEFAULT_REORGANISATION_CAP
"""Blocks that a heavier branch may replace at most: as deep as nodes themselves follow one."""
MAX_FORK = 255
"""How far down a fork is looked for where nothing is settled yet; a deeper one is followed from the genesis block."""
STORE_EVERY = 4_096
"""Headers between two writes while catching up: only the last 512 are written each time, which spares an SD card."""
MAX_RESTARTS = 3
"""How often a node may reorganise, or another command store something, while it is being followed."""

Progress = Callable[[int, int], None]
"""(number of the newest header that was checked, number that the node says it has)."""
Listener = Callable[[int, Sequence[SealedHeader]], None]
"""(number of the block below, headers now on top of it), in order; the newest only where there are very many."""


class OtherChain(Invalid):
    """The node keeps another chain: its genesis block is not ours."""


class DeepFork(Invalid):
    """The node's chain left the one that is followed before what is settled."""


class ReceiptsMissing(Invalid):
    """The node does not have what would tell who the validators are now."""


class SealedTwice(UserError):
    """Two blocks of one number are both final: validators have broken the rules that everything rests on."""


class _Moved(Exception):
    """The node's chain changed while it was being read."""


class Standing(Enum):
    """How a node's chain stands to what is proved."""

    FOLLOWED = "followed"
    """Its head is the one that is believed now."""
    BEHIND = "behind"
    """It agrees but knows less, or its branch has no more work."""


class Follower:
    """Keeps a store up to date with whatever the nodes can prove."""

    def __init__(self, trust: Trust, store: LightStore, on_headers: Listener | None = None) -> None:
        self._trust = trust
        self._store = store
        self._on_headers = on_headers
        self._engine = trust.engine(store.genesis)

    async def follow(self, source: Source, progress: Progress | None = None) -> Standing:
        """Take from a node all that it can prove and that is better than what is known.

        Raises what Source raises; InvalidBlock for what cannot be true; BlockFromFuture (proof of work), OtherChain,
        DeepFork, ReceiptsMissing; SealedTwice. What was proved before an error is kept.
        """
        for _ in range(1 + MAX_RESTARTS):
            try:
                return await self._follow(source, progress)
            except (_Moved, StoreMoved):
                continue
        raise InvalidBlock("its chain changes faster than it can be read")

    async def _follow(self, source: Source, progress: Progress | None) -> Standing:
        record = self._store.record()
        claimed = await source.head_number()
        start = min(claimed, record.head.number)
        known = self._store.header(start)
        if known is None:
            return Standing.BEHIND
        batch = await source.headers(start, MAX_HEADERS)
        if not batch:
            self.moved(f"it says that it has block {claimed}, and does not hand out block {start}")
        if batch[0].header == known:
            if start < record.head.number:
                return Standing.BEHIND
            branch = self._branch(record.proved)
        elif start == 0:
            raise OtherChain(f"it keeps another chain: its first block is 0x{batch[0].header.hash.hex()}")
        elif self._engine.is_final:
            raise self._contradiction(record, batch[0])
        else:
            branch = await self._fork(record, source, start)
            batch = []
        return await _Growth(self, source, record, branch, progress, claimed).run(batch[1:] if batch else None)

    def moved(self, what: str) -> NoReturn:
        """A node's answers contradict one another: it may have reorganised in between, unless blocks are final."""
        if self._engine.is_final:
            raise InvalidBlock(what)
        raise _Moved

    def _branch(self, start: Proved) -> Branch:
        number = None if self._engine.is_final else anchor_number(start.head.header.number)
        anchor = None if number is None else self._stored(number)
        return Branch(self._trust.config, self._engine, self._trust.clock, start, anchor)

    async def _fork(self, record: Record, source: Source, below: int) -> Branch:
        """A branch from the newest block that the node shares with us. Raises DeepFork, OtherChain."""
        head = record.head.number
        lowest = max(head - MAX_FORK, self._store.kept_below(head), 0)
        common: int | None = None
        while common is None and below > lowest:
            first = max(below - MAX_HEADERS, lowest)
            headers = await source.headers(first, below - first)
            shared = [one.header.number for one in headers if self._store.header(one.header.number) == one.header]
            common = max(shared, default=None)
            below = first
        if record.is_settled and (common is None or head - common > MAX_SETTLED_FORK):
            raise DeepFork(
                f"it keeps another branch, which leaves the one that is followed more than {MAX_SETTLED_FORK} blocks "
                "back; to compare both from the first block on, use `wattchain light sync --again`"
            )
        if common is None:
            genesis = self._store.genesis
            first_headers = await source.headers(0, 1)
            if not first_headers or first_headers[0].header != genesis:
                raise OtherChain("it keeps another chain: its first block is another one")
            return self._branch(Proved(SealedHeader(genesis), genesis.difficulty, None, None))
        replaced = sum([self._stored(number).difficulty for number in range(common + 1, head + 1)])
        total_difficulty = record.proved.total_difficulty - replaced
        return self._branch(Proved(SealedHeader(self._stored(common)), total_difficulty, None, None))

    def _stored(self, number: int) -> Header:
        header = self._store.header(number)
        if header is None:
            raise StoreMoved  # by another command; in this one's own view it must be there
        return header

    def _contradiction(self, record: Record, other: SealedHeader) -> Exception:
        """The node has another block of a number that is final."""
        number, proved = other.header.number, record.proved
        if number == record.head.number and proved.sealed_by is not None:
            try:
                self._engine.check_certificate(other.header, other.certificate, proved.sealed_by)
            except InvalidBlock as error:
                return InvalidBlock(f"its block {number} is not the one that is final: {error}")
            culprits = 2 * proved.sealed_by.quorum - len(proved.sealed_by)
            return SealedTwice(
                f"Two different blocks {number} carry the seals of a quorum, 0x{record.head.hash.hex()} and "
                f"0x{other.header.hash.hex()}: at least {culprits} of the {len(proved.sealed_by)} validators sealed "
                "both, or their keys are stolen. Believe nothing on this ledger until its operators have explained it."
            )
        return InvalidBlock(f"its block {number} is not the one that is final")

    def advance(self, before: Record, branch: Branch) -> Record:
        """Store what the branch has proved, and tell of it."""
        fork_number, headers = branch.fork_number, list(branch.unstored)
        self._store.advance(before, branch)
        branch.stored()
        if self._on_headers is not None:
            self._on_headers(fork_number, headers)
        return self._store.record()


class _Growth:
    """One branch while it is fetched from one node."""

    def __init__(
        self,
        follower: Follower,
        source: Source,
        record: Record,
        branch: Branch,
        progress: Progress | None,
        claimed: int,
    ) -> None:
        self._follower = follower
        self._source = source
        self._record = record
        self._branch = branch
        self._progress = progress
        self._claimed = claimed
        self._since_store = 0

    async def run(self, batch: Sequence[SealedHeader] | None) -> Standing:
        """Take this batch, if one is there already, and all that follow."""
        branch = self._branch
        is_last = batch is not None and len(batch) < MAX_HEADERS - 1
        try:
            while True:
                if batch is None:
                    batch = await self._source.headers(branch.head.number + 1, MAX_HEADERS)
                    is_last = len(batch) < MAX_HEADERS
                await self._take(batch)
                self._since_store += len(batch)
                if self._since_store >= STORE_EVERY:
                    self._store()
                if is_last:
                    break
                batch = None
        finally:
            self._store()
        is_best = branch.proved.head.header == self._record.head
        return Standing.FOLLOWED if is_best else Standing.BEHIND

    async def _take(self, batch: Sequence[SealedHeader]) -> None:
        branch = self._branch
        if batch and batch[0].header.parent_hash != branch.head.hash:
            self._follower.moved(f"its block {batch[0].header.number} does not stand on the block below")
        for index, sealed in enumerate(batch, 1):
            branch.add(sealed, is_last=index == len(batch))
            header = branch.needs_receipts
            if header is not None:
                receipts = await self._source.receipts(header.hash)
                if receipts is None:
                    raise ReceiptsMissing(
                        f"it does not keep the receipts of block {header.number}, in which the validators may have "
                        "changed; ask a node that does"
                    )
                branch.supply_receipts(receipts)
        if self._progress is not None:
            self._progress(branch.head.number, max(self._claimed, branch.head.number))

    def _store(self) -> None:
        """Nothing is stored of a branch that has no more work yet."""
        branch, self._since_store = self._branch, 0
        if branch.unstored and branch.proved.total_difficulty > self._record.proved.total_difficulty:
            self._record = self._follower.advance(self._record, branch)
