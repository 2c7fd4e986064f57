"""JSON-RPC 2.0 by its specification, and whatever else a stranger may send."""

import json
import logging
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway import dispatcher as dispatcher_module
from gateway.context import Context
from gateway.dispatcher import MAX_BATCH_LENGTH, Dispatcher
from gateway.methods.all import METHODS
from gateway.methods.table import Parameter, Table
from gateway.parameters import quantity
from primitives.errors import UserError
from tests.gateway.conftest import ALICE, Rpc, address_of
from tests.gateway.memory_ledger import CHAIN_ID, MemoryLedger


def request(method: object = "eth_chainId", **members: object) -> dict[str, object]:
    return {"jsonrpc": "2.0", "id": 1, "method": method} | members


async def test_one_request_one_answer(rpc: Rpc) -> None:
    assert await rpc.raw(json.dumps(request(id="a")).encode()) == {"jsonrpc": "2.0", "id": "a", "result": hex(CHAIN_ID)}
    assert (await rpc.raw(json.dumps(request(params=None)).encode()))["result"] == hex(CHAIN_ID)


async def test_a_notification_gets_no_answer(rpc: Rpc) -> None:
    notification = {"jsonrpc": "2.0", "method": "eth_chainId"}
    assert await rpc.raw(json.dumps(notification).encode()) is None
    assert await rpc.raw(json.dumps([notification, notification]).encode()) is None
    assert await rpc.raw(json.dumps({"jsonrpc": "2.0", "method": "no_such"}).encode()) is None


async def test_a_batch_is_answered_entry_by_entry(rpc: Rpc) -> None:
    batch = [request(id=1), 1, request("no_such", id=2), {"jsonrpc": "2.0", "method": "eth_chainId"}, request(id=3)]
    answers = await rpc.raw(json.dumps(batch).encode())
    assert [answer["id"] for answer in answers] == [1, None, 2, 3]
    assert [answer.get("error", {}).get("code") for answer in answers] == [None, -32600, -32601, None]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", -32700),
        (b"{", -32700),
        (b"\xff\xfe", -32700),
        (b'{"jsonrpc":"2.0","id":NaN,"method":"eth_chainId"}', -32700),
        (b'{"jsonrpc":"2.0","id":1e999,"method":"eth_chainId"}', -32700),
        (b"[" * 100_000, -32700),
        (b'{"a":' * 100_000, -32700),
        (b'["[[[[", ' + b"[" * 33, -32700),
        (b"[" + b"9" * 5_000 + b"]", -32700),
        (b"[]", -32600),
        (b"null", -32600),
        (b"1", -32600),
        (b"{}", -32600),
        (b'{"id":1,"method":"eth_chainId"}', -32600),
        (b'{"jsonrpc":"1.0","id":1,"method":"eth_chainId"}', -32600),
        (b'{"jsonrpc":"2.0","id":[],"method":"eth_chainId"}', -32600),
        (b'{"jsonrpc":"2.0","id":true,"method":"eth_chainId"}', -32600),
        (b'{"jsonrpc":"2.0","id":1,"method":5}', -32600),
        (b'{"jsonrpc":"2.0","id":1,"method":"no_such"}', -32601),
        (b'{"jsonrpc":"2.0","id":1,"method":"eth_chainId","params":{}}', -32602),
        (b'{"jsonrpc":"2.0","id":1,"method":"eth_chainId","params":[1]}', -32602),
        (b'{"jsonrpc":"2.0","id":1,"method":"eth_getBalance"}', -32602),
        (b'{"jsonrpc":"2.0","id":1,"method":"eth_getBalance","params":["0x1"]}', -32602),
    ],
)
async def test_wrong_requests_get_the_codes_of_the_specification(rpc: Rpc, body: bytes, code: int) -> None:
    answer = await rpc.raw(body)
    assert answer["error"]["code"] == code
    assert answer["error"]["message"]
    assert "data" not in answer["error"]


async def test_a_batch_is_bounded_in_length_and_answer(rpc: Rpc, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = await rpc.raw(json.dumps([request()] * (MAX_BATCH_LENGTH + 1)).encode())
    assert answer["error"]["code"] == -32600
    monkeypatch.setattr(dispatcher_module, "MAX_RESPONSE_BYTES", 100)
    answers = await rpc.raw(json.dumps([request()] * 4).encode())
    assert [answer.get("error", {}).get("code") for answer in answers] == [None, None, -32003, -32003]
    monkeypatch.setattr(dispatcher_module, "MAX_RESPONSE_BYTES", 10)
    assert (await rpc.ask("eth_chainId"))["error"]["code"] == -32003


async def test_a_slow_batch_is_not_begun_to_the_end(rpc: Rpc, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatcher_module, "BATCH_TIME_LIMIT_S", -1)
    answers = await rpc.raw(json.dumps([request()] * 2).encode())
    assert [answer["error"]["code"] for answer in answers] == [-32002, -32002]


async def test_trouble_of_the_machine_is_a_sentence_in_the_log_and_no_bug(
    ledger: MemoryLedger, caplog: pytest.LogCaptureFixture
) -> None:
    table = Table()

    @table.answer("test_trouble")
    async def trouble(context: Context) -> int:
        raise UserError("the disk that holds /home/me/ledger is full")

    with caplog.at_level(logging.ERROR):
        error = await Rpc(Dispatcher(Context(ledger), table)).error("test_trouble")
    assert error == {"code": -32603, "message": "the node is in trouble; its log says why"}
    assert [record.getMessage() for record in caplog.records] == [
        "test_trouble could not be answered: the disk that holds /home/me/ledger is full"
    ]
    assert caplog.records[0].exc_info is None


async def test_a_bug_is_loud_in_the_log_and_silent_on_the_wire(
    ledger: MemoryLedger, caplog: pytest.LogCaptureFixture
) -> None:
    table = Table()

    @table.answer("test_bug", Parameter("number", quantity))
    async def bug(context: Context, number: int) -> int:
        return 1 // number

    rpc = Rpc(Dispatcher(Context(ledger), table))
    assert await rpc("test_bug", "0x1") == 1
    with caplog.at_level(logging.ERROR):
        assert await rpc.error("test_bug", "0x0") == {"code": -32603, "message": "internal error"}
    assert "ZeroDivisionError" in caplog.text


MEMBERS = ["from", "to", "data", "input", "gas", "value", "gasPrice", "maxFeePerGas", "accessList", "address", "topics"]
MEMBERS += ["fromBlock", "toBlock", "blockHash", "blockNumber", "storageKeys", "balance", "code", "state", "stateDiff"]
MEMBERS += ["tracer", "0x" + "11" * 20]
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**270)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | st.sampled_from(
        ["latest", "pending", "0x", "0x0", "0x1", "-0x1", "0x" + "ff" * 32, "0x" + "00" * 20, ALICE.address, "0xzz"]
    )
    | st.binary(max_size=40).map(lambda data: "0x" + data.hex()),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(MEMBERS),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=600, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(method=st.sampled_from([method.name for method in METHODS]), parameters=st.lists(JSON, max_size=4))
async def test_no_parameters_find_a_bug(caplog: pytest.LogCaptureFixture, method: str, parameters: list[Any]) -> None:
    rpc = Rpc(Dispatcher(Context(_shared_ledger())))
    answer = await rpc.ask(method, *parameters)
    assert ("result" in answer) != ("error" in answer)
    assert answer.get("error", {}).get("code") != -32603, (answer, caplog.text)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=st.binary(max_size=60) | JSON.map(lambda value: json.dumps(value).encode()))
async def test_no_body_finds_a_bug(rpc: Rpc, body: bytes) -> None:
    answer = await rpc.raw(body)
    answers = answer if isinstance(answer, list) else [answer]
    assert all(entry["error"]["code"] in (-32700, -32600) for entry in answers)


def _shared_ledger() -> MemoryLedger:
    """A few blocks to ask about; nothing a request does changes them."""
    if not _LEDGERS:
        ledger = MemoryLedger({address_of(ALICE): 10**18})
        ledger.mine(3)
        _LEDGERS.append(ledger)
    return _LEDGERS[0]


_LEDGERS: list[MemoryLedger] = []
