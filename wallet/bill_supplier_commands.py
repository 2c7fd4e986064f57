"""The commands of `wattchain bill` that suppliers use: name, terms, what was paid, cuts, and reported accounts."""

from collections.abc import Sequence

import click

from primitives.errors import UserError
from primitives.hexadecimal import to_checksum_address
from wallet.amounts import format_amount, parse_amount
from wallet.bill_document import percent_text
from wallet.billing import BILLING, read_bill
from wallet.client import RpcClient
from wallet.command_line import WholeNumber
from wallet.contract_call import ContractCall, ContractEvent, the_event
from wallet.contract_commands import Outcome, Plan, Sending, parse_account, send_planned, sending_options
from wallet.payout import payout_options, send_payout
from wallet.quantities import format_time

MAX_NUMBER = 2**24 - 1
MAX_BASIS_POINTS = 2**16 - 1


@click.command()
@click.argument("name")
@click.option("--description", default="", help="A line about the supplier, such as its address.")
@sending_options
def describe(name: str, description: str, sending: Sending) -> None:
    """As a supplier: set the NAME that stands on your bills."""

    def outcome(events: Sequence[ContractEvent]) -> Outcome:
        the_event(events, "ProviderDescribed")
        return Outcome({"done": True}, f"Your bills are headed {name} from now on.")

    async def plan(_client: RpcClient, _sender: bytes) -> Plan:
        call = ContractCall(BILLING, "describeProvider", (name, description))
        result = {"name": name, "description": description, "done": None}
        return Plan(call, [("Name", name), ("About", description or "nothing")], outcome, result=result)

    send_planned(sending, plan)


@click.command()
@click.option("--days", type=WholeNumber(7, 366), required=True, help="Days for paying a bill.")
@click.option("--late-fee", default="0", metavar="PERCENT", help="Once, on what is open after that; 10 at most.")
@sending_options
def terms(days: int, late_fee: str, sending: Sending) -> None:
    """As a supplier: set how long there is for paying, and the late fee.

    It holds for bills that are issued in 30 days or later; bills that are there keep their terms.
    """
    basis_points = _basis_points(late_fee)
    shown = f"{days} days, late fee {percent_text(basis_points) if basis_points else 'none'}"

    def outcome(events: Sequence[ContractEvent]) -> Outcome:
        from_s = the_event(events, "TermsAnnounced").values["from"]
        return Outcome({"from": from_s}, f"It holds for bills from {format_time(from_s)} on.")

    async def plan(_client: RpcClient, _sender: bytes) -> Plan:
        call = ContractCall(BILLING, "announceTerms", (days, basis_points))
        result = {"days": days, "late_fee_basis_points": basis_points, "from": None}
        return Plan(call, [("Terms", shown)], outcome, "Announce this?", result)

    send_planned(sending, plan)


@click.command()
@payout_options
def payout(amount: str, to: str | None, sending: Sending) -> None:
    """As a supplier: take an AMOUNT of what was paid on your bills, or all of it."""
    send_payout(BILLING, "supplierAccountOf", amount, to, sending)


@click.command()
@click.argument("meter")
@click.argument("number", type=WholeNumber(1, MAX_NUMBER))
@sending_options
def disconnect(meter: str, number: int, sending: Sending) -> None:
    """As a supplier: announce that METER is cut off for its overdue bill.

    It happens in seven days, unless the bill NUMBER is paid before; paying it later switches the supply on again.
    """
    address = parse_account(meter, sending.keys)

    def outcome(events: Sequence[ContractEvent]) -> Outcome:
        at_s = the_event(events, "DisconnectionAnnounced").values["disconnectionAt"]
        return Outcome({"cut_at": at_s}, f"The supply is cut at {format_time(at_s)} unless the bill is paid before.")

    async def plan(client: RpcClient, _sender: bytes) -> Plan:
        found = await read_bill(client, address, number)
        lines = [("Meter", to_checksum_address(address)), ("Bill", f"{number}, {format_amount(found.open_wei)} open")]
        result = {"meter": to_checksum_address(address), "number": number, "cut_at": None}
        call = ContractCall(BILLING, "announceDisconnection", (address, number))
        return Plan(call, lines, outcome, "Announce this?", result)

    send_planned(sending, plan)


@click.command()
@click.argument("meter")
@sending_options
def reconnect(meter: str, sending: Sending) -> None:
    """As a supplier: take back that METER is cut off for a bill."""
    address = parse_account(meter, sending.keys)

    def outcome(events: Sequence[ContractEvent]) -> Outcome:
        number = the_event(events, "DisconnectionEnded").values["number"]
        return Outcome({"number": number}, f"The supply is not cut for the bill {number} any more.")

    async def plan(_client: RpcClient, _sender: bytes) -> Plan:
        result = {"meter": to_checksum_address(address), "number": None}
        call = ContractCall(BILLING, "withdrawDisconnection", (address,))
        return Plan(call, [("Meter", to_checksum_address(address))], outcome, "Take it back?", result)

    send_planned(sending, plan)


@click.command()
@click.argument("account")
@click.option("--itself", is_flag=True, help="The account's own program may raise its usage and its bill.")
@click.option("--end", is_flag=True, help="End it instead; what was reported stays as it is.")
@sending_options
def report(account: str, itself: bool, end: bool, sending: Sending) -> None:
    """As a supplier: keep the reported usage and bill of ACCOUNT.

    For programs that count energy themselves and report sums with setDebt, as in the El DApp paper. An account may end
    it as well.
    """
    user = parse_account(account, sending.keys)
    function, arguments = ("deactivate", (user,)) if end else ("activate", (user, itself))
    text = "no longer kept" if end else "kept, and reports itself" if itself else "kept by you alone"

    def outcome(events: Sequence[ContractEvent]) -> Outcome:
        the_event(events, "AccountDeactivated" if end else "AccountActivated", user=user)
        return Outcome({"done": True}, f"The account {to_checksum_address(user)} is {text}.")

    async def plan(_client: RpcClient, _sender: bytes) -> Plan:
        lines = [("Account", f"{to_checksum_address(user)} is {text}")]
        result = {"account": to_checksum_address(user), "done": None}
        return Plan(ContractCall(BILLING, function, arguments), lines, outcome, result=result)

    send_planned(sending, plan)


def _basis_points(text: str) -> int:
    """Hundredths of a percent of "2.5" or "2.5 %"; through the exact amounts of the coin, whose form it has."""
    scaled = parse_amount(text.strip().removesuffix("%").strip())
    points, rest = divmod(scaled, 10**16)
    if rest or points > MAX_BASIS_POINTS:
        raise UserError(f"{text[:40]} is no late fee: a percentage with at most two digits behind the point.")
    return points


SUPPLIERS_COMMANDS = (describe, terms, payout, disconnect, reconnect, report)
