"""Bills on a ledger: Billing with real Tariffs, and a book that stands for Registry and Meter (meter_book.py).

So readings come as a test wants them, without signatures; the way of a signed reading through Meter and Registry is in
test_billing_of_readings.py.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from contracts.addresses import BILLING_ADDRESS, TARIFFS_ADDRESS
from contracts.binding import load_artifact
from contracts.genesis import Alloc
from contracts.tariff_format import GenesisTariff, TariffVersion
from tests.contracts.ledgers import GENESIS_TIME_S, Ledger, Result, make_ledger
from tests.contracts.meter_book import BOOK_ADDRESS, MeterBook, Record, Role, Status, book_alloc, contract_entry
from tests.contracts.policy_stage import Event
from tests.contracts.policy_stage import reason as reason_of
from tests.contracts.tariff_stage import EL_DAPP_SLABS, KWH, WATT, tariff_accounts
from wallet.billing import Bill

BILLING = load_artifact("Billing")
SUPPLIER, RIVAL, OWNER, PAYER, STRANGER = (bytes([number]) * 20 for number in range(0x61, 0x66))
METER, NEXT, OTHER = (bytes([number]) * 20 for number in (0x71, 0x72, 0x73))
DAY_S = 86_400
FIRST_DAY = -(-GENESIS_TIME_S // DAY_S)
"""The first whole day of the ledger."""
PERIOD_DAYS = 10
EL_DAPP = TariffVersion(EL_DAPP_SLABS, period_days=PERIOD_DAYS, anchor_day=FIRST_DAY)
EL_DAPP_WHOLE = TariffVersion(EL_DAPP_SLABS, whole=True, period_days=PERIOD_DAYS, anchor_day=FIRST_DAY)
HOUSE = TariffVersion(
    EL_DAPP_SLABS,
    period_days=PERIOD_DAYS,
    anchor_day=FIRST_DAY,
    export_price_wei_per_wh=2 * WATT // KWH,
    standing_wei_per_day=WATT // 2,
)
"""Slabs, half a WATT a day, and 2 WATT for each kWh given."""
ALL_TARIFFS = [GenesisTariff(SUPPLIER, "house", one) for one in (EL_DAPP, EL_DAPP_WHOLE, HOUSE)]
TARIFF_OF = {EL_DAPP: 1, EL_DAPP_WHOLE: 2, HOUSE: 3}


@dataclass(frozen=True, slots=True)
class AccountState:
    """As in Billing.sol."""

    account: bytes
    supplier: bytes
    active: bool
    imported_wh: int
    exported_wh: int
    energy_wei: int
    standing_wei: int
    export_wei: int
    credit_wei: int
    last_update_s: int
    start_day: int
    end_day: int
    bill_count: int


@dataclass(slots=True)
class Place:
    """A meter that the book knows, and the time of its last reading."""

    meter: bytes
    tariff: int
    last_s: int
    supplier: bytes = SUPPLIER
    zone_s: int = 0
    predecessors: list[bytes] = field(default_factory=list)


def billing_alloc(others: Alloc | None = None) -> Alloc:
    layout = BILLING.storage_layout
    storage = layout.assign("registry", value=BOOK_ADDRESS) | layout.assign("meterContract", value=BOOK_ADDRESS)
    storage |= layout.assign("tariffs", value=TARIFFS_ADDRESS)
    rich: Alloc = {"0x" + one.hex(): {"balance": hex(10**40)} for one in (SUPPLIER, RIVAL, OWNER, PAYER, STRANGER)}
    entry = contract_entry(BILLING.runtime_code, storage)
    return rich | book_alloc() | tariff_accounts(ALL_TARIFFS) | {"0x" + BILLING_ADDRESS.hex(): entry} | (others or {})


class Bills:
    def __init__(self, others: Alloc | None = None) -> None:
        self.ledger: Ledger = make_ledger(billing_alloc(others))
        self.ledger.time_s = FIRST_DAY * DAY_S
        self.book = MeterBook(self.ledger)
        for supplier in (SUPPLIER, RIVAL):
            self.book.set_role(supplier, Role.SUPPLIER)

    def install(
        self, meter: bytes = METER, version: TariffVersion = EL_DAPP, supplier: bytes = SUPPLIER, zone_s: int = 0
    ) -> Place:
        place = Place(meter, TARIFF_OF[version], self.ledger.time_s, supplier, zone_s)
        self.book.set_meter(meter, self._record(place, Status.ACTIVE))
        self.book.set_zone(supplier, zone_s)
        return place

    def remove(self, place: Place) -> None:
        self.book.set_meter(place.meter, self._record(place, Status.REMOVED))

    def reinstate(self, place: Place) -> None:
        self.book.set_meter(place.meter, self._record(place, Status.ACTIVE))

    def swap(self, place: Place, successor: bytes) -> Result:
        self.remove(place)
        result = self.book.act(BILLING_ADDRESS, BILLING.abi.encode_call("onSwap", [place.meter, successor]))
        place.predecessors.append(place.meter)
        place.meter = successor
        self.reinstate(place)
        return result

    def read(self, place: Place, imported_wh: int = 0, exported_wh: int = 0, time_s: int | None = None) -> Result:
        """A reading of now, or of a time that is given."""
        time = self.ledger.time_s if time_s is None else time_s
        delta = (
            place.meter,
            place.supplier,
            place.tariff,
            imported_wh,
            exported_wh,
            place.last_s,
            time,
            place.zone_s,
        )
        place.last_s = time
        return self.book.act(BILLING_ADDRESS, BILLING.abi.encode_call("onReading", [delta]))

    def pay(self, meter: bytes, number: int, amount_wei: int, payer: bytes = PAYER) -> Result:
        return self.act(payer, "pay", meter, number, value=amount_wei)

    def act(self, sender: bytes, function: str, *arguments: object, value: int = 0) -> Result:
        return self.ledger.transact(sender, BILLING_ADDRESS, BILLING.abi.encode_call(function, arguments), value)

    def days_pass(self, days: int) -> None:
        self.ledger.time_s += days * DAY_S

    def account(self, meter: bytes = METER) -> AccountState:
        return AccountState(*self.ask_one("accountOf", meter))

    def bill(self, number: int, meter: bytes = METER) -> Bill:
        return Bill(*self.ask_one("billOf", meter, number))

    def bills(self, meter: bytes = METER) -> list[Bill]:
        return [Bill(*one) for one in self.ask_one("billsOf", meter, 1, 64)]

    def supplier_account(self, supplier: bytes = SUPPLIER) -> int:
        return int(self.ask_one("supplierAccountOf", supplier))

    def supply_allowed(self, meter: bytes = METER, time_s: int | None = None) -> bool:
        return bool(self.ask_one("supplyAllowed", meter, self.ledger.time_s if time_s is None else time_s))

    def ask_one(self, function: str, *arguments: object) -> Any:
        (value,) = self.ask(function, *arguments)
        return value

    def ask(self, function: str, *arguments: object) -> tuple[Any, ...]:
        result = self.ledger.call(STRANGER, BILLING_ADDRESS, BILLING.abi.encode_call(function, arguments))
        assert result.success, reason(result)
        return BILLING.abi.decode_result(function, result.output)

    @staticmethod
    def _record(place: Place, status: Status) -> Record:
        return Record(OWNER, place.supplier, status, BILLING_ADDRESS, place.tariff)


def events(result: Result) -> list[Event]:
    """Those of Billing in a successful transaction."""
    assert result.success, reason(result)
    decoded = [BILLING.abi.decode_log(log.topics, log.data) for log in result.logs if log.address == BILLING_ADDRESS]
    return [Event(one.event, dict(one.arguments)) for one in decoded if one is not None]


def names(result: Result) -> list[str]:
    return [event.name for event in events(result)]


def only(result: Result, name: str) -> Mapping[str, Any]:
    (event,) = [event for event in events(result) if event.name == name]
    return event.arguments


def reason(result: Result) -> str | None:
    return reason_of(result, BILLING)


def shown(*addresses: bytes) -> str:
    return ", ".join(["0x" + address.hex() for address in addresses])


def total(bills: Sequence[Bill], name: str) -> int:
    return sum(getattr(bill, name) for bill in bills)
