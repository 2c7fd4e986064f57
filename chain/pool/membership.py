"""Who may fill blocks on a network without fees: those whom its registry knows, each with an allowance of gas a block.

Where gas costs nothing a stranger could fill every block. The contract Registry at its fixed address answers how much
gas a sender is given (contracts/src/IRegistry.sol), nothing to a stranger; validators are none, since their votes are
about who makes the blocks. It is a rule of this node's pool and builder, by the state at the head, not one by which
blocks are judged. Chains with fees, or without a registry, have none of it.
"""

from collections.abc import Callable
from typing import Protocol, TypeVar

from chain.account import EMPTY_CODE_HASH, StateReader
from chain.block_execution import block_context
from chain.config import ZERO, ChainConfig
from chain.consensus.qbft.validator_contract import InvalidValidators, read_validators
from chain.execution import call
from chain.header import Header
from chain.state import State
from chain.transaction import Transaction
from contracts.addresses import REGISTRY_ADDRESS
from primitives.abi import encode_call
from primitives.errors import InvalidTransaction
from primitives.hexadecimal import to_checksum_address

QUESTION_GAS = 200_000
"""For one answer of the registry, which reads a few slots; what stands at its address may be any code."""
VALIDATOR_GAS_ALLOWANCE = 3_000_000
"""Gas a block for a validator that has no role: a vote that decides in the largest council costs less."""
MAX_BLOCKS_AHEAD = 16
"""How many blocks' allowances one sender may have waiting in the pool: more would be a backlog that crowds out others'
memory, less would hold up a meter that comes back with its readings of days."""
MAX_ASKED_AGAIN = 512
"""Senders in the pool that are asked about anew at a head after the registry has changed; the others at the next ones.
An answer takes an eighth of a millisecond, on a Pi half a one, and the node's loop waits for it."""
MAX_REMEMBERED_SENDERS = 10_000
"""Answers kept between two changes of the registry: more than the pool can hold senders."""

_T = TypeVar("_T")


class NotAdmitted(InvalidTransaction):
    """The registry of a network without fees does not know the sender."""


class AllowanceExceeded(InvalidTransaction):
    """More gas than the sender may use in a block, or may have waiting."""


class LatestState(Protocol):
    """The state after the last imported block, whichever that is at the moment of asking."""

    def read(self, question: Callable[[StateReader], _T]) -> _T:
        """The answer to a question about one consistent state."""

    def storage_root(self, address: bytes) -> bytes:
        """Changes whenever a slot of the address does."""


class Membership:
    """The registry's answers at the head, remembered until the registry changes. For one thread."""

    def __init__(self, config: ChainConfig, state: LatestState, head: Header) -> None:
        self._config = config
        self._state = state
        self._head = head
        self._allowances: dict[bytes, int] = {}
        self._is_asked = config.fee_rule == ZERO and state.read(_has_registry)
        self._version = self._read_version()

    def head_changed(self, head: Header) -> bool:
        """The state is another one now; whether answers may be others than before."""
        self._head = head
        if not self._is_asked:
            return False
        version = self._read_version()
        if version == self._version:
            return False
        self._version = version
        self._allowances.clear()
        return True

    def gas_allowance(self, sender: bytes) -> int | None:
        """Gas that the sender may use in each block: 0 where it is not admitted, None where nothing is asked."""
        if not self._is_asked:
            return None
        allowance = self._allowances.get(sender)
        if allowance is None:
            allowance = self._state.read(lambda reader: self._ask(reader, sender))
            if len(self._allowances) >= MAX_REMEMBERED_SENDERS:
                self._allowances.clear()
            self._allowances[sender] = allowance
        return allowance

    def _read_version(self) -> tuple[bytes, ...]:
        """What all answers depend on: the storage of the contracts that are asked."""
        if not self._is_asked:
            return ()
        contracts = (REGISTRY_ADDRESS, self._config.validator_contract)
        return tuple([self._state.storage_root(address) for address in contracts if address])

    def _ask(self, reader: StateReader, sender: bytes) -> int:
        """The registry's answer, nothing where it gives none."""
        context = block_context(self._head, self._config, lambda number: bytes(32))
        data = encode_call("gasAllowanceOf(address)", [sender])
        outcome = call(State(reader), context, caller=sender, to=REGISTRY_ADDRESS, data=data, gas=QUESTION_GAS)
        is_answer = outcome.success and len(outcome.output) == 32
        allowance = int.from_bytes(outcome.output, "big") if is_answer else 0
        return VALIDATOR_GAS_ALLOWANCE if not allowance and self._is_validator(reader, sender) else allowance

    def _is_validator(self, reader: StateReader, sender: bytes) -> bool:
        if not self._config.validator_contract:
            return False
        try:
            return sender in read_validators(reader, self._config.validator_contract).addresses
        except InvalidValidators:
            return False


def check_allowance(transaction: Transaction, sender: bytes, allowance: int | None, waiting_gas: int) -> None:
    """Check against the sender's allowance; `waiting_gas` is what its other transactions in the pool may use together.

    Raises NotAdmitted or AllowanceExceeded.
    """
    if allowance is None:
        return
    name = to_checksum_address(sender)
    if allowance == 0:
        raise NotAdmitted(
            f"sender not admitted: {name} has no role in the registry of this network, which takes no fees and "
            "therefore no transactions of strangers. A regulator can add it, for example with `wattchain registry add "
            f"consumer {name}`; the owner of a meter is admitted by that, unless its supplier is distrusted"
        )
    if transaction.gas_limit > allowance:
        raise AllowanceExceeded(
            f"gas allowance exceeded: the gas limit is {transaction.gas_limit}, the registry allows {name} {allowance} "
            "in a block"
        )
    if waiting_gas + transaction.gas_limit > MAX_BLOCKS_AHEAD * allowance:
        raise AllowanceExceeded(
            f"gas allowance exceeded: transactions of {name} with {waiting_gas} gas wait already, and at most "
            f"{MAX_BLOCKS_AHEAD} blocks' allowance of {allowance} each may; send this one again when some are in blocks"
        )


def _has_registry(reader: StateReader) -> bool:
    account = reader.account(REGISTRY_ADDRESS)
    return account is not None and account.code_hash != EMPTY_CODE_HASH
