"""Smart meters that speak SML (Smart Message Language 1.04, BSI TR-03109-1): frames parsed by pysml.

They are read by an infrared head on a serial line (9600 8N1), or from one in the network (TCP). A frame has a checksum,
and each message in it another one; what is damaged is dropped and counted. Registers are the totals 1.8.0 and 2.8.0,
power is 16.7.0. Until its owner has entered a PIN a meter tells whole kWh and no power; that bills as well.
"""

from collections import deque
from dataclasses import dataclass
from decimal import Decimal

from sml import SmlBase, SmlFrame, SmlGetListResponse, SmlListEntry, SmlParserError

from meter.drivers.measurement import DeviceTrouble, Measurement, Source
from meter.drivers.wire_settings import WireSettings
from meter.serial_line import Chunk, PortSettings
from meter.tcp_line import Wire
from primitives.clock import Clock

# The longest frames that meters send have some 1.2 KiB.
MAX_FRAME_BYTES = 8192
FRAME_END = b"\x1b\x1b\x1b\x1b\x1a"
# Meters use -4 to 3.
MAX_EXPONENT = 9
# 10^12 Wh is what a town uses in a year.
MAX_UNITS = 10**12
# So many damaged frames in a row are half a minute's: the head has slipped.
MAX_DAMAGED = 10
# What the library meets with in bytes that no meter sent, beside its own error.
_DAMAGED = (
    SmlParserError,
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
)
MAX_TEXT = 96


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    unit: str
    """What pysml calls the unit of the value."""


# By OBIS code as pysml writes it.
_FIELDS = {
    "1-0:1.8.0*255": _Field("import_mwh", "Wh"),
    "1-0:2.8.0*255": _Field("export_mwh", "Wh"),
    "1-0:16.7.0*255": _Field("power_mw", "W"),
    "1-0:32.7.0*255": _Field("voltage_1_mv", "V"),
    "1-0:52.7.0*255": _Field("voltage_2_mv", "V"),
    "1-0:72.7.0*255": _Field("voltage_3_mv", "V"),
    "1-0:31.7.0*255": _Field("current_1_ma", "A"),
    "1-0:51.7.0*255": _Field("current_2_ma", "A"),
    "1-0:71.7.0*255": _Field("current_3_ma", "A"),
}
_REGISTERS = ("import_mwh", "export_mwh")
_VALUES = tuple([field.name for field in _FIELDS.values() if field.unit in "VA"])


@dataclass(frozen=True, slots=True)
class SmlSettings(WireSettings):
    """[driver]: a meter that speaks SML, by an infrared head at `port` or `host`; a frame comes every 1 to 4 s."""

    kind: str = "sml"
    baud_rate: int = 9600
    interval_s: Decimal = Decimal(5)
    silence_s: Decimal = Decimal(30)

    def serial(self) -> PortSettings:
        return PortSettings(self.port, self.baud_rate, silence_s=self.silence_s)

    def check(self) -> None:
        """Raises UserError for values that make no sense."""
        self.check_wire()


def open_device(settings: SmlSettings, clock: Clock) -> "SmlDevice":
    return SmlDevice(settings.wire(clock), float(settings.interval_s))


class SmlDevice:
    """One infrared head."""

    source = Source.REGISTER

    def __init__(self, wire: Wire, interval_s: float) -> None:
        self.interval_s = interval_s
        self.dropped = 0
        """Frames thrown away: damaged, or with values that make no sense."""
        self._wire = wire
        self._buffer = b""
        self._ready: deque[tuple[int, SmlFrame]] = deque()

    async def read(self) -> Measurement | None:
        """The next frame that is whole, right and tells the register."""
        dropped_before = self.dropped
        while True:
            while self._ready:
                elapsed_ms, frame = self._ready.popleft()
                measurement = _measure(elapsed_ms, frame)
                if measurement is not None:
                    return measurement
                self.dropped += 1
            if (count := self.dropped - dropped_before) >= MAX_DAMAGED:
                raise DeviceTrouble(
                    f"{count} frames in a row from {self._wire.place} are damaged or tell no energy: put the infrared "
                    "head straight, its cable downwards, and keep the sun off it"
                )
            self._add(await self._wire.read())

    async def close(self) -> None:
        self._wire.close()
        self._ready.clear()
        self._buffer = b""

    def _add(self, chunk: Chunk) -> None:
        self._buffer = chunk.data if chunk.is_torn else self._buffer + chunk.data
        while True:
            frame, end = None, 0
            try:
                end, frame = SmlBase.find_frame(self._buffer)
            except _DAMAGED:
                end = self._buffer.find(FRAME_END) + len(FRAME_END)
            if not end:
                break
            self.dropped += self._buffer.count(FRAME_END, 0, end) - (frame is not None)
            if frame is not None:
                self._ready.append((chunk.elapsed_ms, frame))
            self._buffer = self._buffer[end:]
        if len(self._buffer) > MAX_FRAME_BYTES:
            self._buffer = b""
            raise DeviceTrouble(
                f"{self._wire.place} sends bytes but no SML: set driver.baud_rate to the meter's, 9600 for most; some "
                "older meters speak IEC 62056-21 instead"
            )


def _measure(elapsed_ms: int, frame: SmlFrame) -> Measurement | None:
    """None for a frame without a register, or with one that makes no sense; another such value is left out."""
    found: dict[str, int] = {}
    device_id = ""
    for message in frame:
        body = message["messageBody"]
        if not isinstance(body, SmlGetListResponse):
            continue
        device_id = str(body.get("serverId") or "")[:MAX_TEXT]
        for entry in body["valList"]:
            field = _FIELDS.get(str(entry.get("objName")))
            if field is None or "value" not in entry:
                continue
            value = _thousandths(entry["value"])
            makes_sense = entry.get("unit") == field.unit and (field.name == "power_mw" or (value or 0) >= 0)
            if value is not None and makes_sense:
                found[field.name] = value
            elif field.name in _REGISTERS:  # a current that some meters tell with a sign costs no register
                return None
    if "import_mwh" not in found and "export_mwh" not in found:
        return None
    values = tuple([(name, found[name]) for name in _VALUES if name in found])
    return Measurement(
        elapsed_ms,
        found.get("power_mw"),
        found.get("import_mwh"),
        found.get("export_mwh"),
        values=values,
        device_id=device_id,
    )


def _thousandths(value: object) -> int | None:
    """In thousandths of the value's unit; half a thousandth is rounded to even."""
    if not isinstance(value, Decimal) or abs(value) > MAX_UNITS:
        return None
    return round(value * 1000)


def _scale_exactly(entry: SmlListEntry) -> None:
    """In place of the library's own, which divides by floating point, and by any power of ten that it is told."""
    value, scaler = entry.get("value"), entry.get("scaler")
    if isinstance(value, int) and not isinstance(value, bool):
        exponent = scaler if isinstance(scaler, int) else 0
        if abs(exponent) > MAX_EXPONENT or abs(value) >= 2**64:
            raise SmlParserError("a value without measure")
        entry["value"] = Decimal(value).scaleb(exponent)


SmlListEntry.scale_value = _scale_exactly
