"""Hours and days of the meters, in the supplier's local time; and that they always add up, whatever happens.

The second half is a machine of hypothesis: readings of three meters of two suppliers over hours and weeks, changes of
zone, gaps, removals, returns and swaps. A model in Python says what every hour, day and sum should be.
"""

from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from contracts.addresses import METER_ADDRESS
from contracts.binding import load_artifact
from contracts.reading_format import (
    HOURS_KEPT_DAYS,
    MAX_AHEAD_S,
    MAX_BEFORE_S,
    MAX_DAYS,
    MAX_HOUR_WH,
    MAX_ZONE_S,
    MIN_ZONE_S,
)
from contracts.roles import Role
from primitives.hexadecimal import to_data
from tests.contracts.ledgers import GENESIS_TIME_S, Result
from tests.contracts.neighbourhood import (
    METER,
    OWNER,
    REGULATOR,
    RIVAL,
    STRANGER,
    SUPPLIER,
    Device,
    Neighbourhood,
    event_names,
    events,
    only,
    reason,
)

RECORDER = load_artifact("RecordingSink", Path(__file__).parent / "artifacts")
DAY_S, HOUR_S = 86_400, 3_600
INDIA_S = 19_800
DAY = 19_676
"""2023-11-15, in which the ledger's first block lies for India (03:43 in the morning) and for Greenwich."""
MIDNIGHT_S = DAY * DAY_S
Sums = tuple[int, int]


def _usage(answer: tuple[object, ...]) -> Sums:
    (sums,) = answer
    assert isinstance(sums, tuple)
    return int(str(sums[0])), int(str(sums[1]))


def _hours(street: Neighbourhood, device: Device, day: int) -> dict[int, Sums]:
    """Hours in which there was something."""
    taken, given = street.ask_meter("hoursOf", device.address, day)
    assert isinstance(taken, (list, tuple))
    assert isinstance(given, (list, tuple))
    return {hour: (taken[hour], given[hour]) for hour in range(24) if taken[hour] or given[hour]}


def _read(street: Neighbourhood, device: Device, time_s: int, import_wh: int = 0, export_wh: int = 0) -> Result:
    street.ledger.time_s = device.time_s = time_s
    result = street.submit(device.measure(import_wh, export_wh))
    assert result.success, reason(result)
    return result


@pytest.fixture
def device() -> Device:
    return Device("meter one", import_wh=1_000, export_wh=50)


@pytest.fixture
def street(device: Device) -> Neighbourhood:
    return Neighbourhood(device, zone_s=INDIA_S)


def test_a_list_at_the_end_of_every_indian_standard_day(street: Neighbourhood, device: Device) -> None:
    """El DApp: the energy of each hour, and a day's total when the Indian day ends."""
    begin_s = MIDNIGHT_S - INDIA_S
    for hour in range(24):
        result = _read(street, device, begin_s + (hour + 1) * HOUR_S, 100 + hour, 7 if hour == 12 else 0)
        assert "DayClosed" not in event_names(result)
    assert street.ask_meter("currentDayOf", device.address) == (DAY, 2_676, 7)
    assert _usage(street.ask_meter("usageOfSupplier", SUPPLIER, DAY, DAY)) == (0, 0)
    over = _read(street, device, begin_s + DAY_S + 1, 5)
    assert event_names(over) == ["DayClosed", "ReadingAccepted", "Charged"]
    assert only(over, "DayClosed") == {
        "meter": device.address,
        "supplier": SUPPLIER,
        "day": DAY,
        "importedWh": 2_676,
        "exportedWh": 7,
    }
    assert _hours(street, device, DAY) == {hour: (100 + hour, 7 if hour == 12 else 0) for hour in range(24)}
    assert _hours(street, device, DAY + 1) == {0: (5, 0)}
    for question in (
        ("usageOfMeter", device.address, DAY, DAY),
        ("usageOfSupplier", SUPPLIER, DAY - 3, DAY + 3),
        ("usageOfAll", DAY, DAY),
    ):
        assert _usage(street.ask_meter(*question)) == (2_676, 7)
    assert _usage(street.ask_meter("usageOfMeter", device.address, DAY, DAY + 1)) == (2_681, 7)
    assert street.ask_meter("daysOfMeter", device.address, DAY - 1, DAY + 2) == (((0, 0), (2_676, 7), (5, 0), (0, 0)),)
    assert street.ask_meter("daysOfSupplier", SUPPLIER, DAY - 1, DAY + 1) == (((0, 0), (2_676, 7), (0, 0)),)
    assert street.ask_meter("daysOfAll", DAY, DAY) == (((2_676, 7),),)
    assert _usage(street.ask_meter("usageOfSupplier", RIVAL, DAY, DAY)) == (0, 0)
    assert _usage(street.ask_meter("usageOfSupplier", bytes(20), DAY, DAY)) == (0, 0)


def test_a_reading_on_the_hour_or_at_midnight_belongs_to_what_ends(street: Neighbourhood, device: Device) -> None:
    midnight_s = MIDNIGHT_S - INDIA_S
    _read(street, device, midnight_s, 1)
    _read(street, device, midnight_s + HOUR_S, 2)
    _read(street, device, midnight_s + HOUR_S + 1, 4)
    assert _hours(street, device, DAY - 1) == {23: (1, 0)}
    assert _hours(street, device, DAY) == {0: (2, 0), 1: (4, 0)}


def test_a_gap_is_one_sum_at_its_end(street: Neighbourhood, device: Device) -> None:
    midnight_s = MIDNIGHT_S - INDIA_S
    _read(street, device, midnight_s + HOUR_S, 10)
    back = _read(street, device, midnight_s + 9 * DAY_S + 30, 900)
    assert [event.arguments["day"] for event in events(back) if event.name == "DayClosed"] == [DAY]
    assert _hours(street, device, DAY + 9) == {0: (900, 0)}
    assert _usage(street.ask_meter("usageOfMeter", device.address, DAY, DAY + 8)) == (10, 0)


def test_what_a_meter_measured_while_it_was_away_is_in_no_day(street: Neighbourhood, device: Device) -> None:
    time_s = MIDNIGHT_S - INDIA_S + HOUR_S
    _read(street, device, time_s, 10, 4)
    assert street.registry(REGULATOR, "removeMeter", device.address).success
    device.import_wh, device.export_wh = device.import_wh + 700, device.export_wh + 600
    registers = (device.import_wh, device.export_wh)
    assert street.registry(SUPPLIER, "reinstateMeter", device.address, *registers).success
    _read(street, device, time_s + 60, 2, 1)
    assert street.ask_meter("currentDayOf", device.address) == (DAY, 12, 5)
    closed = only(_read(street, device, time_s + DAY_S), "DayClosed")
    assert (closed["importedWh"], closed["exportedWh"]) == (12, 5)


def test_a_day_without_use_is_closed_with_nothing(street: Neighbourhood, device: Device) -> None:
    midnight_s = MIDNIGHT_S - INDIA_S
    _read(street, device, midnight_s + HOUR_S)
    closed = only(_read(street, device, midnight_s + DAY_S + HOUR_S), "DayClosed")
    assert (closed["importedWh"], closed["exportedWh"]) == (0, 0)


def test_an_hour_shows_at_most_what_fits_and_the_day_all(street: Neighbourhood, device: Device) -> None:
    time_s = MIDNIGHT_S - INDIA_S + 100
    _read(street, device, time_s, MAX_HOUR_WH - 1, MAX_HOUR_WH)
    _read(street, device, time_s + 1, 1, 1)
    assert _hours(street, device, DAY) == {0: (MAX_HOUR_WH, MAX_HOUR_WH)}
    _read(street, device, time_s + 2, 5)
    _read(street, device, time_s + HOUR_S, 3)
    assert _hours(street, device, DAY) == {0: (MAX_HOUR_WH, MAX_HOUR_WH), 1: (3, 0)}
    assert street.ask_meter("currentDayOf", device.address) == (DAY, MAX_HOUR_WH + 8, MAX_HOUR_WH + 1)


def test_hours_are_kept_for_a_month_and_days_for_ever(street: Neighbourhood, device: Device) -> None:
    midnight_s = MIDNIGHT_S - INDIA_S
    for day in range(HOURS_KEPT_DAYS + 1):
        _read(street, device, midnight_s + day * DAY_S + HOUR_S, 10 + day)
    assert _hours(street, device, DAY) == {}
    assert _hours(street, device, DAY + 1) == {0: (11, 0)}
    assert _hours(street, device, DAY + HOURS_KEPT_DAYS) == {0: (42, 0)}
    assert _usage(street.ask_meter("usageOfMeter", device.address, DAY, DAY)) == (10, 0)


def test_a_range_of_days_is_bounded_and_runs_forwards(street: Neighbourhood, device: Device) -> None:
    list_of_days = street.ask_meter("daysOfMeter", device.address, DAY, DAY + MAX_DAYS - 1)[0]
    assert isinstance(list_of_days, (list, tuple))
    assert len(list_of_days) == MAX_DAYS
    for subject in ((device.address,), (SUPPLIER,), ()):
        name = {1: "Meter" if subject == (device.address,) else "Supplier", 0: "All"}[len(subject)]
        for first, last in ((DAY, DAY + MAX_DAYS), (DAY, DAY - 1), (0, 2**32 - 1)):
            for kind in ("usage", "days"):
                call = METER.abi.encode_call(f"{kind}Of{name}", [*subject, first, last])
                refused = street.ledger.call(STRANGER, METER_ADDRESS, call)
                text = f"DayRangeInvalid(firstDay={first}, lastDay={last}, maximum={MAX_DAYS})"
                assert reason(refused) == text


# Time zones


def test_a_zone_holds_after_a_days_notice(street: Neighbourhood, device: Device) -> None:
    """By another clock other prices hold."""
    first = GENESIS_TIME_S + DAY_S
    announced = street.meter(SUPPLIER, "setZone", INDIA_S + 3_600, 0)
    assert only(announced, "ZoneSet") == {"supplier": SUPPLIER, "offsetS": INDIA_S + 3_600, "from": first}
    assert street.ask_meter("zoneOf", SUPPLIER, first - 1) == (INDIA_S,)
    assert street.ask_meter("zoneOf", SUPPLIER, first) == (INDIA_S + 3_600,)
    text = f"ZoneTooSoon(from={first - 1}, earliest={first})"
    assert reason(street.meter(SUPPLIER, "setZone", 0, first - 1)) == text
    # Not yet in force, so it is replaced.
    street.meter(SUPPLIER, "setZone", INDIA_S + 7_200, first + 100)
    assert street.ask_meter("zoneOf", SUPPLIER, first + 99) == (INDIA_S,)
    assert street.ask_meter("zoneOf", SUPPLIER, first + 100) == (INDIA_S + 7_200,)
    # Anybody has a zone of its own, which is nobody else's.
    street.meter(STRANGER, "setZone", -3_600, 0)
    assert street.ask_meter("zoneOf", SUPPLIER, first + 100) == (INDIA_S + 7_200,)


def test_before_its_first_meter_a_supplier_has_its_zone_as_soon_as_no_reading_can_be_there(
    street: Neighbourhood,
) -> None:
    first = GENESIS_TIME_S + MAX_AHEAD_S + 1
    street.registry(REGULATOR, "addMember", RIVAL, Role.SUPPLIER)
    text = f"ZoneTooSoon(from={first - 1}, earliest={first})"
    assert reason(street.meter(RIVAL, "setZone", INDIA_S, first - 1)) == text
    assert only(street.meter(RIVAL, "setZone", INDIA_S, 0), "ZoneSet")["from"] == first
    assert street.install(Device("meter two"), RIVAL).success
    text = f"ZoneTooSoon(from={first}, earliest={GENESIS_TIME_S + DAY_S})"
    assert reason(street.meter(RIVAL, "setZone", 0, first)) == text


@pytest.mark.parametrize("offset_s", [1, 899, 901, MIN_ZONE_S - 900, MAX_ZONE_S + 900, 2**31 - 1, -(2**31)])
def test_zones_are_quarters_of_an_hour_of_this_earth(street: Neighbourhood, offset_s: int) -> None:
    text = f"ZoneInvalid(offsetS={offset_s}, minimumS={MIN_ZONE_S}, maximumS={MAX_ZONE_S}, stepS=900)"
    assert reason(street.meter(SUPPLIER, "setZone", offset_s, 0)) == text


def test_every_past_zone_is_still_known(street: Neighbourhood) -> None:
    begins = [(0, INDIA_S)]
    for number in range(9):
        street.ledger.time_s += 30 * DAY_S
        zone_s = INDIA_S + (3_600 if number % 2 else 0) + 900 * number
        told = only(street.meter(SUPPLIER, "setZone", zone_s, 0), "ZoneSet")
        begins.append((int(str(told["from"])), zone_s))
    for number, (begin_s, zone_s) in enumerate(begins):
        assert street.ask_meter("zoneOf", SUPPLIER, begin_s) == (zone_s,)
        if number:
            assert street.ask_meter("zoneOf", SUPPLIER, begin_s - 1) == (begins[number - 1][1],)


def test_the_local_date_never_falls_back(street: Neighbourhood, device: Device) -> None:
    """Half past midnight cannot become 23:30 of the day before; half past one can become half past midnight."""
    midnight_s = MIDNIGHT_S + 2 * DAY_S - INDIA_S
    half_past_midnight = midnight_s + 1_800
    text = f"ZoneRepeatsDay(offsetS={INDIA_S - HOUR_S}, from={half_past_midnight})"
    assert reason(street.meter(SUPPLIER, "setZone", INDIA_S - HOUR_S, half_past_midnight)) == text
    assert street.meter(SUPPLIER, "setZone", INDIA_S - HOUR_S, midnight_s + HOUR_S + 1_800).success
    _read(street, device, midnight_s + HOUR_S + 1_800, 1)
    _read(street, device, midnight_s + HOUR_S + 1_801, 2)
    assert _hours(street, device, DAY + 2) == {0: (3, 0)}


def test_a_late_reading_goes_by_the_zone_of_its_own_time(street: Neighbourhood, device: Device) -> None:
    midnight_s = MIDNIGHT_S - INDIA_S
    device.time_s = midnight_s + 5 * HOUR_S
    late = device.measure(import_wh=8)
    street.ledger.time_s = midnight_s + DAY_S
    for _ in range(3):
        street.ledger.time_s += DAY_S
        street.meter(SUPPLIER, "setZone", INDIA_S + 3_600 - int(street.ledger.time_s // DAY_S % 2) * 1_800, 0)
    assert street.submit(late).success
    assert _hours(street, device, DAY) == {4: (8, 0)}


# What sinks are told


class Recorded:
    """A neighbourhood with a meter whose readings go to a sink that remembers the last."""

    def __init__(self) -> None:
        self.street = Neighbourhood(zone_s=INDIA_S)
        self.device = Device("meter one", import_wh=500, export_wh=60, time_s=GENESIS_TIME_S + 900)
        self.sink = self.street.ledger.transact(STRANGER, None, RECORDER.deployment()).output
        assert self.street.registry(REGULATOR, "approveSink", self.sink).success
        assert self.street.install(self.device, sink=self.sink).success
        self.street.ledger.time_s = self.device.time_s

    def ask(self, function: str) -> object:
        output = self.street.ledger.call(STRANGER, self.sink, RECORDER.abi.encode_call(function)).output
        return RECORDER.abi.decode_result(function, output)[0]

    def told(self, imported_wh: int, exported_wh: int, previous_time_s: int, time_s: int) -> bool:
        expected = (self.device.address, SUPPLIER, 0, imported_wh, exported_wh, previous_time_s, time_s, INDIA_S)
        return self.ask("last") == expected


def test_a_sink_is_told_what_a_reading_adds_to_the_one_before() -> None:
    scene = Recorded()
    first_s = scene.device.time_s
    assert scene.street.submit(scene.device.measure(12, 3)).success
    assert scene.told(12, 3, GENESIS_TIME_S, first_s)
    scene.device.time_s = scene.street.ledger.time_s = first_s + 600
    assert scene.street.submit(scene.device.measure(4)).success
    assert scene.told(4, 0, first_s, first_s + 600)


def test_the_time_before_is_that_of_the_installation_where_that_is_later_and_never_ahead() -> None:
    early = Recorded()
    early.device.time_s = GENESIS_TIME_S - 50
    assert early.street.submit(early.device.measure(1)).success
    assert early.told(1, 0, GENESIS_TIME_S - 50, GENESIS_TIME_S - 50)
    away = Recorded()
    assert away.street.submit(away.device.measure(1)).success
    assert away.street.registry(SUPPLIER, "removeMeter", away.device.address).success
    away.street.ledger.time_s = back_s = GENESIS_TIME_S + 9 * DAY_S
    assert away.street.registry(SUPPLIER, "reinstateMeter", away.device.address, 600, 60).success
    away.device.time_s, away.device.import_wh = back_s + 5, 600
    assert away.street.submit(away.device.measure(2)).success
    assert away.told(2, 0, back_s, back_s + 5)


def test_a_sink_is_told_of_closing_registers_and_of_the_successor() -> None:
    scene = Recorded()
    device, successor = scene.device, Device("its successor")
    assert scene.street.submit(device.measure(12, 3)).success
    scene.street.ledger.time_s += 77
    registers = (device.import_wh + 8, device.export_wh + 1, 0, 0)
    assert scene.street.registry(SUPPLIER, "swapMeter", device.address, successor.address, *registers).success
    assert scene.told(8, 1, device.time_s, device.time_s + 77)
    assert scene.ask("successor") == successor.address


def test_a_sink_that_reverts_takes_the_reading_with_it_and_says_why() -> None:
    scene = Recorded()
    signed = scene.device.measure(5)
    scene.street.ledger.transact(STRANGER, scene.sink, RECORDER.abi.encode_call("refuse", [True]))
    refused = scene.street.submit(signed)
    assert RECORDER.abi.revert_reason(refused.output) == f"Refused(meter={to_data(scene.device.address)})"
    assert not scene.street.submit_batch([signed]).success
    assert scene.street.ask_meter("totals")[:2] == (0, 0)
    scene.street.ledger.transact(STRANGER, scene.sink, RECORDER.abi.encode_call("refuse", [False]))
    assert scene.street.submit(signed).success


def test_the_words_of_a_book_are_what_the_compiler_packs() -> None:
    """What a reading writes as one word, read by the compiler's layout; and the other way round."""
    device = Device("meter one")
    street = Neighbourhood(device, installed_at_s=GENESIS_TIME_S - 99_999)
    device.sequence, device.import_wh, device.export_wh = 2**48 - 2, 2**53 - 1, 2**53 - 2
    device.time_s = GENESIS_TIME_S
    assert street.submit(device.measure(power_w=-(2**31), flags=2**16 - 1)).success
    layout = METER.storage_layout
    contents = {slot: street.ledger.storage(METER_ADDRESS, slot) for slot in layout.slots("_books", device.address)}
    book = layout.read_struct("_books", device.address, contents=contents)
    assert {name: book[name] for name in ("importWh", "exportWh", "sequence", "time", "powerW", "flags")} == {
        "importWh": 2**53 - 1,
        "exportWh": 2**53 - 2,
        "sequence": 2**48 - 1,
        "time": GENESIS_TIME_S,
        "powerW": -(2**31),
        "flags": 2**16 - 1,
    }
    assert book["supplier"] == int.from_bytes(SUPPLIER, "big")
    assert (book["openedAt"], book["sinkNumber"], book["status"]) == (GENESIS_TIME_S - 99_999, 1, 1)
    assert book["hash"] == int.from_bytes(device.previous_hash, "big")


# Any sequence

NAMES = ("meter one", "meter two", "meter three")
SUPPLIERS = (SUPPLIER, RIVAL)
meters = st.sampled_from(range(len(NAMES)))
energies_wh = st.one_of(st.just(0), st.integers(1, 9_999), st.integers(1, 2**38))


@dataclass
class Model:
    """One place of supply: the device that is there now, and what was counted under each address."""

    device: Device
    supplier: bytes
    is_active: bool = True
    opened_s: int = 0
    counted: dict[bytes, dict[int, Sums]] = field(default_factory=lambda: defaultdict(dict))
    hours: dict[bytes, dict[tuple[int, int], int]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(int))
    )
    swaps: int = 0


class Days(RuleBasedStateMachine):
    @initialize()
    def open(self) -> None:
        devices = [Device(name, import_wh=number * 1_000) for number, name in enumerate(NAMES)]
        self.street = Neighbourhood(devices[0], devices[1], zone_s=INDIA_S)
        self.street.registry(REGULATOR, "addMember", RIVAL, Role.SUPPLIER)
        self.street.install(devices[2], RIVAL)
        self.models = [Model(device, SUPPLIERS[number // 2]) for number, device in enumerate(devices)]
        self.models[2].opened_s = self.street.ledger.time_s
        self.zones: dict[bytes, list[tuple[int, int]]] = {SUPPLIER: [(0, INDIA_S)], RIVAL: [(0, 0)]}
        self.told: dict[tuple[bytes, int], Sums] = {}

    @rule(number=meters, import_wh=energies_wh, export_wh=energies_wh, lag_s=st.sampled_from((0, 0, 1, 4_000)))
    def read(self, number: int, import_wh: int, export_wh: int, lag_s: int) -> None:
        model = self.models[number]
        device = model.device
        device.time_s = max(device.time_s, self.street.ledger.time_s - lag_s, model.opened_s - MAX_BEFORE_S)
        if not model.is_active:
            device.import_wh += import_wh
            device.export_wh += export_wh
            return
        result = self.street.submit(device.measure(import_wh, export_wh))
        self._count(model, device.time_s, import_wh, export_wh)
        self._hear(result)

    @rule(seconds=st.sampled_from((60, 900, 5 * HOUR_S, DAY_S, 3 * DAY_S, 40 * DAY_S)))
    def wait(self, seconds: int) -> None:
        self.street.ledger.time_s += seconds

    @rule(
        supplier=st.sampled_from(SUPPLIERS), quarters=st.integers(-48, 56), ahead_s=st.sampled_from((DAY_S, 3 * DAY_S))
    )
    def set_zone(self, supplier: bytes, quarters: int, ahead_s: int) -> None:
        now_s, offset_s = self.street.ledger.time_s, quarters * 900
        start_s = now_s + ahead_s
        versions = [version for version in self.zones[supplier] if version[0] <= now_s + MAX_AHEAD_S]
        result = self.street.meter(supplier, "setZone", offset_s, start_s)
        falls = (start_s - 1 + offset_s) // DAY_S < (start_s - 2 + versions[-1][1]) // DAY_S
        assert (reason(result) or "").startswith("ZoneRepeatsDay(" if falls else ""), reason(result)
        assert result.success == (not falls)
        if result.success:
            self.zones[supplier] = [*versions, (start_s, offset_s)]

    @rule(number=meters)
    def remove_or_bring_back(self, number: int) -> None:
        """Energy while it is away is not counted."""
        model = self.models[number]
        device = model.device
        if model.is_active:
            self._hear(self.street.registry(REGULATOR, "removeMeter", device.address))
        else:
            registers = (device.import_wh, device.export_wh)
            assert self.street.registry(model.supplier, "reinstateMeter", device.address, *registers).success
            model.opened_s = self.street.ledger.time_s
        model.is_active = not model.is_active

    @rule(number=meters, import_wh=energies_wh, export_wh=energies_wh, opening_wh=st.integers(0, 10**6))
    def swap(self, number: int, import_wh: int, export_wh: int, opening_wh: int) -> None:
        model = self.models[number]
        if not model.is_active:
            return
        old = model.device
        model.swaps += 1
        new = Device(f"{old.name[:12]} {model.swaps}", import_wh=opening_wh, time_s=self.street.ledger.time_s)
        registers = (old.import_wh + import_wh, old.export_wh + export_wh, opening_wh, 0)
        result = self.street.registry(model.supplier, "swapMeter", old.address, new.address, *registers)
        self._count(model, max(self.street.ledger.time_s, old.time_s if old.sequence else 0), import_wh, export_wh)
        self._hear(result)
        model.device, model.opened_s = new, self.street.ledger.time_s

    @invariant()
    def all_adds_up(self) -> None:
        ask = self.street.ask_meter
        total = [0, 0]
        for model in self.models:
            for address, days in model.counted.items():
                for day in days:
                    assert _usage(ask("usageOfMeter", address, day, day)) == days[day]
                self._hours_add_up(model, address)
                total[0] += sum(taken for taken, _ in days.values())
                total[1] += sum(given for _, given in days.values())
        assert ask("totals")[:2] == tuple(total)
        # Closed is what was told of; a supplier's day is the sum over its meters, that of all the sum over suppliers.
        sums: dict[tuple[bytes, int], list[int]] = defaultdict(lambda: [0, 0])
        for (address, day), (taken, given) in self.told.items():
            for subject in (self._supplier_of(address), bytes(20)):
                sums[subject, day][0] += taken
                sums[subject, day][1] += given
        for (subject, day), expected in sums.items():
            question = ("usageOfAll",) if subject == bytes(20) else ("usageOfSupplier", subject)
            assert list(_usage(ask(*question, day, day))) == expected

    @invariant()
    def the_registry_and_the_meter_agree(self) -> None:
        for model in self.models:
            (record,) = self.street.ask_registry("meterOf", model.device.address)
            assert isinstance(record, (list, tuple))
            status, supplier, sink, tariff, _ = self.street.ask_meter("linkOf", model.device.address)
            assert [OWNER, supplier, status, sink, tariff] == list(record[:5])

    def _hours_add_up(self, model: Model, address: bytes) -> None:
        """Those of the newest day, which the ring still has."""
        if not model.hours[address]:
            return
        newest = max(day for day, _ in model.hours[address])
        taken, _ = self.street.ask_meter("hoursOf", address, newest)
        assert isinstance(taken, (list, tuple))
        expected = {hour: wh for (day, hour), wh in model.hours[address].items() if day == newest}
        assert {hour: wh for hour, wh in enumerate(taken) if wh} == {
            hour: min(wh, MAX_HOUR_WH) for hour, wh in expected.items() if wh
        }

    def _count(self, model: Model, time_s: int, import_wh: int, export_wh: int) -> None:
        offset_s = [offset for start, offset in self.zones[model.supplier] if start <= time_s][-1]
        local_s = time_s - 1 + offset_s
        address, day = model.device.address, local_s // DAY_S
        taken, given = model.counted[address].get(day, (0, 0))
        model.counted[address][day] = (taken + import_wh, given + export_wh)
        model.hours[address][day, local_s % DAY_S // HOUR_S] += import_wh

    def _hear(self, result: Result) -> None:
        """A closed day is told with all that it has."""
        for event in events(result):
            if event.name != "DayClosed":
                continue
            meter, day, *sums = (event.arguments[name] for name in ("meter", "day", "importedWh", "exportedWh"))
            assert isinstance(meter, bytes)
            counted = [
                days[int(str(day))] for model in self.models for one, days in model.counted.items() if one == meter
            ]
            assert counted == [tuple(sums)]
            self.told[meter, int(str(day))] = counted[0]

    def _supplier_of(self, address: bytes) -> bytes:
        (supplier,) = [model.supplier for model in self.models if address in model.counted]
        return supplier


TestDays = Days.TestCase
TestDays.settings = settings(max_examples=30, stateful_step_count=30)
