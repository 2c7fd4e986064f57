"""Time that can be signed: never back, never before what is known, whatever is done to the computer's clock."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.reading_format import StatusFlag
from meter.meter_clock import EARLIEST_S, MeterClock
from primitives.clock import ManualClock

BEGIN_S = 1_750_000_000
DAY_S = 86_400
NONE = StatusFlag(0)


@dataclass
class Block:
    time_s: int


class Stage:
    def __init__(self, now_s: float = BEGIN_S, last_s: int = 0, block_s: int = 0) -> None:
        self.clock = ManualClock(now_s)
        self.meter_clock = MeterClock(self.clock)
        self.meter_clock.start(last_s, block_s)

    def time_s(self, after_s: float = 0) -> int | None:
        self.clock.advance_s(after_s)
        return self.meter_clock.time_s(self.clock.elapsed_ms())

    def hear(self, time_s: float) -> None:
        self.meter_clock.heard(Block(int(time_s)))


def test_it_goes_with_the_computers_clock() -> None:
    stage = Stage()
    assert stage.time_s() == BEGIN_S
    assert stage.time_s(5) == BEGIN_S + 5
    assert stage.meter_clock.take_flags() == NONE
    # The moment that is asked about may be a while ago, but time never falls.
    assert stage.meter_clock.time_s(stage.clock.elapsed_ms() + 2000) == BEGIN_S + 7
    assert stage.meter_clock.time_s(stage.clock.elapsed_ms() - 60_000) == BEGIN_S + 7


def test_what_a_time_server_corrects_slowly_is_no_step() -> None:
    stage = Stage()
    for _ in range(50):
        stage.time_s(10)
        stage.clock.step_s(-0.4)
    assert stage.meter_clock.take_flags() == NONE
    assert stage.time_s() == BEGIN_S + 500 - 20


@pytest.mark.parametrize("last_s", [0, BEGIN_S - 10])
def test_a_step_ahead_is_followed_and_flagged(last_s: int) -> None:
    stage = Stage(last_s=last_s)
    stage.time_s()
    stage.clock.step_s(3600)
    assert stage.time_s(1) == BEGIN_S + 3601
    assert stage.meter_clock.take_flags() == StatusFlag.CLOCK_SET
    assert stage.meter_clock.take_flags() == NONE


def test_a_pause_while_the_clocks_are_read_is_no_step() -> None:
    class Busy(ManualClock):
        def precise_time_s(self) -> float:
            self.advance_s(20)
            return super().precise_time_s()

    clock = Busy(BEGIN_S)
    meter_clock = MeterClock(clock)
    for _ in range(5):
        clock.advance_s(100)
        meter_clock.time_s(clock.elapsed_ms())
    assert meter_clock.take_flags() == NONE


def test_a_step_back_before_the_last_time_is_not_followed_but_flagged(caplog: pytest.LogCaptureFixture) -> None:
    stage = Stage()
    stage.time_s()
    stage.clock.step_s(-3 * 3600)
    assert stage.time_s(10) == BEGIN_S + 10
    assert stage.meter_clock.take_flags() == StatusFlag.CLOCK_SET
    assert stage.time_s(10) == BEGIN_S + 20
    assert stage.meter_clock.take_flags() == NONE
    assert caplog.text.count("the computer's clock was set, by -10800.0 s") == 1


def test_a_small_step_back_waits_until_time_has_caught_up() -> None:
    stage = Stage()
    stage.time_s()
    stage.clock.step_s(-30)
    assert [stage.time_s(10) for _ in range(5)] == [BEGIN_S, BEGIN_S, BEGIN_S, BEGIN_S + 10, BEGIN_S + 20]


@pytest.mark.parametrize("now_s", [0, 86_400 * 365 * 30, EARLIEST_S - 3600])
def test_a_clock_that_was_never_set(now_s: float, caplog: pytest.LogCaptureFixture) -> None:
    stage = Stage(now_s)
    assert stage.time_s() is None
    assert stage.time_s(100) is None
    assert caplog.text.count("THE CLOCK IS NOT SET") == 1
    stage.clock.step_s(BEGIN_S - stage.clock.now_s)
    assert stage.time_s() == BEGIN_S
    assert stage.meter_clock.take_flags() == StatusFlag.CLOCK_SET


@pytest.mark.parametrize(("last_s", "block_s"), [(BEGIN_S + DAY_S, 0), (0, BEGIN_S + DAY_S)])
def test_nothing_before_the_last_reading_or_the_last_block(last_s: int, block_s: int) -> None:
    stage = Stage(last_s=last_s, block_s=block_s)
    assert stage.time_s() is None
    assert stage.time_s(DAY_S - 61) is None
    assert stage.time_s(10) == BEGIN_S + DAY_S  # so little too early is lifted
    assert stage.time_s(120) == BEGIN_S + DAY_S + 69


def test_a_block_that_is_heard_of_bounds_the_time() -> None:
    stage = Stage()
    assert stage.time_s() == BEGIN_S
    stage.hear(BEGIN_S + 20)
    assert stage.time_s(1) == BEGIN_S + 20
    stage.hear(BEGIN_S + 2 * DAY_S)
    assert stage.time_s(1) is None


def test_a_node_that_lied_does_no_lasting_harm() -> None:
    stage = Stage()
    stage.time_s()
    stage.hear(2**200)
    assert stage.time_s(1) == BEGIN_S + 1
    stage.hear(2**48 - 1)
    assert stage.time_s(1) is None
    stage.hear(BEGIN_S)
    assert stage.time_s(1) == BEGIN_S + 3


def test_two_clocks_against_the_computers() -> None:
    """Somebody sets the clock a year ahead, while ledger and monotonic clock agree that it is wrong."""
    stage = Stage()
    stage.time_s()
    stage.hear(BEGIN_S - 20)
    stage.clock.step_s(365 * DAY_S)
    assert stage.time_s(10) == BEGIN_S + 10
    assert stage.meter_clock.take_flags() == StatusFlag.CLOCK_SET
    # With no ledger to witness, a time server may be right.
    assert stage.time_s(3601) == BEGIN_S + 365 * DAY_S + 3611


def test_computer_and_ledger_agree_that_this_meter_is_ahead() -> None:
    stage = Stage(BEGIN_S + 7200)
    stage.time_s()
    stage.clock.step_s(-7200)
    assert stage.time_s(1) == BEGIN_S + 7201
    stage.hear(BEGIN_S - 10)
    assert stage.time_s(1) is None
    assert stage.time_s(7200) == BEGIN_S + 7202


def test_a_ledger_that_makes_no_blocks_is_no_witness_against_anybody() -> None:
    stage = Stage()
    stage.hear(BEGIN_S - 30 * DAY_S)
    assert stage.time_s() == BEGIN_S
    for _ in range(100):
        stage.hear(BEGIN_S - 30 * DAY_S)
        stage.clock.advance_s(100)
    assert stage.time_s() == BEGIN_S + 10_000
    stage.clock.step_s(7200)
    assert stage.time_s() == BEGIN_S + 17_200


def test_without_a_time_server_the_ledger_tells_the_time_once_its_blocks_keep_pace() -> None:
    """A village without internet: after a power cut of three hours the computer begins where it was shut down."""
    stage = Stage(BEGIN_S, last_s=BEGIN_S - 60)
    stage.meter_clock.start(BEGIN_S - 60, 0, is_new_boot=True)
    ahead_s = 3 * 3600
    seen = []
    for _ in range(20):
        stage.hear(stage.clock.time_s() + ahead_s - 3)
        seen.append(stage.time_s(15))
    assert seen[:3] == [None, None, None]
    assert seen[4:] == [BEGIN_S + ahead_s - 3 + 15 * (number + 1) for number in range(4, 20)]
    assert stage.meter_clock.take_flags() == StatusFlag.CLOCK_SET
    # It goes on by the monotonic clock, also while no node answers.
    assert stage.time_s(7200) == BEGIN_S + ahead_s - 3 + 15 * 20 + 7200
    stage.clock.step_s(ahead_s)
    assert stage.time_s() == BEGIN_S + ahead_s + 15 * 20 + 7200


def test_a_clock_that_drifts_behind_goes_by_the_ledger() -> None:
    stage = Stage()
    stage.time_s()
    for number in range(200):
        stage.hear(stage.clock.time_s() + number)  # a second slower with each block
        time_s = stage.time_s(15)
    assert time_s is not None
    assert abs(time_s - (stage.clock.time_s() + 199)) <= 60
    assert stage.meter_clock.take_flags() == StatusFlag.CLOCK_SET


def test_a_ledger_far_ahead_needs_a_person() -> None:
    stage = Stage(last_s=BEGIN_S)
    for _ in range(20):
        stage.hear(stage.clock.time_s() + 40 * DAY_S)
        assert stage.time_s(15) is None


@pytest.mark.parametrize("ended_by", ["patience", "time server", "ledger", "step"])
def test_in_a_new_boot_a_time_server_is_waited_for_a_while(ended_by: str) -> None:
    synchronised: list[bool] = []
    clock = ManualClock(BEGIN_S)
    meter_clock = MeterClock(clock, is_synchronised=lambda: bool(synchronised))
    meter_clock.start(BEGIN_S - 60, 0, is_new_boot=True)
    assert meter_clock.time_s(clock.elapsed_ms()) is None
    clock.advance_s(179)
    assert meter_clock.time_s(clock.elapsed_ms()) is None
    if ended_by == "patience":
        clock.advance_s(1)
    elif ended_by == "time server":
        synchronised.append(True)
    elif ended_by == "ledger":
        meter_clock.heard(Block(clock.time_s() - 20))
    else:
        clock.step_s(3600)
    assert meter_clock.time_s(clock.elapsed_ms()) == clock.time_s()


ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("advance"), st.integers(0, 5000)),
        st.tuples(st.just("step"), st.integers(-(10**6), 10**6)),
        st.tuples(st.just("block"), st.integers(-(10**6), 10**6)),
        st.tuples(st.just("start"), st.integers(0, 1)),
    ),
    max_size=40,
)


@given(ACTIONS)
def test_time_never_falls_nor_lies_before_the_newest_block(actions: list[tuple[str, int]]) -> None:
    stage, last_s, block_s = Stage(), 0, 0
    for kind, amount in actions:
        if kind == "advance":
            stage.clock.advance_s(amount)
        elif kind == "step":
            stage.clock.step_s(amount)
        elif kind == "block":
            block_s = BEGIN_S + amount
            stage.hear(block_s)
        else:
            clock = stage.clock
            stage.meter_clock = MeterClock(clock)
            stage.meter_clock.start(last_s, block_s, is_new_boot=amount > 0)
        time_s = stage.time_s()
        if time_s is not None:
            assert time_s >= max(last_s, block_s)
            last_s = time_s
