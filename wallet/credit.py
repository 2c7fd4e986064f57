"""Prepaid credit as the wallet knows it: meters' accounts, suppliers' terms, and the contract's refusals in words.

What is charged, repaid first or recovered is the contract's to decide (contracts/src/Exhaustion.sol).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from contracts.addresses import EXHAUSTION_ADDRESS
from wallet.client import BlockTag, RpcClient
from wallet.contract_call import Contract, ask, ask_one

NO_END_DAYS = 2**256 - 1
"""What the contract says of the days that are left where nothing was charged."""


@dataclass(frozen=True, slots=True)
class Credit:
    """A meter's account. Money in wei."""

    meter: bytes
    credit_wei: int
    overdrawn_wei: int
    """Charged beyond the credit (emergency credit); repaid first, and whole."""
    debt_wei: int
    """Charged in friendly hours beyond the credit; recovered at a share of what is paid in."""
    owed_wei: int
    """For energy given to the grid, for which the supplier had no money there yet."""
    low_credit_wei: int
    """The owner's threshold; 0 for none."""
    period_wh: int
    """Energy taken in the billing period so far."""
    average_wei_a_day: int
    days_left: int | None
    """None where nothing was charged yet."""
    supply_allowed: bool


@dataclass(frozen=True, slots=True)
class Terms:
    """What a supplier allows once the credit is used up. Weekdays are bits from Monday on."""

    emergency_wei: int
    debt_limit_wei: int
    from_minute: int
    until_minute: int
    weekdays: int
    whole_days: int
    recovery_percent: int
    """Share of what is paid in that goes to debt; 0 where no terms are set, and debt is recovered whole."""

    def argument(self) -> tuple[int, ...]:
        """As the contract takes them."""
        return (
            self.emergency_wei,
            self.debt_limit_wei,
            self.from_minute,
            self.until_minute,
            self.weekdays,
            self.whole_days,
            self.recovery_percent,
        )


async def read_credit(client: RpcClient, meter: bytes, time_s: int, block: BlockTag = "latest") -> Credit:
    """The account as of a block, and whether supply is allowed at a time. Raises UserError, InvalidAnswer."""
    account = await ask_one(client, EXHAUSTION, "accountOf", [meter], block)
    credit_wei, overdrawn_wei, debt_wei, owed_wei, low_credit_wei, period_wh, _period_end_day = account
    average_wei, days_left = await ask(client, EXHAUSTION, "estimateOf", [meter], block)
    supply_allowed = await ask_one(client, EXHAUSTION, "supplyAllowed", [meter, time_s], block)
    return Credit(
        meter,
        credit_wei,
        overdrawn_wei,
        debt_wei,
        owed_wei,
        low_credit_wei,
        period_wh,
        average_wei,
        None if days_left == NO_END_DAYS else days_left,
        supply_allowed,
    )


async def read_terms(client: RpcClient, supplier: bytes, block: BlockTag = "latest") -> Terms:
    """Raises UserError, InvalidAnswer."""
    return Terms(*await ask_one(client, EXHAUSTION, "termsOf", [supplier], block))


def _voucher_not_open(values: Mapping[str, Any]) -> str:
    return {
        1: "The voucher {serial} of {supplier} was redeemed before; each is worth its amount once.",
        2: "The voucher {serial} of {supplier} was revoked by its supplier.",
    }.get(values["status"], "The voucher {serial} of {supplier} cannot be redeemed.")


EXHAUSTION = Contract(
    name="Exhaustion",
    address=EXHAUSTION_ADDRESS,
    title="the credit's contract",
    missing="This network has no contract for prepaid credit: its genesis file lacks it.",
    refusals={
        "AccountTooSmall": "The account of the supplier {supplier} has {accountWei}, less than {amountWei}.",
        "AmountZero": "An amount of nothing cannot be paid.",
        "CreditTooSmall": (
            "The meter {meter} has {availableWei} of credit that can be taken, once its debts are settled; {amountWei} "
            "is more."
        ),
        "DayCountInvalid": "From 1 to {maximum} holidays can be set at a time, not {count}.",
        "FriendlyHoursInvalid": (
            "Friendly hours need weekdays and a time of day in which they begin and end at different minutes, such as "
            "mon-fri 18:00-08:00; minutes {fromMinute} to {untilMinute}, weekdays {weekdays} and {wholeDays} are wrong."
        ),
        "HeldTooLarge": "The contract would hold {heldWei}; it takes no more than {maximumWei} in all.",
        "MeterNotRemoved": (
            "The meter {meter} is still in use. Its credit is paid out once its supplier, or a regulator, has removed "
            "it; until then it can be given to another meter with `wattchain credit transfer`."
        ),
        "MeterRemovedAboveDebt": (
            "The meter {meter} was removed: it takes no more than its debt of {debtWei}, and {amountWei} is more."
        ),
        "NotMeterContract": "Only the meters' contract reports readings, not {caller}.",
        "NotOwner": "{caller} is not the owner of the meter {meter}, and only the owner may do this.",
        "NotPrepaid": "{meter} is not a prepaid meter of this network.",
        "NotRegistry": "Only the registry reports that a meter was swapped, not {caller}.",
        "NotTariffs": "Only the tariffs' contract announces versions, not {caller}.",
        "OverdrawnTooLarge": (
            "The meter {meter} cannot be swapped: it is overdrawn, or owed, by {overdrawnWei}, above {maximumWei}."
        ),
        "RecoveryInvalid": "The share of a payment that goes to debt is from 1 to 100 percent, not {recoveryPercent}.",
        "SameMeter": "{meter} cannot give credit to itself; name two meters.",
        "SerialCountInvalid": "From 1 to {maximum} vouchers can be revoked at a time, not {count}.",
        "VoucherExpired": "The voucher {serial} of {supplier} was valid until {expiry}.",
        "VoucherForAnotherMeter": "The voucher is for the meter {voucherMeter}, not for {meter}.",
        "VoucherIncomplete": "The voucher must name either a meter or a bearer's key; it names {meter} and {holder}.",
        "VoucherNotOpen": _voucher_not_open,
        "VoucherOfAnotherSupplier": (
            "The voucher is of the supplier {voucherSupplier}; the meter {meter} has the supplier {supplier}."
        ),
        "VoucherSignatureInvalid": "The voucher is not signed by {signer}: it is damaged, or forged.",
        "WithdrawalFailed": "{to} refused to take {amountWei}; nothing has changed.",
        "ZeroAddress": "The address of nothing but zeros is nobody's; give another.",
    },
    words={"status": {0: "open", 1: "redeemed", 2: "revoked"}},
)
