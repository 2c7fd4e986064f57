"""The first step of `wattchain meter setup`: which device measures, what it tells just now, and which way round."""

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise

from meter.drivers.catalogue import DRIVER_KINDS, driver_kind, open_section
from meter.drivers.field_map import BOARDS, POWER, parse_fields
from meter.drivers.measurement import Device, DeviceTrouble, Measurement
from meter.setup.broker import ask_broker, connected
from meter.setup.device_questions import ask_settings
from meter.setup.person import Person
from meter.setup.probe import DSMR, LISTEN_S, RPICT, SML, Found, probe, serial_ports
from meter.setup.sections import DRIVER, Chosen, split_list
from primitives.clock import Clock
from primitives.errors import UserError

# Long enough for the slowest meter that is known, one that tells a telegram every ten seconds, to be heard twice.
LIVE_TIMEOUT_S = 30.0
MAX_SHOWN_VALUES = 12
_UNITS = {"mw": "W", "mva": "VA", "ma": "A", "mv": "V", "mc": "C", "thousandths": ""}

HEARD_BY_LISTENING = (RPICT, DSMR, SML)
LINE_BOARDS = (RPICT, "sct013")
LEAST_INTERVAL_S = Decimal("0.5")
"""No board sends more often; what comes faster had waited somewhere."""
OLD_DSMR = "2.2"
"""The version of meters that speak at 9600 7E1."""
WHAT = {RPICT: "a measuring board", DSMR: "a DSMR meter", SML: "an SML meter"}


@dataclass(frozen=True, slots=True)
class Given:
    """By options."""

    ports: tuple[str, ...]
    listen_s: float = LISTEN_S
    live_count: int = 3


class BoardStep:
    def __init__(self, person: Person, chosen: Chosen, given: Given, clock: Clock) -> None:
        self._person = person
        self._chosen = chosen
        self._given = given
        self._clock = clock
        self.seen: list[Measurement] = []
        """What the device told."""

    async def run(self) -> None:
        """Raises UserError."""
        person = self._person
        kind = self._chosen.get(DRIVER, "kind")
        found = None
        if kind in (None, *HEARD_BY_LISTENING) and self._chosen.get(DRIVER, "board") is None:
            found = await self._find(None if kind is None else str(kind))
        if found is not None:
            self._take(found)
        else:
            if kind is None:
                self._ask_kind()
            self._questions()
        while not await self._look():
            if not person.agrees("   Change its settings and try again?", usual=False, option="--live 0"):
                break
            self._questions(again=True)

    async def _find(self, kind: str | None) -> Found | None:
        """A meter on a serial port, of this kind if one is wanted, that the person wants to use."""
        person, ports = self._person, self._given.ports or tuple(serial_ports())
        if not ports:
            person.tell("   There is no serial port on this computer, so no board was looked for.")
            return None
        outcome = await probe(ports, self._clock, self._given.listen_s, lambda text: person.tell(f"   {text} ..."))
        for trouble in outcome.troubles.values():
            person.tell(f"   {trouble}.")
        kinds = {one.name for one in DRIVER_KINDS}
        for found in outcome.found:
            person.tell(f"   Found {WHAT[found.heard.kind]} at {found.port}: {found.heard.evidence}.")
            is_usable = found.heard.kind in (kinds if kind is None else {kind})
            if is_usable and person.agrees("   Use it?", usual=True):
                return found
        return None

    def _take(self, found: Found) -> None:
        heard = found.heard
        self._chosen.set_driver_kind(heard.kind)
        self._chosen.set(DRIVER, "port", found.port)
        if heard.kind == RPICT:
            self._take_board(found)
        elif heard.kind == SML:
            self._chosen.set(DRIVER, "baud_rate", found.speech.baud_rate)
        elif found.speech.data_bits == 7:
            self._chosen.set(DRIVER, "version", OLD_DSMR)

    def _take_board(self, found: Found) -> None:
        heard, person, chosen = found.heard, self._person, self._chosen
        chosen.set(DRIVER, "format", heard.form)
        if chosen.get(DRIVER, "board") is None and chosen.get(DRIVER, "fields") is None:
            if heard.boards:
                rows = [(board.name, board.name) for board in heard.boards]
                name = rows[0][0]
                if len(rows) > 1:
                    person.tell("   Several boards tell such a line.")
                    name = person.choice("   Which one is it", rows, usual=0, option="--set driver.board=NAME")
                chosen.set(DRIVER, "board", name)
            else:
                self._ask_fields(heard.numbers)
        self._ask_channels(self._channels_of_board())

    def _ask_fields(self, numbers: int) -> None:
        """A line of no board that is known: the person says what is in it."""
        self._person.tell(
            f"   No board that is known tells {numbers} numbers. What is each of them? Write node, -, or a quantity\n"
            "   with its number and unit: power_1 (W), current_1:A, voltage_1 (V), with commas between them."
        )

        def parse(text: str) -> tuple[str, ...]:
            names = split_list(text)
            parse_fields(names)
            if len(names) != numbers:
                raise UserError(f"these are {len(names)} names for {numbers} numbers")
            return names

        names = self._person.answer("   Fields", parse, usual=None, option="--set driver.fields=...")
        self._chosen.set(DRIVER, "board", "csv")
        self._chosen.set(DRIVER, "fields", names)

    def _channels_of_board(self) -> list[str]:
        """The clamps whose power the line tells."""
        names = self._chosen.get(DRIVER, "fields")
        if isinstance(names, tuple) and names:
            fields = parse_fields(names)
        else:
            board = str(self._chosen.get(DRIVER, "board"))
            fields = next((one.fields for one in BOARDS if one.name.lower() == board.lower()), ())
        return [str(field.channel) for field in fields if field.quantity == POWER]

    def _ask_channels(self, channels: Sequence[str]) -> None:
        if self._chosen.get(DRIVER, "channels") is not None or not channels:
            return
        usual = ",".join(channels[:3])
        self._person.tell(
            f"   Its clamps are {', '.join(channels)}. Those around the wires from the grid count: one, or three with\n"
            "   three phases. A clamp around an appliance's wire does not: its energy is in the others already."
        )
        option = "--set driver.channels=..."
        counted = self._person.answer("   Clamps that count", split_list, usual=usual, option=option)
        self._chosen.set(DRIVER, "channels", counted)

    def _ask_kind(self) -> None:
        rows = [(kind.name, f"{kind.name}: {kind.summary}") for kind in DRIVER_KINDS]
        kind = self._person.choice("   What measures the electricity", rows, usual=None, option="--driver KIND")
        self._chosen.set_driver_kind(kind)

    def _questions(self, *, again: bool = False) -> None:
        if self._given.ports and self._chosen.get(DRIVER, "port") is None:
            self._set_where_known("port", self._given.ports[0])
        if driver_kind(str(self._chosen.get(DRIVER, "kind"))).uses_mqtt:
            ask_broker(self._person, self._chosen)
        ask_settings(self._person, self._chosen, again=again)

    def _set_where_known(self, name: str, value: object) -> None:
        kind = self._chosen.kind_of(DRIVER)
        if name in kind.__dataclass_fields__:  # type: ignore[attr-defined]
            self._chosen.set(DRIVER, name, value)

    async def _look(self) -> bool:
        """Show what the device tells; whether all is well. A source that is no device has nothing to show."""
        self.seen.clear()
        kind = driver_kind(str(self._chosen.get(DRIVER, "kind")))
        try:
            section = kind.settings_type()(**self._chosen.values[DRIVER])
            section.check()
            if self._given.live_count and kind.opener("open_device") is not None:
                async with connected(self._chosen, self._clock) as connection:
                    device: Device = open_section(section, self._clock, connection)
                    await self._listen(device)
        except (DeviceTrouble, UserError) as error:
            self._person.tell(f"   That did not work: {error}.")
            return False
        self._check_interval()
        self._check_direction()
        return bool(self.seen) or not self._given.live_count or kind.opener("open_device") is None

    async def _listen(self, device: Device) -> None:
        """Raises DeviceTrouble."""
        self._person.tell("   What it tells now:")
        try:
            async with asyncio.timeout(LIVE_TIMEOUT_S):
                while len(self.seen) < self._given.live_count and (measurement := await device.read()) is not None:
                    self.seen.append(measurement)
                    self._person.tell(f"      {measurement_text(measurement)}")
        except TimeoutError:
            if not self.seen:
                self._person.tell(
                    f"   Nothing came within {LIVE_TIMEOUT_S:.0f} s; it is expected every {device.interval_s:g} s."
                )
        finally:
            with contextlib.suppress(DeviceTrouble):
                await device.close()

    def _check_interval(self) -> None:
        """A board's lines come as often as it was told to send them; three of them missing are a gap."""
        if self._chosen.get(DRIVER, "kind") not in LINE_BOARDS or self._chosen.get(DRIVER, "interval_s") is not None:
            return
        times = [one.elapsed_ms for one in self.seen]
        between_ms = sorted(later - earlier for earlier, later in pairwise(times))
        if not between_ms:
            return
        # Whole tenths of a second, from the middle of what was seen.
        interval_s = Decimal(round(between_ms[len(between_ms) // 2], -2)) / 1000
        if interval_s >= LEAST_INTERVAL_S:
            self._chosen.set(DRIVER, "interval_s", interval_s)

    def _check_direction(self) -> None:
        """Clamps that are turned round tell energy that is taken as given."""
        channels = self._chosen.get(DRIVER, "channels")
        last_mw = self.seen[-1].power_mw if self.seen else None
        if not isinstance(channels, tuple) or last_mw is None or last_mw >= 0 or self._person.yes:
            return
        self._person.tell("   The power is negative: as if more were given to the grid than taken.")
        if self._person.agrees("   Is that so, because a solar panel makes more than is used?", usual=False):
            return
        if self._person.agrees("   Then the clamps are turned round. Count them the other way round?", usual=True):
            turned = [name.removeprefix("-") if name.startswith("-") else f"-{name}" for name in channels]
            self._chosen.set(DRIVER, "channels", tuple(turned))


def measurement_text(measurement: Measurement) -> str:
    """One line for a person."""
    parts = []
    if measurement.power_mw is not None:
        parts.append(f"{measurement.power_mw / 1000:.1f} W")
    if measurement.import_mwh is not None:
        parts.append(f"taken {measurement.import_mwh / 1_000_000:.3f} kWh")
    if measurement.export_mwh is not None:
        parts.append(f"given {measurement.export_mwh / 1_000_000:.3f} kWh")
    parts += [_value_text(name, value) for name, value in measurement.values[:MAX_SHOWN_VALUES]]
    return ", ".join(parts) or "nothing that can be used"


def _value_text(name: str, value: int) -> str:
    """Values have their unit in their name: voltage_1_mv."""
    base, _, suffix = name.rpartition("_")
    unit = _UNITS.get(suffix)
    if unit is None or not base:
        return f"{name} {value}"
    return f"{base.replace('_', ' ')} {value / 1000:.1f} {unit}".rstrip()
