"""The JSON-RPC client: typed answers, and every way in which a node can fail to give them."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager

import pytest

from chain.transaction import DYNAMIC_FEE, LEGACY, Transaction
from primitives.clock import ManualClock
from primitives.errors import UserError
from primitives.secp256k1 import address_of
from tests.wallet.toy_node import BLOCK_HASH, CHAIN_ID, ToyNode, log_json, serve
from wallet import client as client_module
from wallet.client import MAX_RESPONSE_ITEMS, InvalidAnswer, NodeUnreachable, RpcClient, RpcError, TransactionPending
from wallet.transfer import build_transaction, build_transfer, highest_cost, sign_and_send, suggest_fees

KEY = b"\x11" * 32
SENDER = address_of(KEY)
OTHER = b"\x22" * 20
WATT = 10**18
UNREACHABLE = "http://127.0.0.1:1"


@pytest.fixture
def node() -> Iterator[ToyNode]:
    with serve(ToyNode(balances={SENDER: 5 * WATT})) as running:
        yield running


async def test_answers_are_values(node: ToyNode) -> None:
    async with RpcClient(node.url) as client:
        assert await client.chain_id() == CHAIN_ID
        assert await client.block_number() == 8
        assert await client.balance(SENDER) == 5 * WATT
        assert await client.nonce(SENDER) == 0
        block = await client.block(3)
        assert block is not None
        assert (block.number, block.hash, block.base_fee) == (8, bytes.fromhex(BLOCK_HASH[2:]), None)
        assert await client.receipt(bytes(32)) is None
    assert node.requests[2]["params"] == ["0x" + SENDER.hex(), "latest"]
    assert node.requests[4]["params"] == ["0x3", False]


async def test_logs_are_asked_with_their_topics(node: ToyNode) -> None:
    node.answer = lambda request: (200, json.dumps({"id": request["id"], "result": [log_json()]}).encode())
    async with RpcClient(node.url) as client:
        logs = await client.logs([OTHER], [b"\x01" * 32, None, [b"\x02" * 32, b"\x03" * 32]], 5, "latest")
    assert node.requests[0]["params"] == [
        {
            "fromBlock": "0x5",
            "toBlock": "latest",
            "address": ["0x" + "22" * 20],
            "topics": ["0x" + "01" * 32, None, ["0x" + "02" * 32, "0x" + "03" * 32]],
        }
    ]
    assert [(log.address, log.topics, log.data, log.removed) for log in logs] == [
        (b"\x11" * 20, (b"\x22" * 32,), b"\x01\x02", False)
    ]


async def test_an_error_of_the_node_keeps_its_code_message_and_data(node: ToyNode) -> None:
    error = {"code": 3, "message": "execution reverted: no", "data": "0x08c379a0"}
    node.answer = lambda request: (200, json.dumps({"id": request["id"], "error": error}).encode())
    async with RpcClient(node.url) as client:
        with pytest.raises(RpcError, match=r"refused eth_call: execution reverted: no \(code 3\)") as caught:
            await client.call(OTHER, b"\x01")
    assert (caught.value.code, caught.value.message, caught.value.data) == (3, error["message"], error["data"])
    assert isinstance(caught.value, UserError)


@pytest.mark.parametrize(
    "answer",
    [
        (200, b""),
        (200, b"hello"),
        (200, b"[" * 100_000),
        (200, b"[]"),
        (200, b"\xff\xfe{}"),
        (200, b"{}"),
        (200, b'{"id": 77, "result": "0x1"}'),
        (200, b'{"id": 1, "error": "no"}'),
        (200, b'{"id": 1, "result": 5}'),
        (200, b'{"id": 1, "result": null}'),
        (200, b'{"id": 1, "result": "0x01"}'),
        (200, b'{"id": 1, "result": "0x1' + b"0" * 64 + b'"}'),
        (404, b"<html>not found</html>"),
        (500, b"{}"),
        (302, b""),
    ],
)
async def test_other_answers_are_refused(node: ToyNode, answer: tuple[int, bytes]) -> None:
    node.answer = lambda _: answer
    async with RpcClient(node.url) as client:
        with pytest.raises(InvalidAnswer):
            await client.block_number()


@pytest.mark.parametrize(
    "ask",
    [
        lambda client: client.logs(),
        lambda client: client.receipt(bytes(32)),
        lambda client: client.block(),
        lambda client: client.call(OTHER, b""),
        lambda client: client.send_raw(b""),
    ],
)
@pytest.mark.parametrize("result", [5, "0x0", {}, {"number": "0x1"}, [[]], [{"address": "0x"}]])
async def test_malformed_results_are_refused(
    node: ToyNode, ask: Callable[[RpcClient], Awaitable[object]], result: object
) -> None:
    node.answer = lambda request: (200, json.dumps({"id": request["id"], "result": result}).encode())
    async with RpcClient(node.url) as client:
        with pytest.raises(InvalidAnswer):
            await ask(client)


@pytest.mark.parametrize("bomb", [b"[],", b'{"a":1},', b"1,", b"[" * 60 + b"]" * 60 + b","])
async def test_an_answer_that_would_fill_the_memory_is_not_parsed(node: ToyNode, bomb: bytes) -> None:
    count = MAX_RESPONSE_ITEMS // sum(bomb.count(mark) for mark in b"[{,") + 1
    node.answer = lambda _: (200, b'{"id": 1, "result": [' + bomb * count + b"1]}")
    async with RpcClient(node.url) as client:
        with pytest.raises(InvalidAnswer, match="more than 400000 items"):
            await client.block_number()


async def test_an_endless_answer_is_cut_off(node: ToyNode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "MAX_RESPONSE_BYTES", 100_000)
    node.answer = lambda _: (200, b" " * 1_000_000)
    async with RpcClient(node.url) as client:
        with pytest.raises(InvalidAnswer, match="longer than 100000 bytes"):
            await client.block_number()


async def test_a_node_that_is_not_there_is_said_plainly(node: ToyNode) -> None:
    async with RpcClient(UNREACHABLE) as client:
        with pytest.raises(NodeUnreachable, match=r"at http://127\.0\.0\.1:1 \(Connection refused\)\. .*--node"):
            await client.block_number()


async def test_while_a_node_is_away_the_next_is_asked(node: ToyNode, caplog: pytest.LogCaptureFixture) -> None:
    async with (
        broken_node(answers_never=False) as broken,
        RpcClient(broken, spare_urls=[UNREACHABLE, node.url]) as client,
    ):
        assert await client.chain_id() == CHAIN_ID
        assert client.url == node.url
        assert len(caplog.messages) == 2
        assert await client.chain_id() == CHAIN_ID
        assert len(caplog.messages) == 2  # it goes on with the node that answered


async def test_nodes_that_stay_away_are_told_once(caplog: pytest.LogCaptureFixture) -> None:
    async with RpcClient(UNREACHABLE, spare_urls=["http://127.0.0.1:2", "http://127.0.0.1:3"]) as client:
        for _ in range(10):
            with pytest.raises(NodeUnreachable):
                await client.chain_id()
    assert len(caplog.messages) <= 3


async def test_what_an_address_keeps_secret_is_not_told(caplog: pytest.LogCaptureFixture) -> None:
    secret = "http://me:secret@127.0.0.1:1/v3/secret?key=secret"
    async with RpcClient(secret, spare_urls=[secret + "2"]) as client:
        with pytest.raises(NodeUnreachable, match=r"No node answers at http://127\.0\.0\.1:1 ") as caught:
            await client.chain_id()
    assert "secret" not in str(caught.value) + caplog.text


async def test_the_words_of_a_node_stay_in_their_line(node: ToyNode) -> None:
    error = {"code": 3, "message": "no\r\nERROR all is paid\x1b[2J\x07"}
    node.answer = lambda request: (200, json.dumps({"id": request["id"], "error": error}).encode())
    async with RpcClient(node.url) as client:
        with pytest.raises(RpcError) as caught:
            await client.block_number()
    assert caught.value.message == "no ERROR all is paid?[2J?"


async def test_where_no_node_answers_the_last_is_named() -> None:
    async with RpcClient(UNREACHABLE, spare_urls=[UNREACHABLE]) as client:
        with pytest.raises(NodeUnreachable, match="No node answers"):
            await client.chain_id()


async def test_a_node_that_hangs_up_is_said_plainly() -> None:
    async with broken_node(answers_never=False) as url, RpcClient(url) as client:
        with pytest.raises(NodeUnreachable):
            await client.block_number()


async def test_a_node_that_never_answers_is_given_up() -> None:
    async with broken_node(answers_never=True) as url, RpcClient(url, timeout_s=0.1) as client:
        with pytest.raises(NodeUnreachable, match=r"did not answer within 0\.1 seconds"):
            await client.block_number()


@asynccontextmanager
async def broken_node(answers_never: bool) -> AsyncIterator[str]:
    """A server that takes one connection and hangs up, or never answers; its address."""
    done = asyncio.Event()

    async def serve_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if answers_never:
            await reader.read()
        writer.close()
        await writer.wait_closed()
        done.set()

    async with await asyncio.start_server(serve_one, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        await done.wait()


@pytest.mark.parametrize("url", ["localhost:8545", "ftp://host", "", "file:///etc/passwd"])
def test_other_schemes_are_refused(url: str) -> None:
    with pytest.raises(UserError, match="must begin with http"):
        RpcClient(url)


async def test_a_client_that_is_not_open_is_a_bug() -> None:
    with pytest.raises(RuntimeError, match="async with"):
        await RpcClient(UNREACHABLE).block_number()


async def sent(node: ToyNode, client: RpcClient, value: int = WATT) -> bytes:
    return await sign_and_send(client, await build_transfer(client, SENDER, OTHER, value), KEY)


async def test_a_transfer_without_fees_is_a_legacy_transaction_of_this_chain(node: ToyNode) -> None:
    async with RpcClient(node.url) as client:
        receipt = await client.wait_for_receipt(await sent(node, client))
    (transaction,) = node.transactions
    assert (transaction.type, transaction.chain_id, transaction.nonce) == (LEGACY, CHAIN_ID, 0)
    assert (transaction.sender, transaction.to, transaction.value) == (SENDER, OTHER, WATT)
    assert (transaction.max_fee_per_gas, transaction.gas_limit) == (0, 21_000)
    assert receipt.succeeded
    assert receipt.transaction_hash == transaction.hash
    assert node.balances == {SENDER: 4 * WATT, OTHER: WATT}


async def test_where_there_is_a_base_fee_the_transaction_has_eip_1559_fees(node: ToyNode) -> None:
    node.base_fee = 1000
    async with RpcClient(node.url) as client:
        fees = await suggest_fees(client)
        assert (fees.transaction_type, fees.max_priority_fee_per_gas, fees.max_fee_per_gas) == (DYNAMIC_FEE, 2, 2002)
        transaction = await build_transaction(client, SENDER, OTHER, 5, b"\x01", nonce=9, gas_limit=50_000)
    assert (transaction.nonce, transaction.gas_limit, transaction.data) == (9, 50_000, b"\x01")
    assert highest_cost(transaction) == 5 + 50_000 * 2002


async def test_what_the_account_cannot_pay_is_refused_before_it_is_signed(node: ToyNode) -> None:
    node.gas_price = 10**9
    async with RpcClient(node.url) as client:
        with pytest.raises(UserError, match=r"has 5 WATT, less than 6 WATT"):
            await build_transfer(client, SENDER, OTHER, 6 * WATT)
        with pytest.raises(UserError, match=r"has 5 WATT; with the fee of up to 0\.000021 WATT"):
            await build_transfer(client, SENDER, OTHER, 5 * WATT)
    assert node.transactions == []


async def test_a_node_that_answers_with_another_hash_is_not_believed(node: ToyNode) -> None:
    transaction = Transaction(LEGACY, CHAIN_ID, 0, 0, 0, 21_000, OTHER, 1, b"")
    node.answer = lambda request: (200, json.dumps({"id": request["id"], "result": "0x" + "77" * 32}).encode())
    async with RpcClient(node.url) as client:
        with pytest.raises(UserError, match="answered with the hash"):
            await sign_and_send(client, transaction, KEY)


class ImpatientClock(ManualClock):
    """Every sleep is over at once, and the time has passed."""

    async def sleep_s(self, duration_s: float) -> None:
        self.advance_s(duration_s)


async def test_waiting_for_a_receipt_ends_in_time(node: ToyNode) -> None:
    node.mines = False
    clock = ImpatientClock(100)
    async with RpcClient(node.url, clock=clock) as client:
        transaction_hash = await sent(node, client)
        with pytest.raises(TransactionPending, match="not in a block after 3 seconds"):
            await client.wait_for_receipt(transaction_hash, timeout_s=3)
    assert clock.now_s == 103


async def test_waiting_for_confirmations_lasts_until_the_block_is_that_deep(node: ToyNode) -> None:
    async with RpcClient(node.url, clock=ImpatientClock()) as client:
        transaction_hash = await sent(node, client)
        mined_in = node.head
        receipt_json = node.result("eth_getTransactionReceipt", ["0x" + transaction_hash.hex()])
        node.fixed_results["eth_getTransactionReceipt"] = receipt_json
        receipt = await client.wait_for_receipt(transaction_hash, timeout_s=60, confirmations=4)
    assert receipt.block_number == mined_in
    # The toy's head rises with every question; the wait ended at the first that was deep enough.
    assert node.head == mined_in + 3
