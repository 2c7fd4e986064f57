"""The replay driver: registers are the floor of the exact sum for any file, whatever restarts come between."""

import asyncio
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.reading_format import StatusFlag
from meter.drivers.driver import Registers, Sample
from meter.drivers.measured_csv import Column, CsvFormat
from meter.drivers.replay import ReplayDriver
from primitives.clock import ManualClock
from primitives.errors import UserError

START_S = 1_700_000_000
KWH = CsvFormat(Column("load", "kWh"))
values = st.decimals(-20, 20, places=8).map(str) | st.just("?") | st.integers(0, 9).map(str)


def write(path: Path, rows: list[str]) -> Path:
    path.write_text("\n".join(["load", *rows]) + "\n")
    return path


def late_clock() -> ManualClock:
    """A clock far behind all rows, so that every sample is due at once."""
    return ManualClock(START_S)


async def play(driver: ReplayDriver, clock: ManualClock, limit: int | None = None) -> list[Sample]:
    clock.now_s += 10**8
    samples: list[Sample] = []
    while limit is None or len(samples) < limit:
        sample = await driver.read()
        if sample is None:
            break
        samples.append(sample)
    return samples


def exact_registers(rows: list[str], factor: Fraction) -> list[tuple[int, int]]:
    taken = given_back = Fraction(0)
    found = []
    for row in rows:
        energy = Fraction(0) if row == "?" else Fraction(row) * factor
        taken, given_back = taken + max(energy, Fraction(0)), given_back + max(-energy, Fraction(0))
        found.append((taken.numerator // taken.denominator, given_back.numerator // given_back.denominator))
    return found


@given(
    st.lists(values, min_size=1, max_size=30),
    st.sampled_from(["kWh", "Wh", "W", "kW"]),
    st.sampled_from([1, 7, 60, 900, 3600]),
    st.lists(st.integers(0, 6), max_size=6),
)
def test_registers_are_the_floor_of_the_exact_sum_over_restarts(
    rows: list[str], unit: str, interval_s: int, restarts: list[int]
) -> None:
    factor = {"kWh": Fraction(1000), "Wh": Fraction(1), "W": Fraction(interval_s, 3600)}.get(
        unit, Fraction(1000 * interval_s, 3600)
    )
    form = CsvFormat(Column("load", unit), interval_s=interval_s)
    with TemporaryDirectory() as folder:
        path = write(Path(folder) / "f.csv", rows)

        async def whole() -> list[Sample]:
            samples: list[Sample] = []
            clock = late_clock()
            for count in [*restarts, None]:
                driver = ReplayDriver(path, form, clock)
                last = samples[-1] if samples else None
                driver.start(last and last.state, last.registers if last else Registers())
                samples += await play(driver, clock, count)
                await driver.close()
            return samples

        samples = asyncio.run(whole())
    assert [(one.registers.import_wh, one.registers.export_wh) for one in samples] == exact_registers(rows, factor)
    times = [one.registers.time_s for one in samples]
    assert times == [times[0] + number * interval_s for number in range(len(rows))]
    assert [bool(one.flags & StatusFlag.GAP) for one in samples] == [row == "?" for row in rows]


async def test_each_row_is_due_at_its_end(tmp_path: Path) -> None:
    clock = ManualClock(START_S)
    driver = ReplayDriver(write(tmp_path / "f.csv", ["0.5", "0.25"]), KWH, clock)
    driver.start(None, Registers())
    reading = asyncio.ensure_future(driver.read())
    await asyncio.sleep(0)
    clock.advance_s(3599)
    await asyncio.sleep(0)
    assert not reading.done()
    clock.advance_s(1)
    sample = await reading
    assert sample is not None
    assert sample.registers == Registers(START_S + 3600, 500, 0)
    assert sample.power_w == 500


async def test_no_energy_flows_while_the_supply_is_off(tmp_path: Path) -> None:
    clock = ManualClock(START_S)
    driver = ReplayDriver(write(tmp_path / "f.csv", ["3.6", "3.6", "-3.6", "3.6"]), KWH, clock)
    driver.start(None, Registers())
    clock.now_s = START_S + 1000
    driver.set_supply(False)
    clock.now_s = START_S + 3 * 3600 + 600
    driver.set_supply(True)
    samples = await play(driver, clock)
    assert [one.registers.import_wh for one in samples] == [1000, 1000, 1000, 4000]
    assert [one.registers.export_wh for one in samples] == [0, 0, 0, 0]
    assert [one.power_w for one in samples] == [1000, 0, 0, 3000]
    assert all(one.flags == StatusFlag.SUPPLY_OFF for one in samples)


async def test_supply_that_was_off_before_the_first_row(tmp_path: Path) -> None:
    clock = ManualClock(START_S)
    driver = ReplayDriver(write(tmp_path / "f.csv", ["1"]), KWH, clock)
    driver.set_supply(False)
    driver.start(None, Registers())
    (sample,) = await play(driver, clock)
    assert sample.registers.import_wh == 0


async def test_repetition_goes_on_and_resumes(tmp_path: Path) -> None:
    clock = late_clock()
    path = write(tmp_path / "f.csv", ["1", "2"])
    driver = ReplayDriver(path, KWH, clock, repeat=True)
    driver.start(None, Registers())
    samples = await play(driver, clock, 5)
    assert [one.registers.import_wh for one in samples] == [1000, 3000, 4000, 6000, 7000]
    resumed = ReplayDriver(path, KWH, clock, repeat=True)
    resumed.start(samples[-1].state, samples[-1].registers)
    assert [one.registers.import_wh for one in await play(resumed, clock, 2)] == [9000, 10000]


async def test_floor_above_an_old_state_is_not_undercut(tmp_path: Path) -> None:
    clock = late_clock()
    path = write(tmp_path / "f.csv", ["1", "1", "1", "1"])
    driver = ReplayDriver(path, KWH, clock)
    driver.start(None, Registers())
    samples = await play(driver, clock)
    # The ledger has seen three rows, this outbox is a copy from after the first.
    restored = ReplayDriver(path, KWH, clock)
    restored.start(samples[0].state, samples[2].registers)
    assert [one.registers for one in await play(restored, clock)] == [samples[3].registers]
    # Nothing is known here but the ledger's registers: a new beginning on top of them.
    fresh = ReplayDriver(path, KWH, clock)
    fresh.start(None, Registers(START_S, 5000, 70))
    assert [one.registers.import_wh for one in await play(fresh, clock)] == [6000, 7000, 8000, 9000]


async def test_rows_with_times_of_their_own(tmp_path: Path) -> None:
    path, begin_s = write(tmp_path / "f.csv", ["1", "2", "-3", "4"]), START_S - 7 * 3600
    driver = ReplayDriver(path, KWH, late_clock(), begin_s=begin_s)
    driver.start(None, Registers(begin_s - 50_000))
    samples = await play(driver, late_clock())
    assert [one.registers.time_s for one in samples] == [begin_s + 3600 * number for number in (1, 2, 3, 4)]
    # An outbox was lost after the second row: the third is the next, on top of the ledger's registers.
    fresh = ReplayDriver(path, KWH, late_clock(), begin_s=begin_s)
    fresh.start(None, samples[1].registers)
    assert [one.registers for one in await play(fresh, late_clock())] == [one.registers for one in samples[2:]]


@pytest.mark.parametrize("state", [b"", b"{}", b"[1]", b'[-1,0,"0","0"]', b'[1,1,"1/0","0"]', b"x" * 5000])
async def test_state_of_another_driver(tmp_path: Path, state: bytes) -> None:
    driver = ReplayDriver(write(tmp_path / "f.csv", ["1"]), KWH, late_clock())
    with pytest.raises(UserError, match="outbox file of its own"):
        driver.start(state, Registers())


def test_file_is_checked_whole_before_it_is_played(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="line 4"):
        ReplayDriver(write(tmp_path / "f.csv", ["1", "2", "bad"]), KWH, late_clock())
