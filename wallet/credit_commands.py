"""`wattchain credit`: prepaid credit of meters.

What is read is in wallet/credit.py; what suppliers do is in supply_commands.py, vouchers have a group of their own.
"""

from collections.abc import Sequence

import click

from primitives.errors import UserError
from primitives.hexadecimal import to_checksum_address
from wallet.amounts import format_amount, parse_amount
from wallet.client import RpcClient
from wallet.command_line import LazyCommand, LazyGroup, json_option, node_option, print_result
from wallet.commands import keystore_option
from wallet.contract_call import ContractCall, ContractEvent, the_event
from wallet.contract_commands import (
    Outcome,
    Plan,
    Sending,
    ask_node,
    event_json,
    ledger_time_s,
    parse_account,
    send_call,
    send_planned,
    sending_options,
)
from wallet.credit import EXHAUSTION, Credit, read_credit
from wallet.key_directory import KeyDirectory
from wallet.quantities import counted, format_energy
from wallet.registry import SINKS, MeterRecord, read_meter

SUPPLIER_COMMANDS = {
    "account": LazyCommand("wallet.supply_commands:account", "A supplier's money in the contract."),
    "deposit": LazyCommand("wallet.supply_commands:deposit", "Pay into a supplier's account."),
    "holidays": LazyCommand("wallet.supply_commands:holidays", "As a supplier: days on which supply is not cut."),
    "payout": LazyCommand("wallet.supply_commands:payout", "As a supplier: take money out of your account."),
    "set-terms": LazyCommand("wallet.supply_commands:set_terms", "As a supplier: emergency credit and friendly hours."),
    "terms": LazyCommand("wallet.supply_commands:terms", "What a supplier allows once credit is used up."),
}


@click.group(cls=LazyGroup, lazy_commands=SUPPLIER_COMMANDS)
def credit() -> None:
    """Prepaid credit.

    A prepaid meter has credit, and every reading is charged to it by the meter's tariff. Anybody can pay for a meter,
    with WATT or with a voucher (`wattchain voucher redeem`). When the credit is used up, the supplier's emergency
    credit and friendly hours decide how long supply goes on.

      wattchain credit top-up 0x... 25 --from home
    """


@credit.command("top-up")
@click.argument("meter")
@click.argument("amount")
@sending_options
def top_up(meter: str, amount: str, sending: Sending) -> None:
    """Pay AMOUNT for METER.

    METER is a meter's address or the name of one of your keys; AMOUNT is in WATT. What is overdrawn is repaid first,
    then a share of its debt; the rest is credit. A payment cannot be taken back.
    """
    address, wei = parse_account(meter, sending.keys), parse_amount(amount)

    async def plan(client: RpcClient, _sender: bytes) -> Plan:
        before = await read_credit(client, address, await ledger_time_s(client))
        lines = [("Pay", format_amount(wei)), ("Meter", to_checksum_address(address)), ("Now", _balance_text(before))]
        call = ContractCall(EXHAUSTION, "topUp", (address,), wei)
        return Plan(call, lines, lambda events: topped_up(events, address), "Pay this?")

    send_planned(sending, plan)


@credit.command()
@click.argument("meters", metavar="METER...", nargs=-1, required=True)
@keystore_option
@node_option
@json_option
def balance(meters: Sequence[str], keys: KeyDirectory, node: str, as_json: bool) -> None:
    """Show the credit of meters, and how long it will last.

    METER is a meter's address or the name of one of your keys.
    """
    addresses = [parse_account(meter, keys) for meter in meters]

    async def ask(client: RpcClient) -> list[tuple[Credit, MeterRecord]]:
        time_s = await ledger_time_s(client)
        return [await _read_prepaid(client, address, time_s) for address in addresses]

    found = ask_node(node, ask)
    text = "\n".join(["\n".join(_credit_lines(*one)) for one in found])
    print_result([_credit_json(*one) for one in found], text, as_json)


async def _read_prepaid(client: RpcClient, meter: bytes, time_s: int) -> tuple[Credit, MeterRecord]:
    record = await read_meter(client, meter)
    if record.sink == SINKS["postpaid"]:
        raise UserError(
            f"The meter {to_checksum_address(meter)} is a postpaid one, so it has no credit. `wattchain bill show` "
            "tells what it has used."
        )
    return await read_credit(client, meter, time_s), record


@credit.command()
@click.argument("from_meter", metavar="FROM")
@click.argument("to_meter", metavar="TO")
@click.argument("amount")
@sending_options
def transfer(from_meter: str, to_meter: str, amount: str, sending: Sending) -> None:
    """Give AMOUNT of the credit of your meter FROM to a neighbour's meter TO.

    Signed by the owner of FROM. What FROM owes from friendly hours is settled before; at TO it counts like a payment.
    """
    giver, taker = parse_account(from_meter, sending.keys), parse_account(to_meter, sending.keys)
    wei = parse_amount(amount)

    async def plan(client: RpcClient, _sender: bytes) -> Plan:
        before = await read_credit(client, giver, await ledger_time_s(client))
        lines = [
            ("Give", format_amount(wei)),
            ("Meter", f"{to_checksum_address(giver)}, {_balance_text(before)}"),
            ("To", to_checksum_address(taker)),
        ]

        def outcome(events: Sequence[ContractEvent]) -> Outcome:
            given = the_event(events, "CreditTransferred", **{"from": giver})
            taken = the_event(events, "ToppedUp", meter=taker).values
            text = f"{format_amount(wei)} given. {to_checksum_address(taker)} has {_signed_text(taken['balanceWei'])}."
            result = {**event_json(EXHAUSTION, given), "balance_wei": str(taken["balanceWei"])}
            return Outcome(result, text)

        call = ContractCall(EXHAUSTION, "transferCredit", (giver, taker, wei))
        return Plan(call, lines, outcome, "Give this?")

    send_planned(sending, plan)


@credit.command()
@click.argument("meter")
@sending_options
def refund(meter: str, sending: Sending) -> None:
    """Take back the credit that is left of a METER that was removed.

    When you leave: after the supplier has removed the meter, its owner gets what is left, to the owner's account.
    """
    address = parse_account(meter, sending.keys)

    async def plan(client: RpcClient, _sender: bytes) -> Plan:
        before = await read_credit(client, address, await ledger_time_s(client))
        lines = [("Take", f"the credit of {to_checksum_address(address)}"), ("Now", _balance_text(before))]

        def outcome(events: Sequence[ContractEvent]) -> Outcome:
            paid = the_event(events, "CreditWithdrawn", meter=address)
            amounts = format_amount(paid.values["amountWei"]), to_checksum_address(paid.values["owner"])
            return Outcome(event_json(EXHAUSTION, paid), "{} paid to {}.".format(*amounts))

        return Plan(ContractCall(EXHAUSTION, "withdrawCredit", (address,)), lines, outcome, "Take this?")

    send_planned(sending, plan)


@credit.command()
@click.argument("meter")
@click.argument("amount")
@sending_options
def threshold(meter: str, amount: str, sending: Sending) -> None:
    """Be warned when the credit of your METER falls below AMOUNT.

    AMOUNT is in WATT, 0 for no warning. The warning is an event on the ledger, LowCredit.
    """
    address, wei = parse_account(meter, sending.keys), parse_amount(amount)
    call = ContractCall(EXHAUSTION, "setLowCreditThreshold", (address, wei))
    lines = [("Meter", to_checksum_address(address)), ("Warn", f"below {format_amount(wei)}" if wei else "never")]
    told = "The credit of {meter} is reported when it falls below {lowCreditWei}."
    send_call(sending, call, lines, "LowCreditThresholdSet", told)


@credit.command("pay-owed")
@click.argument("meter")
@sending_options
def pay_owed(meter: str, sending: Sending) -> None:
    """Have what a supplier owes METER for energy given to the grid paid to its credit.

    As far as the supplier has money in the contract. Anybody may ask for it.
    """
    address = parse_account(meter, sending.keys)
    call = ContractCall(EXHAUSTION, "payOwed", (address,))
    told = "{paidWei} paid to {meter}; {owedWei} is still owed."
    send_call(sending, call, [("Meter", to_checksum_address(address))], "OwedPaid", told)


def topped_up(events: Sequence[ContractEvent], meter: bytes) -> Outcome:
    """What a payment for a meter came to, by whatever way it was paid."""
    event = the_event(events, "ToppedUp", meter=meter)
    values = event.values
    text = f"{format_amount(values['amountWei'])} paid; {to_checksum_address(meter)} has"
    text += f" {_signed_text(values['balanceWei'])}."
    if values["settledWei"]:
        text += f" {format_amount(values['settledWei'])} repaid what was overdrawn."
    if values["recoveredWei"]:
        text += f" {format_amount(values['recoveredWei'])} went to its debt."
    return Outcome(event_json(EXHAUSTION, event), text)


def _signed_text(balance_wei: int) -> str:
    if balance_wei < 0:
        return f"{format_amount(-balance_wei)} overdrawn"
    return f"{format_amount(balance_wei)} of credit"


def _balance_text(one: Credit) -> str:
    text = _signed_text(-one.overdrawn_wei if one.overdrawn_wei else one.credit_wei)
    return f"{text}, {format_amount(one.debt_wei)} of debt" if one.debt_wei else text


def _credit_lines(one: Credit, record: MeterRecord) -> list[str]:
    lines = [f"{to_checksum_address(one.meter)}  {_balance_text(one)}"]
    lines.append(f"  Supply     {'on' if one.supply_allowed else 'OFF'}")
    if record.successor is not None:
        lines.append(f"  Replaced   by {to_checksum_address(record.successor)}, which has taken the credit over")
    elif not record.is_active:
        lines.append("  Removed    by the supplier; `wattchain credit refund` gives its owner what is left")
    if one.days_left is not None:
        average = format_amount(one.average_wei_a_day)
        lines.append(f"  Lasts      about {counted(one.days_left, 'day')}, at {average} a day")
    if one.owed_wei:
        lines.append(f"  Owed       {format_amount(one.owed_wei)} by the supplier, for energy given to the grid")
    if one.low_credit_wei:
        lines.append(f"  Warning    below {format_amount(one.low_credit_wei)}")
    lines.append(f"  Period     {format_energy(one.period_wh)} taken so far")
    return lines


def _credit_json(one: Credit, record: MeterRecord) -> dict[str, object]:
    return {
        "meter": to_checksum_address(one.meter),
        "credit_wei": str(one.credit_wei),
        "overdrawn_wei": str(one.overdrawn_wei),
        "debt_wei": str(one.debt_wei),
        "owed_wei": str(one.owed_wei),
        "low_credit_wei": str(one.low_credit_wei),
        "period_wh": one.period_wh,
        "average_wei_a_day": str(one.average_wei_a_day),
        "days_left": one.days_left,
        "supply_allowed": one.supply_allowed,
        "successor": record.successor and to_checksum_address(record.successor),
    }
