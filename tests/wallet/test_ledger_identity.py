"""Each node shows which ledger it is on before it is used: one on another is left out, and where all are nothing is."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.wallet.toy_node import BLOCK_HASH, CHAIN_ID, ToyNode, serve
from wallet.client import InvalidAnswer, NodeUnreachable, RpcClient, RpcError
from wallet.ledger_identity import LedgerIdentity, WrongLedger

GENESIS_HASH = bytes.fromhex(BLOCK_HASH[2:])
UNREACHABLE = "http://127.0.0.1:1"
OTHER_CHAIN = {"eth_chainId": "0x5"}
OTHER_BLOCK = {
    "number": "0x0",
    "hash": "0x" + "cd" * 32,
    "parentHash": BLOCK_HASH,
    "timestamp": "0x1",
    "gasLimit": "0x1c9c380",
}


@pytest.fixture
def nodes() -> Iterator[list[ToyNode]]:
    with ExitStack() as stack:
        yield [stack.enter_context(serve(ToyNode())) for _ in range(2)]


def methods_of(node: ToyNode) -> list[str]:
    return [request["method"] for request in node.requests]


async def test_it_is_asked_once_and_before_all_else(nodes: list[ToyNode]) -> None:
    identity = LedgerIdentity(CHAIN_ID)
    async with RpcClient(nodes[0].url, ledger=identity) as client:
        await client.block_number()
        await client.block_number()
    assert methods_of(nodes[0]) == ["eth_chainId", "eth_getBlockByNumber", "eth_blockNumber", "eth_blockNumber"]
    assert identity.genesis_hash == GENESIS_HASH


@pytest.mark.parametrize(
    ("wrong", "identity", "why"),
    [
        (OTHER_CHAIN, LedgerIdentity(CHAIN_ID), "is on chain 5, but the settings say chain 4711"),
        ({}, LedgerIdentity(CHAIN_ID, b"\x01" * 32), "begins with block 0xabab"),
    ],
)
async def test_the_only_node_on_another_ledger_is_asked_for_nothing_and_given_nothing(
    nodes: list[ToyNode], wrong: dict[str, object], identity: LedgerIdentity, why: str
) -> None:
    nodes[0].fixed_results.update(wrong)
    async with RpcClient(nodes[0].url, ledger=identity) as client:
        for _ in range(2):
            with pytest.raises(WrongLedger, match=why):
                await client.send_raw(b"\x01")
    assert set(methods_of(nodes[0])) <= {"eth_chainId", "eth_getBlockByNumber"}


@pytest.mark.parametrize("wrong", [OTHER_CHAIN, {"eth_getBlockByNumber": OTHER_BLOCK}])
async def test_a_spare_node_on_another_ledger_is_left_out_and_told_once(
    nodes: list[ToyNode], wrong: dict[str, object], caplog: pytest.LogCaptureFixture
) -> None:
    bad, good = nodes
    bad.fixed_results.update(wrong)
    identity = LedgerIdentity(CHAIN_ID, GENESIS_HASH)
    async with RpcClient(bad.url, spare_urls=[good.url], ledger=identity) as client:
        for _ in range(3):
            await client.block_number()
            client.ask_another()
    assert methods_of(good).count("eth_blockNumber") == 3
    assert "eth_blockNumber" not in methods_of(bad)
    assert caplog.text.count("A node is not used: ") == 1


async def test_the_first_node_sets_the_ledger_where_none_is_known(nodes: list[ToyNode]) -> None:
    first, second = nodes
    second.fixed_results["eth_getBlockByNumber"] = OTHER_BLOCK
    async with RpcClient(first.url, spare_urls=[second.url], ledger=LedgerIdentity(CHAIN_ID)) as client:
        await client.block_number()
        client.ask_another()
        assert client.url == second.url
        await client.block_number()
        assert client.url == first.url


async def test_while_a_node_may_still_come_the_wrong_one_is_no_end(nodes: list[ToyNode]) -> None:
    nodes[0].fixed_results.update(OTHER_CHAIN)
    async with RpcClient(nodes[0].url, spare_urls=[UNREACHABLE], ledger=LedgerIdentity(CHAIN_ID)) as client:
        for _ in range(2):
            with pytest.raises(NodeUnreachable):
                await client.block_number()


async def test_where_all_are_wrong_that_is_said(nodes: list[ToyNode]) -> None:
    for node in nodes:
        node.fixed_results.update(OTHER_CHAIN)
    async with RpcClient(nodes[0].url, spare_urls=[nodes[1].url], ledger=LedgerIdentity(CHAIN_ID)) as client:
        for _ in range(2):
            with pytest.raises(WrongLedger, match="is on chain 5"):
                await client.block_number()


@pytest.mark.parametrize(
    "answers", [{"eth_chainId": "many"}, {"eth_chainId": None}, {"eth_getBlockByNumber": None}, {"eth_chainId": []}]
)
async def test_a_node_that_does_not_show_its_ledger_is_not_used(
    nodes: list[ToyNode], answers: dict[str, object]
) -> None:
    bad, good = nodes
    bad.fixed_results.update(answers)
    async with RpcClient(bad.url, ledger=LedgerIdentity(CHAIN_ID)) as client:
        with pytest.raises(InvalidAnswer, match="does not show which ledger it is on"):
            await client.block_number()
    async with RpcClient(bad.url, spare_urls=[good.url], ledger=LedgerIdentity(CHAIN_ID)) as client:
        await client.block_number()
    assert "eth_blockNumber" not in methods_of(bad)


async def test_a_node_that_refuses_to_show_it_is_asked_again_later(nodes: list[ToyNode]) -> None:
    node = nodes[0]
    node.answer = lambda request: (200, b'{"id": %d, "error": {"code": -32005, "message": "busy"}}' % request["id"])
    async with RpcClient(node.url, ledger=LedgerIdentity(CHAIN_ID)) as client:
        with pytest.raises(RpcError, match="busy"):
            await client.block_number()
        node.answer = None
        await client.block_number()
