"""A tariff as a supplier writes it: in a TOML file, a CSV file of steps, or in options; to what the contract takes.

    name = "Household"
    rule = "marginal"               # or "whole": all of a reading at the price of the step that its total falls in
    period = "month"                # or a number of days, and: begins = 2026-12-01
    standing = 0.25                 # WATT a day
    export = 1.2                    # WATT a kWh for energy given to the grid
    allowance = 30                  # kWh of each period that cost less
    allowance_price = 0.5           # WATT a kWh

    [[step]]
    up_to = 100                     # kWh of the period
    price = 2.96                    # WATT a kWh
    [[step]]
    price = 5.56                    # the last one has no end

    [[window]]                      # time of use; of several the first counts
    days = "mon-fri"
    time = "22:00-06:00"
    price = 1.5                     # or: prices = [1.5, 2.0], one for each step

A CSV file has the columns up_to_kwh and price, the last row without an end.
"""

import csv
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

from contracts.tariff_format import OPEN_BOUND_WH, Slab, TariffVersion, TimeOfUse
from primitives.errors import UserError
from wallet.amounts import parse_amount
from wallet.quantities import InvalidQuantity, parse_energy_wh, parse_price_wei_per_wh, parse_time_s
from wallet.settings_file import MAX_SETTINGS_BYTES, read_document

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
DAY_MINUTES = 1_440
DAY_S = 86_400
RULES = ("marginal", "whole")

_FIELDS = {"name", "rule", "period", "begins", "standing", "export", "allowance", "allowance_price", "step", "window",
           "starts"}  # fmt: skip
_STEP_FIELDS = {"up_to", "price"}
_WINDOW_FIELDS = {"days", "time", "price", "prices"}


@dataclass(frozen=True, slots=True)
class TariffDraft:
    """A tariff as it is written, each value as text; None where nothing is said of it."""

    name: str | None = None
    rule: str | None = None
    period: str | None = None
    begins: str | None = None
    standing: str | None = None
    export: str | None = None
    allowance: str | None = None
    allowance_price: str | None = None
    starts: str | None = None
    steps: tuple[str, ...] = ()
    """"100=2.96" for a price up to 100 kWh, "5.56" for the last one."""
    windows: tuple[str, ...] = ()
    """"mon-fri 22:00-06:00 1.5", with a price, or with one for each step: "1.5/2.0"."""

    def over(self, other: "TariffDraft") -> "TariffDraft":
        """This one, and of the other what this one leaves out."""
        values = {name: getattr(self, name) or getattr(other, name) for name in self.__slots__}
        return TariffDraft(**values)

    def version(self) -> TariffVersion:
        """What the contract takes. Raises UserError, Invalid."""
        if not self.steps:
            raise UserError("A tariff needs a price: give steps such as --step 100=2.96 --step 5.56, or a file.")
        slabs = tuple([_slab(text) for text in self.steps])
        windows = [window for text in self.windows for window in _windows(text, len(slabs))]
        if self.rule not in (None, *RULES):
            raise UserError(f"The rule of a tariff is marginal or whole, not {self.rule!r}.")
        period_days, anchor_day = self._period()
        return TariffVersion(
            slabs=slabs,
            windows=tuple(windows),
            whole=self.rule == "whole",
            period_days=period_days,
            anchor_day=anchor_day,
            export_price_wei_per_wh=parse_price_wei_per_wh(self.export or "0"),
            standing_wei_per_day=parse_amount(self.standing or "0"),
            allowance_wh=parse_energy_wh(self.allowance or "0"),
            allowance_price_wei_per_wh=parse_price_wei_per_wh(self.allowance_price or "0"),
        )

    def _period(self) -> tuple[int, int]:
        """(days, day since 1970 on which one begins); zeros for the calendar month."""
        if self.period in (None, "month"):
            if self.begins is not None:
                raise UserError("A month begins by itself; leave out when it begins, or give a number of days.")
            return 0, 0
        if not str(self.period).isdecimal() or int(str(self.period)) == 0:
            raise UserError(f"The period of a tariff is month, or a number of days, not {self.period!r}.")
        if self.begins is None:
            raise UserError("Say on which day a period of so many days begins.")
        return int(str(self.period)), parse_time_s(self.begins) // DAY_S


def read_tariff_file(path: Path) -> TariffDraft:
    """Raises UserError that names what is wrong."""
    if path.suffix.lower() == ".csv":
        return _read_csv(path)
    try:
        document = read_document(path)
    except FileNotFoundError as error:
        raise UserError(f"There is no file {path}.") from error
    _check_fields(path, "the file", document, _FIELDS)
    words = {name: _text(path, name, value) for name, value in document.items() if name not in ("step", "window")}
    steps = [_step_text(path, entry) for entry in _entries(path, document, "step", _STEP_FIELDS)]
    windows = [_window_text(path, entry) for entry in _entries(path, document, "window", _WINDOW_FIELDS)]
    return TariffDraft(**words, steps=tuple(steps), windows=tuple(windows))


def weekdays_text(weekdays: int) -> str:
    """Bits from Monday on as words: 31 is "Mon-Fri"."""
    chosen = [number for number in range(7) if weekdays >> number & 1]
    names = [WEEKDAYS[number].capitalize() for number in chosen]
    if len(chosen) > 2 and chosen == list(range(chosen[0], chosen[-1] + 1)):
        return f"{names[0]}-{names[-1]}"
    return ", ".join(names)


def _slab(text: str) -> Slab:
    bound, equals, price = text.rpartition("=")
    return Slab(parse_price_wei_per_wh(price), parse_energy_wh(bound) if equals else OPEN_BOUND_WH)


def _windows(text: str, steps: int) -> list[TimeOfUse]:
    """One window, or two where it passes midnight: the part behind it belongs to the days that follow."""
    span, _, price_text = text.strip().rpartition(" ")
    weekdays, start, end = parse_span(span)
    prices = [parse_price_wei_per_wh(price) for price in price_text.split("/")]
    if len(prices) == 1:
        prices *= steps
    if start >= end > 0 and start <= DAY_MINUTES:
        following = (weekdays << 1 | weekdays >> 6) & 0x7F
        before = [TimeOfUse(weekdays, start, DAY_MINUTES, tuple(prices))] if start < DAY_MINUTES else []
        return [*before, TimeOfUse(following, 0, end, tuple(prices))]
    return [TimeOfUse(weekdays, start, end or DAY_MINUTES, tuple(prices))]


def parse_span(text: str) -> tuple[int, int, int]:
    """ "mon-fri 22:00-06:00" as bits from Monday on, and the minutes of the day at which it begins and ends."""
    match = re.fullmatch(
        r"\s*([A-Za-z,\s-]+?)\s+([0-9]{1,2}):([0-9]{2})\s*-\s*([0-9]{1,2}):([0-9]{2})\s*", text, re.ASCII
    )
    if match is None:
        raise InvalidQuantity(f"{text[:80]!r} is no time of the week; write for example mon-fri 22:00-06:00")
    return parse_weekdays(match[1]), _minute_of_day(match[2], match[3]), _minute_of_day(match[4], match[5])


def _minute_of_day(hour: str, minute: str) -> int:
    at = int(hour) * 60 + int(minute)
    if int(minute) > 59 or at > DAY_MINUTES:
        raise InvalidQuantity(f"{hour}:{minute} is no time of the day; write 00:00 to 24:00")
    return at


def parse_weekdays(text: str) -> int:
    """ "mon-fri", "sat,sun", "fri-mon" or "all" as bits from Monday on."""
    if text.strip().lower() in ("all", "daily", "mon-sun"):
        return 0x7F
    bits = 0
    for part in re.split(r"[,\s]+", text.strip().lower()):
        first, dash, last = part.partition("-")
        days = [_weekday(first), _weekday(last if dash else first)]
        count = (days[1] - days[0]) % 7 + 1
        for offset in range(count):
            bits |= 1 << (days[0] + offset) % 7
    return bits


def _weekday(text: str) -> int:
    for number, name in enumerate(WEEKDAYS):
        if len(text) >= 3 and text.startswith(name):
            return number
    raise InvalidQuantity(f"{text[:20]!r} is no weekday; write mon, tue, wed, thu, fri, sat or sun")


def _entries(path: Path, document: Mapping[str, object], name: str, known: set[str]) -> list[Mapping[str, object]]:
    entries = document.get(name, [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise UserError(f"{path}: write each {name} as a section [[{name}]].")
    for entry in entries:
        _check_fields(path, f"a [[{name}]]", entry, known)
    return entries


def _check_fields(path: Path, where: str, values: Mapping[str, object], known: set[str]) -> None:
    if unknown := sorted(set(values) - known):
        raise UserError(f"{path}: {where} has an unknown entry {unknown[0]!r}; known are {', '.join(sorted(known))}.")


def _step_text(path: Path, entry: Mapping[str, object]) -> str:
    if "price" not in entry:
        raise UserError(f"{path}: a [[step]] has no price.")
    price = _text(path, "price", entry["price"])
    return f"{_text(path, 'up_to', entry['up_to'])}={price}" if "up_to" in entry else price


def _window_text(path: Path, entry: Mapping[str, object]) -> str:
    if "days" not in entry or "time" not in entry or ("price" in entry) == ("prices" in entry):
        raise UserError(f"{path}: a [[window]] needs days, time, and either price or prices.")
    prices = entry.get("prices", [entry.get("price")])
    if not isinstance(prices, list):
        raise UserError(f"{path}: write prices as a list, [1.5, 2.0].")
    shown = "/".join([_text(path, "price", price) for price in prices])
    return f"{_text(path, 'days', entry['days'])} {_text(path, 'time', entry['time'])} {shown}"


def _text(path: Path, name: str, value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, (str, int, Decimal, datetime, date)):
        raise UserError(f"{path}: {name} must be a number, a date or a text in quotes.")
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).isoformat()
    if isinstance(value, date):
        return value.isoformat()
    return format(value, "f") if isinstance(value, Decimal) else str(value)


def _read_csv(path: Path) -> TariffDraft:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_SETTINGS_BYTES + 1)
        text = content.decode("utf-8-sig")
    except OSError as error:
        raise UserError(f"The tariff {path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise UserError(f"The tariff {path} is not a text file.") from error
    if len(content) > MAX_SETTINGS_BYTES:
        raise UserError(f"The file {path} is too large for a tariff.")
    rows: Sequence[Mapping[str, str | None]] = list(csv.DictReader(io.StringIO(text)))
    if not rows or not {"up_to_kwh", "price"} <= set(rows[0]):
        raise UserError(f"{path}: the first line must name the columns up_to_kwh and price.")
    steps = []
    for row in rows:
        bound, price = (row["up_to_kwh"] or "").strip(), (row["price"] or "").strip()
        steps.append(f"{bound}={price}" if bound else price)
    return TariffDraft(steps=tuple(steps))
