"""Gossip of blocks: pushed to some, announced to the others, fetched once; orphans, and who is to blame for what."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random

import pytest

from chain.block import Block, encode_body
from chain.header_rules import BlockFromFuture
from chain.importer import ReorganisationTooDeep
from p2p import limits
from p2p.block_gossip import BlockGossip
from p2p.messages import (
    AnnounceBlocks,
    BlockAnnouncement,
    Bodies,
    CertifiedHeader,
    GetBodies,
    GetHeaders,
    Headers,
    NewBlock,
    Status,
)
from p2p.reputation import Offence
from p2p.session import Handlers
from primitives.clock import ManualClock
from primitives.errors import InvalidBlock
from tests.chain.pool_world import transaction
from tests.p2p.memory_network import FakeChain, FakeSynchroniser, Talk, begin_talk, next_block, node, settle


class World:
    """Our gossip on a chain of headers, and peers of whom each is a bare wire."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.chain = FakeChain()
        self.synchroniser = FakeSynchroniser()
        self.gossip = BlockGossip(self.chain, self.synchroniser, self.clock, Random(1))
        self.talks: list[Talk] = []

    async def peer(self) -> Talk:
        handlers = Handlers({NewBlock: self.gossip.take_block, AnnounceBlocks: self.gossip.take_announcement})
        talk = await begin_talk(handlers, self.clock, len(self.talks) + 2)
        self.talks.append(talk)
        self.gossip.joined(talk.session)
        return talk

    def next(self, gas_used: int = 0) -> Block:
        return next_block(self.chain.best, gas_used)


@asynccontextmanager
async def world() -> AsyncIterator[World]:
    made = World()
    running = asyncio.create_task(made.gossip.run())
    await settle()
    yield made
    running.cancel()
    for talk in made.talks:
        talk.session.end(None, "the test is over")
        await talk.ended()


def pushed(block: Block, certificate: bytes = b"", total_difficulty: int = 1) -> NewBlock:
    return NewBlock(block.encode(), certificate, total_difficulty)


def announced(*blocks: Block) -> AnnounceBlocks:
    return AnnounceBlocks(tuple(BlockAnnouncement(block.number, block.hash) for block in blocks))


async def asked(talk: Talk) -> list[bytes | int]:
    return [message.origin for message in await talk.heard(GetHeaders) if isinstance(message, GetHeaders)]


async def delivers(talk: Talk, header: Block, body: Block | None) -> None:
    """Answer the last question for a header, and the question for the body that follows."""
    request = (await talk.heard(GetHeaders))[-1]
    assert isinstance(request, GetHeaders)
    await talk.says(Headers(request.request_id, (CertifiedHeader(header.header.encode(), b""),)))
    wanted = (await talk.heard(GetBodies))[-1]
    assert isinstance(wanted, GetBodies)
    await talk.says(Bodies(wanted.request_id, (encode_body(body.transactions) if body else b"",)))


async def test_a_new_block_is_pushed_to_the_square_root_of_the_peers_and_announced_to_the_others() -> None:
    async with world() as here:
        sender, *others = [await here.peer() for _ in range(9)]
        block = here.next()
        await sender.says(pushed(block))
        assert here.chain.best == block
        pushes = [len(await talk.heard(NewBlock)) for talk in others]
        announcements = [len(await talk.heard(AnnounceBlocks)) for talk in others]
        assert sum(pushes) == 3
        assert [one + other for one, other in zip(pushes, announcements, strict=True)] == [1] * 8
        assert not await sender.heard(NewBlock) + await sender.heard(AnnounceBlocks)


async def test_where_a_peer_stands_is_seen_from_whatever_it_tells() -> None:
    async with world() as here:
        peer = await here.peer()
        first = here.next()
        second = next_block(first)
        await peer.says(pushed(first, total_difficulty=2))
        assert peer.session.head_seen == BlockAnnouncement(1, first.hash)
        await peer.says(announced(second))
        assert peer.session.head_seen == BlockAnnouncement(2, second.hash)
        assert peer.session.claimed_head.number == 1, "an announcement claims no weight"
        await peer.says(announced(first))
        assert peer.session.head_seen == BlockAnnouncement(2, second.hash)


async def test_the_same_block_is_imported_once_and_comes_to_nobody_twice() -> None:
    async with world() as here:
        talks = [await here.peer() for _ in range(3)]
        block = here.next()
        await talks[0].says(pushed(block))
        await talks[1].says(pushed(block), announced(block))
        assert here.chain.best == block
        assert not await asked(talks[1])
        assert len(await talks[2].heard(NewBlock)) + len(await talks[2].heard(AnnounceBlocks)) == 1


async def test_an_announced_block_is_fetched_from_one_and_from_another_where_that_one_stalls() -> None:
    async with world() as here:
        first, second = await here.peer(), await here.peer()
        block = next_block(here.chain.best, transactions=(transaction(),))
        await first.says(announced(block))
        await second.says(announced(block))
        assert (await asked(first), await asked(second)) == ([block.hash], [])
        await first.passes_s(limits.REQUEST_TIME_S)
        assert first.offences == [Offence.STALLED_REQUEST]
        assert await asked(second) == [block.hash]
        await delivers(second, block, block)
        assert here.chain.best == block


async def test_an_announced_block_that_is_another_or_missing_counts_and_is_fetched_elsewhere() -> None:
    async with world() as here:
        first, second, third = [await here.peer() for _ in range(3)]
        block = next_block(here.chain.best, transactions=(transaction(),))
        for talk in (first, second, third):
            await talk.says(announced(block))
        await delivers(first, block, here.next())  # the body of another
        assert first.offences == [Offence.WRONG_ANSWER]
        await delivers(second, block, None)
        assert second.offences == [Offence.STALLED_REQUEST]
        await delivers(third, block, block)
        assert here.chain.best == block
        assert not third.offences


async def test_an_invalid_block_ends_its_senders_session_and_no_other() -> None:
    async with world() as here:
        liar, honest = await here.peer(), await here.peer()
        false, true = here.next(1), here.next(2)
        here.chain.invalid.add(false.hash)
        await liar.says(pushed(false))
        assert liar.offences == [Offence.INVALID_BLOCK]
        assert (await liar.ended()).startswith("invalid")
        assert liar.reputation.is_banned(node(2))
        await honest.says(pushed(true))
        assert here.chain.best == true
        assert not honest.offences


async def test_a_block_with_another_body_or_garbage_is_refused_before_it_reaches_the_chain() -> None:
    async with world() as here:
        liar, other = await here.peer(), await here.peer()
        block = here.next()
        await liar.says(pushed(Block(block.header, (transaction(),))))
        await other.says(NewBlock(b"\xc0", b"", 1))
        assert liar.offences == other.offences == [Offence.INVALID_BLOCK]
        assert not here.chain.imports


async def test_a_false_certificate_does_not_keep_out_the_same_block_with_a_true_one() -> None:
    async with world() as here:
        liar, honest = await here.peer(), await here.peer()
        block = here.next()
        await liar.peer.send(pushed(block, b"false"))
        await honest.peer.send(pushed(block, b"true"))
        await settle()
        assert here.chain.best == block
        assert liar.offences == [Offence.INVALID_BLOCK]
        assert not honest.offences


@pytest.mark.parametrize("refusal", [BlockFromFuture("early"), ReorganisationTooDeep("deep")])
async def test_clocks_that_differ_and_networks_that_were_cut_are_no_offence(refusal: InvalidBlock) -> None:
    async with world() as here:
        talk = await here.peer()
        block = here.next()
        here.chain.refusal = refusal
        await talk.says(pushed(block))
        assert not talk.offences
        here.chain.refusal = None
        await talk.says(pushed(block))
        assert here.chain.best == block


async def test_a_block_without_its_parent_waits_and_the_peer_is_named_to_the_synchroniser() -> None:
    async with world() as here:
        talk, other = await here.peer(), await here.peer()
        parent = here.next()
        child = next_block(parent)
        grandchild = next_block(child)
        await talk.says(pushed(grandchild), pushed(child))
        assert here.synchroniser.asked == [talk.session.node_id] * 2
        assert not talk.offences
        await other.says(pushed(parent))
        assert here.chain.best == grandchild


async def test_orphans_are_bounded_for_each_peer_and_leave_with_it() -> None:
    async with world() as here:
        talk = await here.peer()
        parent = here.next()
        for gas_used in range(limits.MAX_ORPHANS_OF_PEER + 3):
            await talk.says(pushed(next_block(parent, gas_used)))
        assert len(here.gossip._orphans) == limits.MAX_ORPHANS_OF_PEER
        here.gossip.left(talk.session)
        assert len(here.gossip._orphans) == 0


async def test_blocks_pushed_without_end_are_a_flood() -> None:
    async with world() as here:
        talk = await here.peer()
        block = here.next()
        await talk.says(*[pushed(block)] * (limits.DELAYED_BLOCKS_BURST + 1))
        assert talk.offences == [Offence.FLOOD]


async def test_blocks_that_a_stalled_connection_held_back_are_dropped_and_forgiven() -> None:
    async with world() as here:
        talk = await here.peer()
        block = here.next()
        await talk.says(*[pushed(block)] * limits.PUSHED_BLOCKS_BURST)
        late = next_block(block)
        await talk.says(pushed(late))
        assert talk.offences == []
        assert here.chain.best == block


async def test_blocks_far_ahead_are_left_to_the_synchroniser() -> None:
    async with world() as here:
        talk = await here.peer()
        await talk.says(AnnounceBlocks((BlockAnnouncement(limits.MAX_ANNOUNCED_AHEAD + 1, bytes(32)),)))
        assert here.synchroniser.asked == [talk.session.node_id]
        assert not await asked(talk)


async def test_nothing_is_passed_on_while_synchronising_and_rivals_of_the_head_are_announced() -> None:
    async with world() as here:
        talk, other = await here.peer(), await here.peer()
        first, rival = here.next(1), here.next(2)
        here.synchroniser.is_syncing = True
        await talk.says(pushed(first))
        assert not await other.heard(NewBlock) + await other.heard(AnnounceBlocks)
        await talk.says(pushed(rival))
        assert here.chain.best == first
        assert await other.heard(AnnounceBlocks) == [announced(rival)]


async def test_a_large_block_is_announced_only() -> None:
    async with world() as here:
        talk = await here.peer()
        transactions = tuple(transaction(number, data=bytes(120_000)) for number in range(9))
        block = next_block(here.chain.best, transactions=transactions)
        await here.chain.import_block(block, b"")
        assert await talk.heard(AnnounceBlocks) == [announced(block)]
        assert not await talk.heard(NewBlock)


async def test_a_peer_with_a_heavier_chain_is_named_to_the_synchroniser_when_it_joins() -> None:
    async with world() as here:
        talk = await begin_talk(clock=here.clock, status=Status(1, "ahead", 50, bytes([5]) * 32, 51, 0))
        here.talks.append(talk)
        here.gossip.joined(talk.session)
        assert here.synchroniser.asked == [talk.session.node_id]
