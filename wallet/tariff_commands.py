"""`wattchain tariff`: what energy costs.

How a tariff is written is in wallet/tariff_file.py, how it is read in wallet/tariffs.py.
"""

from collections.abc import Sequence
from pathlib import Path

import click

from contracts.tariff_format import OPEN_BOUND_WH, TariffVersion, TimeOfUse, tariff_name
from primitives.errors import UserError
from primitives.hexadecimal import to_checksum_address
from wallet.amounts import format_amount
from wallet.client import RpcClient
from wallet.command_line import PlainGroup, WholeNumber, json_option, node_option, print_result
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
from wallet.meter_contract import read_zone_s
from wallet.quantities import (
    counted,
    format_energy,
    format_price,
    format_time,
    parse_energy_wh,
    parse_time_s,
    price_number,
)
from wallet.tariff_file import RULES, TariffDraft, read_tariff_file, weekdays_text
from wallet.tariffs import TARIFFS, HeldVersion, Tariff, clock_text, list_numbers, read_tariff

_RULE_TEXTS = {
    False: "each part of the energy at the price of the step it falls in (marginal)",
    True: "all of a reading at the price of the step that the total then falls in (whole)",
}


@click.group(cls=PlainGroup)
def tariff() -> None:
    """What energy costs.

    A supplier has tariffs, each with a number. A tariff has steps (the first 100 kWh of a month at one price, the next
    200 at another), and may have other prices at some times of the week, a standing charge, an allowance, and a price
    for energy given to the grid. A change is a new version; what was charged before stays as it was. What could make
    any reading dearer needs a day's notice.
    """


@tariff.command("set")
@click.argument("number", type=WholeNumber(1, 2**32 - 1), required=False)
@click.option("--name", help="What a new tariff is called.")
@click.option("--file", "file", type=click.Path(path_type=Path), metavar="FILE",
              help="Read the tariff from a TOML file, or its steps from a CSV file.")  # fmt: skip
@click.option("--step", "steps", multiple=True, metavar="STEP",
              help="100=2.96: up to 100 kWh at 2.96 WATT a kWh. The last one is only a price. Repeat it.")  # fmt: skip
@click.option("--rule", type=click.Choice(RULES), help="Steps charge each part of a reading, or all of it.")
@click.option("--window", "windows", multiple=True, metavar="WINDOW",
              help="'mon-fri 22:00-06:00 1.5': another price at these times. Repeat it.")  # fmt: skip
@click.option("--standing", metavar="AMOUNT", help="A charge for every day, in WATT.")
@click.option("--export", metavar="PRICE", help="What a kWh given to the grid is worth, in WATT.")
@click.option("--allowance", metavar="ENERGY", help="The first kWh of each period that cost less.")
@click.option("--allowance-price", metavar="PRICE", help="What a kWh of the allowance costs; nothing without it.")
@click.option("--period", metavar="PERIOD", help="After what the steps begin anew: month, or a number of days.")
@click.option("--begins", metavar="DATE", help="With a number of days: a day on which one period begins.")
@click.option("--starts", metavar="TIME", help="From when on it holds, such as 2026-12-01; without it at the earliest.")
@sending_options
def set_tariff(number: int | None, file: Path | None, sending: Sending, **options: object) -> None:
    """As a supplier: make a tariff, or a new version of your tariff NUMBER.

    Prices are in WATT a kWh. Options go before what a file says.

      wattchain tariff set --name Household --step 100=2.96 --step 300=5.56 --step 9.16 --from supplier

      wattchain tariff set 1 --file household.toml --starts 2027-01-01 --from supplier
    """
    draft = TariffDraft(**options)  # type: ignore[arg-type]
    if file is not None:
        draft = draft.over(read_tariff_file(file))
    version, from_s = draft.version(), 0 if draft.starts is None else parse_time_s(draft.starts)
    if number is None:
        if draft.name is None:
            raise UserError("A new tariff needs a name: --name. To change a tariff that is there, give its number.")
        call = ContractCall(TARIFFS, "createTariff", (tariff_name(draft.name), from_s, version.argument()))
        what = f"a new one, {draft.name}"
    else:
        call = ContractCall(TARIFFS, "announceVersion", (number, from_s, version.argument()))
        what = f"number {number}, a new version"

    def outcome(events: Sequence[ContractEvent]) -> Outcome:
        announced = the_event(events, "VersionAnnounced").values
        text = f"The tariff number {announced['tariff']} holds like this from {format_time(announced['from'])} on."
        return Outcome({"tariff": announced["tariff"], "from": announced["from"]}, text)

    async def plan(_client: RpcClient, _sender: bytes) -> Plan:
        starts = "at the earliest" if from_s == 0 else format_time(from_s)
        lines = [("Tariff", what), ("Starts", starts), *[("", line) for line in version_lines(version)]]
        return Plan(call, lines, outcome, "Set this tariff?", {"tariff": number, "from": None})

    send_planned(sending, plan)


@tariff.command()
@click.argument("number", type=WholeNumber(1, 2**32 - 1))
@click.option("--at", "at", metavar="TIME", help="What holds then instead of now.")
@node_option
@json_option
def show(number: int, at: str | None, node: str, as_json: bool) -> None:
    """Show the prices of the tariff NUMBER."""

    async def ask_tariff(client: RpcClient) -> Tariff:
        return await read_tariff(client, number, await _moment_s(client, at))

    found = ask_node(node, ask_tariff)
    lines = [f"{found.name}, tariff number {found.number} of {to_checksum_address(found.supplier)}"]
    if found.holding is None:
        lines.append("No version of it holds at that time.")
    else:
        lines += ["", f"From {format_time(found.holding.from_s)} on", *version_lines(found.holding.version)]
    if found.announced is not None:
        lines += ["", f"ANNOUNCED, from {format_time(found.announced.from_s)} on"]
        lines += version_lines(found.announced.version)
    print_result(_tariff_json(found), "\n".join(lines), as_json)


@tariff.command("list")
@click.argument("supplier", required=False)
@keystore_option
@node_option
@json_option
def list_tariffs(supplier: str | None, keys: KeyDirectory, node: str, as_json: bool) -> None:
    """List tariffs: those of a SUPPLIER, or all.

    SUPPLIER is an address or the name of one of your keys.
    """
    address = None if supplier is None else parse_account(supplier, keys)

    async def ask_all(client: RpcClient) -> list[Tariff]:
        now_s = await _moment_s(client, None)
        return [await read_tariff(client, number, now_s) for number in await list_numbers(client, address)]

    found = ask_node(node, ask_all)
    text = "\n".join([_tariff_line(one) for one in found]) or "There are no tariffs."
    print_result([_tariff_json(one) for one in found], text, as_json)


@tariff.command()
@click.argument("number", type=WholeNumber(1, 2**32 - 1))
@click.argument("energy")
@click.option("--used", default="0", metavar="ENERGY", help="What was used in the period before, in kWh.")
@click.option("--at", "at", metavar="TIME", help="When, instead of now.")
@node_option
@json_option
def cost(number: int, energy: str, used: str, at: str | None, node: str, as_json: bool) -> None:
    """What ENERGY would cost by the tariff NUMBER, without standing charges.

    ENERGY is in kWh.
    """
    energy_wh, used_wh = parse_energy_wh(energy), parse_energy_wh(used)

    async def ask_cost(client: RpcClient) -> tuple[int, str]:
        time_s = await _moment_s(client, at)
        found = await read_tariff(client, number, time_s)
        zone_s = await read_zone_s(client, found.supplier, time_s)
        cost_wei, _ = await ask(client, TARIFFS, "quote", [number, used_wh, energy_wh, 0, time_s, zone_s])
        has_windows = found.holding is not None and found.holding.version.windows
        return int(cost_wei), f" at {format_time(time_s, zone_s)}" if has_windows else ""

    cost_wei, moment = ask_node(node, ask_cost)
    text = f"{format_energy(energy_wh)} after {format_energy(used_wh)} cost {format_amount(cost_wei)}{moment}."
    print_result({"energy_wh": energy_wh, "used_wh": used_wh, "cost_wei": str(cost_wei)}, text, as_json)


def version_lines(version: TariffVersion) -> list[str]:
    """The prices as a table, and what goes with them."""
    period = "a month" if version.period_days == 0 else counted(version.period_days, "day")
    heads = [f"kWh of {period}", "WATT a kWh", *[_window_text(window) for window in version.windows]]
    rows, before = [], "0"
    for index, slab in enumerate(version.slabs):
        bound = format_energy(slab.up_to_wh).removesuffix(" kWh")
        reach = f"above {before}" if slab.up_to_wh == OPEN_BOUND_WH else f"{before} to {bound}"
        prices = [price_number(window.prices_wei_per_wh[index]) for window in version.windows]
        rows.append([reach, price_number(slab.price_wei_per_wh), *prices])
        before = bound
    widths = [max([len(row[column]) for row in (heads, *rows)]) for column in range(len(heads))]
    lines = ["  ".join([cell.ljust(width) for cell, width in zip(row, widths, strict=True)]) for row in (heads, *rows)]
    if len(version.slabs) > 1:
        lines.append(f"Rule       {_RULE_TEXTS[version.whole]}")
    if version.allowance_wh:
        price = format_price(version.allowance_price_wei_per_wh) if version.allowance_price_wei_per_wh else "free"
        lines.append(f"Allowance  the first {format_energy(version.allowance_wh)} of {period} {price}")
    if version.standing_wei_per_day:
        lines.append(f"Standing   {format_amount(version.standing_wei_per_day)} a day")
    if version.export_price_wei_per_wh:
        lines.append(f"Given      {format_price(version.export_price_wei_per_wh)}, for energy given to the grid")
    return [line.rstrip() for line in lines]


async def _moment_s(client: RpcClient, at: str | None) -> int:
    """The time that is asked about: the ledger's own where none is given."""
    return await ledger_time_s(client) if at is None else parse_time_s(at)


def _window_text(window: TimeOfUse) -> str:
    days, start, end = weekdays_text(window.weekdays), clock_text(window.from_minute), clock_text(window.until_minute)
    return f"{days} {start}-{end}"


def _tariff_line(one: Tariff) -> str:
    held = one.holding or one.announced
    prices = sorted({slab.price_wei_per_wh for slab in held.version.slabs}) if held else []
    shown = " to ".join([price_number(price) for price in dict.fromkeys((prices[0], prices[-1]))]) if prices else "?"
    return f"{one.number:>4}  {one.name:<24}  {shown} WATT a kWh  {to_checksum_address(one.supplier)}"


def _tariff_json(one: Tariff) -> dict[str, object]:
    return {
        "tariff": one.number,
        "name": one.name,
        "supplier": to_checksum_address(one.supplier),
        "holding": one.holding and _version_json(one.holding),
        "announced": one.announced and _version_json(one.announced),
    }


def _version_json(held: HeldVersion) -> dict[str, object]:
    version = held.version
    return {
        "from": held.from_s,
        "rule": "whole" if version.whole else "marginal",
        "period_days": version.period_days or None,
        "anchor_day": version.anchor_day or None,
        "slabs": [
            {
                "up_to_wh": None if slab.up_to_wh == OPEN_BOUND_WH else slab.up_to_wh,
                "price_wei_per_wh": str(slab.price_wei_per_wh),
            }
            for slab in version.slabs
        ],
        "windows": [
            {
                "weekdays": window.weekdays,
                "from_minute": window.from_minute,
                "until_minute": window.until_minute,
                "prices_wei_per_wh": [str(price) for price in window.prices_wei_per_wh],
            }
            for window in version.windows
        ],
        "export_price_wei_per_wh": str(version.export_price_wei_per_wh),
        "standing_wei_per_day": str(version.standing_wei_per_day),
        "allowance_wh": version.allowance_wh,
        "allowance_price_wei_per_wh": str(version.allowance_price_wei_per_wh),
    }
