"""A node for the meter's tests: real contracts in the real interpreter, a chain of blocks made when told, failures by
script. It answers what `meter.ledger.Node` asks, and keeps a pool of transactions by sender and nonce.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from chain.account import Account, StateChanges
from chain.execution import TransactionOutcome, call, execute_transaction
from chain.state import EmptyState, State
from chain.transaction import Transaction, decode_transaction
from chain.validity import intrinsic_gas_of
from contracts.addresses import EXHAUSTION_ADDRESS, METER_ADDRESS
from contracts.binding import load_artifact
from contracts.genesis import Alloc, GenesisMeter, genesis_alloc
from primitives.clock import Clock, ManualClock
from primitives.keccak import keccak256
from primitives.secp256k1 import address_of
from vm.host import BlockContext
from wallet.answers import BlockSummary, Log, Receipt
from wallet.client import BlockTag, NodeUnreachable, RpcError

T = TypeVar("T")

CHAIN_ID = 4711
GENESIS_TIME_S = 1_700_000_000
BLOCK_TIME_S = 15
BLOCK_GAS_LIMIT = 30_000_000
RATE_WEI_PER_WH = 10**14
RICH_WEI = 10**30
EXHAUSTION = load_artifact("Exhaustion")

SENDER_KEY, OTHER_KEY, METER_KEY = (bytes([number]) * 32 for number in (11, 12, 13))
METER = address_of(METER_KEY)
OPERATOR, SUPPLIER, OWNER = (bytes([number]) * 20 for number in (21, 22, 23))


class MemoryState:
    """A state that does not change; `after` makes the next one."""

    def __init__(
        self,
        accounts: dict[bytes, Account],
        slots: dict[tuple[bytes, int], int],
        codes: dict[bytes, bytes],
    ) -> None:
        self._accounts, self._slots, self._codes = accounts, slots, codes

    def account(self, address: bytes) -> Account | None:
        return self._accounts.get(address)

    def storage(self, address: bytes, slot: int) -> int:
        return self._slots.get((address, slot), 0)

    def code(self, code_hash: bytes) -> bytes:
        return self._codes.get(code_hash, b"")

    def has_storage(self, address: bytes) -> bool:
        return any(owner == address for owner, _ in self._slots)

    def after(self, changes: StateChanges) -> "MemoryState":
        accounts = self._accounts | {address: one for address, one in changes.accounts.items() if one is not None}
        slots = dict(self._slots)
        for address, entries in changes.storage.items():
            slots.update({(address, slot): value for slot, value in entries.items()})
        return MemoryState(accounts, slots, self._codes | changes.codes)


@dataclass
class Block:
    number: int
    hash: bytes
    time_s: int
    state: MemoryState
    logs: list[Log] = field(default_factory=list)
    receipts: dict[bytes, Receipt] = field(default_factory=dict)


@dataclass
class Failure:
    """Goes wrong at the call with this number: before it has an effect, or after (the answer is lost)."""

    at_call: int
    error: Exception
    is_after: bool = False


class FakeNode:
    def __init__(self, *, meter: bytes | None = METER, credit_wei: int = 0, neighbours: Sequence[bytes] = ()) -> None:
        registered = [*([] if meter is None else [meter]), *neighbours]
        meters = [GenesisMeter(one, OWNER, SUPPLIER, credit_wei=credit_wei) for one in registered]
        alloc = genesis_alloc(OPERATOR, [SUPPLIER], {SUPPLIER: RATE_WEI_PER_WH}, meters)
        for key in (SENDER_KEY, OTHER_KEY, METER_KEY):
            alloc["0x" + address_of(key).hex()] = {"balance": hex(RICH_WEI)}
        self.blocks = [Block(0, keccak256(b"genesis"), GENESIS_TIME_S, _state_of(alloc))]
        self.pool: dict[tuple[bytes, int], Transaction] = {}
        self.block_time_s = BLOCK_TIME_S
        self.clock: Clock = ManualClock(GENESIS_TIME_S)
        self.is_down = False
        self.base_fee: int | None = None
        self.failures: list[Failure] = []
        self.call_count = 0
        self.calls: list[str] = []
        self.accepted_raw: list[bytes] = []
        self.inputs: dict[bytes, bytes] = {}
        """Data of the transactions in blocks, by hash."""
        self.gas_limit = BLOCK_GAS_LIMIT
        self.max_logs = 10_000
        self.disbelieved = 0
        self._forks = 0

    # What tests do

    def mine(self, count: int = 1, *, is_empty: bool = False, gas_left: int | None = None) -> Block:
        """Make blocks; the first takes what is ready from the pool. `gas_left`: give each transaction only so much."""
        for _ in range(count):
            parent = self.blocks[-1]
            number = parent.number + 1
            block_hash = keccak256(parent.hash + number.to_bytes(8, "big") + self._forks.to_bytes(8, "big"))
            block = Block(number, block_hash, parent.time_s + self.block_time_s, parent.state)
            for transaction in [] if is_empty else self._ready(parent.state):
                self._execute(block, transaction, gas_left)
            self.blocks.append(block)
            is_empty = True
        return self.blocks[-1]

    def reorganise(self, depth: int, *, forget_pool: bool = False) -> None:
        """Take blocks off; their transactions are lost. The next blocks have other hashes."""
        del self.blocks[-depth:]
        self._forks += 1
        if forget_pool:
            self.pool.clear()

    def transact(self, sender: bytes, to: bytes, data: bytes, value: int = 0) -> None:
        """A block with one unsigned transaction of anybody, such as a top-up."""
        parent = self.blocks[-1]
        nonce = (parent.state.account(sender) or Account()).nonce
        transaction = Transaction(0, CHAIN_ID, nonce, 0, 0, BLOCK_GAS_LIMIT, to, value, data)
        block = Block(
            parent.number + 1, keccak256(parent.hash + b"anybody"), parent.time_s + self.block_time_s, parent.state
        )
        self._execute(block, transaction, None, sender)
        assert block.receipts[transaction.hash].succeeded
        self.blocks.append(block)

    def top_up(self, meter: bytes, value_wei: int) -> None:
        data = EXHAUSTION.abi.function("topUp").encode_call((meter,))
        self.transact(address_of(OTHER_KEY), EXHAUSTION_ADDRESS, data, value_wei)

    def charged_wh(self, meter: bytes = METER) -> int:
        """By the register that is charged: all of them begin at zero here."""
        last_reading = load_artifact("Meter").abi.function("lastReading")
        output = self._call(None, METER_ADDRESS, last_reading.encode_call((meter,)), self.blocks[-1]).output
        (last,) = last_reading.decode_result(output)
        assert isinstance(last, tuple)
        return int(last[2])

    def accepted_sequences(self) -> list[int]:
        """Of the one meter, in the order of acceptance."""
        abi = load_artifact("Meter").abi
        found = []
        for block in self.blocks:
            for log in block.logs:
                decoded = abi.decode_log(log.topics, log.data) if log.address == METER_ADDRESS else None
                if decoded is not None and decoded.event == "ReadingAccepted":
                    found.append(int(str(decoded.arguments["sequence"])))
        return found

    # What the meter asks

    async def chain_id(self) -> int:
        return await self._answer("chain_id", lambda: CHAIN_ID)

    async def block_number(self) -> int:
        return await self._answer("block_number", lambda: self.blocks[-1].number)

    async def block(self, block: BlockTag = "latest") -> BlockSummary | None:
        return await self._answer("block", lambda: self._summary(block))

    async def gas_price(self) -> int:
        return await self._answer("gas_price", lambda: self.base_fee or 0)

    async def max_priority_fee(self) -> int:
        return await self._answer("max_priority_fee", lambda: 1 if self.base_fee else 0)

    async def nonce(self, address: bytes, block: BlockTag = "pending") -> int:
        return await self._answer("nonce", lambda: self._nonce(address, block))

    async def call(
        self, to: bytes, data: bytes, block: BlockTag = "latest", sender: bytes | None = None, value: int = 0
    ) -> bytes:
        return await self._answer("call", lambda: self._checked_call(sender, to, data, block).output)

    async def estimate_gas(self, sender: bytes, to: bytes | None, value: int = 0, data: bytes = b"") -> int:
        def estimate() -> int:
            gas = self._checked_call(sender, to or b"", data, "pending").gas_used
            if gas > self.gas_limit:
                raise RpcError("eth_estimateGas", -32000, f"gas required exceeds allowance ({self.gas_limit})")
            return gas

        return await self._answer("estimate_gas", estimate)

    async def send_raw(self, encoded_transaction: bytes) -> bytes:
        return await self._answer("send_raw", lambda: self._admit(encoded_transaction))

    async def receipt(self, transaction_hash: bytes) -> Receipt | None:
        def find() -> Receipt | None:
            if len(transaction_hash) != 32:
                raise RpcError("eth_getTransactionReceipt", -32602, "invalid argument 0: not 32 bytes")
            found = [block.receipts[transaction_hash] for block in self.blocks if transaction_hash in block.receipts]
            return found[-1] if found else None

        return await self._answer("receipt", find)

    async def transaction_data(self, transaction_hash: bytes) -> bytes | None:
        return await self._answer("transaction_data", lambda: self.inputs.get(transaction_hash))

    def ask_another(self) -> None:
        self.disbelieved += 1

    async def logs(
        self,
        addresses: Sequence[bytes] = (),
        topics: Sequence[bytes | Sequence[bytes] | None] = (),
        from_block: BlockTag = "latest",
        to_block: BlockTag = "latest",
    ) -> list[Log]:
        def find() -> list[Log]:
            blocks = [block for block in self.blocks if int(from_block) <= block.number <= int(to_block)]
            logs = [log for block in blocks for log in block.logs if log.address in addresses]
            wanted = [[topic] if isinstance(topic, bytes) else topic for topic in topics]
            matching = [
                log
                for log in logs
                if all(one is None or topic in one for one, topic in zip(wanted, log.topics, strict=False))
            ]
            if len(matching) > self.max_logs:
                raise RpcError("eth_getLogs", -32005, f"query returned more than {self.max_logs} results")
            return matching

        return await self._answer("logs", find)

    # How it works

    async def _answer(self, method: str, effect: Callable[[], T]) -> T:
        self.call_count += 1
        self.calls.append(method)
        if self.is_down:
            raise NodeUnreachable("the node is down")
        failures = [failure for failure in self.failures if failure.at_call == self.call_count]
        for failure in failures:
            if not failure.is_after:
                raise failure.error
        result = effect()
        for failure in failures:
            raise failure.error
        return result

    def _admit(self, raw: bytes) -> bytes:
        transaction = decode_transaction(raw)
        sender, used = transaction.sender, self._nonce(transaction.sender, "latest")
        known = self.pool.get((sender, transaction.nonce))
        if known == transaction:
            raise RpcError("eth_sendRawTransaction", -32000, f"already known: 0x{transaction.hash.hex()}")
        if transaction.nonce < used:
            raise RpcError("eth_sendRawTransaction", -32000, f"nonce too low: next nonce {used}")
        if known is not None and transaction.max_fee_per_gas * 10 < known.max_fee_per_gas * 11 + 10:
            raise RpcError("eth_sendRawTransaction", -32000, "replacement transaction underpriced")
        if transaction.max_fee_per_gas < (self.base_fee or 0):
            raise RpcError("eth_sendRawTransaction", -32000, "transaction underpriced: below the base fee")
        if transaction.gas_limit > self.gas_limit:
            raise RpcError("eth_sendRawTransaction", -32000, "exceeds block gas limit")
        self.pool[sender, transaction.nonce] = transaction
        self.accepted_raw.append(raw)
        return transaction.hash

    def _ready(self, state: MemoryState) -> list[Transaction]:
        ready = []
        for sender in sorted({sender for sender, _ in self.pool}):
            nonce = (state.account(sender) or Account()).nonce
            while (transaction := self.pool.pop((sender, nonce), None)) is not None:
                ready.append(transaction)
                nonce += 1
        return ready

    def _execute(
        self, block: Block, transaction: Transaction, gas_left: int | None, sender: bytes | None = None
    ) -> None:
        state = State(block.state)
        executed = transaction
        if gas_left is not None:
            intrinsic = intrinsic_gas_of(transaction.data, False, ())
            executed = replace(transaction, gas_limit=intrinsic + gas_left, _encoded=None, _hash=None)
        outcome = execute_transaction(state, self._context(block), executed, sender or transaction.sender)
        block.state = block.state.after(state.changes())
        logs = [
            Log(log.address, tuple(log.topics), log.data, block.number, block.hash, transaction.hash, index, False)
            for index, log in enumerate(outcome.logs, len(block.logs))
        ]
        block.logs += logs
        self.inputs[transaction.hash] = transaction.data
        block.receipts[transaction.hash] = Receipt(
            transaction.hash, block.number, block.hash, outcome.success, outcome.gas_used, 0, None, tuple(logs)
        )

    def _checked_call(self, sender: bytes | None, to: bytes, data: bytes, tag: BlockTag) -> TransactionOutcome:
        block = self._block(tag)
        if tag == "pending":
            block = replace(block, time_s=max(self.clock.time_s(), block.time_s + 1))
        outcome = self._call(sender, to, data, block)
        if not outcome.success:
            raise RpcError("eth_call", 3, "execution reverted", "0x" + outcome.output.hex())
        return outcome

    def _call(self, sender: bytes | None, to: bytes, data: bytes, block: Block) -> TransactionOutcome:
        return call(
            State(block.state), self._context(block), caller=sender or bytes(20), to=to, data=data, gas=BLOCK_GAS_LIMIT
        )

    def _nonce(self, address: bytes, tag: BlockTag) -> int:
        nonce = (self.blocks[-1].state.account(address) or Account()).nonce
        while tag == "pending" and (address, nonce) in self.pool:
            nonce += 1
        return nonce

    def _block(self, tag: BlockTag) -> Block:
        if isinstance(tag, int):
            if tag >= len(self.blocks):
                raise RpcError("eth_call", -32000, "header not found")
            return self.blocks[tag]
        return self.blocks[-1]

    def _summary(self, tag: BlockTag) -> BlockSummary | None:
        if isinstance(tag, int) and tag >= len(self.blocks):
            return None
        block = self._block(tag)
        parent_hash = self.blocks[block.number - 1].hash if block.number else bytes(32)
        return BlockSummary(block.number, block.hash, parent_hash, block.time_s, self.gas_limit, self.base_fee)

    def _context(self, block: Block) -> BlockContext:
        return BlockContext(
            block.number, block.time_s, bytes(20), BLOCK_GAS_LIMIT, 1, 0, 1, CHAIN_ID, lambda number: bytes(32)
        )


def _state_of(alloc: Alloc) -> MemoryState:
    state = State(EmptyState())
    for address_hex, account in alloc.items():
        address = bytes.fromhex(address_hex[2:])
        state.set_balance(address, int(str(account["balance"]), 16))
        if "code" in account:
            state.set_nonce(address, int(str(account.get("nonce", "0x1")), 16))
            state.set_code(address, bytes.fromhex(str(account["code"])[2:]))
        storage = account.get("storage", {})
        assert isinstance(storage, dict)
        for slot, value in storage.items():
            state.set_storage(address, int(slot, 16), int(value, 16))
    state.end_transaction()
    return MemoryState({}, {}, {}).after(state.changes())
