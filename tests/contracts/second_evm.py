"""What the contract tests ask of a second, independent EVM; and revm, through its Python binding, as one of these."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from chain.account import StateChanges

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


@dataclass(frozen=True, slots=True)
class Request:
    """A transaction without fees, or a call; deploys where `to` is None."""

    sender: bytes
    to: bytes | None
    data: bytes
    value: int = 0
    nonce: int = 0
    time_s: int = GENESIS_TIME_S


class SecondEvm(Protocol):
    """One ledger's state in another EVM. `before` gives the whole state, for who does not have it."""

    def transact(self, before: StateChanges, request: Request) -> Result:
        """What the transaction does; a deployment's output is the new address."""

    def call(self, before: Callable[[], StateChanges], request: Request) -> Result | None:
        """What the call would do; None where this EVM is not asked for calls."""

    def check_changes(self, before: StateChanges, after: StateChanges) -> None:
        """Raise AssertionError where the last transaction did something else to the state."""

    def forget(self) -> None:
        """The state was changed from outside."""


class Revm:
    """Builds the state anew for each transaction. Calls are not repeated: building is what takes the time."""

    def call(self, before: Callable[[], StateChanges], request: Request) -> Result | None:
        return None

    def check_changes(self, before: StateChanges, after: StateChanges) -> None:
        """The binding tells nothing of the state after a transaction."""

    def forget(self) -> None:
        pass

    def transact(self, before: StateChanges, request: Request) -> Result:
        evm = _revm_on(before, request.time_s)
        sender, data, value = _hex(request.sender), request.data, request.value
        try:
            if request.to is None:
                output = bytes.fromhex(evm.deploy(sender, data, value=value, gas=TRANSACTION_GAS_LIMIT)[2:])
            else:
                output = evm.message_call(
                    sender, _hex(request.to), calldata=data, value=value, gas=TRANSACTION_GAS_LIMIT
                )
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


def _hex(address: bytes) -> str:
    return "0x" + address.hex()
