"""One world run by our interpreter and by revm; what differs, in words."""

from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

from chain.state import EmptyState, State
from primitives.keccak import EMPTY_DIGEST, keccak256
from tests.fuzz.programs import COINBASE, CONTRACTS, SENDER, World
from vm import interpreter
from vm.code import ProgramCache
from vm.host import BlockContext, TransactionContext
from vm.message import Message
from vm.translation.translator import Translator

BLOCK_NUMBER = 300
_RICH = 10**20
_CONTRACT_BALANCE = 5
_SLOTS = range(5)
_INTRINSIC_GAS, _ZERO_BYTE_GAS, _BYTE_GAS = 21_000, 4, 16
_MAX_REFUND_QUOTIENT = 5
_PRECOMPILE_COUNT = 10

_BLOCK = BlockContext(
    number=BLOCK_NUMBER,
    timestamp_s=1_000,
    coinbase=COINBASE,
    gas_limit=30_000_000,
    prev_randao=int.from_bytes(b"\x07" * 32, "big"),
    base_fee=0,
    blob_base_fee=1,
    chain_id=1,
    # What revm answers when it has no chain.
    block_hash=lambda number: keccak256(str(number).encode()),
)


@dataclass(frozen=True, slots=True)
class Result:
    """What can be seen of a run from outside."""

    status: str
    output: bytes
    gas_used: int
    logs: tuple[tuple[bytes, tuple[bytes, ...], bytes], ...]
    accounts: dict[bytes, tuple[int, int, bytes]]
    """(nonce, balance, hash of the code) of every account that one of the two has seen, and is not empty."""
    storage: dict[tuple[bytes, int], int]
    gone: frozenset[bytes]
    """Accounts destroyed at the end of the transaction."""


def differences(world: World, translated: bool = False) -> list[str]:
    """What the two interpreters disagree about; empty where they agree.

    `translated` runs the world twice on our side, the second time with all code of the first translated.
    """
    ours = _run_translated(world) if translated else _run_ours(world)
    theirs = _run_revm(world, ours)
    found = []
    for name in Result.__slots__:
        left, right = getattr(ours, name), getattr(theirs, name)
        if left == right:
            continue
        if isinstance(left, dict):
            keys = [key for key in {**left, **right} if left.get(key) != right.get(key)]
            left, right = {key: left.get(key) for key in keys}, {key: right.get(key) for key in keys}
        found.append(f"{name}: ours {left!r}, revm {right!r}")
    return found


def _run_translated(world: World) -> Result:
    """Run to learn the blocks, then run again with each of them translated as soon as it is reached."""
    programs = ProgramCache()
    with patch.object(interpreter, "PROGRAMS", programs), patch.object(interpreter, "TRANSLATOR", Translator()):
        _run_ours(world)
        for program in programs.programs():
            for block in program.blocks.values():
                block.countdown = 0
        return _run_ours(world)


class _RecordingState(State):
    """Remembers who was destroyed: pyrevm goes on showing such an account as it was before."""

    def __init__(self) -> None:
        super().__init__(EmptyState())
        self.destroyed: set[bytes] = set()

    def self_destruct(self, address: bytes, beneficiary: bytes) -> None:
        super().self_destruct(address, beneficiary)
        self.destroyed.add(address)


def _run_ours(world: World) -> Result:
    state = _RecordingState()
    state.set_balance(SENDER, _RICH)
    for address in CONTRACTS:
        state.set_balance(address, _CONTRACT_BALANCE)
        state.set_nonce(address, 1)
        state.set_code(address, world.codes[address])
        for slot, value in world.storage[address].items():
            state.set_storage(address, slot, value)
    precompiles = [number.to_bytes(20, "big") for number in range(1, _PRECOMPILE_COUNT + 1)]
    state.begin_transaction([SENDER, CONTRACTS[0], COINBASE, *precompiles])
    intrinsic = _INTRINSIC_GAS + sum(_BYTE_GAS if byte else _ZERO_BYTE_GAS for byte in world.data)
    message = Message(SENDER, CONTRACTS[0], world.value, world.data, world.gas - intrinsic)
    outcome = interpreter.run(state, _BLOCK, TransactionContext(SENDER, 0), message)
    used = world.gas - outcome.gas_left
    if outcome.success:
        used -= min(state.refund, used // _MAX_REFUND_QUOTIENT)
    logs = tuple((log.address, log.topics, log.data) for log in state.end_transaction())
    status = "success" if outcome.success else "revert" if outcome.is_revert else "halt"
    changes = state.changes()
    addresses = {SENDER, *CONTRACTS, *changes.accounts}
    accounts = {
        address: (state.nonce(address), state.balance(address), state.code_hash(address))
        for address in addresses
        if not state.is_empty(address)
    }
    storage = {(address, slot): state.storage(address, slot) for address in CONTRACTS for slot in _SLOTS}
    for address, slots in changes.storage.items():
        for slot, value in slots.items():
            storage[address, slot] = value
    gone = frozenset(state.destroyed - accounts.keys())
    return Result(status, outcome.output, used, logs, accounts, storage, gone)


def _run_revm(world: World, ours: Result) -> Result:
    """The same by revm. Our result tells only which accounts and slots to ask it for, besides those it names itself."""
    import pyrevm

    block = pyrevm.BlockEnv(
        number=BLOCK_NUMBER,
        coinbase=_hex(COINBASE),
        timestamp=1_000,
        prevrandao=b"\x07" * 32,
        basefee=0,
        gas_limit=30_000_000,
        excess_blob_gas=0,
    )
    evm = pyrevm.EVM(spec_id="CANCUN", gas_limit=_BLOCK.gas_limit, env=pyrevm.Env(block=block))
    evm.insert_account_info(_hex(SENDER), pyrevm.AccountInfo(balance=_RICH, nonce=0))
    for address in CONTRACTS:
        info = pyrevm.AccountInfo(balance=_CONTRACT_BALANCE, nonce=1, code=world.codes[address])
        evm.insert_account_info(_hex(address), info)
        for slot, value in world.storage[address].items():
            if value:
                # The revert keeps the slot in the database and takes it out of the journal, where it would count as
                # accessed and as zero before the transaction.
                checkpoint = evm.snapshot()
                evm.insert_account_storage(_hex(address), slot, value)
                evm.revert(checkpoint)
    output = b""
    try:
        output = bytes(
            evm.message_call(
                caller=_hex(SENDER), to=_hex(CONTRACTS[0]), calldata=world.data, value=world.value, gas=world.gas
            )
        )
    except RuntimeError as error:
        text = str(error)
        if text.startswith("Revert"):
            output = bytes.fromhex(text.split("output: 0x")[1].split(" ")[0].rstrip("}"))
    outcome = evm.result
    status = "success" if outcome.is_success else "halt" if outcome.is_halt else "revert"
    addresses = {*ours.accounts, *(bytes.fromhex(text[2:]) for text in evm.journal_state)} - ours.gone
    accounts = {}
    for address in addresses:
        info = evm.basic(_hex(address))
        account = (info.nonce, info.balance, bytes(info.code_hash))
        if account != (0, 0, EMPTY_DIGEST):
            accounts[address] = account
    storage = {(address, slot): evm.storage(_hex(address), slot) for address, slot in ours.storage}
    return Result(status, output, outcome.gas_used, _logs(outcome), accounts, storage, ours.gone)


def _logs(outcome: Any) -> tuple[tuple[bytes, tuple[bytes, ...], bytes], ...]:
    return tuple(
        (
            bytes.fromhex(log.address[2:]),
            tuple(bytes.fromhex(topic[2:]) for topic in log.topics),
            bytes(log.data[1]),
        )
        for log in outcome.logs
    )


def _hex(address: bytes) -> str:
    return "0x" + address.hex()
