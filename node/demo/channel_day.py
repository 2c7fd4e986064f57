"""Payments by channel in the demo: the last home takes sun from the first one that nobody bought on the market.

Every hour both look at their meters' readings on the ledger; what went over since is paid by a signature, which no
block ever sees. Two transactions in all: one opens the channel, one closes it with the last total.
"""

from contracts.addresses import PAYMENT_CHANNEL_ADDRESS
from node.demo.day import DAY_S, Day
from node.demo.observation import Observer
from node.demo.pricing import MILLI
from node.demo.screen import Screen, kwh, watt
from node.demo.stage import WATT, Part, Stage
from wallet.channel import PAYMENT_CHANNEL, read_channel, read_place
from wallet.channel_payment import Kind, check_payment, encode_total, parse_total, sign_total
from wallet.channel_store import ChannelKey, ChannelStore
from wallet.contract_call import ContractCall, the_event
from wallet.market import read_standing
from wallet.meter_contract import read_registers

PRICE_WEI_PER_WH = 120 * MILLI
DEPOSIT_WEI = 5 * WATT
OPENING_HOUR, CLOSING_HOUR = 7.5, 17.5
PAYING_HOURS = (9, 10, 11, 12, 13, 14, 15, 16, 17)
SHOWN_PAYMENTS = 2
"""The first ones; more would only repeat the story."""
MARGIN_S = 3_600


class ChannelDay:
    """One channel, from its opening to its closing."""

    def __init__(self, stage: Stage, observer: Observer, screen: Screen, day: Day) -> None:
        self._stage = stage
        self._observer = observer
        self._screen = screen
        self._day = day
        self._consumer, self._producer = stage.home(Part.CHANNEL), stage.sellers[0]
        self._number = 0
        self._opened_import_wh = 0
        self.total_wh = 0
        """Paid for up to now."""
        self._payments = 0

    async def run(self) -> None:
        await self._day.until(OPENING_HOUR)
        await self._open()
        for hour in PAYING_HOURS:
            await self._day.until(hour)
            await self._pay()
        await self._day.until(CLOSING_HOUR)
        await self._close()

    async def _open(self) -> None:
        client = self._observer.client
        until_s = (await read_place(client)).time_s + DAY_S
        call = ContractCall(PAYMENT_CHANNEL, "open", (self._producer.wallet, until_s), DEPOSIT_WEI)
        told = await self._observer.act(self._consumer.wallet_key, call)
        self._number = the_event(told, "Opened").values["channel"]
        self._opened_import_wh = (await read_registers(client, self._consumer.meter)).import_wh
        self._screen.event(
            f"{self._consumer.name} opens a payment channel to {self._producer.name} with {watt(DEPOSIT_WEI)}, for sun "
            f"that is not sold on the market, at {watt(PRICE_WEI_PER_WH * 1_000)} a kWh."
        )

    async def _pay(self) -> None:
        """Sign the total for what has gone over up to now; the producer checks it, and keeps it."""
        client = self._observer.client
        energy_wh = min(await self._gone_over_wh(), DEPOSIT_WEI // PRICE_WEI_PER_WH)
        if energy_wh <= self.total_wh:
            return
        place, channel = await read_place(client), await read_channel(client, self._number)
        key, total_wei = ChannelKey(place.genesis_hash, self._number), energy_wh * PRICE_WEI_PER_WH
        payment = sign_total(
            Kind.PAYMENT,
            place.chain_id,
            PAYMENT_CHANNEL_ADDRESS,
            self._number,
            self._producer.wallet,
            total_wei,
            self._consumer.wallet_key,
        )
        with ChannelStore(self._consumer.folder / "channels.db") as store:
            store.keep_signed(key, payment)
        handed_over = parse_total(encode_total(payment), Kind.PAYMENT)
        check_payment(handed_over, place.chain_id, PAYMENT_CHANNEL_ADDRESS, channel, place.time_s, MARGIN_S)
        with ChannelStore(self._producer.folder / "channels.db") as store:
            worth_wei = store.keep_received(key, handed_over)
        added_wh, self.total_wh = energy_wh - self.total_wh, energy_wh
        self._payments += 1
        if self._payments <= SHOWN_PAYMENTS:
            self._screen.event(
                f"{self._consumer.name} signs {watt(worth_wei)} for {kwh(added_wh)} more, off the chain; "
                f"{self._producer.name} checks the signature and keeps it."
            )

    async def _gone_over_wh(self) -> int:
        """What the producer gave beyond what the market has of it, as far as the consumer took as much."""
        client = self._observer.client
        standing = await read_standing(client, self._producer.wallet)
        promised_wh = standing.advertised_wh - standing.returned_wh - standing.missing_wh
        given_wh = (await read_registers(client, self._producer.meter)).export_wh
        taken_wh = (await read_registers(client, self._consumer.meter)).import_wh - self._opened_import_wh
        return min(given_wh - promised_wh, taken_wh)

    async def _close(self) -> None:
        """The producer presents the last payment; without any, it lets the money go back."""
        genesis_hash = (await read_place(self._observer.client)).genesis_hash
        with ChannelStore(self._producer.folder / "channels.db") as store:
            best = store.best_received(ChannelKey(genesis_hash, self._number))
        if best is None:
            call = ContractCall(PAYMENT_CHANNEL, "release", (self._number,))
        else:
            call = ContractCall(PAYMENT_CHANNEL, "close", (self._number, best.total_wei, best.r, best.vs))
        closed = the_event(await self._observer.act(self._producer.wallet_key, call), "Closed").values
        self._screen.event(
            f"{self._producer.name} closes the channel with the last of {self._payments} payments: it gets "
            f"{watt(closed['totalWei'])} for {kwh(self.total_wh)}, {watt(closed['returnedWei'])} go back."
        )
