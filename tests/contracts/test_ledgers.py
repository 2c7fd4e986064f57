"""The comparison with a second EVM finds what it is there for: each way in which two may disagree stops the test."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from chain.account import Account, StateChanges
from contracts.genesis import Alloc
from primitives.keccak import keccak256
from tests.contracts.anvil import AnvilState
from tests.contracts.ledgers import ComparedLedger, OwnLedger
from tests.contracts.second_evm import Log, Request, Result

SENDER, CONTRACT = b"\xaa" * 20, b"\xbb" * 20
# Stores and logs the time: sstore(1, timestamp()), log0(0, 0), return(timestamp()).
CODE = bytes.fromhex("42600155425f525f5fa060205ff3")
ALLOC: Alloc = {
    "0x" + SENDER.hex(): {"balance": hex(10**18)},
    "0x" + CONTRACT.hex(): {"balance": "0x0", "nonce": "0x1", "code": "0x" + CODE.hex()},
}


class Liar:
    """Repeats what our own interpreter says, and changes something in it."""

    def __init__(self, lie: Callable[[Result], Result]) -> None:
        self._honest = OwnLedger(ALLOC)
        self._lie = lie

    def transact(self, before: StateChanges, request: Request) -> Result:
        return self._lie(self._honest.transact(request.sender, request.to, request.data, request.value))

    def call(self, before: Callable[[], StateChanges], request: Request) -> Result | None:
        assert request.to is not None
        return self._lie(self._honest.call(request.sender, request.to, request.data))

    def check_changes(self, before: StateChanges, after: StateChanges) -> None:
        pass

    def forget(self) -> None:
        pass


@pytest.mark.parametrize(
    "lie",
    [
        lambda result: replace(result, gas_used=result.gas_used + 1),
        lambda result: replace(result, success=False),
        lambda result: replace(result, output=result.output[:-1]),
        lambda result: replace(result, logs=(*result.logs, Log(CONTRACT, (), b""))),
    ],
    ids=["gas", "success", "output", "logs"],
)
def test_a_second_evm_that_disagrees_is_noticed(lie: Callable[[Result], Result]) -> None:
    ledger = ComparedLedger(ALLOC, Liar(lie))
    with pytest.raises(AssertionError, match="the second EVM disagrees"):
        ledger.transact(SENDER, CONTRACT)
    with pytest.raises(AssertionError, match="the second EVM disagrees"):
        ComparedLedger(ALLOC, Liar(lie)).call(SENDER, CONTRACT, b"")


def test_one_that_agrees_is_not() -> None:
    ledger = ComparedLedger(ALLOC, Liar(lambda result: result))
    result = ledger.transact(SENDER, CONTRACT)
    assert (result.success, len(result.logs)) == (True, 1)
    assert ledger.storage(CONTRACT, 1) == ledger.time_s


def test_other_changes_to_the_state_are_noticed() -> None:
    """What anvil's tracer says of a transaction that cleared slot 1, wrote slot 2 and deployed a contract."""
    code_hash = keccak256(CODE)
    before = StateChanges({SENDER: Account(4, 100), CONTRACT: Account(1, 5, code_hash)}, {CONTRACT: {1: 7, 3: 9}},
                          {code_hash: CODE})  # fmt: skip
    new = b"\xdd" * 20
    told = {
        "pre": {"0x" + SENDER.hex(): {"balance": "0x64", "nonce": 4},
                "0x" + CONTRACT.hex(): {"balance": "0x5", "storage": {hex(1): hex(7)}}},
        "post": {"0x" + SENDER.hex(): {"balance": "0x60", "nonce": 5},
                 "0x" + CONTRACT.hex(): {"balance": "0x8", "storage": {hex(2): hex(8)}},
                 "0x" + new.hex(): {"balance": "0x1", "nonce": 1, "code": "0x" + CODE.hex()}},
    }  # fmt: skip
    accounts: dict[bytes, Account | None] = {SENDER: Account(5, 96), CONTRACT: Account(1, 8, code_hash),
                                             new: Account(1, 1, code_hash)}  # fmt: skip
    after = StateChanges(accounts, {CONTRACT: {2: 8, 3: 9}}, before.codes)
    AnvilState.check_told(told, before, after)
    for wrong in (
        replace(after, storage={CONTRACT: {1: 7, 2: 8, 3: 9}}),
        replace(after, storage={CONTRACT: {2: 8}}),
        replace(after, accounts=accounts | {new: Account(1, 2, code_hash)}),
        replace(after, accounts=accounts | {SENDER: Account(6, 96)}),
        replace(after, accounts=accounts | {b"\xee" * 20: Account(0, 1)}),
        replace(after, accounts={address: account for address, account in accounts.items() if address != new}),
    ):
        with pytest.raises(AssertionError, match="the states differ"):
            AnvilState.check_told(told, before, wrong)
