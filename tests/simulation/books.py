"""The books of honest nodes when all is over: the same blocks, the promised transactions, and no wei too many."""

from collections.abc import Mapping, Sequence

from chain.account import EMPTY_ACCOUNT
from chain.queries import ChainQueries
from tests.simulation.chains import BLOCK_REWARD_WEI, FUNDS_WEI
from tests.simulation.node import SimulatedNode
from tests.simulation.witness import Violation


def check_books(
    nodes: Sequence[SimulatedNode], rich: Sequence[bytes], promised: Mapping[bytes, str], others: Sequence[bytes] = ()
) -> None:
    """The first of the nodes has the chain that all should have. `rich` had the money at the beginning; some of it may
    have gone to `others`. Raises Violation."""
    first = nodes[0]
    head = min(node.head_number for node in nodes)
    hashes = first.query(lambda chain: [header.hash for header in chain.headers(0, head)])
    for node in nodes[1:]:
        found = node.query(lambda chain: [header.hash for header in chain.headers(0, head)])
        if found != hashes:
            raise Violation(f"{node.name} and {first.name} have different blocks")
    coinbases = {node.node_id for node in nodes} | {
        header.coinbase for header in first.query(lambda chain: list(chain.headers(0, head)))
    }
    owners = sorted({*rich, *others, *coinbases})
    for node in nodes:
        node.query(lambda chain, node=node: _check_money(node.name, chain, head, owners, len(rich)))  # type: ignore[misc]
    for transaction_hash, keeper in promised.items():
        if first.query(lambda chain, sought=transaction_hash: chain.find_transaction(sought)) is None:  # type: ignore[misc]
            raise Violation(f"the transaction 0x{transaction_hash.hex()} that {keeper} accepted is in no block")


def _check_money(name: str, chain: ChainQueries, head: int, owners: Sequence[bytes], rich: int) -> None:
    state = chain.state_at(head)
    held = sum((state.account(owner) or EMPTY_ACCOUNT).balance for owner in owners)
    burned = sum(header.base_fee_per_gas * header.gas_used for header in chain.headers(1, head))
    expected = rich * FUNDS_WEI + head * BLOCK_REWARD_WEI - burned
    if held != expected:
        raise Violation(f"at block {head} {name} holds {held} wei, {expected} came in and did not go")
