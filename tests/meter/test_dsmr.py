"""P1 telegrams over a real pair of pseudo-terminals and over TCP: all variants, and all that a wire does to them."""

import asyncio
import random
from collections.abc import Awaitable
from decimal import Decimal
from pathlib import Path
from typing import TypeVar

import pytest

pytest.importorskip("dsmr_parser", reason='needs dsmr-parser: pip install "wattchain[dsmr]"')

from meter.drivers.dsmr import DsmrDevice, DsmrSettings, open_device
from meter.drivers.measurement import DeviceTrouble, Measurement, Source
from primitives.clock import SystemClock
from primitives.errors import UserError
from tests.meter.p1_frames import sealed
from tests.meter.p1_telegrams import BELGIUM, IDENTIFIER, LUXEMBOURG, NETHERLANDS_2, NETHERLANDS_5, telegram
from tests.meter.serial_pair import SerialPair, let_open

LIMIT_S = 10
KEY = "10112233445566778899aabbccddeeff"
T = TypeVar("T")


async def within(waiting: Awaitable[T]) -> T:
    async with asyncio.timeout(LIMIT_S):
        return await waiting


def device_at(pair: SerialPair, **settings: object) -> DsmrDevice:
    return open_device(DsmrSettings(port=pair.port, **settings), SystemClock())  # type: ignore[arg-type]


async def first(pair: SerialPair, device: DsmrDevice, data: bytes) -> Measurement:
    reading = asyncio.create_task(device.read())
    await let_open()
    await pair.send(data)
    measurement = await within(reading)
    assert measurement is not None
    return measurement


@pytest.mark.parametrize(
    ("fields", "import_mwh", "export_mwh", "power_mw", "device_id"),
    [
        (NETHERLANDS_5, 3_854_101_000, 1_052_557_000, 482_000, IDENTIFIER),
        (BELGIUM, 349_837_000, 27_677_000, -1_292_000, IDENTIFIER),
        (LUXEMBOURG, 842_911_000, 1_500_000, 931_000, "53414731303330373030303034303533"),
    ],
)
async def test_variants(
    tmp_path: Path, fields: dict[str, str], import_mwh: int, export_mwh: int, power_mw: int, device_id: str
) -> None:
    with SerialPair(tmp_path) as pair:
        device = device_at(pair)
        assert device.source is Source.REGISTER
        measurement = await first(pair, device, telegram(fields))
        assert (measurement.import_mwh, measurement.export_mwh) == (import_mwh, export_mwh)
        assert (measurement.power_mw, measurement.device_id) == (power_mw, device_id)
        await device.close()
    voltages = {name: value for name, value in measurement.values if name.startswith("voltage")}
    assert voltages["voltage_1_mv"] == Decimal(fields["1-0:32.7.0"][1:-3]) * 1000
    assert len(voltages) == (3 if fields is LUXEMBOURG else 1)


async def test_old_meters_have_no_checksum_and_are_believed_from_the_second_telegram(tmp_path: Path) -> None:
    changed = NETHERLANDS_2 | {"1-0:1.8.1": "(01842.14*kWh)"}
    wrong = NETHERLANDS_2 | {"1-0:1.8.1": "(91842.14*kWh)"}
    without_a_line = {code: value for code, value in changed.items() if code != "1-0:1.8.2"}
    with SerialPair(tmp_path) as pair:
        device = device_at(pair, version="2.2")
        sent = [NETHERLANDS_2, NETHERLANDS_2, wrong, without_a_line, changed, changed]
        data = b"".join(telegram(fields, has_checksum=False) for fields in sent)
        found = [await first(pair, device, data), await within(device.read())]
        assert [one and one.import_mwh for one in found] == [3_854_090_000, 3_854_100_000]
        assert device.dropped == 4
        await device.close()


async def test_damaged_telegrams_are_dropped_and_counted(tmp_path: Path) -> None:
    good = telegram(NETHERLANDS_5)
    bad = [
        telegram(NETHERLANDS_5, checksum="0000"),
        good.replace(b"001842.137", b"901842.137"),
        telegram(NETHERLANDS_5, has_checksum=False),
        telegram(NETHERLANDS_5 | {"1-0:1.8.1": "(NaN*kWh)"}),
        telegram(NETHERLANDS_5 | {"1-0:1.8.1": "(9999999999*kWh)"}),
        telegram(NETHERLANDS_5 | {"1-0:1.8.1": "(000001.000*m3)"}),
        telegram(NETHERLANDS_5 | {"1-0:1.8.1": "()"}),
        telegram({"1-0:1.7.0": "(00.482*kW)"}),
    ]
    with SerialPair(tmp_path) as pair:
        device = device_at(pair)
        measurement = await first(pair, device, b"".join([good[40:], *bad, good]))
        assert measurement.import_mwh == 3_854_101_000
        assert device.dropped == len(bad)
        await device.close()


@pytest.mark.parametrize(
    ("odd", "lost"),
    [
        ({"1-0:32.7.0": "(2x1.4*V)"}, "voltage_1_mv"),
        ({"1-0:32.7.0": "(231.4*kW)"}, "voltage_1_mv"),
        ({"1-0:32.7.0": "(NaN*V)"}, "voltage_1_mv"),
        ({"1-0:32.7.0": "(231.4*V*V)"}, "voltage_1_mv"),
        ({"1-0:31.7.0": "()"}, "current_1_ma"),
        ({"1-0:31.7.0": "(2)(3)"}, "current_1_ma"),
        ({"1-0:31.7.0": "(-2.1*A)"}, "current_1_ma"),
        ({"1-0:1.7.0": "(0x.482*kW)"}, "power"),
        ({"1-0:2.7.0": "(9999999999*kW)"}, "power"),
        ({"0-0:96.1.1": "()"}, "serial number"),
    ],
)
async def test_one_odd_value_costs_no_register(tmp_path: Path, odd: dict[str, str], lost: str) -> None:
    both = NETHERLANDS_5 | {"0-0:42.0.0": "(4142)"}
    with SerialPair(tmp_path) as pair:
        device = device_at(pair)
        whole = await first(pair, device, telegram(both))
        measurement = await first(pair, device, telegram(both | odd))
        assert (measurement.import_mwh, measurement.export_mwh) == (whole.import_mwh, whole.export_mwh)
        assert measurement.power_mw == (None if lost == "power" else whole.power_mw)
        # Without its number it is not another device that goes by its name.
        assert measurement.device_id == ("" if lost == "serial number" else whole.device_id)
        assert measurement.values == tuple([value for value in whole.values if value[0] != lost])
        assert (await first(pair, device, telegram(both))).values == whole.values
        assert device.dropped == 0
        await device.close()


async def test_a_meter_that_tells_other_registers_is_believed_after_a_while(tmp_path: Path) -> None:
    total = {"1-0:1.8.0": "(000100.000*kWh)", "1-0:1.7.0": "(00.100*kW)"}
    with SerialPair(tmp_path) as pair:
        device = device_at(pair)
        await first(pair, device, telegram(NETHERLANDS_5))
        measurement = await first(pair, device, telegram(total) * 5)
        assert (measurement.import_mwh, device.dropped) == (100_000_000, 4)
        await device.close()


@pytest.mark.parametrize("seed", range(3))
async def test_torn_pieces_and_noise_in_between(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    expected = [1_000_000 * number for number in range(1, 21)]
    sent = bytearray(b"482*kW)\r\n!12")
    for value in expected:
        if chance.random() < 0.4:
            sent += chance.randbytes(chance.randint(1, 60)).replace(b"/", b"")
        sent += telegram(NETHERLANDS_5 | {"1-0:1.8.1": f"({value // 10**6:06}.000*kWh)", "1-0:1.8.2": "(0*kWh)"})
    with SerialPair(tmp_path) as pair:
        device = device_at(pair)

        async def collect() -> list[int]:
            found: list[int] = []
            while len(found) < len(expected):
                measurement = await device.read()
                assert measurement is not None
                assert measurement.import_mwh is not None
                found.append(measurement.import_mwh)
            return found

        collecting = asyncio.create_task(collect())
        await let_open()
        while sent:
            size = chance.randint(1, 300)
            await pair.send(bytes(sent[:size]))
            del sent[:size]
        assert await within(collecting) == expected
        await device.close()


async def test_unplugged_and_plugged_again(tmp_path: Path) -> None:
    with SerialPair(tmp_path) as pair:
        device = device_at(pair)
        await first(pair, device, telegram(NETHERLANDS_5) + telegram(NETHERLANDS_5)[:200])
        reading = asyncio.create_task(device.read())
        await let_open()
        pair.unplug()
        with pytest.raises(DeviceTrouble, match=r"is gone|no device answers"):
            await within(reading)
        with pytest.raises(DeviceTrouble, match="there is no serial port"):
            await within(device.read())
        pair.plug()
        measurement = await first(pair, device, telegram(NETHERLANDS_5)[200:] + telegram(BELGIUM) * 5)
        assert measurement.import_mwh == 349_837_000
        await device.close()


async def test_what_is_no_p1_port_is_said(tmp_path: Path) -> None:
    with SerialPair(tmp_path) as pair:
        device = device_at(pair)
        with pytest.raises(DeviceTrouble, match="bytes but no telegrams"):
            await first(pair, device, b"/endless " * 3000)
        with pytest.raises(DeviceTrouble, match="telegrams in a row"):
            await first(pair, device, telegram(NETHERLANDS_2, has_checksum=False) * 20)
        assert (await first(pair, device, telegram(NETHERLANDS_5))).power_mw == 482_000
        await device.close()


async def test_a_dongle_in_the_network() -> None:
    turns = iter([telegram(NETHERLANDS_5)[:100], telegram(NETHERLANDS_5)[50:] + telegram(NETHERLANDS_5), b""])

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(next(turns))
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        device = open_device(DsmrSettings(host="127.0.0.1", tcp_port=port), SystemClock())
        with pytest.raises(DeviceTrouble, match="has ended the connection"):
            await within(device.read())
        measurement = await within(device.read())
        assert measurement is not None
        assert measurement.import_mwh == 3_854_101_000
        with pytest.raises(DeviceTrouble, match="has ended the connection"):
            await within(device.read())
    with pytest.raises(DeviceTrouble, match="no connection to the device"):
        await within(device.read())
    await device.close()


async def test_meters_that_encrypt(tmp_path: Path) -> None:
    key_file = tmp_path / "key"
    key_file.write_text(KEY.upper() + "\n")
    key_file.chmod(0o600)
    good = sealed(telegram(LUXEMBOURG), bytes.fromhex(KEY), 7)
    damaged = good[:100] + b"\0" + good[101:]
    with SerialPair(tmp_path) as pair:
        device = device_at(pair, encrypted=True, key_file=key_file)
        noise = random.Random(3).randbytes(200).replace(b"\xdb", b"")
        measurement = await first(pair, device, good[60:].replace(b"\xdb", b"") + noise + damaged + good)
        assert (measurement.import_mwh, device.dropped) == (842_911_000, 1)
        with pytest.raises(DeviceTrouble, match="whether the key is this meter's"):
            await first(pair, device, sealed(telegram(LUXEMBOURG), b"\x11" * 16, 8) * 10)
        await device.close()


@pytest.mark.parametrize("text", ["", "xyz", KEY[:-1], KEY + "0"])
def test_a_key_that_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "key").write_text(text + "\n")
    with pytest.raises(UserError):
        open_device(DsmrSettings(encrypted=True, key_file=tmp_path / "key"), SystemClock())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (DsmrSettings(version="4"), 'choose "5"'),
        (DsmrSettings(port=""), "driver.port"),
        (DsmrSettings(host="a b"), "driver.host"),
        (DsmrSettings(host="h", tcp_port=0), "driver.tcp_port"),
        (DsmrSettings(interval_s=Decimal(0)), "driver.interval_s"),
        (DsmrSettings(key_file=Path("k")), "driver.encrypted"),
    ],
)
def test_mistakes_in_settings(settings: DsmrSettings, message: str) -> None:
    with pytest.raises(UserError, match=message):
        settings.check()


def test_what_the_version_says_about_the_line() -> None:
    assert DsmrSettings().serial().baud_rate == 115_200
    old = DsmrSettings(version="2.2").serial()
    assert (old.baud_rate, old.data_bits, old.parity, old.stop_bits) == (9600, 7, "even", 1)
    DsmrSettings(version="2.2").check()
    DsmrSettings(host="10.0.0.7").check()
