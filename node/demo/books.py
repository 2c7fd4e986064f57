"""The demo's books: both sides of everything that must be equal, from the meters' own files and from the ledger.

Each side comes from somewhere else: what meters have read from their outboxes, what was charged from the contracts'
events, what it had to cost from the demo's own reckoning (node/demo/pricing.py), money from accounts and balances.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from contracts.addresses import EXHAUSTION_ADDRESS, MARKET_ADDRESS, PAYMENT_CHANNEL_ADDRESS
from contracts.market import BPS
from node.demo.credit_day import CreditDay
from node.demo.observation import Observer, View
from node.demo.pricing import EXPORT_PRICE_WEI_PER_WH, Taken, cost_wei
from node.demo.screen import BooksEntry
from node.demo.stage import WALLET_WEI, Stage
from primitives.errors import UserError
from wallet.contract_call import Contract
from wallet.credit import EXHAUSTION
from wallet.market import read_adverts, read_standing, read_trades
from wallet.meter_contract import METER

LOG_STEP_BLOCKS = 10
"""A node gives at most 10,000 events at once; in a fast demo a block has hundreds."""
AGREEMENT_TIMEOUT_S = 30.0
"""For the node that was off to catch up, on a slow machine."""


@dataclass(frozen=True, slots=True)
class Bookkeeper:
    """Looks when everything is over."""

    stage: Stage
    observer: Observer
    credit: CreditDay

    async def books(self, received_wei: int, channel_wh: int) -> list[BooksEntry]:
        """All that is compared. `received_wei` is what the supplier has withdrawn."""
        view = await self.observer.look()
        books = [
            BooksEntry(f"{home.name}: energy read = energy charged", "Wh", home.read_wh, home.charged_wh)
            for home in view.households
        ]
        credited_wei = await self._credited_wei(view)
        books += await self._exported(view, channel_wh, credited_wei)
        charged_wei = await self._events("Charged", EXHAUSTION, "costWei", view)
        books += [
            await self._reckoned(view, sum(charged_wei.values())),
            self._supplier(view, sum(charged_wei.values()), sum(credited_wei.values()), received_wei),
            await self._held_for_homes(view),
            *await self._market(view),
            await self._all_money(view),
        ]
        agreeing = await self.observer.nodes_that_have(view.block_number, AGREEMENT_TIMEOUT_S)
        nodes = len(self.stage.nodes)
        books.append(BooksEntry(f"nodes that hold the same block {view.block_number}", "nodes", agreeing, nodes))
        return books

    async def _exported(self, view: View, channel_wh: int, credited_wei: dict[bytes, int]) -> list[BooksEntry]:
        """The supplier credits all that is given; sellers gave back the credit of what they sold."""
        sellers, books = self.stage.sellers, []
        for seller in sellers:
            sold_wh = (await read_standing(self.observer.client, seller.wallet)).delivered_wh
            sold_wh += channel_wh if seller is sellers[0] else 0
            kept_wei = credited_wei[seller.meter] - self.credit.given_back_wei.get(seller.name, 0)
            right = sold_wh + kept_wei // EXPORT_PRICE_WEI_PER_WH
            name = f"{seller.name}: energy given = sold to neighbours + credited by the supplier"
            books.append(BooksEntry(name, "Wh", view.home(seller).exported_wh, right))
        return books

    async def _reckoned(self, view: View, charged_wei: int) -> BooksEntry:
        """What the accepted readings had to cost, by the demo's own reckoning."""
        read: defaultdict[bytes, list[tuple[int, int]]] = defaultdict(list)
        for values in await self._logs("ReadingAccepted", METER, view):
            read[values["meter"]].append((values["time"] - self.credit.day.begin_s, values["importWh"]))
        reckoned_wei = 0
        for readings in read.values():
            before = [0, *[register for _, register in readings]]
            taken = [Taken(second, wh - last) for (second, wh), last in zip(readings, before, strict=False)]
            reckoned_wei += cost_wei(taken)
        return BooksEntry("readings x tariff of four steps = charged", "wei", reckoned_wei, charged_wei)

    def _supplier(self, view: View, charged_wei: int, credited_wei: int, received_wei: int) -> BooksEntry:
        open_wei = sum(home.overdrawn_wei + home.debt_wei for home in view.households)
        owed_wei = sum(home.owed_wei for home in view.households)
        return BooksEntry(
            "charged + paid in = the supplier's money + credited for exports + debt of homes",
            "wei",
            charged_wei + self.credit.deposited_wei,
            received_wei + view.supplier_account_wei + credited_wei - owed_wei + open_wei,
        )

    async def _held_for_homes(self, view: View) -> BooksEntry:
        held_wei = await self.observer.client.balance(EXHAUSTION_ADDRESS, view.block_number)
        credit_wei = sum(home.credit_wei for home in view.households)
        name = "money in Exhaustion = credit of homes + account of the supplier"
        return BooksEntry(name, "wei", held_wei, credit_wei + view.supplier_account_wei)

    async def _market(self, view: View) -> list[BooksEntry]:
        client = self.observer.client
        trades = await read_trades(client)
        people = [*[one.wallet for one in self.stage.households], self.stage.council]
        standings = [await read_standing(client, one) for one in people]
        accounts_wei = sum(one.account_wei for one in standings)
        open_wei = 0
        for trade in trades:
            price, open_wh = trade.price_wei_per_wh, trade.open_wh
            tax_wei = [wh * price * trade.advert.tax_bps // BPS for wh in (trade.energy_wh, trade.delivered_wh)]
            open_wei += open_wh * (price + trade.advert.deposit_wei_per_wh) + tax_wei[0] - tax_wei[1]
        unsold = await self._unsold()
        held_wei = await client.balance(MARKET_ADDRESS, view.block_number)
        advertised = sum(one.advertised_wh for one in standings)
        gone = sum(one.delivered_wh + one.returned_wh + one.missing_wh for one in standings)
        still = sum(trade.open_wh for trade in trades) + sum(wh for wh, _ in unsold)
        return [
            BooksEntry(
                "advertised = delivered + returned + missing + still sold or for sale", "Wh", advertised, gone + still
            ),
            BooksEntry(
                "money in Market = accounts + held for open trades and adverts",
                "wei",
                held_wei,
                accounts_wei + open_wei + sum(wh * deposit for wh, deposit in unsold),
            ),
        ]

    async def _unsold(self) -> list[tuple[int, int]]:
        """(Wh for sale, deposit for each) of all adverts, ended or not, that were not returned."""
        return [(one.unsold_wh, one.deposit_wei_per_wh) for one in await read_adverts(self.observer.client)]

    async def _all_money(self, view: View) -> BooksEntry:
        """Nothing was made, nothing is lost: there are no fees and no rewards."""
        client, block = self.observer.client, view.block_number
        people = [*[one.wallet for one in self.stage.households], self.stage.supplier, self.stage.council]
        wallets = [await client.balance(one, block) for one in people]
        contracts = (EXHAUSTION_ADDRESS, MARKET_ADDRESS, PAYMENT_CHANNEL_ADDRESS)
        held = [await client.balance(one, block) for one in contracts]
        name = "all money at the beginning = wallets + Exhaustion + Market + PaymentChannel"
        return BooksEntry(name, "wei", len(people) * WALLET_WEI, sum(wallets) + sum(held))

    async def _credited_wei(self, view: View) -> dict[bytes, int]:
        """For exports, by meter. An event tells of what was still owed from before once more."""
        found: defaultdict[bytes, int] = defaultdict(int)
        owed: defaultdict[bytes, int] = defaultdict(int)
        for values in await self._logs("ExportCredited", EXHAUSTION, view):
            meter = values["meter"]
            found[meter] += values["creditWei"] - owed[meter]
            owed[meter] = values["owedWei"]
        return found

    async def _events(self, name: str, contract: Contract, value: str, view: View) -> dict[bytes, int]:
        """The sum of a value of an event, by meter."""
        found: defaultdict[bytes, int] = defaultdict(int)
        for values in await self._logs(name, contract, view):
            found[values["meter"]] += values[value]
        return found

    async def _logs(self, name: str, contract: Contract, view: View) -> Sequence[dict[str, Any]]:
        topic, found = contract.abi.event(name).topics()[0], []
        assert topic is not None
        for first in range(0, view.block_number + 1, LOG_STEP_BLOCKS):
            last = min(first + LOG_STEP_BLOCKS - 1, view.block_number)
            for log in await self.observer.client.logs([contract.address], [topic], first, last):
                decoded = contract.abi.decode_log(log.topics, log.data)
                if decoded is None:
                    raise UserError(f"The node gave an event that is no {name}.")
                found.append(dict(decoded.arguments))
        return found
