"""A device as a driver: exact energy over restarts, silence, troubles, the clock, other devices."""

import asyncio
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.reading_format import StatusFlag
from meter.drivers.driver import Driver, Registers
from meter.drivers.measurement import Measurement, Source
from meter.energy_rules import RulesSettings
from meter.integration import MWMS_PER_WH
from meter.measuring import MeasuringDriver
from tests.meter.measuring_stage import BEGIN_S, FLOOR, Stage, settle
from tests.meter.scripted_device import ScriptedDevice

NONE = StatusFlag(0)


def test_it_is_a_driver() -> None:
    assert isinstance(Stage().driver, Driver)


async def test_power_is_integrated_exactly() -> None:
    stage = Stage()
    await stage.see(1000)
    for _ in range(720):
        await stage.see(1001)
    assert stage.state() == (1001, 0)
    for _ in range(720):
        sample = await stage.see(-500)
    assert stage.state() == (1001, 500)
    assert (sample.power_w, sample.flags) == (-500, NONE)


async def test_a_short_restart_loses_nothing() -> None:
    stage = Stage()
    for number in range(720 + 1):
        if number % 7 == 3:
            stage.restart()
        sample = await stage.see(3000)
        assert sample.flags == NONE
    assert stage.state() == (3000, 0)
    assert stage.gaps.gaps == []


STEPS = st.lists(
    st.tuples(st.integers(-60_000, 60_000), st.integers(100, 15_000), st.booleans()), min_size=1, max_size=60
)


@given(STEPS)
def test_any_split_into_restarts_gives_the_integral(steps: list[tuple[int, int, bool]]) -> None:
    """(power in W, ms since the measurement before, whether the program starts again between the two)."""

    async def play() -> None:
        stage = Stage()
        await stage.see(0)
        import_mwms = export_mwms = 0
        for power_w, after_ms, is_restarted in steps:
            if is_restarted:
                await stage.driver.close()
                stage.restart()
            sample = await stage.see(power_w, after_s=after_ms / 1000)
            energy_mwms = power_w * 1000 * after_ms
            import_mwms, export_mwms = import_mwms + max(energy_mwms, 0), export_mwms + max(-energy_mwms, 0)
            assert stage.state() == (import_mwms // MWMS_PER_WH, export_mwms // MWMS_PER_WH)
            assert not sample.flags & StatusFlag.GAP

    asyncio.run(play())


async def test_a_gap_is_flagged_listed_and_empty() -> None:
    stage = Stage()
    await stage.see(3600)
    await stage.see(3600)
    await stage.wait(60)
    silent = stage.samples[-1]
    assert (silent.power_w, silent.flags, silent.measurement) == (0, StatusFlag.GAP, None)
    assert silent.registers.time_s > BEGIN_S + 10
    sample = await stage.see(3600)
    assert sample.flags == StatusFlag.GAP
    assert stage.gaps.gaps == [[BEGIN_S + 10, BEGIN_S + 75, "the device told no energy"]]
    sample = await stage.see(3600)
    assert sample.flags == NONE
    assert sample.registers.import_wh == 10


async def test_a_new_meter_whose_device_says_nothing() -> None:
    stage = Stage()
    await stage.wait(60)
    assert {sample.flags for sample in stage.samples} == {StatusFlag.GAP}
    first = stage.samples[0].registers
    assert (first.import_wh, first.time_s) == (0, BEGIN_S + 18)
    sample = await stage.see(3600)
    assert sample.registers.import_wh == 0
    assert [gap[:2] for gap in stage.gaps.gaps] == [[BEGIN_S + 18, BEGIN_S + 65]]


async def test_nan_in_between_is_bridged_but_not_for_long() -> None:
    stage = Stage()
    await stage.see(3600)
    await stage.see(None)
    sample = await stage.see(3600)
    assert (sample.registers.import_wh, sample.flags) == (10, NONE)
    for _ in range(3):
        assert (await stage.see(None)).flags == NONE
    assert (await stage.see(None)).flags == StatusFlag.GAP
    sample = await stage.see(3600)
    assert (sample.registers.import_wh, sample.flags) == (10, StatusFlag.GAP)
    assert [gap[:2] for gap in stage.gaps.gaps] == [[BEGIN_S + 15, BEGIN_S + 40]]


async def test_nonsense_of_a_noisy_line_is_no_measurement() -> None:
    stage = Stage()
    await stage.see(3600)
    for power_w in (10**10, -(10**30)):
        assert (await stage.see(power_w)).registers.import_wh == 0
    assert (await stage.see(3600)).registers.import_wh == 15


async def test_a_restart_after_a_while_is_a_gap() -> None:
    stage = Stage()
    await stage.see(3600)
    stage.restart()
    sample = await stage.see(3600, after_s=300)
    assert sample.flags == StatusFlag.GAP
    assert stage.state() == (0, 0)
    assert stage.gaps.gaps[0][:2] == [BEGIN_S + 5, BEGIN_S + 305]
    assert "program was not running" in str(stage.gaps.gaps[0][2])


async def test_another_boot_is_a_gap_however_its_clock_counts() -> None:
    stage = Stage()
    await stage.see(3600)
    stage.restart(boot_id="boot 2")
    sample = await stage.see(3600, after_s=5)
    assert (sample.flags, sample.registers.import_wh) == (StatusFlag.GAP, 0)


async def test_without_names_of_boots_every_start_is_another() -> None:
    stage = Stage(boot_id="")
    await stage.see(3600)
    assert (await stage.see(3600)).flags == NONE
    stage.restart(boot_id="")
    # The state may be of an earlier boot: nobody can tell.
    assert (await stage.see(3600)).flags == StatusFlag.GAP


async def test_registers_go_on_in_a_gap() -> None:
    stage = Stage(Source.REGISTER)
    await stage.see(500, import_mwh=7_000_000, export_mwh=5)
    sample = await stage.see(500, import_mwh=7_000_694)
    assert (sample.registers.import_wh, sample.power_w) == (0, 500)
    stage.restart(boot_id="boot 2")
    sample = await stage.see(500, after_s=7200, import_mwh=8_000_694, export_mwh=2005)
    assert sample.flags == StatusFlag.GAP
    assert stage.state() == (1000, 2)


async def test_another_serial_number_is_another_device() -> None:
    stage = Stage(Source.REGISTER)
    await stage.see(import_mwh=7_000_000, device_id="A")
    await stage.see(import_mwh=7_005_000, device_id="A")
    sample = await stage.see(import_mwh=90_000_000, device_id="B")
    assert sample.flags == StatusFlag.DEVICE_CHANGED | StatusFlag.GAP
    assert sample.registers.import_wh == 5
    assert (await stage.see(import_mwh=90_002_000, device_id="B")).registers.import_wh == 7
    assert stage.gaps.gaps == [[BEGIN_S + 10, BEGIN_S + 15, "another device, or its register was reset"]]


async def test_a_device_of_another_kind_is_another_device() -> None:
    stage = Stage(Source.POWER)
    await stage.see(3600)
    await stage.see(3600)
    stage.source = Source.REGISTER
    stage.restart(floor=Registers(BEGIN_S + 10, 5, 0))
    sample = await stage.see(import_mwh=90_000_000)
    assert sample.flags == StatusFlag.DEVICE_CHANGED | StatusFlag.GAP  # what flowed meanwhile nobody knows
    assert stage.gaps.gaps == [[BEGIN_S + 10, BEGIN_S + 15, "another device, or its register was reset"]]
    assert stage.state() == (5, 0)
    assert (await stage.see(import_mwh=90_001_000)).registers.import_wh == 6


async def boot_without_time(stage: Stage) -> None:
    """A power cut; the computer's clock begins where it was shut down, and is not believed yet."""
    floor = Registers(BEGIN_S + 10, 0, 0)
    stage.restart(boot_id="boot 2", floor=floor)
    stage.meter_clock.start(floor.time_s, is_new_boot=True)


async def test_a_meter_swapped_while_there_was_no_power_is_not_billed_before_the_clock_is_set() -> None:
    stage = Stage(Source.REGISTER)
    for _ in range(2):
        await stage.see(500, import_mwh=7_000_000)
    await boot_without_time(stage)
    for wh in range(5):
        sample = await stage.see(700, import_mwh=20_000 * 10**6 + wh * 1000)
        assert (sample.is_timed, sample.registers.import_wh, sample.power_w) == (False, 0, 700)
        assert sample.flags & StatusFlag.GAP
    stage.clock.advance_s(200)
    flags = StatusFlag(0)
    for wh in range(5, 9):
        sample = await stage.see(700, import_mwh=20_000 * 10**6 + wh * 1000)
        flags |= sample.flags
    assert flags & StatusFlag.DEVICE_CHANGED
    assert sample.registers.import_wh == 3


async def test_what_a_register_took_before_the_clock_was_set_counts_when_it_is() -> None:
    stage = Stage(Source.REGISTER)
    for _ in range(2):
        await stage.see(500, import_mwh=7_000_000)
    await boot_without_time(stage)
    for wh in range(5):
        assert (await stage.see(700, import_mwh=7_100_000 + wh * 1000)).registers.import_wh == 0
    stage.clock.advance_s(200)
    sample = await stage.see(700, import_mwh=7_105_000)
    assert (sample.is_timed, sample.registers.import_wh, sample.flags & StatusFlag.GAP) == (
        True,
        105,
        StatusFlag.GAP,
    )
    assert (await stage.see(700, import_mwh=7_106_000)).registers.import_wh == 106


async def test_a_clock_that_nobody_sets_does_not_keep_energy_from_being_counted() -> None:
    stage = Stage(Source.REGISTER)
    for _ in range(2):
        await stage.see(500, import_mwh=7_000_000)
    await boot_without_time(stage)
    stage.clock.step_s(-86_400)
    assert (await stage.see(700, import_mwh=7_100_000)).registers.import_wh == 0
    sample = await stage.see(700, after_s=600, import_mwh=7_101_000)
    assert (sample.is_timed, sample.registers.import_wh) == (False, 101)


@pytest.mark.parametrize(
    "state", [b"", b"[]", b"\xff" * 2000, b"[" * 900, b'[1,"","","",null,{},[],"0"]', b"[5,1,2,3]"]
)
async def test_a_foreign_state_does_not_stop_the_meter(state: bytes) -> None:
    stage = Stage(Source.REGISTER)
    stage.restart(state=state, floor=Registers(BEGIN_S, 1234, 5))
    sample = await stage.see(import_mwh=90_000_000)
    assert sample.flags & (StatusFlag.DEVICE_CHANGED | StatusFlag.GAP)
    assert stage.state() == (1234, 5)


async def test_an_old_state_goes_on_behind_the_ledger() -> None:
    """A card copied at 10 Wh and put back when the ledger was at 30: what the register says since counts once."""
    stage = Stage(Source.REGISTER)
    await stage.see(import_mwh=0)
    old = (await stage.see(import_mwh=10_000)).state
    stage.restart(state=old, floor=Registers(BEGIN_S + 60, 30, 0))
    await stage.see(import_mwh=25_000, after_s=60)
    assert stage.state() == (30, 0)
    await stage.see(import_mwh=47_000)
    assert stage.state() == (47, 0)
    stage = Stage(Source.POWER)
    await stage.see(3600)
    stage.restart(floor=Registers(BEGIN_S + 5, 30, 0))
    assert (await stage.see(3600)).registers.import_wh == 35


async def test_a_counter_begins_at_nothing_with_each_start() -> None:
    stage = Stage(Source.COUNTER)
    await stage.see(import_mwh=2000)
    assert (await stage.see(import_mwh=5000)).registers.import_wh == 5
    stage.restart()
    sample = await stage.see(import_mwh=1000)
    assert (sample.registers.import_wh, sample.flags) == (6, StatusFlag.GAP)
    sample = await stage.see(import_mwh=0)
    assert (sample.registers.import_wh, sample.flags) == (6, StatusFlag.GAP)
    assert (await stage.see(import_mwh=3000)).registers.import_wh == 9


async def test_power_of_a_device_that_tells_energy_alone_is_a_mean() -> None:
    stage = Stage(Source.COUNTER)
    for number in range(40):
        sample = await stage.see(import_mwh=1000 * number)
    assert sample.power_w == 720


async def test_more_than_the_connection_carries_is_counted_and_flagged() -> None:
    stage = Stage(settings=RulesSettings(connection_w=5000))
    await stage.see(3600)
    sample = await stage.see(7200)
    assert (sample.registers.import_wh, sample.flags) == (10, StatusFlag.JUMP)


async def test_a_sensor_that_is_stuck() -> None:
    stage = Stage(settings=RulesSettings(stuck_after_s=600))
    flags = [(await stage.see(1234)).flags for _ in range(122)]
    assert flags[:120] == [NONE] * 120
    assert flags[121] == StatusFlag.STUCK
    assert (await stage.see(1235)).flags == NONE
    # Nothing is used in an empty house.
    assert all([(await stage.see(0)).flags == NONE for _ in range(200)])


async def test_a_register_that_stands_still_while_power_flows() -> None:
    stage = Stage(Source.REGISTER)
    for number in range(400):
        sample = await stage.see(4000 + number % 7, import_mwh=7)
    assert sample.flags == StatusFlag.STUCK
    assert (await stage.see(4000, import_mwh=1_000_007)).flags == NONE


async def test_trouble_is_told_once_and_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    stage = Stage()
    troubles: list[str] = []
    stage.driver.on_trouble = troubles.append
    await stage.see(3600)
    for _ in range(8):
        stage.device.fail("the port /dev/ttyAMA0 is gone: plug the board in")
    with caplog.at_level(logging.WARNING):
        await stage.wait(300)
        stage.device.tell(3600)
        await stage.wait(1)
    assert caplog.text.count("NO MEASUREMENTS: the port /dev/ttyAMA0 is gone") == 1
    assert caplog.text.count("answers again") == 1
    assert len(troubles) == 8
    assert stage.gaps.gaps == [[BEGIN_S + 5, BEGIN_S + 305, "the port /dev/ttyAMA0 is gone: plug the board in"]]


async def test_a_flood_is_thinned_without_loss() -> None:
    stage = Stage()
    await stage.see(3600)
    for _ in range(100):
        stage.clock.advance_s(0.05)
        stage.device.tell(3600)
    seen = [await stage.next() for _ in range(50)]
    assert seen[-1].registers.import_wh == 5
    assert stage.device.read_count <= 102


async def test_supply_off_is_flagged_and_told_to_a_simulated_device() -> None:
    supplies: list[bool] = []

    class Home(ScriptedDevice):
        def set_supply(self, is_on: bool) -> None:
            supplies.append(is_on)

    stage = Stage()
    stage.device = home = Home(stage.clock)
    stage.driver = MeasuringDriver(home, stage.clock, stage.meter_clock, stage.gaps)
    stage.driver.start(None, FLOOR)
    await stage.see(5)
    stage.driver.set_supply(False)
    assert (await stage.see(0)).flags == StatusFlag.SUPPLY_OFF
    stage.driver.set_supply(True)
    assert (await stage.see(0)).flags == StatusFlag.SUPPLY_OFF
    assert (await stage.see(0)).flags == NONE
    assert supplies == [False, True]


async def test_an_unset_clock_counts_but_tells_no_time() -> None:
    stage = Stage()
    stage.restart(state=b"", floor=Registers(BEGIN_S + 86_400, 10, 0))
    await stage.see(3600)
    sample = await stage.see(3600)
    assert not sample.is_timed
    assert sample.registers == Registers(BEGIN_S + 86_400, 15, 0)
    stage.clock.step_s(2 * 86_400)
    sample = await stage.see(3600)
    assert sample.is_timed
    assert sample.flags & StatusFlag.CLOCK_SET
    assert sample.registers == Registers(BEGIN_S + 2 * 86_400 + 15, 20, 0)
    # Nothing was missing after the first of them, although its time is known only now.
    assert stage.gaps.gaps[0][:2] == [BEGIN_S + 86_400, BEGIN_S + 2 * 86_400 + 5]


async def test_the_end_of_a_source_and_closing() -> None:
    stage = Stage()
    stage.device.end()
    assert await stage.driver.read() is None
    reading = asyncio.ensure_future(stage.driver.read())
    await settle()
    reading.cancel()
    await asyncio.wait((reading,))
    await stage.driver.close()
    assert stage.device.is_closed


async def test_a_bug_in_a_device_is_loud() -> None:
    stage = Stage()
    stage.device.put(ZeroDivisionError("bug"))
    with pytest.raises(ZeroDivisionError):
        await stage.driver.read()
    await stage.driver.close()


async def test_a_measurement_from_the_future_or_the_past_adds_nothing() -> None:
    stage = Stage()
    await stage.see(3600)
    stage.device.put(Measurement(stage.clock.elapsed_ms() - 10**6, 3_600_000))
    stage.device.put(Measurement(stage.clock.elapsed_ms() + 10**9, 3_600_000))
    stage.device.tell(3600)
    samples = [await stage.next() for _ in range(2)]
    assert [sample.registers.import_wh for sample in samples] == [0, 0]
