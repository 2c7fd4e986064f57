"""`wattchain registry`: who takes part in a network, and who decides about it.

What is read is in wallet/registry.py; meters are installed with `wattchain meter install`.
"""

import re
from collections.abc import Sequence

import click

from contracts.roles import Role
from primitives.errors import UserError
from primitives.hexadecimal import to_checksum_address
from wallet.client import RpcClient
from wallet.command_line import PlainGroup, WholeNumber, json_option, node_option, print_result
from wallet.commands import keystore_option
from wallet.contract_call import ContractCall, ask_one
from wallet.contract_commands import (
    Plan,
    Sending,
    ask_node,
    parse_account,
    send_call,
    send_planned,
    sending_options,
    told_by,
)
from wallet.installation_commands import meter_json, meter_text
from wallet.key_directory import KeyDirectory
from wallet.meter_contract import METER, zone_text
from wallet.quantities import InvalidQuantity, format_time, parse_time_s
from wallet.registry import (
    REGISTRY,
    ROLE_WORDS,
    Member,
    RegistryOverview,
    parse_sink,
    read_member,
    read_overview,
    sink_word,
)

ROLES = {role.name.lower(): role for role in Role if role is not Role.NONE}


@click.group(cls=PlainGroup)
def registry() -> None:
    """Who takes part: regulators, suppliers, producers, consumers, relays.

    The registry has an owner, who names regulators and does nothing else. Regulators name suppliers, producers and
    consumers; suppliers install meters and name the relays that carry their readings. Nobody has two roles. On a
    network without fees only those whom the registry knows can send transactions.

      wattchain registry add supplier 0x... --from regulator
    """


@registry.command()
@click.argument("accounts", metavar="[ACCOUNT]...", nargs=-1)
@keystore_option
@node_option
@json_option
def show(accounts: Sequence[str], keys: KeyDirectory, node: str, as_json: bool) -> None:
    """Show the registry, or what it knows of accounts.

    ACCOUNT is an address, also a meter's, or the name of one of your keys. Without one, the registry itself is shown.
    """
    if not accounts:
        overview = ask_node(node, read_overview)
        print_result(_overview_json(overview), _overview_text(overview), as_json)
        return
    addresses = [parse_account(account, keys) for account in accounts]

    async def ask(client: RpcClient) -> list[Member]:
        return [await read_member(client, address) for address in addresses]

    members = ask_node(node, ask)
    text = "\n".join([_member_text(member) for member in members])
    print_result([_member_json(member) for member in members], text, as_json)


@registry.command()
@click.argument("role", type=click.Choice(list(ROLES)))
@click.argument("account")
@sending_options
def add(role: str, account: str, sending: Sending) -> None:
    """Give ACCOUNT a ROLE.

    Regulators are added by the owner of the registry, relays by a regulator or a supplier, all others by a regulator.
    ACCOUNT is an address or the name of one of your keys.
    """
    address, chosen = parse_account(account, sending.keys), ROLES[role]
    lines = [("Add", f"{to_checksum_address(address)} as {ROLE_WORDS[chosen]}")]
    if chosen is Role.REGULATOR:
        call = ContractCall(REGISTRY, "addRegulator", (address,))
        send_call(sending, call, lines, "RegulatorAdded", "{regulator} is a regulator now.")
    else:
        call = ContractCall(REGISTRY, "addMember", (address, int(chosen)))
        send_call(sending, call, lines, "MemberAdded", "{account} is {role} now.")


@registry.command()
@click.argument("account")
@sending_options
def remove(account: str, sending: Sending) -> None:
    """Take away the role of ACCOUNT.

    A regulator's by the owner of the registry, all others by a regulator; a relay's also by the supplier who added it.
    A supplier without its role can install no more meters; those it has go on, its customers stay admitted (see
    `wattchain registry distrust`), and its money stays its own.
    """
    address = parse_account(account, sending.keys)
    name = to_checksum_address(address)

    async def plan(client: RpcClient, _sender: bytes) -> Plan:
        role = Role(await ask_one(client, REGISTRY, "roleOf", [address]))
        if role is Role.NONE:
            raise UserError(f"{name} has no role that could be taken away.")
        lines = [("Remove", f"{name}, which is {ROLE_WORDS[role]}")]
        if role is Role.REGULATOR:
            call, event, told = ContractCall(REGISTRY, "removeRegulator", (address,)), "RegulatorRemoved", "{regulator}"
        else:
            call, event, told = ContractCall(REGISTRY, "removeMember", (address,)), "MemberRemoved", "{account}"
        text = f"{told} is not {ROLE_WORDS[role]} any more."
        return Plan(call, lines, lambda events: told_by(REGISTRY, events, event, text))

    send_planned(sending, plan)


@registry.command()
@click.argument("account")
@sending_options
def distrust(account: str, sending: Sending) -> None:
    """Stop admitting those whom the former supplier ACCOUNT has brought.

    For a supplier that has filled blocks by customers, meters or relays of its invention. Where there are no fees, a
    node takes no more transactions of owners of its meters, of these meters and of its relays, but for those who have a
    role or another supplier's meter. Give a true customer a role: `wattchain registry add consumer`. By a regulator;
    take the supplier's role away before: `wattchain registry remove`.
    """
    address = parse_account(account, sending.keys)
    call = ContractCall(REGISTRY, "distrust", (address,))
    lines = [("Distrust", f"{to_checksum_address(address)}, and those whom it has brought")]
    told = "Those whom {supplier} has brought are not admitted any more, but by a role or another supplier."
    send_call(sending, call, lines, "SupplierDistrusted", told)


@registry.command()
@click.argument("account")
@sending_options
def trust(account: str, sending: Sending) -> None:
    """Admit those whom the distrusted supplier ACCOUNT has brought again. By a regulator."""
    address = parse_account(account, sending.keys)
    call = ContractCall(REGISTRY, "trust", (address,))
    lines = [("Trust", f"{to_checksum_address(address)} again, and those whom it has brought")]
    send_call(sending, call, lines, "SupplierTrusted", "Those whom {supplier} has brought are admitted again.")


@registry.command("hand-over")
@click.argument("account", required=False)
@click.option("--withdraw", is_flag=True, help="Take back an offer that was not accepted yet.")
@sending_options
def hand_over(account: str | None, withdraw: bool, sending: Sending) -> None:
    """Offer the registry to another owner, ACCOUNT.

    The registry stays yours until the other one accepts, with `wattchain registry accept`.
    """
    if (account is None) != withdraw:
        raise UserError("Name the new owner, or --withdraw to take an offer back.")
    address = bytes(20) if account is None else parse_account(account, sending.keys)
    call = ContractCall(REGISTRY, "transferOwnership", (address,))
    if withdraw:
        lines, told = [("Offer", "withdrawn")], "The registry is offered to nobody any more; {owner} keeps it."
    else:
        lines = [("Offer", f"the registry to {to_checksum_address(address)}")]
        told = "The registry is offered to {pendingOwner}, who has to accept it."
    send_call(sending, call, lines, "OwnershipTransferStarted", told)


@registry.command()
@sending_options
def accept(sending: Sending) -> None:
    """Become the owner of the registry that was offered to you."""
    call = ContractCall(REGISTRY, "acceptOwnership")
    told = "{owner} is the owner of the registry now, in the place of {previousOwner}."
    send_call(sending, call, [("Accept", "the ownership of the registry")], "OwnershipTransferred", told)


@registry.command("gas-allowance")
@click.argument("gas", type=WholeNumber(0, 2**64 - 1))
@click.option("--for", "account", metavar="ACCOUNT", help="Only for this account; 0 gives it the default again.")
@sending_options
def gas_allowance(gas: int, account: str | None, sending: Sending) -> None:
    """On a network without fees: how much GAS a sender may use in a block.

    A batch of fifty readings needs about two and a half million. Set by a regulator.
    """
    if account is None:
        call = ContractCall(REGISTRY, "setDefaultGasAllowance", (gas,))
        lines, told = [("Gas", f"{gas} a block for everybody")], "Everybody may use {gas} gas in a block now."
        send_call(sending, call, lines, "DefaultGasAllowanceSet", told)
        return
    address = parse_account(account, sending.keys)
    call = ContractCall(REGISTRY, "setGasAllowance", (address, gas))
    lines = [("Gas", f"{gas or 'the default'} a block for {to_checksum_address(address)}")]
    told = "{account} may use {gas} gas in a block now." if gas else "The default holds for {account} again."
    send_call(sending, call, lines, "GasAllowanceSet", told)


@registry.command("approve-sink")
@click.argument("sink")
@sending_options
def approve_sink(sink: str, sending: Sending) -> None:
    """Let suppliers use a contract for the readings of meters.

    SINK is `prepaid`, `postpaid`, or the address of another contract. By a regulator. Such a contract learns of every
    reading and cannot be exchanged in meters that have it: approve only what you trust.
    """
    address = parse_sink(sink)
    lines = [("Approve", sink_word(address))]
    call = ContractCall(REGISTRY, "approveSink", (address,))
    send_call(sending, call, lines, "SinkApproved", "Suppliers can choose {sink} now.")


@registry.command("revoke-sink")
@click.argument("sink")
@sending_options
def revoke_sink(sink: str, sending: Sending) -> None:
    """Have no new meter use the contract SINK; meters that have it keep it."""
    address = parse_sink(sink)
    call = ContractCall(REGISTRY, "revokeSink", (address,))
    send_call(sending, call, [("Revoke", sink_word(address))], "SinkRevoked", "No new meter can choose {sink}.")


@registry.command(context_settings={"ignore_unknown_options": True})  # so that -03:00 is no option
@click.argument("offset")
@click.option("--starts", metavar="TIME", help="From when on, such as 2026-12-01; without it as soon as possible.")
@sending_options
def zone(offset: str, starts: str | None, sending: Sending) -> None:
    """As a supplier: the time zone of your meters' days and months.

    OFFSET is how far local time is ahead of UTC, such as +05:30 or -03:00. Until it is set, days are those of UTC.
    """
    offset_s, from_s = _parse_zone_s(offset), 0 if starts is None else parse_time_s(starts)
    when = f"from {format_time(from_s)} on" if from_s else "as soon as possible"
    call = ContractCall(METER, "setZone", (offset_s, from_s))
    told = f"From {{from}} on days and months go by {zone_text(offset_s)}."
    send_call(sending, call, [("Zone", f"{zone_text(offset_s)}, {when}")], "ZoneSet", told)


def _parse_zone_s(text: str) -> int:
    match = re.fullmatch(r"([+-]?)([0-9]{1,2}):?([0-9]{2})?", text.strip(), re.ASCII)
    if match is None or int(match[3] or 0) > 59:
        raise InvalidQuantity(f"{text[:20]!r} is no time zone; write for example +05:30 or -03:00")
    offset_s = int(match[2]) * 3_600 + int(match[3] or 0) * 60
    return -offset_s if match[1] == "-" else offset_s


def _overview_text(overview: RegistryOverview) -> str:
    lines = [f"Owner     {to_checksum_address(overview.owner)}"]
    if overview.pending_owner is not None:
        lines.append(f"Offered   to {to_checksum_address(overview.pending_owner)}, who has not accepted yet")
    lines.append(f"Gas       {overview.default_gas_allowance} a block for everybody without an own allowance")
    sinks = ", ".join([sink_word(sink) for sink in overview.approved_sinks]) or "none of the genesis"
    lines.append(f"Readings  may go to: {sinks}")
    return "\n".join(lines)


def _overview_json(overview: RegistryOverview) -> dict[str, object]:
    pending = overview.pending_owner
    return {
        "block": overview.block_number,
        "owner": to_checksum_address(overview.owner),
        "pending_owner": pending and to_checksum_address(pending),
        "default_gas_allowance": overview.default_gas_allowance,
        "approved_sinks": [to_checksum_address(sink) for sink in overview.approved_sinks],
    }


def _member_text(member: Member) -> str:
    words = ["the owner of the registry"] if member.is_owner else []
    words += [ROLE_WORDS[member.role]] if member.role is not Role.NONE else []
    lines = [f"{to_checksum_address(member.address)} {'is ' + ' and '.join(words) if words else 'has no role'}"]
    if member.is_admitted:
        lines.append(f"  admitted with {member.gas_allowance} gas a block where there are no fees")
    else:
        lines.append("  not admitted where there are no fees")
    if member.meter is not None:
        lines += [f"  {line}" for line in meter_text(member.meter)]
    return "\n".join(lines)


def _member_json(member: Member) -> dict[str, object]:
    return {
        "address": to_checksum_address(member.address),
        "role": member.role.name.lower(),
        "owner": member.is_owner,
        "admitted": member.is_admitted,
        "gas_allowance": member.gas_allowance,
        "meter": member.meter and meter_json(member.meter),
    }
