"""Asks a node all that a decision rests on. What it answers is bounded and checked; it may be wrong, but it cannot make
the agent do what the limits forbid, nor endless work.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from contracts.auction import CLEARING_LEAD_S, MAX_LENGTH_S, MIN_LENGTH_S, REVEAL_S
from contracts.market import MAX_DELIVERY_S, MAX_PAGE, MAX_PENALTY_BPS, MAX_TAX_BPS, MIN_DELIVERY_S
from contracts.roles import Role
from meter.agent.chores import is_finished
from meter.agent.dealings import Dealings, OwnOrder, dealings_of
from meter.agent.history import LedgerHistory
from meter.agent.own_events import OwnEvents
from meter.agent.situation import AuctionView, MarketView, Situation, SlotView
from primitives.errors import InvalidAbi, UserError
from primitives.hexadecimal import to_checksum_address
from wallet.answers import BlockSummary
from wallet.auction import AUCTION, SLOT_MARGIN_S, Book, Slot, read_book, read_slot
from wallet.client import InvalidAnswer, NodeUnreachable, RpcClient, RpcError
from wallet.contract_call import ask, ask_one
from wallet.market import MARKET, Advert, advert_of
from wallet.meter_contract import METER, read_zone_s
from wallet.quantities import format_time
from wallet.registry import REGISTRY, read_meter
from wallet.sealed_orders import SealedOrder, SealedOrders

MAX_ADVERT_PAGES = 32
"""The newest 2,048 adverts: a store of 1000 kWh with adverts of 1 kWh has at most 1,000 that can be bought from."""
MAX_OFFERS = 256
"""The cheapest ones are looked at one by one."""
BOOKS_AHEAD = 3
"""Orders are given for so many slots to come: one of them is open whenever the agent looks."""
MAX_SLOTS_READ = 8
"""Slots with unfinished orders that are read in one go; each may have 800 orders. The others have their turn next."""
SECRETS_KEPT_S = 7_200
MAX_ZONE_S = 14 * 3_600
MAX_HEAD_AGE_S = 3_600
"""Blocks come at least once a minute."""
MAX_HEAD_AHEAD_S = 300
"""Blocks are made by the clocks of others. Of a node that knows a later time, orders would seem to be over."""


class Asker:
    """Of one account and its meter; keeps what cannot change any more."""

    def __init__(self, account: bytes, meter: bytes, beside: Path, confirmations: int) -> None:
        """Secrets of sealed orders are in a folder beside a file or folder, `beside`."""
        self.account, self.meter = account, meter
        self.secrets = SealedOrders(beside)
        self._history = LedgerHistory(meter)
        self._events = OwnEvents(account, confirmations)
        self._finished: set[int] = set()
        self._cleared: dict[int, Slot] = {}
        self._proven: set[tuple[bytes, int]] = set()
        self._looked_at: dict[int, int] = {}
        self._rounds = 0

    async def situation(self, client: RpcClient, time_s: int) -> Situation:
        """As of now, `time_s` by our clock. Raises UserError, InvalidAnswer."""
        try:
            return await self._situation(client, time_s)
        except (ValueError, LookupError, ArithmeticError, InvalidAbi) as error:
            raise InvalidAnswer(f"the node's answers make no sense: {error!r}") from error

    async def _situation(self, client: RpcClient, time_s: int) -> Situation:
        head = await client.block("latest")
        if head is None:
            raise InvalidAnswer("the node has no newest block")
        if time_s > head.time_s + MAX_HEAD_AGE_S:
            raise UserError(
                f"The node's newest block is of {format_time(head.time_s)}: it is not up to date, or this computer's "
                "clock is wrong."
            )
        if head.time_s > time_s + MAX_HEAD_AHEAD_S:
            raise UserError(
                f"The node's newest block is of {format_time(head.time_s)}, later than this computer's clock, "
                f"{format_time(time_s)}: one of the two is wrong. Set the clock, or name another node."
            )
        # A clock that is behind must not make old times of new ones.
        now_s = max(head.time_s, time_s)
        record = await read_meter(client, self.meter)
        trouble = ""
        if record.owner != self.account or not record.is_active:
            why = "does not belong to this account" if record.owner != self.account else "is not in service"
            trouble = f"The meter {to_checksum_address(self.meter)} {why}, so there is nothing to trade with."
        zone_s = await read_zone_s(client, record.supplier, now_s)
        reading_time_s = (await ask_one(client, METER, "lastReading", [self.meter]))[1]
        _require("time zone", zone_s, -MAX_ZONE_S, MAX_ZONE_S)
        _require("time of a reading", reading_time_s, 0, now_s + MAX_HEAD_AGE_S)
        dealings = dealings_of(self.account, await self._events.read(client, head))
        secrets = self._secrets(await self._seals(client, dealings, now_s))
        dealings = _with_terms(dealings, secrets)
        return Situation(
            time_s=now_s,
            zone_s=zone_s,
            account=self.account,
            role=Role(await ask_one(client, REGISTRY, "roleOf", [self.account])),
            balance_wei=await client.balance(self.account),
            meter=self.meter,
            reading_time_s=reading_time_s,
            history=await self._history.read(client, reading_time_s, zone_s),
            dealings=dealings,
            market=await self._market(client, head, dealings),
            auction=await self._auction(client, now_s, dealings, secrets),
            meter_trouble=trouble,
            known_since_s=self._events.known_since_s,
            own_time_s=time_s,
        )

    async def _market(self, client: RpcClient, head: BlockSummary, dealings: Dealings) -> MarketView | None:
        block = head.number
        if not await client.code(MARKET.address, block):
            return None
        _, penalty_bps, delivery_s, least_wh, most_wh = await ask_one(client, MARKET, "rules", block=block)
        _require("deposit", penalty_bps, 0, MAX_PENALTY_BPS)
        _require("time for delivery", delivery_s, MIN_DELIVERY_S, MAX_DELIVERY_S)
        adverts, left_out = await _newest_adverts(client, block)
        live = [one for one in adverts if one.is_live(head.time_s) and one.producer != self.account]
        live.sort(key=lambda one: (one.price_at(head.time_s), one.number))
        shown = {}
        for trade in (*dealings.open_trades(sales=True), *dealings.open_trades(sales=False)):
            shown[trade.number] = await ask(client, MARKET, "shownOf", [trade.number], block)
        return MarketView(
            least_wh=least_wh,
            room_wh=max(0, most_wh - await ask_one(client, MARKET, "storedWh", block=block)),
            penalty_bps=penalty_bps,
            delivery_s=delivery_s,
            meter=await ask_one(client, MARKET, "meterOfParticipant", [self.account], block),
            account_wei=await ask_one(client, MARKET, "accountOf", [self.account], block),
            offers=tuple(live[:MAX_OFFERS]),
            left_out=left_out + max(0, len(live) - MAX_OFFERS),
            ended_wh=sum([one.unsold_wh for one in adverts if one.until_s <= head.time_s]),
            shown={number: (exported, imported) for number, (exported, imported) in shown.items()},
            sells_until_s=await ask_one(client, MARKET, "exportSoldUntil", [self.meter], block),
        )

    async def _auction(
        self, client: RpcClient, time_s: int, dealings: Dealings, secrets: dict[int, SealedOrder]
    ) -> AuctionView | None:
        if not await client.code(AUCTION.address):
            return None
        return AuctionView(
            account_wei=await ask_one(client, AUCTION, "accountOf", [self.account]),
            next_books=await _next_books(client, time_s),
            unfinished=await self._unfinished(client, time_s, dealings),
            secrets=secrets,
            sells_until_s=await ask_one(client, AUCTION, "exportSoldUntil", [self.meter]),
        )

    async def _unfinished(self, client: RpcClient, time_s: int, dealings: Dealings) -> tuple[SlotView, ...]:
        """Slots whose book is complete; those that were looked at longest ago have their turn."""
        self._rounds += 1
        self._finished &= {one.slot_s for one in dealings.orders}
        waiting = [one for one in dealings.orders if one.slot_s not in self._finished]
        complete = [one for one in waiting if time_s >= one.slot_s - CLEARING_LEAD_S]
        complete.sort(key=lambda one: (self._looked_at.get(one.slot_s, 0), one.slot_s))
        views = []
        for own in complete[:MAX_SLOTS_READ]:
            self._looked_at[own.slot_s] = self._rounds
            view = await self._slot_view(client, own, time_s)
            if is_finished(view, own, time_s):
                self._finished.add(own.slot_s)
                self._cleared.pop(own.slot_s, None)
                self._looked_at.pop(own.slot_s, None)
                book = view.slot.book
                self._proven = {key for key in self._proven if key[1] not in (book.slot_s, book.end_s)}
            else:
                views.append(view)
        return tuple(sorted(views, key=lambda one: one.slot.book.slot_s))

    async def _slot_view(self, client: RpcClient, own: OwnOrder, time_s: int) -> SlotView:
        slot = self._cleared.get(own.slot_s) or await read_slot(client, own.slot_s)
        order = slot.order(own.side, own.number)
        if order.account != self.account or not MIN_LENGTH_S <= slot.book.length_s <= MAX_LENGTH_S:
            raise InvalidAnswer(
                f"the auction's contract has other orders for the slot {own.slot_s} than its events say"
            )
        if slot.book.is_cleared:
            self._cleared[own.slot_s] = slot
        for trade in slot.trades() if slot.book.is_cleared and time_s >= slot.book.end_s else ():
            sides = [one for one in slot.orders if one.number == (trade.ask if one.side else trade.bid)]
            if order not in sides:
                continue
            for key in [(one.meter, at_s) for one in sides for at_s in (slot.book.slot_s, slot.book.end_s)]:
                if key not in self._proven and (await ask_one(client, AUCTION, "registersAt", key))[2]:
                    self._proven.add(key)
        return SlotView(slot, frozenset([key for key in self._proven if key[1] in (slot.book.slot_s, slot.book.end_s)]))

    async def _seals(self, client: RpcClient, dealings: Dealings, time_s: int) -> dict[int, bytes]:
        """The commitments of own orders that are sealed."""
        sealed = [one.slot_s for one in dealings.orders if one.is_sealed and time_s < one.slot_s + SECRETS_KEPT_S]
        return {slot_s: (await ask_one(client, AUCTION, "sealOf", [slot_s, self.account]))[0] for slot_s in sealed}

    def _secrets(self, seals: dict[int, bytes]) -> dict[int, SealedOrder]:
        found = {}
        for slot_s, commitment in seals.items():
            try:
                found[slot_s] = self.secrets.find(slot_s, self.account, commitment)
            except UserError:
                continue  # said where it would be needed
        return found


async def _newest_adverts(client: RpcClient, block: int) -> tuple[list[Advert], int]:
    """Those that may have energy for sale, from the newest back, and how many were not looked at."""
    first_live = await ask_one(client, MARKET, "firstLive", block=block)
    last = await ask_one(client, MARKET, "advertCount", block=block)
    found: list[Advert] = []
    for _ in range(MAX_ADVERT_PAGES):
        first = max(first_live, last - MAX_PAGE + 1)
        if first > last:
            break
        page: Sequence[Any] = await ask_one(client, MARKET, "adverts", [first, last - first + 1], block)
        if len(page) != last - first + 1:
            raise InvalidAnswer("the market's contract lists other adverts than were asked for")
        found += [advert_of(number, values) for number, values in enumerate(page, first)]
        last = first - 1
    return found, max(0, last - first_live + 1)


async def _next_books(client: RpcClient, time_s: int) -> tuple[Book, ...]:
    length_s, is_sealed, _ = await ask_one(client, AUCTION, "rulesAt", [time_s])
    _require("length of a slot", length_s, MIN_LENGTH_S, MAX_LENGTH_S)
    earliest_s = time_s + CLEARING_LEAD_S + (REVEAL_S if is_sealed else 0) + SLOT_MARGIN_S
    first_s = -(-earliest_s // length_s) * length_s
    books = []
    for number in range(BOOKS_AHEAD):
        try:
            books.append(await read_book(client, first_s + number * length_s))
        except (NodeUnreachable, RpcError):
            raise
        except UserError:
            continue  # from a change of the rules on no slot begins then
    for one in books:
        _require("length of a slot", one.length_s, MIN_LENGTH_S, MAX_LENGTH_S)
        _require("deposit", one.penalty_bps, 0, MAX_PENALTY_BPS)
        _require("tax", one.tax_bps, 0, MAX_TAX_BPS)
    return tuple([one for one in books if one.orders_until_s > time_s + SLOT_MARGIN_S // 2])


def _with_terms(dealings: Dealings, secrets: dict[int, SealedOrder]) -> Dealings:
    """Sealed orders with the terms that only their owner knows, so that they count as what they are."""
    orders = tuple(
        [
            replace(one, energy_wh=secret.energy_wh, price_wei_per_wh=secret.price_wei_per_wh)
            if one.is_sealed and (secret := secrets.get(one.slot_s)) is not None
            else one
            for one in dealings.orders
        ]
    )
    return replace(dealings, orders=orders)


def _require(what: str, value: int, least: int, greatest: int) -> None:
    """What the contracts themselves would not allow is the node's invention."""
    if not least <= value <= greatest:
        raise InvalidAnswer(f"by the node's word a {what} is {value}, which cannot be")
