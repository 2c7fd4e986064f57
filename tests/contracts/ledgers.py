"""A ledger for the contract tests: our own interpreter and state, without blocks, fees and signatures of senders.

Where pyrevm is installed, revm runs every transaction too and must agree: success, output, logs and gas.
"""

import importlib.util
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from chain.account import StateChanges
from chain.execution import call, execute_transaction
from chain.state import EmptyState, State
from chain.transaction import LEGACY, Transaction
from contracts.genesis import Alloc
from vm.host import BlockContext

CHAIN_ID = 1947
GENESIS_TIME_S = 1_700_000_000
BLOCK_GAS_LIMIT = 30_000_000
TRANSACTION_GAS_LIMIT = 10_000_000
COINBASE = b"\xcb" * 20


@dataclass(frozen=True, slots=True)
class Log:
    address: bytes
    topics: tuple[bytes, ...]
    data: bytes


@dataclass(frozen=True, slots=True)
class Result:
    success: bool
    output: bytes
    gas_used: int
    logs: tuple[Log, ...] = ()


class Ledger(Protocol):
    time_s: int

    def transact(self, sender: bytes, to: bytes | None, data: bytes = b"", value: int = 0) -> Result:
        """Run a transaction and keep what it did; deploys where `to` is None (output: the new address)."""

    def call(self, sender: bytes, to: bytes, data: bytes) -> Result:
        """What a call would do."""

    def balance(self, address: bytes) -> int: ...

    def storage(self, address: bytes, slot: int) -> int: ...

    def write_storage(self, address: bytes, slots: Mapping[int, int]) -> None:
        """Past all contracts, as rules of the chain may."""


class OwnLedger:
    """Our interpreter over our state."""

    def __init__(self, alloc: Alloc) -> None:
        self.time_s = GENESIS_TIME_S
        self._state = State(EmptyState())
        for address_hex, account in alloc.items():
            address = bytes.fromhex(address_hex[2:])
            self._state.set_balance(address, int(str(account["balance"]), 16))
            if "code" in account:
                self._state.set_nonce(address, int(str(account["nonce"]), 16))
                self._state.set_code(address, bytes.fromhex(str(account["code"])[2:]))
            for slot, value in _storage_of(account).items():
                self._state.set_storage(address, slot, value)
        self._state.end_transaction()

    def transact(self, sender: bytes, to: bytes | None, data: bytes = b"", value: int = 0) -> Result:
        nonce = self._state.nonce(sender)
        transaction = Transaction(LEGACY, CHAIN_ID, nonce, 0, 0, TRANSACTION_GAS_LIMIT, to, value, data)
        outcome = execute_transaction(self._state, self._block(), transaction, sender)
        output = outcome.contract_address if to is None and outcome.success else outcome.output
        logs = tuple(Log(log.address, tuple(log.topics), log.data) for log in outcome.logs)
        return Result(outcome.success, output or b"", outcome.gas_used, logs)

    def call(self, sender: bytes, to: bytes, data: bytes) -> Result:
        outcome = call(self._state, self._block(), caller=sender, to=to, data=data, gas=TRANSACTION_GAS_LIMIT)
        return Result(outcome.success, outcome.output, outcome.gas_used)

    def balance(self, address: bytes) -> int:
        return self._state.balance(address)

    def storage(self, address: bytes, slot: int) -> int:
        return self._state.storage(address, slot)

    def write_storage(self, address: bytes, slots: Mapping[int, int]) -> None:
        for slot, value in slots.items():
            self._state.set_storage(address, slot, value)
        self._state.end_transaction()

    def _block(self) -> BlockContext:
        return BlockContext(1, self.time_s, COINBASE, BLOCK_GAS_LIMIT, 1, 0, 1, CHAIN_ID, lambda number: bytes(32))


class ComparedLedger(OwnLedger):
    """Our ledger, which has revm run each transaction on the same state and insists on the same result."""

    def transact(self, sender: bytes, to: bytes | None, data: bytes = b"", value: int = 0) -> Result:
        before = self._state.changes()
        ours = super().transact(sender, to, data, value)
        theirs = _run_revm(before, self.time_s, sender, to, data, value)
        assert (ours.success, ours.gas_used, ours.output.hex()) == (
            theirs.success,
            theirs.gas_used,
            theirs.output.hex(),
        )
        assert ours.logs == theirs.logs
        return ours


def make_ledger(alloc: Alloc) -> Ledger:
    """Compared with revm where that is installed (there are no wheels of it for aarch64)."""
    return OwnLedger(alloc) if importlib.util.find_spec("pyrevm") is None else ComparedLedger(alloc)


def _run_revm(state: StateChanges, time_s: int, sender: bytes, to: bytes | None, data: bytes, value: int) -> Result:
    evm = _revm_on(state, time_s)
    try:
        if to is None:
            output = bytes.fromhex(evm.deploy(_hex(sender), data, value=value, gas=TRANSACTION_GAS_LIMIT)[2:])
        else:
            output = evm.message_call(_hex(sender), _hex(to), calldata=data, value=value, gas=TRANSACTION_GAS_LIMIT)
    except RuntimeError as error:
        # The binding gives the data of a revert only in the text of an exception.
        reverted = re.search(r"Revert { gas_used: (\d+), output: 0x([0-9a-f]*) }", str(error))
        if reverted is None:
            return Result(False, b"", TRANSACTION_GAS_LIMIT)
        return Result(False, bytes.fromhex(reverted[2]), int(reverted[1]))
    logs = tuple(
        Log(
            bytes.fromhex(log.address[2:]),
            tuple(bytes.fromhex(topic[2:]) for topic in log.topics),
            bytes(log.data[1]),
        )
        for log in evm.result.logs
    )
    return Result(True, bytes(output), evm.result.gas_used, logs)


def _revm_on(state: StateChanges, time_s: int) -> Any:
    import pyrevm

    block = pyrevm.BlockEnv(
        number=1,
        coinbase=_hex(COINBASE),
        timestamp=time_s,
        prevrandao=bytes(32),
        basefee=0,
        gas_limit=BLOCK_GAS_LIMIT,
        excess_blob_gas=0,
    )
    evm = pyrevm.EVM(env=pyrevm.Env(cfg=pyrevm.CfgEnv(chain_id=CHAIN_ID), block=block), spec_id="CANCUN")
    for address, account in state.accounts.items():
        assert account is not None
        code = state.codes.get(account.code_hash)
        info = pyrevm.AccountInfo(balance=account.balance, nonce=account.nonce, code=code)
        evm.insert_account_info(_hex(address), info)
        for slot, content in state.storage.get(address, {}).items():
            if content:
                # The revert keeps the slot in revm's database and takes it out of the journal, where it would count as
                # accessed and as zero before the transaction.
                checkpoint = evm.snapshot()
                evm.insert_account_storage(_hex(address), slot, content)
                evm.revert(checkpoint)
    return evm


def _storage_of(account: dict[str, object]) -> dict[int, int]:
    storage = account.get("storage", {})
    assert isinstance(storage, dict)
    return {int(slot, 16): int(value, 16) for slot, value in storage.items()}


def _hex(address: bytes) -> str:
    return "0x" + address.hex()
