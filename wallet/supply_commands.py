"""What suppliers of prepaid meters do with their money and their terms: subcommands of `wattchain credit`."""

from collections.abc import Sequence

import click

from primitives.errors import UserError
from primitives.hexadecimal import to_checksum_address
from wallet.amounts import format_amount, parse_amount
from wallet.client import RpcClient
from wallet.command_line import WholeNumber, json_option, node_option, print_result
from wallet.commands import keystore_option
from wallet.contract_call import ContractCall, ContractEvent, ask_one, the_event
from wallet.contract_commands import (
    Outcome,
    Plan,
    Sending,
    ask_node,
    parse_account,
    send_call,
    send_planned,
    sending_options,
)
from wallet.credit import EXHAUSTION, Terms, read_terms
from wallet.key_directory import KeyDirectory
from wallet.payout import payout_options, send_payout
from wallet.quantities import format_day, parse_time_s
from wallet.tariff_file import parse_span, parse_weekdays, weekdays_text
from wallet.tariffs import clock_text

DAY_S = 86_400


@click.command()
@click.argument("supplier")
@keystore_option
@node_option
@json_option
def account(supplier: str, keys: KeyDirectory, node: str, as_json: bool) -> None:
    """Show the money of SUPPLIER in the contract.

    What customers' energy has earned, and what was paid in; it pays for vouchers and for energy given to the grid.
    """
    address = parse_account(supplier, keys)

    async def ask(client: RpcClient) -> int:
        return int(await ask_one(client, EXHAUSTION, "supplierAccountOf", [address]))

    wei = ask_node(node, ask)
    name = to_checksum_address(address)
    print_result({"supplier": name, "account_wei": str(wei)}, f"{name} has {format_amount(wei)}.", as_json)


@click.command()
@click.argument("supplier")
@click.argument("amount")
@sending_options
def deposit(supplier: str, amount: str, sending: Sending) -> None:
    """Pay AMOUNT into the account of SUPPLIER.

    So that it can pay for vouchers and for energy given to the grid before its meters have earned it.
    """
    address, wei = parse_account(supplier, sending.keys), parse_amount(amount)
    call = ContractCall(EXHAUSTION, "deposit", (address,), wei)
    lines = [("Pay", format_amount(wei)), ("For", to_checksum_address(address))]
    send_call(sending, call, lines, "Deposited", "{amountWei} paid into the account of {supplier}.")


@click.command()
@payout_options
def payout(amount: str, to: str | None, sending: Sending) -> None:
    """As a supplier: take an AMOUNT out of your account in the contract, or all of it."""
    send_payout(EXHAUSTION, "supplierAccountOf", amount, to, sending)


@click.command()
@click.argument("supplier")
@keystore_option
@node_option
@json_option
def terms(supplier: str, keys: KeyDirectory, node: str, as_json: bool) -> None:
    """Show what SUPPLIER allows once the credit is used up."""
    address = parse_account(supplier, keys)

    async def ask(client: RpcClient) -> Terms:
        return await read_terms(client, address)

    found = ask_node(node, ask)
    lines = [f"{label:<10}{text}" for label, text in _terms_lines(found)]
    print_result(_terms_json(found), "\n".join(lines), as_json)


@click.command("set-terms")
@click.option("--emergency", default="0", metavar="AMOUNT", help="WATT that may be overdrawn at any time.")
@click.option("--friendly", metavar="HOURS", help="Hours in which supply is not cut, such as 'mon-fri 18:00-08:00'.")
@click.option("--whole-days", metavar="DAYS", help="Weekdays on which it is not cut at all, such as sat,sun.")
@click.option("--debt-limit", default="0", metavar="AMOUNT", help="WATT of debt up to which friendly hours help.")
@click.option("--recovery", default=100, show_default=True, type=WholeNumber(1, 100), metavar="PERCENT",
              help="Share of a payment that goes to such debt.")  # fmt: skip
@sending_options
def set_terms(
    emergency: str, friendly: str | None, whole_days: str | None, debt_limit: str, recovery: int, sending: Sending
) -> None:
    """As a supplier: set what you allow your meters once their credit is used up.

    All of it at once: what is left out is off. It holds from now on.

      wattchain credit set-terms --emergency 5 --friendly "mon-fri 18:00-08:00" --debt-limit 50 --recovery 30
    """
    if (friendly or whole_days) and parse_amount(debt_limit) == 0:
        raise UserError("Friendly hours only help up to a debt: say with --debt-limit how much.")
    weekdays, start, end = (0, 0, 0) if friendly is None else parse_span(friendly)
    whole = 0 if whole_days is None else parse_weekdays(whole_days)
    chosen = Terms(parse_amount(emergency), parse_amount(debt_limit), start, end, weekdays, whole, recovery)
    call = ContractCall(EXHAUSTION, "setTerms", (chosen.argument(),))

    def outcome(events: Sequence[ContractEvent]) -> Outcome:
        the_event(events, "TermsSet")
        return Outcome(_terms_json(chosen), "These terms hold for all your meters from now on.")

    async def plan(_client: RpcClient, _sender: bytes) -> Plan:
        return Plan(call, _terms_lines(chosen), outcome, "Set these terms?")

    send_planned(sending, plan)


@click.command()
@click.argument("dates", metavar="DATE...", nargs=-1, required=True)
@click.option("--remove", is_flag=True, help="These are no holidays any more.")
@sending_options
def holidays(dates: Sequence[str], remove: bool, sending: Sending) -> None:
    """As a supplier: days on which supply is not cut, from midnight to midnight.

    DATE is a day such as 2026-12-25, in your own time zone. They help up to the debt limit of your terms.
    """
    days = [parse_time_s(date) // DAY_S for date in dates]
    call = ContractCall(EXHAUSTION, "setHolidays", (days, not remove))

    def outcome(events: Sequence[ContractEvent]) -> Outcome:
        changed = [event.values["day"] for event in events if event.name == "HolidaySet"]
        shown = ", ".join([format_day(day) for day in changed])
        text = f"No holidays any more: {shown}." if remove else f"Holidays: {shown}."
        return Outcome({"days": changed, "are_holidays": not remove}, text)

    async def plan(_client: RpcClient, _sender: bytes) -> Plan:
        return Plan(call, [("Remove" if remove else "Days", ", ".join([format_day(day) for day in days]))], outcome)

    send_planned(sending, plan)


def _terms_lines(one: Terms) -> list[tuple[str, str]]:
    emergency = format_amount(one.emergency_wei) + " may be overdrawn" if one.emergency_wei else "none"
    lines = [("Credit", f"emergency credit: {emergency}")]
    spans = []
    if one.weekdays:
        spans.append(f"{weekdays_text(one.weekdays)} {clock_text(one.from_minute)}-{clock_text(one.until_minute)}")
    if one.whole_days:
        spans.append(f"{weekdays_text(one.whole_days)} all day")
    hours = ", ".join(spans) or "only listed holidays"
    lines.append(("Hours", f"friendly hours: {hours if one.debt_limit_wei else 'none'}"))
    if one.debt_limit_wei:
        limit, share = format_amount(one.debt_limit_wei), one.recovery_percent or 100
        lines.append(("Debt", f"up to {limit}; {share} % of what is paid goes to it"))
    return lines


def _terms_json(one: Terms) -> dict[str, object]:
    return {
        "emergency_wei": str(one.emergency_wei),
        "debt_limit_wei": str(one.debt_limit_wei),
        "from_minute": one.from_minute,
        "until_minute": one.until_minute,
        "weekdays": one.weekdays,
        "whole_days": one.whole_days,
        "recovery_percent": one.recovery_percent,
    }
