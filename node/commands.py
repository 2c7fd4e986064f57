"""`wattchain init`, `node` and `demo`: the commands that run a node. No logic of its own."""

import asyncio
import contextlib
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from chain.config import POW
from node.application import NodeFacts, open_ledger, read_genesis, run_node
from node.demo.play import play, prepare_folder
from node.demo.screen import show_books
from node.demo.stage import DemoPlan
from node.log import configure_log
from node.network_options import NetworkOptions, network_options
from node.new_network import copy_genesis, describe, has_genesis, make_node, parse_plan, write_settings
from node.node_key import existing_node_key, load_node_key, new_node_key
from node.processes import run_until_told_to_end
from node.settings import DEFAULT_DATA_DIRECTORY, NodeSettings, check_settings, load_settings
from node.sync_bar import SyncBar
from primitives.clock import SystemClock
from primitives.errors import UserError
from primitives.hexadecimal import to_checksum_address
from primitives.secp256k1 import address_of
from wallet.command_line import NumberInRange, WholeNumber, json_option, print_json, print_result, say, service

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
@network_options(default_consensus=POW, prefix="New network: ")
@json_option
def init(data_directory: Path, genesis: Path | None, as_json: bool, **network: Any) -> None:
    """Make the folder of a node: its genesis file, its key, its settings and an empty ledger.

    Every node of a network needs the same genesis file. The first one makes it (--operator ...), the others are given
    a copy of it (--genesis FILE). `wattchain network new` makes the folders of all nodes of a network at once.
    """
    options = NetworkOptions(**network)
    options.check()
    if genesis is not None and options.operator is not None:
        raise UserError("--genesis FILE joins a network, --operator ADDRESS makes a new one: give one of them")
    if genesis is not None:
        copy_genesis(data_directory, genesis)
    elif options.operator is not None:
        # With qbft, this node is the first validator; others are voted in.
        key = existing_node_key(data_directory) or new_node_key()
        document, _ = parse_plan(options.plan(validators=(address_of(key),)))
        make_node(data_directory, document, key)
    elif not has_genesis(data_directory):
        raise UserError(
            "Name the network: --genesis FILE joins an existing one, --operator ADDRESS makes a new one "
            "(`wattchain wallet new` makes an address)"
        )
    node_id = address_of(load_node_key(data_directory))
    settings = load_settings(data_directory)
    settings_path = write_settings(settings)
    genesis_file = read_genesis(settings)
    with open_ledger(settings, genesis_file, SystemClock()) as ledger:
        facts = describe(genesis_file, ledger.genesis_hash)
    facts |= {
        "node_id": to_checksum_address(node_id),
        "data_directory": str(data_directory),
        "settings": str(settings_path),
    }
    print_result(
        facts,
        f"The node's folder is ready: {data_directory}\n"
        f"  network (chain id)  {facts['chain_id']}\n"
        f"  genesis block       {facts['genesis_hash']}\n"
        f"  this node's id      {facts['node_id']}\n"
        f"  settings            {settings_path}\n"
        f"Give the other nodes a copy of {settings.genesis_path}.\n"
        f"Start the node with: wattchain node --data-dir {data_directory}",
        as_json,
    )


@click.command()
@data_directory_option
@click.option("--mine/--no-mine", default=None, help="Make blocks, whatever the settings say.")
@click.option("--coinbase", metavar="ADDRESS", help="Who receives fees and rewards of blocks made here.")
@click.option("--rpc-port", type=WholeNumber(0, 65_535), help="Port of the JSON-RPC gateway; 0 takes a free one.")
@click.option("--p2p-port", type=WholeNumber(0, 65_535), help="Port for other nodes; 0 takes a free one.")
@click.option(
    "--peer",
    "peers",
    multiple=True,
    metavar="URL",
    help="Stay connected with this node: wattchain://0x<node id>@<host>:<port>. May be repeated.",
)
@click.option("--no-discovery", is_flag=True, help="Do not look for nodes on the local network, nor be found there.")
@click.option("--full", is_flag=True, help="Execute every block from the first one on, instead of fetching a state.")
@click.option("--archive", is_flag=True, help="Keep every past state, not only the last 1,024; goes with --full.")
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    show_default=True,
    help="How much to tell on standard error.",
)
@click.option("--log-blocks", is_flag=True, help="Tell when each block arrives, to the microsecond, for measurements.")
@json_option
@service
def node(data_directory: Path, log_level: str, log_blocks: bool, as_json: bool, **given: Any) -> None:
    """Run a node until it is stopped (Ctrl-C, or SIGTERM from a service manager).

    The node keeps the ledger in its folder, finds other nodes of its network and follows them, and answers wallets and
    meters on its JSON-RPC gateway. What it does is set in wattchain.toml in its folder; the options here go before it.
    With --json it prints one line as soon as it is ready: its addresses and the head of its chain.
    """
    configure_log(log_level, blocks=log_blocks)
    settings = with_options(load_settings(data_directory), NodeOptions(**given))
    console = Console(stderr=True)
    bar = SyncBar(console) if console.is_terminal else None
    try:
        asyncio.run(run_node(settings, lambda facts: _announce(facts, as_json), bar.show if bar is not None else None))
    finally:
        if bar is not None:
            bar.close()


@click.command()
@click.option(
    "--profile",
    type=click.Path(path_type=Path),
    help="Play homes measured in this CSV file, or in all *.csv files of this folder (columns non_shiftable_load, kWh "
    "in each hour, and for solar panels solar_generation, W per kW of panel), not those that come with the demo.",
)
@click.option("--days", type=WholeNumber(1, 365), default=1, show_default=True, help="Days to play.")
@click.option(
    "--rate",
    type=NumberInRange(60, 86_400),
    default=1440,
    show_default=True,
    help="How many times as fast as real time; above 1800 homes are billed, but do not trade.",
)
@click.option("--data-dir", "folder", type=click.Path(path_type=Path), help="Keep the demo's files in this new folder.")
@json_option
def demo(profile: Path | None, days: int, rate: float, folder: Path | None, as_json: bool) -> None:
    """Watch everything at work: a day of six homes on a ledger of four nodes, in accelerated time.

    Two homes with solar panels sell to neighbours, one pays by channel, one lives on emergency credit by night and
    repays it in the morning, one goes dark until it pays. One node loses its power, the others go on, and it catches
    up. At the end the books are compared: energy read, charged, given and sold, all money to the wei, and the ledgers
    of the four nodes. Takes about a minute and a half.
    """
    with contextlib.ExitStack() as stack:
        if folder is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="wattchain-demo-")))
        else:
            prepare_folder(folder)
        books = run_until_told_to_end(play(DemoPlan(folder.absolute(), profile, days, rate), Console(stderr=as_json)))
    if as_json:
        print_json([entry.as_json() for entry in books])
    else:
        show_books(Console(), books)
    if not all(entry.agrees for entry in books):
        say("The books do not balance. This should never happen; please report it with the files.")
        raise click.exceptions.Exit(1)
    say("The books balance.")


def _announce(facts: NodeFacts, as_json: bool) -> None:
    if as_json:
        print_json(facts.as_json(), on_one_line=True)
    else:
        say(f"Wattchain is ready at {facts.rpc_url}, chain {facts.chain_id}, block {facts.block_number}.")
        if facts.node_url:
            say(f"Other nodes can call it at {facts.node_url}")


@dataclass(frozen=True, slots=True)
class NodeOptions:
    """Those of `wattchain node` that go before the settings; None, empty or False where not given."""

    mine: bool | None
    coinbase: str | None
    rpc_port: int | None
    p2p_port: int | None
    peers: tuple[str, ...]
    no_discovery: bool
    full: bool
    archive: bool


def with_options(settings: NodeSettings, given: NodeOptions) -> NodeSettings:
    """The settings, but for what was given on the command line. Raises UserError."""
    mining, rpc, p2p = settings.mining, settings.rpc, settings.p2p
    if given.mine is not None:
        mining = replace(mining, enabled=given.mine)
    if given.coinbase is not None:
        mining = replace(mining, coinbase=given.coinbase)
    if given.rpc_port is not None:
        rpc = replace(rpc, port=given.rpc_port)
    if given.p2p_port is not None:
        p2p = replace(p2p, port=given.p2p_port)
    p2p = replace(p2p, peers=p2p.peers + given.peers, discovery=p2p.discovery and not given.no_discovery)
    chain = replace(settings.chain, archive=settings.chain.archive or given.archive)
    sync = replace(settings.sync, full=settings.sync.full or given.full)
    return check_settings(replace(settings, mining=mining, rpc=rpc, p2p=p2p, chain=chain, sync=sync))
