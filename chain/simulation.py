"""Questions of "what if" over one state: a call, the gas it needs, the access list it would profit from.

Nothing here changes any state or asks for a signature. A call runs as a transaction of the same content would in the
block whose context is given: with its price checked and its gas paid for where the caller names a price, and for free
where it does not (the base fee is then 0 too, so that code which compares both sees no contradiction).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from chain.account import EMPTY_ACCOUNT, Account, StateReader
from chain.execution import TransactionOutcome, call
from chain.state import State
from chain.transaction import AccessList
from chain.validity import (
    TRANSACTION_GAS,
    FeeBelowBaseFee,
    InitCodeTooLong,
    InsufficientFunds,
    PriorityFeeAboveMaxFee,
    intrinsic_gas_of,
)
from primitives.errors import InvalidTransaction
from primitives.keccak import keccak256
from vm.addresses import create_address
from vm.gas import CALL_STIPEND, MAX_INIT_CODE_BYTES
from vm.host import BlockContext
from vm.precompiles import PRECOMPILES
from vm.tracer import Tracer

ESTIMATE_TOLERANCE_PERCENT = 1
"""An estimate stops searching when it is at most so much above what is needed: each further run costs as much as the
call itself and the sender gets unused gas back."""
MAX_ACCESS_LIST_ROUNDS = 8
"""Declaring accesses changes gas, and code may follow another path then; what has not settled by now never will."""


class CallFailed(Exception):
    """A call whose gas was to be estimated fails however much gas it gets."""

    def __init__(self, outcome: TransactionOutcome, gas: int) -> None:
        super().__init__(outcome.halt or "reverted")
        self.outcome = outcome
        self.gas = gas
        """The most it was given."""


@dataclass(frozen=True, slots=True)
class CallRequest:
    """A transaction that nobody signed. Amounts in wei; None where the caller says nothing."""

    sender: bytes = bytes(20)
    to: bytes | None = None
    """None creates a contract."""
    gas: int | None = None
    max_fee_per_gas: int | None = None
    max_priority_fee_per_gas: int | None = None
    value: int = 0
    data: bytes = b""
    access_list: AccessList = ()
    chain_id: int | None = None


@dataclass(frozen=True, slots=True)
class AccountOverride:
    """What an account should look like for one call, other than it does."""

    balance: int | None = None
    nonce: int | None = None
    code: bytes | None = None
    slots: Mapping[int, int] | None = None
    replaces_storage: bool = False
    """Whether `slots` is all the storage there is, or only what differs."""


@dataclass(frozen=True, slots=True)
class AccessListOutcome:
    """The accesses of a call that are worth declaring, and what it then does."""

    access_list: AccessList
    outcome: TransactionOutcome


class OverriddenReader:
    """A state as another one has it, but for some accounts."""

    def __init__(self, reader: StateReader, overrides: Mapping[bytes, AccountOverride]) -> None:
        self._reader = reader
        self._overrides = overrides
        self._codes = {keccak256(entry.code): entry.code for entry in overrides.values() if entry.code is not None}

    def account(self, address: bytes) -> Account | None:
        account = self._reader.account(address)
        override = self._overrides.get(address)
        if override is None:
            return account
        nonce, balance, code_hash = account or EMPTY_ACCOUNT
        return Account(
            nonce if override.nonce is None else override.nonce,
            balance if override.balance is None else override.balance,
            code_hash if override.code is None else keccak256(override.code),
        )

    def storage(self, address: bytes, slot: int) -> int:
        override = self._overrides.get(address)
        if override is None or override.slots is None:
            return self._reader.storage(address, slot)
        value = override.slots.get(slot)
        if value is None:
            return 0 if override.replaces_storage else self._reader.storage(address, slot)
        return value

    def code(self, code_hash: bytes) -> bytes:
        code = self._codes.get(code_hash)
        return self._reader.code(code_hash) if code is None else code

    def has_storage(self, address: bytes) -> bool:
        override = self._overrides.get(address)
        if override is None or override.slots is None:
            return self._reader.has_storage(address)
        if any(override.slots.values()):
            return True
        return not override.replaces_storage and self._reader.has_storage(address)


def simulate_call(
    reader: StateReader, block: BlockContext, request: CallRequest, gas_cap: int, tracer: Tracer | None = None
) -> TransactionOutcome:
    """What the call does, with at most `gas_cap` gas. Raises a subclass of InvalidTransaction where it may not run."""
    return _run(State(reader), block, request, _gas(reader, block, request, gas_cap), tracer)


def estimate_gas(reader: StateReader, block: BlockContext, request: CallRequest, gas_cap: int) -> int:
    """The least gas limit, or a little more, with which the call succeeds.

    Raises CallFailed where no limit up to the caller's gas (or the cap, or what the caller can pay for) is enough, a
    subclass of InvalidTransaction where the call may not run at all.
    """
    most = _gas(reader, block, request, min(gas_cap, block.gas_limit))
    outcome = _run(State(reader), block, request, most)
    if not outcome.success:
        raise CallFailed(outcome, most)
    if outcome.gas_used == TRANSACTION_GAS:
        return TRANSACTION_GAS
    # It cannot succeed with less than it uses. It may need more: each call holds back a 64th (EIP-150), one with value
    # wants the stipend, and refunds, at most a fifth of the gas, come only at the end. Hence two good guesses.
    intrinsic = intrinsic_gas_of(request.data, request.to is None, request.access_list)
    too_little, enough = max(outcome.gas_used, intrinsic) - 1, most
    guesses = [_with_margin(outcome.gas_used * 5 // 4), _with_margin(outcome.gas_used)]
    while enough > too_little + 1 + enough * ESTIMATE_TOLERANCE_PERCENT // 100:
        limit = guesses.pop() if guesses else 0
        if not too_little < limit < enough:
            limit = (too_little + enough) // 2
        if _run(State(reader), block, request, limit).success:
            enough = limit
        else:
            too_little = limit
    return enough


def create_access_list(
    reader: StateReader, block: BlockContext, request: CallRequest, gas_cap: int
) -> AccessListOutcome:
    """The access list (EIP-2930) of all that the call reads or writes, and what the call does with that list.

    Leaves out addresses that every transaction has accessed from its first instruction: the sender, the recipient, the
    coinbase (EIP-3651), the precompiles; they appear only with slots.
    """
    gas = _gas(reader, block, request, gas_cap)
    free = {request.sender, block.coinbase, *PRECOMPILES}
    free.add(create_address(request.sender, State(reader).nonce(request.sender)) if request.to is None else request.to)
    access_list = request.access_list
    outcome: TransactionOutcome | None = None
    for _ in range(MAX_ACCESS_LIST_ROUNDS):
        state = _RecordingState(reader)
        outcome = _run(state, block, replace(request, access_list=access_list), gas)
        found = state.access_list(access_list, free)
        if found == access_list:
            break
        access_list = found
    if outcome is None:
        raise RuntimeError("MAX_ACCESS_LIST_ROUNDS must be above 0")
    return AccessListOutcome(access_list, outcome)


class _RecordingState(State):
    """Remembers what was accessed, in calls that were reverted too."""

    def __init__(self, reader: StateReader) -> None:
        super().__init__(reader)
        self._accessed: dict[bytes, dict[int, None]] = {}
        self._new: set[bytes] = set()

    def warm_address(self, address: bytes) -> bool:
        self._accessed.setdefault(address, {})
        return super().warm_address(address)

    def warm_slot(self, address: bytes, slot: int) -> bool:
        self._accessed.setdefault(address, {})[slot] = None
        return super().warm_slot(address, slot)

    def create_account(self, address: bytes) -> None:
        self._new.add(address)
        super().create_account(address)

    def access_list(self, declared: AccessList, free: set[bytes]) -> AccessList:
        """What was declared, and what was found beside it, sorted."""
        entries = {address: dict.fromkeys(slots) for address, slots in declared}
        for address, slots in self._accessed.items():
            if slots or (address not in free and address not in self._new):
                entries.setdefault(address, {}).update(slots)
        return tuple([(address, tuple(sorted(slots))) for address, slots in sorted(entries.items())])


def _gas(reader: StateReader, block: BlockContext, request: CallRequest, gas_cap: int) -> int:
    """The gas a call gets: what it asks for, up to the cap and, where it names a price, what the sender can pay for."""
    gas = gas_cap if request.gas is None else min(request.gas, gas_cap)
    price, _ = _prices(block, request)
    if not price:
        return gas
    balance = (reader.account(request.sender) or EMPTY_ACCOUNT).balance
    affordable = max(balance - request.value, 0) // price
    if gas > affordable and (request.gas is not None or affordable < TRANSACTION_GAS):
        raise InsufficientFunds(
            f"the call may cost {gas * price + request.value} wei, the sender 0x{request.sender.hex()} has {balance}"
        )
    return min(gas, affordable)


def _prices(block: BlockContext, request: CallRequest) -> tuple[int, int]:
    """Wei per gas (that the sender must have, that it pays); zeros where the call names no price.

    Raises a subclass of InvalidTransaction.
    """
    if request.max_fee_per_gas is None and not request.max_priority_fee_per_gas:
        return 0, 0
    tip = request.max_priority_fee_per_gas or 0
    max_fee = block.base_fee + tip if request.max_fee_per_gas is None else request.max_fee_per_gas
    if not max_fee:
        return 0, 0
    if tip > max_fee:
        raise PriorityFeeAboveMaxFee(f"the priority fee is {tip} wei per gas, the highest fee allowed {max_fee}")
    if max_fee < block.base_fee:
        raise FeeBelowBaseFee(f"the highest fee allowed is {max_fee} wei per gas, the base fee {block.base_fee}")
    return max_fee, min(max_fee, block.base_fee + tip)


def _run(
    state: State, block: BlockContext, request: CallRequest, gas: int, tracer: Tracer | None = None
) -> TransactionOutcome:
    if request.chain_id is not None and request.chain_id != block.chain_id:
        raise InvalidTransaction(f"the call is for chain {request.chain_id}, this is chain {block.chain_id}")
    if request.to is None and len(request.data) > MAX_INIT_CODE_BYTES:
        raise InitCodeTooLong(f"{len(request.data)} bytes of init code; at most {MAX_INIT_CODE_BYTES} are allowed")
    _, price = _prices(block, request)
    if price:
        state.add_balance(request.sender, -gas * price)
    else:
        block = replace(block, base_fee=0)
    return call(
        state,
        block,
        caller=request.sender,
        to=request.to,
        value=request.value,
        data=request.data,
        gas=gas,
        gas_price=price,
        access_list=request.access_list,
        tracer=tracer,
    )


def _with_margin(gas: int) -> int:
    return (gas + CALL_STIPEND) * 64 // 63
