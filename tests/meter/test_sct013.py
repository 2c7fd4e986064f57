"""Clamps whose power is a voltage times a current, over a real pair of pseudo-terminals."""

from decimal import Decimal
from pathlib import Path

import pytest

from meter.drivers.board import BoardDevice
from meter.drivers.catalogue import driver_kind
from meter.drivers.factors import Factors
from meter.drivers.sct013 import Sct013Settings, open_device
from primitives.clock import SystemClock
from primitives.errors import UserError
from tests.meter.serial_pair import SerialPair
from tests.meter.test_board_line import LINES
from tests.meter.test_rpict import measure


def device_of(pair: SerialPair, **settings: object) -> BoardDevice:
    chosen = Sct013Settings(port=pair.port, **settings)  # type: ignore[arg-type]
    chosen.check()
    return open_device(chosen, SystemClock())


MEASURED = ("node", "current_1", "voltage_1")


@pytest.mark.parametrize(
    ("current_ma", "voltage_v", "power_mw"), [("6230", "220.0", 1_370_600), ("6910", "220.0", 1_520_200)]
)
async def test_the_air_conditioner_of_the_experiment(
    tmp_path: Path, current_ma: str, voltage_v: str, power_mw: int
) -> None:
    """6.23 A to 6.91 A at 220 V: 1370.6 W to 1520.2 W."""
    with SerialPair(tmp_path) as pair:
        device = device_of(pair, board="csv", fields=MEASURED, channels=("1",))
        (measurement,) = await measure(pair, device, [f"11 {current_ma} {voltage_v}"], 1)
    assert measurement.power_mw == power_mw


async def test_assumed_voltage_and_power_factor(tmp_path: Path) -> None:
    with SerialPair(tmp_path) as pair:
        device = device_of(pair, channels=("8", "-7"), voltage_v=Decimal(220), power_factor=Decimal("0.9"))
        (measurement,) = await measure(pair, device, [LINES["RPICT8-currents"]], 1)
    values = dict(measurement.values)
    assert values["power_8_mw"] == round(Decimal("6230.0") * 220 * Decimal("0.9"))
    assert values["power_7_mw"] == round(Decimal("700.7") * 220 * Decimal("0.9"))
    assert measurement.power_mw == values["power_8_mw"] - values["power_7_mw"]
    assert (values["current_1_ma"], "power_1_mw" in values) == (100, False)


async def test_a_current_that_is_only_noise_has_no_power(tmp_path: Path) -> None:
    with SerialPair(tmp_path) as pair:
        device = device_of(pair, board="csv", fields=MEASURED, channels=("1",))
        below, at = await measure(pair, device, ["11 199.99 230", "11 200 230"], 2)
    assert (below.power_mw, at.power_mw) == (0, 46_000)
    assert dict(below.values)["current_1_ma"] == 200


async def test_a_measured_voltage_that_is_missing_is_not_made_up(tmp_path: Path) -> None:
    with SerialPair(tmp_path) as pair:
        device = device_of(pair, board="csv", fields=MEASURED, channels=("1",))
        no_voltage, no_current = await measure(pair, device, ["11 6230 nan", "11 nan 230"], 2)
    assert (no_voltage.power_mw, no_current.power_mw) == (None, None)


async def test_calibration(tmp_path: Path) -> None:
    factors = Factors().with_ppm("current", 1, 1_100_000).with_ppm("voltage", 1, 950_000).with_ppm("power", 1, 900_000)
    with SerialPair(tmp_path) as pair:
        device = device_of(pair, board="csv", fields=MEASURED, channels=("1",))
        device.calibrate(factors)
        one, small = await measure(pair, device, ["11 6230 230", "11 190 230"], 2)
    assert one.power_mw == round(Decimal(6230) * Decimal("1.1") * 230 * Decimal("0.95") * Decimal("0.9"))
    # What counts as noise is the calibrated current.
    assert small.power_mw == round(Decimal(190) * Decimal("1.1") * 230 * Decimal("0.95") * Decimal("0.9"))


def test_kind_is_in_the_catalogue() -> None:
    assert driver_kind("sct013").settings_type() is Sct013Settings
    assert driver_kind("sct013").opener("open_device") is open_device


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (Sct013Settings(board="RPICT3V1"), 'RPICT3V1 tells power itself.*use driver.kind = "rpict"'),
        (Sct013Settings(voltage_v=Decimal(0)), "driver.voltage_v must be from 1"),
        (Sct013Settings(power_factor=Decimal("1.1")), "driver.power_factor must be from 0.01 to 1"),
        (Sct013Settings(min_current_a=Decimal(-1)), "driver.min_current_a must be from 0"),
        (Sct013Settings(channels=("9",)), "channels with current in a line are 1, 2, 3"),
        (Sct013Settings(format="xml"), "driver.format"),
    ],
)
def test_settings_that_make_no_sense(settings: Sct013Settings, message: str) -> None:
    with pytest.raises(UserError, match=message):
        settings.check()
