"""`wattchain market bid, ask, reveal, clear, result` and `auction`: each command as a person runs it, against a real
gateway over a ledger in memory."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import pytest

from contracts.auction import AuctionRules, Pricing
from contracts.market import MarketRules
from primitives.hexadecimal import to_checksum_address
from tests.contracts.auction_stage import BUYER, BUYER_2, REGULATOR, SELLER, STRANGER, TREASURY
from tests.contracts.neighbourhood import key_of
from tests.wallet.auction_ledger import AuctionLedger
from tests.wallet.command_stage import Person, serve_ledger
from tests.wallet.refusal_checks import check_refusals
from wallet.auction import AUCTION
from wallet.market_commands import market

NAMES = ("regulator", "seller 0", "buyer 0", "buyer 1", "treasury", "stranger")
KEYS = [key_of(name) for name in NAMES]
PRICE = 2 * 10**14  # 0.2 WATT a kWh
TAX = MarketRules(tax_bps=1_000)


def shown(address: bytes) -> str:
    return to_checksum_address(address)


class Trader(Person):
    """With the key files of all roles."""

    ledger: AuctionLedger

    def do(self, who: bytes, *arguments: str) -> Any:
        return self.json(*arguments, "--yes", *self.key(who))

    def refused(self, who: bytes, *arguments: str) -> str:
        return self.error(*arguments, "--yes", *self.key(who))

    def until(self, time_s: int) -> None:
        self.ledger.clock.advance_s(time_s - self.ledger.clock.time_s())
        self.on_the_ledger(self.ledger.choose_meter(BUYER, "buyer 0"))  # any transaction: a block of that time

    def measure(self, who: bytes, time_s: int, import_wh: int = 0, export_wh: int = 0) -> None:
        self.on_the_ledger(self.ledger.measure(who, time_s, import_wh, export_wh))


@contextmanager
def neighbours(tmp_path: Path, rules: AuctionRules | None = None) -> Iterator[Trader]:
    ledger = AuctionLedger(rules, TAX)
    with serve_ledger(ledger) as (loop, url):
        person = Trader(market, tmp_path, ledger, loop, url, KEYS)
        for who, name in ((SELLER, "seller 0"), (BUYER, "buyer 0")):
            person.on_the_ledger(ledger.choose_meter(who, name))
        yield person


@pytest.fixture
def mine(tmp_path: Path) -> Iterator[Trader]:
    with neighbours(tmp_path) as person:
        yield person


def test_every_error_of_the_contract_is_said_in_words() -> None:
    check_refusals(AUCTION)


def test_every_command_says_what_it_is_for() -> None:
    assert {"bid", "ask", "reveal", "clear", "result", "auction"} <= set(market.commands)
    nested = market.commands["auction"]
    assert isinstance(nested, click.Group)
    assert set(nested.commands) == {"prove", "settle", "release", "account", "payout", "rules", "set-rules"}


def test_a_slot_from_its_orders_to_the_money(mine: Trader) -> None:
    bought = mine.do(BUYER, "bid", "2kWh", "--max-price", "0.25")
    slot = bought["slot"]
    assert bought["number"] == 1
    assert bought["held_wei"] == str(2_000 * PRICE * 5 // 4 * 11 // 10)
    meter_2 = shown(mine.ledger.devices[BUYER_2].address)
    mine.do(BUYER_2, "bid", "1kWh", "--max-price", "0.15", "--slot", f"@{slot}", "--meter", meter_2)
    sold = mine.do(SELLER, "ask", "1.5", "--min-price", "0.2", "--slot", f"@{slot}")
    assert (sold["side"], sold["energy_wh"], sold["sealed"]) == ("ask", 1_500, False)
    assert "Orders are taken until" in mine.ok("result", f"@{slot}")
    early = mine.refused(STRANGER, "clear", f"@{slot}")
    assert early.startswith("The slot can be cleared from")
    mine.until(slot - 600)
    assert "it can be cleared" in mine.ok("result", f"@{slot}")
    cleared = mine.do(STRANGER, "clear", f"@{slot}")
    assert (cleared["traded_wh"], cleared["price_wei_per_wh"]) == (1_500, str(PRICE * 5 // 4))
    text = mine.ok("result", f"@{slot}")
    assert "Cleared: 1.5 kWh are traded at 0.25 WATT a kWh." in text
    assert "trade  1.5 kWh of ask 1 to bid 1" in text
    found = mine.json("result", f"@{slot}")
    assert found["trades"] == [{"bid": 1, "ask": 1, "from_wh": 0, "energy_wh": 1_500}]
    assert [one["traded_wh"] for one in found["orders"]] == [1_500, 0, 1_500]
    _deliver(mine, slot)
    settled = mine.do(STRANGER, "auction", "settle", f"@{slot}", "1", "1")
    assert (settled["delivered_wh"], settled["returned_wh"], settled["missing_wh"]) == (1_200, 0, 300)
    again = mine.refused(STRANGER, "auction", "settle", f"@{slot}", "1", "1")
    assert again == "The trade of the bid 1 with the ask 1 is settled already."
    released = mine.do(STRANGER, "auction", "release", f"@{slot}", "bid")
    assert released["numbers"] == [1, 2]
    assert mine.error("auction", "release", f"@{slot}", "bid", "--yes", *mine.key(STRANGER)) == (
        "No money of a bid of that slot is left to be released."
    )
    share = 1_200 * PRICE * 5 // 4
    assert mine.json("auction", "account", shown(TREASURY))["account_wei"] == str(share // 10)
    paid = mine.do(SELLER, "auction", "payout")
    assert paid["amount_wei"] == str(share + 1_200 * PRICE // 10)
    assert "has nothing to take from" in mine.refused(SELLER, "auction", "payout", "1")


def _deliver(mine: Trader, slot: int) -> None:
    """1.2 kWh are sent, and 1.3 taken; each end of the slot is proven for both, between readings off the quarter."""
    mine.until(slot + 1_000)
    awaited = mine.refused(STRANGER, "auction", "settle", f"@{slot}", "1", "1")
    assert awaited.startswith(f"What the meter {shown(mine.ledger.devices[SELLER].address)} showed from")
    for who, import_wh, export_wh in ((SELLER, 0, 1_200), (BUYER, 1_300, 0)):
        meter = shown(mine.ledger.devices[who].address)
        assert "no reading of the meter" in mine.refused(STRANGER, "auction", "prove", f"@{slot}", meter)
        mine.measure(who, slot - 100)
        mine.measure(who, slot + 1)
        assert "after" in mine.refused(STRANGER, "auction", "prove", f"@{slot}", meter, "--end")
        mine.measure(who, slot + 899, import_wh, export_wh)
        mine.measure(who, slot + 950)
        begun = mine.do(STRANGER, "auction", "prove", f"@{slot}", meter)
        ended = mine.do(STRANGER, "auction", "prove", f"@{slot}", meter, "--end")
        assert (begun["import_wh"], begun["export_wh"]) == (0, 0)
        assert (ended["import_wh"], ended["export_wh"]) == (import_wh, export_wh)
        assert mine.refused(STRANGER, "auction", "prove", f"@{slot}", meter).startswith("That is proven already")


def test_a_sealed_order_is_kept_and_revealed(tmp_path: Path) -> None:
    with neighbours(tmp_path, AuctionRules(is_sealed=True, pricing=Pricing.PAY_AS_BID)) as mine:
        bought = mine.do(BUYER, "bid", "2kWh", "--max-price", "0.25", "--cover", "5")
        slot = bought["slot"]
        assert (bought["sealed"], bought["held_wei"]) == (True, str(5 * 10**18))
        (kept,) = (tmp_path / "sealed-orders").iterdir()
        assert kept.stat().st_mode & 0o077 == 0
        mine.do(SELLER, "ask", "1", "--min-price", "0.2", "--slot", f"@{slot}")
        hidden = mine.json("result", f"@{slot}")
        assert {one["energy_wh"] for one in hidden["orders"]} == {None}
        assert mine.refused(BUYER, "reveal", f"@{slot}").startswith("The bidding is not over: reveal from")
        mine.until(bought["reveal_from"])
        assert "Sealed orders are to be revealed until" in mine.ok("result", f"@{slot}")
        revealed = mine.do(BUYER, "reveal", f"@{slot}")
        assert revealed["refund_wei"] == str(5 * 10**18 - 2_000 * PRICE * 5 // 4 * 11 // 10)
        assert "has no sealed order" in mine.refused(BUYER, "reveal", f"@{slot}")
        mine.do(SELLER, "reveal", f"@{slot}")
        mine.until(slot - 900)
        assert mine.do(STRANGER, "clear", f"@{slot}")["traded_wh"] == 1_000


def test_a_sealed_order_whose_secret_is_gone(tmp_path: Path) -> None:
    with neighbours(tmp_path, AuctionRules(is_sealed=True)) as mine:
        bought = mine.do(BUYER, "bid", "2kWh", "--max-price", "0.25")
        (kept,) = (tmp_path / "sealed-orders").iterdir()
        text = kept.read_text()
        mine.until(bought["reveal_from"])
        for wrong, why in (
            ("{", "cannot be read"),
            ("[]", "cannot be read"),
            ("x" * 5_000, "is no sealed order"),
            (text.replace("2000", "2001"), "is not what was sealed"),
            (text.replace("2000", "0"), "cannot be read"),
        ):
            kept.write_text(wrong)
            assert why in mine.refused(BUYER, "reveal", f"@{bought['slot']}")
        kept.unlink()
        assert "The secret of this order is not here" in mine.refused(BUYER, "reveal", f"@{bought['slot']}")


def test_orders_that_cannot_be(mine: Trader) -> None:
    slot = mine.json("result")["slot"]
    assert mine.refused(SELLER, "bid", "1", "--max-price", "1").startswith(f"{shown(SELLER)} is not a consumer")
    assert mine.refused(BUYER, "ask", "1", "--min-price", "1").startswith(f"{shown(BUYER)} is not a producer")
    assert mine.refused(BUYER_2, "bid", "1", "--max-price", "1").startswith("Say with which of your meters")
    assert mine.refused(BUYER, "bid", "1", "--max-price", "1", "--cover", "2").startswith(
        "Orders of this slot are open"
    )
    assert mine.refused(BUYER, "bid", "1", "--max-price", "1", "--slot", f"@{slot + 1}").startswith("No slot begins at")
    assert "orders are taken a day ahead" in mine.refused(
        BUYER, "bid", "1", "--max-price", "1", "--slot", f"@{slot + 90_000}"
    )
    mine.do(BUYER, "bid", "1", "--max-price", "1", "--slot", f"@{slot}")
    twice = mine.refused(BUYER, "bid", "1", "--max-price", "1", "--slot", f"@{slot}")
    assert twice == f"{shown(BUYER)} has an order for that slot already: the bid number 1."
    assert mine.refused(BUYER, "reveal", f"@{slot}").endswith(
        "has no sealed order for that slot that could be revealed."
    )


def test_a_regulator_sets_the_rules(mine: Trader) -> None:
    assert mine.json("auction", "rules") == {"length_s": 900, "sealed": False, "pricing": "pay-as-clear", "next": None}
    assert mine.refused(BUYER, "auction", "set-rules", "--sealed").startswith(f"{shown(BUYER)} is not a regulator")
    assert "7 minutes is not" in mine.refused(REGULATOR, "auction", "set-rules", "--length", "7min")
    told = mine.do(REGULATOR, "auction", "set-rules", "--length", "30min", "--sealed", "--pricing", "pay-as-bid")
    following = {"length_s": 1_800, "sealed": True, "pricing": "pay-as-bid", "from": told["from"]}
    assert mine.json("auction", "rules")["next"] == following
    assert "slots of 30 minutes, sealed orders, each buyer pays its bid" in mine.ok("auction", "rules")
