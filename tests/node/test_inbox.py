"""What waits for the chain thread: nothing of this node's own is lost, and no peer takes another's place."""

from chain.consensus.qbft.events import MessageReceived, TransactionsPending
from chain.consensus.qbft.messages import Commit, encode_message
from node.inbox import MAX_WAITING_OF_PEER, EventInbox

ALICE, BOB = bytes(19) + b"\x01", bytes(19) + b"\x02"
MAX_BYTES = 1_000_000


def commit(number: int) -> Commit:
    return Commit(1, number, bytes(32), bytes(65))


def bring(inbox: EventInbox, number: int, origin: bytes = ALICE, max_bytes: int = MAX_BYTES) -> bool:
    return inbox.put_message(commit(number), encode_message(commit(number)), origin, max_bytes)


async def test_events_come_out_in_order_and_the_head_is_told_once() -> None:
    inbox = EventInbox()
    inbox.put_head()
    inbox.put(TransactionsPending(True))
    inbox.put_head()
    assert bring(inbox, 1)
    assert [await inbox.get() for _ in range(3)] == [None, TransactionsPending(True), MessageReceived(commit(1))]
    inbox.put_head()
    assert await inbox.get() is None
    assert len(inbox) == 0


async def test_the_same_bytes_wait_once_whoever_brings_them() -> None:
    inbox = EventInbox()
    assert bring(inbox, 1)
    assert not bring(inbox, 1)
    assert not bring(inbox, 1, BOB)
    await inbox.get()
    assert bring(inbox, 1, BOB)


async def test_a_peer_fills_its_own_place_only() -> None:
    inbox = EventInbox()
    assert all(bring(inbox, number) for number in range(MAX_WAITING_OF_PEER))
    assert not bring(inbox, MAX_WAITING_OF_PEER)
    assert bring(inbox, MAX_WAITING_OF_PEER, BOB)
    inbox.put(TransactionsPending(True))
    assert len(inbox) == MAX_WAITING_OF_PEER + 2
    await inbox.get()
    assert bring(inbox, MAX_WAITING_OF_PEER + 1)
    while len(inbox):
        await inbox.get()
    assert not inbox._count_of
    assert not inbox._bytes_of
    assert not inbox._digests


async def test_the_bytes_of_a_peer_are_bounded_but_one_message_always_fits() -> None:
    inbox = EventInbox()
    size = len(encode_message(commit(1)))
    assert bring(inbox, 1, max_bytes=1)
    assert not bring(inbox, 2, max_bytes=2 * size - 1)
    assert bring(inbox, 2, max_bytes=2 * size)
