"""What a reading costs: the bounds that the design promises, and the table of docs/contracts.md, row by row."""

import re
from pathlib import Path

import pytest

from tests.contracts.ledgers import Result
from tests.contracts.neighbourhood import WATT, Device, Neighbourhood, outcomes

DOCUMENT = Path(__file__).parents[2] / "docs" / "contracts.md"
BATCH = 50
SINGLE_LIMIT, BATCH_LIMIT = 90_000, 45_000


def _measure() -> dict[str, int]:
    """Gas of each kind of transaction, for a batch each reading's share, rounded up."""
    devices = [Device(f"meter {number}", import_wh=5_000) for number in range(BATCH + 1)]
    street = Neighbourhood(*devices, credit_wei=1_000 * WATT)
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
    again = [meter.measure(import_wh=1) for meter in many]
    street.submit_batch(again)
    stale: Result = street.submit_batch(again)
    figures[f"a batch of {BATCH}, all accepted before"] = -(-stale.gas_used // BATCH)
    return figures


@pytest.fixture(scope="module")
def figures() -> dict[str, int]:
    return _measure()


def test_a_reading_stays_within_its_gas(figures: dict[str, int]) -> None:
    assert figures["one reading"] <= SINGLE_LIMIT
    assert figures[f"a batch of {BATCH}, of {BATCH} meters"] <= BATCH_LIMIT
    assert figures[f"a batch of {BATCH}, of one meter"] <= BATCH_LIMIT


def test_the_document_states_the_measured_gas(figures: dict[str, int]) -> None:
    rows = re.findall(r"^\| ([^|]+?) \| ([\d,]+) \|$", DOCUMENT.read_text(), re.MULTILINE)
    assert {name: int(gas.replace(",", "")) for name, gas in rows} == figures
