"""Running the transactions of one block over a state: the part that building and importing a block share.

A block is executed the same way whether it is being built here or came from a peer. Fees go to the coinbase, the base
fee is burnt (EIP-1559; on a network without fees both are nothing), the reward of the chain's rules is added last.
"""

from collections.abc import Callable
from dataclasses import dataclass

from chain.account import StateChanges
from chain.config import ChainConfig
from chain.consensus.qbft.validator_contract import write_validators
from chain.execution import execute_transaction
from chain.header import Header
from chain.receipt import Receipt, merge_blooms
from chain.state import State
from chain.transaction import BLOB, Transaction, check_chain, sender_or_refuse
from primitives.errors import InvalidTransaction
from vm.host import BlockContext

BLOB_BASE_FEE = 1
"""What opcode BLOBBASEFEE answers: the ledger carries no blobs, so their price stays at its minimum (EIP-4844)."""

BLOCK_HASH_WINDOW = 256  # Yellow Paper, opcode BLOCKHASH


@dataclass(frozen=True, slots=True)
class ExecutedBlock:
    """What the transactions of a block did."""

    receipts: tuple[Receipt, ...]
    changes: StateChanges
    gas_used: int
    logs_bloom: bytes


class BlockExecution:
    """One block being executed, transaction by transaction."""

    def __init__(self, state: State, context: BlockContext, config: ChainConfig) -> None:
        """An operator's override of validators is written into the state before the first transaction."""
        self.state = state
        self.context = context
        self.config = config
        self.gas_used = 0
        self.receipts: list[Receipt] = []
        validators = config.override_at(context.number)
        if validators is not None:
            write_validators(state, config.validator_contract, validators)

    @property
    def gas_left(self) -> int:
        return self.context.gas_limit - self.gas_used

    def apply(self, transaction: Transaction) -> Receipt:
        """Run the next transaction. Raises InvalidTransaction, and changes nothing, where it may not run here."""
        if transaction.type == BLOB:
            raise InvalidTransaction("blob transactions are not accepted on this ledger")
        check_chain(transaction, self.config.chain_id)
        sender = sender_or_refuse(transaction)
        outcome = execute_transaction(self.state, self.context, transaction, sender, gas_available=self.gas_left)
        self.gas_used += outcome.gas_used
        receipt = Receipt(
            transaction.type,
            outcome.success,
            self.gas_used,
            outcome.logs,
            outcome.gas_used,
            outcome.contract_address,
            outcome.effective_gas_price,
        )
        self.receipts.append(receipt)
        return receipt

    def finish(self) -> ExecutedBlock:
        """Add the reward and sum up. Nothing may be applied after this."""
        if self.config.block_reward:
            self.state.add_balance(self.context.coinbase, self.config.block_reward)
        receipts = tuple(self.receipts)
        return ExecutedBlock(receipts, self.state.changes(), self.gas_used, merge_blooms(receipts))


def block_context(header: Header, config: ChainConfig, block_hash: Callable[[int], bytes]) -> BlockContext:
    """What code learns of a block; `block_hash` answers for canonical numbers below the block's own.

    On a proof-of-work chain opcode 0x44 answers with the difficulty (EIP-4399), which is known before the block is
    sealed, as the mix hash is not.
    """

    def recent_block_hash(number: int) -> bytes:
        if header.number - BLOCK_HASH_WINDOW <= number < header.number:
            return block_hash(number)
        return bytes(32)

    return BlockContext(
        header.number,
        header.timestamp_s,
        header.coinbase,
        header.gas_limit,
        header.difficulty,
        header.base_fee_per_gas,
        BLOB_BASE_FEE,
        config.chain_id,
        recent_block_hash,
    )
