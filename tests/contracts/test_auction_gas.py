"""What an auction costs: the table of docs/contracts/auction.md, and that the fullest book fits a block."""

import re
from pathlib import Path

import pytest

from contracts.addresses import AUCTION_ADDRESS
from contracts.auction import MAX_ORDERS, Side
from tests.contracts.auction_stage import (
    AUCTION,
    BUYER,
    BUYER_2,
    END,
    SELLER,
    SLOT,
    STRANGER,
    AuctionStage,
    clear_arguments,
    events,
)
from tests.contracts.ledgers import BLOCK_GAS_LIMIT, make_ledger
from wallet.auction_matching import Offer, clear

DOCUMENT = Path(__file__).parents[2] / "docs" / "contracts" / "auction.md"
PRICE = 2 * 10**14


def _full_book(count: int, stage: AuctionStage) -> AuctionStage:
    """So many bids and as many asks, each at its own price, all of which trade; they are in storage at genesis."""
    layout = AUCTION.storage_layout
    counts = dict.fromkeys(("bidCount", "askCount", "openBids", "openAsks"), count)
    slot_key = SLOT.to_bytes(6, "big")
    book = {"lengthS": 900, "penaltyBps": 1_000, **counts}
    slots = layout.assign("_slots", slot_key, value=book)
    for side in Side:
        for number in range(1, count + 1):
            account = bytes([0xB0 + side]) * 18 + number.to_bytes(2, "big")
            price = PRICE + (number * 7919 % 1_000) * (1 if side is Side.BID else -1)
            order = {"account": account, "priceWeiPerWh": price, "energyWh": 1_000, "meter": account, "state": 2}
            slots |= layout.assign("_orders", slot_key, bytes([side]), number.to_bytes(32, "big"), value=order)
    alloc = stage.alloc()
    entry = alloc["0x" + AUCTION_ADDRESS.hex()]["storage"]
    assert isinstance(entry, dict)
    entry.update({hex(slot): hex(value) for slot, value in slots.items()})
    return AuctionStage(ledger=make_ledger(alloc))


def _clearing_gas(count: int) -> int:
    stage = _full_book(count, AuctionStage())
    stage.ledger.time_s = SLOT
    bids, asks = stage.offers(Side.BID), stage.offers(Side.ASK)
    found = clear(bids, asks)
    assert (len(bids), len(asks), found.energy_wh) == (count, count, count * 1_000)
    result = stage.send(STRANGER, "clear", *clear_arguments(found))
    assert len(events(result)) == 2 * count + 1
    return result.gas_used


def _measure() -> dict[str, int]:
    stage = AuctionStage()
    meters = stage.meters
    figures = {}

    def send(name: str, sender: bytes, function: str, *arguments: object, value: int = 0) -> None:
        result = stage.send(sender, function, *arguments, value=value)
        events(result)
        figures[name] = result.gas_used

    send("an order, the first of its slot", BUYER, "placeOrder", SLOT, 0, meters[BUYER], 1, PRICE, value=PRICE)
    send("an order", BUYER_2, "placeOrder", SLOT, 0, meters[BUYER_2], 1_000, PRICE, value=1_000 * PRICE)
    arguments, deposit = (SLOT, 1, meters[SELLER], 1_001, PRICE), stage.needed(Side.ASK, 1_001, PRICE)
    send("an ask, the first of all with its meter", SELLER, "placeOrder", *arguments, value=deposit)
    figures |= {f"a clearing of {count} bids and {count} asks": _clearing_gas(count) for count in (10, 100, MAX_ORDERS)}
    first, second = stage.clear().trades
    stage.ledger.time_s = END + 60
    readings = [stage.measure(SELLER, SLOT - 60), stage.measure(SELLER, SLOT)]
    send("a proof of registers", STRANGER, "proveRegisters", SLOT, *readings)
    readings.append(stage.measure(SELLER, END, export_wh=1_001))
    stage.ok(STRANGER, "proveRegisters", END, *readings[1:])
    for buyer in (BUYER, BUYER_2):
        stage.prove(buyer, import_wh=1_000)
    stage.settle(first)
    send("a trade settled", STRANGER, "settle", SLOT, second.bid, second.ask)
    send("an order released", STRANGER, "release", SLOT, 0, [1])
    return figures


@pytest.fixture(scope="module")
def figures() -> dict[str, int]:
    return _measure()


def test_the_fullest_book_fits_a_third_of_a_block(figures: dict[str, int]) -> None:
    assert figures[f"a clearing of {MAX_ORDERS} bids and {MAX_ORDERS} asks"] < BLOCK_GAS_LIMIT // 3


def test_the_document_states_the_measured_gas(figures: dict[str, int]) -> None:
    rows = re.findall(r"^\| ([^|]+?) \| ([\d,]+) \|$", DOCUMENT.read_text(), re.MULTILINE)
    assert {name: int(gas.replace(",", "")) for name, gas in rows} == figures


def test_a_book_takes_no_more_orders_than_can_be_cleared() -> None:
    stage = _full_book(MAX_ORDERS, AuctionStage())
    got = stage.refused(BUYER, "placeOrder", SLOT, Side.BID, stage.meters[BUYER], 1, PRICE, value=PRICE)
    assert got == f"BookFull({SLOT}, 0, {MAX_ORDERS})"
    assert Offer(1, PRICE + 7919 % 1_000, 1_000) == stage.offers(Side.BID)[0]
