"""Filters that a client installs and then polls: new blocks, new logs, new pending transactions.

A filter of blocks or logs is no subscription: it remembers the block up to which it has told, and looks at what the
chain says since when it is asked. So it costs nothing between two questions, misses nothing, and tells of blocks that a
reorganisation took off the chain. What is in memory is bounded, and forgotten when nobody asks.
"""

import asyncio
import secrets
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from chain.header import Header
from chain.transaction import Transaction
from gateway.backend import ChainView
from gateway.errors import LIMIT_EXCEEDED, SERVER_ERROR, RpcError
from gateway.logs import MAX_LOG_BLOCKS, MAX_LOGS, LogMatcher, block_logs
from gateway.methods.table import Json
from gateway.parameters import LogFilter
from primitives.hexadecimal import to_data

MAX_FILTERS = 256
"""Installed at once, by all clients together."""
MAX_PENDING_HASHES = 10_000
"""That one filter keeps between two questions, more than the pool holds; the oldest go first. The hashes are shared, so
all filters together keep some 20 MB at the worst."""
FILTER_LIFETIME_S = 300
"""A filter that nobody asks for so long is forgotten, as in geth: clients go away without saying so."""
FILTER_ID_BITS = 128
"""Ids are random: whoever does not know one cannot take another client's changes."""


@dataclass(frozen=True, slots=True)
class ChainPosition:
    """The last block that a filter has told of."""

    number: int
    hash: bytes


@dataclass(slots=True)
class Filter:
    """One installed filter. Whoever asks it holds its lock, so that no change is told twice."""

    position: ChainPosition | None = None
    """Of blocks and logs; None where the filter is of pending transactions."""
    wanted: LogFilter | None = None
    """None where the filter is not of logs."""
    pending: deque[bytes] = field(default_factory=lambda: deque(maxlen=MAX_PENDING_HASHES))
    """Hashes of transactions that became pending since the last question."""
    asked_s: float = 0.0
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    def take_pending(self) -> list[bytes]:
        taken = list(self.pending)
        self.pending.clear()
        return taken


class FilterRegistry:
    """All filters of a gateway. `now_s` is any steady clock: a lifetime here is the client's time, not the ledger's."""

    def __init__(self, now_s: Callable[[], float]) -> None:
        self._now_s = now_s
        self._filters: dict[str, Filter] = {}

    def install(self, installed: Filter) -> str:
        """Its id. Raises RpcError where there are too many."""
        self._forget_old()
        if len(self._filters) >= MAX_FILTERS:
            raise RpcError(LIMIT_EXCEEDED, f"too many filters: {MAX_FILTERS} are installed; uninstall some")
        filter_id = hex(secrets.randbits(FILTER_ID_BITS))
        installed.asked_s = self._now_s()
        self._filters[filter_id] = installed
        return filter_id

    def find(self, filter_id: str) -> Filter:
        """Raises RpcError where it is unknown, or was forgotten."""
        self._forget_old()
        found = self._filters.get(filter_id)
        if found is None:
            raise RpcError(SERVER_ERROR, "filter not found")
        found.asked_s = self._now_s()
        return found

    def uninstall(self, filter_id: str) -> bool:
        """Whether it was there."""
        self._forget_old()
        return self._filters.pop(filter_id, None) is not None

    def transactions_came(self, transactions: Sequence[Transaction]) -> None:
        """Tell the filters of pending transactions."""
        for installed in self._filters.values():
            if installed.position is None:
                installed.pending.extend([transaction.hash for transaction in transactions])

    def __len__(self) -> int:
        return len(self._filters)

    def _forget_old(self) -> None:
        oldest_s = self._now_s() - FILTER_LIFETIME_S
        for filter_id in [key for key, entry in self._filters.items() if entry.asked_s < oldest_s]:
            del self._filters[filter_id]


def position_of_head(chain: ChainView) -> ChainPosition:
    head = chain.head()
    return ChainPosition(head.number, head.hash)


def block_changes(chain: ChainView, position: ChainPosition) -> tuple[ChainPosition, list[Json]]:
    """Hashes of the blocks that became canonical since, and where the filter stands then."""
    _, ancestor = _taken_off(chain, position)
    added = list(chain.headers(ancestor.number + 1, ancestor.number + MAX_LOG_BLOCKS))
    return _last(ancestor, added), [to_data(header.hash) for header in added]


def log_changes(chain: ChainView, position: ChainPosition, wanted: LogFilter) -> tuple[ChainPosition, list[Json]]:
    """Logs of the blocks taken off the chain since (marked removed), then of those put on it.

    Stops where the answer is long enough; the next question goes on from there. Where the node took over a state, the
    blocks below it are passed over: an error would come again with every question.
    """
    matcher = LogMatcher(wanted)
    removed, ancestor = _taken_off(chain, position)
    answer: list[Json] = []
    for header in removed:
        if _in_range(header, wanted):
            answer += block_logs(chain, header, matcher, removed=True)
    passed: list[Header] = []
    for header in chain.headers(ancestor.number + 1, ancestor.number + MAX_LOG_BLOCKS):
        if _in_range(header, wanted):
            answer += block_logs(chain, header, matcher, if_kept=True)
        passed.append(header)
        if len(answer) >= MAX_LOGS:
            break
    return _last(ancestor, passed), answer


def _taken_off(chain: ChainView, position: ChainPosition) -> tuple[list[Header], ChainPosition]:
    """Blocks the filter told of that are no longer canonical, newest first, and the last one that still is."""
    removed: list[Header] = []
    while not chain.is_canonical(position.hash):
        header = chain.header_by_hash(position.hash)
        if header is None:
            # Forgotten by now: go on from its height, where the branch that won must have blocks we did not tell of.
            number = max(min(position.number, chain.head().number) - 1, 0)
            known = chain.header_by_number(number)
            return removed, position if known is None else ChainPosition(number, known.hash)
        removed.append(header)
        position = ChainPosition(header.number - 1, header.parent_hash)
    return removed, position


def _last(position: ChainPosition, headers: list[Header]) -> ChainPosition:
    return ChainPosition(headers[-1].number, headers[-1].hash) if headers else position


def _in_range(header: Header, wanted: LogFilter) -> bool:
    """A filter with numbers in its range tells of those blocks alone; tags set no bound on what is yet to come."""
    first, last = wanted.first.number, wanted.last.number
    return (first is None or header.number >= first) and (last is None or header.number <= last)
