"""Reads from a node all events of the two markets in which one account is named: asked for by the account, so that
others' adverts and orders, however many, cost nothing.

What is deep enough is remembered; the last blocks are asked for again each time, a reorganisation may change them.
"""

from collections.abc import Sequence

from contracts.addresses import AUCTION_ADDRESS, MARKET_ADDRESS
from meter.agent.dealings import OwnEvent
from primitives.errors import InvalidAbi
from wallet.answers import BlockSummary, Log
from wallet.auction import AUCTION
from wallet.client import InvalidAnswer, RpcClient
from wallet.contract_call import Contract
from wallet.market import MARKET

LOOK_BACK_S = 14 * 86_400
"""A trade is delivered within a week and settled within three days more; what is older is for its owner to settle."""
WINDOW_BLOCKS = 10_000
"""What a node looks through at once."""
MAX_WINDOWS = 200
"""Two million blocks: two weeks of blocks of a second fit."""
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

    async def read(self, client: RpcClient, head: BlockSummary) -> list[OwnEvent]:
        """All up to a block, in the order of the chain. Raises UserError, InvalidAnswer."""
        if self._anchor is not None and not await self._is_there(client, *self._anchor):
            self._deep, self._next_block, self._anchor = [], None, None
            self._times_s.clear()
        if self._next_block is None:
            self._next_block = await self._first_block(client, head)
        found: list[OwnEvent] = []
        deep = max(0, head.number - self._confirmations)
        for first in range(self._next_block, head.number + 1, WINDOW_BLOCKS):
            found += await self._window(client, first, min(first + WINDOW_BLOCKS - 1, head.number))
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
            block = await client.block(first)
            if block is None:
                raise InvalidAnswer(f"the node has no block {first}")
            if first == 0 or block.time_s < head.time_s - LOOK_BACK_S:
                break
        return first

    async def _window(self, client: RpcClient, first: int, last: int) -> list[OwnEvent]:
        # Its account is an event's second named value, or its third.
        logs: dict[tuple[int, int], Log] = {}
        for place in (2, 3):
            topics: list[bytes | Sequence[bytes] | None] = [*([None] * place), self._topic]
            for log in await client.logs(list(_CONTRACTS), topics, first, last):
                if len(log.topics) > place and log.topics[place] == self._topic and log.address in _CONTRACTS:
                    logs[log.block_number, log.log_index] = log
        return [one for key in sorted(logs) if (one := await self._event(client, logs[key], first, last)) is not None]

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
        time_s = await self._time_s(client, log)
        return OwnEvent(contract.name, decoded.event, decoded.arguments, time_s, log.block_number)

    async def _time_s(self, client: RpcClient, log: Log) -> int:
        known = self._times_s.get(log.block_number)
        if known is not None:
            return known
        block = await client.block(log.block_number)
        if block is None:
            raise InvalidAnswer(f"the node has no block {log.block_number}")
        self._times_s[log.block_number] = block.time_s
        return block.time_s
