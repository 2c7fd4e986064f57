"""Each RPICT board over a real pair of pseudo-terminals, played by a device that also misbehaves."""

import asyncio
from decimal import Decimal
from pathlib import Path

import pytest

from meter.drivers.board import MAX_BAD_LINES, BoardDevice
from meter.drivers.catalogue import driver_kind
from meter.drivers.factors import Factors
from meter.drivers.measurement import DeviceTrouble, Measurement, Source
from meter.drivers.rpict import RpictSettings, open_device
from primitives.clock import SystemClock
from primitives.errors import UserError
from tests.meter.serial_pair import MisbehavingDevice, SerialPair, let_open
from tests.meter.test_board_line import LINES

LIMIT_S = 10


def device_of(pair: SerialPair, **settings: object) -> BoardDevice:
    chosen = RpictSettings(port=pair.port, **settings)  # type: ignore[arg-type]
    chosen.check()
    return open_device(chosen, SystemClock())


async def measure(pair: SerialPair, device: BoardDevice, lines: list[str], count: int) -> list[Measurement]:
    """What the device tells of lines that come in after it has opened the port."""

    async def read_all() -> list[Measurement]:
        found = []
        for _ in range(count):
            measurement = await device.read()
            assert measurement is not None
            found.append(measurement)
        return found

    reading = asyncio.create_task(read_all())
    await let_open()
    await pair.send_lines(["17.3 0.0", *lines])
    async with asyncio.timeout(LIMIT_S):
        found = await reading
    await device.close()
    return found


@pytest.mark.parametrize(
    ("board", "channels", "power_mw", "values"),
    [
        ("RPICT3T1", ("1", "2", "3"), 1_387_420, {"power_1_mw": 1_387_420, "temperature_1_mc": 31_200}),
        ("RPICT3V1", ("1", "2", "3"), 1_402_340, {"power_2_mw": -310, "current_1_ma": 6412, "voltage_1_mv": 231_870}),
        ("RPICT3V1-full", ("1",), 1_402_650, {"apparent_1_mva": 1_486_900, "factor_1_thousandths": 943}),
        ("RPICT7V1", ("1", "7"), -12_500, {"power_7_mw": -12_500, "current_6_ma": 3296, "voltage_1_mv": 230_900}),
        ("RPICT4V3", ("1", "2", "3", "-4"), 1_780_250, {"power_4_mw": -800_000, "voltage_3_mv": 233_300}),
        ("RPICT8", ("1", "8"), 10_000, {"power_8_mw": 8_500}),
    ],
)
async def test_each_board(
    tmp_path: Path, board: str, channels: tuple[str, ...], power_mw: int, values: dict[str, int]
) -> None:
    with SerialPair(tmp_path) as pair:
        device = device_of(pair, board=board, channels=channels)
        (measurement,) = await measure(pair, device, [LINES[board]], 1)
    assert measurement.power_mw == power_mw
    assert values.items() <= dict(measurement.values).items()
    assert device.source is Source.POWER
    assert (measurement.import_mwh, measurement.export_mwh, measurement.flags) == (None, None, 0)


async def test_own_field_map(tmp_path: Path) -> None:
    """Order and choice are the owner's, units too; commas do."""
    with SerialPair(tmp_path) as pair:
        fields = ("voltage_1", "node", "-", "current_1:A", "power_1:kW")
        device = device_of(pair, board="csv", fields=fields, channels=("-1",), node_id=3)
        (measurement,) = await measure(pair, device, ["230.05,3,17,6.4125,1.4027"], 1)
    assert measurement.power_mw == -1_402_700
    assert measurement.values == (("voltage_1_mv", 230_050), ("current_1_ma", 6412), ("power_1_mw", 1_402_700))


async def test_pairs_of_bytes(tmp_path: Path) -> None:
    with SerialPair(tmp_path) as pair:
        device = device_of(pair, format="emoncms")
        (measurement,) = await measure(pair, device, ["11 123 5 253 255 0 0 14 25 38 0 0 0 231 0"], 1)
    assert measurement.power_mw == 1_400_000


async def test_a_channel_that_is_not_known_makes_the_power_unknown(tmp_path: Path) -> None:
    lines = ["11 1402.65 nan 0.00 6412.5 38.2 0.0 231.87", "11 -0.0 1.5 0.00 6412.5 nan 0.0 nan"]
    with SerialPair(tmp_path) as pair:
        unknown, known = await measure(pair, device_of(pair), lines, 2)
    assert unknown.power_mw is None
    assert "power_2_mw" not in dict(unknown.values)
    assert known.power_mw == 1500
    assert "voltage_1_mv" not in dict(known.values)


async def test_damaged_lines_are_passed_over(tmp_path: Path) -> None:
    good = LINES["RPICT3V1"]
    bad = ["11 1402.65 -0.31", "1 " + good[3:], good + " 7", "11 99999999 0 0 0 0 0 0", "\x00\x1b[2J", "nonsense"]
    with SerialPair(tmp_path) as pair:
        device = device_of(pair)
        found = await measure(pair, device, [*bad, good, *bad, good], 2)
    assert [one.power_mw for one in found] == [1_402_340, 1_402_340]
    assert device.bad_lines == 12


@pytest.mark.parametrize("seed", range(3))
async def test_noisy_wire(tmp_path: Path, seed: int) -> None:
    with SerialPair(tmp_path) as pair:
        device = device_of(pair)
        powers: list[int | None] = []

        async def collect() -> None:
            while len(powers) < 100:
                measurement = await device.read()
                assert measurement is not None
                powers.append(measurement.power_mw)

        reading = asyncio.create_task(collect())
        await let_open()
        lines = [b"11 %d.25 -0.25 nan 0.0 0.0 0.0 230.0" % number for number in range(100)]
        lines = [line.replace(b"nan", b"-0.0") for line in lines]
        async with asyncio.timeout(LIMIT_S):
            await MisbehavingDevice(pair, seed).play(lines)
            await reading
        await device.close()
    assert powers == [number * 1000 for number in range(100)]


@pytest.mark.parametrize("board", [name for name in LINES if name != "RPICT8-currents"])
async def test_each_board_on_a_bad_wire(tmp_path: Path, board: str) -> None:
    with SerialPair(tmp_path) as pair:
        device = device_of(pair, board=board, channels=("1",))

        async def read(count: int) -> list[Measurement | None]:
            return [await device.read() for _ in range(count)]

        reading = asyncio.create_task(read(30))
        await let_open()
        async with asyncio.timeout(LIMIT_S):
            await MisbehavingDevice(pair, 5).play([LINES[board].encode()] * 30)
            found = await reading
        await device.close()
    assert len({one.values for one in found if one is not None}) == 1
    assert None not in found


async def test_a_board_of_another_kind_is_told(tmp_path: Path) -> None:
    with SerialPair(tmp_path) as pair:
        device = device_of(pair)
        reading = asyncio.create_task(device.read())
        await let_open()
        await pair.send_lines(["cut", *[LINES["RPICT3T1"]] * MAX_BAD_LINES, LINES["RPICT3V1"]])
        with pytest.raises(DeviceTrouble, match=r"has 5 numbers, not 8.* Look at driver.board"):
            await reading
        # It is tried again: a board that was set right goes on.
        measurement = await device.read()
        assert measurement is not None
        assert measurement.power_mw == 1_402_340
        await device.close()


async def test_unplugged_and_plugged_again(tmp_path: Path) -> None:
    with SerialPair(tmp_path) as pair:
        device = device_of(pair)
        reading = asyncio.create_task(device.read())
        await let_open()
        await pair.send_lines(["cut", LINES["RPICT3V1"]])
        assert await reading is not None
        pair.unplug()
        for _ in range(2):
            with pytest.raises(DeviceTrouble, match="ttyBoard"):
                await device.read()
        pair.plug()
        assert len(await measure(pair, device, [LINES["RPICT3V1"]], 1)) == 1


async def test_calibration(tmp_path: Path) -> None:
    """Exact, rounded once: power follows the current and the voltage that it is made of, and its own factor."""
    factors = Factors().with_ppm("current", 1, 1_031_250).with_ppm("voltage", 1, 990_000).with_ppm("power", 1, 999_999)
    with SerialPair(tmp_path) as pair:
        device = device_of(pair, board="RPICT3V1-full", channels=("1", "3"))
        device.calibrate(factors)
        (measurement,) = await measure(pair, device, [LINES["RPICT3V1-full"]], 1)
    values = dict(measurement.values)
    through = Decimal("1.03125") * Decimal("0.99")
    assert values["power_1_mw"] == round(Decimal(1_402_650) * through * Decimal("0.999999")) == measurement.power_mw
    assert values["apparent_1_mva"] == round(Decimal(1_486_900) * through)
    assert values["current_1_ma"] == round(Decimal("6412.5") * Decimal("1.03125"))
    assert values["voltage_1_mv"] == round(Decimal(231_870) * Decimal("0.99"))
    assert values["voltage_2_mv"] == 231_870
    assert values["factor_1_thousandths"] == 943


async def test_the_only_voltage_serves_all_clamps(tmp_path: Path) -> None:
    with SerialPair(tmp_path) as pair:
        device = device_of(pair, channels=("2",))
        device.calibrate(Factors().with_ppm("voltage", 1, 2_000_000))
        (measurement,) = await measure(pair, device, [LINES["RPICT3V1"]], 1)
    assert measurement.power_mw == -620


def test_a_slow_board_is_not_silent() -> None:
    assert RpictSettings().port_settings().silence_s == 30
    assert RpictSettings(interval_s=Decimal(60)).port_settings().silence_s == 120


def test_kind_is_in_the_catalogue() -> None:
    assert driver_kind("rpict").settings_type() is RpictSettings
    assert driver_kind("rpict").opener("open_device") is open_device


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (RpictSettings(board="RPICT9"), "driver.board is 'RPICT9': there is no board"),
        (RpictSettings(board="csv"), "say with driver.fields what a line holds"),
        (RpictSettings(board="csv", fields=("power_x",)), "driver.board is 'csv': 'power_x' is no field"),
        (RpictSettings(format="xml"), "driver.format is 'xml'; choose one of csv, emoncms"),
        (RpictSettings(node_id=256), "driver.node_id must be from 0 to 255"),
        (RpictSettings(interval_s=Decimal(0)), "driver.interval_s must be from 0.01"),
        (RpictSettings(silence_s=Decimal(10**9)), "driver.silence_s must be from 0.1"),
        (RpictSettings(baud_rate=1), "driver.baud_rate must be from 50"),
        (RpictSettings(channels=("4",)), "driver.channels has '4'.*channels with power in a line are 1, 2, 3"),
        (RpictSettings(channels=("--1",)), "driver.channels has '--1'"),
        (RpictSettings(channels=("1", "-1")), "none of them twice"),
        (RpictSettings(channels=()), "at least one clamp"),
        (RpictSettings(board="RPICT8-currents"), "channels with power in a line are none"),
    ],
)
def test_settings_that_make_no_sense(settings: RpictSettings, message: str) -> None:
    with pytest.raises(UserError, match=message):
        settings.check()
