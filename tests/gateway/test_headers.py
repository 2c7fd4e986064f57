"""wattchain_getHeaders: canonical headers and their certificates, bounded."""

import json

from chain.header import decode_header
from gateway.dispatcher import MAX_RESPONSE_BYTES
from gateway.errors import INVALID_PARAMETERS, LIMIT_EXCEEDED
from gateway.methods.headers import MAX_HEADERS
from primitives.hexadecimal import parse_data
from tests.gateway.conftest import Rpc
from tests.gateway.memory_ledger import MemoryLedger


async def test_headers_come_in_order_with_their_certificates(ledger: MemoryLedger, rpc: Rpc) -> None:
    ledger.mine(5)
    answer = await rpc("wattchain_getHeaders", "0x0", "0xc0")
    headers = [decode_header(parse_data(entry["header"])) for entry in answer]
    assert headers == list(ledger.view.headers(0, 5))
    assert answer[0]["certificate"] == "0x"
    assert [parse_data(entry["certificate"]) for entry in answer] == [
        ledger.view.certificate(header.hash) for header in headers
    ]


async def test_an_answer_ends_where_the_chain_does(ledger: MemoryLedger, rpc: Rpc) -> None:
    ledger.mine(3)
    for first, count, numbers in ((1, 2, [1, 2]), (2, 9, [2, 3]), (3, 1, [3]), (4, 1, []), (2**64 - 1, 192, [])):
        answer = await rpc("wattchain_getHeaders", hex(first), count)
        assert [decode_header(parse_data(entry["header"])).number for entry in answer] == numbers


async def test_as_many_are_given_as_were_said_and_no_more(ledger: MemoryLedger, rpc: Rpc) -> None:
    assert len(await rpc("wattchain_getHeaders", "0x0", MAX_HEADERS)) == 1
    error = await rpc.error("wattchain_getHeaders", "0x0", MAX_HEADERS + 1)
    assert (error["code"], "at most 192" in error["message"]) == (LIMIT_EXCEEDED, True)
    for parameters in (["0x0"], ["0x0", 0], ["latest", 1], ["0x0", "many"], [0, -1]):
        assert (await rpc.error("wattchain_getHeaders", *parameters))["code"] == INVALID_PARAMETERS


async def test_the_largest_certificates_fit_an_answer() -> None:
    entry = {"header": "0x" + "00" * 700, "certificate": "0x" + "00" * 8_600}
    assert len(json.dumps([entry] * MAX_HEADERS)) < MAX_RESPONSE_BYTES / 2
