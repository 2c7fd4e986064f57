"""A key that takes its time or hangs: nobody waits long, and signatures come in the order of asking."""

import asyncio
import threading
import time
from collections.abc import Callable

import pytest

from meter.bounded_signer import MAX_KEPT, BoundedSigner, do_within
from meter.signer import KeySigner, SignerBusy, SignerUnavailable, sign_when_ready
from primitives.errors import UserError

KEY = KeySigner(b"\x21" * 32)
PATIENCE_S = 0.01
ONE, TWO, THREE = (bytes([number]) * 32 for number in (1, 2, 3))


class SlowKey:
    """Signs when it is let, in a thread that the test does not see."""

    address = KEY.address

    def __init__(self) -> None:
        self.is_let = threading.Event()
        self.asked: list[bytes] = []
        self.trouble: Exception | None = None

    def sign(self, message_hash: bytes) -> tuple[int, int, int]:
        self.asked.append(message_hash)
        assert self.is_let.wait(10)
        if self.trouble is not None:
            raise self.trouble
        return KEY.sign(message_hash)


def bounded(key: SlowKey, patience_s: float = PATIENCE_S) -> BoundedSigner:
    return BoundedSigner(KEY.address, "the element", lambda: key, patience_s)


async def until_signed(signer: BoundedSigner, message_hash: bytes) -> tuple[int, int, int]:
    async with asyncio.timeout(10):
        return await sign_when_ready(signer, message_hash)


def test_one_that_is_quick_signs_at_once() -> None:
    key = SlowKey()
    key.is_let.set()
    signer = bounded(key, 10.0)
    assert signer.sign(ONE) == KEY.sign(ONE)
    assert signer.sign(ONE) == KEY.sign(ONE)
    assert key.asked == [ONE]  # once made, it is there


async def test_one_that_is_slow_signs_in_the_order_of_asking() -> None:
    key = SlowKey()
    signer = bounded(key)
    for message_hash in (ONE, TWO, ONE, THREE):
        with pytest.raises(SignerBusy, match="the element has not answered yet"):
            signer.sign(message_hash)
    key.is_let.set()
    for message_hash in (THREE, ONE, TWO):
        assert await until_signed(signer, message_hash) == KEY.sign(message_hash)
    assert key.asked == [ONE, TWO, THREE]


async def test_everything_else_goes_on_while_one_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("meter.signer.LOOK_S", 0.001)
    key = SlowKey()
    signing = asyncio.ensure_future(sign_when_ready(bounded(key), ONE))
    ticks = 0
    while ticks < 100:
        await asyncio.sleep(0)
        ticks += 1
    assert not signing.done()
    key.is_let.set()
    assert await signing == KEY.sign(ONE)


async def test_who_waits_gives_up_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("meter.signer.READY_WITHIN_S", 0.0)
    key = SlowKey()
    with pytest.raises(SignerBusy):
        await sign_when_ready(bounded(key), ONE)
    key.is_let.set()


def test_one_that_hangs_costs_nobody_time(monkeypatch: pytest.MonkeyPatch) -> None:
    key = SlowKey()
    signer = bounded(key, 0.05)
    begin_s = time.monotonic()
    hashes = [number.to_bytes(32, "big") for number in range(MAX_KEPT)]
    for message_hash in hashes * 20:
        with pytest.raises(SignerBusy):
            signer.sign(message_hash)
    with pytest.raises(SignerUnavailable, match="does not answer"):
        signer.sign(ONE)
    assert time.monotonic() - begin_s < 1
    monkeypatch.setattr("meter.bounded_signer.HANGS_S", 0.0)
    for message_hash in (hashes[0], b"\x77" * 32):  # also one of a later reading, for which there is no room any more
        with pytest.raises(UserError, match="hung for an hour") as caught:
            signer.sign(message_hash)
        assert not isinstance(caught.value, SignerUnavailable)  # so that the service is started again
    key.is_let.set()


async def test_trouble_goes_to_who_asked_and_is_tried_again() -> None:
    key = SlowKey()
    key.trouble = SignerUnavailable("it was pulled out")
    signer = bounded(key)
    with pytest.raises(SignerBusy):
        signer.sign(ONE)
    key.is_let.set()
    with pytest.raises(SignerUnavailable, match="pulled out"):
        await until_signed(signer, ONE)
    key.trouble = None
    assert await until_signed(signer, ONE) == KEY.sign(ONE)


def test_a_persons_command_ends_where_nothing_comes_back() -> None:
    goes_on = threading.Event()
    with pytest.raises(SignerUnavailable, match="the element has not answered within 0 s: unplug it"):
        do_within("the element", lambda: goes_on.wait(10), 0.0)
    goes_on.set()
    assert do_within("the element", lambda: 5) == 5


async def test_old_signatures_make_room() -> None:
    key = SlowKey()
    key.is_let.set()
    signer = bounded(key, 10.0)
    for number in range(3 * MAX_KEPT):
        message_hash = number.to_bytes(32, "big")
        assert signer.sign(message_hash) == KEY.sign(message_hash)
    assert len(signer._signatures) == MAX_KEPT


async def test_one_that_opens_slowly_is_begun_without(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("meter.bounded_signer.OPEN_PATIENCE_S", 0.01)
    opens = threading.Event()

    def after(what: Callable[[], SlowKey]) -> Callable[[], SlowKey]:
        def open_signer() -> SlowKey:
            assert opens.wait(10)
            return what()

        return open_signer

    key = SlowKey()
    key.is_let.set()
    signer = BoundedSigner(KEY.address, "the element", after(lambda: key), PATIENCE_S)
    assert "the element does not answer yet; readings are signed as soon as it does" in caplog.text
    with pytest.raises(SignerBusy):
        signer.sign(ONE)

    def refuse() -> SlowKey:
        raise UserError("that is not the PIN")

    wrong = BoundedSigner(KEY.address, "the element", after(refuse), PATIENCE_S)
    opens.set()
    assert await until_signed(signer, ONE) == KEY.sign(ONE)
    with pytest.raises(UserError, match="not the PIN"):
        await until_signed(wrong, ONE)
    with pytest.raises(UserError, match="not the PIN"):  # at once where it is known at once
        BoundedSigner(KEY.address, "the element", refuse, PATIENCE_S)
