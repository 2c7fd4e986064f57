"""What a node says about the last reading is believed where this meter's own signature shows it, and nowhere else."""

from dataclasses import astuple
from pathlib import Path

import pytest

import meter.log_stretches as stretches_module
import meter.node_word as node_word
from contracts.addresses import EXHAUSTION_ADDRESS, METER_ADDRESS
from contracts.binding import load_artifact
from contracts.reading_format import compact_signature
from meter.alterations import Kind
from meter.drivers.driver import Registers
from meter.head import Head
from meter.ledger import MeterLedger
from meter.node_word import BelievedReading, NodeWord, Unproven
from meter.reading import NO_HASH, Reading, SignedReading
from meter.signer import KeySigner
from meter.submitter import SubmitterSettings
from primitives.errors import UserError
from primitives.secp256k1 import address_of
from tests.meter.fake_node import GENESIS_TIME_S, METER, OTHER_KEY, FakeNode
from tests.meter.submitter_scene import DOMAIN, STEP_WH, Scene
from wallet.answers import Log
from wallet.client import InvalidAnswer, NodeUnreachable, RpcError

METER_ABI = load_artifact("Meter").abi
STRANGER = address_of(OTHER_KEY)


@pytest.fixture
async def settled(scene: Scene) -> Scene:
    """Three readings on the ledger, brought in a batch."""
    scene.measure(3)
    await scene.settle()
    return scene


async def last_of(scene: Scene) -> Head:
    return await ledger_of(scene.node).last_reading(METER)


def ledger_of(node: FakeNode) -> MeterLedger:
    return MeterLedger(node, METER_ADDRESS, EXHAUSTION_ADDRESS)


def word_of(scene: Scene, believed: BelievedReading | None = None) -> NodeWord:
    return NodeWord(ledger_of(scene.node), DOMAIN, METER, scene.clock, believed)


def bring(scene: Scene, signed: SignedReading) -> None:
    """A stranger carries it, alone."""
    data = METER_ABI.function("submit").encode_call([(astuple(signed.reading), *signed.signature)])
    scene.node.transact(STRANGER, METER_ADDRESS, data)


def tell(scene: Scene, monkeypatch: pytest.MonkeyPatch, last: Head) -> None:
    """From now on the node names this last reading."""

    async def last_reading(*_: object) -> Head:
        return last

    monkeypatch.setattr(MeterLedger, "last_reading", last_reading)


async def test_what_the_meter_signed_is_believed(settled: Scene) -> None:
    last = await last_of(settled)
    standing = await word_of(settled).standing(last)
    assert (standing.head, standing.is_proved) == (last, True)
    assert last.registers.import_wh == 3 * STEP_WH
    assert settled.node.disbelieved == 0


async def test_also_where_it_came_alone(settled: Scene) -> None:
    bring(settled, settled.next_reading())
    last = await last_of(settled)
    assert last.sequence == 4
    assert (await word_of(settled).standing(last)).head == last


async def test_what_was_proved_is_not_looked_for_again(settled: Scene) -> None:
    word, last = word_of(settled), await last_of(settled)
    await word.check_signed(last)
    settled.node.calls.clear()
    await word.check_signed(last)
    assert settled.node.calls == []


@pytest.mark.parametrize("prefix", [b"", b"\x01\x02\x03", METER_ABI.function("submit").selector * 9])
async def test_through_another_contract_that_is_handed_the_reading(
    settled: Scene, monkeypatch: pytest.MonkeyPatch, prefix: bytes
) -> None:
    honest = settled.node.transaction_data

    async def wrapped(transaction_hash: bytes) -> bytes | None:
        return prefix + (await honest(transaction_hash) or b"")[4:] + b"\x07"

    monkeypatch.setattr(settled.node, "transaction_data", wrapped)
    last = await last_of(settled)
    assert (await word_of(settled).standing(last)).is_proved


async def forged(scene: Scene, monkeypatch: pytest.MonkeyPatch, key: bytes, import_wh: int) -> Head:
    """A reading that the meter never signed, within what its connection carries; the node invents all that goes with
    it but the meter's signature."""
    ours = scene.outbox.head()
    assert ours is not None
    reading = Reading(METER, 4, ours.registers.time_s + 30, import_wh, 0, 5, 0, ours.hash)
    signature = compact_signature(*KeySigner(key).sign(DOMAIN.signing_hash(reading)))
    last = Head(4, reading.hash, Registers(reading.time_s, import_wh, 0), None)
    event = METER_ABI.event("ReadingAccepted")
    body = b"".join(int(value).to_bytes(32, "big") for value in astuple(reading)[1:7]) + reading.previous_hash
    supplier = b"\x09" * 20
    log = Log(
        METER_ADDRESS, (event.topic, METER.rjust(32, b"\0"), supplier.rjust(32, b"\0")), body, 1, NO_HASH, b"\x77" * 32,
        0, False,
    )  # fmt: skip
    data = METER_ABI.function("submit").encode_call([(astuple(reading), *signature)])

    async def logs(*_: object) -> list[Log]:
        return [log]

    async def transaction_data(transaction_hash: bytes) -> bytes | None:
        return data if transaction_hash == log.transaction_hash else None

    tell(scene, monkeypatch, last)
    monkeypatch.setattr(scene.node, "logs", logs)
    monkeypatch.setattr(scene.node, "transaction_data", transaction_data)
    return last


async def test_a_whole_made_up_transaction_is_signed_by_somebody_else(
    settled: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    last = await forged(settled, monkeypatch, OTHER_KEY, 3 * STEP_WH + 500)
    with pytest.raises(Unproven, match="does not show this meter's signature"):
        await word_of(settled).standing(last)
    assert settled.node.disbelieved == 1


@pytest.mark.parametrize("import_wh", [3 * STEP_WH, 3 * STEP_WH + 500])
async def test_a_lie_that_is_plausible_changes_no_energy_and_stops_no_meter(
    settled: Scene, monkeypatch: pytest.MonkeyPatch, import_wh: int
) -> None:
    registers = Registers(GENESIS_TIME_S + 30, import_wh, 0)
    with monkeypatch.context() as patch:
        tell(settled, patch, Head(4, b"\x05" * 32, registers, None))
        with pytest.raises(Unproven, match="no event tells of its acceptance"):
            await settled.submitter.step()  # while it runs: no UserError, so it is tried again
        settled.crash()
        with pytest.raises(Unproven, match='believed_reading = "4 '):
            await settled.submitter.adopt()  # an old copy
    assert settled.node.disbelieved == 2, "where there is another node, it is asked"
    assert not settled.outbox.alterations.newest(1), "no reading tells the supplier of tampering because of a lie"
    settled.measure(2)
    await settled.settle()
    settled.check_charged_once(5)


async def test_a_lie_about_the_hash_is_no_tampering(settled: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    last = await last_of(settled)
    with monkeypatch.context() as patch:
        tell(settled, patch, Head(3, b"\x05" * 32, last.registers, None))
        with pytest.raises(Unproven, match="tells of another reading under that number"):
            await settled.submitter.step()
    assert not settled.outbox.alterations.newest(1)


async def test_a_new_outbox_believes_no_lie_either(
    settled: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = Scene(tmp_path / "new", settled.node)
    with monkeypatch.context() as patch:
        tell(new, patch, Head(500, b"\x05" * 32, Registers(GENESIS_TIME_S + 30, 9_000_000, 0), None))
        with pytest.raises(Unproven):
            await new.submitter.adopt()
        assert new.outbox.head() is None
    await new.submitter.adopt()
    assert new.outbox.head() == await last_of(settled)
    new.outbox.close()


async def test_a_person_may_vouch_for_what_nothing_proves(
    settled: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The reading came through a contract that does not show it, or the node forgets transactions."""

    async def forgotten(transaction_hash: bytes) -> bytes | None:
        return None

    monkeypatch.setattr(settled.node, "transaction_data", forgotten)
    new = Scene(tmp_path / "new", settled.node)
    with pytest.raises(Unproven, match=r'does not know the transaction 0x.* "3 3000 0"'):
        await new.submitter.adopt()
    new.settings = SubmitterSettings(confirmations=2, believed=BelievedReading.parse("3 2999 0"))
    new.crash()
    with pytest.raises(Unproven):
        await new.submitter.adopt()
    new.settings = SubmitterSettings(confirmations=2, believed=BelievedReading.parse("3 3000 0"))
    new.crash()
    await new.submitter.adopt()
    assert new.outbox.head() == await last_of(settled)
    (told,) = new.outbox.alterations.newest(9)
    assert (told.kind, told.first_sequence) == (Kind.BELIEVED, 3)
    assert "a person wrote it into ledger.believed_reading" in caplog.text
    new.outbox.close()


async def test_a_reading_vouched_for_is_not_of_a_time_to_come(settled: Scene) -> None:
    far = Head(9, b"\x05" * 32, Registers(settled.clock.time_s() + 10**6, 9000, 0), None)
    with pytest.raises(Unproven):
        await word_of(settled, BelievedReading(9, 9000, 0)).standing(far)


async def test_before_the_first_reading(settled: Scene) -> None:
    word = word_of(settled)
    nothing = Head(0, NO_HASH, Registers(), None)
    assert (await word.standing(nothing)).is_proved
    for odd in (Head(0, b"\x01" * 32, Registers(), None), Head(0, NO_HASH, Registers(5, 0, 0), None)):
        with pytest.raises(InvalidAnswer, match="without readings"):
            await word.standing(odd)
    opening = Head(0, NO_HASH, Registers(0, 8_120_400, 0), None)
    with pytest.raises(Unproven, match=r'proves no opening registers\..*believed_reading = "0 8120400 0"'):
        await word.standing(opening)
    standing = await word_of(settled, BelievedReading(0, 8_120_400, 0)).standing(opening)
    assert (standing.head, standing.is_proved) == (opening, False)


async def test_registers_that_a_supplier_set_since_need_a_person(settled: Scene) -> None:
    """A meter that was removed and is back, or was swapped, has the reading that it signed and other registers."""
    last = await last_of(settled)
    registers = last.registers
    reopened = Head(3, last.hash, Registers(registers.time_s, registers.import_wh + 700, 0), None)
    with pytest.raises(Unproven, match="signed 3000 Wh taken and 0 Wh given with it; a supplier may have set others"):
        await word_of(settled).standing(reopened)
    await word_of(settled).check_signed(reopened)
    standing = await word_of(settled, BelievedReading(3, 3700, 0)).standing(reopened)
    assert standing.head.registers.import_wh == 3700


async def test_it_is_looked_for_in_stretches_and_goes_on_where_it_was_cut_off(
    settled: Scene, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    monkeypatch.setattr(stretches_module, "MAX_LOG_BLOCKS", 10)
    monkeypatch.setattr(node_word, "TELL_EVERY", 3)
    settled.node.mine(95)
    settled.node.max_logs = 3
    word, last = word_of(settled), await last_of(settled)
    asked: list[int] = []
    honest = settled.node.logs

    async def logs(addresses: object, topics: object, first: int, until: int) -> list[Log]:
        asked.append(until - first + 1)
        if len(asked) == 5:
            raise NodeUnreachable("gone")
        return await honest(addresses, topics, first, until)  # type: ignore[arg-type]

    monkeypatch.setattr(settled.node, "logs", logs)
    with pytest.raises(NodeUnreachable):
        await word.check_signed(last)
    await word.check_signed(last)
    assert max(asked) == 10
    assert len(asked) <= 12, "what was looked through is not looked through again"
    assert "30 of" in caplog.text


async def test_blocks_before_the_time_of_the_reading_are_not_looked_through(settled: Scene) -> None:
    settled.node.mine(3000)
    now_s = settled.node.blocks[-1].time_s
    settled.node.calls.clear()
    with pytest.raises(Unproven):
        await word_of(settled).standing(Head(9, b"\x05" * 32, Registers(now_s, 9000, 0), None))
    assert settled.node.calls.count("logs") == 1
    assert settled.node.calls.count("block") < 20


async def test_a_node_that_refuses_its_events_proves_nothing(settled: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(*_: object) -> list[Log]:
        raise RpcError("eth_getLogs", 4444, "pruned history unavailable")

    monkeypatch.setattr(settled.node, "logs", refuse)
    last = await last_of(settled)
    with pytest.raises(Unproven, match="pruned history unavailable"):
        await word_of(settled).standing(last)


@pytest.mark.parametrize("text", ["1", "1 2", "-1 2 3", "1 2 3 4", "a b c", "1  2 3", "9" * 16 + " 0 0", "١ 2 3"])
def test_a_believed_reading_is_three_numbers(text: str) -> None:
    with pytest.raises(UserError, match=r"believed_reading must be three numbers in quotes"):
        BelievedReading.parse(text)


def test_without_one_nothing_is_believed() -> None:
    assert BelievedReading.parse("") is None
    assert BelievedReading.parse("1234 567890 0") == BelievedReading(1234, 567_890, 0)
