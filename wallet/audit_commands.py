"""`wattchain meter audit`: what the ledger says about how far a meter is to be trusted."""

import click

from primitives.hexadecimal import to_checksum_address
from wallet.client import RpcClient
from wallet.command_line import WholeNumber, json_option, node_option, print_result
from wallet.commands import keystore_option
from wallet.contract_commands import ask_node, parse_account
from wallet.key_directory import KeyDirectory
from wallet.meter_audit import Finding
from wallet.meter_audit import audit as audit_meter
from wallet.progress_bar import progress_bar
from wallet.registry import read_meter

# Four months of blocks every 15 s: 700 questions; a node answers each in milliseconds.
MAX_BLOCKS = 700_000


@click.command()
@click.argument("meter")
@click.option(
    "--blocks", type=WholeNumber(1, MAX_BLOCKS), default=10_000, show_default=True, help="How many to look through."
)
@keystore_option
@node_option
@json_option
def audit(meter: str, blocks: int, keys: KeyDirectory, node: str, as_json: bool) -> None:
    """Show what the ledger says against METER.

    Readings that it refused, breaks in the chain of readings, what the meter itself tells of (tampering, an open cover,
    changed settings, another program or device), who has calibrated it, and readings with other factors than before
    that no calibration explains.

    Anybody can send readings in a meter's name; that the ledger refused them shows that somebody tried.
    """
    address = parse_account(meter, keys)

    async def ask(client: RpcClient) -> tuple[int, list[Finding]]:
        last = await client.block_number()
        first = max(0, last - blocks + 1)
        with progress_bar("Looking through blocks") as told:
            found = await audit_meter(client, address, first, last, told)
        if not found:
            await read_meter(client, address)  # or say that there is none: its readings would be refused
        return first, found

    first, found = ask_node(node, ask)
    name = to_checksum_address(address)
    lines = [f"block {one.block_number:>8}  {one.what}" for one in found]
    text = "\n".join([name, *(lines or [f"Nothing speaks against it from block {first} on."])])
    result = [
        {"kind": str(one.kind), "block": one.block_number, "sequence": one.sequence, "what": one.what} for one in found
    ]
    print_result(result, text, as_json)
