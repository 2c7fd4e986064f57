"""Smart meters with a P1 port (DSMR 2.2 to 5, Belgium, Luxembourg, Sweden): telegrams parsed by dsmr-parser.

Read from the port itself (serial) or from a dongle in the network (TCP); what a meter encrypts is opened before, by
p1_cipher.py. Of the many objects of a telegram only those below are asked for. Registers are the total where the meter
tells one, else the sum of its tariffs: the same in all countries, whichever tariff is day or night there. A telegram
whose checksum is wrong, or in which a register makes no sense, is dropped and counted; any other value that makes none
is left out alone.
"""

import logging
import re
from collections import deque
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from meter.drivers.dsmr_library import ParseError, load_library
from meter.drivers.line_check import UncheckedRegisters
from meter.drivers.measurement import DeviceTrouble, Measurement, Source
from meter.drivers.p1_cipher import open_frame
from meter.drivers.wire_settings import WireSettings
from meter.serial_line import Chunk, PortSettings
from meter.signer import read_secret
from meter.tcp_line import Wire
from primitives.clock import Clock
from primitives.errors import NeedsPerson, UserError

# What is dropped is counted here; the library would log a page for each.
logging.getLogger("dsmr_parser").setLevel(logging.CRITICAL)

# The longest telegrams (13 months of Belgian peaks, four M-Bus devices) have some 3 KiB.
MAX_TELEGRAM_BYTES = 16_384
# 10^9 kWh is what a town uses in a year; registers have nine digits at most.
MAX_KILO = Decimal(10**9)
# A meter does not begin to tell other registers. After so many telegrams in a row that agree it has been replaced.
TELEGRAMS_TO_BELIEVE = 5
DECRYPTION_KEY = "p1-key"
"""The credential of systemd that holds a meter's key."""


@dataclass(frozen=True, slots=True)
class _Field:
    """An object of a telegram: its OBIS code without the last part, and what to make of it."""

    name: str
    code: str
    unit: str = ""
    """Of the value as kept, in thousandths: mWh, mW, mV, mA; empty for text."""

    @property
    def is_register(self) -> bool:
        return self.unit == "mWh"

    @property
    def obis_reference(self) -> str:
        return rf"^{re.escape(self.code)}(?:\.255)?\(.*?\)\r\n".replace(r"1\-0", r"1\-\d")


_FIELDS = (
    _Field("import_total", "1-0:1.8.0", "mWh"),
    _Field("export_total", "1-0:2.8.0", "mWh"),
    *[_Field(f"import_{tariff}", f"1-0:1.8.{tariff}", "mWh") for tariff in range(1, 5)],
    *[_Field(f"export_{tariff}", f"1-0:2.8.{tariff}", "mWh") for tariff in range(1, 5)],
    _Field("power_in", "1-0:1.7.0", "mW"),
    _Field("power_out", "1-0:2.7.0", "mW"),
    *[_Field(f"voltage_{phase}_mv", f"1-0:{phase * 20 + 12}.7.0", "mV") for phase in (1, 2, 3)],
    *[_Field(f"current_{phase}_ma", f"1-0:{phase * 20 + 11}.7.0", "mA") for phase in (1, 2, 3)],
    _Field("identifier", "0-0:96.1.1"),
    _Field("name", "0-0:42.0.0"),
)
# Of the library, of a frame that cannot be opened (a ValueError), and what else comes of bytes that are missing.
_UNREADABLE = (ParseError, ArithmeticError, ValueError, LookupError, TypeError, AttributeError)
_REGISTERS = frozenset([field.name for field in _FIELDS if field.is_register])
_VALUES = tuple([field.name for field in _FIELDS if field.unit in ("mV", "mA")])

# Thousandths in one of the units that a telegram may use.
_UNITS: dict[tuple[str, str], int] = {
    ("mWh", "kWh"): 10**6,
    ("mWh", "Wh"): 10**3,
    ("mW", "kW"): 10**6,
    ("mW", "W"): 10**3,
    ("mV", "V"): 10**3,
    ("mA", "A"): 10**3,
}


@dataclass(frozen=True, slots=True)
class _Forgiving:
    """A parser of one line that takes what it cannot read for a line that is not there."""

    parser: Any

    def parse(self, line: str) -> Any:
        try:
            return self.parser.parse(line)
        except _UNREADABLE:
            return None


@dataclass(frozen=True, slots=True)
class DsmrSettings(WireSettings):
    """[driver]: a P1 port, at `port` or by a dongle at `host`; a telegram comes every second or ten."""

    kind: str = "dsmr"
    version: str = "5"
    """"5" for all meters with a checksum (DSMR 4, 5, Belgium, Luxembourg, Sweden: 115200 8N1), "2.2" for older ones
    (DSMR 2.2 and 3: 9600 7E1, no checksum)."""
    baud_rate: int = 0
    """0 for what the version says."""
    key_file: Path | None = None
    """File with the 32 hexadecimal digits of a meter that encrypts (Luxembourg); its owner gets them from the grid's
    operator."""
    encrypted: bool = False

    @property
    def has_checksum(self) -> bool:
        return self.version != "2.2"

    def serial(self) -> PortSettings:
        if self.has_checksum:
            return PortSettings(self.port, self.baud_rate or 115_200, silence_s=self.silence_s)
        return PortSettings(self.port, self.baud_rate or 9600, 7, "even", 1, self.silence_s)

    def check(self) -> None:
        """Raises UserError for values that make no sense."""
        if self.version not in ("2.2", "5"):
            raise UserError(
                f'driver.version is {self.version!r}; choose "5" (all meters with a checksum) or "2.2" (DSMR 2.2 and 3)'
            )
        if self.key_file is not None and not self.encrypted:
            raise UserError("driver.key_file is of use with driver.encrypted = true only: set it, or leave the key out")
        self.check_wire()


def open_device(settings: DsmrSettings, clock: Clock) -> "DsmrDevice":
    """Raises UserError where the key of an encrypted meter cannot be had."""
    key = ""
    if settings.encrypted:
        key = read_secret(
            DECRYPTION_KEY, settings.key_file, "Key of the meter's P1 port (32 hexadecimal digits)"
        ).strip()
        if not re.fullmatch("[0-9a-fA-F]{32}", key):
            raise NeedsPerson(
                "the key of the meter's P1 port must be 32 hexadecimal digits, as the grid's operator wrote"
            )
    return DsmrDevice(settings.wire(clock), float(settings.interval_s), has_checksum=settings.has_checksum, key_hex=key)


class DsmrDevice:
    """One P1 port."""

    source = Source.REGISTER

    def __init__(self, wire: Wire, interval_s: float, *, has_checksum: bool = True, key_hex: str = "") -> None:
        self.interval_s = interval_s
        self.dropped = 0
        """Telegrams thrown away: wrong checksum, lines that are missing, values that make no sense."""
        self._wire = wire
        self._key = bytes.fromhex(key_hex)
        self._library = load_library()
        parsers = self._library.parsers
        objects = [
            {
                "obis_reference": field.obis_reference,
                "value_parser": _line_parser(field, parsers),
                "value_name": field.name,
            }
            for field in _FIELDS
        ]
        self._parser = parsers.TelegramParser({"objects": objects, "checksum_support": has_checksum})
        self._suspect = 'driver.version ("2.2" for meters without a checksum)'
        if key_hex:
            self._suspect = "whether the key is this meter's"
        self._unchecked = None if has_checksum else UncheckedRegisters()
        self._ready: deque[tuple[int, str]] = deque()
        self._told: set[str] = set()
        """Names of what this meter tells, whether it made sense or not."""
        self._shape: frozenset[str] = frozenset()
        self._other_shape: tuple[frozenset[str], int] = (frozenset(), 0)
        self._pending_bytes = 0
        self._buffer = self._new_buffer()

    async def read(self) -> Measurement | None:
        """The next telegram that is whole and right."""
        dropped_before = self.dropped
        while True:
            while self._ready:
                elapsed_ms, telegram = self._ready.popleft()
                measurement = self._measure(elapsed_ms, telegram)
                if measurement is not None:
                    return measurement
                self.dropped += 1
            if (count := self.dropped - dropped_before) >= 2 * TELEGRAMS_TO_BELIEVE:
                raise DeviceTrouble(
                    f"{count} telegrams in a row from {self._wire.place} are damaged or make no sense: check the "
                    f"cable, and {self._suspect}"
                )
            self._add(await self._wire.read())

    async def close(self) -> None:
        self._wire.close()
        self._ready.clear()
        self._buffer, self._pending_bytes = self._new_buffer(), 0

    def _new_buffer(self) -> Any:
        buffers = self._library.buffers
        return buffers.EncryptedTelegramBuffer() if self._key else buffers.TelegramBuffer()

    def _add(self, chunk: Chunk) -> None:
        if chunk.is_torn:
            self._buffer, self._pending_bytes = self._new_buffer(), 0
        self._buffer.append(chunk.data if self._key else chunk.data.decode("latin-1"))
        self._pending_bytes += len(chunk.data)
        for telegram in self._buffer.get_all():
            self._ready.append((chunk.elapsed_ms, telegram))
            self._pending_bytes = 0
        if self._pending_bytes > MAX_TELEGRAM_BYTES:
            self._buffer, self._pending_bytes = self._new_buffer(), 0
            raise DeviceTrouble(
                f"{self._wire.place} sends bytes but no telegrams of a P1 port: check driver.version and the cable "
                "(its signal is inverted), and driver.encrypted where the meter encrypts"
            )

    def _measure(self, elapsed_ms: int, telegram: str) -> Measurement | None:
        """None for a telegram that is not to be believed."""
        try:
            if self._key:
                telegram = open_frame(bytes.fromhex(telegram), self._key).decode("ascii")
            parsed = self._parser.parse(telegram, throw_ex=True)
        except _UNREADABLE:
            return None
        found = self._values(parsed)
        if found is None or not self._is_of_meter(found):
            return None
        measurement = self._measurement(elapsed_ms, found)
        if self._unchecked is not None and not self._unchecked.is_credible(measurement):
            return None
        return measurement

    def _values(self, parsed: Any) -> dict[str, int | str] | None:
        """What makes sense of what a telegram tells; None where a register makes none."""
        found: dict[str, int | str] = {}
        for field in _FIELDS:
            if not hasattr(parsed, field.name):
                continue
            item = getattr(parsed, field.name)
            value = None if item is None else _value(field, item.value, item.unit)
            if value is None and field.is_register:
                return None
            if value not in (None, ""):
                found[field.name] = value
            if field.unit or value:
                self._told.add(field.name)
        return found

    def _measurement(self, elapsed_ms: int, found: dict[str, int | str]) -> Measurement:
        powers = self._told & {"power_in", "power_out"}
        # Half of it would be a wrong one. Nor does a meter whose number was lost once go by its name for that.
        power_mw = int(found.get("power_in", 0)) - int(found.get("power_out", 0)) if powers <= found.keys() else None
        return Measurement(
            elapsed_ms,
            power_mw if powers else None,
            _register(found, "import"),
            _register(found, "export"),
            values=tuple([(name, int(found[name])) for name in _VALUES if name in found]),
            device_id=str(found.get("identifier" if "identifier" in self._told else "name", "")),
        )

    def _is_of_meter(self, found: dict[str, int | str]) -> bool:
        """Whether the telegram has this meter's registers: a line that is lost must not look like a lower one."""
        shape = frozenset(_REGISTERS & found.keys())
        if not any(name.startswith("import") for name in shape):
            return False
        if not self._shape or shape == self._shape:
            self._shape, self._other_shape = shape, (frozenset(), 0)
            return True
        other, count = self._other_shape
        self._other_shape = (shape, count + 1 if shape == other else 1)
        if self._other_shape[1] < TELEGRAMS_TO_BELIEVE:
            return False
        self._shape, self._other_shape = shape, (frozenset(), 0)
        self._told = set(found)
        return True


def _line_parser(field: _Field, parsers: Any) -> Any:
    parser = parsers.CosemParser(parsers.ValueParser(Decimal if field.unit else str))
    return parser if field.is_register else _Forgiving(parser)


def _register(found: dict[str, int | str], direction: str) -> int | None:
    if f"{direction}_total" in found:
        return int(found[f"{direction}_total"])
    tariffs = [int(found[name]) for tariff in range(1, 5) if (name := f"{direction}_{tariff}") in found]
    return sum(tariffs) if tariffs else None


def _value(field: _Field, value: object, unit: object) -> int | str | None:
    """Whole thousandths, or text; None for what makes no sense."""
    if not field.unit:
        return str(value)[:96] if value else ""
    factor = _UNITS.get((field.unit, str(unit)))
    if factor is None or not isinstance(value, Decimal) or not value.is_finite() or not 0 <= value <= MAX_KILO:
        return None
    thousandths = value * factor
    whole = int(thousandths)
    return whole if whole == thousandths else None
