"""Finding logs: by the blooms in the headers first, then in the receipts of the blocks that may hold some."""

from collections.abc import Iterator

from chain.block import Block
from chain.header import Header
from chain.receipt import bloom_bits
from gateway.backend import ChainView
from gateway.errors import INVALID_PARAMETERS, LIMIT_EXCEEDED, SERVER_ERROR, RpcError, pruned
from gateway.methods.lookup import find_number
from gateway.objects import JsonObject, LogPlace, log_object
from gateway.parameters import LogFilter
from vm.host import Log

MAX_LOG_BLOCKS = 10_000
"""One query's range: looking at so many headers takes a Pi a few seconds, and a day has 5,760 blocks of 15 s."""
MAX_LOGS = 10_000
"""One answer's logs: about 700 bytes each, so 7 MB, below the response limit."""


class LogMatcher:
    """One filter, ready to be held against many blocks."""

    def __init__(self, wanted: LogFilter) -> None:
        self._addresses = wanted.addresses
        self._topics = wanted.topics
        # In each group, one of the alternatives must have all its bits in a bloom.
        groups = [wanted.addresses, *wanted.topics]
        self._blooms = [[bloom_bits(value) for value in group] for group in groups if group]

    def may_match(self, bloom: bytes) -> bool:
        """False only where a block with this bloom certainly holds no such log."""
        block_bits = int.from_bytes(bloom, "big")
        if not block_bits:
            return False
        return all(any(bits & block_bits == bits for bits in alternatives) for alternatives in self._blooms)

    def matches(self, log: Log) -> bool:
        if self._addresses and log.address not in self._addresses:
            return False
        if len(self._topics) > len(log.topics):
            return False
        return all(not wanted or topic in wanted for wanted, topic in zip(self._topics, log.topics, strict=False))


def query_logs(chain: ChainView, wanted: LogFilter) -> list[JsonObject]:
    """All logs that the filter describes. Raises RpcError where there are too many, or the range is wrong."""
    matcher = LogMatcher(wanted)
    answer: list[JsonObject] = []
    for header in _candidates(chain, wanted, matcher):
        answer += block_logs(chain, header, matcher)
        if len(answer) > MAX_LOGS:
            raise RpcError(
                LIMIT_EXCEEDED, f"query returned more than {MAX_LOGS} results; ask for fewer blocks at a time"
            )
    return answer


def block_logs(
    chain: ChainView, header: Header, matcher: LogMatcher, *, removed: bool = False, if_kept: bool = False
) -> list[JsonObject]:
    """The matching logs of one block, in order; of one that was taken off the chain, as far as it is remembered.

    Raises RpcError where nothing but the header is kept, unless `if_kept`: there are none then.
    """
    if not matcher.may_match(header.logs_bloom):
        return []
    block, receipts = chain.block_by_hash(header.hash), chain.receipts(header.hash)
    if block is None or receipts is None:
        if removed or if_kept or not chain.is_canonical(header.hash):
            return []
        raise pruned(header.number)
    placed = _placed_logs(block, [receipt.logs for receipt in receipts], removed)
    return [log_object(log, place) for log, place in placed if matcher.matches(log)]


def _placed_logs(block: Block, logs: list[tuple[Log, ...]], removed: bool) -> Iterator[tuple[Log, LogPlace]]:
    log_index = 0
    for index, (transaction, entries) in enumerate(zip(block.transactions, logs, strict=True)):
        for log in entries:
            yield log, LogPlace(block.header, transaction.hash, index, log_index, removed)
            log_index += 1


def _candidates(chain: ChainView, wanted: LogFilter, matcher: LogMatcher) -> Iterator[Header]:
    """The blocks of the range that may hold such logs."""
    if wanted.block_hash is not None:
        header = chain.header_by_hash(wanted.block_hash)
        if header is None:
            raise RpcError(SERVER_ERROR, "unknown block")
        yield header
        return
    first, last = find_number(chain, wanted.first), find_number(chain, wanted.last)
    if first > last:
        raise RpcError(INVALID_PARAMETERS, f"invalid block range params: from {first} to {last}")
    # What is not there yet holds no logs, and does not count.
    last = min(last, chain.head().number)
    if last - first >= MAX_LOG_BLOCKS:
        raise RpcError(LIMIT_EXCEEDED, f"block range too large: {last - first + 1} blocks, at most {MAX_LOG_BLOCKS}")
    for number, bloom in chain.blooms(first, last):
        if matcher.may_match(bloom):
            header = chain.header_by_number(number)
            if header is not None:
                yield header
