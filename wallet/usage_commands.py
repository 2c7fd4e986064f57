"""`wattchain meter usage`: energy by local days, of a meter, of a supplier's meters or of all."""

from collections.abc import Sequence

import click

from primitives.errors import UserError
from primitives.hexadecimal import to_checksum_address
from wallet.client import RpcClient
from wallet.command_line import json_option, node_option, print_result
from wallet.commands import keystore_option
from wallet.contract_call import ask_one
from wallet.contract_commands import ask_node, ledger_time_s, parse_account
from wallet.key_directory import KeyDirectory
from wallet.meter_contract import METER, read_zone_s
from wallet.quantities import format_energy, format_time, parse_time_s
from wallet.registry import read_meter

DAY_S = 86_400
DEFAULT_DAYS = 7

Day = tuple[int, int, int]
"""Number since 1970-01-01 by local time, Wh taken, Wh given."""


@click.command()
@click.argument("meter", required=False)
@click.option("--supplier", metavar="ACCOUNT", help="All meters of this supplier instead.")
@click.option("--since", metavar="DATE", help="First day, such as 2026-12-01; without it, a week ago.")
@click.option("--until", metavar="DATE", help="Last day; without it, today.")
@keystore_option
@node_option
@json_option
def usage(
    meter: str | None,
    supplier: str | None,
    since: str | None,
    until: str | None,
    keys: KeyDirectory,
    node: str,
    as_json: bool,
) -> None:
    """Show the energy of each day, of METER, of a supplier, or of all.

    Days are those of the supplier's time zone, and end at its midnight. Of a METER the present day is there, as far as
    it was read; of a supplier, or of all, a day counts once a reading of a later one is there.
    """
    if meter is not None and supplier is not None:
        raise UserError("Name a meter or a supplier, not both.")
    whose = meter if supplier is None else supplier
    address = None if whose is None else parse_account(whose, keys)

    async def ask(client: RpcClient) -> list[Day]:
        now_s = await ledger_time_s(client)
        whose_days = (
            address if supplier is not None or address is None else (await read_meter(client, address)).supplier
        )
        zone_s = 0 if whose_days is None else await read_zone_s(client, whose_days, now_s)
        last = (now_s + zone_s) // DAY_S if until is None else parse_time_s(until) // DAY_S
        first = max(0, last - DEFAULT_DAYS + 1) if since is None else parse_time_s(since) // DAY_S
        function = "daysOfAll" if address is None else "daysOfMeter" if supplier is None else "daysOfSupplier"
        found = await ask_one(client, METER, function, [*([] if address is None else [address]), first, last])
        return [(first + number, taken_wh, given_wh) for number, (taken_wh, given_wh) in enumerate(found)]

    days = ask_node(node, ask)
    name = "All meters" if address is None else to_checksum_address(address)
    print_result([_day_json(day) for day in days], "\n".join([name, *_day_lines(days)]), as_json)


def _day_lines(days: Sequence[Day]) -> list[str]:
    total = ("Together", sum([taken for _, taken, _ in days]), sum([given for _, _, given in days]))
    rows = [*[(_date(number), taken, given) for number, taken, given in days], total]
    return [
        f"{name:<10}  {format_energy(taken):>16} taken  {format_energy(given):>16} given" for name, taken, given in rows
    ]


def _day_json(day: Day) -> dict[str, object]:
    number, taken_wh, given_wh = day
    return {"day": number, "date": _date(number), "imported_wh": taken_wh, "exported_wh": given_wh}


def _date(day: int) -> str:
    return format_time(day * DAY_S)[:10]
