"""A node for the agent's tests: the real contracts in the real interpreter, with a market, an auction, a seller with a
panel and buyers, whose meters have sent hourly readings for a while. A transaction is in a block as soon as it is
handed in, unless blocks are held back.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from chain.account import Account
from chain.execution import InsufficientFunds, TransactionOutcome, call
from chain.state import State
from chain.transaction import LEGACY, Transaction, sign_transaction
from contracts.auction import AuctionRules
from contracts.genesis import Alloc, GenesisMeter, genesis_alloc
from contracts.market import MarketRules
from contracts.reading_format import READING_FIELDS, compact_signature, reading_typed_data
from contracts.roles import Role
from primitives.clock import ManualClock
from primitives.keccak import keccak256
from primitives.secp256k1 import address_of, sign
from tests.meter.fake_node import (
    BLOCK_GAS_LIMIT,
    CHAIN_ID,
    GENESIS_TIME_S,
    OPERATOR,
    SUPPLIER,
    Block,
    FakeNode,
    _state_of,
)
from wallet.auction import AUCTION
from wallet.client import BlockTag, RpcClient, RpcError
from wallet.contract_call import Contract
from wallet.market import MARKET
from wallet.meter_contract import METER

HOUR_S, DAY_S, DAY_HOURS = 3_600, 86_400, 24
WATT = 10**18
FUNDS_WEI = 1_000 * WATT
TYPED_DATA = reading_typed_data(CHAIN_ID)
START_S = -(-GENESIS_TIME_S // DAY_S) * DAY_S
"""A midnight."""


def key_of(name: str) -> bytes:
    return keccak256(name.encode())


def address(name: str) -> bytes:
    return address_of(key_of(name))


@dataclass
class Home:
    """Somebody with a meter, and what it takes and gives in the hours of a day."""

    name: str
    role: Role
    taken_wh: Sequence[int]
    given_wh: Sequence[int]
    import_wh: int = 0
    export_wh: int = 0
    sequence: int = 0
    previous_hash: bytes = bytes(32)
    owner: bytes = field(init=False)
    meter: bytes = field(init=False)

    def __post_init__(self) -> None:
        self.owner, self.meter = address(self.name), address("meter of " + self.name)

    def reading(self, time_s: int, factor_permille: int = 1_000) -> tuple[object, ...]:
        """Of the hour that ends then, as the Meter's functions take it."""
        hour = (time_s // HOUR_S - 1) % DAY_HOURS
        self.sequence += 1
        self.import_wh += self.taken_wh[hour] * factor_permille // 1_000
        self.export_wh += self.given_wh[hour] * factor_permille // 1_000
        values = (
            self.meter, self.sequence, time_s, self.import_wh, self.export_wh, 0, 0, self.previous_hash,
        )  # fmt: skip
        reading = {name: value for (name, _), value in zip(READING_FIELDS, values, strict=True)}
        self.previous_hash = TYPED_DATA.struct_hash(reading)
        key = key_of("meter of " + self.name)
        return (values, *compact_signature(*sign(TYPED_DATA.hash(reading), key)))


def panel_home(name: str = "solar", noon_wh: int = 1_500) -> Home:
    """Gives most at noon, and takes a little in the night."""
    given = [max(0, noon_wh - abs(hour - 12) * noon_wh // 6) for hour in range(DAY_HOURS)]
    return Home(name, Role.PRODUCER, [0 if one else 200 for one in given], given)


def plain_home(name: str = "home", evening_wh: int = 900) -> Home:
    taken = [300 + (evening_wh - 300 if 17 <= hour < 22 else 0) for hour in range(DAY_HOURS)]
    return Home(name, Role.CONSUMER, taken, [0] * DAY_HOURS)


class TradingNode(FakeNode):
    """With what wallets ask beside what meters ask."""

    def __init__(
        self,
        homes: Sequence[Home],
        market_rules: MarketRules | None = None,
        auction_rules: AuctionRules | None = None,
        more: Mapping[bytes, Role] | None = None,
    ) -> None:
        super().__init__(meter=None)
        self.homes = list(homes)
        alloc: Alloc = genesis_alloc(
            OPERATOR,
            [SUPPLIER],
            meters=[GenesisMeter(one.meter, one.owner, SUPPLIER) for one in homes],
            members={one.owner: one.role for one in homes} | dict(more or {}),
            market_rules=market_rules,
            auction_rules=auction_rules,
        )
        for person in (OPERATOR, SUPPLIER, address("carrier"), *[one.owner for one in homes], *(more or {})):
            alloc["0x" + person.hex()] = {"balance": hex(FUNDS_WEI)}
        self.blocks = [Block(0, keccak256(b"genesis"), START_S, _state_of(alloc))]
        self.time_s = ManualClock(START_S)
        self.clock = self.time_s
        self.holds_blocks = False
        self.transactions: dict[bytes, bytes] = {}

    @property
    def client(self) -> RpcClient:
        return cast(RpcClient, self)

    @property
    def now_s(self) -> int:
        return self.clock.time_s()

    # What tests do

    def tick(self, seconds: int = 0) -> None:
        """Time passes, and a block is made."""
        self.time_s.advance_s(seconds)
        self.block_time_s = max(1, self.now_s - self.blocks[-1].time_s)
        self.mine()

    def pass_hours(self, hours: int, factor_permille: int = 1_000) -> None:
        """Up to the end of so many hours; every meter's readings come at each."""
        for _ in range(hours):
            end_s = (self.now_s // HOUR_S + 1) * HOUR_S
            self.tick(end_s - self.now_s)
            self.read(factor_permille)

    def read(self, factor_permille: int = 1_000) -> None:
        readings = [one.reading(self.now_s, factor_permille) for one in self.homes]
        self.act(key_of("carrier"), METER, "submitBatch", readings)

    def act(self, key: bytes, contract: Contract, function: str, *arguments: object, value: int = 0) -> None:
        """A signed transaction of anybody, in a block of its own; it has to succeed."""
        transaction = Transaction(
            LEGACY, CHAIN_ID, self._nonce(address_of(key), "latest"), 0, 0, BLOCK_GAS_LIMIT, contract.address, value,
            contract.abi.encode_call(function, arguments),
        )  # fmt: skip
        signed = sign_transaction(transaction, key)
        self._admit(signed.encoded)
        self.tick()
        assert self.blocks[-1].receipts[signed.hash].succeeded, function

    def ask(self, contract: Contract, function: str, *arguments: object) -> Any:
        data = contract.abi.encode_call(function, arguments)
        values = contract.abi.decode_result(function, self._checked_call(None, contract.address, data, "latest").output)
        return values[0] if len(values) == 1 else values

    def balance_of(self, account: bytes) -> int:
        return (self.blocks[-1].state.account(account) or Account()).balance

    def owned_wei(self, account: bytes) -> int:
        """In the purse and on the accounts of both markets."""
        there = [self.ask(one, "accountOf", account) for one in (MARKET, AUCTION)]
        return self.balance_of(account) + sum(there)

    def events(self, name: str) -> list[dict[str, Any]]:
        """Of both markets, in their order."""
        found = []
        for block in self.blocks:
            for log in block.logs:
                for contract in (MARKET, AUCTION):
                    decoded = contract.abi.decode_log(log.topics, log.data) if log.address == contract.address else None
                    if decoded is not None and decoded.event == name:
                        found.append(dict(decoded.arguments))
        return found

    # What the agent asks

    async def balance(self, address: bytes, block: BlockTag = "latest") -> int:
        return await self._answer("balance", lambda: self.balance_of(address))

    async def code(self, address: bytes, block: BlockTag = "latest") -> bytes:
        def find() -> bytes:
            state = self.blocks[-1].state
            account = state.account(address)
            return b"" if account is None else state.code(account.code_hash)

        return await self._answer("code", find)

    async def call(
        self, to: bytes, data: bytes, block: BlockTag = "latest", sender: bytes | None = None, value: int = 0
    ) -> bytes:
        return await self._answer("call", lambda: self._valued_call(sender, to, data, block, value).output)

    async def estimate_gas(self, sender: bytes, to: bytes | None, value: int = 0, data: bytes = b"") -> int:
        def estimate() -> int:
            return self._valued_call(sender, to or b"", data, "pending", value).gas_used * 5 // 4

        return await self._answer("estimate_gas", estimate)

    async def send_raw(self, encoded_transaction: bytes) -> bytes:
        def admit() -> bytes:
            answer = self._admit(encoded_transaction)
            if not self.holds_blocks:
                self.tick()
            return answer

        return await self._answer("send_raw", admit)

    def _admit(self, raw: bytes) -> bytes:
        answer = super()._admit(raw)
        self.transactions[answer] = raw
        return answer

    def _valued_call(
        self, sender: bytes | None, to: bytes, data: bytes, tag: BlockTag, value: int
    ) -> TransactionOutcome:
        block = self._block(tag)
        time_s = max(self.now_s, block.time_s + 1) if tag == "pending" else block.time_s
        context = self._context(Block(block.number, block.hash, time_s, block.state))
        try:
            outcome = call(
                State(block.state), context, caller=sender or bytes(20), to=to, value=value, data=data,
                gas=BLOCK_GAS_LIMIT,
            )  # fmt: skip
        except InsufficientFunds as error:
            raise RpcError("eth_call", -32000, str(error)) from error
        if not outcome.success:
            raise RpcError("eth_call", 3, "execution reverted", "0x" + outcome.output.hex())
        return outcome
