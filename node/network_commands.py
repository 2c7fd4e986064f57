"""`wattchain network new`: make the nodes of a new network."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from chain.config import QBFT
from chain.consensus.qbft.validators import tolerated_faults
from node.network_options import NetworkOptions, network_options
from node.network_plan import LOOPBACK_HOST, MAX_NODES, NewNetwork, NewNode, Places, make_network
from node.settings import DEFAULT_P2P_PORT, DEFAULT_RPC_PORT
from primitives.errors import UserError
from wallet.command_line import PlainGroup, WholeNumber, json_option, print_result
from wallet.quantities import counted

DEFAULT_NODES = 4
"""The least with which validators can do without one of them."""


@click.group(cls=PlainGroup)
def network() -> None:
    """A network of several nodes.

    Who its validators are is decided with `wattchain validators`.
    """


@network.command()
@click.option(
    "--out",
    "folder",
    required=True,
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Where to make the folders of the nodes: node1, node2 and so on.",
)
@click.option("--nodes", "count", type=WholeNumber(1, MAX_NODES), help=f"How many. [default: {DEFAULT_NODES}]")
@click.option(
    "--hosts",
    metavar="HOST,HOST,...",
    help="The computers that will run the nodes, one each, by name or address: pi1.local,192.168.1.12. "
    "Without it, all run on this computer.",
)
@click.option(
    "--host",
    default=LOOPBACK_HOST,
    show_default=True,
    metavar="ADDRESS",
    help="This computer's address, where all nodes run here.",
)
@click.option(
    "--base-port",
    type=WholeNumber(1, 65_535),
    default=DEFAULT_P2P_PORT,
    show_default=True,
    help="Port for the other nodes: of all, or of the first where all run here.",
)
@click.option(
    "--rpc-base-port",
    type=WholeNumber(1, 65_535),
    default=DEFAULT_RPC_PORT,
    show_default=True,
    help="Port for wallets and meters, counted the same way.",
)
@network_options(default_consensus=QBFT)
@json_option
def new(
    folder: Path,
    count: int | None,
    hosts: str | None,
    host: str,
    base_port: int,
    rpc_base_port: int,
    as_json: bool,
    **rules: Any,
) -> None:
    """Make a new network: a folder for each node, with the same genesis file, a key, and settings that name the others.

    Nothing is started and nothing is sent. Each folder then goes to the computer that will run the node, and is that
    node's data directory.
    """
    options = NetworkOptions(**rules)
    names = _hosts(count, hosts, host)
    made = make_network(folder, options, Places(names, base_port, rpc_base_port, are_apart=hosts is not None))
    facts = {
        "folder": str(made.folder),
        "chain_id": made.chain_id,
        "genesis_hash": "0x" + made.genesis_hash.hex(),
        "consensus": options.consensus,
        "nodes": [node.as_json() for node in made.nodes],
    }
    print_result(facts, _explain(made, options, are_apart=hosts is not None), as_json)


def _hosts(count: int | None, hosts: str | None, host: str) -> tuple[str, ...]:
    """Of each node. Raises UserError."""
    if hosts is None:
        return (host,) * (count or DEFAULT_NODES)
    names = tuple(name.strip().strip("[]") for name in hosts.split(","))
    if not all(names):
        raise UserError("--hosts takes names or addresses with commas between them, such as pi1.local,pi2.local")
    if count is not None and count != len(names):
        raise UserError(f"--nodes says {count}, but --hosts names {len(names)} computers: leave out one of them")
    return names


def _explain(made: NewNetwork, options: NetworkOptions, *, are_apart: bool) -> str:
    lines = [
        f"The network {made.chain_id} is ready in {made.folder}, {counted(len(made.nodes), 'node')}:",
        *(f"  {node.folder.name:<7} {node.url}" for node in made.nodes),
        "",
        *(_steps_apart(made.nodes) if are_apart else _steps_here(made.nodes)),
    ]
    if options.is_qbft:
        faults = tolerated_faults(len(made.nodes))
        lines += [
            "",
            f"All {len(made.nodes)} are validators; blocks go on being made while at most {faults} of them "
            f"{'is' if faults == 1 else 'are'} out of order."
            if faults
            else f"Validators: {len(made.nodes)}; no blocks are made while one of them is out of order.",
        ]
    lines += [
        "",
        "Whoever has the node.key of a node can speak in its name: send it over safe ways only, keep a copy in a safe",
        "place, and never let two computers run with the same one.",
    ]
    return "\n".join(lines)


def _steps_here(nodes: Sequence[NewNode]) -> list[str]:
    return [
        "Start each one in a terminal of its own:",
        *(f"  wattchain node --data-dir {node.folder}" for node in nodes),
        "Look at one with:",
        f"  wattchain status --node {nodes[0].rpc_url}",
        f"  wattchain peers --node {nodes[0].rpc_url}",
        "To run a node on another computer, copy its folder there, and put that computer's address in the place of "
        f"{nodes[0].url.host}",
        "in `peers` of all other nodes' wattchain.toml (and `host` of its own); or begin again with --hosts.",
    ]


def _steps_apart(nodes: Sequence[NewNode]) -> list[str]:
    return [
        "Copy each folder to its computer, for example with:",
        *(f"  scp -pr {node.folder} {_bracketed(node.url.host)}:" for node in nodes),
        "and start the node on each of them with the name of its folder, for example:",
        f"  wattchain node --data-dir {nodes[0].folder.name}",
        "Look at it there with `wattchain status` and `wattchain peers`.",
    ]


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
