"""`wattchain init`, `node` and `demo`: the commands that run a node. No logic of its own."""

import asyncio
import contextlib
import json
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import click
from rich.console import Console

from chain.config import ASERT as ASERT_RULE
from chain.config import DEVELOPMENT, EIP1559, FIXED, PRODUCTION, ZERO
from node.application import NodeFacts, open_ledger, read_genesis, run_node
from node.demo.play import play, prepare_folder
from node.demo.screen import show_books
from node.demo.stage import DemoPlan
from node.log import configure_log
from node.new_network import (
    DEFAULT_DIFFICULTY,
    NetworkPlan,
    copy_genesis,
    describe,
    genesis_document,
    has_genesis,
    random_chain_id,
    write_genesis,
    write_settings,
)
from node.settings import DEFAULT_DATA_DIRECTORY, NodeSettings, check_settings, load_settings
from primitives.clock import SystemClock
from primitives.errors import Invalid, UserError
from primitives.hexadecimal import parse_address
from wallet.amounts import parse_amount
from wallet.command_line import json_option, print_result, say

MAX_PRICE_DIGITS = 78
"""Those of 2^256; what is in range is decided by the contract's genesis."""

data_directory_option = click.option(
    "--data-dir",
    "data_directory",
    envvar="WATTCHAIN_DATA",
    default=str(DEFAULT_DATA_DIRECTORY),
    show_default=True,
    metavar="FOLDER",
    callback=lambda _context, _option, value: Path(value).expanduser(),
    help="The folder with the node's ledger and settings (or set WATTCHAIN_DATA).",
)


@click.command()
@data_directory_option
@click.option("--genesis", type=click.Path(path_type=Path), help="Join the network of this genesis file.")
@click.option("--operator", metavar="ADDRESS", help="New network: the address that names suppliers.")
@click.option(
    "--supplier",
    "suppliers",
    multiple=True,
    metavar="ADDRESS=RATE",
    help="New network: a supplier and its price in wei per Wh. May be repeated.",
)
@click.option(
    "--fund",
    "funds",
    multiple=True,
    metavar="ADDRESS=AMOUNT",
    help="New network: WATT that an address has from the start, such as 0x...=100. May be repeated.",
)
@click.option("--chain-id", type=click.IntRange(1, 2**53 - 1), help="New network: its number; random if not given.")
@click.option(
    "--block-time",
    type=click.IntRange(1, 86_400),
    default=15,
    show_default=True,
    help="New network: seconds from block to block that the difficulty aims at.",
)
@click.option(
    "--difficulty-rule",
    type=click.Choice([ASERT_RULE, FIXED]),
    default=ASERT_RULE,
    show_default=True,
    help="New network: let the difficulty follow the mining power, or keep it.",
)
@click.option(
    "--difficulty",
    type=click.IntRange(1),
    default=DEFAULT_DIFFICULTY,
    show_default=True,
    help="New network: the difficulty of its first blocks, in hashes.",
)
@click.option(
    "--fees",
    type=click.Choice([ZERO, EIP1559]),
    default=ZERO,
    show_default=True,
    help="New network: none, for a closed network, or Ethereum's.",
)
@click.option(
    "--development", is_flag=True, help="New network: for trying things out; its clock may run faster than time."
)
@json_option
def init(
    data_directory: Path,
    genesis: Path | None,
    operator: str | None,
    suppliers: tuple[str, ...],
    funds: tuple[str, ...],
    chain_id: int | None,
    block_time: int,
    difficulty_rule: str,
    difficulty: int,
    fees: str,
    development: bool,
    as_json: bool,
) -> None:
    """Make the folder of a node: its genesis file, its settings and an empty ledger.

    Every node of a network needs the same genesis file. The first one makes it (--operator ...), the others are given
    a copy of it (--genesis FILE).
    """
    if operator is None and (suppliers or funds):
        raise UserError("--supplier and --fund say what a new network begins with: name its --operator as well")
    if genesis is not None and operator is not None:
        raise UserError("--genesis FILE joins a network, --operator ADDRESS makes a new one: give one of them")
    if genesis is not None:
        copy_genesis(data_directory, genesis)
    elif operator is not None:
        plan = NetworkPlan(
            operator=_address(operator, "--operator"),
            chain_id=chain_id or random_chain_id(),
            suppliers=_pairs(suppliers, "--supplier", _whole_number),
            funds=_pairs(funds, "--fund", parse_amount),
            difficulty=difficulty,
            difficulty_rule=difficulty_rule,
            block_time_s=block_time,
            fee_rule=fees,
            network=DEVELOPMENT if development else PRODUCTION,
            timestamp_s=SystemClock().time_s(),
        )
        write_genesis(data_directory, genesis_document(plan))
    elif not has_genesis(data_directory):
        raise UserError(
            "Name the network: --genesis FILE joins an existing one, --operator ADDRESS makes a new one "
            "(`wattchain wallet new` makes an address)"
        )
    settings = load_settings(data_directory)
    settings_path = write_settings(settings)
    genesis_file = read_genesis(settings)
    with open_ledger(settings, genesis_file, SystemClock()) as ledger:
        facts = describe(genesis_file, ledger.genesis_hash)
    facts |= {"dataDirectory": str(data_directory), "settings": str(settings_path)}
    print_result(
        facts,
        f"The node's folder is ready: {data_directory}\n"
        f"  network (chain id)  {facts['chainId']}\n"
        f"  genesis block       {facts['genesisHash']}\n"
        f"  settings            {settings_path}\n"
        f"Give the other nodes a copy of {settings.genesis_path}.\n"
        f"Start the node with: wattchain node --data-dir {data_directory}",
        as_json,
    )


@click.command()
@data_directory_option
@click.option("--mine/--no-mine", default=None, help="Make blocks, whatever the settings say.")
@click.option("--coinbase", metavar="ADDRESS", help="Who receives fees and rewards of blocks made here.")
@click.option("--rpc-port", type=click.IntRange(0, 65_535), help="Port of the JSON-RPC gateway; 0 takes a free one.")
@click.option("--archive", is_flag=True, help="Keep every past state, not only the last 1,024.")
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    show_default=True,
    help="How much to tell on standard error.",
)
@click.option("--log-blocks", is_flag=True, help="Tell when each block arrives, to the microsecond, for measurements.")
@json_option
def node(
    data_directory: Path,
    mine: bool | None,
    coinbase: str | None,
    rpc_port: int | None,
    archive: bool,
    log_level: str,
    log_blocks: bool,
    as_json: bool,
) -> None:
    """Run a node until it is stopped (Ctrl-C, or SIGTERM from a service manager).

    The node keeps the ledger in its folder and answers wallets and meters on its JSON-RPC gateway. With --json it
    prints one line as soon as it is ready: the address of the gateway and the head of its chain.
    """
    configure_log(log_level, blocks=log_blocks)
    settings = _override(load_settings(data_directory), mine, coinbase, rpc_port, archive)
    asyncio.run(run_node(settings, lambda facts: _announce(facts, as_json)))


@click.command()
@click.option(
    "--profile",
    type=click.Path(path_type=Path),
    help="Play the household measured in this CSV file (column non_shiftable_load, kWh in each hour).",
)
@click.option("--days", type=click.IntRange(1, 365), default=2, show_default=True, help="Days to play.")
@click.option(
    "--rate",
    type=click.FloatRange(60, 86_400),
    default=3600,
    show_default=True,
    help="How many times as fast as real time.",
)
@click.option("--data-dir", "folder", type=click.Path(path_type=Path), help="Keep the demo's files in this new folder.")
@json_option
def demo(profile: Path | None, days: int, rate: float, folder: Path | None, as_json: bool) -> None:
    """Watch everything at work: a node, a supplier and two households, in accelerated time.

    One household runs out of credit, its supply goes off, it pays, its supply returns. At the end the books are
    compared: energy read and energy charged, money paid and money received. Takes about a minute.
    """
    with contextlib.ExitStack() as stack:
        if folder is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="wattchain-demo-")))
        else:
            prepare_folder(folder)
        books = asyncio.run(play(DemoPlan(folder.absolute(), profile, days, rate), Console(stderr=as_json)))
    if as_json:
        click.echo(json.dumps([entry.as_json() for entry in books], indent=2))
    else:
        show_books(Console(), books)
    if not all(entry.agrees for entry in books):
        raise UserError("The books do not balance. This should never happen; please report it with the files.")


def _announce(facts: NodeFacts, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(facts.as_json()))
    else:
        say(f"Wattchain is ready at {facts.rpc_url}, chain {facts.chain_id}, block {facts.block_number}.")


def _override(
    settings: NodeSettings, mine: bool | None, coinbase: str | None, rpc_port: int | None, archive: bool
) -> NodeSettings:
    mining, rpc, chain = settings.mining, settings.rpc, settings.chain
    if mine is not None:
        mining = replace(mining, enabled=mine)
    if coinbase is not None:
        mining = replace(mining, coinbase=coinbase)
    if rpc_port is not None:
        rpc = replace(rpc, port=rpc_port)
    if archive:
        chain = replace(chain, archive=True)
    return check_settings(replace(settings, mining=mining, rpc=rpc, chain=chain))


def _address(text: str, option: str) -> bytes:
    try:
        return parse_address(text)
    except Invalid as error:
        raise UserError(f"{option}: {error}") from error


def _pairs(texts: tuple[str, ...], option: str, parse_number: Callable[[str], int]) -> dict[bytes, int]:
    pairs: dict[bytes, int] = {}
    for text in texts:
        name, separator, number = text.partition("=")
        if not separator:
            raise UserError(
                f"{option} takes an address and a number with = between them, such as 0x...=100; got {text}"
            )
        address = _address(name, option)
        if address in pairs:
            raise UserError(f"{option} names the address {name} twice")
        pairs[address] = parse_number(number)
    return pairs


def _whole_number(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or len(text) > MAX_PRICE_DIGITS:
        raise UserError(f"A price is a whole number of wei per Wh, not {text[:MAX_PRICE_DIGITS]}")
    return int(text)
