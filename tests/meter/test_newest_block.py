"""The newest block is heard whoever asks for it, and nothing else is changed."""

from meter.newest_block import NodeWithEar
from tests.meter.fake_node import CHAIN_ID, METER, FakeNode
from wallet.answers import BlockSummary


async def test_the_newest_block_is_heard() -> None:
    node, heard = FakeNode(), list[BlockSummary]()
    with_ear = NodeWithEar(node, heard.append)
    node.mine(3)
    assert await with_ear.block_number() == 3
    newest = await with_ear.block("latest")
    assert newest == await node.block("latest")
    assert [block.number for block in heard] == [3, 3]
    assert await with_ear.block(1) == await node.block(1)
    assert len(heard) == 2


async def test_everything_else_is_the_nodes_answer() -> None:
    node = FakeNode()
    with_ear = NodeWithEar(node, lambda block: None)
    assert await with_ear.chain_id() == CHAIN_ID
    assert await with_ear.gas_price() == await node.gas_price()
    assert await with_ear.max_priority_fee() == await node.max_priority_fee()
    assert await with_ear.nonce(METER, "latest") == await node.nonce(METER, "latest")
    assert await with_ear.receipt(bytes(32)) is None
    assert await with_ear.transaction_data(bytes(32)) is None
    with_ear.ask_another()
    assert node.disbelieved == 1
    assert await with_ear.logs([METER], [], 0, 0) == []
    gas = await with_ear.estimate_gas(METER, METER, 0, b"\x01")
    assert gas == await node.estimate_gas(METER, METER, 0, b"\x01")
    assert await with_ear.call(METER, b"") == await node.call(METER, b"")
