"""Reads from a node all events of the two markets in which one account is named: asked for by the account, so that
others' adverts and orders, however many, cost nothing.

What is deep enough is remembered; the last blocks are asked for again each time, a reorganisation may change them.
"""

from collections.abc import Awaitable, Callable, Sequence

from contracts.addresses import AUCTION_ADDRESS, MARKET_ADDRESS
from meter.agent.dealings import OwnEvent
from primitives.errors import InvalidAbi
from wallet.answers import BlockSummary, Log
from wallet.auction import AUCTION
from wallet.client import InvalidAnswer, RpcClient, RpcError
from wallet.contract_call import Contract
from wallet.market import MARKET

LOOK_BACK_S = 14 * 86_400
"""A trade is delivered within a week and settled within three days more; what is older is for its owner to settle."""
WINDOW_BLOCKS = 10_000
"""What a node looks through at once."""
MAX_WINDOWS = 200
"""Two million blocks: two weeks of blocks of a second fit."""
PRUNED_HISTORY = 4444
"""The code with which a node says that it has not kept what is asked for."""
MAX_EVENTS = 20_000
"""Two weeks of an order in every slot have some 10,000; a node that tells more is mistaken."""

_CONTRACTS: dict[bytes, Contract] = {MARKET_ADDRESS: MARKET, AUCTION_ADDRESS: AUCTION}


class OwnEvents:
    """Of one account, from about LOOK_BACK_S before the first question on."""

    def __init__(self, account: bytes, confirmations: int) -> None:
        self._account = account
        self._topic = account.rjust(32, b"\0")
        self._confirmations = confirmations
        self._deep: list[OwnEvent] = []
        self._next_block: int | None = None
        self._times_s: dict[int, int] = {}
        self._anchor: tuple[int, bytes] | None = None
        """Number and hash of the last deep block: where it has another hash, all is asked for anew."""
        self.known_since_s = 0
        """Before this time the node has no history, because it began with a later state; 0 where it has all."""

    async def read(self, client: RpcClient, head: BlockSummary) -> list[OwnEvent]:
        """All up to a block, in the order of the chain. Raises UserError, InvalidAnswer."""
        if self._anchor is not None and not await self._is_there(client, *self._anchor):
            self._deep, self._next_block, self._anchor, self.known_since_s = [], None, None, 0
            self._times_s.clear()
        if self._next_block is None:
            self._next_block = await self._first_block(client, head)
        found: list[OwnEvent] = []
        deep = max(0, head.number - self._confirmations)
        for first in range(self._next_block, head.number + 1, WINDOW_BLOCKS):
            last = min(first + WINDOW_BLOCKS - 1, head.number)
            try:
                found += await self._window(client, first, last)
            except RpcError as error:
                if error.code != PRUNED_HISTORY:
                    raise
                # There is something of the account that this node cannot tell. What comes later counts.
                kept_from = await self._first_kept(client, first, last)
                found = await self._window(client, kept_from, last)
                self._next_block, self.known_since_s = (
                    kept_from,
                    await self._known_since_s(client, kept_from, head.number),
                )
            if len(self._deep) + len(found) > MAX_EVENTS:
                raise InvalidAnswer(f"the node tells of more than {MAX_EVENTS} events of one account")
        anchor = await client.block(deep)
        if anchor is None:
            raise InvalidAnswer(f"the node has no block {deep}")
        if self._anchor is None or deep > self._anchor[0]:
            self._anchor = deep, anchor.hash
        self._deep += [one for one in found if one.block_number <= deep]
        self._next_block = max(self._next_block, deep + 1)
        self._deep = [one for one in self._deep if one.time_s > head.time_s - 2 * LOOK_BACK_S]
        shallow = [one for one in found if one.block_number > deep]
        kept = {one.block_number for one in shallow}
        self._times_s = {number: time_s for number, time_s in self._times_s.items() if number in kept}
        return [*self._deep, *shallow]

    async def _is_there(self, client: RpcClient, number: int, block_hash: bytes) -> bool:
        """Also where the node has not got that far: another one is asked meanwhile, and it lags behind."""
        block = await client.block(number)
        return block is None or block.hash == block_hash

    async def _first_block(self, client: RpcClient, head: BlockSummary) -> int:
        first = head.number
        for _ in range(MAX_WINDOWS):
            first = max(0, first - WINDOW_BLOCKS)
            try:
                is_old = await self._time_s(client, first) < head.time_s - LOOK_BACK_S
            except RpcError as error:
                if error.code != PRUNED_HISTORY:
                    raise
                is_old = False
            if first == 0 or is_old:
                break
        return first

    async def _first_kept(self, client: RpcClient, first: int, last: int) -> int:
        """The first block of a window from which on the node tells of the account."""

        async def has_events(number: int) -> None:
            await self._logs(client, number, last)

        return await _first_answered(first, last, has_events)

    async def _known_since_s(self, client: RpcClient, first: int, last: int) -> int:
        """The time of the first block after that whose time the node can tell."""

        async def has_time(number: int) -> None:
            await self._time_s(client, number)

        return await self._time_s(client, await _first_answered(first, last, has_time))

    async def _window(self, client: RpcClient, first: int, last: int) -> list[OwnEvent]:
        logs = await self._logs(client, first, last)
        return [one for log in logs if (one := await self._event(client, log, first, last)) is not None]

    async def _logs(self, client: RpcClient, first: int, last: int) -> list[Log]:
        # Its account is an event's second named value, or its third.
        logs: dict[tuple[int, int], Log] = {}
        for place in (2, 3):
            topics: list[bytes | Sequence[bytes] | None] = [*([None] * place), self._topic]
            for log in await client.logs(list(_CONTRACTS), topics, first, last):
                if len(log.topics) > place and log.topics[place] == self._topic and log.address in _CONTRACTS:
                    logs[log.block_number, log.log_index] = log
        return [logs[key] for key in sorted(logs)]

    async def _event(self, client: RpcClient, log: Log, first: int, last: int) -> OwnEvent | None:
        contract = _CONTRACTS[log.address]
        if not first <= log.block_number <= last:
            raise InvalidAnswer("the node tells of an event of another block than was asked for")
        try:
            decoded = contract.abi.decode_log(log.topics, log.data)
        except InvalidAbi as error:
            raise InvalidAnswer(f"an event of {contract.title} is malformed: {error}") from error
        if decoded is None:
            return None
        time_s = await self._time_s(client, log.block_number)
        return OwnEvent(contract.name, decoded.event, decoded.arguments, time_s, log.block_number)

    async def _time_s(self, client: RpcClient, number: int) -> int:
        known = self._times_s.get(number)
        if known is not None:
            return known
        block = await client.block(number)
        if block is None:
            raise InvalidAnswer(f"the node has no block {number}")
        self._times_s[number] = block.time_s
        return block.time_s


async def _first_answered(first: int, last: int, question: Callable[[int], Awaitable[None]]) -> int:
    """By halving: a node that has not kept a block has not kept those before it."""
    while first < last:
        middle = (first + last) // 2
        try:
            await question(middle)
            last = middle
        except RpcError as error:
            if error.code != PRUNED_HISTORY:
                raise
            first = middle + 1
    return last
