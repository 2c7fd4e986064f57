"""`wattchain policy`: what your meter is to do by itself.

What is read and sent is in wallet/policy.py; here are the arguments, and what a person sees.
"""

from collections.abc import Sequence
from dataclasses import replace

import click

from contracts.policy import DAY_MINUTES, MAX_POWER_W, MeterPolicy, OffTime, PolicyValues, decode_values
from primitives.errors import UserError
from primitives.hexadecimal import to_checksum_address
from wallet.client import RpcClient
from wallet.command_line import PlainGroup, json_option, node_option, print_result
from wallet.commands import keystore_option
from wallet.contract_call import ContractCall, ContractEvent, the_event
from wallet.contract_commands import (
    Outcome,
    Plan,
    Sending,
    ask_node,
    parse_account,
    send_planned,
    sending_options,
)
from wallet.key_directory import KeyDirectory
from wallet.policy import POLICY, read_policy
from wallet.quantities import format_energy, format_time, parse_energy_wh, parse_power_w
from wallet.registry import read_meter
from wallet.tariff_file import parse_span, weekdays_text
from wallet.tariffs import clock_text

NOTHING = "none"
"""Takes a value away."""


@click.group(cls=PlainGroup)
def policy() -> None:
    """What your meter is to do by itself.

    Save power above a power or an energy a day, cut the supply above a load, switch circuits off at times of the day,
    and tell you when much is used. The meter takes it over by itself. Only the owner of a meter decides this, and
    persons whom the owner appoints.
    """


@policy.command("set")
@click.argument("meter")
@click.option("--saving-power", metavar="POWER", help="Power-saving mode above this power, such as 2500 or 2.5kW.")
@click.option("--saving-energy", metavar="ENERGY", help="Power-saving mode above this energy a day, such as 100 (kWh).")
@click.option("--maximum-load", metavar="POWER", help="Cut the supply above this power.")
@click.option("--alert-power", metavar="POWER", help="Tell me when the power rises above this.")
@click.option("--alert-energy", metavar="ENERGY", help="Tell me when a day's energy rises above this.")
@click.option("--off", "off", multiple=True, metavar="OFF-TIME",
              help="'2 mon-fri 18:00-22:00': circuit 2 is off then. Repeat it; they replace all others.")  # fmt: skip
@click.option("--clear", is_flag=True, help="Begin with no value set, instead of with those that are there.")
@sending_options
def set_policy(
    meter: str,
    saving_power: str | None,
    saving_energy: str | None,
    maximum_load: str | None,
    alert_power: str | None,
    alert_energy: str | None,
    off: tuple[str, ...],
    clear: bool,
    sending: Sending,
) -> None:
    """As the owner of METER: change what it is to do.

    What you do not name stays as it is; the word none takes a value away.

    \b
      wattchain policy set 0xMETER --saving-energy 100 --off "2 mon-fri 18:00-22:00"
      wattchain policy set 0xMETER --saving-energy none --off none
    """
    address = parse_account(meter, sending.keys)
    changes: dict[str, object] = {
        "saving_above_power_w": _power(saving_power),
        "saving_above_energy_wh": _energy(saving_energy),
        "maximum_load_w": _power(maximum_load),
        "alert_above_power_w": _power(alert_power),
        "alert_above_energy_wh": _energy(alert_energy),
        "off_times": _off_times(off),
    }
    changed = {name: value for name, value in changes.items() if value is not None}
    if not changed and not clear:
        raise UserError("Nothing to set: name a value, such as --saving-energy 100. --help lists them.")

    def outcome(events: Sequence[ContractEvent]) -> Outcome:
        told = the_event(events, "PolicySet", meter=address).values
        text = f"Version {told['version']} holds. The meter takes it over when it asks next."
        return Outcome({"version": told["version"], "values": values_json(decode_values(told["values"]))}, text)

    async def plan(client: RpcClient, _sender: bytes) -> Plan:
        present = await read_policy(client, address)
        values = replace(PolicyValues() if clear else present.values, **changed)  # type: ignore[arg-type]
        lines = [("Meter", to_checksum_address(address)), *[("", line) for line in values_lines(values)]]
        call = ContractCall(POLICY, "setPolicy", (address, present.version, values.arguments()))
        result = {"meter": to_checksum_address(address), "version": None, "values": values_json(values)}
        return Plan(call, lines, outcome, "Set this policy?", result)

    send_planned(sending, plan)


@policy.command()
@click.argument("meter")
@keystore_option
@node_option
@json_option
def show(meter: str, keys: KeyDirectory, node: str, as_json: bool) -> None:
    """Show what METER is to do."""
    address = parse_account(meter, keys)

    async def ask_policy(client: RpcClient) -> MeterPolicy:
        found = await read_policy(client, address)
        if not found.version:
            await read_meter(client, address)  # or say that there is none
        return found

    found = ask_node(node, ask_policy)
    text = (
        f"Nothing was ever set for the meter {to_checksum_address(address)}; its owner does that with "
        "`wattchain policy set`."
    )
    if found.version:
        head = f"Meter {to_checksum_address(address)}, version {found.version} of {format_time(found.set_at_s)}"
        text = "\n".join([head, *values_lines(found.values)])
    result = {
        "meter": to_checksum_address(address),
        "version": found.version,
        "set_at": found.set_at_s or None,
        "values": values_json(found.values),
    }
    print_result(result, text, as_json)


@policy.command()
@click.argument("meter")
@click.argument("person")
@sending_options
def appoint(meter: str, person: str, sending: Sending) -> None:
    """As the owner of METER: let PERSON set its policy, too.

    It ends with `wattchain policy dismiss`, and when the meter or its key is replaced.
    """
    _appointment("appoint", "Appointed", meter, person, sending)


@policy.command()
@click.argument("meter")
@click.argument("person")
@sending_options
def dismiss(meter: str, person: str, sending: Sending) -> None:
    """End the appointment of PERSON for METER.

    The owner does this; so may the person.
    """
    _appointment("dismiss", "Dismissed", meter, person, sending)


def _appointment(function: str, event: str, meter: str, person: str, sending: Sending) -> None:
    address, who = parse_account(meter, sending.keys), parse_account(person, sending.keys)
    may = "may set the policy, too" if function == "appoint" else "may no longer set the policy"

    def outcome(events: Sequence[ContractEvent]) -> Outcome:
        the_event(events, event, meter=address, person=who)
        return Outcome({"done": True}, f"{to_checksum_address(who)} {may}.")

    async def plan(_client: RpcClient, _sender: bytes) -> Plan:
        lines = [("Meter", to_checksum_address(address)), ("Person", f"{to_checksum_address(who)} {may}")]
        result = {"meter": to_checksum_address(address), "person": to_checksum_address(who), "done": None}
        return Plan(ContractCall(POLICY, function, (address, who)), lines, outcome, result=result)

    send_planned(sending, plan)


def values_lines(values: PolicyValues) -> list[str]:
    """What a policy asks for, a line each; one line where it asks for nothing."""
    lines = []
    if values.saving_above_power_w:
        lines.append(f"Power-saving mode above {values.saving_above_power_w} W")
    if values.saving_above_energy_wh:
        lines.append(f"Power-saving mode above {format_energy(values.saving_above_energy_wh)} a day")
    if values.maximum_load_w:
        lines.append(f"Supply cut above {values.maximum_load_w} W")
    if values.alert_above_power_w:
        lines.append(f"Alert above {values.alert_above_power_w} W")
    if values.alert_above_energy_wh:
        lines.append(f"Alert above {format_energy(values.alert_above_energy_wh)} a day")
    for one in values.off_times:
        times = f"{clock_text(one.from_minute)}-{clock_text(one.until_minute)}"
        lines.append(f"Circuit {one.circuit} off {weekdays_text(one.weekdays)} {times}")
    return lines or ["The meter is left to itself."]


def values_json(values: PolicyValues) -> dict[str, object]:
    """With null for what is not set."""
    return {
        "saving_above_power_w": values.saving_above_power_w or None,
        "saving_above_energy_wh": values.saving_above_energy_wh or None,
        "maximum_load_w": values.maximum_load_w or None,
        "alert_above_power_w": values.alert_above_power_w or None,
        "alert_above_energy_wh": values.alert_above_energy_wh or None,
        "off_times": [
            {
                "circuit": one.circuit,
                "weekdays": one.weekdays,
                "from_minute": one.from_minute,
                "until_minute": one.until_minute,
            }
            for one in values.off_times
        ],
    }


def _power(text: str | None) -> int | None:
    if text is None or text == NOTHING:
        return None if text is None else 0
    power_w = parse_power_w(text)
    if not 0 < power_w <= MAX_POWER_W:
        raise UserError(f"{text} is no power that can be set: from 1 to {MAX_POWER_W} W, or none.")
    return power_w


def _energy(text: str | None) -> int | None:
    if text is None or text == NOTHING:
        return None if text is None else 0
    energy_wh = parse_energy_wh(text)
    if energy_wh == 0 or energy_wh >= 2**56:
        raise UserError(f"{text} is no energy that can be set for a day; the word none takes a value away.")
    return energy_wh


def _off_times(texts: Sequence[str]) -> tuple[OffTime, ...] | None:
    if not texts:
        return None
    if NOTHING in texts:
        if len(texts) > 1:
            raise UserError("--off none takes all off-times away; it cannot stand beside others.")
        return ()
    return tuple([one for text in texts for one in _off_time(text)])


def _off_time(text: str) -> list[OffTime]:
    """One that passes midnight is two."""
    circuit_text, _, span = text.strip().partition(" ")
    if not circuit_text.isascii() or not circuit_text.isdigit() or not 0 < int(circuit_text[:4]) <= 255:
        raise UserError(f"{text[:80]!r} is no off-time; write for example '2 mon-fri 18:00-22:00', the circuit first.")
    circuit, (weekdays, start, end) = int(circuit_text[:4]), parse_span(span.strip())
    if 0 < end <= start:
        following = (weekdays << 1 | weekdays >> 6) & 0x7F
        before = [OffTime(circuit, weekdays, start, DAY_MINUTES)] if start < DAY_MINUTES else []
        return [*before, OffTime(circuit, following, 0, end)]
    return [OffTime(circuit, weekdays, start, end or DAY_MINUTES)]
