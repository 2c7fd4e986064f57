"""The auction of the contract tests: buyers and sellers with meters that sign, and short ways to trade a slot."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from contracts.addresses import (
    AUCTION_ADDRESS,
    EXHAUSTION_ADDRESS,
    MARKET_ADDRESS,
    METER_ADDRESS,
    REGISTRY_ADDRESS,
)
from contracts.auction import AuctionRules, Side, commitment_of
from contracts.binding import Artifact, load_artifact
from contracts.genesis import Alloc, GenesisMeter, genesis_alloc
from contracts.market import MarketRules
from contracts.roles import Role
from primitives.secp256k1 import address_of
from tests.contracts.ledgers import CHAIN_ID, GENESIS_TIME_S, Ledger, Result, make_ledger
from tests.contracts.neighbourhood import (
    METER,
    OPERATOR,
    POINT_OF_SUPPLY,
    REGISTRY,
    Device,
    Event,
    SignedReading,
    key_of,
    with_consent,
)
from wallet.auction_matching import Clearing, Offer, Trade, clear, trades_of

AUCTION = load_artifact("Auction")
MARKET = load_artifact("Market")
ATTACKER = load_artifact("AuctionAttacker", Path(__file__).parent / "artifacts")
ATTACKER_ADDRESS = b"\xa7" * 20
LENGTH_S = 900
SLOT = (GENESIS_TIME_S // 3_600 + 3) * 3_600
"""Of most tests: it begins two to three hours after the genesis."""
END = SLOT + LENGTH_S
GRACE_S = 3 * 86_400
FUNDS_WEI = 10**40
SALT = b"\x5a" * 32


def person(name: str) -> bytes:
    return address_of(key_of(name))


REGULATOR, TREASURY, STRANGER, SUPPLIER, RELAY = (
    person(name) for name in ("regulator", "treasury", "stranger", "supplier", "relay")
)
SELLERS = tuple(person(f"seller {number}") for number in range(4))
BUYERS = tuple(person(f"buyer {number}") for number in range(4))
SELLER, SELLER_2, SELLER_3, _ = SELLERS
BUYER, BUYER_2, BUYER_3, _ = BUYERS
TRADERS = (*SELLERS, *BUYERS)
PEOPLE = (OPERATOR, REGULATOR, TREASURY, STRANGER, SUPPLIER, RELAY, *TRADERS)


@dataclass(frozen=True, slots=True)
class Order:
    """The contract's struct."""

    account: bytes
    price: int
    energy_wh: int
    meter: bytes
    from_wh: int
    traded_wh: int
    state: int


class AuctionStage:
    """A ledger with the auction, the market whose tax holds, all roles, and a meter of each trader."""

    def __init__(
        self,
        rules: AuctionRules | None = None,
        trade: MarketRules | None = None,
        treasury: bytes = TREASURY,
        ledger: Ledger | None = None,
    ) -> None:
        self.devices = {trader: Device(f"meter {trader.hex()[:8]}") for trader in TRADERS}
        self.meters = {trader: device.address for trader, device in self.devices.items()}
        self.ledger = ledger or make_ledger(self.alloc(rules, trade, treasury))

    def send(self, sender: bytes, function: str, *arguments: object, value: int = 0) -> Result:
        return self.ledger.transact(sender, AUCTION_ADDRESS, AUCTION.abi.encode_call(function, arguments), value)

    def ok(self, sender: bytes, function: str, *arguments: object, value: int = 0) -> list[Event]:
        return events(self.send(sender, function, *arguments, value=value))

    def refused(self, sender: bytes, function: str, *arguments: object, value: int = 0) -> str:
        """The error with its values."""
        result = self.send(sender, function, *arguments, value=value)
        assert not result.success
        return reason(result)

    def view(self, function: str, *arguments: object) -> Any:
        result = self.ledger.call(STRANGER, AUCTION_ADDRESS, AUCTION.abi.encode_call(function, arguments))
        assert result.success, reason(result)
        values = AUCTION.abi.decode_result(function, result.output)
        return values[0] if len(values) == 1 else values

    def account(self, holder: bytes) -> int:
        return int(self.view("accountOf", holder))

    def balance(self) -> int:
        return self.ledger.balance(AUCTION_ADDRESS)

    # Orders

    def needed(self, side: Side, energy_wh: int, price: int, slot: int = SLOT) -> int:
        """What the order needs by the rules of its slot, reckoned here."""
        book = self.view("slotOf", slot)
        tax_bps, penalty_bps = book[1], book[2]
        if side is Side.ASK:
            return int(energy_wh * (max(price * penalty_bps // 10_000, 10**13) if penalty_bps else 0))
        return int(energy_wh * price + energy_wh * price * tax_bps // 10_000)

    def bid(self, buyer: bytes, energy_wh: int, price: int, slot: int = SLOT) -> list[Event]:
        return self._place(buyer, Side.BID, energy_wh, price, slot)

    def ask(self, seller: bytes, energy_wh: int, price: int, slot: int = SLOT) -> list[Event]:
        return self._place(seller, Side.ASK, energy_wh, price, slot)

    def _place(self, trader: bytes, side: Side, energy_wh: int, price: int, slot: int) -> list[Event]:
        value = self.needed(side, energy_wh, price, slot)
        return self.ok(trader, "placeOrder", slot, side, self.meters[trader], energy_wh, price, value=value)

    def seal(self, trader: bytes, side: Side, energy_wh: int, price: int, deposit_wei: int, slot: int = SLOT) -> Result:
        commitment = commitment_of(CHAIN_ID, slot, trader, side, energy_wh, price, SALT)
        return self.send(trader, "sealOrder", slot, side, self.meters[trader], commitment, value=deposit_wei)

    def orders(self, side: Side, slot: int = SLOT) -> dict[int, Order]:
        """By number."""
        return {number: Order(*fields) for number, fields in enumerate(self.view("ordersOf", slot, side), start=1)}

    # Clearing and what follows

    def offers(self, side: Side, slot: int = SLOT) -> list[Offer]:
        known = self.orders(side, slot).items()
        return [Offer(number, one.price, one.energy_wh) for number, one in known if one.energy_wh]

    def matching(self, slot: int = SLOT) -> Clearing:
        return clear(self.offers(Side.BID, slot), self.offers(Side.ASK, slot))

    def clear(self, slot: int = SLOT, caller: bytes = STRANGER) -> Clearing:
        found = self.matching(slot)
        self.ledger.time_s = max(self.ledger.time_s, slot - LENGTH_S)
        self.ok(caller, "clear", *clear_arguments(found, slot))
        return found

    def trades(self, slot: int = SLOT) -> list[Trade]:
        """By what the contract says that orders trade."""
        parts = [
            [(number, one.from_wh, one.traded_wh) for number, one in self.orders(side, slot).items()] for side in Side
        ]
        return trades_of(*parts)

    def settle(self, trade: Trade, slot: int = SLOT, caller: bytes = STRANGER) -> dict[str, Any]:
        return self.ok(caller, "settle", slot, trade.bid, trade.ask)[-1].arguments

    def release_all(self, slot: int = SLOT) -> None:
        """All orders that have money left to be released."""
        for side in Side:
            numbers = [number for number, one in self.orders(side, slot).items() if one.state != 3]
            self.ok(STRANGER, "release", slot, side, numbers)

    # Meters

    def measure(self, trader: bytes, time_s: int, import_wh: int = 0, export_wh: int = 0) -> SignedReading:
        """The trader's meter signs its next reading, which is on the ledger then."""
        device = self.devices[trader]
        device.time_s = time_s
        self.ledger.time_s = max(self.ledger.time_s, time_s)
        signed = device.measure(import_wh, export_wh)
        data = METER.abi.encode_call("submit", [signed])
        assert self.ledger.transact(STRANGER, METER_ADDRESS, data).success
        return signed

    def prove(self, trader: bytes, import_wh: int = 0, export_wh: int = 0, slot: int = SLOT) -> None:
        """The meter has measured so much in the slot, and that is proven."""
        readings = [
            self.measure(trader, slot - 60),
            self.measure(trader, slot),
            self.measure(trader, slot + LENGTH_S, import_wh, export_wh),
        ]
        self.ok(STRANGER, "proveRegisters", slot, readings[0], readings[1])
        self.ok(STRANGER, "proveRegisters", slot + LENGTH_S, readings[1], readings[2])

    # The world around the auction

    def change_role(self, account: bytes, role: Role) -> None:
        self.registry(REGULATOR, "removeMember", account)
        self.registry(REGULATOR, "addMember", account, role)

    def enter(self, account: bytes, role: Role) -> bytes:
        """Somebody else takes part, with a meter."""
        meter = Device("of somebody else").address
        self.registry(REGULATOR, "addMember", account, role)
        self.registry(SUPPLIER, "installMeter", meter, account, EXHAUSTION_ADDRESS, 0, POINT_OF_SUPPLY, 0, 0)
        return meter

    def remove_meter(self, trader: bytes) -> None:
        self.registry(SUPPLIER, "removeMeter", self.meters[trader])

    def registry(self, sender: bytes, function: str, *arguments: object) -> None:
        arguments = with_consent(sender, function, arguments)
        result = self.ledger.transact(sender, REGISTRY_ADDRESS, REGISTRY.abi.encode_call(function, arguments))
        assert result.success, REGISTRY.abi.revert_reason(result.output)

    def market(self, sender: bytes, function: str, *arguments: object) -> None:
        assert self.ledger.transact(sender, MARKET_ADDRESS, MARKET.abi.encode_call(function, arguments)).success

    def alloc(
        self, rules: AuctionRules | None = None, trade: MarketRules | None = None, treasury: bytes = TREASURY
    ) -> Alloc:
        """The genesis."""
        members = {RELAY: Role.RELAY}
        members |= dict.fromkeys(SELLERS, Role.PRODUCER) | dict.fromkeys(BUYERS, Role.CONSUMER)
        meters = [GenesisMeter(meter, trader, SUPPLIER) for trader, meter in self.meters.items()]
        alloc = genesis_alloc(
            OPERATOR,
            [SUPPLIER],
            meters=meters,
            regulators=[REGULATOR],
            members=members,
            market_rules=replace(trade or MarketRules(), treasury=treasury),
            auction_rules=rules,
        )
        alloc |= {"0x" + one.hex(): {"balance": hex(FUNDS_WEI)} for one in PEOPLE}
        return alloc | placed(ATTACKER_ADDRESS, ATTACKER, {})


def placed(address: bytes, artifact: Artifact, slots: Mapping[int, int]) -> Alloc:
    entry = {
        "balance": "0x0",
        "nonce": "0x1",
        "code": "0x" + artifact.runtime_code.hex(),
        "storage": {hex(slot): hex(value) for slot, value in slots.items()},
    }
    return {"0x" + address.hex(): entry}


def clear_arguments(found: Clearing, slot: int = SLOT) -> Sequence[object]:
    return slot, list(found.bids), list(found.asks), found.energy_wh, found.price_wei_per_wh


def events(result: Result) -> list[Event]:
    """All events of a successful transaction on the auction, in order."""
    assert result.success, reason(result)
    found = []
    for log in result.logs:
        assert log.address == AUCTION_ADDRESS
        decoded = AUCTION.abi.decode_log(log.topics, log.data)
        assert decoded is not None
        found.append(Event(decoded.event, dict(decoded.arguments)))
    return found


def reason(result: Result) -> str:
    """The error a transaction reverted with and its values, without their names."""
    return re.sub(r"\w+=", "", AUCTION.abi.revert_reason(result.output) or "0x" + result.output.hex())
