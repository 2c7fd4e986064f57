"""The `wattchain` command: every part's commands under one name. No logic of its own.

A part is loaded when its command is called, since a Pi takes seconds to load all of them.
"""

import click

from wallet.command_line import LazyCommand, LazyGroup

COMMANDS = {
    "agent": LazyCommand("meter.agent.commands:agent", "Sell your surplus, or buy, automatically, within limits."),
    "bench": LazyCommand("node.bench.commands:bench", "Measure whole networks of nodes on this machine."),
    "bill": LazyCommand("wallet.bill_commands:bill", "Postpaid energy: usage and bills; pay them."),
    "channel": LazyCommand("wallet.channel_commands:channel", "Pay a producer many times with two transactions."),
    "credit": LazyCommand("wallet.credit_commands:credit", "Prepaid credit: top up, look, give to a neighbour."),
    "demo": LazyCommand("node.commands:demo", "Watch everything at work, in a minute and a half."),
    "init": LazyCommand("node.commands:init", "Make the folder of a node, of a new network or a given one."),
    "install-service": LazyCommand(
        "node.install_service:install_service", "Start node, meter or agent with the computer."
    ),
    "light": LazyCommand("wallet.light.commands:light", "What the ledger says, proved without trusting any node."),
    "market": LazyCommand("wallet.market_commands:market", "Sell your energy to neighbours, or buy theirs."),
    "meter": LazyCommand("meter.commands:meter", "Your electricity meter: sign readings, carry them to the ledger."),
    "network": LazyCommand("node.network_commands:network", "Make the nodes of a new network."),
    "node": LazyCommand("node.commands:node", "Run a node until it is stopped."),
    "peers": LazyCommand("node.peer_commands:peers", "The nodes that a node is connected with."),
    "policy": LazyCommand("wallet.policy_commands:policy", "What your meter is to do by itself."),
    "registry": LazyCommand("wallet.registry_commands:registry", "Who takes part, and who decides about it."),
    "status": LazyCommand("node.status_command:status", "How a node is doing, on one page."),
    "tariff": LazyCommand("wallet.tariff_commands:tariff", "What energy costs: steps, times of use, versions."),
    "validators": LazyCommand("wallet.validator_commands:validators", "Who makes the blocks; vote members in and out."),
    "voucher": LazyCommand("wallet.voucher_commands:voucher", "Credit on paper: sign vouchers, redeem them."),
    "wallet": LazyCommand("wallet.commands:wallet", "Your keys and your WATT."),
}


@click.group(cls=LazyGroup, lazy_commands=COMMANDS)
@click.version_option(package_name="wattchain", prog_name="wattchain")
def main() -> None:
    """Meter, bill and trade electricity on a ledger that its users keep together.

    Start with `wattchain demo` to see everything at work, or with `wattchain wallet new`, `wattchain init` and
    `wattchain node` to run a node of your own.
    """
