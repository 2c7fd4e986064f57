"""`wattchain peers`: the nodes that a node is connected with, and naming others while it runs."""

import asyncio
from collections.abc import Sequence
from dataclasses import asdict

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from node.operator_answers import PeerRow, as_duration, read_peers
from p2p.node_url import NodeUrl, parse_node_url
from primitives.errors import UserError
from primitives.hexadecimal import to_checksum_address
from wallet.client import InvalidAnswer, RpcClient
from wallet.command_line import PlainGroup, json_option, node_option, print_json, print_result

_here_option = click.option("--node", "here", metavar="URL", help="The node to ask, if not the one named before.")


@click.group(cls=PlainGroup, invoke_without_command=True)
@node_option
@json_option
@click.pass_context
def peers(context: click.Context, node: str, as_json: bool) -> None:
    """The nodes that a node is connected with.

    A node tells this, and takes orders, only from the computer on which it runs. With --json you see everything that is
    known of each peer. Under "block" stands the newest one that the peer itself has told of; it may be further by now.
    """
    if context.invoked_subcommand is not None:
        context.obj = node
        return
    rows = read_peers(asyncio.run(_ask(node, "admin_peers")))
    if as_json:
        print_json([asdict(row) for row in rows])
    elif not rows:
        click.echo("This node is connected with no other one at the moment.")
    else:
        Console().print(peer_table(rows))


@peers.command()
@click.argument("url")
@_here_option
@json_option
@click.pass_obj
def add(node: str, url: str, here: str | None, as_json: bool) -> None:
    """Stay connected with the node of this URL, until the asked node stops.

    URL is wattchain://0x<node id>@<host>:<port>; `wattchain status` shows that of a node. To keep it for ever, write it
    into `peers` in the section [p2p] of wattchain.toml.
    """
    peer = parse_node_url(url)
    if not _is_done(asyncio.run(_ask(here or node, "admin_addPeer", str(peer)))):
        raise UserError("The node does not add it: it is that node itself, or too many are named already.")
    _tell(peer, "added", "It is called now, and again whenever it is lost; `wattchain peers` shows it.", as_json)


@peers.command()
@click.argument("url")
@_here_option
@json_option
@click.pass_obj
def remove(node: str, url: str, here: str | None, as_json: bool) -> None:
    """Name the node of this URL no longer, and hang up on it.

    It may come back as any other node may; to keep nodes out, name those that may come in `allowed_nodes` in the
    section [p2p] of wattchain.toml.
    """
    peer = parse_node_url(url)
    if not _is_done(asyncio.run(_ask(here or node, "admin_removePeer", str(peer)))):
        raise UserError(f"The node {to_checksum_address(peer.node_id)} was neither named nor connected.")
    _tell(peer, "removed", "The node has hung up on it.", as_json)


def peer_table(rows: Sequence[PeerRow]) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in ("node", "address", "called by", "is", "block", "ping", "for"):
        table.add_column(name, justify="right" if name in ("block", "ping") else "left", no_wrap=True)
    for row in sorted(rows, key=lambda row: (not row.is_validator, not row.is_static, -row.connected_s)):
        cells = (
            _short(row.node_id),
            row.address,
            "it" if row.is_inbound else "us",
            "validator" if row.is_validator else "named" if row.is_static else "",
            str(row.head_number),
            "" if row.ping_ms is None else f"{row.ping_ms} ms",
            as_duration(row.connected_s),
        )
        # As Text, since a stranger's words must not be read as mark-up.
        table.add_row(*(Text(cell) for cell in cells))
    return table


async def _ask(node: str, method: str, *parameters: object) -> object:
    async with RpcClient(node) as client:
        return await client.request(method, *parameters)


def _is_done(answer: object) -> bool:
    if not isinstance(answer, bool):
        raise InvalidAnswer("the node's answer is neither true nor false")
    return answer


def _tell(peer: NodeUrl, done: str, remark: str, as_json: bool) -> None:
    print_result({done: str(peer)}, f"{peer} is {done}. {remark}", as_json)


def _short(node_id: str) -> str:
    """Enough to tell nodes apart in a table; --json has all of it."""
    return node_id if len(node_id) <= 13 else f"{node_id[:6]}...{node_id[-4:]}"
