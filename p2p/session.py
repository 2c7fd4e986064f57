"""A conversation with one peer: Status, pings, requests matched with answers, and an end when it becomes intolerable.

It knows no blocks and no transactions: what peers announce and ask for goes to the handlers it is given. Whatever the
peer does, and whatever breaks while it is handled, ends this session only. Its Clock is that of the network: the
machine's own, or a simulation's.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from p2p import limits
from p2p.backend import ChainHead, Wire
from p2p.fields import InvalidMessage
from p2p.framing import AlteredFrame, InvalidFrame
from p2p.messages import (
    PROTOCOL_VERSION,
    BlockAnnouncement,
    Bodies,
    CertifiedHeader,
    Codes,
    Consensus,
    Disconnect,
    DisconnectReason,
    GetBodies,
    GetCodes,
    GetHeaders,
    GetPeers,
    GetReceipts,
    GetStatePieces,
    GetTransactions,
    Headers,
    Message,
    PeerAddress,
    Peers,
    Ping,
    Pong,
    Receipts,
    StatePieces,
    StatePlace,
    Status,
    Transactions,
    UnknownMessage,
)
from p2p.owed_answers import Answer, OwedAnswers, Request
from p2p.rate import TokenBucket
from p2p.reputation import Offence, Verdict
from p2p.time_limit import within
from p2p.transport import ConnectionLost, PeerTooSlow
from primitives.clock import Clock
from primitives.hexadecimal import to_checksum_address

T = TypeVar("T")

LOGGER = logging.getLogger(__name__)

_WIRE_ERRORS = (ConnectionLost, PeerTooSlow, InvalidFrame, InvalidMessage)
"""How a connection fails. Any other error in a session is this node's own."""


class SessionEnded(Exception):
    """The conversation is over, or never began; the reason is in the text."""


class NoAnswer(Exception):
    """The peer did not answer a request in time. It has been counted against it."""


@dataclass(frozen=True, slots=True)
class Handlers:
    """Who takes what a peer says. None of them may wait for an answer of the same peer: they `spawn` such work.

    Whoever takes messages of the consensus counts them, since how many are too many depends on the validators."""

    notices: Mapping[type[Message], Callable[["PeerSession", Any], None]] = field(default_factory=dict)
    requests: Mapping[type[Request], Callable[["PeerSession", Any], Awaitable[Answer]]] = field(default_factory=dict)


class PeerSession:
    """`greet`, then `run` until it ends; the rest may be used in between."""

    def __init__(
        self,
        wire: Wire,
        owed: OwedAnswers,
        own_status: Status,
        clock: Clock,
        handlers: Handlers,
        judge: Callable[["PeerSession", Offence], Verdict],
    ) -> None:
        """`owed.max_bytes` is what the wire was opened with. `judge` counts an offence and says what follows."""
        self.node_id = wire.node_id
        self.is_outbound = wire.is_outbound
        self.remote_address = wire.remote_address
        self.client_version = ""
        self.listening_port = 0
        self.claimed_head = ChainHead(0, bytes(32), 0)
        """The best that the peer said of its chain: a claim, worth no more than a question."""
        self.newest_block: BlockAnnouncement | None = None
        """The highest block that the peer announced, for those who look: no claim about its chain's weight."""
        self.ping_time_s: float | None = None
        self._began_s = clock.precise_time_s()
        self.finished = asyncio.Event()
        """For whoever keeps the session: to be set when it is closed and everybody has taken leave of it."""
        self._wire = wire
        self._owed = owed
        self._own_status = own_status
        self._clock = clock
        self._handlers = handlers
        self._judge = judge
        self._ending: asyncio.Future[tuple[DisconnectReason | None, str]] = asyncio.get_running_loop().create_future()
        self._outbox: asyncio.Queue[Message] = asyncio.Queue(limits.MAX_QUEUED_MESSAGES)
        self._asked: asyncio.Queue[Request] = asyncio.Queue(limits.MAX_WAITING_REQUESTS)
        self._answers: dict[int, asyncio.Future[Answer]] = {}
        self._in_flight = asyncio.Semaphore(limits.MAX_REQUESTS_IN_FLIGHT)
        self._request_id = 0
        self._rate = TokenBucket(clock, limits.MESSAGE_BURST, limits.MESSAGES_PER_S)
        self._is_greeting = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._ping_nonce = 0
        self._unanswered_since_s: float | None = None

    def __str__(self) -> str:
        return f"{to_checksum_address(self.node_id)} at {self.remote_address}"

    @property
    def is_ending(self) -> bool:
        return self._ending.done()

    @property
    def head_seen(self) -> BlockAnnouncement:
        """The highest block that the peer has told of in any way."""
        newest, claimed = self.newest_block, self.claimed_head
        if newest is not None and newest.number > claimed.number:
            return newest
        return BlockAnnouncement(claimed.number, claimed.hash)

    @property
    def age_s(self) -> int:
        """How long the connection has lasted."""
        return max(0, int(self._clock.precise_time_s() - self._began_s))

    @property
    def consensus_limit_bytes(self) -> int:
        """The largest message of the consensus that the peer may send; larger ones are dropped. 0: none at all."""
        return self._owed.consensus_limit_bytes

    @consensus_limit_bytes.setter
    def consensus_limit_bytes(self, limit_bytes: int) -> None:
        self._owed.consensus_limit_bytes = limit_bytes

    # The conversation

    async def greet(self) -> None:
        """Exchange Status. Raises SessionEnded, and the connection is closed then."""
        reason: DisconnectReason | None = None
        self._is_greeting = True
        try:
            if self.is_ending:
                raise ConnectionLost("another connection took its place")
            status = await within(self._clock, limits.STATUS_TIME_S, self._exchange_status())
            if status.protocol_version == PROTOCOL_VERSION:
                self._take_status(status)
                self._is_greeting = False
                return
            reason = DisconnectReason.INCOMPATIBLE_VERSION
            text = f"it speaks version {status.protocol_version} of the protocol, this node {PROTOCOL_VERSION}"
        except TimeoutError:
            self._count(Offence.TOO_SLOW)
            reason, text = DisconnectReason.TIMEOUT, "it sent no Status"
        except _WIRE_ERRORS as error:
            if (offence := _offence(error)) is not None:
                self._count(offence)
                reason = DisconnectReason.MISBEHAVIOUR
            text = str(error)
        except asyncio.CancelledError:
            await self._close(DisconnectReason.SHUTTING_DOWN)
            raise
        await self._close(reason)
        raise SessionEnded(text)

    async def run(self) -> str:
        """Converse until either side has enough; why it ended. The connection is closed then."""
        loops = [self._start(work) for work in (
            self._receive(), self._send_queued(), self._answer_requests(), self._ping()
        )]  # fmt: skip
        reason: DisconnectReason | None = DisconnectReason.SHUTTING_DOWN
        try:
            reason, text = await asyncio.shield(self._ending)
            return text
        finally:
            self.end(reason, "this node stops")
            for answer in self._answers.values():
                if not answer.done():
                    answer.set_exception(SessionEnded("the session is over"))
                    answer.exception()  # Nobody may be waiting for it any more.
            tasks = [*loops, *self._tasks]
            for task in tasks:
                task.cancel()
            closing = asyncio.gather(self._close(reason), *tasks, return_exceptions=True)
            await asyncio.shield(closing)

    def end(self, reason: DisconnectReason | None, text: str) -> None:
        """Have the session end. The first call counts."""
        if not self._ending.done():
            self._ending.set_result((reason, text))
            if self._is_greeting:
                self._wire.abort()

    def offend(self, offence: Offence, text: str) -> None:
        """The peer broke a rule: count it, and end the session where it is one too many."""
        if self.is_ending:
            return
        LOGGER.debug("%s: %s (%s)", self, text, offence.name)
        if self._count(offence) is not Verdict.KEEP:
            self.end(DisconnectReason.MISBEHAVIOUR, text)

    def post(self, message: Message) -> bool:
        """Send when the peer reads; False, and dropped, where too much waits for it already."""
        if self.is_ending or self._outbox.full():
            return False
        self._outbox.put_nowait(message)
        return True

    def spawn(self, work: Coroutine[Any, Any, None], on_end: Callable[[], None] | None = None) -> bool:
        """Do something for this peer that ends with the session; False, and not begun, where too much is going on.
        `on_end` is called when it is over, even where it was cancelled before its first step."""
        if self.is_ending or len(self._tasks) >= limits.MAX_SESSION_TASKS:
            work.close()
            return False
        task = self._start(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        if on_end is not None:
            task.add_done_callback(lambda _: on_end())
        return True

    # Requests. All raise NoAnswer or SessionEnded; what the answer holds is for the caller to check, but for its count.

    async def get_peers(self) -> tuple[PeerAddress, ...]:
        answer = await self._ask(GetPeers(self._next_id()), limits.REQUEST_TIME_S)
        return answer.peers if isinstance(answer, Peers) else ()

    async def get_transactions(self, hashes: tuple[bytes, ...]) -> tuple[bytes, ...]:
        answer = await self._ask(GetTransactions(self._next_id(), hashes), limits.LARGE_REQUEST_TIME_S)
        return self._at_most(len(hashes), answer.transactions if isinstance(answer, Transactions) else ())

    async def get_headers(
        self, origin: bytes | int, count: int, skip: int = 0, falling: bool = False
    ) -> tuple[CertifiedHeader, ...]:
        request = GetHeaders(self._next_id(), origin, count, skip, falling)
        answer = await self._ask(request, limits.REQUEST_TIME_S)
        return self._at_most(count, answer.headers if isinstance(answer, Headers) else ())

    async def get_bodies(self, block_hashes: tuple[bytes, ...]) -> tuple[bytes, ...]:
        answer = await self._ask(GetBodies(self._next_id(), block_hashes), limits.LARGE_REQUEST_TIME_S)
        return self._at_most(len(block_hashes), answer.bodies if isinstance(answer, Bodies) else ())

    async def get_receipts(self, block_hashes: tuple[bytes, ...]) -> tuple[bytes, ...]:
        answer = await self._ask(GetReceipts(self._next_id(), block_hashes), limits.LARGE_REQUEST_TIME_S)
        return self._at_most(len(block_hashes), answer.receipts if isinstance(answer, Receipts) else ())

    async def get_state_pieces(self, block_hash: bytes, places: tuple[StatePlace, ...]) -> tuple[bytes, ...]:
        answer = await self._ask(GetStatePieces(self._next_id(), block_hash, places), limits.REQUEST_TIME_S)
        return self._at_most(len(places), answer.pieces if isinstance(answer, StatePieces) else ())

    async def get_codes(self, code_hashes: tuple[bytes, ...]) -> tuple[bytes, ...]:
        answer = await self._ask(GetCodes(self._next_id(), code_hashes), limits.REQUEST_TIME_S)
        return self._at_most(len(code_hashes), answer.codes if isinstance(answer, Codes) else ())

    async def _ask(self, request: Request, time_limit_s: float) -> Answer:
        async with self._in_flight:
            if self.is_ending:
                raise SessionEnded("the session is over")
            if len(self._owed) >= limits.MAX_OWED_ANSWERS:
                self.end(DisconnectReason.USELESS_PEER, "it owes too many answers")
                raise SessionEnded("it owes too many answers")
            answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
            self._answers[request.request_id] = answer
            self._owed.add(request)
            try:
                await self._wire.send(request)
                return await within(self._clock, time_limit_s, _result(answer))
            except TimeoutError as error:
                text = f"no answer to {type(request).__name__} within {time_limit_s:g} s"
                self.offend(Offence.STALLED_REQUEST, text)
                raise NoAnswer(text) from error
            except _WIRE_ERRORS as error:
                # Whoever asks need not be a task of this session: it hears of no connection, only that there is none.
                self._wire_failed(error)
                raise SessionEnded(str(error)) from error
            finally:
                del self._answers[request.request_id]

    def _next_id(self) -> int:
        self._request_id = (self._request_id + 1) % 2**32
        return self._request_id

    def _at_most(self, count: int, items: tuple[T, ...]) -> tuple[T, ...]:
        if len(items) > count:
            self.offend(Offence.WRONG_ANSWER, f"{len(items)} items, {count} asked for")
            raise NoAnswer("a wrong answer")
        return items

    # The loops

    async def _exchange_status(self) -> Status:
        await self._wire.send(self._own_status)
        message = await self._wire.receive()
        if isinstance(message, Disconnect):
            raise ConnectionLost(f"it refused: {message.reason.name}")
        if not isinstance(message, Status):
            raise InvalidMessage(f"it began with {type(message).__name__}")
        return message

    async def _receive(self) -> None:
        while True:
            try:
                message = await self._wire.receive()
            except InvalidMessage as error:
                known = not isinstance(error, UnknownMessage)
                self.offend(Offence.INVALID_MESSAGE if known else Offence.UNKNOWN_MESSAGE, str(error))
            else:
                self._take(message)
            # A peer that never stops talking must not keep all others waiting.
            await asyncio.sleep(0)

    def _take(self, message: Message) -> None:
        if isinstance(message, Answer):
            self._take_answer(message)
        elif not isinstance(message, Consensus) and not self._rate.take():
            self.offend(Offence.FLOOD, "too many messages")
        elif isinstance(message, Request):
            if self._asked.full():
                self.offend(Offence.FLOOD, "too many requests at once")
            else:
                self._asked.put_nowait(message)
        elif isinstance(message, Ping):
            self.post(Pong(message.nonce))
        elif isinstance(message, Pong):
            self._take_pong(message)
        elif isinstance(message, Disconnect):
            self.end(None, f"it left: {message.reason.name}")
        elif isinstance(message, Status):
            self.offend(Offence.INVALID_MESSAGE, "a second Status")
        elif (handle := self._handlers.notices.get(type(message))) is not None:
            handle(self, message)

    def _take_answer(self, answer: Answer) -> None:
        if not self._owed.settle(answer):
            self.offend(Offence.UNSOLICITED_ANSWER, f"{type(answer).__name__} that nobody asked for")
            return
        waiting = self._answers.get(answer.request_id)
        if waiting is not None and not waiting.done():
            waiting.set_result(answer)

    def _take_pong(self, pong: Pong) -> None:
        if self._unanswered_since_s is None or pong.nonce > self._ping_nonce:
            self.offend(Offence.UNSOLICITED_ANSWER, "a pong without a ping")
        elif pong.nonce == self._ping_nonce:
            self.ping_time_s = max(0.0, self._clock.precise_time_s() - self._unanswered_since_s)
            self._unanswered_since_s = None

    def _take_status(self, status: Status) -> None:
        self.client_version = status.client_version
        self.listening_port = status.listening_port
        self.claimed_head = ChainHead(status.head_number, status.head_hash, status.total_difficulty)

    async def _send_queued(self) -> None:
        while True:
            await self._wire.send(await self._outbox.get())

    async def _answer_requests(self) -> None:
        """One after another: whoever asks a lot waits for itself."""
        while True:
            request = await self._asked.get()
            if (answer := self._handlers.requests.get(type(request))) is not None:
                await self._wire.send(await answer(self, request))

    async def _ping(self) -> None:
        while True:
            await self._clock.sleep_s(limits.PING_INTERVAL_S)
            now_s = self._clock.precise_time_s()
            if self._unanswered_since_s is None:
                self._ping_nonce += 1
                self._unanswered_since_s = now_s
                self.post(Ping(self._ping_nonce))
            elif now_s - self._unanswered_since_s >= limits.IDLE_TIME_S:
                self.offend(Offence.TOO_SLOW, "a ping was not answered")
                self.end(DisconnectReason.TIMEOUT, "a ping was not answered")

    # Faults

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(self._contained(work))
        task.add_done_callback(lambda _: work.close())  # of a task that was cancelled before its first step
        return task

    async def _contained(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except (NoAnswer, SessionEnded) as error:
            LOGGER.debug("%s: %s", self, error)
        except _WIRE_ERRORS as error:
            self._wire_failed(error)
        except Exception:
            # A mistake of ours that this peer found: it must not be able to stop the node with it.
            LOGGER.exception("The session with %s failed", self)
            self.end(DisconnectReason.UNSPECIFIED, "a fault of this node")

    def _wire_failed(self, error: Exception) -> None:
        if (offence := _offence(error)) is not None:
            self.offend(offence, str(error))
        self.end(DisconnectReason.MISBEHAVIOUR if offence else None, str(error))

    def _count(self, offence: Offence) -> Verdict:
        return self._judge(self, offence)

    async def _close(self, reason: DisconnectReason | None) -> None:
        self._is_greeting = False
        self.end(reason, "closed")
        with contextlib.suppress(ConnectionLost, PeerTooSlow):
            await self._wire.close(reason)


def _offence(error: Exception) -> Offence | None:
    """What an error of the connection says about the peer; None where somebody else may be to blame."""
    if isinstance(error, (ConnectionLost, AlteredFrame)):
        return None
    for kind, offence in (
        (InvalidFrame, Offence.INVALID_FRAME),
        (PeerTooSlow, Offence.TOO_SLOW),
        (UnknownMessage, Offence.UNKNOWN_MESSAGE),
    ):
        if isinstance(error, kind):
            return offence
    return Offence.INVALID_MESSAGE


async def _result(answer: "asyncio.Future[Answer]") -> Answer:
    return await answer
