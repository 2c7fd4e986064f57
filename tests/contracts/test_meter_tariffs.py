"""By which tariff a reading is charged that arrives after its meter has got another one."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.addresses import METER_ADDRESS
from contracts.reading_format import Outcome
from contracts.tariff_format import GenesisTariff, TariffVersion
from primitives.hexadecimal import to_data
from tests.contracts.ledgers import GENESIS_TIME_S
from tests.contracts.neighbourhood import (
    METER,
    OWNER,
    STRANGER,
    SUPPLIER,
    WATT,
    Device,
    Neighbourhood,
    SignedReading,
    events,
    only,
    outcomes,
    reason,
)

DAY_S = 86_400
MAX_TARIFF_CHANGES = 16
DEAR, CHEAP, DEAREST = 1, 2, 3
PRICES_WEI = {0: 0, DEAR: 1_000, CHEAP: 10, DEAREST: 5_000}


@pytest.fixture
def device() -> Device:
    return Device("meter one", time_s=GENESIS_TIME_S)


@pytest.fixture
def town(device: Device) -> Neighbourhood:
    return _town(device)


def _town(*devices: Device) -> Neighbourhood:
    tariffs = [
        GenesisTariff(SUPPLIER, f"at {price}", TariffVersion.flat(price)) for price in PRICES_WEI.values() if price
    ]
    return Neighbourhood(*devices, credit_wei=WATT, tariffs=tariffs, installed_at_s=GENESIS_TIME_S)


def _change(town: Neighbourhood, device: Device, tariff: int) -> None:
    """At the ledger's time, which the owner agrees to."""
    assert town.registry(SUPPLIER, "setTariff", device.address, tariff).success
    assert town.registry(OWNER, "applyTariff", device.address, tariff).success


def _measure_at(device: Device, time_s: int, import_wh: int = 100) -> SignedReading:
    device.time_s = time_s
    return device.measure(import_wh=import_wh)


def _cost(town: Neighbourhood, signed: SignedReading) -> object:
    return only(town.submit(signed), "Charged")["costWei"]


def test_readings_of_a_meter_that_was_offline_are_charged_by_the_tariff_of_their_own_time(
    town: Neighbourhood, device: Device
) -> None:
    """Months at the dear tariff, a day at the cheap one; and it is the dear one's till that is paid."""
    change = GENESIS_TIME_S + 60 * DAY_S
    backlog = [_measure_at(device, GENESIS_TIME_S + day * DAY_S) for day in (1, 30, 59)]
    backlog += [_measure_at(device, time_s) for time_s in (change - 1, change, change + DAY_S)]
    town.ledger.time_s = change
    _change(town, device, CHEAP)
    town.ledger.time_s = change + DAY_S
    assert town.ask_meter("tariffOf", device.address, change - 1) == (DEAR,)
    assert town.ask_meter("tariffOf", device.address, change) == (CHEAP,)
    costs = [event.arguments["costWei"] for event in events(town.submit_batch(backlog)) if event.name == "Charged"]
    assert costs == [100_000] * 4 + [1_000] * 2
    assert town.ask_exhaustion("tillOf", DEAR) == (400_000,)
    assert town.ask_exhaustion("tillOf", CHEAP) == (2_000,)


def test_a_dearer_tariff_does_not_reach_back_either(town: Neighbourhood, device: Device) -> None:
    late, later = _measure_at(device, GENESIS_TIME_S + 10), _measure_at(device, GENESIS_TIME_S + 20)
    town.ledger.time_s = GENESIS_TIME_S + 20
    _change(town, device, DEAREST)
    assert _cost(town, late) == 100_000
    assert _cost(town, later) == 500_000


def test_a_tariff_that_was_announced_long_ago_holds_from_when_it_is_put_in_force(
    town: Neighbourhood, device: Device
) -> None:
    late = _measure_at(device, GENESIS_TIME_S + 5 * DAY_S)
    assert town.registry(SUPPLIER, "setTariff", device.address, DEAREST).success
    town.ledger.time_s = GENESIS_TIME_S + 10 * DAY_S
    assert town.registry(STRANGER, "applyTariff", device.address, DEAREST).success
    assert _cost(town, late) == 100_000


def test_a_meter_without_a_tariff_pays_nothing_for_the_time_before_its_first(device: Device) -> None:
    town = _town()
    assert town.install(device).success
    late, later = _measure_at(device, GENESIS_TIME_S + 10), _measure_at(device, GENESIS_TIME_S + 20)
    town.ledger.time_s = GENESIS_TIME_S + 20
    _change(town, device, DEAR)
    assert _cost(town, late) == 0
    assert _cost(town, later) == 100_000


def test_a_reading_ahead_of_the_block_leaves_no_earlier_tariff_to_ask_for(town: Neighbourhood, device: Device) -> None:
    assert _cost(town, _measure_at(device, GENESIS_TIME_S + 60)) == 100_000
    _change(town, device, CHEAP)
    assert not _has_earlier_tariffs(town, device)
    assert _cost(town, _measure_at(device, GENESIS_TIME_S + 60)) == 1_000


def test_what_no_later_reading_asks_for_is_forgotten(town: Neighbourhood, device: Device) -> None:
    """From then on a reading costs what it cost before the change."""
    town.ledger.time_s += 10
    _change(town, device, CHEAP)
    town.ledger.time_s += 10
    _change(town, device, DEAREST)
    assert _has_earlier_tariffs(town, device)
    assert _cost(town, _measure_at(device, GENESIS_TIME_S + 9)) == 100_000
    assert _cost(town, _measure_at(device, GENESIS_TIME_S + 19)) == 1_000
    assert _has_earlier_tariffs(town, device)
    assert _cost(town, _measure_at(device, GENESIS_TIME_S + 20)) == 500_000
    assert not _has_earlier_tariffs(town, device)
    assert all(town.ask_meter("tariffOf", device.address, time_s) == (DEAREST,) for time_s in (0, 2**40))


def test_a_silent_meter_has_a_bounded_number_of_tariffs_waiting(town: Neighbourhood, device: Device) -> None:
    for number in range(MAX_TARIFF_CHANGES):
        town.ledger.time_s += 100
        _change(town, device, (CHEAP, DEAR)[number % 2])
    assert town.registry(SUPPLIER, "setTariff", device.address, DEAREST).success
    town.ledger.time_s += 100
    text = f"TooManyTariffChanges(meter={to_data(device.address)}, maximum={MAX_TARIFF_CHANGES})"
    refused = town.registry(OWNER, "applyTariff", device.address, DEAREST)
    assert METER.abi.revert_reason(refused.output) == text
    oldest = town.submit(_measure_at(device, GENESIS_TIME_S + 99))
    assert only(oldest, "Charged")["costWei"] == 100_000
    assert oldest.gas_used < 220_000
    assert _cost(town, _measure_at(device, GENESIS_TIME_S + 199)) == 1_000
    newest = town.submit(_measure_at(device, town.ledger.time_s - 100))
    assert only(newest, "Charged")["costWei"] == 100_000
    assert newest.gas_used < 160_000
    assert town.registry(OWNER, "applyTariff", device.address, DEAREST).success


def test_a_successor_has_the_newest_tariff_and_no_earlier_one(town: Neighbourhood, device: Device) -> None:
    town.ledger.time_s += 100
    _change(town, device, CHEAP)
    successor = Device("its successor", time_s=town.ledger.time_s)
    swapped = town.registry(SUPPLIER, "swapMeter", device.address, successor.address, 50, 0, 0, 0)
    assert only(swapped, "Charged")["costWei"] == 500
    for one in (device, successor):
        assert not _has_earlier_tariffs(town, one)
    assert _cost(town, successor.measure(import_wh=100)) == 1_000


def test_a_meter_that_comes_back_has_no_earlier_tariff(town: Neighbourhood, device: Device) -> None:
    town.ledger.time_s += 100
    _change(town, device, CHEAP)
    assert town.registry(SUPPLIER, "removeMeter", device.address).success
    assert _has_earlier_tariffs(town, device)
    town.ledger.time_s += 100
    assert town.registry(SUPPLIER, "reinstateMeter", device.address, 0, 0).success
    assert not _has_earlier_tariffs(town, device)
    assert _cost(town, _measure_at(device, town.ledger.time_s)) == 1_000


def test_nobody_but_the_registry_gives_a_tariff(town: Neighbourhood, device: Device) -> None:
    for sender in (SUPPLIER, OWNER, STRANGER):
        text = f"NotRegistry(caller={to_data(sender)})"
        assert reason(town.meter(sender, "assignTariff", device.address, CHEAP)) == text


changes = st.lists(st.tuples(st.integers(1, 50), st.sampled_from(tuple(PRICES_WEI))), max_size=5)
"""(seconds since the change before, the tariff from then on)"""


@settings(max_examples=15, deadline=None)
@given(changes, st.lists(st.integers(0, 300), min_size=1, max_size=8))
def test_any_changes_and_any_late_readings(steps: list[tuple[int, int]], moments: list[int]) -> None:
    """Beside a plain list of (from, tariff)."""
    device = Device("meter one", time_s=GENESIS_TIME_S)
    town = _town(device)
    history = [(GENESIS_TIME_S, DEAR)]
    for wait_s, tariff in steps:
        town.ledger.time_s += wait_s
        _change(town, device, tariff)
        history.append((town.ledger.time_s, tariff))
    town.ledger.time_s = GENESIS_TIME_S + 400
    backlog = [_measure_at(device, GENESIS_TIME_S + moment) for moment in sorted(moments)]
    result = town.submit_batch(backlog)
    assert outcomes(result) == [Outcome.ACCEPTED] * len(backlog)
    held = [[tariff for since, tariff in history if since <= GENESIS_TIME_S + moment][-1] for moment in sorted(moments)]
    costs = [event.arguments["costWei"] for event in events(result) if event.name == "Charged"]
    assert costs == [100 * PRICES_WEI[tariff] for tariff in held]


def _has_earlier_tariffs(town: Neighbourhood, device: Device) -> bool:
    layout = METER.storage_layout
    contents = {slot: town.ledger.storage(METER_ADDRESS, slot) for slot in layout.slots("_books", device.address)}
    return bool(layout.read_struct("_books", device.address, contents=contents)["hasEarlierTariffs"])
