"""Blocks of signed meter readings, one or fifty a transaction, for benchmarks.readings; as a module it writes them out.

Every meter sends a reading a block, a quarter of an hour after the one before, as meters do. Producer and importer are
two processes and make the same genesis, as in benchmarks/transfer_blocks.py.
"""

import argparse
import random
import struct
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.transfer_blocks import COINBASE, SEED, InOrder
from chain.block import Block
from chain.builder import BlockBuilder, BuilderSettings
from chain.consensus.proof_of_work import seal_here
from chain.genesis import Genesis, parse_genesis
from chain.ledger import Ledger
from chain.transaction import DYNAMIC_FEE, Transaction, sign_transaction
from contracts.addresses import METER_ADDRESS
from contracts.binding import load_artifact
from contracts.genesis import GenesisMeter, genesis_alloc
from contracts.reading_format import READING_FIELDS, compact_signature, reading_typed_data
from contracts.tariff_format import GenesisTariff, Slab, TariffVersion
from primitives.clock import ManualClock
from primitives.keccak import keccak256
from primitives.secp256k1 import address_of, sign

CHAIN_ID = 2026
START_S = 1_700_000_000
BLOCK_TIME_S = 900
BATCH = 50
METERS = {1: 200, BATCH: 300}
"""Readings a transaction -> meters, each with one reading a block."""
GAS_LIMIT = {1: 250_000, BATCH: 8_000_000}
GAS_LIMIT_OF_A_BLOCK = 60_000_000
"""Twice the usual: the first readings of all meters, and those that close a day, fill many slots at once."""
BUILD_TIME_LIMIT_S = 600.0
WATT = 10**18
SLABS = (
    Slab(WATT // 100_000 * 296, 100_000),
    Slab(WATT // 100_000 * 556, 300_000),
    Slab(WATT // 100_000 * 916, 500_000),
    Slab(WATT // 100_000 * 1_061),
)
"""Of the El DApp paper: 2.96, 5.56, 9.16 and 10.61 WATT a kWh with steps at 100, 300 and 500 kWh."""
OWNER, OPERATOR, SUPPLIER = b"\xa1" * 20, b"\xa2" * 20, b"\xa3" * 20
METER = load_artifact("Meter")
_LENGTH = struct.Struct(">I")


def genesis_json(per_transaction: int) -> dict[str, Any]:
    """A chain of difficulty 1 with one supplier, its tariff, and the meters, with credit for years."""
    count = METERS[per_transaction]
    meters = [
        GenesisMeter(address_of(meter_key(index)), OWNER, SUPPLIER, credit_wei=10**6 * WATT, tariff=1)
        for index in range(count)
    ]
    tariff = GenesisTariff(SUPPLIER, "four slabs", TariffVersion(SLABS))
    alloc = genesis_alloc(OPERATOR, [SUPPLIER], meters=meters, tariffs=[tariff], time_s=START_S)
    for key in sender_keys(per_transaction):
        alloc["0x" + address_of(key).hex()] = {"balance": hex(10**6 * WATT)}
    return {
        "config": {"chainId": CHAIN_ID, "wattchain": {"blockRewardWei": "0"}},
        "difficulty": "0x1",
        "gasLimit": hex(GAS_LIMIT_OF_A_BLOCK),
        "timestamp": hex(START_S),
        "alloc": alloc,
    }


def genesis_of(per_transaction: int) -> Genesis:
    return parse_genesis(genesis_json(per_transaction))


def meter_key(index: int) -> bytes:
    return keccak256(b"benchmark meter %d" % index)


def sender_keys(per_transaction: int) -> list[bytes]:
    """A meter sends its own reading, a gateway that of fifty meters."""
    count = METERS[per_transaction]
    if per_transaction == 1:
        return [meter_key(index) for index in range(count)]
    return [keccak256(b"benchmark gateway %d" % index) for index in range(count // per_transaction)]


class Street:
    """The meters, their registers, and what they signed last."""

    def __init__(self, per_transaction: int) -> None:
        self._per_transaction = per_transaction
        self._keys = [meter_key(index) for index in range(METERS[per_transaction])]
        self._addresses = [address_of(key) for key in self._keys]
        self._registers_wh = [0] * len(self._keys)
        self._hashes = [bytes(32)] * len(self._keys)
        self._generator = random.Random(SEED)
        self._typed_data = reading_typed_data(CHAIN_ID)
        self._blocks = 0

    def next_block(self, time_s: int) -> list[Transaction]:
        """A reading of every meter, taken half a minute before the block or a little earlier."""
        readings = [self._read(index, time_s - 30 - index % 30) for index in range(len(self._keys))]
        transactions = []
        for number, key in enumerate(sender_keys(self._per_transaction)):
            if self._per_transaction == 1:
                data = METER.abi.encode_call("submit", [readings[number]])
            else:
                first = number * self._per_transaction
                data = METER.abi.encode_call("submitBatch", [readings[first : first + self._per_transaction]])
            gas_limit = GAS_LIMIT[self._per_transaction]
            unsigned = Transaction(
                DYNAMIC_FEE, CHAIN_ID, self._blocks, 10**9, 10**13, gas_limit, METER_ADDRESS, 0, data
            )
            transactions.append(sign_transaction(unsigned, key))
        self._blocks += 1
        return transactions

    def _read(self, index: int, time_s: int) -> tuple[tuple[object, ...], bytes, bytes]:
        used_wh = self._generator.randrange(20, 900)
        self._registers_wh[index] += used_wh
        reading = {
            "meter": self._addresses[index],
            "sequence": self._blocks + 1,
            "time": time_s,
            "importWh": self._registers_wh[index],
            "exportWh": 0,
            "powerW": 4 * used_wh,
            "flags": 0,
            "previousHash": self._hashes[index],
        }
        self._hashes[index] = self._typed_data.struct_hash(reading)
        r, vs = compact_signature(*sign(self._typed_data.hash(reading), self._keys[index]))
        return tuple(reading[name] for name, _ in READING_FIELDS), r, vs


def produce(folder: Path, per_transaction: int, blocks: int) -> Iterator[Block]:
    """Build, seal and import blocks, one after another."""
    clock = ManualClock(START_S)
    street = Street(per_transaction)
    with Ledger.open(folder, genesis_of(per_transaction), clock) as ledger:
        settings = BuilderSettings(COINBASE, build_time_limit_s=BUILD_TIME_LIMIT_S)
        builder = BlockBuilder(
            ledger.config, ledger.engine, clock, ledger.blocks, ledger.state, settings, candidates=ledger.candidates
        )
        for _ in range(blocks):
            clock.now_s += BLOCK_TIME_S
            transactions = street.next_block(clock.time_s())
            block = builder.build(InOrder(transactions))
            block = replace(block, header=seal_here(block.header))
            ledger.import_block(block)
            topic = METER.abi.event("ReadingAccepted").topic
            receipts = ledger.blocks.receipts(block.hash) or ()
            accepted = sum(log.topics[0] == topic for receipt in receipts for log in receipt.logs)
            if accepted != METERS[per_transaction]:
                raise RuntimeError(f"of {METERS[per_transaction]} readings {accepted} were accepted")
            yield block


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--per-transaction", type=int, choices=sorted(METERS), required=True)
    parser.add_argument("--blocks", type=int, required=True)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for block in produce(Path(folder), chosen.per_transaction, chosen.blocks):
            encoded = block.encode()
            sys.stdout.buffer.write(_LENGTH.pack(len(encoded)) + encoded)
            sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
