"""A measuring board on a serial line: its lines as measurements. What its power is made of, the kind of driver says.

Each line is one measurement. Damaged lines are passed over; where nothing but damaged lines comes, the board is not
what the settings say, and DeviceTrouble tells what was seen.
"""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

from meter.drivers.board_line import BadLine, LineDecoder, Told
from meter.drivers.factors import Factors
from meter.drivers.field_map import APPARENT, CURRENT, POWER, VOLTAGE, Field
from meter.drivers.measurement import DeviceTrouble, Measurement, Source
from meter.serial_line import SerialLines
from primitives.errors import UserError

logger = logging.getLogger(__name__)

MAX_BAD_LINES = 10
"""In a row. A bad wire spoils a line now and then; a wrong setting spoils all of them."""


@dataclass(frozen=True, slots=True)
class Channel:
    """A clamp whose power counts, with its sign: -1 where it is turned round, or measures what a panel makes."""

    number: int
    sign: int


class PowerRule(Protocol):
    """How the power of a channel comes from a line."""

    def power_mw(self, told: Told, channel: int, factors: Factors) -> Fraction | None:
        """Exact, and calibrated; None where the line does not tell it."""


class BoardDevice:
    """A Device (meter/drivers/measurement.py) whose factors can be changed while it runs."""

    source = Source.POWER

    def __init__(
        self,
        lines: SerialLines,
        decoder: LineDecoder,
        channels: tuple[Channel, ...],
        rule: PowerRule,
        interval_s: float,
    ) -> None:
        self.interval_s = interval_s
        self.factors = Factors()
        self.bad_lines = 0
        """Lines that were passed over since the beginning."""
        self._lines = lines
        self._decoder = decoder
        self._channels = channels
        self._rule = rule

    @property
    def fields(self) -> tuple[Field, ...]:
        """What a line tells."""
        return self._decoder.fields

    def calibrate(self, factors: Factors) -> None:
        """From the next line on."""
        self.factors = factors

    async def read(self) -> Measurement | None:
        """The next good line. Raises DeviceTrouble."""
        for _ in range(MAX_BAD_LINES):
            line = await self._lines.read()
            try:
                told = self._decoder.decode(line.data)
            except BadLine as error:
                self.bad_lines += 1
                reason = str(error)
                logger.debug("a line of %s was passed over: %s", self._lines.port.settings.port, error)
                continue
            return self._measurement(line.elapsed_ms, told)
        raise DeviceTrouble(
            f"what comes from {self._lines.port.settings.port} is not what the settings say of the board: {reason}. "
            "Look at driver.board, driver.fields, driver.format and driver.node_id, and at the board's own settings"
        )

    async def close(self) -> None:
        self._lines.close()

    def _measurement(self, elapsed_ms: int, told: Told) -> Measurement:
        powers = [self._signed_mw(told, channel) for channel in self._channels]
        known = [power for power in powers if power is not None]
        total_mw = sum(known) if len(known) == len(powers) else None
        return Measurement(elapsed_ms, total_mw, values=tuple(self._values(told)))

    def _signed_mw(self, told: Told, channel: Channel) -> int | None:
        power_mw = self._rule.power_mw(told, channel.number, self.factors)
        return None if power_mw is None else round(power_mw) * channel.sign

    def _values(self, told: Told) -> Iterable[tuple[str, int]]:
        """All that the line tells, calibrated; and the power that a rule makes of it where the line has none."""
        for field, value in zip(told.fields, told.values, strict=True):
            if value is not None and field.is_measured:
                exact: Fraction | None = Fraction(value)
                if field.quantity == POWER:
                    exact = self._rule.power_mw(told, field.channel, self.factors)
                elif field.quantity == APPARENT:
                    exact = Fraction(value) * through_factors(told.fields, field.channel, self.factors)
                elif field.quantity in (CURRENT, VOLTAGE):
                    exact = Fraction(value) * self.factors.of(field.quantity, field.channel)
                if exact is not None:
                    yield field.name, round(exact)
        for channel in self._channels:
            field = Field(POWER, channel.number)
            if (POWER, channel.number) not in [(one.quantity, one.channel) for one in told.fields]:
                power_mw = self._rule.power_mw(told, channel.number, self.factors)
                if power_mw is not None:
                    yield field.name, round(power_mw)


def through_factors(fields: tuple[Field, ...], channel: int, factors: Factors) -> Fraction:
    """What a power that the board computed changes by when its current and its voltage are calibrated."""
    voltage = voltage_channel(fields, channel)
    volts = Fraction(1) if voltage is None else factors.of(VOLTAGE, voltage)
    return factors.of(CURRENT, channel) * volts


def voltage_channel(fields: tuple[Field, ...], channel: int) -> int | None:
    """The voltage that belongs to a clamp: that of its own number, or the only one that there is."""
    numbers = [field.channel for field in fields if field.quantity == VOLTAGE]
    if channel in numbers:
        return channel
    return numbers[0] if len(numbers) == 1 else None


def parse_channels(texts: tuple[str, ...], fields: tuple[Field, ...], quantity: str) -> tuple[Channel, ...]:
    """The channels that count: "1", or "-1" with its sign turned. Raises UserError."""
    told = [field.channel for field in fields if field.quantity == quantity]
    channels = []
    for text in texts:
        digits = text.removeprefix("-")
        if not (digits.isascii() and digits.isdigit() and len(digits) <= 2 and int(digits) in told):
            names = ", ".join(map(str, told)) or "none"
            raise UserError(
                f'driver.channels has {text[:20]!r}: write the number of a clamp such as "1", or "-1" to turn its '
                f"sign round; channels with {quantity} in a line are {names}"
            )
        channels.append(Channel(int(digits), -1 if text.startswith("-") else 1))
    numbers = [channel.number for channel in channels]
    if not channels or len(set(numbers)) != len(numbers):
        raise UserError("driver.channels must name at least one clamp, and none of them twice")
    return tuple(channels)
