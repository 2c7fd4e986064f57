"""What the market's transactions cost: the table of docs/contracts/market.md."""

import re
from pathlib import Path

from contracts.market import MarketRules
from tests.contracts.ledgers import Result
from tests.contracts.market_stage import BUYER, CONTROLLER, DAY_S, SELLER, STRANGER, TREASURY, Stage

DOCUMENT = Path(__file__).parents[2] / "docs" / "contracts" / "market.md"
PRICE = 2 * 10**14
WORST_LIMIT = 1_000_000
"""The least gas allowance of a sender in a block, on a network without fees (Registry)."""


def _measure() -> dict[str, int]:
    stage = Stage(MarketRules(tax_bps=1_000))

    def gas(result: Result) -> int:
        assert result.success
        return result.gas_used

    def advertise() -> int:
        stage.wait(1)
        deposit = stage.ask("depositFor", 8_000, PRICE)
        return gas(stage.market(SELLER, "availableEnergyAdvert", 8_000, PRICE, value=deposit))

    def request(energy_wh: int) -> int:
        arguments = (energy_wh, stage.ledger.time_s, PRICE, SELLER)
        return gas(stage.market(BUYER, "requestForEnergy", *arguments, value=energy_wh * PRICE * 11 // 10))

    figures = {"an advert, the first of a producer": advertise(), "an advert": advertise()}
    figures["a request for a part, the first of a consumer"] = request(2_000)
    figures["a request for a part"] = request(2_000)
    stage.read(SELLER, export_wh=5_000)
    stage.read(BUYER, import_wh=5_000)
    figures["a part is confirmed, the first of all"] = gas(stage.market(CONTROLLER, "confirmDelivery", 1, 500))
    figures["a part is confirmed"] = gas(stage.market(CONTROLLER, "confirmDelivery", 1, 500))
    figures["the rest is confirmed"] = gas(stage.market(CONTROLLER, "confirmDelivery", 1, 1_000))
    figures["what is not sold is taken back"] = gas(stage.market(SELLER, "withdrawAdvert", stage.ledger.time_s))
    stage.wait(DAY_S)
    for trader in (SELLER, BUYER):
        stage.read(trader)
    figures["a trade is settled"] = gas(stage.market(STRANGER, "settle", 2))
    figures["an account is paid out, a part of it"] = gas(stage.market(SELLER, "withdraw", TREASURY, 1))
    return figures | {"the worst delivery: 32 adverts and 64 purchases open on the two meters": _measure_worst()}


def _measure_worst() -> int:
    """All others overlap with the one that is delivered, so that each of them changes."""
    stage = Stage(MarketRules(tax_bps=1_000))
    for _ in range(32):
        stage.wait(1)
        stage.read(SELLER, export_wh=1)
        stage.read(BUYER, import_wh=1)
        time_s = stage.advertise(2_000, PRICE)
        stage.buy(1_000, time_s, PRICE)
        stage.buy(1_000, time_s, PRICE)
    stage.read(SELLER, export_wh=1_000)
    stage.read(BUYER, import_wh=1_000)
    result = stage.market(CONTROLLER, "confirmDelivery", 63, 1_000)
    assert result.success
    return result.gas_used


def test_the_document_states_the_measured_gas() -> None:
    figures = _measure()
    rows = re.findall(r"^\| ([^|]+?) \| ([\d,]+) \|$", DOCUMENT.read_text(), re.MULTILINE)
    assert {name: int(gas.replace(",", "")) for name, gas in rows} == figures
    assert max(figures.values()) < WORST_LIMIT
