"""A qbft chain for tests: real ledgers, keys of its validators, blocks by the real builder, certificates by real seals.

Its validator contract stands in the genesis by its storage alone, unless a test brings code.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from chain.block import Block
from chain.builder import BlockBuilder, BuilderSettings
from chain.config import ValidatorOverride
from chain.consensus.qbft.certificate import CommitCertificate
from chain.consensus.qbft.engine import domain_of
from chain.consensus.qbft.messages import Commit
from chain.consensus.qbft.signing import Authenticator, Domain, KeySigner
from chain.consensus.qbft.validator_contract import FIRST_ELEMENT_SLOT, LENGTH_SLOT
from chain.consensus.qbft.validators import ValidatorSet
from chain.genesis import Genesis, parse_genesis
from chain.ledger import Ledger
from chain.transaction import Transaction
from primitives.clock import ManualClock
from tests.chain.ledger_world import ADDRESSES, CHAIN_ID, FUNDS_WEI, KEYS, START_S, FixedOrder, signed

CONTRACT = bytes(18) + b"\x10\x03"
PERIOD_S = 2
SIGNERS = sorted((KeySigner(key) for key in KEYS), key=lambda signer: signer.address)
"""All accounts of the world have keys; the first four in the order of addresses are the validators of block 1."""
VALIDATORS = [signer.address for signer in SIGNERS[:4]]


def validator_storage(validators: Sequence[bytes]) -> dict[int, int]:
    """The contract's slots with this list, in this order."""
    slots = {FIRST_ELEMENT_SLOT + index: int.from_bytes(one, "big") for index, one in enumerate(validators)}
    return {LENGTH_SLOT: len(validators)} | slots


def authority_document(
    validators: Sequence[bytes] = VALIDATORS, code: bytes = b"\x00", **own_settings: object
) -> dict[str, Any]:
    """A genesis file; eight funded accounts, no fees."""
    own = {
        "consensus": "qbft",
        "validatorContract": "0x" + CONTRACT.hex(),
        "blockTimeSeconds": PERIOD_S,
        "fees": "zero",
    }
    storage = {hex(slot): hex(value) for slot, value in validator_storage(validators).items()}
    contract = {"nonce": "0x1", "code": "0x" + code.hex(), "storage": storage}
    funds = {"0x" + address.hex(): {"balance": hex(FUNDS_WEI)} for address in ADDRESSES}
    return {
        "config": {"chainId": CHAIN_ID, "wattchain": {**own, **own_settings}},
        "gasLimit": "0x1c9c380",
        "timestamp": hex(START_S),
        "alloc": {"0x" + CONTRACT.hex(): contract, **funds},
    }


def authority_genesis(
    validators: Sequence[bytes] = VALIDATORS, code: bytes = b"\x00", **own_settings: object
) -> Genesis:
    return parse_genesis(authority_document(validators, code, **own_settings))


def overridden(genesis: Genesis, *overrides: tuple[int, Iterable[bytes]]) -> Genesis:
    """With an operator's overrides: (block number, validators)."""
    listed = tuple(ValidatorOverride(number, ValidatorSet.of(validators)) for number, validators in overrides)
    return replace(genesis, config=replace(genesis.config, validator_overrides=listed))


@dataclass
class AuthorityWorld:
    """One ledger of the chain, and who makes blocks on it."""

    ledger: Ledger
    clock: ManualClock
    nonces: dict[bytes, int] = field(default_factory=dict)

    @classmethod
    def open(
        cls, folder: Path, genesis: Genesis | None = None, clock: ManualClock | None = None, **settings: Any
    ) -> "AuthorityWorld":
        clock = clock or ManualClock(START_S)
        return cls(Ledger.open(folder, genesis or authority_genesis(), clock, **settings), clock)

    def build(
        self,
        transactions: Sequence[Transaction] = (),
        builder: bytes | None = None,
        *,
        remembers: bool = False,
        after_s: int = PERIOD_S,
    ) -> Block:
        """A block on the head, by its first validator unless another builder is given, when so much time has passed."""
        ledger = self.ledger
        self.clock.now_s = max(self.clock.now_s, ledger.head().timestamp_s) + after_s
        coinbase = builder or ledger.validators_of_next().addresses[0]
        candidates = ledger.candidates if remembers else None
        made = BlockBuilder(
            ledger.config, ledger.engine, self.clock, ledger.blocks, ledger.state, BuilderSettings(coinbase),
            candidates=candidates,
        )  # fmt: skip
        return made.build(FixedOrder(transactions))

    @property
    def domain(self) -> Domain:
        """What its validators' signatures are made for."""
        return domain_of(self.ledger.config, self.ledger.genesis_hash)

    def certificate(self, block: Block, seals: int | None = None, round_: int = 0) -> bytes:
        """By as many of the validators as are needed, or as are wanted."""
        validators = self.ledger.validators_of_next()
        able = [signer for signer in SIGNERS if signer.address in validators]
        return certify(block, able[: validators.quorum if seals is None else seals], self.domain, round_)

    def grow(self, count: int = 1, transactions: Sequence[Transaction] = ()) -> list[tuple[Block, bytes]]:
        """Build and import certified blocks; the transactions are in the first."""
        made = []
        for _ in range(count):
            block = self.build(transactions)
            transactions = ()
            made.append((block, self.certificate(block)))
            self.ledger.import_block(*made[-1])
        return made

    def transfer(self, sender: int = 0, recipient: int = 7, value: int = 1, **changes: object) -> Transaction:
        """The sender's next transaction."""
        nonce = self.nonces.get(ADDRESSES[sender], 0)
        self.nonces[ADDRESSES[sender]] = nonce + 1
        return signed(KEYS[sender], nonce=nonce, to=ADDRESSES[recipient], value=value, **changes)


def certify(block: Block, signers: Iterable[KeySigner], domain: Domain, round_: int = 0) -> bytes:
    """The certificate that these signers' seals make."""
    authenticator = Authenticator(domain)
    commit = Commit(block.number, round_, block.hash)
    seals = {signer.address: authenticator.signed(commit, signer).signature for signer in signers}
    return CommitCertificate.of(round_, seals).encode()
