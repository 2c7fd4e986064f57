"""`wattchain status`: how a node is doing, on one page."""

import asyncio
from dataclasses import asdict

import click

from node.operator_answers import NodePage, as_duration
from wallet.client import RpcClient
from wallet.command_line import json_option, node_option, print_result

_CONSENSUS = {"qbft": "proof of authority (qbft)", "pow": "proof of work"}
LATE_PERIODS = 5
"""A head that is older than so many times the longest wait for a block is worth a remark."""
MIN_PERIOD_S = 60
"""Of proof of work, where each miner decides how often it makes a block of nothing; by default this often."""


@click.command()
@node_option
@json_option
def status(node: str, as_json: bool) -> None:
    """How a node is doing: its chain, its validators, its peers, and whether it is up to date.

    Exit status 0 says that the node answered, not that all is well: that is in the text, and in --json.
    """
    page = NodePage.from_json(asyncio.run(_ask(node)))
    print_result(asdict(page), "\n".join(status_lines(page)), as_json)


async def _ask(node: str) -> object:
    async with RpcClient(node) as client:
        return await client.request("wattchain_status")


def status_lines(page: NodePage) -> list[str]:
    rows = [
        ("node", page.node_id),
        ("called at", page.url or "not at all: it does not listen for other nodes"),
        ("chain", f"{page.chain_id}, {page.network}, {_CONSENSUS.get(page.consensus, page.consensus)}"),
        ("genesis block", page.genesis_hash),
        ("newest block", f"{page.head_number}, {as_duration(page.head_age_s)} old{_remark(page)}"),
        ("", page.head_hash),
        ("final up to", f"block {page.final_number}"),
        *([("validators", _validators(page))] if page.consensus == "qbft" else []),
        ("peers", _peers(page)),
        ("catching up", _progress(page)),
        ("waiting", f"{_transactions(page.pending)}{f', {page.queued} held back' if page.queued else ''}"),
        *([("mining", _mining(page))] if page.is_mining else []),
        ("running for", as_duration(page.uptime_s)),
        ("version", page.version),
    ]
    width = max(len(name) for name, _ in rows) + 2
    return [f"{name:<{width}}{value}" for name, value in rows]


def _remark(page: NodePage) -> str:
    period_s = max(page.block_time_s, page.empty_block_period_s or MIN_PERIOD_S)
    is_late = page.head_age_s >= LATE_PERIODS * period_s and page.sync is None
    return "  <- long ago; are enough other nodes running?" if is_late else ""


def _validators(page: NodePage) -> str:
    count = len(page.validators)
    if not page.is_validator:
        return f"{count}; this node is not one of them"
    own = "this node is one of them" if page.is_validating else "this node is one of them, but does not take part"
    trouble = f"; they try to agree for the {page.round + 1}. time: are enough of them running?" if page.round else ""
    return f"{count}; {own}{trouble}"


def _peers(page: NodePage) -> str:
    if page.peer_count:
        return f"{page.peer_count} (`wattchain peers` shows them)"
    return "none" + ("" if page.is_listening else "; peer-to-peer is off")


def _progress(page: NodePage) -> str:
    if page.sync is None:
        return "no, as new as its peers" if page.peer_count else "no"
    current, highest = page.sync.current_block, page.sync.highest_block
    share = f", {current * 100 // highest} %" if highest else ""
    return f"yes, block {current} of {highest}{share}"


def _mining(page: NodePage) -> str:
    if page.hashes_per_second:
        return f"{page.hashes_per_second:,} hashes a second"
    return "at rest; it begins when a transaction waits, or an empty block is due"


def _transactions(count: int) -> str:
    return f"{count} transaction{'' if count == 1 else 's'}"
