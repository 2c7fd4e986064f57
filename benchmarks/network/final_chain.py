"""What is on the nodes' disks when they were stopped: one chain, and every accepted transfer in it exactly once."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from chain.genesis import load_genesis
from chain.header import Header
from chain.ledger import Ledger
from node.settings import GENESIS_FILE
from primitives.clock import SystemClock


@dataclass(frozen=True, slots=True)
class StoredChain:
    """The canonical chain of one node."""

    headers: tuple[Header, ...]
    """From block 0 on."""
    transactions: tuple[tuple[bytes, int], ...]
    """(hash, block number) of all, in order."""
    certificates: int
    """Blocks that have one."""
    missing_bodies: int
    """Blocks of which the header alone is there: those below a state that was taken over."""
    state_root: bytes
    """Of the state that is stored."""

    @property
    def head_hash(self) -> bytes:
        return self.headers[-1].hash


@dataclass(frozen=True, slots=True)
class Losses:
    """What should not be: all empty where every promise was kept."""

    missing: tuple[bytes, ...]
    """Accepted, and in no block."""
    twice: tuple[bytes, ...]

    @property
    def count(self) -> int:
        return len(self.missing) + len(self.twice)


def read_chain(data_directory: Path) -> StoredChain:
    """The chain of a node that does not run. Raises UserError."""
    genesis = load_genesis(data_directory / GENESIS_FILE)
    headers: list[Header] = []
    transactions: list[tuple[bytes, int]] = []
    certificates = missing_bodies = 0
    with Ledger.open(data_directory, genesis, SystemClock()) as ledger, ledger.view() as chain:
        for number in range(chain.head().number + 1):
            header = chain.header_by_number(number)
            assert header is not None, f"block {number} is missing"
            block = chain.block_by_hash(header.hash)
            headers.append(header)
            certificates += chain.certificate(header.hash) != b""
            if block is None:
                missing_bodies += 1
            else:
                transactions += [(transaction.hash, number) for transaction in block.transactions]
        root = ledger.state.state_root
        return StoredChain(tuple(headers), tuple(transactions), certificates, missing_bodies, root)


def find_losses(accepted: Collection[bytes], chain: StoredChain) -> Losses:
    """Which accepted transfers a chain has not exactly once."""
    seen: dict[bytes, int] = {}
    for transaction_hash, _ in chain.transactions:
        seen[transaction_hash] = seen.get(transaction_hash, 0) + 1
    return Losses(
        tuple(one for one in accepted if one not in seen),
        tuple(one for one, count in seen.items() if count > 1),
    )


def agreed_heads(chains: Sequence[StoredChain]) -> set[bytes]:
    """The hashes of the nodes' heads: one where they agree."""
    return {chain.head_hash for chain in chains}
