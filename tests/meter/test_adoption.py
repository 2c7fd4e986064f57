"""An outbox that is new, old or one of two: where it goes on, and what a node that lies cannot have it do."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from meter.drivers.driver import Registers
from meter.head import Head
from meter.ledger import MeterLedger
from meter.outbox import Outbox
from meter.signer import KeySigner, SignerBusy
from primitives.errors import UserError
from tests.meter.fake_node import (
    GENESIS_TIME_S,
)
from tests.meter.submitter_scene import DOMAIN, STEP_WH, Scene
from wallet.answers import Log
from wallet.client import InvalidAnswer


async def test_new_outbox_goes_on_behind_the_ledger(scene: Scene, tmp_path: Path) -> None:
    scene.measure(3)
    await scene.settle()
    second = Scene(tmp_path / "new", scene.node)
    await second.submitter.adopt()
    assert second.outbox.head() == Head(
        3,
        scene.outbox.head().hash,
        Registers(GENESIS_TIME_S, 3 * STEP_WH, 0),
        None,  # type: ignore[union-attr]
    )
    second.measure(2)
    await second.settle()
    assert scene.node.accepted_sequences() == [1, 2, 3, 4, 5]
    assert scene.node.charged_wh() == 5 * STEP_WH
    second.outbox.close()


async def test_two_devices_with_one_key_are_exposed(
    scene: Scene, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    scene.measure(1)
    clone = Scene(tmp_path / "clone", scene.node)
    await clone.submitter.adopt()
    clone.measure(1, time_s=GENESIS_TIME_S + 1)
    clone.measure(1)
    await clone.submitter.step()
    scene.node.mine()
    with pytest.raises(UserError, match="another device uses the same key"):
        await scene.submitter.step()
    scene.node.mine(3)
    with pytest.raises(UserError, match="another device"):
        await scene.submitter.step()
    assert "THE LEDGER HOLDS ANOTHER READING 1 THAN OURS" in caplog.text
    clone.outbox.close()


@pytest.mark.parametrize(
    "lie",
    [
        Head(1000, b"\x05" * 32, Registers(GENESIS_TIME_S + 3600, 900_000_000, 0), None),
        Head(1000, b"\x05" * 32, Registers(GENESIS_TIME_S + 3600, 3 * STEP_WH, 900_000_000), None),
        Head(1000, b"\x05" * 32, Registers(GENESIS_TIME_S + 10**9, 900_000_000, 0), None),
        Head(2**47, b"\x05" * 32, Registers(GENESIS_TIME_S + 3600, 3 * STEP_WH, 0), None),
        Head(4, b"\x05" * 32, Registers(GENESIS_TIME_S - 1, 3 * STEP_WH, 0), None),
        Head(4, b"\x05" * 32, Registers(GENESIS_TIME_S + 3600, 0, 0), None),
    ],
)
async def test_a_node_that_lies_makes_the_meter_sign_no_energy_that_nobody_used(
    scene: Scene, lie: Head, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.measure(3)
    await scene.settle()

    async def last_reading(*_: object) -> Head:
        return lie

    with monkeypatch.context() as patch:
        patch.setattr(MeterLedger, "last_reading", last_reading)
        with pytest.raises(InvalidAnswer, match="by the node's word"):
            await scene.submitter.step()  # while it runs
        scene.crash()
        with pytest.raises(InvalidAnswer, match="by the node's word"):
            await scene.submitter.adopt()  # and at a start
    assert not scene.outbox.alterations.newest(1)
    scene.measure(2)
    await scene.settle()
    scene.check_charged_once(5)


async def test_a_proof_that_takes_its_time_holds_no_meter_up(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An old copy measures on as without a ledger; the node's first answer has less time than the proof."""
    old = Scene(tmp_path / "old", scene.node)
    await old.submitter.adopt()
    old.measure(1)
    scene.measure(3)
    await scene.settle()
    answers = asyncio.Event()
    honest = scene.node.logs

    async def logs(*arguments: Any) -> list[Log]:
        await answers.wait()
        return await honest(*arguments)

    monkeypatch.setattr(scene.node, "logs", logs)
    monkeypatch.setattr("meter.submitter.PROOF_PATIENCE_S", 0.01)
    with pytest.raises(TimeoutError):
        await old.submitter.adopt(5)
    head = old.outbox.head()
    assert head is not None
    assert head.sequence == 1
    answers.set()
    monkeypatch.setattr("meter.submitter.PROOF_PATIENCE_S", 60)
    await old.submitter.adopt(5)
    head = old.outbox.head()
    assert head is not None
    assert head.sequence == 3
    old.outbox.close()


class SlowKey(KeySigner):
    """Each signature is there when it is asked for the third time."""

    asked: dict[bytes, int]

    def sign(self, message_hash: bytes) -> tuple[int, int, int]:
        self.asked[message_hash] = self.asked.get(message_hash, 0) + 1
        if self.asked[message_hash] < 3:
            raise SignerBusy("the element has not answered yet")
        return super().sign(message_hash)


async def test_an_old_copy_waits_for_a_key_that_takes_its_time(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("meter.signer.LOOK_S", 0)
    monkeypatch.setattr(SlowKey, "asked", {}, raising=False)
    old = Scene(tmp_path / "old", scene.node)
    await old.submitter.adopt()
    old.measure(1)
    scene.measure(3)
    await scene.settle()
    old.outbox.close()
    old.outbox = Outbox.open(old.path, DOMAIN, old.meter, SlowKey(old.meter_key))
    old.submitter = old._new_submitter()
    await old.submitter.adopt(5)
    head, is_sealed = old.outbox.stored_head()
    assert head is not None
    assert head.sequence == 3
    assert is_sealed
    old.outbox.close()
