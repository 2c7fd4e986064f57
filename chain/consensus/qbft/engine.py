"""The engine of chains whose genesis says `qbft`: what is fixed in every header, who may build, and which seals count.

The machine that brings a block about is machine.py; what stands here is what everybody checks who takes a block in,
validator or not. Difficulty is 1, mix hash and nonce are constants, as with Besu; the seals are beside the header.
"""

from chain.account import StateReader
from chain.config import ChainConfig
from chain.consensus.qbft.certificate import check_certificate, decode_certificate
from chain.consensus.qbft.signing import Domain, Recover, recover_signer
from chain.consensus.qbft.validator_contract import InvalidValidators, read_validators
from chain.consensus.qbft.validators import ValidatorSet
from chain.header import Header
from primitives.errors import InvalidBlock

DIFFICULTY = 1
MIX_HASH = bytes.fromhex("63746963616c2062797a616e74696e65206661756c7420746f6c6572616e6365")
"""Besu's constant (the end of "Istanbul practical byzantine fault tolerance"), by which tools know such a block."""
NONCE = bytes(8)


class ProofOfAuthority:
    """The engine (chain.consensus.engine.Engine) of a qbft chain."""

    is_final = True
    mix_hash = MIX_HASH

    def __init__(self, config: ChainConfig, genesis_hash: bytes, recover: Recover = recover_signer) -> None:
        self.period_s = config.block_time_s
        self._config = config
        self._domain = domain_of(config, genesis_hash)
        self._recover = recover

    def next_difficulty(self, parent: Header, timestamp_s: int, anchor: Header | None) -> int:
        return DIFFICULTY

    def check_header(self, header: Header, parent: Header, anchor: Header | None) -> None:
        """Raises InvalidBlock where a constant field is not what it must be."""
        if header.difficulty != DIFFICULTY:
            raise InvalidBlock(f"the block's difficulty is {header.difficulty}; with qbft it is {DIFFICULTY}")
        if header.mix_hash != MIX_HASH or header.nonce != NONCE:
            raise InvalidBlock("mix hash and nonce of the block are not those of qbft")

    def validators_of(self, number: int, parent_state: StateReader) -> ValidatorSet:
        """Raises InvalidValidators where the state after the block before names none that can be used."""
        return validators_of(self._config, number, parent_state)

    def check_builder(self, header: Header, validators: ValidatorSet | None) -> None:
        """Raises InvalidBlock unless the coinbase, who built the block, is a validator."""
        if validators is None:
            raise InvalidValidators(f"nobody may build block {header.number}: the list of validators cannot be used")
        if header.coinbase not in validators:
            raise InvalidBlock(f"block {header.number} names 0x{header.coinbase.hex()} as its builder: no validator")

    def check_certificate(self, header: Header, certificate: bytes, validators: ValidatorSet | None) -> None:
        """Raises InvalidCertificate unless a quorum of the validators sealed the block."""
        if validators is None:
            raise InvalidValidators(f"nobody may seal block {header.number}: the list of validators cannot be used")
        seals = decode_certificate(certificate)
        check_certificate(seals, header.number, header.hash, validators, self._domain, self._recover)


def domain_of(config: ChainConfig, genesis_hash: bytes) -> Domain:
    """What signatures of this chain's consensus are made for."""
    overrides = tuple((one.block_number, one.validators) for one in config.validator_overrides)
    return Domain(config.chain_id, genesis_hash, overrides)


def validators_of(config: ChainConfig, number: int, parent_state: StateReader) -> ValidatorSet:
    """Who may vote on block `number`, by an operator's setting or, without one, by the state after the block before.

    Raises InvalidValidators where that state names none that can be used.
    """
    return config.override_at(number) or read_validators(parent_state, config.validator_contract)
