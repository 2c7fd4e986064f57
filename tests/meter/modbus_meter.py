"""A Modbus meter made of pymodbus's own server, over TCP or over a serial line whose bytes the test can damage."""

import asyncio
import os
import struct
import tty
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from pymodbus import FramerType
from pymodbus.constants import ExcCodes
from pymodbus.server import ModbusSerialServer, ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

HOST = "127.0.0.1"
Words = dict[int, int]


def float_words(value: float) -> tuple[int, int]:
    high, low = struct.unpack(">HH", struct.pack(">f", value))
    return high, low


class ModbusMeter:
    """Its registers, which the test changes while it runs. Addresses that are not named are refused."""

    def __init__(self, inputs: dict[int, float], holdings: Words | None = None, unit: int = 1) -> None:
        self.unit = unit
        self.input_words: Words = {}
        self.holding_words: Words = holdings or {}
        self.failure: ExcCodes | None = None
        self.asked: list[tuple[int, int, int]] = []
        for address, value in inputs.items():
            self.set_float(address, value)

    def set_float(self, address: int, value: float) -> None:
        self.input_words[address], self.input_words[address + 1] = float_words(value)

    def device(self) -> SimDevice:
        # pymodbus's simulator wants an entry for each kind of register, and no address twice.
        unused = [SimData(0, values=False, datatype=DataType.BITS)]
        return SimDevice(
            id=self.unit,
            simdata=(unused, unused, _block(self.holding_words), _block(self.input_words)),
            action=self._answer,
        )

    async def _answer(
        self, function: int, start: int, address: int, count: int, registers: list[int], _: object
    ) -> ExcCodes | None:
        self.asked.append((function, address, count))
        words = self.input_words if function == 4 else self.holding_words
        for place in range(address, address + count):
            if place in words:
                registers[place - start] = words[place]
        return self.failure


def _block(words: Words) -> list[SimData]:
    return [SimData(place, values=word, datatype=DataType.REGISTERS) for place, word in sorted(words.items())] or [
        SimData(65_535, values=0, datatype=DataType.REGISTERS)
    ]


@asynccontextmanager
async def over_tcp(meter: ModbusMeter, port: int = 0, framer: FramerType = FramerType.SOCKET) -> AsyncIterator[int]:
    """The meter on a port of this machine, a free one unless told which."""
    server = ModbusTcpServer(meter.device(), framer=framer, address=(HOST, port))
    await server.serve_forever(background=True)
    try:
        yield server.transport.sockets[0].getsockname()[1]
    finally:
        await server.shutdown()


class Rs485:
    """A serial line with two ends, the meter at the far one; everything from the meter goes through `damage`."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "ttyRS485"
        self.damage: Callable[[bytes], bytes] = lambda data: data
        self._far, self._far_end = os.openpty()
        tty.setraw(self._far_end)
        os.set_blocking(self._far, False)
        self._near: tuple[int, int] | None = None
        self.plug()
        asyncio.get_running_loop().add_reader(self._far, self._from_meter)

    @property
    def far_port(self) -> str:
        return os.ttyname(self._far_end)

    def plug(self) -> None:
        near, near_end = self._near = os.openpty()
        tty.setraw(near_end)
        os.set_blocking(near, False)
        self.path.symlink_to(os.ttyname(near_end))
        asyncio.get_running_loop().add_reader(near, lambda: os.write(self._far, os.read(near, 4096)))

    def unplug(self) -> None:
        if self._near is not None:
            asyncio.get_running_loop().remove_reader(self._near[0])
            for descriptor in self._near:
                os.close(descriptor)
            self.path.unlink()
            self._near = None

    def _from_meter(self) -> None:
        data = self.damage(os.read(self._far, 4096))
        if data and self._near is not None:
            os.write(self._near[0], data)

    def close(self) -> None:
        self.unplug()
        asyncio.get_running_loop().remove_reader(self._far)
        os.close(self._far)
        os.close(self._far_end)


@asynccontextmanager
async def over_serial(meter: ModbusMeter, folder: Path) -> AsyncIterator[Rs485]:
    line = Rs485(folder)
    server = ModbusSerialServer(meter.device(), port=line.far_port, baudrate=9600)
    await server.serve_forever(background=True)
    try:
        yield line
    finally:
        await server.shutdown()
        line.close()
