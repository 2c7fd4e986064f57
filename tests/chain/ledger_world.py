"""A small proof-of-work network for tests: real ledgers in folders of their own, blocks made by the real builder."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from chain.block import Block
from chain.builder import BlockBuilder, BuilderSettings
from chain.consensus.proof_of_work import seal_here
from chain.genesis import Genesis, parse_genesis
from chain.header import Header
from chain.ledger import Ledger
from chain.transaction import DYNAMIC_FEE, LEGACY, Transaction, sign_transaction
from primitives.clock import ManualClock
from primitives.secp256k1 import address_of

CHAIN_ID = 4242
START_S = 1_700_000_000
KEYS = [bytes([index]) * 32 for index in range(1, 9)]
ADDRESSES = [address_of(key) for key in KEYS]
COINBASE = b"\xc0" * 20
FUNDS_WEI = 10**24


def world_genesis(**own_settings: object) -> Genesis:
    """Eight funded accounts; difficulty 1 that never changes, unless settings of config.wattchain say otherwise."""
    return parse_genesis(
        {
            "config": {"chainId": CHAIN_ID, "wattchain": {"blockRewardWei": "7", **own_settings}},
            "difficulty": "0x1",
            "gasLimit": "0x1c9c380",
            "timestamp": hex(START_S),
            "alloc": {"0x" + address.hex(): {"balance": hex(FUNDS_WEI)} for address in ADDRESSES},
        }
    )


class FixedOrder:
    """Transactions for the builder in the order given (PendingTransactions)."""

    def __init__(self, transactions: Sequence[Transaction]) -> None:
        self._left = list(transactions)

    def peek(self) -> Transaction | None:
        return self._left[0] if self._left else None

    def take(self) -> None:
        self._left.pop(0)

    def skip_sender(self) -> None:
        raise AssertionError("the builder refused a transaction of the test")


@dataclass
class World:
    """One ledger and what makes blocks on it. Each block comes 15 s after the one before."""

    ledger: Ledger
    clock: ManualClock
    coinbase: bytes = COINBASE
    nonces: dict[bytes, int] = field(default_factory=dict)

    @classmethod
    def open(cls, folder: Path, genesis: Genesis | None = None, **settings: object) -> "World":
        clock = ManualClock(START_S)
        return cls(Ledger.open(folder, genesis or world_genesis(), clock, **settings), clock)  # type: ignore[arg-type]

    def build(self, transactions: Sequence[Transaction] = (), coinbase: bytes | None = None) -> Block:
        """A sealed block on the head."""
        ledger = self.ledger
        self.clock.now_s = max(self.clock.now_s, ledger.head().timestamp_s) + 15
        builder = BlockBuilder(
            ledger.config, ledger.engine, self.clock, ledger.blocks, ledger.state,
            BuilderSettings(coinbase or self.coinbase),
        )  # fmt: skip
        block = builder.build(FixedOrder(transactions))
        return reseal(block, block.header)

    def grow(self, count: int = 1, transfers: int = 1) -> list[Block]:
        """Build and import blocks of plain transfers."""
        blocks = []
        for _ in range(count):
            block = self.build([self.transfer(index % len(KEYS)) for index in range(transfers)])
            self.ledger.import_block(block)
            blocks.append(block)
        return blocks

    def transfer(self, sender: int = 0, recipient: int = 7, value: int = 1, **changes: object) -> Transaction:
        """The sender's next transaction."""
        nonce = self.nonces.get(ADDRESSES[sender], 0)
        self.nonces[ADDRESSES[sender]] = nonce + 1
        return signed(KEYS[sender], nonce=nonce, to=ADDRESSES[recipient], value=value, **changes)


def signed(key: bytes, **changes: object) -> Transaction:
    """A transaction of the test network, signed."""
    fields: dict[str, object] = {
        "type": DYNAMIC_FEE,
        "chain_id": CHAIN_ID,
        "nonce": 0,
        "max_priority_fee_per_gas": 10**9,
        "max_fee_per_gas": 10**11,
        "gas_limit": 100_000,
        "to": ADDRESSES[1],
        "value": 0,
        "data": b"",
    }
    fields.update(changes)
    if fields["type"] == LEGACY:
        fields["max_priority_fee_per_gas"] = fields["max_fee_per_gas"]
    return sign_transaction(Transaction(**fields), key)  # type: ignore[arg-type]


def reseal(block: Block, header: Header) -> Block:
    """The block with this header, sealed."""
    return replace(block, header=seal_here(header))
