"""The market of the contract tests: producers and consumers with meters, a store, and short ways to trade."""

import re
from pathlib import Path
from typing import Any

from contracts.addresses import MARKET_ADDRESS, REGISTRY_ADDRESS
from contracts.binding import load_artifact
from contracts.genesis import Alloc
from contracts.market import MarketRules, market_storage
from primitives.secp256k1 import address_of
from tests.contracts.ledgers import Ledger, Result, make_ledger
from tests.contracts.neighbourhood import Event, key_of

MARKET = load_artifact("Market")
WORLD = load_artifact("MarketWorld", Path(__file__).parent / "artifacts")
ATTACKER = load_artifact("MarketAttacker", Path(__file__).parent / "artifacts")
ATTACKER_ADDRESS = b"\xa7" * 20
HOUR_S, DAY_S = 3_600, 86_400
GRACE_S = 3 * DAY_S
ROLES = ("None", "Regulator", "Supplier", "Producer", "Consumer", "Relay")
UNKNOWN, ACTIVE, REMOVED = range(3)


def person(name: str) -> bytes:
    return address_of(key_of(name))


REGULATOR, REGULATOR_2 = person("regulator"), person("other regulator")
SELLER, SELLER_2 = person("seller"), person("other seller")
BUYER, BUYER_2 = person("buyer"), person("other buyer")
SUPPLIER, CONTROLLER, TREASURY, STRANGER = (person(name) for name in ("supplier", "controller", "treasury", "stranger"))
TRADERS = (SELLER, SELLER_2, BUYER, BUYER_2)
PEOPLE = (REGULATOR, REGULATOR_2, *TRADERS, SUPPLIER, CONTROLLER, TREASURY, STRANGER)
FUNDS_WEI = 10**40


class Stage:
    """A ledger with the market, all roles, and a meter of each trader that was read at the beginning."""

    def __init__(self, rules: MarketRules | None = None, *, open_for_trade: bool = True) -> None:
        self.ledger: Ledger = make_ledger(_alloc(rules or MarketRules()))
        self.meters = {trader: b"\x3e" + trader[1:] for trader in TRADERS}
        self.registers = {meter: [100_000, 50_000] for meter in self.meters.values()}
        for person_, role in (
            (REGULATOR, "Regulator"),
            (REGULATOR_2, "Regulator"),
            (SUPPLIER, "Supplier"),
            (SELLER, "Producer"),
            (SELLER_2, "Producer"),
            (BUYER, "Consumer"),
            (BUYER_2, "Consumer"),
        ):
            self.set_role(person_, role)
        for trader, meter in self.meters.items():
            self.set_meter(meter, trader)
            if open_for_trade:
                self.read(trader)
                self.ok(trader, "chooseMeter", meter)

    # The world around the market

    def set_role(self, account: bytes, role: str) -> None:
        self._world("setRole", account, ROLES.index(role))

    def set_meter(self, meter: bytes, owner: bytes, status: int = ACTIVE) -> None:
        self._world("setMeter", meter, owner, status)

    def read(self, trader: bytes, import_wh: int = 0, export_wh: int = 0, time_s: int | None = None) -> None:
        """The trader's meter has measured so much more, and its reading is on the ledger."""
        meter = self.meters[trader]
        registers = self.registers[meter]
        registers[0] += import_wh
        registers[1] += export_wh
        self._world("read", meter, self.ledger.time_s if time_s is None else time_s, *registers)

    def wait(self, seconds: int) -> None:
        self.ledger.time_s += seconds

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

    def _world(self, function: str, *arguments: object) -> None:
        result = self.ledger.transact(STRANGER, REGISTRY_ADDRESS, WORLD.abi.encode_call(function, arguments))
        assert result.success


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


def _alloc(rules: MarketRules) -> Alloc:
    alloc: Alloc = {"0x" + one.hex(): {"balance": hex(FUNDS_WEI)} for one in PEOPLE}
    storage = market_storage(rules, CONTROLLER, TREASURY) | MARKET.storage_layout.assign(
        "meterContract", value=REGISTRY_ADDRESS
    )
    for address, artifact, slots in (
        (MARKET_ADDRESS, MARKET, storage),
        (REGISTRY_ADDRESS, WORLD, {}),
        (ATTACKER_ADDRESS, ATTACKER, {}),
    ):
        alloc["0x" + address.hex()] = {
            "balance": "0x0",
            "nonce": "0x1",
            "code": "0x" + artifact.runtime_code.hex(),
            "storage": {hex(slot): hex(value) for slot, value in slots.items()},
        }
    return alloc
