"""What a reading and a vote cost: the bounds that the design promises, and the tables of docs/contracts.md."""

import re
from pathlib import Path

import pytest

from contracts.reading_format import MAX_BATCH
from contracts.tariff_format import OPEN_BOUND_WH, GenesisTariff, Slab, TariffVersion, TimeOfUse
from tests.contracts.council import (
    MAX_OPEN_VOTES,
    MAX_VALIDATORS,
    Council,
    council_alloc,
    new_list,
    people,
    person,
)
from tests.contracts.ledgers import BLOCK_GAS_LIMIT, Result, make_ledger
from tests.contracts.neighbourhood import SUPPLIER, WATT, Device, Neighbourhood, outcomes
from tests.contracts.tariff_stage import EL_DAPP_SLABS

DOCUMENT = Path(__file__).parents[2] / "docs" / "contracts.md"
BATCH = 50
DAY_S = 86_400
SINGLE_LIMIT, BATCH_LIMIT = 90_000, 45_000
VOTE_LIMIT = 7_000_000
"""More than the 6.4 million of the worst case, and what the removed one's votes give back."""


def _measure() -> dict[str, int]:
    """Gas of each kind of transaction, for a batch each reading's share, rounded up."""
    devices = [Device(f"meter {number}", import_wh=5_000) for number in range(BATCH + 1)]
    tariff = GenesisTariff(SUPPLIER, "four slabs", TariffVersion(EL_DAPP_SLABS))
    street = Neighbourhood(*devices, credit_wei=100_000 * WATT, tariffs=[tariff])
    *many, one = devices

    def batch(meters: list[Device], each: int = 1) -> int:
        signed = [meter.measure(import_wh=1_234, power_w=2_000) for meter in meters for _ in range(each)]
        result = street.submit_batch(signed)
        assert {int(outcome) for outcome in outcomes(result)} == {0}
        return -(-result.gas_used // len(signed))

    def single() -> int:
        result = street.submit(one.measure(import_wh=123_456, power_w=2_000, flags=1))
        assert result.success
        return result.gas_used

    first = single()
    figures = {
        "one reading, the first of its meter": first,
        "one reading": single(),
        f"a batch of {BATCH}, first readings of {BATCH} meters": batch(many),
        f"a batch of {BATCH}, of {BATCH} meters": batch(many),
        f"a batch of {BATCH}, of one meter": batch([one], BATCH),
    }
    for meter in devices:
        meter.time_s += DAY_S
    street.ledger.time_s += DAY_S
    figures["one reading that closes a day"] = single()
    figures[f"a batch of {BATCH}, of {BATCH} meters, each closes a day"] = batch(many)
    again = [meter.measure(import_wh=1) for meter in many]
    street.submit_batch(again)
    stale: Result = street.submit_batch(again)
    figures[f"a batch of {BATCH}, all accepted before"] = -(-stale.gas_used // BATCH)
    return figures


def _measure_votes() -> dict[str, int]:
    def first_and_last(count: int) -> tuple[int, int]:
        """To remove one of so many who have never voted, the first vote and the one that does it."""
        members = people(count)
        council = Council(members)
        results = [council.remove(voter, members[0]) for voter in members[: count // 2 + 1]]
        assert new_list(results[-1]) is not None
        return results[1].gas_used, results[-1].gas_used

    early, deciding = first_and_last(4)
    return {
        "a vote, of 4 validators": early,
        "the vote that decides, of 4 validators": deciding,
        "the vote that decides, of 128 validators, no other votes open": _one_decides(people(MAX_VALIDATORS), 0),
        "the same, 16 votes of each open: the worst case": _one_decides(people(MAX_VALIDATORS), MAX_OPEN_VOTES),
    }


def _one_decides(members: list[bytes], other_votes: int) -> int:
    """The vote to remove one of these by which the majority is reached.

    Each of them has also voted about so many others, all different; the vote that is looked for comes after these.
    """
    leaving = members[-2]
    votes = {}
    for number, member in enumerate(members):
        others = [(person(5_000 + number * MAX_OPEN_VOTES + index), False) for index in range(other_votes)]
        is_for = [(leaving, True)] if 0 < number <= len(members) // 2 else []
        votes[member] = [*(others[: MAX_OPEN_VOTES - 1] if is_for or number == 0 else others), *is_for]
    result = Council([], make_ledger(council_alloc(members, votes))).remove(members[0], leaving)
    assert leaving not in (new_list(result) or members)
    return result.gas_used


@pytest.fixture(scope="module")
def figures() -> dict[str, int]:
    return _measure() | _measure_votes()


def test_a_reading_stays_within_its_gas(figures: dict[str, int]) -> None:
    assert figures["one reading"] <= SINGLE_LIMIT
    assert figures[f"a batch of {BATCH}, of {BATCH} meters"] <= BATCH_LIMIT
    assert figures[f"a batch of {BATCH}, of one meter"] <= BATCH_LIMIT


def test_no_tariff_makes_a_batch_too_dear_for_a_block() -> None:
    """Sixteen steps and times of use, of which the last fits, energy both ways: about half a block, and never more."""
    bounds = (*range(10, 160, 10), OPEN_BOUND_WH)
    windows = [TimeOfUse(127, 1_439, 1_440, tuple(range(1, 17)))] * 15 + [TimeOfUse(127, 0, 1_440, (2,) * 16)]
    version = TariffVersion(
        tuple(Slab(1, bound) for bound in bounds),
        tuple(windows),
        export_price_wei_per_wh=1,
        standing_wei_per_day=5,
        allowance_wh=5,
    )
    devices = [Device(f"meter {number}") for number in range(10)]
    street = Neighbourhood(*devices, credit_wei=WATT, tariffs=[GenesisTariff(SUPPLIER, "largest", version)])
    for _ in range(3):
        result = street.submit_batch([device.measure(1_000, 100, 5) for device in devices])
        assert {int(outcome) for outcome in outcomes(result)} == {0}
        assert result.gas_used * MAX_BATCH / len(devices) < 0.55 * BLOCK_GAS_LIMIT
        street.ledger.time_s += DAY_S
        for device in devices:
            device.time_s += DAY_S


def test_a_vote_stays_far_below_a_block(figures: dict[str, int]) -> None:
    votes = [gas for name, gas in figures.items() if "vote" in name]
    assert len(votes) == 4
    assert max(votes) < VOTE_LIMIT < BLOCK_GAS_LIMIT / 4


def test_the_document_states_the_measured_gas(figures: dict[str, int]) -> None:
    rows = re.findall(r"^\| ([^|]+?) \| ([\d,]+) \|$", DOCUMENT.read_text(), re.MULTILINE)
    assert {name: int(gas.replace(",", "")) for name, gas in rows} == figures
