"""`wattchain market`: each command as a person runs it, against a real gateway over a ledger in memory."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from contracts.market import MarketRules
from primitives.hexadecimal import to_checksum_address
from tests.contracts.market_stage import BUYER, CONTROLLER, REGULATOR, SELLER, STRANGER, TREASURY
from tests.contracts.neighbourhood import key_of
from tests.wallet.command_stage import Person, serve_ledger
from tests.wallet.market_ledger import MarketLedger
from tests.wallet.refusal_checks import check_refusals
from wallet.market import MARKET, percent
from wallet.market_commands import market

KEYS = [key_of(name) for name in ("regulator", "seller", "buyer", "controller", "treasury", "stranger")]
WATT = 10**18
PRICE = WATT // 5_000  # 0.2 WATT a kWh


def shown(address: bytes) -> str:
    return to_checksum_address(address)


class Trader(Person):
    """With the key files of all roles."""

    ledger: MarketLedger

    def do(self, who: bytes, *arguments: str) -> Any:
        return self.json(*arguments, "--yes", *self.key(who))

    def refused(self, who: bytes, *arguments: str) -> str:
        return self.error(*arguments, "--yes", *self.key(who))

    def read(self, who: bytes, import_wh: int = 0, export_wh: int = 0) -> None:
        self.on_the_ledger(self.ledger.measure(who, import_wh, export_wh))

    def wait(self, seconds: int) -> None:
        self.ledger.clock.advance_s(seconds)


@pytest.fixture
def mine(tmp_path: Path) -> Iterator[Trader]:
    ledger = MarketLedger(MarketRules(tax_bps=1_000))
    with serve_ledger(ledger) as (loop, url):
        person = Trader(market, tmp_path, ledger, loop, url, KEYS)
        for who in (SELLER, BUYER):
            person.read(who)
            person.do(who, "meter", shown(ledger.devices[who].address))
        yield person


def test_every_error_of_the_contract_is_said_in_words() -> None:
    check_refusals(MARKET)


def test_percentages_are_written_as_people_do() -> None:
    assert [percent(bps) for bps in (0, 5, 50, 500, 725, 10_000)] == [
        "0 %",
        "0.05 %",
        "0.5 %",
        "5 %",
        "7.25 %",
        "100 %",
    ]


def test_energy_is_offered_bought_delivered_and_paid(mine: Trader) -> None:
    offered = mine.run("advertise", "5kWh", "--min-price", "0.2", "--yes", *mine.key(SELLER))
    assert offered.exit_code == 0, offered.output
    assert "Offer   5 kWh" in offered.stderr.splitlines()
    assert "Price   0.2 WATT a kWh, and a tenth of it more every hour" in offered.stderr.splitlines()
    assert "Deposit 0.1 WATT, back with what you deliver" in offered.stderr.splitlines()
    assert "The advert is named by its time: @" in offered.stdout

    listed = mine.json("list")
    (advert,) = listed["adverts"]
    assert (advert["producer"], advert["unsold_wh"], advert["price_wei_per_wh"]) == (shown(SELLER), 5_000, str(PRICE))
    assert (listed["stored_wh"], listed["most_wh"]) == (5_000, 1_000_000)
    text = mine.ok("list")
    assert text.startswith("5 kWh at 0.2 WATT a kWh, and 10 % tax, 0.22 WATT a kWh from ")
    assert text.endswith("The store holds 5 kWh of 1000 kWh.\n")

    bought = mine.do(BUYER, "request", "2kWh", shown(SELLER))
    assert (bought["trade"], bought["share_wei"], bought["tax_wei"]) == (1, str(2_000 * PRICE), str(200 * PRICE))
    again = mine.run(
        "request", "3kWh", shown(SELLER), "--advert", f"@{advert['advert_time']}", "--yes", *mine.key(BUYER)
    )
    assert "Buy     3 kWh of the 3 kWh that are left" in again.stderr.splitlines()
    assert "Sum     0.66 WATT" in again.stderr.splitlines()
    assert "Bought, as trade 2, for 0.66 WATT." in again.stdout
    assert mine.ok("list").startswith("Nothing is offered.")

    assert mine.refused(CONTROLLER, "deliver", "1").startswith("The meters show no energy for the trade 1 yet")
    mine.read(SELLER, export_wh=2_000)
    mine.read(BUYER, import_wh=1_500)
    assert "2 kWh sent, 1.5 kWh taken" in mine.ok("trades")
    assert mine.refused(CONTROLLER, "deliver", "1", "2kWh").startswith(
        "The meters do not show 2 kWh for the trade 1 yet"
    )
    part = mine.do(CONTROLLER, "deliver", "1")
    assert (part["delivered_wh"], part["settled"]) == (1_500, False)
    mine.read(BUYER, import_wh=500)
    whole = mine.run("deliver", "1", "500Wh", "--yes", *mine.key(CONTROLLER))
    assert "0.5 kWh came; the producer has 0.1 WATT for it. The trade is settled." in whole.stdout

    assert [one["trade"] for one in mine.json("trades", shown(SELLER))] == [2]
    assert [one["open"] for one in mine.json("trades", "--all")] == [True, False]
    standing = mine.json("account", shown(SELLER))
    assert (standing["account_wei"], standing["delivered_wh"]) == (str(2_000 * PRICE * 11 // 10), 2_000)
    assert "5 kWh: 2 kWh delivered, 0 kWh returned, 0 kWh sold but not sent" in mine.ok("account", shown(SELLER))
    mine.do(SELLER, "payout", "0.04")
    paid = mine.do(SELLER, "payout", "--to", shown(STRANGER))
    assert paid["amount_wei"] == str(2_000 * PRICE)
    assert "has nothing to take from" in mine.refused(SELLER, "payout", "1")
    assert mine.json("account", shown(TREASURY))["account_wei"] == str(200 * PRICE)


def test_what_does_not_come_is_paid_back_when_the_time_is_over(mine: Trader) -> None:
    mine.do(SELLER, "advertise", "4", "--min-price", "0.2")
    mine.do(BUYER, "request", "4", shown(SELLER))
    assert "settle it after that" in mine.refused(STRANGER, "settle", "1")
    mine.wait(86_400)
    mine.read(BUYER)
    assert "It is waited for until" in mine.refused(STRANGER, "settle", "1")
    mine.read(SELLER, export_wh=1_000)
    mine.read(BUYER, import_wh=4_000)
    settled = mine.run("settle", "1", "--yes", *mine.key(STRANGER))
    assert settled.stdout.splitlines()[1] == (
        "1 kWh came; the producer has 0.2 WATT for it. The trade is settled. 0.66 WATT went back to the buyer, and "
        "0.06 WATT of penalty."
    )
    assert mine.json("account", shown(BUYER))["account_wei"] == str(3_000 * PRICE * 12 // 10)


def test_adverts_are_taken_back_or_end(mine: Trader) -> None:
    first = mine.do(SELLER, "advertise", "5", "--min-price", "0.2")["advert_time"]
    back = mine.do(SELLER, "withdraw", f"@{first}")
    assert (back["energy_wh"], back["deposit_wei"]) == (5_000, str(500 * PRICE))
    assert "has no advert of" in mine.refused(SELLER, "withdraw", f"@{first + 1}")
    mine.do(SELLER, "advertise", "5", "--min-price", "0.2")
    assert mine.do(STRANGER, "return-ended")["adverts"] == 0
    mine.wait(3 * 3_600)
    mine.read(SELLER)
    assert "offers nothing at the moment" in mine.refused(BUYER, "request", "1", shown(SELLER))
    assert mine.do(STRANGER, "return-ended")["energy_wh"] == 5_000


def test_a_price_about_to_rise_is_told_and_paid_only_where_it_rose(mine: Trader) -> None:
    mine.do(SELLER, "advertise", "5", "--min-price", "0.2")
    mine.wait(3_600 - 300)
    mine.read(BUYER)
    bought = mine.run("request", "5", shown(SELLER), "--yes", *mine.key(BUYER))
    assert "Sum     1.1 WATT" in bought.stderr.splitlines()
    assert "Perhaps 1.21 WATT: the price is about to rise; what is not needed comes back" in bought.stderr.splitlines()
    assert "for 1.1 WATT." in bought.stdout


def test_refusals_name_what_to_do(mine: Trader) -> None:
    assert "registry add producer" in mine.refused(BUYER, "advertise", "5", "--min-price", "0.2")
    assert "There is no room for 1000.001 kWh" in mine.refused(SELLER, "advertise", "1000.001", "--min-price", "0.2")
    assert "the least is 1 kWh" in mine.refused(SELLER, "advertise", "0.5", "--min-price", "0.2")
    assert "is no energy" in mine.refused(SELLER, "advertise", "much", "--min-price", "0.2")
    assert "does not belong to" in mine.refused(STRANGER, "meter", shown(mine.ledger.devices[SELLER].address))
    assert "There is no trade 9" in mine.refused(STRANGER, "settle", "9")
    mine.wait(7_200)
    assert "gateway send one first" in mine.refused(SELLER, "advertise", "5", "--min-price", "0.2")


def test_regulators_set_the_rules(mine: Trader) -> None:
    assert mine.json("rules") == {
        "tax_bps": 1_000,
        "penalty_bps": 1_000,
        "delivery_s": 86_400,
        "least_wh": 1_000,
        "most_wh": 1_000_000,
        "grid_controller": shown(CONTROLLER),
        "treasury": shown(TREASURY),
    }
    for rule, value in (
        ("tax", "7.25%"),
        ("penalty", "50"),
        ("delivery-time", "12h"),
        ("least-advert", "500Wh"),
        ("store", "2MWh"),
        ("grid-controller", "nobody"),
    ):
        assert mine.do(REGULATOR, "set", rule, value)["rule"] == rule
    text = mine.ok("rules")
    assert "Tax             7.25 % on top of the producer's share" in text
    assert "Delivery time   12 hours" in text
    assert "Store           2000 kWh" in text
    assert "Grid controller nobody" in text
    assert mine.do(REGULATOR, "set", "treasury", shown(STRANGER))["from"] > 0
    assert "is not a regulator" in mine.refused(SELLER, "set", "tax", "1%")
    assert mine.refused(REGULATOR, "set", "tax", "31%") == "A tax of 31 % is too high; at most 30 % are possible."
    assert "is no percentage" in mine.refused(REGULATOR, "set", "tax", "1.234%")
