"""The tables of `python -m benchmarks.network`, each figure beside what it should reach."""

from rich.table import Table

from benchmarks.network.joining import Joined, Joining
from benchmarks.network.propagation import Propagation
from benchmarks.network.throughput import Throughput

NO_AIM = ""
WANTED_FINAL_S = 1.5
WANTED_PER_S = 300
WANTED_EVERYWHERE_S = 2.0
WANTED_REPLAY_SHARE = 0.8
WANTED_STATE_S = 10.0

Row = tuple[str, str, str]
"""What, as seen, as it should be."""


def throughput_table(seen: Throughput) -> Table:
    plan = seen.plan
    cpu = ", ".join(f"{percent:.0f}" for percent in seen.node_cpu_percent)
    return _table(
        f"{plan.validators} validators, {plan.block_time_s} s blocks, {plan.rate_per_s:g} transfers a second for "
        f"{plan.seconds:g} s",
        [
            ("final at all nodes within that time, a second", f"{seen.final_per_s:.1f}", f"at least {WANTED_PER_S}"),
            ("accepted / lost", f"{seen.accepted:,} / {seen.lost}", "none lost"),
            ("a block is final after its time: median / 95 % / most", seen.final.in_words(), _below(WANTED_FINAL_S)),
            ("a transfer is final after it was accepted", seen.wait.in_words(), NO_AIM),
            ("blocks / seconds between them", f"{seen.blocks} / {seen.block_interval_s:.2f}", NO_AIM),
            ("CPU of the nodes, % of a core", cpu, NO_AIM),
            ("CPU of the load's process", f"{seen.load_cpu_percent:.0f}", NO_AIM),
            ("memory of the largest node, MiB", f"{max(seen.node_memory_mib):.0f}", NO_AIM),
            ("handed in again, since there was no room", str(seen.retries), NO_AIM),
        ],
    )


def propagation_table(seen: Propagation) -> Table:
    plan = seen.plan
    ways = ", ".join(f"{count} {way}" for way, count in sorted(seen.ways.items())) or "by the vote alone"
    return _table(
        f"{plan.nodes} nodes, {seen.links} links, {plan.consensus}: {seen.blocks} blocks by {plan.makers} of them",
        [
            ("transfers in a block", f"{seen.transfers_per_block:.0f}", str(plan.transfers)),
            ("at every node after: median / 95 % / most", seen.everywhere.in_words(), _below(WANTED_EVERYWHERE_S)),
            ("at any one node", seen.one_node.in_words(), NO_AIM),
            ("how blocks came", ways, NO_AIM),
            ("rivals that no chain kept", str(seen.stale), NO_AIM),
            ("CPU of a node, % of a core", f"{seen.node_cpu_percent:.1f}", NO_AIM),
            ("CPU of the load's process", f"{seen.load_cpu_percent:.1f}", NO_AIM),
        ],
    )


def joining_table(seen: Joining) -> Table:
    plan = seen.plan
    speeds = ", ".join(f"{one.blocks_per_s:.0f}" for one in seen.plain)
    share = f"{seen.replay_blocks_per_s:.0f} ({seen.replay_share:.0%})"
    return _table(
        f"joining {plan.blocks:,} blocks of {plan.transfers} transfers, from {plan.servers} nodes",
        [
            ("import without a network, before and after, blocks a second", speeds, NO_AIM),
            ("  CPU seconds", ", ".join(f"{one.cpu_s:.1f}" for one in seen.plain), NO_AIM),
            ("full replay, blocks a second", share, f"at least {WANTED_REPLAY_SHARE:.0%}"),
            ("full replay, seconds", f"{seen.replay.seconds:.1f}", NO_AIM),
            ("  CPU seconds of the new node / of the others", _cpu(seen.replay), NO_AIM),
            ("by a state, seconds", f"{seen.state.seconds:.1f}", _below(WANTED_STATE_S)),
            ("  blocks executed on top", str(seen.state.executed), NO_AIM),
            ("  CPU seconds of the new node / of the others", _cpu(seen.state), NO_AIM),
        ],
    )


def _cpu(joined: Joined) -> str:
    return f"{joined.joiner_cpu_s:.1f} / {', '.join(f'{spent_s:.1f}' for spent_s in joined.server_cpu_s)}"


def _below(seconds: float) -> str:
    return f"median within {seconds:g} s" if seconds != WANTED_STATE_S else f"under {seconds:g} s"


def _table(title: str, rows: list[Row]) -> Table:
    table = Table(title=title, title_justify="left")
    for name, justify in (("", "left"), ("seen", "right"), ("wanted", "left")):
        table.add_column(name, justify=justify)  # type: ignore[arg-type]
    for row in rows:
        table.add_row(*row)
    return table
