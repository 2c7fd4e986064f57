"""Blocks of signed transfers between random accounts, for the ledger's benchmarks; run as a module it writes them out.

Producer and importer are two processes, so that what the importer measures is importing alone. Both make the same
genesis from the same three numbers; nothing is random that is not seeded.
"""

import argparse
import random
import struct
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import BinaryIO

from chain.account import Account
from chain.block import Block
from chain.builder import BlockBuilder, BuilderSettings
from chain.consensus.proof_of_work import seal_here
from chain.genesis import Genesis, parse_genesis
from chain.ledger import Ledger
from chain.transaction import DYNAMIC_FEE, Transaction, sign_transaction
from primitives.clock import ManualClock
from primitives.keccak import keccak256
from primitives.secp256k1 import address_of

SEED = 2026
CHAIN_ID = 2026
MAX_SENDERS = 20_000
"""Accounts with keys; deriving an address from a key takes 25 us, so not every one of a million has one."""
FUNDS_WEI = 10**24
START_S = 1_700_000_000
BLOCK_TIME_S = 15
COINBASE = b"\xcc" * 20
_LENGTH = struct.Struct(">I")


def private_key(index: int) -> bytes:
    return keccak256(b"benchmark key %d" % index)


@cache
def address(index: int) -> bytes:
    return address_of(private_key(index)) if index < MAX_SENDERS else keccak256(b"benchmark account %d" % index)[12:]


def genesis_of(accounts: int) -> Genesis:
    """A chain with that many funded accounts and difficulty 1."""
    genesis = parse_genesis(
        {
            "config": {"chainId": CHAIN_ID, "wattchain": {"blockRewardWei": "0"}},
            "difficulty": "0x1",
            "gasLimit": "0x1c9c380",
            "timestamp": hex(START_S),
        }
    )
    genesis.state.accounts.update({address(index): Account(0, FUNDS_WEI) for index in range(accounts)})
    return genesis


class InOrder:
    """Transactions for the builder, all of which fit."""

    def __init__(self, transactions: list[Transaction]) -> None:
        self._left = transactions[::-1]

    def peek(self) -> Transaction | None:
        return self._left[-1] if self._left else None

    def take(self) -> None:
        self._left.pop()

    def skip_sender(self) -> None:
        raise RuntimeError("a transaction of the benchmark does not fit into its block")


def produce(folder: Path, accounts: int, blocks: int, transfers: int) -> Iterator[Block]:
    """Build, seal and import blocks, one after another."""
    clock = ManualClock(START_S)
    generator = random.Random(SEED)
    nonces: dict[int, int] = {}
    with Ledger.open(folder, genesis_of(accounts), clock) as ledger:
        builder = BlockBuilder(
            ledger.config, ledger.engine, clock, ledger.blocks, ledger.state, BuilderSettings(COINBASE)
        )
        for _ in range(blocks):
            clock.now_s += BLOCK_TIME_S
            pending = [_transfer(generator, accounts, nonces) for _ in range(transfers)]
            block = builder.build(InOrder(pending))
            block = replace(block, header=seal_here(block.header))
            ledger.import_block(block)
            yield block


def read_blocks(stream: BinaryIO) -> Iterator[bytes]:
    """Encoded blocks as the producer writes them."""
    while prefix := stream.read(_LENGTH.size):
        yield stream.read(_LENGTH.unpack(prefix)[0])


def _transfer(generator: random.Random, accounts: int, nonces: dict[int, int]) -> Transaction:
    sender = generator.randrange(min(accounts, MAX_SENDERS))
    nonce = nonces[sender] = nonces.get(sender, -1) + 1
    unsigned = Transaction(
        DYNAMIC_FEE,
        CHAIN_ID,
        nonce,
        10**9,
        10**11,
        21_000,
        address(generator.randrange(accounts)),
        generator.randrange(10**15),
        b"",
    )
    return sign_transaction(unsigned, private_key(sender))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("accounts", "blocks", "transfers"):
        parser.add_argument(f"--{name}", type=int, required=True)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for block in produce(Path(folder), chosen.accounts, chosen.blocks, chosen.transfers):
            encoded = block.encode()
            sys.stdout.buffer.write(_LENGTH.pack(len(encoded)) + encoded)
            sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
