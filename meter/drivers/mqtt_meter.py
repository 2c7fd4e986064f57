"""Meters that tell their values over MQTT: Shelly, Tasmota, Zigbee2MQTT, and any other by paths into its JSON.

A known device is a table of fields; `driver.fields` is such a table for any other. What the broker kept from earlier
(retained) is not what the meter says now, and is not measured. The connection is the one of [mqtt].
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from meter.drivers.json_values import InvalidMessage, find_numbers, parse_message, parse_path
from meter.drivers.measurement import DeviceTrouble, Measurement, Source
from meter.drivers.quantities import MAX_SCALE, REGISTERS, UNITS, check_unit, measurement_of, thousandths
from meter.mqtt import MqttConnection, Received, Subscription
from meter.mqtt_settings import check_topic
from primitives.clock import Clock
from primitives.errors import UserError
from wallet.settings_file import DAY_S, check_ranges

MAX_FIELDS = 40
MAX_CHANNEL = 7
# So many messages in a row of which nothing can be used are not bad luck.
MAX_SENSELESS = 10


@dataclass(frozen=True, slots=True)
class JsonField:
    """One value: in which topic and where in its JSON it stands, and what it is. Those of the same `what` are added."""

    topic: str
    path: str
    what: str
    """import, export, power, voltage_1 to 3, current_1 to 3."""
    unit: str
    scale: Decimal = Decimal(1)

    def check(self, name: str) -> None:
        """Raises UserError for values that make no sense."""
        check_topic(self.topic, f"{name}.topic")
        try:
            parse_path(self.path)
        except ValueError:
            raise UserError(
                f"{name}.path is {self.path[:80]!r}; write names with dots between, as ENERGY.Total"
            ) from None
        if self.what not in UNITS:
            raise UserError(f"{name}.what is {self.what!r}; choose one of {', '.join(UNITS)}")
        check_unit(f"{name}.unit", self.what, self.unit)
        check_ranges(((f"{name}.scale", self.scale, -MAX_SCALE, MAX_SCALE),))


@dataclass(frozen=True, slots=True)
class Availability:
    """Where a device, or the broker by its will, says that it is gone."""

    topic: str
    gone: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Model:
    """A known device: its fields and availability, from its topic (without what it adds) and channel."""

    fields: Callable[[str, int], tuple[JsonField, ...]]
    availability: Callable[[str], Availability]
    interval_s: int


def _shelly_gone(prefix: str) -> Availability:
    return Availability(f"{prefix}/online", (b"false",))


def _shelly_em(prefix: str, channel: int) -> tuple[JsonField, ...]:
    """Pro 3EM with its three phases together (component EM): power at once, energy once a minute."""
    status, data = f"{prefix}/status/em:{channel}", f"{prefix}/status/emdata:{channel}"
    phases = tuple(enumerate("abc", start=1))
    return (
        JsonField(status, "total_act_power", "power", "W"),
        *[JsonField(status, f"{letter}_voltage", f"voltage_{phase}", "V") for phase, letter in phases],
        *[JsonField(status, f"{letter}_current", f"current_{phase}", "A") for phase, letter in phases],
        JsonField(data, "total_act", "import", "Wh"),
        JsonField(data, "total_act_ret", "export", "Wh"),
    )


def _shelly_em1(prefix: str, channel: int) -> tuple[JsonField, ...]:
    """Pro EM, EM Gen3, and Pro 3EM whose phases are apart: one clamp (component EM1)."""
    status, data = f"{prefix}/status/em1:{channel}", f"{prefix}/status/em1data:{channel}"
    return (
        JsonField(status, "act_power", "power", "W"),
        JsonField(status, "voltage", "voltage_1", "V"),
        JsonField(status, "current", "current_1", "A"),
        JsonField(data, "total_act_energy", "import", "Wh"),
        JsonField(data, "total_act_ret_energy", "export", "Wh"),
    )


def _shelly_switch(prefix: str, channel: int) -> tuple[JsonField, ...]:
    """Plus 1PM, Plug S and others that switch and measure (component Switch)."""
    status = f"{prefix}/status/switch:{channel}"
    return (
        JsonField(status, "apower", "power", "W"),
        JsonField(status, "voltage", "voltage_1", "V"),
        JsonField(status, "current", "current_1", "A"),
        JsonField(status, "aenergy.total", "import", "Wh"),
        JsonField(status, "ret_aenergy.total", "export", "Wh"),
    )


def _tasmota(name: str, _: int) -> tuple[JsonField, ...]:
    sensor = f"tele/{name}/SENSOR"
    return (
        JsonField(sensor, "ENERGY.Power", "power", "W"),
        JsonField(sensor, "ENERGY.Voltage", "voltage_1", "V"),
        JsonField(sensor, "ENERGY.Current", "current_1", "A"),
        JsonField(sensor, "ENERGY.Total", "import", "kWh"),
        JsonField(sensor, "ENERGY.ExportActive", "export", "kWh"),
    )


def _zigbee2mqtt(name: str, _: int) -> tuple[JsonField, ...]:
    topic = name if "/" in name else f"zigbee2mqtt/{name}"
    return (
        JsonField(topic, "power", "power", "W"),
        JsonField(topic, "voltage", "voltage_1", "V"),
        JsonField(topic, "current", "current_1", "A"),
        JsonField(topic, "energy", "import", "kWh"),
        JsonField(topic, "produced_energy", "export", "kWh"),
    )


def _zigbee2mqtt_gone(name: str) -> Availability:
    topic = name if "/" in name else f"zigbee2mqtt/{name}"
    return Availability(f"{topic}/availability", (b"offline", b'{"state":"offline"}'))


MODELS: dict[str, Model] = {
    "shelly-em": Model(_shelly_em, _shelly_gone, 60),
    "shelly-em1": Model(_shelly_em1, _shelly_gone, 60),
    "shelly-switch": Model(_shelly_switch, _shelly_gone, 60),
    "tasmota": Model(_tasmota, lambda name: Availability(f"tele/{name}/LWT", (b"Offline",)), 300),
    "zigbee2mqtt": Model(_zigbee2mqtt, _zigbee2mqtt_gone, 300),
}


@dataclass(frozen=True, slots=True)
class MqttMeterSettings:
    """[driver]: a meter that tells its values over MQTT."""

    kind: str = "mqtt"
    model: str = ""
    """One of the known devices; empty where `fields` is set."""
    topic: str = ""
    """The device's topic: prefix of a Shelly, name of a Tasmota or Zigbee device."""
    channel: int = 0
    """Which of a Shelly's clamps or switches."""
    fields: tuple[JsonField, ...] = ()
    interval_s: Decimal = Decimal(0)
    """How often the meter tells its register; 0 for what is usual with the model, 60 with `fields`."""

    def rows(self) -> tuple[JsonField, ...]:
        return self.fields or MODELS[self.model].fields(self.topic, self.channel)

    def availability(self) -> Availability | None:
        return MODELS[self.model].availability(self.topic) if self.model else None

    def expected_s(self) -> float:
        return float(self.interval_s) or (MODELS[self.model].interval_s if self.model else 60)

    def check(self) -> None:
        """Raises UserError for values that make no sense."""
        if bool(self.fields) == bool(self.model):
            raise UserError(
                f"set either driver.model (one of {', '.join(MODELS)}) or driver.fields, a table of paths into JSON"
            )
        if self.model:
            if self.model not in MODELS:
                raise UserError(
                    f"driver.model is {self.model!r}; there is {', '.join(MODELS)}; for others write driver.fields"
                )
            check_topic(self.topic, "driver.topic")
        if len(self.fields) > MAX_FIELDS:
            raise UserError(f"driver.fields has {len(self.fields)} rows; {MAX_FIELDS} are the most")
        for number, row in enumerate(self.fields, start=1):
            row.check(f"driver.fields[{number}]")
        if not any(row.what in ("import", "export") for row in self.rows()):
            raise UserError('driver.fields needs a row with what = "import", "export", or both')
        check_ranges(
            (("driver.channel", self.channel, 0, MAX_CHANNEL), ("driver.interval_s", self.interval_s, 0, DAY_S))
        )


def open_device(settings: MqttMeterSettings, clock: Clock, mqtt: MqttConnection) -> "MqttMeter":
    return MqttMeter(settings.rows(), settings.availability(), settings.expected_s(), clock, mqtt)


class MqttMeter:
    """One meter, of one or more topics."""

    source = Source.REGISTER

    def __init__(
        self,
        rows: tuple[JsonField, ...],
        availability: Availability | None,
        interval_s: float,
        clock: Clock,
        mqtt: MqttConnection,
    ) -> None:
        self.interval_s = interval_s
        self.senseless = 0
        """Messages thrown away: no JSON, values that are no numbers, or far too large."""
        self._rows = rows
        self._availability = availability
        self._clock = clock
        self._mqtt = mqtt
        self._silence_s = 3.0 * interval_s
        self._subscription: Subscription | None = None
        self._heard: dict[JsonField, tuple[int, int]] = {}

    async def read(self) -> Measurement | None:
        """What the next message tells: energy, or power alone. Raises DeviceTrouble."""
        senseless = 0
        while True:
            received = await self._next()
            if self._availability is not None and received.topic == self._availability.topic:
                if received.payload.strip() in self._availability.gone:
                    raise DeviceTrouble(
                        f"the meter is not there, says {received.topic}: look at its power and its network"
                    )
                continue
            if received.is_retained:
                continue
            try:
                measurement = self._measure(received)
            except InvalidMessage:
                self.senseless += 1
                senseless += 1
                if senseless >= MAX_SENSELESS:
                    raise DeviceTrouble(
                        f"{senseless} messages in a row in {received.topic} make no sense: check driver.model, or "
                        "path, unit and scale in driver.fields"
                    ) from None
                continue
            if measurement is not None:
                return measurement

    async def close(self) -> None:
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            subscription.close()

    async def _next(self) -> Received:
        topics = sorted({row.topic for row in self._rows})
        if self._subscription is None:
            others = () if self._availability is None else (self._availability.topic,)
            self._subscription = self._mqtt.subscribe(*topics, *others)
        try:
            async with asyncio.timeout(self._silence_s):
                return await self._subscription.next()
        except TimeoutError:
            raise DeviceTrouble(
                f"no message came in {', '.join(topics)} for {self._silence_s:g} s; {self._mqtt.state()}. Does the "
                "meter publish there, and does the broker let this user read it?"
            ) from None

    def _measure(self, received: Received) -> Measurement | None:
        """None for a message without any value of ours. Raises InvalidMessage.

        What makes no sense is lost alone, unless it is a register, or all that the message has for us.
        """
        rows = [row for row in self._rows if row.topic == received.topic]
        document = parse_message(received.payload)
        told: dict[JsonField, int] = {}
        lost: InvalidMessage | None = None
        for row in rows:
            try:
                numbers = find_numbers(document, parse_path(row.path))
                if numbers:
                    told[row] = _whole(numbers, row)
            except InvalidMessage as error:
                if row.what in REGISTERS:
                    raise
                lost = error
                self._heard.pop(row, None)
        if lost is not None and not told:
            raise lost
        self._heard.update({row: (received.elapsed_ms, value) for row, value in told.items()})
        found = {what: total for what in {row.what: None for row in told} if (total := self._total(what)) is not None}
        if not found:
            return None
        if "power" not in found and (power := self._total("power", received.elapsed_ms)) is not None:
            found["power"] = power
        return measurement_of(received.elapsed_ms, found)

    def _total(self, what: str, now_ms: int | None = None) -> int | None:
        """The sum of all fields of a kind; None until each was heard, or where one was not heard lately."""
        heard = [self._heard.get(row) for row in self._rows if row.what == what]
        total = None
        for entry in heard:
            if entry is None or (now_ms is not None and now_ms - entry[0] > self.interval_s * 1000):
                return None
            total = (total or 0) + entry[1]
        return total


def _whole(numbers: list[Fraction], row: JsonField) -> int:
    """Of several phases: power and energy together, voltage and current of the first."""
    number = numbers[0] if row.what.startswith(("voltage", "current")) else sum(numbers, Fraction(0))
    value = thousandths(number, row.what, row.unit, row.scale)
    if value is None:
        raise InvalidMessage(f"{row.what} is out of range")
    return value
