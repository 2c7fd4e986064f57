"""Blocks that only the store will see: right in form, with nothing behind them."""

import random

from chain.block import Block
from chain.header import EMPTY_OMMERS_HASH, Header
from chain.receipt import Receipt, merge_blooms
from chain.transaction import Transaction
from vm.host import Log


def make_transaction(generator: random.Random, transaction_type: int = 2) -> Transaction:
    return Transaction(
        transaction_type,
        1,
        generator.randrange(2**32),
        10**9,
        10**9 if transaction_type < 2 else 10**10,
        21_000,
        generator.randbytes(20),
        10**18,
        generator.randbytes(generator.randrange(40)),
        r=generator.getrandbits(255) | 1,
        s=generator.getrandbits(254) | 1,
    )


def make_block(parent: Block | None, seed: int, transactions: int = 3) -> tuple[Block, list[Receipt]]:
    generator = random.Random(seed)
    chosen = tuple(make_transaction(generator, generator.choice([0, 1, 2])) for _ in range(transactions))
    receipts = [
        Receipt(
            transaction.type,
            True,
            21_000 * (index + 1),
            (Log(transaction.to, (generator.randbytes(32),), b"data"),),
            21_000,
            None,
            10**9,
        )
        for index, transaction in enumerate(chosen)
    ]
    header = Header(
        bytes(32) if parent is None else parent.hash,
        EMPTY_OMMERS_HASH,
        bytes(20),
        generator.randbytes(32),
        generator.randbytes(32),
        generator.randbytes(32),
        merge_blooms(receipts),
        generator.choice([1, 2**70]),
        0 if parent is None else parent.number + 1,
        30_000_000,
        21_000 * transactions,
        seed,
        b"",
        bytes(32),
        bytes(8),
        10**9,
    )
    return Block(header, chosen), receipts
