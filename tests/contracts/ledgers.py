"""A ledger for the contract tests: our own interpreter and state, without blocks, fees and signatures of senders.

A second EVM runs every transaction too and must agree: success, output, logs and gas. That is revm where pyrevm is
installed; `make test-portable` has anvil do it, which must also agree in every call and in what became of the state.
"""

import importlib.util
import os
from collections.abc import Mapping
from typing import Protocol

from chain.execution import call, execute_transaction
from chain.state import EmptyState, State
from chain.transaction import LEGACY, Transaction
from contracts.genesis import Alloc
from tests.contracts.anvil import AnvilState
from tests.contracts.second_evm import (
    BLOCK_GAS_LIMIT,
    CHAIN_ID,
    COINBASE,
    GENESIS_TIME_S,
    TRANSACTION_GAS_LIMIT,
    Log,
    Request,
    Result,
    Revm,
    SecondEvm,
)
from vm.host import BlockContext

__all__ = ["BLOCK_GAS_LIMIT", "CHAIN_ID", "COINBASE", "GENESIS_TIME_S", "TRANSACTION_GAS_LIMIT", "ComparedLedger",
           "Ledger", "Log", "OwnLedger", "Result", "make_ledger"]  # fmt: skip


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
    """Our ledger, which has a second EVM do the same on the same state and insists on the same result."""

    def __init__(self, alloc: Alloc, second: SecondEvm) -> None:
        super().__init__(alloc)
        self._second = second

    def transact(self, sender: bytes, to: bytes | None, data: bytes = b"", value: int = 0) -> Result:
        request = Request(sender, to, data, value, self._state.nonce(sender), self.time_s)
        # Asked first, while our state is still the one before.
        before = self._state.changes()
        theirs = self._second.transact(before, request)
        ours = super().transact(sender, to, data, value)
        _insist_on_the_same(ours, theirs)
        self._second.check_changes(before, self._state.changes())
        return ours

    def call(self, sender: bytes, to: bytes, data: bytes) -> Result:
        ours = super().call(sender, to, data)
        request = Request(sender, to, data, time_s=self.time_s)
        if (theirs := self._second.call(self._state.changes, request)) is not None:
            _insist_on_the_same(ours, theirs)
        return ours

    def write_storage(self, address: bytes, slots: Mapping[int, int]) -> None:
        super().write_storage(address, slots)
        self._second.forget()


def make_ledger(alloc: Alloc) -> Ledger:
    """Compared with the EVM that WATTCHAIN_SECOND_EVM names: revm, anvil or none.

    By default with revm where that is installed (there are no wheels of it for aarch64).
    """
    default = "none" if importlib.util.find_spec("pyrevm") is None else "revm"
    chosen = os.environ.get("WATTCHAIN_SECOND_EVM", default)
    if chosen == "none":
        return OwnLedger(alloc)
    return ComparedLedger(alloc, {"revm": Revm, "anvil": AnvilState}[chosen]())


def _insist_on_the_same(ours: Result, theirs: Result) -> None:
    if ours != theirs:
        raise AssertionError(f"the second EVM disagrees\n  ours   {_shown(ours)}\n  theirs {_shown(theirs)}")


def _shown(result: Result) -> str:
    logs = [(log.address.hex(), [topic.hex() for topic in log.topics], log.data.hex()) for log in result.logs]
    kind = "success" if result.success else "failure"
    return f"{kind}, {result.gas_used} gas, output 0x{result.output.hex()}, logs {logs}"


def _storage_of(account: dict[str, object]) -> dict[int, int]:
    storage = account.get("storage", {})
    assert isinstance(storage, dict)
    return {int(slot, 16): int(value, 16) for slot, value in storage.items()}
