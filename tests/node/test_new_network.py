"""Making a data directory: the genesis of a new network and a given one, and that neither replaces another."""

import json
from pathlib import Path

import pytest

from chain.config import ASERT, DEVELOPMENT, EIP1559, FIXED, PRODUCTION, ZERO
from chain.genesis import parse_genesis
from contracts.addresses import EXHAUSTION_ADDRESS
from contracts.genesis import genesis_alloc
from contracts.market import MarketRules
from contracts.tariff_format import GenesisTariff, Slab, TariffVersion
from node.new_network import (
    NetworkPlan,
    copy_genesis,
    describe,
    genesis_document,
    has_genesis,
    random_chain_id,
    write_genesis,
)
from node.settings import GENESIS_FILE
from primitives.errors import UserError

OPERATOR = b"\x11" * 20
SUPPLIER = b"\x22" * 20
EL_DAPP_GENESIS = Path(__file__).parents[1] / "fixtures" / "el_dapp_genesis.json"


def test_a_plan_becomes_the_network_that_it_says() -> None:
    plan = NetworkPlan(OPERATOR, 77, {SUPPLIER: 5}, {OPERATOR: 9, SUPPLIER: 10}, timestamp_s=1_700_000_000)
    genesis = parse_genesis(genesis_document(plan))
    config = genesis.config
    assert (config.chain_id, config.difficulty_rule, config.fee_rule) == (77, ASERT, ZERO)
    assert (config.network, config.block_reward) == (PRODUCTION, 0)
    assert (genesis.timestamp_s, genesis.difficulty) == (1_700_000_000, plan.difficulty)
    accounts = genesis.state.accounts
    contracts = {bytes.fromhex(address[2:]) for address in genesis_alloc(OPERATOR, [SUPPLIER], {SUPPLIER: 5})}
    assert set(accounts) == contracts | {OPERATOR, SUPPLIER}
    assert accounts[OPERATOR] is not None
    assert accounts[OPERATOR].balance == 9


def test_every_choice_of_a_plan_arrives() -> None:
    plan = NetworkPlan(
        OPERATOR,
        1,
        difficulty=3,
        difficulty_rule=FIXED,
        block_time_s=7,
        block_reward=8,
        fee_rule=EIP1559,
        network=DEVELOPMENT,
    )
    genesis = parse_genesis(genesis_document(plan))
    config = genesis.config
    assert (genesis.difficulty, config.difficulty_rule, config.block_time_s) == (3, FIXED, 7)
    assert (config.block_reward, config.fee_rule, config.network) == (8, EIP1559, DEVELOPMENT)
    assert genesis.base_fee_per_gas == 10**9


def test_tariffs_and_rules_of_the_market_arrive() -> None:
    rules = MarketRules(delivery_s=7_200, grid_controller=OPERATOR)
    tariffs = (GenesisTariff(SUPPLIER, "two steps", TariffVersion((Slab(3, 1_000), Slab(5)))),)
    plan = NetworkPlan(OPERATOR, 1, {SUPPLIER: 9}, tariffs=tariffs, market_rules=rules, timestamp_s=5)
    # Its own tariff stands instead of the single price.
    expected = genesis_alloc(OPERATOR, [SUPPLIER], tariffs=tariffs, market_rules=rules, time_s=5)
    assert genesis_document(plan)["alloc"] == expected


def test_funding_a_contract_keeps_its_code() -> None:
    document = genesis_document(NetworkPlan(OPERATOR, 1, funds={EXHAUSTION_ADDRESS: 5}))
    account = parse_genesis(document).state.accounts[EXHAUSTION_ADDRESS]
    assert account is not None
    assert (account.balance, account.nonce) == (5, 1)


def test_chain_ids_differ_and_fit_in_every_wallet() -> None:
    ids = {random_chain_id() for _ in range(50)}
    assert len(ids) > 45
    assert all(0 < chain_id < 2**53 for chain_id in ids)


def test_a_genesis_is_written_once(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    assert not has_genesis(folder)
    document = genesis_document(NetworkPlan(OPERATOR, 1))
    written = write_genesis(folder, document)
    assert has_genesis(folder)
    assert write_genesis(folder, document) == written
    text = (folder / GENESIS_FILE).read_text()
    (folder / GENESIS_FILE).write_text(json.dumps(document))
    assert write_genesis(folder, document) == written
    assert (folder / GENESIS_FILE).read_text() == text
    with pytest.raises(UserError, match="already belongs to another network"):
        write_genesis(folder, genesis_document(NetworkPlan(OPERATOR, 2)))
    assert (folder / GENESIS_FILE).read_text() == text
    assert [path.name for path in folder.iterdir()] == [GENESIS_FILE]


def test_a_given_genesis_is_taken_over_as_it_is(tmp_path: Path) -> None:
    genesis = copy_genesis(tmp_path, EL_DAPP_GENESIS)
    assert json.loads((tmp_path / GENESIS_FILE).read_text()) == json.loads(EL_DAPP_GENESIS.read_text())
    facts = describe(genesis, b"\x01" * 32)
    assert facts["chain_id"] == 1947
    assert facts["genesis_hash"] == "0x" + "01" * 32
    assert len(facts["accounts"]) == 3  # type: ignore[arg-type]


def test_a_genesis_that_cannot_be(tmp_path: Path) -> None:
    source = tmp_path / "given.json"
    for content, sentence in (
        (b"garbage", "cannot be used: .* is not valid JSON"),
        (b"\xff\xfe", "is not valid JSON"),
        (b"[]", "is a JSON object"),
        (b'{"config": {"chainId": 0}}', "cannot be used"),
        (b"[" * 5_000, "is not valid JSON"),
    ):
        source.write_bytes(content)
        with pytest.raises(UserError, match=sentence):
            copy_genesis(tmp_path / "node", source)
    with pytest.raises(UserError, match="cannot be read: No such file"):
        copy_genesis(tmp_path / "node", tmp_path / "absent.json")
    with pytest.raises(UserError, match="The network cannot be made like this"):
        write_genesis(tmp_path / "node", genesis_document(NetworkPlan(OPERATOR, 1, difficulty=0)))
    assert not (tmp_path / "node").exists()


def test_folders_that_cannot_be(tmp_path: Path) -> None:
    document = genesis_document(NetworkPlan(OPERATOR, 1))
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "node"):
        with pytest.raises(UserError, match=r"The folder .* cannot be made"):
            write_genesis(folder, document)
    (tmp_path / GENESIS_FILE).mkdir()
    with pytest.raises(UserError, match="cannot be read: Is a directory"):
        write_genesis(tmp_path, document)
