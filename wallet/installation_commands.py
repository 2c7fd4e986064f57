"""`wattchain meter install`, `swap`, `remove` and what else a supplier does with meters: subcommands of `meter`.

They send the supplier's transactions to the Registry; the meter itself, with its key, may be anywhere.
"""

from collections.abc import Sequence

import click

from contracts.consent_format import CONSENT_BYTES
from primitives.errors import InvalidHex, UserError
from primitives.hexadecimal import parse_data, to_checksum_address, to_data
from primitives.keccak import keccak256
from wallet.client import RpcClient
from wallet.command_line import WholeNumber, json_option, node_option, print_result
from wallet.commands import keystore_option
from wallet.contract_call import ContractCall, ContractEvent
from wallet.contract_commands import (
    Outcome,
    Plan,
    Sending,
    ask_node,
    parse_account,
    send_call,
    send_planned,
    sending_options,
    told_by,
)
from wallet.key_directory import KeyDirectory
from wallet.meter_contract import Registers, read_registers
from wallet.quantities import format_energy, format_time, parse_energy_wh
from wallet.registry import REGISTRY, STATUS_WORDS, MeterRecord, parse_sink, read_meter, sink_word

NO_TARIFF = 0


@click.command()
@click.argument("meter")
@click.argument("consent", required=False)
@click.option("--owner", required=True, metavar="ACCOUNT", help="The customer: an address, or the name of a key.")
@click.option("--tariff", "tariff_number", type=WholeNumber(0, 2**32 - 1), default=NO_TARIFF, metavar="NUMBER",
              help="One of your tariffs (`wattchain tariff list`); without one energy costs nothing.")  # fmt: skip
@click.option("--billing", "sink", default="prepaid", show_default=True, metavar="HOW",
              help="prepaid, postpaid, or the address of another approved contract.")  # fmt: skip
@click.option("--place", metavar="TEXT", help="The address of the building; only its hash goes to the ledger.")
@click.option("--point-of-supply", metavar="HASH", help="Instead of --place: a hash of 32 bytes of your own.")
@click.option("--import", "import_text", default="0", metavar="ENERGY", help="What the meter shows as taken, in kWh.")
@click.option("--export", "export_text", default="0", metavar="ENERGY", help="What it shows as given, in kWh.")
@sending_options
def install(
    meter: str,
    consent: str | None,
    owner: str,
    tariff_number: int,
    sink: str,
    place: str | None,
    point_of_supply: str | None,
    import_text: str,
    export_text: str,
    sending: Sending,
) -> None:
    """As a supplier: install a meter for a customer.

    METER is the address of the meter's own key, and CONSENT what that key has signed for you: `wattchain meter key
    consent` at the meter prints both. Energy is counted from 0 on, or from what the meter shows: --import and --export
    say that, and a person at the meter confirms it. The owner, the way of billing and you as the supplier stay for the
    meter's whole life.

      wattchain meter install 0xMETER 0xCONSENT --owner 0x... --tariff 1 --place "12 Mill Lane" --from supplier
    """
    agreed = parse_consent(consent)
    address, customer = parse_account(meter, sending.keys), parse_account(owner, sending.keys)
    billing = parse_sink(sink)
    point = _point_of_supply(place, point_of_supply)
    registers = (parse_energy_wh(import_text), parse_energy_wh(export_text))
    arguments = (address, customer, billing, tariff_number, point, *registers, agreed)
    lines = [
        ("Install", to_checksum_address(address)),
        ("Owner", to_checksum_address(customer)),
        ("Billing", f"{sink_word(billing)}, {_tariff_text(tariff_number)}"),
        ("Place", _place_text(point, place)),
        ("Shows", _registers_text(*registers)),
    ]
    call = ContractCall(REGISTRY, "installMeter", arguments)
    told = "The meter {meter} of {owner} is installed; readings count from {openingImportWh} and {openingExportWh} on."
    told += _to_confirm(*registers)
    send_call(sending, call, lines, "MeterInstalled", told, question="Install this meter?")


@click.command()
@click.argument("meter")
@click.argument("successor")
@click.argument("consent", required=False)
@click.option(
    "--closing-import",
    metavar="ENERGY",
    help="What the old meter shows as taken, in kWh; else its last reading.",
)
@click.option(
    "--closing-export",
    metavar="ENERGY",
    help="What the old meter shows as given, in kWh; else its last reading.",
)
@click.option("--opening-import", metavar="ENERGY", help="What the new meter shows as taken, in kWh.")
@click.option("--opening-export", metavar="ENERGY", help="What the new meter shows as given, in kWh.")
@click.option("--same-device", is_flag=True, help="Only the key changes: the registers go on where they are.")
@sending_options
def swap(
    meter: str,
    successor: str,
    consent: str | None,
    closing_import: str | None,
    closing_export: str | None,
    opening_import: str | None,
    opening_export: str | None,
    same_device: bool,
    sending: Sending,
) -> None:
    """As a supplier: put another meter, or another key, in the place of METER.

    SUCCESSOR is the address of the new key, and CONSENT what that key has signed for you: `wattchain meter key consent`
    prints both. Owner, tariff and billing stay; credit and bills go on. The energy up to
    the closing registers is charged like a reading; without them the last reading counts. A new device needs
    --opening-import (and --opening-export where it is not 0); with --same-device the registers stay as they are.

      wattchain meter swap 0xold 0xnew 0xCONSENT --closing-import 8120.4 --opening-import 0 --from supplier
    """
    old, new = parse_account(meter, sending.keys), parse_account(successor, sending.keys)
    agreed = parse_consent(consent)
    if same_device and (opening_import or opening_export):
        raise UserError("With --same-device the registers go on where they are; leave the opening registers out.")
    if not same_device and opening_import is None:
        raise UserError("Say with --opening-import what the new meter shows, or --same-device if only the key changes.")

    async def plan(client: RpcClient, _sender: bytes) -> Plan:
        record, last = await read_meter(client, old), await read_registers(client, old)
        closing = Registers(
            last.sequence,
            last.import_wh if closing_import is None else parse_energy_wh(closing_import),
            last.export_wh if closing_export is None else parse_energy_wh(closing_export),
        )
        opening = (closing.import_wh, closing.export_wh)
        if not same_device:
            opening = (parse_energy_wh(opening_import or "0"), parse_energy_wh(opening_export or "0"))
        arguments = (old, new, closing.import_wh, closing.export_wh, *opening, agreed)
        lines = [
            ("Swap", to_checksum_address(old)),
            ("For", to_checksum_address(new)),
            ("Owner", to_checksum_address(record.owner)),
            ("Last", _registers_text(last.import_wh, last.export_wh)),
            ("Closing", _registers_text(closing.import_wh, closing.export_wh)),
            ("Opening", _registers_text(*opening)),
        ]
        told = "{successor} is in the place of {meter}; readings count from {openingImportWh} and {openingExportWh} on."
        told += _to_confirm(*opening)

        def outcome(events: Sequence[ContractEvent]) -> Outcome:
            return told_by(REGISTRY, events, "MeterSwapped", told)

        return Plan(ContractCall(REGISTRY, "swapMeter", arguments), lines, outcome, "Swap these meters?")

    send_planned(sending, plan)


@click.command()
@click.argument("meter")
@sending_options
def remove(meter: str, sending: Sending) -> None:
    """As a supplier, or a regulator: accept no more readings of METER.

    What it has used up to its last reading stays charged. It may come back with `wattchain meter reinstate`.
    """
    address = parse_account(meter, sending.keys)
    call = ContractCall(REGISTRY, "removeMeter", (address,))
    lines = [("Remove", to_checksum_address(address))]
    send_call(sending, call, lines, "MeterRemoved", "The meter {meter} is removed.", question="Remove this meter?")


@click.command()
@click.argument("meter")
@click.option("--import", "import_text", metavar="ENERGY", help="What the meter shows as taken, in kWh.")
@click.option("--export", "export_text", metavar="ENERGY", help="What it shows as given, in kWh.")
@sending_options
def reinstate(meter: str, import_text: str | None, export_text: str | None, sending: Sending) -> None:
    """As a supplier: bring a removed METER back, to the same owner and billing.

    Energy is counted from what the meter shows now; without the options, from its last reading.
    """
    address = parse_account(meter, sending.keys)

    async def plan(client: RpcClient, _sender: bytes) -> Plan:
        last = await read_registers(client, address)
        import_wh = last.import_wh if import_text is None else parse_energy_wh(import_text)
        export_wh = last.export_wh if export_text is None else parse_energy_wh(export_text)
        lines = [("Return", to_checksum_address(address)), ("Shows", _registers_text(import_wh, export_wh))]
        call = ContractCall(REGISTRY, "reinstateMeter", (address, import_wh, export_wh))
        told = "The meter {meter} is back; readings count from {openingImportWh} and {openingExportWh} on."
        return Plan(call, lines, lambda events: told_by(REGISTRY, events, "MeterReinstated", told))

    send_planned(sending, plan)


@click.command()
@click.argument("meter")
@click.argument("number", type=WholeNumber(1, 2**32 - 1))
@sending_options
def tariff(meter: str, number: int, sending: Sending) -> None:
    """As a supplier: announce that METER is to go by your tariff NUMBER.

    It comes into force with `wattchain meter apply-tariff`: at once if the meter's owner does that, a day later by
    anybody.
    """
    address = parse_account(meter, sending.keys)
    call = ContractCall(REGISTRY, "setTariff", (address, number))
    lines = [("Meter", to_checksum_address(address)), ("Tariff", f"number {number}")]
    told = "The tariff {tariff} is announced for {meter}; its owner can accept it now, anybody from {from} on."
    send_call(sending, call, lines, "TariffAnnounced", told)


@click.command("apply-tariff")
@click.argument("meter")
@click.argument("number", type=WholeNumber(0, 2**32 - 1))
@sending_options
def apply_tariff(meter: str, number: int, sending: Sending) -> None:
    """Put the tariff NUMBER, which was announced for METER, in force.

    As the meter's owner at any time, as anybody else when the notice is over. `wattchain meter show` says which one was
    announced; if another has taken its place meanwhile, nothing happens.
    """
    address = parse_account(meter, sending.keys)
    call = ContractCall(REGISTRY, "applyTariff", (address, number))
    lines = [("Meter", to_checksum_address(address)), ("Tariff", f"number {number}")]
    told = "Readings of {meter} from now on go by the tariff {tariff}; late ones from before, by the one before."
    send_call(sending, call, lines, "TariffAssigned", told)


@click.command()
@click.argument("meter")
@keystore_option
@node_option
@json_option
def show(meter: str, keys: KeyDirectory, node: str, as_json: bool) -> None:
    """Show what the registry knows about METER."""
    address = parse_account(meter, keys)

    async def ask(client: RpcClient) -> tuple[MeterRecord, Registers]:
        return await read_meter(client, address), await read_registers(client, address)

    record, last = ask_node(node, ask)
    reading = {"sequence": last.sequence, "import_wh": last.import_wh, "export_wh": last.export_wh}
    result = {"address": to_checksum_address(address), **meter_json(record), "last_reading": reading}
    lines = [to_checksum_address(address), *meter_text(record)]
    lines.append(f"Last      reading {last.sequence}: {_registers_text(last.import_wh, last.export_wh)}")
    print_result(result, "\n".join(lines), as_json)


def meter_text(record: MeterRecord) -> list[str]:
    """The lines that tell of a meter."""
    lines = [
        f"Meter     {STATUS_WORDS[record.status]}, installed {format_time(record.installed_at_s)}",
        f"Owner     {to_checksum_address(record.owner)}",
        f"Supplier  {to_checksum_address(record.supplier)}",
        f"Billing   {sink_word(record.sink)}, {_tariff_text(record.tariff)}",
        f"Place     {_place_text(record.point_of_supply)}",
    ]
    if not record.is_active:
        lines.append(f"Removed   {format_time(record.removed_at_s)}")
    if record.predecessor is not None:
        lines.append(f"Follows   {to_checksum_address(record.predecessor)}")
    if record.successor is not None:
        lines.append(f"Successor {to_checksum_address(record.successor)}")
    if record.next_tariff_from_s:
        lines.append(f"Next      {_tariff_text(record.next_tariff)}, from {format_time(record.next_tariff_from_s)} on")
    return lines


def meter_json(record: MeterRecord) -> dict[str, object]:
    """The same for programs."""
    return {
        "status": STATUS_WORDS[record.status],
        "owner": to_checksum_address(record.owner),
        "supplier": to_checksum_address(record.supplier),
        "sink": to_checksum_address(record.sink),
        "tariff": record.tariff,
        "point_of_supply": to_data(record.point_of_supply),
        "installed_at": record.installed_at_s,
        "removed_at": record.removed_at_s or None,
        "predecessor": record.predecessor and to_checksum_address(record.predecessor),
        "successor": record.successor and to_checksum_address(record.successor),
        "next_tariff": record.next_tariff or None,
        "next_tariff_from": record.next_tariff_from_s or None,
    }


def parse_consent(text: str | None) -> tuple[bytes, bytes]:
    """What the key of a meter has signed for its supplier, as the registry takes it. Raises UserError."""
    if text is None:
        raise UserError(
            "Give the consent of the new meter's key behind its address: at the meter, `wattchain meter key consent "
            "0xSUPPLIER` prints both."
        )
    try:
        signature = parse_data(text)
    except InvalidHex:
        signature = b""
    if len(signature) != CONSENT_BYTES:
        raise UserError(
            f"{text[:80]!r} is no consent of a meter's key: that is 0x and {2 * CONSENT_BYTES} hexadecimal digits, as "
            "`wattchain meter key consent` prints it at the meter."
        )
    return signature[:32], signature[32:]


def _point_of_supply(place: str | None, hash_hex: str | None) -> bytes:
    """Text is hashed without differences of case and space, so that who knows the address can check it."""
    if place is not None and hash_hex is not None:
        raise UserError("Give either --place or --point-of-supply, not both.")
    if hash_hex is not None:
        try:
            return parse_data(hash_hex, 32)
        except InvalidHex as error:
            raise UserError(f"'{hash_hex[:80]}' is no hash of 32 bytes: {error}.") from error
    return bytes(32) if place is None else keccak256(" ".join(place.split()).casefold().encode())


def _place_text(point: bytes, place: str | None = None) -> str:
    """The ledger has the hash of an address only."""
    if not any(point):
        return "not named"
    return to_data(point) if place is None else f"{place} ({to_data(point)})"


def _to_confirm(import_wh: int, export_wh: int) -> str:
    """What a person at the meter has to do: a key that has signed nothing proves no registers, and a node may lie."""
    if not (import_wh or export_wh):
        return ""
    return (
        "\nThe meter measures once a person has confirmed these in the section [ledger] of its settings: "
        f'believed_reading = "0 {import_wh} {export_wh}".'
    )


def _registers_text(import_wh: int, export_wh: int) -> str:
    return f"{format_energy(import_wh)} taken, {format_energy(export_wh)} given"


def _tariff_text(number: int) -> str:
    return f"tariff number {number}" if number else "without a tariff: energy costs nothing"
