"""`wattchain market rules` and `wattchain market set`: the market's rules, which regulators set."""

import re
from collections.abc import Sequence

import click

from contracts.market import BPS
from primitives.errors import UserError
from primitives.hexadecimal import to_checksum_address
from wallet.client import RpcClient
from wallet.command_line import json_option, node_option, print_result
from wallet.contract_call import ContractCall, ContractEvent, the_event
from wallet.contract_commands import Outcome, Plan, Sending, ask_node, parse_account, send_planned, sending_options
from wallet.key_directory import KeyDirectory
from wallet.market import MARKET, Rules, percent, read_rules
from wallet.quantities import format_duration, format_energy, format_time, parse_duration_s, parse_energy_wh

NOBODY = bytes(20)

FUNCTIONS = {
    "tax": ("setTax", "TaxSet"),
    "penalty": ("setPenalty", "PenaltySet"),
    "delivery-time": ("setDeliveryTime", "DeliveryTimeSet"),
    "least-advert": ("setStoreLimits", "StoreLimitsSet"),
    "store": ("setStoreLimits", "StoreLimitsSet"),
    "grid-controller": ("setGridController", "GridControllerSet"),
    "treasury": ("setTreasury", "TreasurySet"),
}
"""Rule -> the contract's function and event."""


@click.command()
@node_option
@json_option
def rules(node: str, as_json: bool) -> None:
    """Show the market's rules."""
    read = ask_node(node, read_rules)
    print_result(_rules_json(read), _rules_text(read), as_json)


@click.command("set")
@click.argument("rule", type=click.Choice(list(FUNCTIONS)))
@click.argument("value")
@sending_options
def set_rule(rule: str, value: str, sending: Sending) -> None:
    """Set a RULE of the market to a VALUE.

    For regulators. What is advertised already keeps the rules of its time.

    \b
      tax             5%       on top of the producer's share, at most 30%
      penalty         10%      of the first price, put down by the producer; 0% for none
      delivery-time   24h      from 1 hour to 7 days
      least-advert    1kWh     least energy of an advert
      store           1000kWh  what the store takes in all
      grid-controller 0x...    who confirms deliveries, or "nobody"
      treasury        0x...    who gets the tax; a new one from the next day on
    """

    async def plan(client: RpcClient, sender: bytes) -> Plan:
        function, event = FUNCTIONS[rule]
        arguments, shown = _arguments(rule, value, await read_rules(client), sending.keys)
        return Plan(
            call=ContractCall(MARKET, function, arguments),
            lines=[("Rule", rule), ("Value", shown)],
            outcome=lambda events: _set_outcome(events, event, rule, shown, sender),
            question="Set this rule?",
            result={"rule": rule, "from": None},
        )

    send_planned(sending, plan)


def _arguments(rule: str, value: str, present: Rules, keys: KeyDirectory) -> tuple[tuple[object, ...], str]:
    """The arguments of the rule's function, and its new value as a person reads it."""
    if rule in ("tax", "penalty"):
        bps = _parse_bps(value)
        return (bps,), percent(bps)
    if rule == "delivery-time":
        seconds = parse_duration_s(value)
        if seconds >= 2**32:
            raise UserError(f"{format_duration(seconds)} is too long for a delivery.")
        return (seconds,), format_duration(seconds)
    if rule in ("least-advert", "store"):
        energy_wh = parse_energy_wh(value)
        limits = (energy_wh, present.most_wh) if rule == "least-advert" else (present.least_wh, energy_wh)
        return limits, format_energy(energy_wh)
    address = NOBODY if (rule, value) == ("grid-controller", "nobody") else parse_account(value, keys)
    return (address,), _who(address)


def _parse_bps(text: str) -> int:
    match = re.fullmatch(r"([0-9]{1,3})(?:\.([0-9]{1,2}))?\s*%?", text.strip(), re.ASCII)
    if match is None:
        raise UserError(f"{text[:80]!r} is no percentage; write for example 5% or 7.25%, with two digits at most.")
    return int(match[1]) * (BPS // 100) + int((match[2] or "").ljust(2, "0"))


def _set_outcome(events: Sequence[ContractEvent], event: str, rule: str, shown: str, sender: bytes) -> Outcome:
    values = the_event(events, event, regulator=sender).values
    since = values.get("from")
    text = f"The {rule} is {shown} now." if since is None else f"The {rule} is {shown} from {format_time(since)} on."
    return Outcome({"from": since}, text)


def _rules_text(read: Rules) -> str:
    return "\n".join(
        [
            f"Tax             {percent(read.tax_bps)} on top of the producer's share",
            f"Penalty         {percent(read.penalty_bps)} of the first price for what is sold and not sent",
            f"Delivery time   {format_duration(read.delivery_s)}",
            f"Least advert    {format_energy(read.least_wh)}",
            f"Store           {format_energy(read.most_wh)}",
            f"Grid controller {_who(read.grid_controller)}",
            f"Treasury        {_who(read.treasury)}",
        ]
    )


def _rules_json(read: Rules) -> dict[str, object]:
    return {
        "tax_bps": read.tax_bps,
        "penalty_bps": read.penalty_bps,
        "delivery_s": read.delivery_s,
        "least_wh": read.least_wh,
        "most_wh": read.most_wh,
        "grid_controller": to_checksum_address(read.grid_controller) if any(read.grid_controller) else None,
        "treasury": to_checksum_address(read.treasury) if any(read.treasury) else None,
    }


def _who(address: bytes) -> str:
    return to_checksum_address(address) if any(address) else "nobody"
