"""Tampering tried, against whole meters and the real contracts: refused or exposed, and what the operator then sees.

The household is played from a file, so that what it used is known to the Wh; somebody edits the meter's card, sends its
readings about, or starts a copy of it.
"""

import asyncio
import random
import shutil
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import astuple, dataclass, field, replace
from pathlib import Path

import pytest

from contracts.addresses import METER_ADDRESS
from contracts.binding import load_artifact
from contracts.reading_format import StatusFlag
from meter.assembly import build_daemon
from meter.commands import _status_text
from meter.daemon import MeterDaemon
from meter.reading import Reading, ReadingDomain, SignedReading
from meter.settings import MeterSettings, parse_settings
from meter.signer import KeySigner
from meter.status import read_status
from primitives.clock import ManualClock
from primitives.errors import UserError
from primitives.hexadecimal import to_checksum_address
from tests.meter.fake_node import CHAIN_ID, METER, METER_KEY, OTHER_KEY, SENDER_KEY, FakeNode
from wallet.meter_audit import audit

HOUR_S = 3600
BLOCK_TIME_S = 600
ROW_S = 600
LOAD_WH = 20
SIGNER, PAYER, STRANGER = KeySigner(METER_KEY), KeySigner(SENDER_KEY), KeySigner(OTHER_KEY)
DOMAIN = ReadingDomain(CHAIN_ID, METER_ADDRESS)
METER_ABI = load_artifact("Meter").abi


class Street:
    """A ledger, and the time."""

    def __init__(self) -> None:
        self.node = FakeNode(credit_wei=10**24)
        self.node.block_time_s = BLOCK_TIME_S
        self.clock = ManualClock(self.node.blocks[-1].time_s)
        self.node.clock = self.clock

    async def pass_hours(self, hours: float) -> None:
        end_s = self.clock.now_s + hours * HOUR_S
        while self.clock.now_s < end_s:
            self.clock.advance_s(BLOCK_TIME_S)
            for _ in range(80):
                await asyncio.sleep(0)
            self.node.mine()

    def bring(self, *readings: SignedReading) -> list[str]:
        """Somebody sends readings in a batch; what the ledger says of those that it refuses."""
        signed = [(astuple(one.reading), one.signature.r, one.signature.vs) for one in readings]
        data = METER_ABI.function("submitBatch").encode_call((signed,))
        self.node.transact(STRANGER.address, METER_ADDRESS, data)
        decoded = [METER_ABI.decode_log(log.topics, log.data) for log in self.node.blocks[-1].logs]
        return [str(one.arguments["outcome"]) for one in decoded if one is not None and one.event == "ReadingRefused"]

    def accepted(self) -> dict[int, Reading]:
        found = {}
        for block in self.node.blocks:
            for log in block.logs:
                decoded = METER_ABI.decode_log(log.topics, log.data) if log.address == METER_ADDRESS else None
                if decoded is not None and decoded.event == "ReadingAccepted":
                    _, _, *fields = decoded.arguments.values()
                    reading = Reading(METER, *fields)  # type: ignore[arg-type]
                    found[reading.sequence] = reading
        return found

    async def audited(self) -> str:
        """What `wattchain meter audit` shows to the supplier."""
        found = await audit(self.node, METER, 0, self.node.blocks[-1].number)
        return "\n".join(one.what for one in found)


@dataclass
class Home:
    """A meter with its card: a folder."""

    street: Street
    folder: Path
    hours: int = 48
    load_wh: int = LOAD_WH
    failures: list[UserError] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.folder.mkdir(exist_ok=True)
        rows = "\n".join(["non_shiftable_load", *[f"0.{self.load_wh:03}"] * (self.hours * HOUR_S // ROW_S)])
        (self.folder / "profile.csv").write_text(rows + "\n")

    def settings(self) -> MeterSettings:
        document: dict[str, object] = {
            "meter": {"outbox": "outbox.sqlite", "runtime_folder": "run"},
            # The signers are handed over; here the address is read.
            "pkcs11": {"module": "none", "token": "none", "key_id": "01", "address": to_checksum_address(METER)},
            "ledger": {"chain_id": CHAIN_ID, "confirmations": 1},
            "driver": {"file": "profile.csv", "row_interval_s": ROW_S},
        }
        return parse_settings(document, self.folder / "meter.toml")

    @asynccontextmanager
    async def running(self) -> AsyncIterator[MeterDaemon]:
        """The meter at work until the block ends; what ended it before that, in plain words, is in `failures`."""
        daemon = build_daemon(self.settings(), self.street.node, self.street.clock, SIGNER, PAYER, random.Random(1))
        task = asyncio.ensure_future(daemon.run())
        try:
            yield daemon
        finally:
            task.cancel()
            try:
                await task
            except asyncio.CancelledError:
                pass
            except UserError as error:
                self.failures.append(error)
            daemon.outbox.close()

    def edit(self, statement: str) -> None:
        connection = sqlite3.connect(self.folder / "outbox.sqlite")
        with connection:
            connection.execute(statement)
        connection.close()

    async def status(self) -> str:
        """As `wattchain meter status` shows it."""
        return _status_text(await read_status(self.settings(), ask_node=False))

    def copy(self, name: str, **changes: int) -> "Home":
        """A clone of the card, in another device."""
        folder = self.folder.with_name(name)
        shutil.copytree(self.folder, folder)
        return Home(self.street, folder, **changes)


@pytest.fixture
def street() -> Street:
    return Street()


@pytest.fixture
def home(street: Street, tmp_path: Path) -> Home:
    return Home(street, tmp_path / "home")


async def some_hours_offline(street: Street, home: Home) -> list[SignedReading]:
    """Three hours on the ledger, four in the outbox; then the meter is off. Those in the outbox."""
    async with home.running() as daemon:
        await street.pass_hours(3)
        street.node.is_down = True
        await street.pass_hours(4)
        waiting = daemon.outbox.waiting(0, 100)
    street.node.is_down = False
    assert len(waiting) >= 4
    return waiting


async def back_online(street: Street, home: Home, hours: float = 5) -> dict[int, Reading]:
    """What the ledger then has: to the Wh what was used, and the flag in one reading at least."""
    async with home.running() as daemon:
        await street.pass_hours(hours)
        assert daemon.outbox.count() <= 2
    accepted = street.accepted()
    first, newest = accepted[min(accepted)], accepted[max(accepted)]
    rows = (newest.time_s - first.time_s) // ROW_S
    assert newest.import_wh == street.node.charged_wh() == first.import_wh + rows * LOAD_WH
    return accepted


def tamper_flags(accepted: dict[int, Reading]) -> list[int]:
    return [sequence for sequence, reading in accepted.items() if reading.flags & StatusFlag.TAMPER]


async def test_nobody_tampers(street: Street, home: Home) -> None:
    await some_hours_offline(street, home)
    accepted = await back_online(street, home)
    assert tamper_flags(accepted) == []
    assert "TAMPERING" not in await home.status()
    assert "tamper" not in await street.audited()


@pytest.mark.parametrize("while_running", [False, True])
async def test_edited_reading(
    street: Street, home: Home, while_running: bool, caplog: pytest.LogCaptureFixture
) -> None:
    waiting = await some_hours_offline(street, home)
    victim = waiting[1].reading.sequence
    statement = f"UPDATE readings SET import_wh = import_wh - 50 WHERE sequence = {victim}"
    if while_running:
        street.node.is_down = True
        async with home.running():
            await street.pass_hours(1)
            home.edit(statement)
            street.node.is_down = False
            await street.pass_hours(5)
        accepted = await back_online(street, home, 2)
    else:
        home.edit(statement)
        accepted = await back_online(street, home)
    assert victim not in accepted
    assert tamper_flags(accepted)
    assert f"TAMPERING: reading {victim} was altered in the outbox" in caplog.text
    assert (
        f"reading {victim} was altered in the outbox (not as the meter signed it) and will not be sent"
        in await home.status()
    )
    assert f"reading {tamper_flags(accepted)[0]} tells the supplier" in await home.status()
    assert "tells: tamper" in await street.audited()
    assert f"came behind {victim - 1}: those between were set aside" in await street.audited()


async def test_deleted_readings(street: Street, home: Home) -> None:
    waiting = await some_hours_offline(street, home)
    home.edit(f"DELETE FROM readings WHERE sequence = {waiting[1].reading.sequence}")
    accepted = await back_online(street, home)
    assert tamper_flags(accepted)
    assert f"reading {waiting[1].reading.sequence} is gone from the outbox" in await home.status()


async def test_head_set_back_to_lower_registers(street: Street, home: Home) -> None:
    await some_hours_offline(street, home)
    home.edit("UPDATE head SET import_wh = import_wh - 200, driver_state = NULL")
    async with home.running():
        await street.pass_hours(3)
    accepted = street.accepted()
    registers = [accepted[sequence].import_wh for sequence in sorted(accepted)]
    assert registers == sorted(registers)
    assert tamper_flags(accepted)
    assert "the head of the outbox was altered; the meter goes on behind reading" in await home.status()


async def test_replayed_readings_are_charged_once(street: Street, home: Home) -> None:
    waiting = await some_hours_offline(street, home)
    await back_online(street, home)
    charged = street.node.charged_wh()
    assert street.bring(*waiting) == ["1"] * len(waiting)  # stale
    assert street.node.charged_wh() == charged
    assert "refused" not in await street.audited(), "a reading that comes twice is nobody's fault"


async def test_readings_on_another_chain_or_contract(street: Street, home: Home) -> None:
    waiting = await some_hours_offline(street, home)
    elsewhere = ReadingDomain(CHAIN_ID + 1, METER_ADDRESS).sign(waiting[0].reading, SIGNER)
    assert street.bring(elsewhere) == ["4"]  # invalid signature
    await back_online(street, home)


async def test_reordered_readings_lose_no_energy(street: Street, home: Home, caplog: pytest.LogCaptureFixture) -> None:
    waiting = await some_hours_offline(street, home)
    assert street.bring(*waiting[2:], *waiting[:2]) == ["1", "1"]  # stale: later ones are there
    await back_online(street, home)
    for one in waiting[:2]:
        assert f"READING {one.reading.sequence} WAS PASSED OVER" in caplog.text
        assert f"{one.reading.sequence}: passed over: the ledger accepted a later reading first" in await home.status()
    assert "those between were set aside, deleted or brought too late" in await street.audited()


async def test_back_dated_reading(street: Street, home: Home) -> None:
    """By somebody who has the meter's key."""
    async with home.running():
        await street.pass_hours(5)
    last = street.accepted()[max(street.accepted())]
    late = replace(last, sequence=last.sequence + 5, time_s=last.time_s - HOUR_S, previous_hash=last.hash)
    assert street.bring(DOMAIN.sign(late, SIGNER)) == ["7"]  # time fell
    lower = replace(last, sequence=last.sequence + 5, import_wh=last.import_wh - 1, previous_hash=last.hash)
    assert street.bring(DOMAIN.sign(lower, SIGNER)) == ["8"]  # import fell
    ahead = replace(last, sequence=last.sequence + 5, time_s=last.time_s + 10**6, previous_hash=last.hash)
    assert street.bring(DOMAIN.sign(ahead, SIGNER)) == ["6"]  # time in future
    told = await street.audited()
    for words in ("time fell", "import fell", "time in future"):
        assert f"and the ledger refused it: {words}" in told


async def test_forged_and_foreign_readings(street: Street, home: Home) -> None:
    waiting = await some_hours_offline(street, home)
    genuine = waiting[0]
    lower = replace(genuine.reading, import_wh=genuine.reading.import_wh - 1)
    forged = SignedReading(lower, genuine.signature)
    by_stranger = SignedReading(
        genuine.reading, DOMAIN.sign(replace(genuine.reading, meter=STRANGER.address), STRANGER).signature
    )
    foreign = DOMAIN.sign(replace(genuine.reading, meter=STRANGER.address), STRANGER)
    assert street.bring(forged, by_stranger, foreign) == ["4", "4", "2"]  # twice invalid signature, unknown meter
    assert (await street.audited()).count("and the ledger refused it: invalid signature") == 2
    await back_online(street, home)
    assert "TAMPERING" not in await home.status(), "nothing happened to this meter"


async def test_cloned_card(street: Street, home: Home, caplog: pytest.LogCaptureFixture) -> None:
    """Two devices with one key, both at work: the second plays a home that uses more."""
    async with home.running():
        await street.pass_hours(3)
    clone = home.copy("clone", load_wh=50)
    async with home.running(), clone.running():
        await street.pass_hours(8)
    seen = [await home.status(), await clone.status()]
    for text in seen:
        assert "TAMPERING noticed" in text
        assert "a second device signs with this meter's key" in text
    assert "a second device signs with this meter's key" in caplog.text
    assert "a second device signs with this meter's key" in await street.audited()
    # Started again, as a service is: the ledger is told by a flag.
    async with home.running(), clone.running():
        await street.pass_hours(4)
    accepted = street.accepted()
    assert tamper_flags(accepted)
    assert "tells: tamper" in await street.audited()
    registers = [accepted[sequence].import_wh for sequence in sorted(accepted)]
    assert registers == sorted(registers), "whatever two devices do, nothing is charged twice or taken back"


async def test_old_copy_of_the_card_put_back(street: Street, home: Home) -> None:
    async with home.running():
        await street.pass_hours(2)
    old = home.copy("old")
    async with home.running():
        await street.pass_hours(4)
    async with old.running():
        await street.pass_hours(4)
    assert tamper_flags(street.accepted())
    assert "it is an old copy, or a second device signs with this meter's key" in await old.status()


async def test_a_spoilt_card_is_told_like_a_hand_at_it(street: Street, home: Home) -> None:
    await some_hours_offline(street, home)
    path = home.folder / "outbox.sqlite"
    path.write_bytes(path.read_bytes()[:100] + b"\xa5" * 5000)
    async with home.running():
        await street.pass_hours(3)
    assert home.failures == []
    accepted = street.accepted()
    assert tamper_flags(accepted)[-1] > 3
    assert "tells: tamper" in await street.audited()
    status = await home.status()
    assert "the outbox was damaged (" in status
    assert f"reading {tamper_flags(accepted)[-1]} tells the supplier" in status
    assert len(list(home.folder.glob("outbox.sqlite.damaged-*"))) == 1


@pytest.mark.parametrize("is_emptied", [False, True])
async def test_an_outbox_that_is_taken_away_or_emptied(street: Street, home: Home, is_emptied: bool) -> None:
    await some_hours_offline(street, home)
    (home.folder / "outbox.sqlite").unlink()
    if is_emptied:
        (home.folder / "outbox.sqlite").touch()
    async with home.running():
        await street.pass_hours(3)
    assert home.failures == []
    assert tamper_flags(street.accepted())[-1] > 3
    assert "tells: tamper" in await street.audited()
    assert "the outbox was taken away or emptied" in await home.status()
