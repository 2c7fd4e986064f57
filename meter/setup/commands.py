"""`wattchain meter setup`: from a board on the table to a meter that is ready to be registered."""

import asyncio
from pathlib import Path

import click

from meter.drivers.catalogue import DRIVER_KINDS
from meter.setup.person import Person
from meter.setup.probe import LISTEN_S
from meter.setup.wizard import Options, Outcome, Wizard
from primitives.clock import SystemClock
from primitives.hexadecimal import to_checksum_address
from wallet.command_line import NumberInRange, WholeNumber, json_option, print_result

KIND_NAMES = [kind.name for kind in DRIVER_KINDS]


@click.command()
@click.option(
    "--settings",
    envvar="WATTCHAIN_METER",
    default="meter.toml",
    show_default=True,
    type=click.Path(path_type=Path),
    help="The settings file to write (or set WATTCHAIN_METER).",
)
@click.option("--overwrite", is_flag=True, help="Write it in the place of one that is there.")
@click.option("--driver", type=click.Choice(KIND_NAMES), help="What measures; without it serial ports are listened to.")
@click.option("--port", "ports", multiple=True, metavar="PORT", help="Look for a board at this serial port only.")
@click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="SECTION.NAME=VALUE",
    help="Any other setting, such as driver.board=RPICT7V1 or relay.pin=17. May be repeated.",
)
@click.option("--node", envvar="WATTCHAIN_NODE", metavar="URL", help="A node of the ledger (or set WATTCHAIN_NODE).")
@click.option("--chain-id", type=WholeNumber(min=1), help="Of the network; without it the node is asked.")
@click.option(
    "--key", type=click.Path(path_type=Path), help="The meter's key file; a new one is made where it is missing."
)
@click.option(
    "--password-file",
    type=click.Path(path_type=Path),
    help="The key's password is this file's first line, also when the meter runs. Else you are asked for a new one.",
)
@click.option("--relay/--no-relay", default=None, help="Whether a relay switches the supply.")
@click.option("--test-relay", is_flag=True, help="Switch the supply off and on again to try it, without asking.")
@click.option(
    "--live", "live_count", type=WholeNumber(0, 1000), default=3, show_default=True, help="Measurements to show."
)
@click.option(
    "--listen",
    "listen_s",
    type=NumberInRange(0.1, 600),
    default=LISTEN_S,
    show_default=True,
    help="Seconds to listen at each speed of a port.",
)
@click.option("--yes", is_flag=True, help="Ask nothing: take what was found, what is usual, and what options say.")
@json_option
def setup(
    settings: Path,
    overwrite: bool,
    driver: str | None,
    ports: tuple[str, ...],
    assignments: tuple[str, ...],
    node: str | None,
    chain_id: int | None,
    key: Path | None,
    password_file: Path | None,
    relay: bool | None,
    test_relay: bool,
    live_count: int,
    listen_s: float,
    yes: bool,
    as_json: bool,
) -> None:
    """Set up a meter, step by step: find the board, make the key, try the relay, write the settings.

    Serial ports are listened to for boards and meters that speak by themselves (RPICT, DSMR, SML); nothing is sent.
    Others are chosen from a list. At the end you have a settings file and an address, which your supplier registers.
    Nothing is overwritten without a question, and each of them can be answered by an option.
    """
    options = Options(
        settings,
        overwrite,
        driver,
        ports,
        assignments,
        node,
        chain_id,
        key,
        password_file,
        relay,
        test_relay,
        live_count,
        listen_s,
    )
    outcome = asyncio.run(Wizard(Person(yes), options, SystemClock()).run())
    print_result(_as_json(settings, outcome), f"The meter {to_checksum_address(outcome.address)} is set up.", as_json)


def _as_json(path: Path, outcome: Outcome) -> dict[str, object]:
    relay = outcome.relay
    return {
        "settings": str(path.absolute()),
        "address": to_checksum_address(outcome.address),
        "key_is_new": outcome.key_is_new,
        "driver": outcome.settings.driver.kind,
        "chain_id": outcome.settings.ledger.chain_id,
        "measurements": outcome.measurements,
        "relay": None if relay is None else {"clicked": relay.clicked, "trouble": relay.trouble},
    }
