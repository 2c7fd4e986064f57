"""Genesis files in geth's format: what is read, what is refused, and that one file is one chain."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain.account import EMPTY_CODE_HASH, Account
from chain.config import ASERT, EIP1559, FIXED, QBFT, ZERO
from chain.consensus.qbft.validators import ValidatorSet
from chain.genesis import INITIAL_BASE_FEE, load_genesis, parse_genesis
from primitives.errors import InvalidGenesis
from primitives.keccak import keccak256
from tests.chain.qbft.authority_world import (
    CONTRACT,
    PERIOD_S,
    VALIDATORS,
    authority_document,
    authority_genesis,
    overridden,
)

EL_DAPP = Path(__file__).resolve().parent.parent / "fixtures" / "el_dapp_genesis.json"


def document(**changes: Any) -> dict[str, Any]:
    base: dict[str, Any] = {"config": {"chainId": 5}, "difficulty": "0x10", "gasLimit": "0x1c9c380", "alloc": {}}
    return {**base, **changes}


def test_the_el_dapp_file_is_read_as_it_is_printed() -> None:
    genesis = load_genesis(EL_DAPP)
    assert (genesis.config.chain_id, genesis.difficulty, genesis.gas_limit) == (1947, 1, 90_000)
    assert (genesis.config.difficulty_rule, genesis.config.fee_rule) == (FIXED, EIP1559)
    assert genesis.base_fee_per_gas == INITIAL_BASE_FEE
    address = bytes.fromhex("ef94ae58179a476f22151a63d51df510df4a1385")
    assert genesis.state.accounts[address] == Account(0, 10**24, EMPTY_CODE_HASH)
    assert len(genesis.state.accounts) == 3


def test_code_storage_and_nonce_of_an_account() -> None:
    account = {"balance": "0x1", "nonce": "0x2", "code": "0x6001", "storage": {"0x01": "0xff", "02": "0x00"}}
    genesis = parse_genesis(document(alloc={"0x" + "11" * 20: account}))
    assert genesis.state.accounts[b"\x11" * 20] == Account(2, 1, keccak256(b"\x60\x01"))
    assert genesis.state.storage[b"\x11" * 20] == {1: 255}
    assert genesis.state.codes == {keccak256(b"\x60\x01"): b"\x60\x01"}


def test_own_settings_of_a_chain() -> None:
    own = {"difficulty": "asert", "blockTimeSeconds": 4, "blockRewardWei": "0", "fees": "zero"}
    genesis = parse_genesis(document(config={"chainId": 5, "wattchain": own}))
    config = genesis.config
    assert (config.difficulty_rule, config.block_time_s, config.block_reward) == (ASERT, 4, 0)
    assert (config.fee_rule, genesis.base_fee_per_gas) == (ZERO, 0)


def test_the_header_depends_on_every_field() -> None:
    root = b"\x07" * 32
    variants = [
        document(),
        document(timestamp="0x1"),
        document(extraData="0x61"),
        document(nonce="0x42"),
        document(coinbase="0x" + "22" * 20),
        document(mixHash="0x" + "33" * 32),
        document(difficulty="0x11"),
        document(gasLimit="0x1c9c381"),
        document(baseFeePerGas="0x7"),
    ]
    hashes = {parse_genesis(variant).header(root).hash for variant in variants}
    assert len(hashes) == len(variants)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"config": {}}, "chainId"),
        ({"config": None}, "config"),
        ({"config": {"chainId": 0}}, "chainId"),
        ({"config": {"chainId": 5, "londonBlock": 7}}, "londonBlock is 7"),
        ({"config": {"chainId": 5, "clique": {"period": 5}}}, "consensus"),
        ({"config": {"chainId": 5, "surprise": 1}}, "surprise"),
        ({"config": {"chainId": 5, "pragueTime": 0}}, "pragueTime is neither"),
        ({"config": {"chainId": 5, "surpriseBlock": 0}}, "surpriseBlock is neither"),
        ({"config": {"chainId": 5, "londonBlock": True}}, "londonBlock must be"),
        ({"config": {"chainId": 5, "wattchain": {"blockRewardWei": str(2**128)}}}, "blockRewardWei"),
        ({"config": {"chainId": 5, "wattchain": {"fees": "free"}}}, "fees"),
        ({"config": {"chainId": 5, "wattchain": {"blocktime": 1}}}, "blocktime"),
        ({"config": {"chainId": 5, "wattchain": {"fees": "zero"}}, "baseFeePerGas": "7"}, "baseFeePerGas"),
        ({"difficulty": "0"}, "difficulty"),
        ({"difficulty": "-1"}, "difficulty"),
        ({"difficulty": "1_0"}, "difficulty"),
        ({"difficulty": True}, "difficulty"),
        ({"gasLimit": "4999"}, "gasLimit"),
        ({"gasLimit": "0x10000000000000000"}, "gasLimit"),
        ({"extraData": "0x" + "00" * 33}, "extraData"),
        ({"mixHash": "0x00"}, "mixHash"),
        ({"number": "0x1"}, "number"),
        ({"alloc": []}, "alloc"),
        ({"alloc": {"0x11": {}}}, "20 bytes"),
        ({"alloc": {"11" * 20: {"balance": "1"}, "0x" + "11" * 20: {"balance": "1"}}}, "twice"),
        ({"alloc": {"11" * 20: {"balance": hex(2**256)}}}, "256 bits"),
        ({"alloc": {"11" * 20: {"balance": hex(2**255)}, "22" * 20: {"balance": "1"}}}, "together"),
        ({"alloc": {"11" * 20: {"storage": {"0x1": "0x" + "f" * 65}}}}, "32 bytes"),
        ({"alloc": {"11" * 20: {"storage": {"0x1": "0x1"}}}}, "storage needs an account"),
        ({"alloc": {"11" * 20: {"money": "1"}}}, "may hold"),
        ({"unknown": 1}, "unknown"),
        ({"config": {"chainId": 5, "qbft": {}}}, "stand in config.wattchain"),
        ({"config": {"chainId": 5, "wattchain": {"emptyBlockPeriodSeconds": 9}}}, "is a setting of qbft chains"),
        ({"config": {"chainId": 5, "wattchain": {"validatorContract": "0x00"}}}, "is a setting of qbft chains"),
    ],
)
def test_a_wrong_file_is_refused_with_the_reason(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(InvalidGenesis, match=reason):
        parse_genesis(document(**changes))


def test_a_qbft_chain() -> None:
    genesis = parse_genesis(authority_document())
    config = genesis.config
    assert (config.consensus, config.validator_contract, config.block_time_s) == (QBFT, CONTRACT, PERIOD_S)
    assert (config.block_reward, config.empty_block_period_s, config.request_timeout_ms) == (0, 60, 2_000)
    assert (genesis.difficulty, config.validator_overrides) == (1, ())
    assert genesis.validators() == ValidatorSet.of(VALIDATORS)
    own = {"emptyBlockPeriodSeconds": 7, "requestTimeoutMilliseconds": "0x3e8", "blockRewardWei": "5"}
    config = parse_genesis(authority_document(**own)).config
    assert (config.block_reward, config.empty_block_period_s, config.request_timeout_ms) == (5, 7, 1_000)


@pytest.mark.parametrize(
    ("own", "reason"),
    [
        ({"validatorContract": None}, "validatorContract must be an address"),
        ({"validatorContract": 4099}, "validatorContract must be an address"),
        ({"validatorContract": "0x" + "10 " * 20}, "validatorContract must be an address"),
        ({"validatorContract": "0x" + "\u0661" * 40}, "validatorContract must be an address"),
        ({"validatorContract": "0x" + "11" * 19}, "validatorContract must be an address"),
        ({"validatorContract": "0x" + "11" * 20}, "names 0 validators"),
        ({"difficulty": "asert"}, "difficulty is for proof of work"),
        ({"blockTimeSeconds": 0}, "blockTimeSeconds"),
        ({"emptyBlockPeriodSeconds": 0}, "emptyBlockPeriodSeconds must be from 1"),
        ({"emptyBlockPeriodSeconds": 86_401}, "emptyBlockPeriodSeconds must be from 1"),
        ({"requestTimeoutMilliseconds": 99}, "requestTimeoutMilliseconds must be from 100"),
        ({"requestTimeoutMilliseconds": 60_001}, "requestTimeoutMilliseconds must be from 100"),
        ({"validatorOverrides": []}, "unknown setting"),
        ({"consensus": "ibft"}, "must be one of pow, qbft"),
    ],
)
def test_wrong_settings_of_a_qbft_chain(own: dict[str, Any], reason: str) -> None:
    with pytest.raises(InvalidGenesis, match=reason):
        parse_genesis(authority_document(**own))


@pytest.mark.parametrize("validators", [[], [bytes([index]) * 20 for index in range(1, 130)], [b"\x01" * 20] * 2])
def test_validators_that_nobody_could_use(validators: list[bytes]) -> None:
    with pytest.raises(InvalidGenesis, match=r"in alloc: the validator contract"):
        parse_genesis(authority_document(validators))


def test_the_difficulty_of_a_qbft_chain_is_one() -> None:
    assert parse_genesis({**authority_document(), "difficulty": "0x1"}).difficulty == 1
    with pytest.raises(InvalidGenesis, match="difficulty must be 1"):
        parse_genesis({**authority_document(), "difficulty": "0x2"})


def test_an_override_is_no_part_of_the_chains_identity() -> None:
    plain = authority_genesis()
    rescued = overridden(plain, (7, VALIDATORS[:1]), (9, VALIDATORS[1:]))
    assert rescued.header(bytes(32)).hash == plain.header(bytes(32)).hash
    assert rescued.state_digest == plain.state_digest
    assert rescued.config.override_at(9) == ValidatorSet.of(VALIDATORS[1:])
    assert rescued.config.override_at(8) is None


def test_a_key_named_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "genesis.json"
    path.write_text('{"config": {"chainId": 5}, "gasLimit": "0x1c9c380", "gasLimit": "0x1c9c381"}')
    with pytest.raises(InvalidGenesis, match="twice"):
        load_genesis(path)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
NAMES = st.sampled_from(["config", "alloc", "difficulty", "gasLimit", "nonce", "extraData", "timestamp", "mixHash"])


@given(st.dictionaries(NAMES, JSON))
def test_garbage_is_refused_or_read_never_a_crash(changes: dict[str, Any]) -> None:
    try:
        genesis = parse_genesis(json.loads(json.dumps(document(**changes))))
    except InvalidGenesis:
        return
    assert genesis.header(bytes(32)).number == 0


def test_deep_nesting_is_refused_whatever_the_recursion_limit_is(tmp_path: Path) -> None:
    path = tmp_path / "genesis.json"
    path.write_bytes(b"[" * 200_000)
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(100_000)  # as libraries do
    try:
        with pytest.raises(InvalidGenesis, match="is not valid JSON: JSON nested more than 64 deep"):
            load_genesis(path)
    finally:
        sys.setrecursionlimit(limit)
