"""How far synchronisation has come: for eth_syncing, for a bar on a terminal, or else as a line in the log at times."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from p2p.backend import Unsubscribe
from p2p.limits import SYNC_LOG_INTERVAL_S
from primitives.clock import Clock

LOGGER = logging.getLogger(__name__)


class Phase(Enum):
    """What is being fetched."""

    NOTHING = "up to date"
    HEADERS = "fetching headers"
    STATE = "fetching the state"
    BLOCKS = "executing blocks"


@dataclass(frozen=True, slots=True)
class SyncProgress:
    """Where a node stands that is behind its peers. Numbers are those of blocks where nothing else is said."""

    phase: Phase = Phase.NOTHING
    starting_block: int = 0
    """Our head when this began."""
    current_block: int = 0
    """The last one executed; while headers or a state are fetched, the last header checked."""
    highest_block: int = 0
    """The highest that a peer claims, or that is proved."""
    pieces: int = 0
    """Of the state that is being fetched, in this run."""
    accounts: int = 0
    """Of the state that is being fetched, so far."""
    state_share: float = 0.0
    """How much of that state is here, from 0 to 1: an estimate."""

    @property
    def is_syncing(self) -> bool:
        return self.phase is not Phase.NOTHING


class ProgressBoard:
    """The progress of the moment, and who watches it."""

    def __init__(self, clock: Clock) -> None:
        self.progress = SyncProgress()
        self._clock = clock
        self._watchers: list[Callable[[SyncProgress], None]] = []
        self._logged_s: float | None = None

    def subscribe(self, watcher: Callable[[SyncProgress], None]) -> Unsubscribe:
        """Call with every change, in the event loop, until the answer is called. Nothing is logged meanwhile."""
        self._watchers.append(watcher)
        return lambda: self._watchers.remove(watcher)

    def update(self, **changes: Any) -> None:
        """Change fields of the progress."""
        before = self.progress
        self.progress = replace(before, **changes)
        if self.progress == before:
            return
        for watcher in list(self._watchers):
            watcher(self.progress)
        if not self._watchers:
            self._log(before)

    def _log(self, before: SyncProgress) -> None:
        now = self.progress
        if not now.is_syncing:
            self._logged_s = None
            return
        now_s = self._clock.precise_time_s()
        if self._logged_s is None:
            # The first line comes after an interval: what takes less is not worth one.
            self._logged_s = now_s
        elif now.phase is not before.phase or not 0 <= now_s - self._logged_s < SYNC_LOG_INTERVAL_S:
            self._logged_s = now_s
            share = f", {now.state_share:.0%}, {now.accounts} accounts" if now.phase is Phase.STATE else ""
            LOGGER.info("%s: block %d of %d%s", now.phase.value, now.current_block, now.highest_block, share)
