"""A JSON-RPC client for a node: what wallets, meters and scripts ask, with typed answers.

Asynchronous; a command runs it with asyncio.run. The node is not trusted: answers are bounded in size and time and
checked before use, and no key ever comes here. Follows JSON-RPC 2.0 and ethereum/execution-apis.
"""

import errno
import itertools
import json
import logging
import os
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self, TypeVar

import aiohttp

from primitives.clock import Clock, SystemClock
from primitives.errors import Invalid, InvalidHex, UserError
from primitives.hexadecimal import parse_data, parse_quantity, to_data, to_quantity
from primitives.json_text import InvalidJson, parse_json
from wallet.answers import BlockSummary, Log, Receipt
from wallet.ledger_identity import LedgerIdentity, WrongLedger

# A query for logs of many blocks is the largest honest answer; a hostile one must not fill the memory.
MAX_RESPONSE_BYTES = 16 * 2**20
# At most 10,000 logs are honest, of some 20 items each; parsed, an item takes up to 30 times the bytes it has as text.
MAX_RESPONSE_ITEMS = 400_000
# A Pi under load answers a heavy eth_call within a few seconds.
REQUEST_TIMEOUT_S = 30.0
# As many as any program here needs at a time; a node takes some hundreds, of all who ask.
MAX_CONNECTIONS = 100
# Blocks come every few seconds; asking more often only costs the node.
POLL_INTERVAL_S = 0.5

_Parsed = TypeVar("_Parsed")

_log = logging.getLogger(__name__)

BlockTag = int | str
"""A block number, or "latest", "pending", "earliest", "safe" or "finalized"."""


class RpcError(UserError):
    """The node answered with an error: its code, message and data (of a revert: the bytes, as 0x text)."""

    def __init__(self, method: str, code: int, message: str, data: object = None) -> None:
        super().__init__(f"The node refused {method}: {message} (code {code}).")
        self.method = method
        self.code = code
        self.message = message
        self.data = data


class NodeUnreachable(UserError):
    """No answer from the node: it does not run, runs elsewhere, or is too slow."""


class InvalidAnswer(Invalid):
    """The node's answer is not what the method promises."""


class TransactionPending(UserError):
    """A transaction was not in a block in time; it may still come."""


class RpcClient:
    """One node's RPC. Use as `async with RpcClient(url) as client`. Raises RpcError, NodeUnreachable, InvalidAnswer."""

    def __init__(
        self,
        url: str,
        timeout_s: float = REQUEST_TIMEOUT_S,
        clock: Clock | None = None,
        spare_urls: Sequence[str] = (),
        connections: int = MAX_CONNECTIONS,
        ledger: LedgerIdentity | None = None,
    ) -> None:
        """`spare_urls` are of other nodes of the same ledger: while one does not answer the next is asked. Whatever is
        asked can be asked twice: a signed transaction is the same one at every node. What is asked while all of its
        `connections` are busy waits. Each node shows that it is on the `ledger` before it is asked for anything else;
        one on another is not used, and where all of them are, WrongLedger is raised."""
        self._urls = (url, *spare_urls)
        for one in self._urls:
            if not one.startswith(("http://", "https://")):
                raise UserError(f"The node's address must begin with http:// or https://, it is {one[:200]!r}.")
        self.url = url
        """Of the node that is asked at present."""
        self._timeout_s = timeout_s
        self._clock = clock or SystemClock()
        self._connections = connections
        self._ids = itertools.count(1)
        self._away: set[str] = set()
        """Addresses that did not answer when they were asked last; told once."""
        self._ledger = ledger
        self._identified: set[str] = set()
        self._wrong: dict[str, WrongLedger] = {}
        """Addresses of nodes on another ledger."""
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        # Uncompressed, so that the size that is counted is the size that is read.
        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=self._timeout_s),
            headers={"Accept-Encoding": "identity", "Content-Type": "application/json"},
            auto_decompress=False,
            connector=aiohttp.TCPConnector(limit=self._connections),
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def request(self, method: str, *parameters: object) -> object:
        """The result of any method."""
        request_id = next(self._ids)
        return _result(method, request_id, await self._post(_body(request_id, method, parameters)))

    def ask_another(self) -> None:
        """Begin with the next node from now on: what this one says is not believed."""
        self.url = self._in_turn()[1 % len(self._urls)]

    async def chain_id(self) -> int:
        return await self._quantity("eth_chainId")

    async def block_number(self) -> int:
        """The newest block's number."""
        return await self._quantity("eth_blockNumber")

    async def block(self, block: BlockTag = "latest") -> BlockSummary | None:
        answer = await self.request("eth_getBlockByNumber", _tag(block), False)
        return None if answer is None else _checked("eth_getBlockByNumber", BlockSummary.from_json, answer)

    async def balance(self, address: bytes, block: BlockTag = "latest") -> int:
        """Wei."""
        return await self._quantity("eth_getBalance", to_data(address), _tag(block))

    async def nonce(self, address: bytes, block: BlockTag = "pending") -> int:
        """The nonce of the account's next transaction, those that wait in the node's pool counted."""
        return await self._quantity("eth_getTransactionCount", to_data(address), _tag(block))

    async def code(self, address: bytes, block: BlockTag = "latest") -> bytes:
        return await self._data("eth_getCode", to_data(address), _tag(block))

    async def gas_price(self) -> int:
        """Wei per gas that the node suggests for a legacy transaction; 0 in a network without fees."""
        return await self._quantity("eth_gasPrice")

    async def max_priority_fee(self) -> int:
        """Wei per gas that the node suggests on top of the base fee."""
        return await self._quantity("eth_maxPriorityFeePerGas")

    async def estimate_gas(self, sender: bytes, to: bytes | None, value: int = 0, data: bytes = b"") -> int:
        return await self._quantity("eth_estimateGas", _call_object(sender, to, value, data))

    async def call(
        self, to: bytes, data: bytes, block: BlockTag = "latest", sender: bytes | None = None, value: int = 0
    ) -> bytes:
        """What a contract returns, without a transaction. A revert is an RpcError with code 3."""
        return await self._data("eth_call", _call_object(sender, to, value, data), _tag(block))

    async def logs(
        self,
        addresses: Sequence[bytes] = (),
        topics: Sequence[bytes | Sequence[bytes] | None] = (),
        from_block: BlockTag = "latest",
        to_block: BlockTag = "latest",
    ) -> list[Log]:
        """Logs of these contracts (or of all) whose topics match place by place: one, one of several, any (None)."""
        query: dict[str, object] = {"fromBlock": _tag(from_block), "toBlock": _tag(to_block)}
        if addresses:
            query["address"] = [to_data(address) for address in addresses]
        if topics:
            query["topics"] = [
                topic if topic is None else to_data(topic) if isinstance(topic, bytes) else [to_data(t) for t in topic]
                for topic in topics
            ]
        answer = await self.request("eth_getLogs", query)
        if not isinstance(answer, list):
            raise InvalidAnswer("the node's answer to eth_getLogs is no list")
        return [_checked("eth_getLogs", Log.from_json, entry) for entry in answer]

    async def send_raw(self, encoded_transaction: bytes) -> bytes:
        """Hand in a signed transaction; its hash."""
        return await self._data("eth_sendRawTransaction", to_data(encoded_transaction))

    async def receipt(self, transaction_hash: bytes) -> Receipt | None:
        """The receipt of a transaction, or None while it is in no block."""
        answer = await self.request("eth_getTransactionReceipt", to_data(transaction_hash))
        return None if answer is None else _checked("eth_getTransactionReceipt", Receipt.from_json, answer)

    async def transaction_data(self, transaction_hash: bytes) -> bytes | None:
        """What a transaction says to whom it is addressed; None where the node does not know it."""
        method = "eth_getTransactionByHash"
        answer = await self.request(method, to_data(transaction_hash))
        if answer is None:
            return None
        return _checked(method, parse_data, answer.get("input") if isinstance(answer, dict) else None)

    async def wait_for_receipt(
        self, transaction_hash: bytes, timeout_s: float = 120.0, confirmations: int = 1
    ) -> Receipt:
        """The receipt, once the transaction's block is the last of `confirmations` blocks or more.

        Raises TransactionPending where that takes longer than timeout_s.
        """
        deadline_s = self._clock.precise_time_s() + timeout_s
        while True:
            receipt = await self.receipt(transaction_hash)
            if receipt is not None and (
                confirmations <= 1 or await self.block_number() - receipt.block_number + 1 >= confirmations
            ):
                return receipt
            if self._clock.precise_time_s() >= deadline_s:
                raise TransactionPending(
                    f"The transaction {to_data(transaction_hash)} is not in a block after {timeout_s:g} seconds. "
                    "It may still come; do not send it again before you have looked."
                )
            await self._clock.sleep_s(POLL_INTERVAL_S)

    async def _quantity(self, method: str, *parameters: object) -> int:
        return _checked(method, parse_quantity, await self.request(method, *parameters))

    async def _data(self, method: str, *parameters: object) -> bytes:
        return _checked(method, parse_data, await self.request(method, *parameters))

    def _in_turn(self) -> tuple[str, ...]:
        begin = self._urls.index(self.url)
        return (*self._urls[begin:], *self._urls[:begin])

    async def _post(self, body: str) -> bytes:
        """The first answer of any node, beginning with the one that answered last."""
        refusal: Exception | None = None
        usable = [url for url in self._in_turn() if url not in self._wrong]
        for url in usable:
            self.url = url
            try:
                await self._identify(url)
                answer = await self._post_to(url, body)
            except WrongLedger as error:
                self._leave_out(url, error)
            except (NodeUnreachable, _Unidentified) as error:
                refusal = error.cause if isinstance(error, _Unidentified) else error
                if url != usable[-1]:
                    level = logging.DEBUG if url in self._away else logging.WARNING
                    _log.log(level, "%s The next node is asked.", refusal)
                self._away.add(url)
            else:
                self._away.discard(url)
                return answer
        if refusal is None:
            refusal = self._wrong[self.url]
        raise refusal

    async def _identify(self, url: str) -> None:
        """Once for each node. Raises WrongLedger, NodeUnreachable, _Unidentified."""
        if self._ledger is None or url in self._identified:
            return

        async def ask(method: str, *parameters: object) -> object:
            request_id = next(self._ids)
            return _result(method, request_id, await self._post_to(url, _body(request_id, method, parameters)))

        try:
            await self._ledger.check(ask)
        except InvalidHex as error:
            raise _Unidentified(
                InvalidAnswer(f"{place_of(url)} does not show which ledger it is on: {error}")
            ) from error
        except (RpcError, InvalidAnswer) as error:
            raise _Unidentified(error) from error
        self._identified.add(url)

    def _leave_out(self, url: str, error: WrongLedger) -> None:
        """For as long as this program runs."""
        self._wrong[url] = WrongLedger(f"{place_of(url)}: {error}")
        if len(self._urls) > 1:
            _log.error("A node is not used: %s", self._wrong[url])

    async def _post_to(self, url: str, body: str) -> bytes:
        if self._session is None:
            raise RuntimeError("use RpcClient within `async with`")
        try:
            async with self._session.post(url, data=body, allow_redirects=False) as response:
                content = bytearray()
                async for chunk in response.content.iter_chunked(2**16):
                    content += chunk
                    if len(content) > MAX_RESPONSE_BYTES:
                        raise InvalidAnswer(f"the node's answer is longer than {MAX_RESPONSE_BYTES} bytes")
                if not content or (response.status != 200 and content[:1] != b"{"):
                    raise InvalidAnswer(
                        f"{place_of(url)} answered with HTTP status {response.status}: is it a node's RPC?"
                    )
                return bytes(content)
        except TimeoutError as error:
            raise NodeUnreachable(
                f"The node at {place_of(url)} did not answer within {self._timeout_s:g} seconds."
            ) from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise NodeUnreachable(
                f"No node answers at {place_of(url)} ({_reason(error)}). Is it running, and is this its address? "
                "Name another with --node or WATTCHAIN_NODE, a meter's or agent's with ledger.node in its settings."
            ) from error


def _reason(error: Exception) -> str:
    """In the system's words, without those of the library that passes them on."""
    text = (isinstance(error, OSError) and error.strerror) or str(error) or type(error).__name__
    if "Connect call failed" not in text:
        return text
    number = error.errno if isinstance(error, OSError) and error.errno else errno.ECONNREFUSED
    return os.strerror(number)


class _Unidentified(Exception):
    """The node refuses to show its ledger, or its answers make no sense."""

    def __init__(self, cause: RpcError | InvalidAnswer) -> None:
        super().__init__(str(cause))
        self.cause = cause


def _body(request_id: int, method: str, parameters: Sequence[object]) -> str:
    return json.dumps({"jsonrpc": "2.0", "id": request_id, "method": method, "params": list(parameters)})


def _result(method: str, request_id: int, content: bytes) -> object:
    if sum(content.count(mark) for mark in b"[{,") > MAX_RESPONSE_ITEMS:
        raise InvalidAnswer(f"the node's answer to {method} has more than {MAX_RESPONSE_ITEMS} items")
    try:
        answer = parse_json(content)
    except InvalidJson as cause:
        raise InvalidAnswer(f"the node's answer to {method} is no JSON") from cause
    if not isinstance(answer, dict):
        raise InvalidAnswer(f"the node's answer to {method} is no object")
    error = answer.get("error")
    if isinstance(error, dict):
        code, message = error.get("code"), error.get("message")
        raise RpcError(method, code if isinstance(code, int) else 0, _one_line(message), error.get("data"))
    if answer.get("id") != request_id or "result" not in answer:
        raise InvalidAnswer(f"the node's answer to {method} has no result, or belongs to another question")
    return answer["result"]


def place_of(url: str) -> str:
    """An address without what may be secret in it: name and password, and the path, where services have their keys."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.partition('/')[0].partition('?')[0].rpartition('@')[2]}"


def _one_line(message: object) -> str:
    """A stranger's words for a log or a terminal: nothing that looks like a line of its own, or moves a cursor."""
    words = " ".join(str(message)[:1000].split())
    return "".join([character if character.isprintable() else "?" for character in words])


def _checked(method: str, parse: Callable[[object], _Parsed], value: object) -> _Parsed:
    try:
        return parse(value)
    except InvalidHex as error:
        raise InvalidAnswer(f"the node's answer to {method} is malformed: {error}") from error


def _tag(block: BlockTag) -> str:
    return to_quantity(block) if isinstance(block, int) else block


def _call_object(sender: bytes | None, to: bytes | None, value: int, data: bytes) -> dict[str, str]:
    call = {"value": to_quantity(value), "data": to_data(data)}
    if sender is not None:
        call["from"] = to_data(sender)
    if to is not None:
        call["to"] = to_data(to)
    return call
