"""Modbus meters played by pymodbus's own server: over TCP, and over a serial line that damages what it carries."""

import asyncio
import random
import struct
from collections.abc import Awaitable
from contextlib import suppress
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import TypeVar

import pytest

pytest.importorskip("pymodbus", reason='needs pymodbus: pip install "wattchain[modbus]"')
from pymodbus import FramerType
from pymodbus.constants import ExcCodes

from meter.drivers.measurement import DeviceTrouble, Measurement, Source
from meter.drivers.modbus import MAX_SENSELESS, ModbusDevice, ModbusSettings, open_device
from meter.drivers.modbus_registers import RegisterRow
from meter.settings import load_settings
from primitives.clock import SystemClock
from primitives.errors import UserError
from tests.meter.modbus_meter import HOST, ModbusMeter, over_serial, over_tcp

LIMIT_S = 10
QUICK = {"interval_s": Decimal("0.01"), "timeout_s": Decimal("0.2")}
SERIAL = {0xFC00: 0x0012, 0xFC01: 0xD687}
T = TypeVar("T")


async def within(waiting: Awaitable[T]) -> T:
    async with asyncio.timeout(LIMIT_S):
        return await waiting


def sdm120() -> ModbusMeter:
    return ModbusMeter({0: 231.5, 6: 6.25, 0x0C: -1440.5, 0x48: 1234.56, 0x4A: 0.5}, dict(SERIAL))


def sdm630() -> ModbusMeter:
    voltages = {0: 230.0, 2: 231.0, 4: 232.0, 6: 1.0, 8: 2.0, 10: 3.0}
    return ModbusMeter({**voltages, 0x34: 1386.0, 0x48: 20_000.02, 0x4A: 0.0}, dict(SERIAL))


def device_at(**settings: object) -> ModbusDevice:
    chosen = ModbusSettings(**{"model": "SDM120", **QUICK, **settings})  # type: ignore[arg-type]
    chosen.check()
    return open_device(chosen, SystemClock())


async def one(device: ModbusDevice) -> Measurement:
    measurement = await within(device.read())
    assert measurement is not None
    return measurement


def exactly(kwh: float) -> int:
    """What a float32 near a number is in mWh."""
    (nearest,) = struct.unpack(">f", struct.pack(">f", kwh))
    return round(Fraction(nearest) * 10**6)


async def test_known_meters_over_tcp() -> None:
    async with over_tcp(sdm120()) as port:
        device = device_at(host=HOST, tcp_port=port)
        measurement = await one(device)
        assert (measurement.import_mwh, measurement.export_mwh) == (exactly(1234.56), 500_000)
        assert measurement.import_mwh == 1_234_560_059
        assert (measurement.power_mw, measurement.device_id) == (-1_440_500, "1234567")
        assert measurement.values == (("voltage_1_mv", 231_500), ("current_1_ma", 6_250))
        assert device.source is Source.REGISTER
        await device.close()
    async with over_tcp(sdm630()) as port:
        device = device_at(model="SDM630", host=HOST, tcp_port=port)
        measurement = await one(device)
        assert (measurement.import_mwh, measurement.power_mw) == (exactly(20_000.02), 1_386_000)
        assert dict(measurement.values)["current_3_ma"] == 3000
        await device.close()


async def test_a_serial_server_that_passes_rtu_on() -> None:
    async with over_tcp(sdm120(), framer=FramerType.RTU) as port:
        device = device_at(host=HOST, tcp_port=port, framing="rtu")
        assert (await one(device)).export_mwh == 500_000
        await device.close()


async def test_any_meter_by_a_table() -> None:
    meter = ModbusMeter({}, {100: 0x0001, 101: 0x86A0, 102: 7, 200: 0xFFFF, 201: 0xFF38, 300: 40, 301: 2})
    rows = (
        RegisterRow("import", 100, "Wh", "uint32", "holding", scale=Decimal(10)),
        RegisterRow("import", 102, "kWh", "uint16", "holding"),
        RegisterRow("power", 200, "W", "int32", "holding", scale=Decimal("0.1")),
        RegisterRow("export", 300, "Wh", "uint32", "holding", "little"),
    )
    async with over_tcp(meter) as port:
        device = device_at(model="", registers=rows, host=HOST, tcp_port=port)
        measurement = await one(device)
        assert measurement.import_mwh == 1_000_000_000 + 7_000_000
        assert (measurement.power_mw, measurement.export_mwh) == (-20_000, (2 * 65_536 + 40) * 1000)
        assert measurement.device_id == ""
        await device.close()


async def test_a_meter_goes_and_another_comes() -> None:
    meter = sdm120()
    async with over_tcp(meter) as port:
        device = device_at(host=HOST, tcp_port=port)
        await one(device)
    with pytest.raises(DeviceTrouble, match=r"no answer from the meter|no connection"):
        await one(device)
    with pytest.raises(DeviceTrouble, match="check driver"):
        await one(device)
    del meter.holding_words[0xFC00], meter.holding_words[0xFC01]
    meter.set_float(0x48, 3.0)
    async with over_tcp(meter, port):
        measurement = await one(device)
        assert (measurement.import_mwh, measurement.device_id) == (3_000_000, "")
        await device.close()


async def test_a_voltage_or_power_that_makes_no_sense_costs_no_register() -> None:
    meter = sdm120()
    async with over_tcp(meter) as port:
        device = device_at(host=HOST, tcp_port=port)
        whole = await one(device)
        meter.set_float(0x00, float("nan"))
        odd = await one(device)
        assert (odd.import_mwh, odd.power_mw) == (whole.import_mwh, whole.power_mw)
        assert odd.values == tuple([value for value in whole.values if value[0] != "voltage_1_mv"])
        meter.set_float(0x0C, float("inf"))
        odd = await one(device)
        assert (odd.import_mwh, odd.power_mw, device.senseless) == (whole.import_mwh, None, 0)
        await device.close()


async def test_refusals_and_lies() -> None:
    meter = sdm120()
    async with over_tcp(meter) as port:
        device = device_at(host=HOST, tcp_port=port)
        await one(device)
        meter.failure = ExcCodes.ILLEGAL_ADDRESS
        with pytest.raises(DeviceTrouble, match="is for another meter"):
            await one(device)
        meter.failure = ExcCodes.DEVICE_BUSY
        with pytest.raises(DeviceTrouble, match="is busy"):
            await one(device)
        meter.failure = None
        for lie in (float("nan"), float("inf"), -1.0, 1e20):
            meter.set_float(0x48, lie)
            with pytest.raises(DeviceTrouble, match="make no sense"):
                await one(device)
        assert device.senseless == 4 * MAX_SENSELESS
        meter.set_float(0x48, 5.0)
        assert (await one(device)).import_mwh == 5_000_000
        await device.close()


async def test_a_unit_that_is_not_there() -> None:
    async with over_tcp(sdm120()) as port:
        device = device_at(host=HOST, tcp_port=port, unit=9)
        with pytest.raises(DeviceTrouble, match="unit 9"):
            await one(device)
        await device.close()


async def test_a_port_where_something_else_answers() -> None:
    ended = asyncio.Event()

    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(random.Random(1).randbytes(5000))
        with suppress(ConnectionError):
            await reader.read()
        writer.close()
        ended.set()

    async with await asyncio.start_server(babble, HOST, 0) as server:
        device = device_at(host=HOST, tcp_port=server.sockets[0].getsockname()[1])
        with pytest.raises(DeviceTrouble):
            await one(device)
        await device.close()
        await within(ended.wait())


async def test_an_answer_that_cannot_be_decoded_is_no_page_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    async def stammer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while question := await reader.read(100):
                writer.write(question[:4] + b"\0\2" + question[6:8])  # the function, and nothing behind it
        writer.close()

    async with await asyncio.start_server(stammer, HOST, 0) as server:
        device = device_at(host=HOST, tcp_port=server.sockets[0].getsockname()[1])
        for _ in range(2):
            with pytest.raises(DeviceTrouble, match="no answer from the meter"):
                await one(device)
        await device.close()
    assert caplog.records == []


async def test_over_a_serial_line(tmp_path: Path) -> None:
    meter = sdm120()
    async with over_serial(meter, tmp_path) as line:
        device = device_at(port=str(line.path))
        assert (await one(device)).import_mwh == 1_234_560_059
        line.damage = lambda data: data[:-1] + bytes([data[-1] ^ 1])  # the checksum
        with pytest.raises(DeviceTrouble, match="are A and B"):
            await one(device)
        line.damage = lambda _: b""
        with pytest.raises(DeviceTrouble, match="are A and B"):
            await one(device)
        line.damage = lambda data: data
        meter.set_float(0x48, 1235.0)
        measurement = await one(device)
        assert (measurement.import_mwh, measurement.device_id) == (1_235_000_000, "1234567")
    with pytest.raises(DeviceTrouble, match=r"are A and B|there is no serial port"):
        await one(device)
    with pytest.raises(DeviceTrouble, match="there is no serial port"):
        await one(device)
    meter.holding_words[0xFC01] += 1
    async with over_serial(meter, tmp_path):  # another meter on the same port
        assert (await one(device)).device_id == "1234568"
        await device.close()


async def test_unplugged_while_it_is_read(tmp_path: Path) -> None:
    async with over_serial(sdm120(), tmp_path) as line:
        device = device_at(port=str(line.path))
        await one(device)
        line.unplug()
        # Whoever is first notices the end of the line: the question without an answer, or the port that is gone.
        for message in ("are A and B|there is no serial port", "there is no serial port"):
            with pytest.raises(DeviceTrouble, match=message):
                await one(device)
        line.plug()
        assert (await one(device)).import_mwh == 1_234_560_059
        await device.close()


@pytest.mark.parametrize("seed", range(2))
async def test_what_a_noisy_line_lets_through_is_right(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    meter = sdm120()

    def damage(data: bytes) -> bytes:
        changed = bytearray(data)
        while chance.random() < 0.4 and changed:
            place = chance.randrange(len(changed))
            action = chance.random()
            if action < 0.5:
                changed[place] ^= 1 << chance.randrange(8)
            elif action < 0.75:
                del changed[place:]
            else:
                changed[place:place] = chance.randbytes(3)
        return bytes(changed)

    async with over_serial(meter, tmp_path) as line:
        device = device_at(port=str(line.path), timeout_s=Decimal("0.15"))
        line.damage = damage
        good = 0
        for number in range(10):
            meter.set_float(0x48, float(number))
            try:
                measurement = await one(device)
            except DeviceTrouble:
                continue
            good += 1
            assert (measurement.import_mwh, measurement.export_mwh) == (number * 1_000_000, 500_000)
        assert good > 1
        await device.close()


async def test_it_asks_once_an_interval() -> None:
    async with over_tcp(sdm120()) as port:
        device = device_at(host=HOST, tcp_port=port, interval_s=Decimal("0.1"))
        times = [(await one(device)).elapsed_ms for _ in range(4)]
        assert 250 <= times[-1] - times[0] < 2000
        await device.close()


def test_a_table_in_the_settings_file(tmp_path: Path) -> None:
    (tmp_path / "meter.toml").write_text(
        """
[meter]
key = "k"
outbox = "o"
[ledger]
chain_id = 5
[driver]
kind = "modbus"
registers = [
  { what = "import", address = 0, unit = "kWh", type = "uint32", function = "holding", scale = 0.01 },
  { what = "power", address = 8, unit = "W" },
]
host = "10.0.0.9"
"""
    )
    driver = load_settings(tmp_path / "meter.toml").driver
    assert isinstance(driver, ModbusSettings)
    assert driver.rows()[0] == RegisterRow("import", 0, "kWh", "uint32", "holding", scale=Decimal("0.01"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (ModbusSettings(), "set either driver.model"),
        (ModbusSettings(model="SDM120", registers=(RegisterRow("import", 0, "kWh"),)), "set either driver.model"),
        (ModbusSettings(model="XYZ"), "there is SDM120, SDM230, SDM630"),
        (ModbusSettings(registers=(RegisterRow("power", 0, "W"),)), "needs a row with what"),
        (ModbusSettings(registers=(RegisterRow("import", 0, "kWh"),) * 50), "40 are the most"),
        (ModbusSettings(registers=(RegisterRow("x", 0),)), r"driver.registers\[1\].what"),
        (ModbusSettings(model="SDM120", unit=300), "driver.unit must be from 0 to 247"),
        (ModbusSettings(model="SDM120", framing="ascii"), "driver.framing"),
        (ModbusSettings(model="SDM120", host="a b"), "driver.host"),
        (ModbusSettings(model="SDM120", parity="mark"), "driver.parity"),
        (ModbusSettings(model="SDM120", interval_s=Decimal(0)), "driver.interval_s"),
    ],
)
def test_mistakes_are_named(settings: ModbusSettings, message: str) -> None:
    with pytest.raises(UserError, match=message):
        settings.check()
