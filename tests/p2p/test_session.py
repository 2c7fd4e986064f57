"""One session: Status, liveness, requests and answers, and what a hostile peer achieves."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from p2p import limits
from p2p.framing import RawMessage
from p2p.messages import (
    AnnounceTransactions,
    Bodies,
    Codes,
    Consensus,
    Disconnect,
    DisconnectReason,
    GetBodies,
    GetCodes,
    GetPeers,
    GetReceipts,
    GetStatePieces,
    GetTransactions,
    Message,
    Peers,
    Ping,
    Pong,
    Receipts,
    StatePieces,
    StatePlace,
    Status,
    Transactions,
    code_of,
    encode,
)
from p2p.owed_answers import OwedAnswers
from p2p.reputation import Offence, Verdict
from p2p.session import Handlers, NoAnswer, PeerSession, SessionEnded
from p2p.transport import ConnectionLost, PeerTooSlow
from primitives.clock import ManualClock
from tests.p2p.memory_network import STATUS, Talk, begin_talk, node, settle, wire_pair


@asynccontextmanager
async def talking(handlers: Handlers | None = None) -> AsyncIterator[Talk]:
    talk = await begin_talk(handlers)
    yield talk
    talk.session.end(None, "the test is over")
    await talk.ended()


def fresh_session(clock: ManualClock, offences: list[Offence]) -> tuple[PeerSession, object]:
    ours, theirs = wire_pair(node(1), node(2))

    def judge(_: PeerSession, offence: Offence) -> Verdict:
        offences.append(offence)
        return Verdict.KEEP

    return PeerSession(ours, OwedAnswers(), STATUS, clock, Handlers(), judge), theirs


async def test_status_tells_what_the_peer_is() -> None:
    talk = await begin_talk(status=Status(1, "other", 7, bytes([7]) * 32, 70, 30_403))
    assert (talk.session.client_version, talk.session.listening_port) == ("other", 30_403)
    assert (talk.session.claimed_head.number, talk.session.claimed_head.total_difficulty) == (7, 70)
    talk.session.end(DisconnectReason.SHUTTING_DOWN, "enough")
    assert await talk.ended() == "enough"
    assert (await talk.heard(Disconnect)) == [Disconnect(DisconnectReason.SHUTTING_DOWN)]
    assert talk.peer.other.is_closed


async def test_a_peer_that_sends_no_status_is_left_after_a_while() -> None:
    clock, offences = ManualClock(), list[Offence]()
    session, _ = fresh_session(clock, offences)
    greeting = asyncio.create_task(session.greet())
    await settle()
    clock.advance_s(limits.STATUS_TIME_S - 1)
    await settle()
    assert not greeting.done()
    clock.advance_s(1)
    with pytest.raises(SessionEnded):
        await greeting
    assert offences == [Offence.TOO_SLOW]


@pytest.mark.parametrize(
    ("first", "offence"),
    [(Ping(1), Offence.INVALID_MESSAGE), (replace(STATUS, protocol_version=2), None),
     (Disconnect(DisconnectReason.TOO_MANY_PEERS), None)],
)  # fmt: skip
async def test_a_session_begins_with_a_status_of_this_version(first: Ping | Status, offence: Offence | None) -> None:
    offences: list[Offence] = []
    session, theirs = fresh_session(ManualClock(), offences)
    await theirs.send(first)  # type: ignore[attr-defined]
    with pytest.raises(SessionEnded):
        await session.greet()
    assert offences == ([offence] if offence else [])
    assert theirs.other.is_closed  # type: ignore[attr-defined]


async def test_pings_are_answered_and_sent() -> None:
    async with talking() as talk:
        await talk.says(Ping(9))
        assert await talk.heard(Pong) == [Pong(9)]
        await talk.passes_s(limits.PING_INTERVAL_S)
        (ping,) = await talk.heard(Ping)
        talk.clock.advance_s(2)
        assert isinstance(ping, Ping)
        await talk.says(Pong(ping.nonce))
        assert talk.session.ping_time_s == 2
        assert not talk.offences


async def test_a_peer_that_answers_no_ping_is_left_though_it_talks() -> None:
    talk = await begin_talk()
    for _ in range(4):
        await talk.passes_s(limits.PING_INTERVAL_S)
        await talk.says(AnnounceTransactions((bytes(32),)))
    assert await talk.ended() == "a ping was not answered"
    assert talk.offences == [Offence.TOO_SLOW]


async def test_answers_find_their_requests_in_any_order() -> None:
    async with talking() as talk:
        first = asyncio.create_task(talk.session.get_transactions((bytes(32),)))
        second = asyncio.create_task(talk.session.get_bodies((bytes(32),)))
        (transactions,) = await talk.heard(GetTransactions)
        (bodies,) = await talk.heard(GetBodies)
        assert isinstance(transactions, GetTransactions)
        assert isinstance(bodies, GetBodies)
        await talk.says(Bodies(bodies.request_id, (b"body",)), Transactions(transactions.request_id, (b"tx",)))
        assert await first == (b"tx",)
        assert await second == (b"body",)
        assert not talk.offences


async def test_receipts_pieces_and_codes_are_asked_for_and_no_more_than_asked_for_is_taken() -> None:
    async with talking() as talk:
        receipts = asyncio.create_task(talk.session.get_receipts((bytes(32),)))
        pieces = asyncio.create_task(talk.session.get_state_pieces(bytes(32), (StatePlace(b"", b"\1"),)))
        codes = asyncio.create_task(talk.session.get_codes((bytes(32),)))
        (for_receipts,) = await talk.heard(GetReceipts)
        (for_pieces,) = await talk.heard(GetStatePieces)
        (for_codes,) = await talk.heard(GetCodes)
        assert isinstance(for_receipts, GetReceipts)
        assert isinstance(for_pieces, GetStatePieces)
        assert isinstance(for_codes, GetCodes)
        await talk.says(Codes(for_codes.request_id, (b"code",)), StatePieces(for_pieces.request_id, (b"piece",)))
        await talk.says(Receipts(for_receipts.request_id, (b"one", b"too many")))
        assert await codes == (b"code",)
        assert await pieces == (b"piece",)
        with pytest.raises(NoAnswer):
            await receipts
        assert talk.offences == [Offence.WRONG_ANSWER]


async def test_a_message_of_the_consensus_is_dropped_where_the_peer_may_not_send_it() -> None:
    heard: list[Consensus] = []
    async with talking(Handlers({Consensus: lambda _, message: heard.append(message)})) as talk:
        small, large = Consensus(False, b"small"), Consensus(True, bytes(200_000))
        await talk.says(small)
        assert talk.offences == [Offence.UNKNOWN_MESSAGE]
        talk.session.consensus_limit_bytes = 64 * 1024
        await talk.says(small, large)
        talk.session.consensus_limit_bytes = limits.MAX_CONSENSUS_MESSAGE_BYTES
        await talk.says(large)
        assert heard == [small, large]
        assert talk.offences == [Offence.UNKNOWN_MESSAGE] * 2
        assert talk.session.consensus_limit_bytes == limits.MAX_CONSENSUS_MESSAGE_BYTES


async def test_a_request_without_an_answer_fails_and_costs_points_and_a_late_answer_does_not() -> None:
    async with talking() as talk:
        asking = asyncio.create_task(talk.session.get_transactions((bytes(32),)))
        await talk.passes_s(limits.LARGE_REQUEST_TIME_S)
        with pytest.raises(NoAnswer):
            await asking
        assert talk.offences == [Offence.STALLED_REQUEST]
        (request,) = await talk.heard(GetTransactions)
        assert isinstance(request, GetTransactions)
        await talk.says(Transactions(request.request_id, (bytes(100_000),)))
        assert talk.offences == [Offence.STALLED_REQUEST]
        await talk.says(Transactions(request.request_id, ()))
        assert talk.offences == [Offence.STALLED_REQUEST, Offence.UNSOLICITED_ANSWER]


async def test_a_large_answer_that_nobody_asked_for_ends_the_session_before_it_is_kept() -> None:
    talk = await begin_talk()
    await talk.says(Transactions(1, (bytes(100_000),)))
    await talk.ended()
    assert talk.offences == [Offence.INVALID_FRAME]
    assert talk.reputation.is_banned(node(2))


async def test_an_answer_of_another_kind_or_with_too_many_items_is_none() -> None:
    async with talking() as talk:
        asking = asyncio.create_task(talk.session.get_transactions((bytes(32),)))
        (request,) = await talk.heard(GetTransactions)
        assert isinstance(request, GetTransactions)
        await talk.says(Peers(request.request_id, ()))
        assert talk.offences == [Offence.UNSOLICITED_ANSWER]
        await talk.says(Transactions(request.request_id, (b"1", b"2")))
        with pytest.raises(NoAnswer):
            await asking
        assert talk.offences[1:] == [Offence.WRONG_ANSWER]


async def test_few_requests_are_in_flight_and_waiting_ones_end_with_the_session() -> None:
    talk = await begin_talk()
    asking = [asyncio.create_task(talk.session.get_peers()) for _ in range(limits.MAX_REQUESTS_IN_FLIGHT + 3)]
    assert len(await talk.heard(GetPeers)) == limits.MAX_REQUESTS_IN_FLIGHT
    talk.session.end(None, "enough")
    await talk.ended()
    outcomes = await asyncio.gather(*asking, return_exceptions=True)
    assert all(isinstance(outcome, SessionEnded) for outcome in outcomes)


@pytest.mark.parametrize(
    ("error", "offences"), [(ConnectionLost("gone"), []), (PeerTooSlow("slow"), [Offence.TOO_SLOW])]
)
async def test_whoever_asks_over_a_connection_that_fails_just_then_hears_that_the_session_is_over(
    error: Exception, offences: list[Offence]
) -> None:
    async with talking() as talk:

        async def fail(_: Message) -> None:
            raise error

        talk.peer.other.send = fail  # type: ignore[method-assign]
        with pytest.raises(SessionEnded):
            await talk.session.get_peers()
        assert talk.offences == offences
        await talk.ended()


async def test_a_peer_that_owes_too_many_answers_is_left() -> None:
    talk = await begin_talk()
    talk.reputation.record = lambda *_, **__: Verdict.KEEP  # type: ignore[method-assign]
    for _ in range(limits.MAX_OWED_ANSWERS):
        asking = asyncio.create_task(talk.session.get_peers())
        await talk.passes_s(limits.REQUEST_TIME_S)
        with pytest.raises(NoAnswer):
            await asking
        for ping in await talk.heard(Ping):
            assert isinstance(ping, Ping)
            talk.session._take_pong(Pong(ping.nonce))
    with pytest.raises(SessionEnded):
        await talk.session.get_peers()
    assert await talk.ended() == "it owes too many answers"


async def test_endless_messages_end_the_session() -> None:
    talk = await begin_talk()
    for nonce in range(limits.MESSAGE_BURST):
        await talk.peer.send(AnnounceTransactions((nonce.to_bytes(32, "big"),)))
    while talk.peer.other._inbox.qsize():
        await settle()
    assert not talk.offences
    await talk.says(*[AnnounceTransactions((bytes(32),))] * 10)
    await talk.ended()
    assert set(talk.offences) == {Offence.FLOOD}
    assert talk.reputation.is_banned(node(2))


async def test_messages_of_the_consensus_are_counted_by_whoever_takes_them() -> None:
    taken: list[Consensus] = []
    async with talking(Handlers({Consensus: lambda _, message: taken.append(message)})) as talk:
        talk.session.consensus_limit_bytes = 100
        for _ in range(limits.MESSAGE_BURST + 10):
            await talk.peer.send(Consensus(True, b"vote"))
        while talk.peer.other._inbox.qsize():
            await settle()
        assert len(taken) == limits.MESSAGE_BURST + 10
        assert not talk.offences


async def test_too_many_requests_at_once_are_not_queued() -> None:
    served = asyncio.Event()

    async def slow(_: PeerSession, request: GetPeers) -> Peers:
        await served.wait()
        return Peers(request.request_id, ())

    async with talking(Handlers(requests={GetPeers: slow})) as talk:
        # One is being answered, MAX_WAITING_REQUESTS wait, the last is too many.
        await talk.says(GetPeers(0))
        await talk.says(*[GetPeers(number) for number in range(limits.MAX_WAITING_REQUESTS + 1)])
        assert talk.offences == [Offence.FLOOD]
        served.set()
        assert len(await talk.heard(Peers)) == limits.MAX_WAITING_REQUESTS + 1


async def test_garbage_costs_points_until_it_is_enough_and_unknown_messages_cost_little() -> None:
    talk = await begin_talk()
    talk.peer.send_raw(RawMessage(0xEE, b"new"))
    talk.peer.send_raw(RawMessage(code_of(Ping), b"\xc1"))
    await settle()
    assert talk.offences == [Offence.UNKNOWN_MESSAGE, Offence.INVALID_MESSAGE]
    assert not talk.running.done()
    talk.peer.send_raw(encode(STATUS))
    await talk.ended()
    assert talk.offences[2:] == [Offence.INVALID_MESSAGE]


async def test_a_fault_of_ours_ends_that_session_and_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    def broken(_: PeerSession, __: AnnounceTransactions) -> None:
        raise RuntimeError("a bug")

    talk = await begin_talk(Handlers(notices={AnnounceTransactions: broken}))
    await talk.says(AnnounceTransactions((bytes(32),)))
    assert await talk.ended() == "a fault of this node"
    assert not talk.offences
    assert "a bug" in caplog.text


async def test_cancelling_says_goodbye() -> None:
    talk = await begin_talk()
    await settle()
    talk.running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await talk.ended()
    assert await talk.heard(Disconnect) == [Disconnect(DisconnectReason.SHUTTING_DOWN)]


async def test_only_so_much_is_queued_for_a_peer_and_done_for_it() -> None:
    async with talking() as talk:
        await settle()
        posted = [talk.session.post(Ping(nonce)) for nonce in range(limits.MAX_QUEUED_MESSAGES + 1)]
        assert posted == [True] * limits.MAX_QUEUED_MESSAGES + [False]
        begun = [talk.session.spawn(asyncio.sleep(3_600)) for _ in range(limits.MAX_SESSION_TASKS + 1)]
        assert begun == [True] * limits.MAX_SESSION_TASKS + [False]
