"""Meters that are asked by Modbus, over a serial line (RTU) or a network (TCP), by pymodbus.

Known meters are a table of registers (meter/drivers/modbus_registers.py), and `driver.registers` is such a table for
any other. Every interval the registers are asked for; a meter that does not answer is asked again with the next one.
"""

import asyncio
import errno
import logging
import os
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from pymodbus.client import AsyncModbusSerialClient, AsyncModbusTcpClient
from pymodbus.exceptions import ModbusException
from pymodbus.pdu import ExceptionResponse

from meter.drivers.measurement import DeviceTrouble, Measurement, Source
from meter.drivers.modbus_registers import (
    MAX_ROWS,
    METERS,
    SERIAL,
    Question,
    RegisterRow,
    plan_questions,
    value_of,
)
from meter.drivers.quantities import REGISTERS, measurement_of
from meter.drivers.turns import Turns
from meter.serial_line import DEFAULT_PORT, PARITIES, PortSettings, why_not_open
from meter.tcp_line import TcpSettings
from primitives.clock import Clock
from primitives.errors import UserError
from wallet.settings_file import DAY_S, check_ranges

# What goes wrong is told by DeviceTrouble, once; the library would log it several times over.
logging.getLogger("pymodbus").setLevel(logging.CRITICAL)

# A meter may need a moment; one more try, since a byte on RS485 is lost easily.
RETRIES = 1
MAX_SENSELESS = 5

_EXCEPTIONS = {
    1: "does not know this function: use the other one (input or holding) in driver.registers",
    2: "has no register at this address: driver.model or driver.registers is for another meter",
    3: "refuses to read so many registers",
    4: "has failed inside",
    6: "is busy",
    10: "is not reached by its gateway",
    11: "is behind a gateway that gets no answer from it: check driver.unit and the wires",
}


@dataclass(frozen=True, slots=True)
class ModbusSettings:
    """[driver]: a Modbus meter."""

    kind: str = "modbus"
    model: str = ""
    """One of the known meters; empty where `registers` is set."""
    registers: tuple[RegisterRow, ...] = ()
    unit: int = 1
    """The meter's address on the bus."""
    port: str = DEFAULT_PORT
    baud_rate: int = 9600
    parity: str = "none"
    stop_bits: int = 1
    host: str = ""
    """A meter or gateway in the network, instead of `port`."""
    tcp_port: int = 502
    framing: str = "tcp"
    """With `host`: "tcp" for Modbus TCP, "rtu" for a serial server that passes bytes on."""
    interval_s: Decimal = Decimal(5)
    timeout_s: Decimal = Decimal(1)

    def rows(self) -> tuple[RegisterRow, ...]:
        return self.registers or METERS[self.model]

    def check(self) -> None:
        """Raises UserError for values that make no sense."""
        if bool(self.registers) == bool(self.model):
            raise UserError(
                f"set either driver.model (one of {', '.join(METERS)}) or driver.registers, a table of registers"
            )
        if self.model and self.model not in METERS:
            raise UserError(
                f"driver.model is {self.model!r}; there is {', '.join(METERS)}; for others write driver.registers"
            )
        if self.framing not in ("tcp", "rtu"):
            raise UserError(f'driver.framing is {self.framing!r}; choose "tcp" or "rtu"')
        if len(self.registers) > MAX_ROWS:
            raise UserError(f"driver.registers has {len(self.registers)} rows; {MAX_ROWS} are the most")
        for number, row in enumerate(self.registers, start=1):
            row.check(f"driver.registers[{number}]")
        if not any(row.what in ("import", "export") for row in self.rows()):
            raise UserError('driver.registers needs a row with what = "import", "export", or both')
        check_ranges(
            (
                ("driver.unit", self.unit, 0, 247),
                ("driver.interval_s", self.interval_s, Decimal("0.01"), DAY_S),
                ("driver.timeout_s", self.timeout_s, Decimal("0.05"), 60),
            )
        )
        if self.host:
            TcpSettings(self.host, self.tcp_port).check()
        else:
            port = PortSettings(self.port, self.baud_rate, 8, self.parity, self.stop_bits)
            port.check()
            check_ranges(port.ranges())


def open_device(settings: ModbusSettings, clock: Clock) -> "ModbusDevice":
    return ModbusDevice(settings, clock)


class ModbusDevice:
    """One meter on a bus."""

    source = Source.REGISTER

    def __init__(self, settings: ModbusSettings, clock: Clock) -> None:
        self.interval_s = float(settings.interval_s)
        self.senseless = 0
        """Answers thrown away since they make no sense: no number, below zero, far too large."""
        self._settings = settings
        self._clock = clock
        self._place = f"{settings.host}:{settings.tcp_port}" if settings.host else settings.port
        rows = settings.rows()
        self._questions = plan_questions([row for row in rows if row.what != SERIAL])
        self._serial_questions = plan_questions([row for row in rows if row.what == SERIAL])
        self._device_id: str | None = None
        self._client: AsyncModbusSerialClient | AsyncModbusTcpClient | None = None
        self._turns = Turns(self.interval_s, clock)

    async def read(self) -> Measurement | None:
        """What the meter says now, as soon as the interval has passed. Raises DeviceTrouble."""
        senseless = 0
        while True:
            await self._turns.next()
            measurement = await self._ask()
            if measurement is not None:
                return measurement
            self.senseless += 1
            senseless += 1
            if senseless >= MAX_SENSELESS:
                raise DeviceTrouble(
                    f"the meter at {self._place} (unit {self._settings.unit}) answers {senseless} times in a row with "
                    "values that make no sense: check driver.model, or type, word_order and scale in driver.registers"
                )

    async def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            client.close()

    async def _ask(self) -> Measurement | None:
        """None where a register makes no sense, or nothing does; another such value is left out."""
        try:
            await self._connect()
            if self._device_id is None:
                self._device_id = await self._read_serial()
            found: dict[str, int] = {}
            lost: set[str] = set()
            for question in self._questions:
                registers = await self._answer(question)
                for row in question.rows:
                    begin = row.address - question.address
                    value = value_of(row, registers[begin : begin + row.length])
                    if value is not None:
                        found[row.what] = found.get(row.what, 0) + value
                    elif row.what in REGISTERS:
                        return None
                    else:
                        lost.add(row.what)
        except (ModbusException, OSError, TimeoutError, asyncio.CancelledError) as error:
            await self.close()  # an answer that is still on its way must not be taken for the next one
            if isinstance(error, asyncio.CancelledError):
                raise
            raise DeviceTrouble(
                f"no answer from the meter at {self._place} (unit {self._settings.unit}): is it powered, are A and B "
                "not exchanged, and are driver.unit, baud_rate and parity the meter's?"
            ) from error
        # Of several phases together, one that is lost makes a sum too small.
        sensible = {what: value for what, value in found.items() if what not in lost}
        return measurement_of(self._clock.elapsed_ms(), sensible, self._device_id or "") if sensible else None

    async def _connect(self) -> None:
        if self._client is not None and self._client.connected:
            return
        await self.close()
        # A serial number is asked for anew: it may be another meter.
        self._device_id = None
        client = self._make_client()
        _hang_up_quietly(client)
        self._client = client
        if not await client.connect():
            await self.close()
            raise DeviceTrouble(self._why_not_connected())

    def _make_client(self) -> AsyncModbusSerialClient | AsyncModbusTcpClient:
        from pymodbus import FramerType

        settings, timeout_s = self._settings, float(self._settings.timeout_s)
        if settings.host:
            framer = FramerType.SOCKET if settings.framing == "tcp" else FramerType.RTU
            return AsyncModbusTcpClient(
                settings.host,
                port=settings.tcp_port,
                framer=framer,
                timeout=timeout_s,
                retries=RETRIES,
                reconnect_delay=0,
            )
        return AsyncModbusSerialClient(
            settings.port,
            baudrate=settings.baud_rate,
            parity=PARITIES[settings.parity],
            stopbits=settings.stop_bits,
            timeout=timeout_s,
            retries=RETRIES,
            reconnect_delay=0,
        )

    def _why_not_connected(self) -> str:
        """The library keeps the reason to itself, so look again."""
        if self._settings.host:
            return f"no connection to the Modbus device at {self._place}: check driver.host and driver.tcp_port"
        try:
            os.close(os.open(self._settings.port, os.O_RDWR | os.O_NONBLOCK | os.O_NOCTTY))
        except OSError as error:
            return why_not_open(self._settings.port, error)
        return why_not_open(self._settings.port, OSError(errno.EBUSY, "in use"))

    async def _read_serial(self) -> str:
        """Empty for meters that do not tell one: they refuse the question."""
        numbers: list[str] = []
        for question in self._serial_questions:
            try:
                registers = await self._answer(question)
            except DeviceTrouble:
                return ""
            row = question.rows[0]
            number = value_of(row, registers[: row.length])
            numbers.append("" if number is None else str(number))
        return "-".join(numbers)

    async def _answer(self, question: Question) -> Sequence[int]:
        """The registers. Raises DeviceTrouble for a refusal, ModbusException where nothing comes."""
        client = self._client
        if client is None:
            raise RuntimeError("asked before it is connected")
        ask = client.read_holding_registers if question.function == "holding" else client.read_input_registers
        answer = await ask(question.address, count=question.count, device_id=self._settings.unit)
        if isinstance(answer, ExceptionResponse):
            what = _EXCEPTIONS.get(answer.exception_code, f"refuses (code {answer.exception_code})")
            where = f"the meter at {self._place} (unit {self._settings.unit})"
            raise DeviceTrouble(f"{where} {what}; asked for {question.count} from {question.address}")
        if answer.isError() or len(answer.registers) != question.count:
            raise ModbusException("an answer to something else")
        return answer.registers


def _hang_up_quietly(client: AsyncModbusSerialClient | AsyncModbusTcpClient) -> None:
    """An answer that cannot be decoded ends the connection, as it does anyway, but without a page in the log."""
    manager: Any = client.ctx
    receive: Callable[[bytes], None] = manager.data_received

    def data_received(data: bytes) -> None:
        try:
            receive(data)
        except (ModbusException, struct.error, LookupError, ValueError):
            if manager.transport is not None:
                manager.transport.abort()

    manager.data_received = data_received
