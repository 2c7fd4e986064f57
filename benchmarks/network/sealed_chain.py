"""A long qbft chain, made at once by one process that has the keys of all its validators.

Blocks are built, sealed by a quorum and imported as a node would, only without a network and without waiting: a block's
time is a second after its parent's. What was made is kept in a folder that is named after everything that it depends
on, so that it is made once.
"""

import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

from benchmarks.network.transfers import FUNDS_WEI, sender_addresses, signed_transfers
from benchmarks.transfer_blocks import InOrder
from chain.block import Block, decode_block
from chain.builder import BlockBuilder, BuilderSettings
from chain.config import QBFT
from chain.consensus.qbft.certificate import CommitCertificate
from chain.consensus.qbft.engine import domain_of
from chain.consensus.qbft.messages import Commit
from chain.consensus.qbft.signing import Domain, KeySigner
from chain.consensus.qbft.validators import ValidatorSet
from chain.genesis import load_genesis
from chain.ledger import Ledger
from node.bench.run import Progress
from node.new_network import NetworkPlan, parse_plan, write_genesis
from node.settings import GENESIS_FILE
from primitives.clock import ManualClock
from primitives.keccak import keccak256

CHAIN_ID = 2027
START_S = 1_700_000_000
BLOCK_TIME_S = 1
LEDGER_FILE = "chain.sqlite"
SHOW_EVERY_BLOCKS = 50
FORM = 1
"""Raised when chains of the same parameters are made otherwise, so that older ones are not taken."""


@dataclass(frozen=True, slots=True)
class ChainPlan:
    """What the chain is like."""

    blocks: int
    transfers: int
    """In a block."""
    validators: int
    senders: int
    recipients: int

    @property
    def name(self) -> str:
        return "-".join([f"qbft-{FORM}", *(f"{value}{name}" for name, value in asdict(self).items())])


def chain_folder(plan: ChainPlan, cache: Path, progress: Progress) -> Path:
    """A data directory with the chain and its genesis, in the cache; made where it is not there yet."""
    folder = cache / plan.name
    if not (folder / LEDGER_FILE).exists():
        unfinished = cache / f"{plan.name}.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        make_chain(plan, unfinished, progress)
        unfinished.replace(folder)
    return folder


def make_chain(plan: ChainPlan, folder: Path, progress: Progress) -> None:
    """In a new folder. Raises UserError."""
    signers = [KeySigner(keccak256(b"benchmark validator %d" % index)) for index in range(plan.validators)]
    document, _ = parse_plan(
        NetworkPlan(
            operator=signers[0].address,
            chain_id=CHAIN_ID,
            funds=dict.fromkeys(sender_addresses(plan.senders), FUNDS_WEI),
            block_time_s=BLOCK_TIME_S,
            timestamp_s=START_S,
            consensus=QBFT,
            validators=tuple(signer.address for signer in signers),
        )
    )
    genesis = write_genesis(folder, document)
    recipients = [keccak256(b"benchmark recipient %d" % index)[12:] for index in range(plan.recipients)]
    transfers = signed_transfers(CHAIN_ID, plan.senders, plan.blocks * plan.transfers, recipients)
    clock = ManualClock(START_S)
    with Ledger.open(folder, genesis, clock) as ledger:
        seal = Sealer(domain_of(ledger.config, ledger.genesis_hash), signers)
        for number in range(1, plan.blocks + 1):
            clock.now_s += BLOCK_TIME_S
            builder = BlockBuilder(
                *(ledger.config, ledger.engine, clock, ledger.blocks, ledger.state),
                BuilderSettings(signers[number % len(signers)].address),
                candidates=ledger.candidates,
            )
            block = builder.build(InOrder(list(islice(transfers, plan.transfers))))
            ledger.import_block(block, seal.certificate(block))
            if number % SHOW_EVERY_BLOCKS == 0:
                progress("making the chain", number, plan.blocks)


class Sealer:
    """A quorum of validators that seals whatever it is given."""

    def __init__(self, domain: Domain, signers: Sequence[KeySigner]) -> None:
        quorum = ValidatorSet.of(signer.address for signer in signers).quorum
        self._domain = domain
        self._signers = signers[:quorum]

    def certificate(self, block: Block) -> bytes:
        digest = self._domain.digest(Commit(block.number, 0, block.hash))
        seals = {signer.address: signer.sign(digest) for signer in self._signers}
        return CommitCertificate.of(0, seals).encode()


def read_sealed(folder: Path) -> Iterator[tuple[bytes, bytes]]:
    """(encoded block, certificate) from block 1 on."""
    genesis = load_genesis(folder / GENESIS_FILE)
    with Ledger.open(folder, genesis, ManualClock(START_S)) as ledger, ledger.view() as chain:
        for header in chain.headers(1, chain.head().number):
            block = chain.block_by_hash(header.hash)
            assert block is not None
            yield block.encode(), chain.certificate(header.hash)


@dataclass(frozen=True, slots=True)
class PlainImport:
    """One import without a network."""

    blocks_per_s: float
    cpu_s: float


def import_plainly(
    sealed: Sequence[tuple[bytes, bytes]], folder: Path, genesis: Path, progress: Progress
) -> PlainImport:
    """Import into a new ledger, from bytes to disk, and nothing else."""
    folder.mkdir()
    clock = ManualClock(START_S + BLOCK_TIME_S * len(sealed))
    with Ledger.open(folder, load_genesis(genesis), clock) as ledger:
        began_s, began_cpu_s = time.perf_counter(), time.process_time()
        for number, (encoded, certificate) in enumerate(sealed, start=1):
            ledger.import_block(decode_block(encoded), certificate)
            if number % SHOW_EVERY_BLOCKS == 0:
                progress("importing without a network", number, len(sealed))
        spent_s, cpu_s = time.perf_counter() - began_s, time.process_time() - began_cpu_s
    shutil.rmtree(folder)
    return PlainImport(len(sealed) / spent_s, cpu_s)
