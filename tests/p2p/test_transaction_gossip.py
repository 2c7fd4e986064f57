"""Gossip of transactions: fetched once, from another peer where one stalls, and who is to blame for what."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from chain.pool.pool import TransactionPool
from chain.transaction import Transaction
from p2p import limits
from p2p.messages import AnnounceTransactions, GetTransactions, Transactions
from p2p.reputation import Offence
from p2p.session import Handlers
from p2p.transaction_gossip import TransactionGossip
from primitives.clock import ManualClock
from tests.chain import pool_world
from tests.chain.pool_world import transaction
from tests.p2p.memory_network import Talk, begin_talk, settle


class World:
    """Our gossip, and peers of whom each is a bare wire."""

    def __init__(self, pool: TransactionPool, clock: ManualClock) -> None:
        self.pool = pool
        self.clock = clock
        self.gossip = TransactionGossip(pool, pool_world.CHAIN_ID, clock)
        self.talks: list[Talk] = []

    async def peer(self) -> Talk:
        handlers = Handlers(
            {AnnounceTransactions: self.gossip.take_announcement}, {GetTransactions: self.gossip.answer}
        )
        talk = await begin_talk(handlers, self.clock, len(self.talks) + 2)
        self.talks.append(talk)
        self.gossip.joined(talk.session)
        return talk

    async def leaves(self, talk: Talk) -> None:
        talk.session.end(None, "it leaves")
        await talk.ended()
        self.gossip.left(talk.session)
        await settle()


@asynccontextmanager
async def world() -> AsyncIterator[World]:
    clock = ManualClock()
    made = World(pool_world.pool(clock=clock), clock)
    running = asyncio.create_task(made.gossip.run())
    await settle()
    yield made
    running.cancel()
    for talk in made.talks:
        talk.session.end(None, "the test is over")
        await talk.ended()


async def asked(talk: Talk) -> list[GetTransactions]:
    return [message for message in await talk.heard(GetTransactions) if isinstance(message, GetTransactions)]


def announcement(*transactions: Transaction) -> AnnounceTransactions:
    return AnnounceTransactions(tuple(entry.hash for entry in transactions))


async def answered(talk: Talk, *transactions: Transaction) -> None:
    request = (await asked(talk))[-1]
    await talk.says(Transactions(request.request_id, tuple(entry.encoded for entry in transactions)))


async def test_what_is_announced_is_fetched_once_and_told_to_those_who_do_not_know_it() -> None:
    async with world() as here:
        first, second, third = await here.peer(), await here.peer(), await here.peer()
        one = transaction()
        await first.says(announcement(one))
        await second.says(announcement(one))
        assert [request.hashes for request in await asked(first)] == [(one.hash,)]
        assert not await asked(second)
        await answered(first, one)
        assert one.hash in here.pool
        await third.passes_s(1)
        assert await third.heard(AnnounceTransactions) == [announcement(one)]
        assert not await first.heard(AnnounceTransactions) + await second.heard(AnnounceTransactions)
        await second.says(announcement(one))
        assert not await asked(second)


async def test_what_stays_pending_is_told_again_even_to_those_who_should_know_it() -> None:
    async with world() as here:
        first, second = await here.peer(), await here.peer()
        one = transaction()
        await first.says(announcement(one))
        await answered(first, one)
        await second.passes_s(1)
        await second.passes_s(limits.ANNOUNCE_AGAIN_INTERVAL_S)
        await second.passes_s(1)
        assert await second.heard(AnnounceTransactions) == [announcement(one)]
        await second.passes_s(limits.ANNOUNCE_AGAIN_INTERVAL_S)
        await second.passes_s(1)
        assert await second.heard(AnnounceTransactions) == [announcement(one)] * 2
        assert await first.heard(AnnounceTransactions) == [announcement(one)]
        here.pool.head_changed(pool_world.Accounts().having(0, nonce=1), pool_world.child(pool_world.header()), [one])
        await second.passes_s(limits.ANNOUNCE_AGAIN_INTERVAL_S)
        await second.passes_s(1)
        assert await second.heard(AnnounceTransactions) == [announcement(one)] * 2


async def test_a_stalled_fetch_goes_to_another_announcer() -> None:
    async with world() as here:
        first, second = await here.peer(), await here.peer()
        one = transaction()
        await first.says(announcement(one))
        await second.says(announcement(one))
        await first.passes_s(limits.LARGE_REQUEST_TIME_S)
        assert first.offences == [Offence.STALLED_REQUEST]
        assert [request.hashes for request in await asked(second)] == [(one.hash,)]
        await answered(second, one)
        assert one.hash in here.pool


async def test_a_fetch_of_a_peer_that_leaves_goes_to_another() -> None:
    async with world() as here:
        first, second = await here.peer(), await here.peer()
        one = transaction()
        await first.says(announcement(one))
        await second.says(announcement(one))
        await here.leaves(first)
        assert len(await asked(second)) == 1


async def test_what_an_answer_leaves_out_is_asked_of_another_and_is_no_offence() -> None:
    async with world() as here:
        first, second = await here.peer(), await here.peer()
        one, other = transaction(0), transaction(1)
        await first.says(announcement(one, other))
        await second.says(announcement(one, other))
        await answered(first, one)
        assert [request.hashes for request in await asked(second)] == [(other.hash,)]
        assert not first.offences


async def test_invalid_transactions_cost_points_and_stale_or_cheap_ones_do_not() -> None:
    async with world() as here:
        talk = await here.peer()
        here.pool.add([transaction(1, tip=10)])
        harmless = [
            transaction(0, nonce=1_000),  # too far ahead
            transaction(0, value=10**30),  # cannot be paid
            transaction(1, tip=10, value=1),  # replaces without paying more
            transaction(2, tip=0, max_fee_per_gas=0),  # too cheap
        ]
        await talk.says(announcement(*harmless))
        await answered(talk, *harmless)
        assert len(here.pool) == 1
        assert not talk.offences
        await talk.says(announcement(*harmless))
        assert len(await asked(talk)) == 1, "what was refused a moment ago is not fetched again"
        foreign = transaction(3, chain_id=1)
        await talk.says(announcement(foreign))
        await answered(talk, foreign)
        assert talk.offences == [Offence.INVALID_TRANSACTION]


async def test_a_transaction_with_too_little_gas_or_garbage_costs_points() -> None:
    async with world() as here:
        talk = await here.peer()
        useless = transaction(0, gas_limit=20_999)
        await talk.says(announcement(useless, transaction(1)))
        request = (await asked(talk))[-1]
        await talk.says(Transactions(request.request_id, (useless.encoded, b"\x02garbage")))
        assert talk.offences == [Offence.INVALID_TRANSACTION] * 2


async def test_a_transaction_nobody_asked_for_is_a_wrong_answer_and_does_not_enter() -> None:
    async with world() as here:
        talk = await here.peer()
        one, smuggled = transaction(0), transaction(1)
        await talk.says(announcement(one))
        await answered(talk, smuggled)
        assert talk.offences == [Offence.WRONG_ANSWER]
        assert smuggled.hash not in here.pool


async def test_announcements_without_end_are_bounded() -> None:
    async with world() as here:
        talk, other = await here.peer(), await here.peer()
        for batch in range(6):
            hashes = tuple((1_024 * batch + number).to_bytes(32, "big") for number in range(1_024))
            await talk.says(AnnounceTransactions(hashes))
        assert len(here.gossip._schedule) == limits.MAX_WANTED_TRANSACTIONS
        assert len(await asked(talk)) == 1
        one = transaction()
        await other.says(announcement(one))
        await answered(other, one)
        assert one.hash in here.pool


async def test_a_new_peer_hears_of_what_is_pending_and_can_fetch_it() -> None:
    async with world() as here:
        one, queued = transaction(0), transaction(1, nonce=5)
        here.pool.add([one, queued])
        talk = await here.peer()
        await talk.passes_s(1)
        assert await talk.heard(AnnounceTransactions) == [announcement(one)]
        await talk.says(GetTransactions(7, (bytes(32), one.hash)))
        assert await talk.heard(Transactions) == [Transactions(7, (one.encoded,))]


async def test_answers_end_at_their_size() -> None:
    async with world() as here:
        large = [transaction(number, data=bytes(120_000), gas_limit=1_000_000) for number in range(20)]
        assert here.pool.add(large) == [None] * 20
        talk = await here.peer()
        await talk.says(GetTransactions(7, tuple(entry.hash for entry in large)))
        (answer,) = await talk.heard(Transactions)
        assert isinstance(answer, Transactions)
        assert len(answer.transactions) == -(-limits.SOFT_RESPONSE_BYTES // len(large[0].encoded))


async def test_a_transaction_that_was_refused_is_fetched_again_later() -> None:
    async with world() as here:
        talk = await here.peer()
        unpaid = replace(transaction(0, value=10**30))
        await talk.says(announcement(unpaid))
        await answered(talk, unpaid)
        here.clock.advance_s(limits.REFUSAL_MEMORY_S)
        await talk.says(announcement(unpaid))
        assert len(await asked(talk)) == 2
