"""Which samples become readings, with which flags, and what is left after a crash or a power cut."""

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from contracts.reading_format import StatusFlag
from meter.checkpoint import CheckpointKeeper
from meter.drivers.driver import Registers, Sample
from meter.head import first_head
from meter.meter_clock import MeterClock
from meter.outbox import Outbox
from meter.reading import Reading, Signature
from meter.recorder import Recorder
from meter.signer import KeySigner, SignerBusy, SignerUnavailable
from primitives.clock import ManualClock
from tests.meter.kill_outbox import DOMAIN, KEY, METER

HOUR_S = 3600
BEGIN_S = 500_000 * HOUR_S
NONE, RESTARTED, TAMPER = StatusFlag(0), StatusFlag.RESTARTED, StatusFlag.TAMPER


class FailingSigner:
    address = METER

    def __init__(self) -> None:
        self._signer = KeySigner(KEY)
        self.made: set[bytes] = set()
        """While it is busy, only signatures of these hashes are there."""
        self.is_away = False
        self.is_busy = False

    def sign(self, message_hash: bytes) -> Signature:
        if self.is_away:
            raise SignerUnavailable("the element does not answer")
        if self.is_busy and message_hash not in self.made:
            raise SignerBusy("the element has not answered yet")
        return self._signer.sign(message_hash)


@dataclass
class Meter:
    """The recorder of a meter that takes 1 Wh with each sample; `kill`, `stop` and `cut_power` end it."""

    folder: Path
    interval_s: int = HOUR_S
    spacing_s: int = 0
    boot_id: str = "boot 1"
    most_events: int = 12

    def __post_init__(self) -> None:
        self.clock = ManualClock(BEGIN_S)
        self.signer = FailingSigner()
        self.outbox = Outbox.open(self.folder / "outbox.sqlite", DOMAIN, METER, self.signer)
        self.outbox.adopt(first_head(), b"\x01" * 32, 0)
        self.wh = 0
        self.start()

    def start(self, boot_id: str = "boot 1") -> None:
        self.keeper = CheckpointKeeper(METER, self.folder / "card", self.folder / "memory", self.clock, 60)
        self.meter_clock = MeterClock(self.clock)
        self.recorder = Recorder(
            self.outbox,
            self.signer,
            self.clock,
            self.meter_clock,
            self.keeper,
            interval_s=self.interval_s,
            spacing_s=self.spacing_s,
            boot_id=boot_id,
            most_events_per_hour=self.most_events,
        )
        self.state, self.floor = self.recorder.resume()

    def kill(self) -> None:
        self.keeper.close()

    def cut_power(self) -> None:
        self.keeper.close()
        (self.folder / "memory").unlink()

    def see(self, after_s: int, flags: StatusFlag = NONE, *, is_timed: bool = True) -> None:
        self.clock.advance_s(after_s)
        self.wh += 1
        registers = Registers(self.clock.time_s(), self.wh, 0)
        self.recorder.take(Sample(registers, 5, flags, b"%d" % self.wh, is_timed=is_timed))

    def hear(self, after_s: int) -> None:
        """Of a block that is so many seconds younger than the begin."""
        self.meter_clock.heard(Reading(METER, 1, BEGIN_S + after_s, 0, 0, 0, 0, bytes(32)))  # whatever has a time

    def readings(self) -> list[Reading]:
        return [stored.signed.reading for stored in reversed(self.outbox.newest(1000))]

    def told(self) -> list[tuple[int, int, StatusFlag]]:
        """Of each reading: seconds since the begin, Wh, flags."""
        return [(one.time_s - BEGIN_S, one.import_wh, StatusFlag(one.flags)) for one in self.readings()]


@pytest.fixture
def meter(tmp_path: Path):  # type: ignore[no-untyped-def]
    made = Meter(tmp_path)
    yield made
    made.kill()
    made.outbox.close()  # which one that is, the test has decided


def test_the_first_sample_is_a_signed_boot_event_and_then_whole_hours(meter: Meter) -> None:
    meter.see(7)
    for _ in range(2 * HOUR_S // 5):
        meter.see(5)
    # The last samples at or before the hour are those 3 s before it: at :07, then each 5 s.
    assert meter.told() == [(7, 1, RESTARTED), (3597, 719, NONE), (7197, 1439, NONE)]


def test_a_sample_at_the_boundary_is_signed_without_waiting_for_the_next(meter: Meter) -> None:
    meter.see(10)
    meter.see(HOUR_S - 10)
    assert meter.told() == [(10, 1, RESTARTED), (3600, 2, NONE)]
    meter.see(1)
    meter.see(HOUR_S - 1)
    assert [told[0] for told in meter.told()] == [10, 3600, 7200]


def test_a_reading_is_never_older_than_a_block_that_came_before_it_was_signed(meter: Meter) -> None:
    """The last sample of an hour waits for the first of the next; a block of in between passes it over."""
    meter.see(7)
    meter.see(HOUR_S - 10)
    meter.hear(HOUR_S - 1)
    meter.see(5, StatusFlag.JUMP)
    assert meter.told() == [(7, 1, RESTARTED), (HOUR_S + 2, 3, StatusFlag.JUMP)]
    # The next one is in turn again: the block is as old as the sample, not newer.
    meter.see(HOUR_S - 5)
    meter.hear(2 * HOUR_S - 3)
    meter.see(5)
    assert meter.told()[2:] == [(2 * HOUR_S - 3, 4, NONE)]


def test_a_block_of_hours_ago_passes_over_what_waited_for_the_clock(meter: Meter) -> None:
    meter.see(7)
    meter.see(5)
    meter.see(3 * HOUR_S, is_timed=False)
    meter.hear(2 * HOUR_S)
    meter.see(5)
    meter.see(5)
    assert meter.told() == [(7, 1, RESTARTED), (3 * HOUR_S + 17, 4, NONE)]


def test_a_reading_that_a_block_has_passed_over_is_tried_again_as_any_other(meter: Meter) -> None:
    meter.see(7)
    meter.see(HOUR_S - 10)
    meter.hear(HOUR_S - 1)
    meter.signer.is_away = True
    meter.see(5)
    meter.signer.is_away = False
    for _ in range(70):
        meter.see(1)
    assert meter.told()[1:] == [(HOUR_S + 62, 63, NONE)]


def test_a_file_of_the_past_is_played_behind_any_block(tmp_path: Path) -> None:
    meter = Meter(tmp_path, interval_s=1800)
    with closing(meter.outbox):
        meter.hear(10**6)
        for _ in range(4):
            meter.see(1300)
        meter.kill()
        assert [told[0] for told in meter.told()] == [1300, 2600]


def test_where_samples_come_far_apart_the_last_before_a_boundary_is_known_as_such(tmp_path: Path) -> None:
    meter = Meter(tmp_path, spacing_s=900)
    with closing(meter.outbox):
        for _ in range(9):
            meter.see(900)
            if meter.clock.time_s() == BEGIN_S + 900:
                meter.clock.advance_s(200)
        meter.kill()
        assert [told[0] for told in meter.told()] == [900, 2900, 6500]


def test_an_interval_without_samples_has_no_reading(meter: Meter) -> None:
    meter.see(10)
    meter.see(5 * HOUR_S)
    meter.see(HOUR_S)
    assert [told[0] for told in meter.told()] == [10, 5 * HOUR_S + 10]


def test_every_sample_at_the_shortest_interval(tmp_path: Path) -> None:
    meter = Meter(tmp_path, interval_s=5)
    with closing(meter.outbox):
        for _ in range(10):
            meter.see(5)
        meter.kill()
        assert [told[0] for told in meter.told()] == [5 * number for number in range(1, 11)]


def test_flags_belong_to_the_reading_behind_them(meter: Meter) -> None:
    meter.see(10)
    meter.see(3580, StatusFlag.GAP)
    meter.see(20, StatusFlag.JUMP)
    meter.see(3600)
    assert meter.told()[1:] == [(3590, 2, StatusFlag.GAP), (3610, 3, StatusFlag.JUMP)]


def test_an_event_is_signed_with_the_next_sample(meter: Meter) -> None:
    meter.see(10)
    meter.recorder.note(StatusFlag.CALIBRATED, "later will do")
    meter.see(5)
    meter.recorder.note(TAMPER, "somebody touched it", at_once=True)
    meter.see(5)
    meter.see(5)
    assert meter.told() == [(10, 1, RESTARTED), (20, 3, TAMPER | StatusFlag.CALIBRATED)]


def test_events_are_limited_also_over_restarts_and_wait_for_the_reading_in_turn(tmp_path: Path) -> None:
    meter = Meter(tmp_path, most_events=3)
    with closing(meter.outbox):
        for _ in range(10):
            meter.see(10)
            meter.recorder.note(TAMPER, "again", at_once=True)
            meter.see(10)
            meter.kill()
            meter.start()
        assert len(meter.readings()) == 3
        meter.see(HOUR_S - 200)
        assert meter.told()[3:] == [(3600, 21, TAMPER | RESTARTED)]
        meter.recorder.note(TAMPER, "in the next hour", at_once=True)
        meter.see(10)
        assert len(meter.readings()) == 5
        meter.kill()


def test_a_killed_program_goes_on_behind_its_last_sample(meter: Meter) -> None:
    meter.see(10)
    meter.see(1, StatusFlag.GAP)
    meter.see(1)
    meter.kill()
    meter.start()
    assert (meter.state, meter.floor) == (b"3", Registers(BEGIN_S + 10, 1, 0))
    meter.see(1)
    assert meter.told()[1:] == [(13, 4, RESTARTED | StatusFlag.GAP)]


def test_a_power_cut_costs_what_came_since_the_last_minute(meter: Meter) -> None:
    for _ in range(130):
        meter.see(1)
    meter.cut_power()
    meter.start("boot 2")
    assert meter.state == b"121"
    meter.see(60)
    assert meter.told()[1:] == [(190, 131, RESTARTED | StatusFlag.POWER_LOST)]


def test_a_new_flag_is_on_the_card_at_once(meter: Meter) -> None:
    meter.see(1)
    meter.recorder.note(TAMPER, "the cover was opened", at_once=True)
    meter.cut_power()
    meter.start("boot 2")
    meter.see(60)
    assert meter.told()[1][2] == RESTARTED | StatusFlag.POWER_LOST | TAMPER


def test_a_reboot_in_order_is_no_power_lost(meter: Meter) -> None:
    meter.see(1)
    meter.see(1)
    meter.recorder.stop()
    (meter.folder / "memory").unlink()
    meter.start("boot 2")
    assert meter.state == b"2"
    meter.see(1)
    assert meter.told()[1][2] == RESTARTED
    # In the new boot it has not been stopped yet.
    meter.cut_power()
    meter.start("boot 3")
    meter.see(1)
    assert meter.told()[2][2] == RESTARTED | StatusFlag.POWER_LOST


def test_a_checkpoint_older_than_the_last_reading_is_never_used(meter: Meter) -> None:
    meter.see(1)
    meter.see(1)
    memory, card = [(meter.folder / name).read_bytes() for name in ("memory", "card")]
    meter.see(HOUR_S - 2)
    meter.kill()
    # Somebody puts the old files back, or a write was lost.
    (meter.folder / "memory").write_bytes(memory)
    (meter.folder / "card").write_bytes(card)
    meter.start()
    assert meter.state == b"3"
    assert meter.floor.import_wh == 3


def test_the_energy_of_readings_that_were_lost_with_the_outbox_goes_on(meter: Meter) -> None:
    meter.see(1)
    meter.see(HOUR_S - 1)
    meter.see(1)
    assert len(meter.readings()) == 2
    meter.kill()
    meter.outbox.close()
    for path in meter.folder.glob("outbox.sqlite*"):
        path.unlink()
    # The ledger has none of the readings.
    meter.outbox = Outbox.open(meter.folder / "outbox.sqlite", DOMAIN, METER, meter.signer)
    meter.outbox.adopt(first_head(), b"\x01" * 32, 0)
    meter.start()
    assert (meter.state, meter.floor.import_wh) == (b"3", 0)
    meter.kill()
    meter.outbox.close()
    (meter.folder / "outbox.sqlite").unlink()
    meter.outbox = Outbox.open(meter.folder / "outbox.sqlite", DOMAIN, METER, meter.signer)
    meter.outbox.adopt(first_head(), b"\x02" * 32, 0)
    meter.start()
    assert meter.state is None  # another ledger


def test_nothing_is_signed_while_the_clock_is_not_set(meter: Meter) -> None:
    for _ in range(3):
        meter.see(HOUR_S, is_timed=False)
    meter.recorder.note(TAMPER, "x", at_once=True)
    meter.see(1, is_timed=False)
    assert meter.readings() == []
    meter.see(1, StatusFlag.CLOCK_SET)
    assert meter.told() == [(3 * HOUR_S + 2, 5, RESTARTED | TAMPER | StatusFlag.CLOCK_SET)]


def test_a_signer_that_is_away_is_tried_again_in_a_minute(meter: Meter, caplog: pytest.LogCaptureFixture) -> None:
    meter.see(1)
    meter.signer.is_away = True
    meter.see(HOUR_S - 1, StatusFlag.JUMP)
    for _ in range(100):
        meter.see(1)
    meter.signer.is_away = False
    for _ in range(60):
        meter.see(1)
    assert caplog.text.count("NO READING WAS SIGNED: the element does not answer") == 3
    assert meter.told()[1:] == [(HOUR_S + 121, 123, StatusFlag.JUMP)]


def test_a_busy_key_gets_its_time_and_the_reading_stays_as_it_was(meter: Meter) -> None:
    """What happens meanwhile is for the next reading; that of the boundary is the boundary's."""
    meter.see(1)
    meter.signer.is_busy = True
    meter.see(HOUR_S - 1, StatusFlag.JUMP)
    for _ in range(20):
        meter.see(1, StatusFlag.GAP)
    meter.recorder.note(TAMPER, "an edit", at_once=True)
    meter.see(1, StatusFlag.JUMP)
    assert meter.told() == [(1, 1, RESTARTED)]
    meter.signer.is_busy = False
    meter.see(1)
    assert meter.told()[1:] == [
        (HOUR_S, 2, StatusFlag.JUMP),
        (HOUR_S + 22, 24, StatusFlag.GAP | TAMPER | StatusFlag.JUMP),
    ]


def test_both_signatures_of_a_reading_may_take_their_time(meter: Meter) -> None:
    meter.see(1)
    asked: list[bytes] = []
    sign = meter.signer.sign

    def slowly(message_hash: bytes) -> Signature:
        if message_hash not in asked:
            asked.append(message_hash)
            raise SignerBusy("the element has not answered yet")
        return sign(message_hash)

    meter.signer.sign = slowly  # type: ignore[method-assign]
    meter.see(HOUR_S - 1)
    meter.see(1)
    assert len(meter.told()) == 1
    meter.see(1)
    assert meter.told()[1:] == [(HOUR_S, 2, NONE)]
    assert len(asked) == 2


def test_a_boundary_that_passes_while_the_key_is_busy_has_its_reading_behind(tmp_path: Path) -> None:
    meter = Meter(tmp_path, interval_s=30)
    with closing(meter.outbox):
        meter.see(1)
        meter.signer.is_busy = True
        meter.see(29)
        for _ in range(40):
            meter.see(1)
        meter.signer.is_busy = False
        meter.see(1)
        meter.kill()
        assert meter.told()[1:] == [(30, 2, NONE), (71, 43, NONE)]


def test_a_key_that_hangs_is_left_for_a_newer_reading(meter: Meter, caplog: pytest.LogCaptureFixture) -> None:
    meter.see(1)
    meter.signer.is_busy = True
    meter.see(HOUR_S - 1, StatusFlag.JUMP)
    for _ in range(150):
        meter.see(1)
    assert caplog.text.count("NO READING WAS SIGNED: the element has not answered yet") == 1
    meter.signer.is_busy = False
    meter.see(1)
    assert meter.told()[1:] == [(HOUR_S + 120, 122, StatusFlag.JUMP)]


@pytest.mark.parametrize("is_cut", [False, True])
def test_a_crash_while_the_key_is_busy_loses_neither_flags_nor_energy(meter: Meter, is_cut: bool) -> None:
    meter.see(1)
    meter.signer.is_busy = True
    meter.see(HOUR_S - 1, StatusFlag.JUMP)
    meter.recorder.note(StatusFlag.GAP, "silence")
    meter.see(1)
    if is_cut:
        meter.cut_power()
    else:
        meter.kill()
    meter.signer.is_busy = False
    meter.start()
    assert meter.state == (b"2" if is_cut else b"3")
    meter.see(1)
    assert [told[2] for told in meter.told()] == [RESTARTED, StatusFlag.JUMP | StatusFlag.GAP | RESTARTED]


def test_the_end_of_the_source_waits_for_the_key(meter: Meter) -> None:
    meter.see(1)
    meter.see(5)
    meter.signer.is_busy = True
    assert not meter.recorder.finish()
    meter.signer.is_busy = False
    assert meter.recorder.finish()
    assert meter.told()[1:] == [(6, 2, NONE)]


def test_an_event_that_cannot_be_signed_is_tried_again_in_a_minute_too(
    meter: Meter, caplog: pytest.LogCaptureFixture
) -> None:
    meter.see(1)
    meter.signer.is_away = True
    meter.recorder.note(TAMPER, "an edit", at_once=True)
    for _ in range(100):
        meter.see(1)
    assert caplog.text.count("NO READING WAS SIGNED") == 2
    meter.signer.is_away = False
    for _ in range(60):
        meter.see(1)
    assert meter.told()[1:] == [(122, 122, TAMPER)]


def test_the_newest_blocks_time_is_known_after_a_start_without_a_node(meter: Meter) -> None:
    meter.hear(40)
    meter.see(1)
    meter.recorder.stop()
    meter.start()
    assert meter.meter_clock.block_time_s == BEGIN_S + 40


def test_the_end_of_a_source_is_signed(meter: Meter) -> None:
    meter.see(1)
    meter.see(1)
    meter.recorder.finish()
    meter.recorder.finish()
    assert meter.told() == [(1, 1, RESTARTED), (2, 2, NONE)]


def test_what_is_to_be_read_at_once_while_the_key_is_busy_is_read_behind(meter: Meter) -> None:
    meter.see(1)
    meter.signer.is_busy = True
    meter.recorder.note(NONE, "the supply was switched off", at_once=True)
    meter.see(1)
    meter.recorder.note(NONE, "the supply was switched on", at_once=True)
    meter.see(1)
    meter.signer.is_busy = False
    meter.see(1)
    assert meter.told() == [(1, 1, RESTARTED), (2, 2, NONE), (4, 4, NONE)]
