"""Postpaid accounts and their bills as the wallet knows them, and the contract's refusals in words.

What is charged and what is due is the contract's to decide (contracts/src/Billing.sol, ReportedDebts.sol). The node is
not trusted: see wallet/client.py.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from contracts.addresses import BILLING_ADDRESS
from primitives.errors import UserError
from primitives.hexadecimal import to_checksum_address
from wallet.client import BlockTag, RpcClient
from wallet.contract_call import Contract, ask, ask_one
from wallet.meter_contract import METER, read_zone_s
from wallet.registry import REGISTRY, read_meter
from wallet.tariffs import TARIFFS, shown_name

MAX_BILLS = 64
"""In one answer of the contract."""
MAX_LISTED = 1_024
"""Bills of a meter that are listed: more than 85 years of months."""


@dataclass(frozen=True, slots=True)
class Bill:
    """A bill as it stands now: as BillState in Billing.sol. Days count from 1970-01-01 in the supplier's local time."""

    number: int
    start_day: int
    end_day: int
    """The first day that is not on it."""
    imported_wh: int
    exported_wh: int
    energy_wei: int
    standing_wei: int
    export_wei: int
    due_wei: int
    fee_wei: int
    paid_wei: int
    open_wei: int
    issued_at_s: int
    due_at_s: int
    late_fee_basis_points: int

    @property
    def earlier_credit_wei(self) -> int:
        """What was carried over from bills before, or (negative) is carried over to the next ones."""
        return self.energy_wei + self.standing_wei - self.export_wei - self.due_wei


@dataclass(frozen=True, slots=True)
class Account:
    """A postpaid account: its open period and its name; as AccountState in Billing.sol."""

    name: bytes
    supplier: bytes
    is_active: bool
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


@dataclass(frozen=True, slots=True)
class Report:
    """What a program has reported of an account, in units of its own (El DApp)."""

    is_active: bool
    reports_itself: bool
    last_update_s: int
    usage: int
    bill: int
    provider: bytes
    provider_name: str
    provider_description: str


@dataclass(frozen=True, slots=True)
class Party:
    """Who a bill is from and for, and what it is by."""

    meter: bytes
    owner: bytes
    supplier: bytes
    supplier_name: str
    """Empty where the supplier has not described itself."""
    supplier_description: str
    tariff: int
    tariff_name: str
    zone_s: int


async def read_account(client: RpcClient, meter: bytes, block: BlockTag = "latest") -> Account:
    """Raises UserError, InvalidAnswer."""
    return Account(*await ask_one(client, BILLING, "accountOf", [meter], block))


async def read_report(client: RpcClient, user: bytes, block: BlockTag = "latest") -> Report:
    """Raises UserError, InvalidAnswer."""
    is_active, itself, last_s, usage, bill, provider, name, text = await ask(client, BILLING, "services", [user], block)
    return Report(is_active, itself, last_s, usage, bill, provider, printable(name), printable(text))


async def read_bill(client: RpcClient, meter: bytes, number: int, block: BlockTag = "latest") -> Bill:
    """Raises UserError where there is no such bill; InvalidAnswer."""
    return Bill(*await ask_one(client, BILLING, "billOf", [meter, number], block))


async def read_bills(client: RpcClient, meter: bytes, count: int, block: BlockTag = "latest") -> list[Bill]:
    """The newest MAX_LISTED of `count` bills, in order."""
    bills: list[Bill] = []
    first = max(1, count - MAX_LISTED + 1)
    while first <= count:
        part = await ask_one(client, BILLING, "billsOf", [meter, first, min(MAX_BILLS, count - first + 1)], block)
        if not part:
            break
        bills += [Bill(*one) for one in part]
        first += len(part)
    return bills


async def read_party(client: RpcClient, meter: bytes, time_s: int, block: BlockTag = "latest") -> Party:
    """Raises UserError where the meter is unknown, or not a postpaid one; InvalidAnswer."""
    record = await read_meter(client, meter, block)
    if record.sink != BILLING_ADDRESS:
        raise UserError(
            f"The meter {to_checksum_address(meter)} is not a postpaid one, so it has no bills. `wattchain credit "
            "balance` shows what a prepaid one has."
        )
    name = await ask_one(client, BILLING, "providerName", [record.supplier], block)
    description = await ask_one(client, BILLING, "providerDescription", [record.supplier], block)
    tariff_name = shown_name(await ask_one(client, TARIFFS, "nameOf", [record.tariff], block)) if record.tariff else ""
    zone_s = await read_zone_s(client, record.supplier, time_s, block)
    return Party(
        meter,
        record.owner,
        record.supplier,
        printable(name),
        printable(description),
        record.tariff,
        tariff_name,
        zone_s,
    )


def printable(text: str) -> str:
    """Text from the ledger without anything that a terminal or a page would act on."""
    return "".join([letter if letter.isprintable() else " " for letter in text])


def _bill_is_unknown(values: Mapping[str, Any]) -> str:
    if values["billCount"] == 0:
        return "There is no bill of the meter {meter} yet: the first one comes when its billing period is over."
    return "The bills of the meter {meter} are numbered from 1 to {billCount}; there is no bill {number}."


def _late_fee_too_high(values: Mapping[str, Any]) -> str:
    given, most = (f"{values[name] / 100:g} %" for name in ("lateFeeBasisPoints", "maximum"))
    return f"A late fee is at most {most}; {given} is more."


BILLING = Contract(
    name="Billing",
    address=BILLING_ADDRESS,
    title="the bills' contract",
    missing="This network has no contract for bills: its genesis file lacks it.",
    refusals={
        "AccountNotActive": "The account {user} is not active: no supplier keeps its usage and its bill.",
        "AccountTaken": "The account {user} is kept by {provider} already; it, or the account itself, may end that.",
        "AccountTooSmall": "{supplier} can take at most {accountWei}; {amountWei} is more.",
        "AmountAboveBill": "Only {openWei} of this bill are to be paid; {amountWei} is more.",
        "AmountZero": "The amount is nothing; give one above zero.",
        "BillFell": (
            "A reported bill does not fall: it was {lastBill} already, above {bill}. Its provider may lower it."
        ),
        "BillNotOverdue": "The bill {number} of the meter {meter} may still be paid in time, until {dueAt}.",
        "BillPaid": "The bill {number} of the meter {meter} is paid.",
        "BillUnknown": _bill_is_unknown,
        "BillWithoutFee": "There is no late fee to charge on the bill {number} of the meter {meter}.",
        "DescriptionTooLong": "A description has at most {maximumBytes} bytes; this one has {descriptionBytes}.",
        "DisconnectionPending": (
            "The supply of the meter {meter} is to be cut for its bill {number} already, at {disconnectionAt}."
        ),
        "DueDaysOutOfRange": "A bill is to be paid within {minimum} to {maximum} days; {dueDays} are not possible.",
        "LateFeeTooHigh": _late_fee_too_high,
        "NameInvalid": "A name has from 1 to {maximumBytes} bytes; this one has {nameBytes}.",
        "NoDisconnection": "The supply of the meter {meter} is not to be cut for any bill.",
        "NotMeterContract": "Only the meters' contract may tell of readings, not {caller}.",
        "NotProviderOf": "{caller} does not keep the account {user}, so it may not write it.",
        "NotRegistry": "Only the registry may have this done, not {caller}.",
        "NotSupplier": (
            "{caller} is not a supplier, and only one may do this. A regulator makes it one with `wattchain registry "
            "add supplier {caller}`."
        ),
        "NotSupplierOf": "{caller} is not the supplier of the meter {meter}; sign with the supplier's key.",
        "NothingToBill": "There is nothing to bill for the meter {meter}.",
        "PeriodOpen": (
            "The billing period of the meter {meter} is not over, or only just: anybody may close it from "
            "{closableDay} on, and it is {today}. The first reading of the next period closes it."
        ),
        "RangeTooLong": "At most {maximum} bills are told at a time, not {count}.",
        "UsageFell": (
            "A reported usage does not fall: it was {lastUsage} already, above {usage}. Its provider may lower it."
        ),
        "ValueTooLarge": "At most {maximum} can be reported; {value} is more.",
        "WithdrawalFailed": "{to} does not take the {amountWei}; give another receiver.",
        "ZeroAddress": "The address of nothing but zeros is nobody's; give another.",
    },
    passes_on=(REGISTRY, METER, TARIFFS),
)
