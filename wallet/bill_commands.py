"""`wattchain bill`: what a postpaid meter has used, its bills, and paying them.

What is read is in wallet/billing.py, how a bill looks in wallet/bill_document.py; what only suppliers do is in
wallet/bill_supplier_commands.py.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from primitives.errors import UserError
from primitives.hexadecimal import to_checksum_address
from wallet.amounts import format_amount, parse_amount
from wallet.bill_document import as_csv, as_pdf, as_text, period_text
from wallet.bill_supplier_commands import MAX_NUMBER, SUPPLIERS_COMMANDS
from wallet.billing import (
    BILLING,
    Account,
    Bill,
    Party,
    Report,
    read_account,
    read_bill,
    read_bills,
    read_party,
    read_report,
)
from wallet.client import RpcClient
from wallet.command_line import PlainGroup, WholeNumber, json_option, node_option, print_result, say
from wallet.commands import keystore_option
from wallet.contract_call import ContractCall, ContractEvent, ask, the_event
from wallet.contract_commands import (
    Outcome,
    Plan,
    Sending,
    ask_node,
    ledger_time_s,
    parse_account,
    send_planned,
    sending_options,
)
from wallet.key_directory import KeyDirectory
from wallet.payout import ALL
from wallet.quantities import format_day, format_energy, format_time


@click.group(cls=PlainGroup)
def bill() -> None:
    """Energy that is paid for afterwards: usage and bills.

    A postpaid meter's readings are charged by its tariff as they come; when a billing period is over there is a bill,
    which anybody may pay, in parts if need be. Suppliers set how long there is for paying, and take what was paid.
    """


@dataclass(frozen=True, slots=True)
class Overview:
    """All that `show` tells of a meter without a bill's number."""

    party: Party | None
    """None where the address is no postpaid meter, but a program reports for it."""
    account: Account
    bills: Sequence[Bill]
    report: Report
    disconnection: tuple[int, int] | None
    """The unpaid bill for which the supply is cut, and the Unix time of it."""


@bill.command()
@click.argument("meter")
@click.argument("number", type=WholeNumber(1, MAX_NUMBER), required=False)
@click.option("--csv", "csv_file", type=click.Path(path_type=Path), metavar="FILE",
              help="Write the bill, or without a NUMBER all of them, as a table for a spreadsheet.")  # fmt: skip
@click.option("--pdf", "pdf_file", type=click.Path(path_type=Path), metavar="FILE",
              help="Write the bill, or without a NUMBER the newest one, as a page for printing.")  # fmt: skip
@click.option("--font", type=click.Path(path_type=Path), metavar="FILE",
              help="A TrueType font for the page, where names have letters that are not western ones.")  # fmt: skip
@keystore_option
@node_option
@json_option
def show(
    meter: str,
    number: int | None,
    csv_file: Path | None,
    pdf_file: Path | None,
    font: Path | None,
    keys: KeyDirectory,
    node: str,
    as_json: bool,
) -> None:
    """Show what METER has used and its bills, or its bill NUMBER in full.

    \b
      wattchain bill show 0xMETER
      wattchain bill show 0xMETER 3 --pdf march.pdf
    """
    address = parse_account(meter, keys)
    if number is not None:
        found, party = ask_node(node, lambda client: _ask_bill(client, address, number))
        _write_files([found], found, party, csv_file, pdf_file, font)
        print_result(_bill_json(found, party), as_text(found, party), as_json)
        return
    overview = ask_node(node, lambda client: _ask_overview(client, address))
    newest = overview.bills[-1] if overview.bills else None
    if (csv_file or pdf_file) and (newest is None or overview.party is None):
        raise UserError(f"There is no bill of the meter {to_checksum_address(address)} yet.")
    if newest is not None and overview.party is not None:
        _write_files(overview.bills, newest, overview.party, csv_file, pdf_file, font)
    print_result(_overview_json(overview, address), _overview_text(overview, address), as_json)


@bill.command()
@click.argument("meter")
@click.argument("number", type=WholeNumber(1, MAX_NUMBER))
@click.argument("amount", default=ALL)
@sending_options
def pay(meter: str, number: int, amount: str, sending: Sending) -> None:
    """Pay on the bill NUMBER of METER: AMOUNT, or all that is open.

    Anybody may pay, any part. The receipt is kept on the ledger.

    \b
      wattchain bill pay 0xMETER 3
      wattchain bill pay 0xMETER 3 25
    """
    address = parse_account(meter, sending.keys)
    amount_wei = None if amount == ALL else parse_amount(amount)

    def outcome(events: Sequence[ContractEvent]) -> Outcome:
        paid = the_event(events, "Paid", number=number).values
        left = "The bill is paid." if paid["openWei"] == 0 else f"{format_amount(paid['openWei'])} are still open."
        text = f"Receipt {paid['receipt']} of the supplier: {format_amount(paid['amountWei'])} paid. {left}"
        return Outcome({"receipt": paid["receipt"], "open_wei": str(paid["openWei"])}, text)

    async def plan(client: RpcClient, _sender: bytes) -> Plan:
        found = await read_bill(client, address, number)
        paying_wei = found.open_wei if amount_wei is None else amount_wei
        if found.open_wei == 0:
            raise UserError(f"The bill {number} of the meter {to_checksum_address(address)} is paid.")
        lines = [
            ("Bill", f"{number} of {to_checksum_address(address)}, {period_text(found)}"),
            ("Open", format_amount(found.open_wei)),
            ("Pay", format_amount(paying_wei)),
        ]
        result = {
            "meter": to_checksum_address(address),
            "number": number,
            "amount_wei": str(paying_wei),
            "receipt": None,
            "open_wei": None,
        }
        call = ContractCall(BILLING, "pay", (address, number), paying_wei)
        return Plan(call, lines, outcome, "Pay this?", result)

    send_planned(sending, plan)


@bill.command()
@click.argument("meter")
@sending_options
def close(meter: str, sending: Sending) -> None:
    """Have the bill of METER issued whose period is over.

    The first reading of the next period does it by itself. This is for a meter that sends none: from a day after the
    period's end on, and at once for a meter that was removed.
    """
    address = parse_account(meter, sending.keys)

    def outcome(events: Sequence[ContractEvent]) -> Outcome:
        issued = the_event(events, "BillIssued").values
        text = f"Bill {issued['number']}: {format_amount(issued['dueWei'])} until {format_time(issued['dueAt'])}."
        return Outcome({"number": issued["number"], "due_wei": str(issued["dueWei"])}, text)

    async def plan(_client: RpcClient, _sender: bytes) -> Plan:
        result = {"meter": to_checksum_address(address), "number": None, "due_wei": None}
        lines = [("Bill", f"of {to_checksum_address(address)}, for the period that is over")]
        return Plan(ContractCall(BILLING, "closePeriod", (address,)), lines, outcome, "Issue this bill?", result)

    send_planned(sending, plan)


async def _ask_bill(client: RpcClient, meter: bytes, number: int) -> tuple[Bill, Party]:
    party = await read_party(client, meter, await ledger_time_s(client))
    return await read_bill(client, meter, number), party


async def _ask_overview(client: RpcClient, meter: bytes) -> Overview:
    report = await read_report(client, meter)
    account = await read_account(client, meter)
    party = None
    if not (report.is_active or report.last_update_s) or account.bill_count or any(account.supplier):
        party = await read_party(client, meter, await ledger_time_s(client))
    bills = await read_bills(client, meter, account.bill_count)
    number, at_s = await ask(client, BILLING, "disconnectionOf", [meter])
    return Overview(party, account, bills, report, (number, at_s) if number else None)


def _write_files(
    bills: Sequence[Bill], one: Bill, party: Party, csv_file: Path | None, pdf_file: Path | None, font: Path | None
) -> None:
    if csv_file is not None:
        _write(csv_file, as_csv(bills, party).encode())
    if pdf_file is not None:
        _write(pdf_file, as_pdf(one, party, font))


def _write(path: Path, content: bytes) -> None:
    """A new file. Raises UserError, also where it is there: a bill is not to take the place of another file."""
    try:
        with path.open("xb") as file:
            file.write(content)
    except FileExistsError as error:
        raise UserError(f"The file {path} is there already; give another name.") from error
    except OSError as error:
        raise UserError(f"The file {path} cannot be written: {error.strerror}.") from error
    say(f"Written to {path}.")


def _overview_text(overview: Overview, meter: bytes) -> str:
    lines = [f"Meter {to_checksum_address(meter)}"]
    account, party = overview.account, overview.party
    if party is not None:
        name = f"{party.supplier_name}, " if party.supplier_name else ""
        lines.append(f"Supplied by {name}{to_checksum_address(party.supplier)}; {_status(account)}.")
        since = f" since {format_day(account.start_day)}" if account.start_day else ""
        so_far_wei = account.energy_wei + account.standing_wei - account.export_wei
        used = format_energy(account.imported_wh)
        given = f", {format_energy(account.exported_wh)} given" if account.exported_wh else ""
        lines.append(f"Not on a bill yet{since}: {used} taken{given}, {format_amount(so_far_wei)}.")
        if account.last_update_s:
            lines.append(f"Last reading {format_time(account.last_update_s, party.zone_s)}.")
        if account.credit_wei:
            lines.append(f"Credit for the next bills: {format_amount(account.credit_wei)}.")
        if overview.disconnection is not None:
            number, at_s = overview.disconnection
            at = format_time(at_s, party.zone_s)
            lines.append(f"THE SUPPLY IS CUT from {at} on for bill {number}, unless it is paid.")
        lines.append("")
        lines += [_bill_line(one, party.zone_s) for one in overview.bills] or ["There is no bill yet."]
    report = overview.report
    if report.is_active or report.last_update_s:
        kept = "active" if report.is_active else "not active"
        by = f"{report.provider_name}, " if report.provider_name else ""
        lines.append(f"Reported: usage {report.usage}, bill {report.bill}, {kept},")
        lines.append(f"kept by {by}{to_checksum_address(report.provider)}.")
        if report.provider_description:
            lines.append(report.provider_description)
        if report.last_update_s:
            lines.append(f"Last report {format_time(report.last_update_s)}.")
    return "\n".join(lines)


def _status(account: Account) -> str:
    return "active" if account.is_active else "not active"


def _bill_line(one: Bill, zone_s: int) -> str:
    until = format_time(one.due_at_s, zone_s)
    state = "paid" if one.open_wei == 0 else f"{format_amount(one.open_wei)} open, until {until}"
    return f"{one.number:>4}  {period_text(one)}  {format_energy(one.imported_wh):>14}  {state}"


def _overview_json(overview: Overview, meter: bytes) -> dict[str, object]:
    account, report, party = overview.account, overview.report, overview.party
    metered = party and {
        "account": to_checksum_address(account.name),
        "supplier": to_checksum_address(party.supplier),
        "supplier_name": party.supplier_name,
        "supplier_description": party.supplier_description,
        "active": account.is_active,
        "imported_wh": account.imported_wh,
        "exported_wh": account.exported_wh,
        "energy_wei": str(account.energy_wei),
        "standing_wei": str(account.standing_wei),
        "export_wei": str(account.export_wei),
        "credit_wei": str(account.credit_wei),
        "last_update": account.last_update_s or None,
        "cut_for_bill": overview.disconnection and overview.disconnection[0],
        "cut_at": overview.disconnection and overview.disconnection[1],
        "bills": [_bill_json(one) for one in overview.bills],
    }
    reported = {
        "active": report.is_active,
        "reports_itself": report.reports_itself,
        "last_update": report.last_update_s or None,
        "usage": str(report.usage),
        "bill": str(report.bill),
        "provider": to_checksum_address(report.provider),
        "provider_name": report.provider_name,
        "provider_description": report.provider_description,
    }
    is_reported = report.is_active or bool(report.last_update_s)
    return {"meter": to_checksum_address(meter), "metered": metered, "reported": reported if is_reported else None}


def _bill_json(one: Bill, party: Party | None = None) -> dict[str, object]:
    shown: dict[str, object] = {
        "number": one.number,
        "from": format_day(one.start_day),
        "to": format_day(max(one.start_day, one.end_day - 1)),
        "imported_wh": one.imported_wh,
        "exported_wh": one.exported_wh,
        "energy_wei": str(one.energy_wei),
        "standing_wei": str(one.standing_wei),
        "export_wei": str(one.export_wei),
        "earlier_credit_wei": str(one.earlier_credit_wei),
        "due_wei": str(one.due_wei),
        "late_fee_wei": str(one.fee_wei),
        "paid_wei": str(one.paid_wei),
        "open_wei": str(one.open_wei),
        "issued_at": one.issued_at_s,
        "due_at": one.due_at_s,
    }
    if party is not None:
        shown |= {
            "meter": to_checksum_address(party.meter),
            "customer": to_checksum_address(party.owner),
            "supplier": to_checksum_address(party.supplier),
            "supplier_name": party.supplier_name,
            "tariff": party.tariff or None,
        }
    return shown


for command in SUPPLIERS_COMMANDS:
    bill.add_command(command)
