"""The auction as a wallet sees it: the book of a slot, orders, trades and accounts, and its refusals in words.

What happens with them is the contract's to decide (contracts/src/Auction.sol); the matching is in
wallet/auction_matching.py.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from contracts.addresses import AUCTION_ADDRESS
from contracts.auction import OrderState, Pricing, Side, needed_wei
from primitives.errors import UserError
from wallet.auction_matching import Clearing, Offer, Trade, clear, trades_of
from wallet.client import InvalidAnswer, RpcClient
from wallet.contract_call import Contract, ask, ask_one, require_contract
from wallet.contract_commands import ledger_time_s
from wallet.market import MARKET
from wallet.quantities import format_time

SLOT_MARGIN_S = 60
"""A slot whose book is complete sooner than this is not proposed: the order would come too late."""


@dataclass(frozen=True, slots=True)
class Book:
    """A slot and what is known of it. Times are Unix times in s."""

    slot_s: int
    length_s: int
    tax_bps: int
    penalty_bps: int
    bid_count: int
    ask_count: int
    is_sealed: bool
    pricing: Pricing
    is_cleared: bool
    traded_wh: int
    price_wei_per_wh: int
    orders_until_s: int
    book_until_s: int

    @property
    def end_s(self) -> int:
        return self.slot_s + self.length_s

    def needed_wei(self, side: Side, energy_wh: int, price_wei_per_wh: int) -> int:
        return needed_wei(side, energy_wh, price_wei_per_wh, self.tax_bps, self.penalty_bps)


@dataclass(frozen=True, slots=True)
class Order:
    """An order of a book; price and energy are 0 while it is sealed."""

    side: Side
    number: int
    account: bytes
    price_wei_per_wh: int
    energy_wh: int
    meter: bytes
    from_wh: int
    traded_wh: int
    state: OrderState


@dataclass(frozen=True, slots=True)
class Slot:
    """All that the ledger has about a slot."""

    book: Book
    orders: tuple[Order, ...]
    """Bids and then asks, each in their sequence."""

    def side(self, side: Side) -> list[Order]:
        return [one for one in self.orders if one.side is side]

    def order(self, side: Side, number: int) -> Order:
        return self.side(side)[number - 1]

    def clearing(self) -> Clearing:
        """Of the orders whose terms are known."""
        bids, asks = [
            [Offer(one.number, one.price_wei_per_wh, one.energy_wh) for one in self.side(side) if one.energy_wh]
            for side in Side
        ]
        return clear(bids, asks)

    def trades(self) -> list[Trade]:
        bids, asks = [[(one.number, one.from_wh, one.traded_wh) for one in self.side(side)] for side in Side]
        return trades_of(bids, asks)


async def next_slot(client: RpcClient) -> int:
    """The first slot for which an order can still come in time. Raises UserError where there is no auction."""
    await require_contract(client, AUCTION)
    time_s = await ledger_time_s(client)
    length_s, is_sealed, _ = await ask_one(client, AUCTION, "rulesAt", [time_s])
    lead_s = await ask_one(client, AUCTION, "CLEARING_LEAD_S")
    if is_sealed:
        lead_s += await ask_one(client, AUCTION, "REVEAL_S")
    earliest_s = time_s + lead_s + SLOT_MARGIN_S
    return int(-(-earliest_s // length_s) * length_s)


async def read_book(client: RpcClient, slot_s: int) -> Book:
    """Raises UserError where there is no auction, or no slot begins then."""
    await require_contract(client, AUCTION)
    fields = await ask_one(client, AUCTION, "slotOf", [slot_s])
    length_s, tax_bps, penalty_bps, bids, asks, _, _, is_sealed, pricing, is_cleared, traded_wh, price = fields
    if not length_s:
        raise InvalidAnswer(f"{AUCTION.title} says that a slot takes no time")
    if slot_s % length_s:
        raise UserError(
            f"No slot begins at {format_time(slot_s)}; the one before begins at "
            f"{format_time(slot_s // length_s * length_s)}."
        )
    orders_until_s, book_until_s, _, _ = await ask(client, AUCTION, "timesOf", [slot_s])
    return Book(
        slot_s, length_s, tax_bps, penalty_bps, bids, asks, is_sealed, Pricing(pricing), is_cleared, traded_wh, price,
        orders_until_s, book_until_s,
    )  # fmt: skip


async def read_slot(client: RpcClient, slot_s: int) -> Slot:
    """Raises UserError as `read_book` does."""
    book = await read_book(client, slot_s)
    orders = []
    for side in Side:
        listed: Sequence[Any] = await ask_one(client, AUCTION, "ordersOf", [slot_s, side])
        for number, (account, price, energy_wh, meter, from_wh, traded_wh, state) in enumerate(listed, start=1):
            orders.append(Order(side, number, account, price, energy_wh, meter, from_wh, traded_wh, OrderState(state)))
    return Slot(book, tuple(orders))


async def meter_of(client: RpcClient, account: bytes) -> bytes:
    """The meter that somebody trades with on the market. Raises UserError where none is named."""
    meter = await ask_one(client, MARKET, "meterOfParticipant", [account])
    if not any(meter):
        raise UserError("Say with which of your meters you trade: --meter, or once for all `wattchain market meter`.")
    return bytes(meter)


def _side_is_full(values: Mapping[str, Any]) -> str:
    what = "bids" if values["side"] == Side.BID else "asks"
    return f"The slot has {{maximum}} {what} already, the most that it takes. Choose another one."


SIDES = {Side.BID: "bid", Side.ASK: "ask"}

AUCTION = Contract(
    name="Auction",
    address=AUCTION_ADDRESS,
    title="the auction's contract",
    missing="This network has no auction: its genesis file lacks the contract.",
    words={"side": {int(side): word for side, word in SIDES.items()}},
    refusals={
        "NotConsumer": (
            "{caller} is not a consumer, so it cannot bid. A regulator makes it one with `wattchain registry add "
            "consumer {caller}`."
        ),
        "NotProducer": (
            "{caller} is not a producer, so it cannot ask. A regulator makes it one with `wattchain registry add "
            "producer {caller}`."
        ),
        "NotRegulator": "{caller} is not a regulator; only regulators set the auction's rules.",
        "NotMeterOwner": "The meter {meter} does not belong to {caller}.",
        "MeterInactive": "The meter {meter} is not in service: it was removed, or swapped for another.",
        "MeterSellsOnMarket": (
            "What the meter {meter} exports is for sale on the market, or sold there and not settled. Take the advert "
            "back with `wattchain market withdraw`, or settle the trade when its time is over with `wattchain market "
            "settle`."
        ),
        "SlotInvalid": "No slot begins then: slots of that time are {lengthS} long.",
        "SlotTooFar": "That slot is too far away: orders are taken a day ahead, now for slots until {latest}.",
        "OrdersOver": "Orders for that slot were taken until {until}. Choose a later one.",
        "BookFull": _side_is_full,
        "AlreadyOrdered": "{account} has an order for that slot already: the {side} number {number}.",
        "EnergyInvalid": "An order must be for more than nothing and at most {maximumWh}; this is {energyWh}.",
        "PriceZero": "A price must be above 0.",
        "PaymentInvalid": "The order needs {neededWei}; {paidWei} came with it.",
        "SlotIsSealed": "Orders for that slot are sealed: their terms must stay hidden until the bidding is over.",
        "SlotIsOpen": "Orders for that slot are open; they are not sealed.",
        "DepositInvalid": (
            "With a sealed order {minimumWei} to {maximumWei} have to come, and at least what it needs; these are "
            "{depositWei}."
        ),
        "CommitmentZero": "The sealed order has no commitment.",
        "NothingSealed": "{account} has no sealed order for that slot that could be revealed.",
        "RevealTooSoon": "The bidding is not over: reveal from {from} on.",
        "RevealOver": "Orders of that slot were to be revealed until {until}; this one takes no part any more.",
        "CommitmentDiffers": "This is not what {account} has sealed: energy, price or secret number are others.",
        "BookNotComplete": "The slot can be cleared from {until} on, when its book is complete.",
        "ClearingOver": (
            "The slot could be cleared until {until}. Nothing is traded in it; its money is free with `wattchain "
            "market auction release`."
        ),
        "AlreadyCleared": "The slot is cleared already; `wattchain market result` shows how.",
        "NotCleared": "The slot is not cleared, so nothing is traded in it.",
        "SlotUnknown": "There is no order for that slot.",
        "ClearingIncomplete": "All {needed} orders of the side ({side}) must be in the clearing; it has {given}.",
        "OrderNotOpen": "The {side} number {number} does not exist, or was not revealed.",
        "ClearingOutOfOrder": "The {side} number {nextNumber} must not come after number {number}.",
        "ClearingWrong": ("The book gives {tradedWh} at {priceWeiPerWh}, not {givenWh} at {givenPriceWeiPerWh}."),
        "TooManyNumbers": "At most {maximum} orders at once are possible, not {given}.",
        "NothingToRelease": "No money of the {side} number {number} is free: not yet, or it was released already.",
        "NoTrade": "The bid {bidNumber} and the ask {askNumber} do not trade with each other in that slot.",
        "AlreadySettled": "The trade of the bid {bidNumber} with the ask {askNumber} is settled already.",
        "DeliveryNotOver": "The energy of that slot may be delivered until {until}; settle it after that.",
        "RegistersAwaited": (
            "What the meter {meter} showed from {from} to {until} is not proven (`wattchain market auction prove`); "
            "that is waited for until {awaitedUntil} at most."
        ),
        "ReadingsNotSuccessive": (
            "The readings {sequence} and {laterSequence} of the meter {meter} do not follow each other."
        ),
        "TimeNotBetween": "The readings of {earlierTime} and {laterTime} do not have {time} between them.",
        "ReadingsTooFarApart": (
            "The meter {meter} has no reading between {earlierTime} and {laterTime}; at most {maximumS} may lie "
            "between two readings."
        ),
        "ReadingNotAccepted": (
            "The reading {sequence} of the meter {meter} is not on the ledger; its last one there is {lastSequence}."
        ),
        "SignatureInvalid": "A reading was not signed by the meter {meter} itself.",
        "SlotLengthInvalid": (
            "A slot must be from {minimumS} to {maximumS} long, and an hour a whole number of them; {lengthS} is not."
        ),
        "RulesPending": "Other rules were announced that hold from {from} on; new ones can be announced after that.",
        "AmountZero": "Nothing is too little: give an amount above 0.",
        "AccountTooSmall": "{account} has {accountWei} on the auction, less than {amountWei}.",
        "WithdrawalFailed": "{to} does not take money: it is a contract that refused {amountWei}.",
    },
)
