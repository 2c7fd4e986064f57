"""What every node demands of a header and a certificate of a qbft chain."""

from dataclasses import replace

import pytest

from chain.block import Block
from chain.config import ChainConfig
from chain.consensus.engine import engine_for
from chain.consensus.qbft.certificate import InvalidCertificate
from chain.consensus.qbft.engine import MIX_HASH, ProofOfAuthority, validators_of
from chain.consensus.qbft.signing import Domain
from chain.consensus.qbft.validator_contract import InvalidValidators
from chain.consensus.qbft.validators import ValidatorSet
from chain.header import Header
from chain.state import EmptyState
from primitives.errors import InvalidBlock
from tests.chain.ledger_world import CHAIN_ID
from tests.chain.qbft.authority_world import CONTRACT, SIGNERS, VALIDATORS, authority_genesis, certify, overridden

GENESIS_HASH = b"\x05" * 32
DOMAIN = Domain(CHAIN_ID, GENESIS_HASH)
CONFIG = authority_genesis().config
ENGINE = ProofOfAuthority(CONFIG, GENESIS_HASH)
VALIDATOR_SET = ValidatorSet.of(VALIDATORS)


@pytest.fixture
def header() -> Header:
    base = authority_genesis().header(bytes(32))
    return replace(base, number=1, coinbase=VALIDATORS[2], mix_hash=MIX_HASH, _hash=None)


def test_the_chains_rules_name_the_engine() -> None:
    engine = engine_for(CONFIG, GENESIS_HASH)
    assert isinstance(engine, ProofOfAuthority)
    assert (engine.is_final, engine.period_s, engine.mix_hash) == (True, CONFIG.block_time_s, MIX_HASH)
    assert MIX_HASH.isascii()
    assert not engine_for(ChainConfig(1), GENESIS_HASH).is_final


def test_the_constant_fields(header: Header) -> None:
    assert ENGINE.next_difficulty(header, 0, None) == header.difficulty == 1
    ENGINE.check_header(header, header, None)
    for wrong in ({"difficulty": 2}, {"difficulty": 0}, {"mix_hash": bytes(32)}, {"nonce": b"\x00" * 7 + b"\x01"}):
        with pytest.raises(InvalidBlock, match="qbft"):
            ENGINE.check_header(replace(header, **wrong, _hash=None), header, None)  # type: ignore[arg-type]


def test_only_a_validator_builds(header: Header) -> None:
    ENGINE.check_builder(header, VALIDATOR_SET)
    with pytest.raises(InvalidBlock, match="no validator"):
        ENGINE.check_builder(replace(header, coinbase=SIGNERS[4].address, _hash=None), VALIDATOR_SET)
    with pytest.raises(InvalidValidators):
        ENGINE.check_builder(header, None)


def test_the_certificate_is_of_this_block_chain_and_these_validators(header: Header) -> None:
    block = Block(header, ())
    good = certify(block, SIGNERS[:3], DOMAIN, round_=3)
    ENGINE.check_certificate(header, good, VALIDATOR_SET)
    wrong = {
        "none": b"",
        "no quorum": certify(block, SIGNERS[:2], DOMAIN),
        "a stranger": certify(block, SIGNERS[2:5], DOMAIN),
        "another chain": certify(block, SIGNERS[:3], Domain(CHAIN_ID, b"\x06" * 32)),
        "another block": certify(Block(replace(header, gas_used=1, _hash=None), ()), SIGNERS[:3], DOMAIN),
        "more behind it": good + b"\x00",
        "garbage": b"\xff" * 100,
        "large": bytes(10_000),
    }
    for certificate in wrong.values():
        with pytest.raises(InvalidCertificate):
            ENGINE.check_certificate(header, certificate, VALIDATOR_SET)
    with pytest.raises(InvalidCertificate):
        ENGINE.check_certificate(header, good, ValidatorSet.of(signer.address for signer in SIGNERS))
    with pytest.raises(InvalidValidators):
        ENGINE.check_certificate(header, good, None)


def test_an_override_comes_before_the_state() -> None:
    config = overridden(authority_genesis(), (5, VALIDATORS[:1])).config
    assert validators_of(config, 5, EmptyState()) == ValidatorSet.of(VALIDATORS[:1])
    for number in (4, 6):
        with pytest.raises(InvalidValidators):
            validators_of(config, number, EmptyState())
    assert config.validator_contract == CONTRACT
