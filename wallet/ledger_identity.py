"""Which ledger a node has to be on before it is used for anything: its chain id and its first block."""

from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Protocol

from primitives.errors import InvalidHex, UserError
from primitives.hexadecimal import parse_quantity
from wallet.answers import BlockSummary


class WrongLedger(UserError):
    """The node is on another ledger than the settings or what was kept before say."""


class Ask(Protocol):
    """One node, whatever another one says; raises what its client raises."""

    def __call__(self, method: str, *parameters: object) -> Awaitable[object]: ...


@dataclass(slots=True)
class LedgerIdentity:
    """A ledger. Without a known first block that of the first node on the chain is what the others are held against."""

    chain_id: int
    genesis_hash: bytes | None = None

    async def check(self, ask: Ask) -> None:
        """Raises WrongLedger, InvalidHex where the node's answers make no sense, and what `ask` raises."""
        chain_id = parse_quantity(await ask("eth_chainId"))
        if chain_id != self.chain_id:
            raise WrongLedger(f"the node is on chain {chain_id}, but the settings say chain {self.chain_id}")
        answer = await ask("eth_getBlockByNumber", "0x0", False)
        if answer is None:
            raise InvalidHex("it does not know its first block")
        genesis_hash = BlockSummary.from_json(answer).hash
        if self.genesis_hash is None:
            self.genesis_hash = genesis_hash
        elif genesis_hash != self.genesis_hash:
            raise WrongLedger(
                f"the node's ledger begins with block 0x{genesis_hash.hex()}, the one that was used until now with "
                f"0x{self.genesis_hash.hex()}: connect to that ledger, or begin a new file for this one"
            )
