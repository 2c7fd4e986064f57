"""The market of the contract tests: producers and consumers with meters, a store, and short ways to trade."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from contracts.addresses import EXHAUSTION_ADDRESS, MARKET_ADDRESS, METER_ADDRESS, REGISTRY_ADDRESS
from contracts.binding import load_artifact
from contracts.genesis import Alloc, GenesisMeter, genesis_alloc
from contracts.market import MarketRules
from contracts.roles import Role
from primitives.secp256k1 import address_of
from tests.contracts.ledgers import Ledger, Result, make_ledger
from tests.contracts.neighbourhood import (
    METER,
    OPERATOR,
    POINT_OF_SUPPLY,
    REGISTRY,
    Device,
    Event,
    key_of,
    with_consent,
)

MARKET = load_artifact("Market")
ATTACKER = load_artifact("MarketAttacker", Path(__file__).parent / "artifacts")
ATTACKER_ADDRESS = b"\xa7" * 20
HOUR_S, DAY_S = 3_600, 86_400
GRACE_S = 3 * DAY_S
PRICE = 2 * 10**14
"""Wei for a Wh: 0.2 WATT a kWh."""
KWH = 1_000
TAX = MarketRules(tax_bps=1_000)


def person(name: str) -> bytes:
    return address_of(key_of(name))


REGULATOR, REGULATOR_2 = person("regulator"), person("other regulator")
SELLER, SELLER_2 = person("seller"), person("other seller")
BUYER, BUYER_2 = person("buyer"), person("other buyer")
SUPPLIER, CONTROLLER, TREASURY, STRANGER = (person(name) for name in ("supplier", "controller", "treasury", "stranger"))
TRADERS = {SELLER: Role.PRODUCER, SELLER_2: Role.PRODUCER, BUYER: Role.CONSUMER, BUYER_2: Role.CONSUMER}
PEOPLE = (OPERATOR, REGULATOR, REGULATOR_2, *TRADERS, SUPPLIER, CONTROLLER, TREASURY, STRANGER)
FUNDS_WEI = 10**40


def trader_devices() -> dict[bytes, Device]:
    """The traders' meters, which have measured before."""
    names = ("seller", "other seller", "buyer", "other buyer")
    return {
        trader: Device(f"meter of {name}", import_wh=100_000, export_wh=50_000)
        for trader, name in zip(TRADERS, names, strict=True)
    }


def market_alloc(rules: MarketRules, devices: dict[bytes, Device]) -> Alloc:
    """Genesis of a neighbourhood with these rules, and a controller and a treasury."""
    meters = [
        GenesisMeter(one.address, owner, SUPPLIER, one.import_wh, one.export_wh) for owner, one in devices.items()
    ]
    alloc = genesis_alloc(
        OPERATOR,
        [SUPPLIER],
        meters=meters,
        regulators=[REGULATOR, REGULATOR_2],
        members=TRADERS,
        market_rules=replace(rules, grid_controller=CONTROLLER, treasury=TREASURY),
    )
    code = "0x" + ATTACKER.runtime_code.hex()
    alloc["0x" + ATTACKER_ADDRESS.hex()] = {"balance": "0x0", "nonce": "0x1", "code": code}
    return alloc | {"0x" + one.hex(): {"balance": hex(FUNDS_WEI)} for one in PEOPLE}


class Stage:
    """A ledger with the market, all roles, and a meter of each trader that was read at the beginning."""

    def __init__(self, rules: MarketRules | None = None, *, open_for_trade: bool = True) -> None:
        self.devices = trader_devices()
        self.ledger: Ledger = make_ledger(market_alloc(rules or MarketRules(), self.devices))
        for trader in TRADERS:
            if open_for_trade:
                self.read(trader)
                self.ok(trader, "chooseMeter", self.meter(trader))

    # The world around the market

    def meter(self, trader: bytes) -> bytes:
        return self.devices[trader].address

    def enter(self, account: bytes, role: Role) -> None:
        """Somebody else takes part, with a meter."""
        self.registry(REGULATOR, "addMember", account, role)
        self.devices[account] = one = Device("meter of somebody else")
        self.registry(SUPPLIER, "installMeter", one.address, account, EXHAUSTION_ADDRESS, 0, POINT_OF_SUPPLY, 0, 0)
        self.read(account)

    def leave(self, account: bytes) -> None:
        """The account loses its role."""
        self.registry(REGULATOR, "removeMember", account)

    def remove(self, trader: bytes) -> None:
        self.registry(SUPPLIER, "removeMeter", self.meter(trader))

    def reinstate(self, trader: bytes) -> None:
        one = self.devices[trader]
        self.registry(SUPPLIER, "reinstateMeter", one.address, one.import_wh, one.export_wh)

    def swap(self, trader: bytes) -> None:
        """Another meter takes the place; the old one's registers are read off."""
        old = self.devices[trader]
        self.devices[trader] = new = Device("meter after a swap")
        self.registry(SUPPLIER, "swapMeter", old.address, new.address, old.import_wh, old.export_wh, 0, 0)

    def read(self, trader: bytes, import_wh: int = 0, export_wh: int = 0) -> None:
        """The trader's meter has measured so much more, and its reading is on the ledger."""
        device = self.devices[trader]
        device.time_s = self.ledger.time_s
        data = METER.abi.encode_call("submit", [device.measure(import_wh, export_wh)])
        assert self.ledger.transact(STRANGER, METER_ADDRESS, data).success

    def wait(self, seconds: int) -> None:
        self.ledger.time_s += seconds

    def registry(self, sender: bytes, function: str, *arguments: object) -> None:
        arguments = with_consent(sender, function, arguments)
        result = self.ledger.transact(sender, REGISTRY_ADDRESS, REGISTRY.abi.encode_call(function, arguments))
        assert result.success, REGISTRY.abi.revert_reason(result.output)

    # The market

    def market(self, sender: bytes, function: str, *arguments: object, value: int = 0) -> Result:
        return self.ledger.transact(sender, MARKET_ADDRESS, MARKET.abi.encode_call(function, arguments), value)

    def ok(self, sender: bytes, function: str, *arguments: object, value: int = 0) -> list[Event]:
        return events(self.market(sender, function, *arguments, value=value))

    def refused(self, sender: bytes, function: str, *arguments: object, value: int = 0) -> str:
        """The error with its values."""
        result = self.market(sender, function, *arguments, value=value)
        assert not result.success
        return reason(result)

    def ask(self, function: str, *arguments: object) -> Any:
        result = self.ledger.call(STRANGER, MARKET_ADDRESS, MARKET.abi.encode_call(function, arguments))
        assert result.success, reason(result)
        values = MARKET.abi.decode_result(function, result.output)
        return values[0] if len(values) == 1 else values

    def advertise(self, energy_wh: int, price: int, seller: bytes = SELLER) -> int:
        """The advert's time, which names it."""
        deposit = self.ask("depositFor", energy_wh, price)
        told = self.ok(seller, "availableEnergyAdvert", energy_wh, price, value=deposit)
        return int(str(told[-1].arguments["time"]))

    def buy(self, energy_wh: int, time_s: int, price: int, buyer: bytes = BUYER, seller: bytes = SELLER) -> int:
        """The number of the trade; paid exactly."""
        _, share, tax = self.ask("quote", energy_wh, time_s, seller)
        told = self.ok(buyer, "requestForEnergy", energy_wh, time_s, price, seller, value=share + tax)
        (sold,) = [event for event in told if event.name == "EnergySold"]
        return int(str(sold.arguments["trade"]))

    def account(self, holder: bytes) -> int:
        return int(self.ask("accountOf", holder))

    def stored_wh(self) -> int:
        return int(self.ask("storedWh"))

    def balance(self) -> int:
        return self.ledger.balance(MARKET_ADDRESS)

    def energy(self, producer: bytes = SELLER) -> dict[str, int]:
        """Of a producer: advertised, delivered, returned and missing, in Wh."""
        return dict(
            zip(("advertised", "delivered", "returned", "missing"), self.ask("energyOf", producer), strict=True)
        )


def events(result: Result) -> list[Event]:
    """All events of a successful transaction on the market, in order."""
    assert result.success, reason(result)
    found = []
    for log in result.logs:
        assert log.address == MARKET_ADDRESS
        decoded = MARKET.abi.decode_log(log.topics, log.data)
        assert decoded is not None
        found.append(Event(decoded.event, dict(decoded.arguments)))
    return found


def reason(result: Result) -> str:
    """The error a transaction reverted with and its values, without their names."""
    return re.sub(r"\w+=", "", MARKET.abi.revert_reason(result.output) or "0x" + result.output.hex())


def shown(*values: object) -> str:
    """Values as they stand in an error."""
    return ", ".join(["0x" + one.hex() if isinstance(one, bytes) else str(one) for one in values])


def sold(stage: Stage, energy_wh: int = 4 * KWH, buyer: bytes = BUYER, seller: bytes = SELLER) -> int:
    """The number of a trade: all of a new advert."""
    for trader in (buyer, seller):
        stage.read(trader)
    return stage.buy(energy_wh, stage.advertise(energy_wh, PRICE, seller), PRICE, buyer, seller)
