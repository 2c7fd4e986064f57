"""Which meter speaks on a serial port: its line is listened to at the speeds of the known ones, and nothing is sent.

Modbus meters speak only when they are asked, and a question may upset another device on the line; they are not looked
for. What comes in is judged by its form alone: a name that it gives itself proves nothing.
"""

import asyncio
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from serial.tools import list_ports

from meter.drivers.board_line import CSV, EMONCMS, BadLine, LineDecoder, Told, shown
from meter.drivers.field_map import BOARDS, FACTOR, VOLTAGE, Board
from meter.drivers.measurement import DeviceTrouble
from meter.serial_line import PortSettings, SerialPort
from primitives.clock import Clock

LISTEN_S = 12.0
"""At each speed. A board tells a line every five seconds, and the first may be cut; DSMR 4 a telegram every ten."""
MAX_HEARD_BYTES = 16_384
"""A telegram has 2,000 bytes; who babbles more without being known will not be known later."""
MAX_PORTS = 16
"""A computer with more is no meter's."""
BY_ID = Path("/dev/serial/by-id")
HEADER_PORTS = ("/dev/ttyAMA0", "/dev/serial0")
"""The pins of a Raspberry Pi, which are told of no bus that could be asked."""


@dataclass(frozen=True, slots=True)
class Speech:
    """How a port is set up for a kind of meter."""

    what: str
    baud_rate: int
    data_bits: int = 8
    parity: str = "none"


SPEECHES = (
    Speech("an RPICT board", 38_400),
    Speech("a DSMR meter (P1 port)", 115_200),
    Speech("an SML meter", 9_600),
    Speech("an old DSMR meter", 9_600, 7, "even"),
)

RPICT, DSMR, SML = "rpict", "dsmr", "sml"

MAX_NODE_ID = 255
# From the weakest mains of the world to the strongest, and what a phase shows that is not connected.
PLAUSIBLE_MV = range(80_000, 300_000)
ABSENT_MV = 2_000

_SML_BEGIN = b"\x1b\x1b\x1b\x1b\x01\x01\x01\x01"
_DSMR_LINE = re.compile(rb"1-0:[12]\.[78]\.[0-9]\([0-9]{1,9}(?:\.[0-9]{1,3})?\*kWh?\)")
_NUMBERS = re.compile(rb"[0-9]{1,3}(?:[ ,]\s*(?:[+-]?[0-9]{1,7}(?:\.[0-9]{1,6})?|-?nan)){3,64}", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Heard:
    """A meter that was recognised."""

    kind: str
    """The driver's name in meter/drivers/catalogue.py."""
    evidence: str
    """What it said, for a person."""
    boards: tuple[Board, ...] = ()
    """Of an RPICT line: the boards whose line it can be, the likeliest first; none for an order of one's own."""
    form: str = CSV
    numbers: int = 0
    """How many numbers an RPICT line has."""


@dataclass(frozen=True, slots=True)
class Found:
    port: str
    speech: Speech
    heard: Heard


def serial_ports() -> list[str]:
    """Ports where a meter may be, by names that stay the same when cables are plugged in otherwise."""
    stable = {}
    if BY_ID.is_dir():
        stable = {os.path.realpath(link): str(link) for link in sorted(BY_ID.iterdir())}
    named = [port.device for port in list_ports.comports() if port.hwid != "n/a"]
    named += [port for port in HEADER_PORTS if Path(port).exists()]
    found: dict[str, str] = {}
    for port in named:
        found.setdefault(os.path.realpath(port), stable.get(os.path.realpath(port), port))
    return list(found.values())[:MAX_PORTS]


@dataclass(slots=True)
class Probing:
    """What became of the ports that were listened to."""

    found: list[Found] = field(default_factory=list)
    troubles: dict[str, str] = field(default_factory=dict)
    """By port, why nothing was found there."""


async def probe(
    ports: Sequence[str], clock: Clock, listen_s: float = LISTEN_S, told: Callable[[str], None] = lambda text: None
) -> Probing:
    """Listen to the ports, one after another. `told` hears what is just being done."""
    outcome = Probing()
    for port in ports:
        try:
            found = await _probe_port(port, clock, listen_s, told)
        except DeviceTrouble as error:
            outcome.troubles[port] = str(error)
            continue
        if found is None:
            outcome.troubles[port] = f"nothing known was heard at {port}"
        else:
            outcome.found.append(found)
    return outcome


async def _probe_port(port: str, clock: Clock, listen_s: float, told: Callable[[str], None]) -> Found | None:
    """Raises DeviceTrouble where the port cannot be opened, or is silent at the first speed: then it is at all."""
    for number, speech in enumerate(SPEECHES):
        told(f"listening to {port} for {speech.what} ({speech.baud_rate} baud)")
        try:
            data, heard = await _listen(port, speech, clock, listen_s)
        except DeviceTrouble:
            if number == 0:
                raise
            continue  # not every port can be set up for every speech
        if heard is not None:
            return Found(port, speech, heard)
        if not data and number == 0:
            raise DeviceTrouble(f"nothing came from {port} within {listen_s:g} s")
    return None


async def _listen(port: str, speech: Speech, clock: Clock, listen_s: float) -> tuple[bytes, Heard | None]:
    settings = PortSettings(port, speech.baud_rate, speech.data_bits, speech.parity)
    line = SerialPort(settings, clock)
    data = b""
    try:
        async with asyncio.timeout(listen_s):
            while len(data) < MAX_HEARD_BYTES:
                data += (await line.read()).data
                if (heard := recognise(data)) is not None:
                    return data, heard
    except TimeoutError:
        pass
    finally:
        line.close()
    return data, None


def recognise(data: bytes) -> Heard | None:
    """What kind of meter these bytes are from; None while that is not certain. The first bytes may be cut."""
    if _SML_BEGIN in data:
        return Heard(SML, "a frame of SML")
    if (telegram := _DSMR_LINE.search(data)) is not None:
        return Heard(DSMR, f"a telegram with the line {shown(telegram[0])}")
    return _rpict(data)


def _rpict(data: bytes) -> Heard | None:
    """A whole line of numbers that begins with a node's."""
    for line in data.replace(b"\r", b"\n").split(b"\n")[1:-1]:  # the first may be cut, the last is not whole
        line = line.strip()
        if not _NUMBERS.fullmatch(line) or not 0 < int(re.split(rb"[ ,]", line)[0]) <= MAX_NODE_ID:
            continue
        words = line.replace(b",", b" ").split()
        form = CSV if any(b"." in word or b"-" in word for word in words) else EMONCMS
        boards = _boards_of(line, form)
        if not boards and form == EMONCMS:
            form, boards = CSV, _boards_of(line, CSV)
        return Heard(RPICT, f"the line {shown(line)}", tuple(boards), form, len(words))
    return None


def _boards_of(line: bytes, form: str) -> list[Board]:
    """Those whose line it can be, the likeliest first."""
    rated = []
    for board in BOARDS:
        try:
            told = LineDecoder(board.fields, form, 0, board.is_signed).decode(line)
        except BadLine:
            continue
        if (likelihood := _likelihood(told)) is not None:
            rated.append((likelihood, board))
    return [board for _, board in sorted(rated, key=lambda one: -one[0])]


def _likelihood(told: Told) -> int | None:
    """How many voltages look like mains; None where one cannot be."""
    likely = 0
    for one, value in zip(told.fields, told.values, strict=True):
        if value is None:
            continue
        if one.quantity == FACTOR and abs(value) > 1_000:
            return None
        if one.quantity == VOLTAGE:
            if int(value) in PLAUSIBLE_MV:
                likely += 1
            elif value > ABSENT_MV:
                return None
    return likely
