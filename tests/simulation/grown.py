"""A qbft chain that is some age already: what the nodes of a world have when somebody new comes along."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

from chain.builder import BlockBuilder, BuilderSettings
from chain.consensus.qbft.certificate import CommitCertificate
from chain.consensus.qbft.messages import Commit
from chain.consensus.qbft.signing import Authenticator, Domain, KeySigner
from chain.consensus.qbft.validators import ValidatorSet
from chain.ledger import Ledger
from chain.store.database import DATABASE_FILE
from chain.transaction import DYNAMIC_FEE, Transaction, sign_transaction
from primitives.clock import ManualClock
from tests.chain.ledger_world import FixedOrder
from tests.simulation.chains import CHAIN_ID, KEYS, PAYER_KEYS, addresses, qbft_domain, qbft_genesis
from tests.simulation.virtual_time import START_S
from tests.simulation.witness import recover_once

BLOCKS = 60
PAYMENTS_A_BLOCK = 4
"""Each to somebody new, so that the state has several hundred accounts."""
RICH = len(PAYER_KEYS) - 1
"""Whoever makes these payments makes no others."""


@dataclass(frozen=True, slots=True)
class GrownChain:
    """The ledger's file, and what is known of its content."""

    database: bytes
    hashes: tuple[bytes, ...]
    """Of the blocks from 1 on."""
    receivers: tuple[bytes, ...]
    """Who has got money."""


@lru_cache
def grown_chain(count: int) -> GrownChain:
    """The chain of so many validators, the same each time."""
    validators, domain = addresses(count), qbft_domain(count)
    random = Random("grown")
    clock = ManualClock(START_S - BLOCKS - 10)
    receivers: list[bytes] = []
    hashes: list[bytes] = []
    with TemporaryDirectory() as directory:
        with Ledger.open(Path(directory), qbft_genesis(count), clock) as ledger:
            for number in range(1, BLOCKS + 1):
                clock.advance_s(1)
                proposer = validators[number % len(validators)]
                builder = BlockBuilder(
                    ledger.config, ledger.engine, clock, ledger.blocks, ledger.state, BuilderSettings(proposer)
                )
                new = [random.randbytes(20) for _ in range(PAYMENTS_A_BLOCK)]
                payments = [_payment(len(receivers) + position, to) for position, to in enumerate(new)]
                block = builder.build(FixedOrder(payments))
                ledger.import_block(block, _certificate(domain, number, block.hash, validators))
                receivers += new
                hashes.append(block.hash)
        database = (Path(directory) / DATABASE_FILE).read_bytes()
    return GrownChain(database, tuple(hashes), tuple(receivers))


def _payment(nonce: int, receiver: bytes) -> Transaction:
    unsigned = Transaction(DYNAMIC_FEE, CHAIN_ID, nonce, 10**9, 10**11, 21_000, receiver, 1, b"")
    return sign_transaction(unsigned, PAYER_KEYS[RICH])


def _certificate(domain: Domain, number: int, block_hash: bytes, validators: tuple[bytes, ...]) -> bytes:
    authenticator = Authenticator(domain, recover_once)
    quorum = ValidatorSet.of(validators).quorum
    seals = {
        address: authenticator.signed(Commit(number, 0, block_hash), KeySigner(key)).signature
        for address, key in zip(validators[:quorum], KEYS, strict=False)
    }
    return CommitCertificate.of(0, seals).encode()
