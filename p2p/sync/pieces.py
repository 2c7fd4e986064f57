"""Pieces of one block's state, and the codes in it, from all peers that keep that state.

What a piece must be is known before it is asked for, by its hash, so that it does not matter who sends it. A question
that is late is asked of another peer as well.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from chain.header import Header
from p2p import limits
from p2p.messages import StatePlace
from p2p.reputation import Offence
from p2p.session import NoAnswer, SessionEnded
from p2p.sync.load import Load, is_late
from p2p.sync.peers import SyncPeer, SyncPeers
from p2p.sync.progress import ProgressBoard
from p2p.sync.target import StateTaken, StateTarget
from primitives.clock import Clock

K = TypeVar("K", StatePlace, bytes)

Item = StatePlace | bytes
"""A place in the state, or the hash of a code."""


class PieceFetcher:
    """One `run` for one pivot."""

    def __init__(
        self, target: StateTarget, peers: SyncPeers, clock: Clock, board: ProgressBoard, pivot: Header
    ) -> None:
        self._target = target
        self._peers = peers
        self._clock = clock
        self._board = board
        self._pivot = pivot
        self._open: dict[Item, None] = {}
        """Needed, and asked of nobody at the moment."""
        self._asked_s: dict[Item, float] = {}
        """When what is being asked for was asked for last."""
        self.has_brought = False
        """Whether anything that was missing has come."""
        self._is_all_known = False
        """Whether the target had nothing to add to these two."""
        self._taken = 0
        """Items that were handed to the target."""
        self._loads: dict[SyncPeer, Load] = {}
        self._brought_s = clock.precise_time_s()
        """When something that was missing came last."""
        self._changed = asyncio.Event()

    async def run(self) -> bool:
        """Fetch until nothing is missing, or nobody has had anything of it for a while: False then."""
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._look_around()), group.create_task(self._show_share())]
            while (ending := await self._step(group, tasks)) is None:
                await self._changed.wait()
                self._changed.clear()
            for task in tasks:
                task.cancel()  # Late questions among them, whose pieces came from others.
        return ending

    async def _look_around(self) -> None:
        while True:
            await self._clock.sleep_s(limits.SHARE_LOOK_INTERVAL_S)
            self._changed.set()

    async def _show_share(self) -> None:
        while True:
            share = await self._target.share()
            self._board.update(accounts=share.accounts, state_share=share.share)
            await self._clock.sleep_s(limits.STATE_SHARE_INTERVAL_S)

    async def _step(self, group: asyncio.TaskGroup, tasks: list[asyncio.Task[None]]) -> bool | None:
        """Ask whom there is to ask. None, or what `run` answers."""
        now_s = self._clock.precise_time_s()
        tasks[:] = [task for task in tasks if not task.done()]
        self._reopen_late_ones(now_s)
        await self._learn_needs()
        if self._is_all_known and not self._open and not self._asked_s:
            return True
        running = sum(load.running(now_s) for load in self._loads.values())
        for peer in sorted(self._free_peers(now_s), key=lambda peer: self._load(peer).rank):
            if running >= limits.MAX_STATE_QUESTIONS or not self._open:
                break
            tasks.append(group.create_task(self._ask(peer, self._take_share(now_s), now_s)))
            self._load(peer).since_s.append(now_s)
            running += 1
        return False if self._is_hopeless(now_s) else None

    def _reopen_late_ones(self, now_s: float) -> None:
        for item in [item for item, asked_s in self._asked_s.items() if is_late(asked_s, now_s, limits.LATE_PIECES_S)]:
            del self._asked_s[item]
            self._open[item] = None

    async def _learn_needs(self) -> None:
        if self._is_all_known or len(self._open) >= limits.MAX_OPEN_STATE_ITEMS // 2:
            return
        known, taken = self._open.keys() | self._asked_s.keys(), self._taken
        needs = await self._target.needs(limits.MAX_OPEN_STATE_ITEMS - len(self._open), known)
        # What was taken meanwhile may have shown more.
        self._is_all_known = not needs.places and not needs.codes and taken == self._taken
        self._open.update(dict.fromkeys((*needs.places, *needs.codes)))

    def _is_hopeless(self, now_s: float) -> bool:
        """Whether nobody has brought anything for a while, and nobody is about to."""
        is_running = any(load.running(now_s) for load in self._loads.values())
        return not is_running and not 0 <= now_s - self._brought_s < limits.STATE_PATIENCE_S

    # Asking

    def _load(self, peer: SyncPeer) -> Load:
        return self._loads.setdefault(peer, Load(limits.LATE_PIECES_S))

    def _free_peers(self, now_s: float) -> list[SyncPeer]:
        return [peer for peer in self._peers if self._load(peer).is_free(now_s, limits.MAX_STATE_QUESTIONS_TO_PEER)]

    def _take_share(self, now_s: float) -> list[Item]:
        """Places or codes, not both, that are asked for in one question."""
        kind = type(next(iter(self._open)))
        share = [item for item in self._open if type(item) is kind][: limits.MAX_REQUESTED_STATE_PIECES]
        for item in share:
            del self._open[item]
            self._asked_s[item] = now_s
        return share

    async def _ask(self, peer: SyncPeer, share: Sequence[Item], since_s: float) -> None:
        load = self._load(peer)
        try:
            if isinstance(share[0], StatePlace):
                await self._ask_for_pieces(peer, [item for item in share if isinstance(item, StatePlace)])
            else:
                await self._ask_for_codes(peer, [item for item in share if isinstance(item, bytes)])
        except (NoAnswer, SessionEnded):
            load.failures += 1  # It has been counted against the peer; another one is asked.
        finally:
            load.since_s.remove(since_s)
            for item in share:
                # What another peer was asked for meanwhile, or brought, is not this question's business any more.
                if self._asked_s.get(item) == since_s:
                    del self._asked_s[item]
                    self._open[item] = None
            self._changed.set()

    async def _ask_for_pieces(self, peer: SyncPeer, places: Sequence[StatePlace]) -> None:
        pieces = await peer.session.get_state_pieces(self._pivot.hash, tuple(places))
        if not pieces:
            self._load(peer).came_empty(self._clock.precise_time_s())
            return
        taken = await self._take(list(zip(places, pieces, strict=False)), self._target.take_pieces)
        if taken.bad is not None:
            self._load(peer).failures += 1
            peer.session.offend(Offence.WRONG_ANSWER, f"a false piece of the state of block {self._pivot.number}")
        else:
            self._load(peer).failures = 0
            self._board.update(pieces=self._board.progress.pieces + len(pieces))

    async def _ask_for_codes(self, peer: SyncPeer, hashes: Sequence[bytes]) -> None:
        codes = await peer.session.get_codes(tuple(hashes))
        found = [(code_hash, code) for code_hash, code in zip(hashes, codes, strict=False) if code]
        if not found:
            self._load(peer).came_empty(self._clock.precise_time_s())
            return
        taken = await self._take(found, self._target.take_codes)
        if taken.bad is not None:
            peer.session.offend(Offence.WRONG_ANSWER, "another code than that asked for")

    async def _take(
        self, answers: Sequence[tuple[K, bytes]], take: Callable[[Sequence[tuple[K, bytes]]], Awaitable[StateTaken]]
    ) -> StateTaken:
        """Hand over what is still missing, as far as it is right."""
        missing = [(item, data) for item, data in answers if item in self._open or item in self._asked_s]
        taken = await take(missing)
        for item, _ in missing[: taken.bad]:
            self._open.pop(item, None)
            self._asked_s.pop(item, None)
        if missing[: taken.bad]:
            self._brought_s = self._clock.precise_time_s()
            self.has_brought = True
        self._taken += len(missing)
        self._is_all_known = False
        self._changed.set()
        return taken
