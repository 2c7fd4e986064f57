"""The contracts in the genesis state: the same storage as by constructor and transactions, and on another chain too."""

from dataclasses import replace

import pytest

from chain.genesis import parse_genesis
from contracts.addresses import (
    AUCTION_ADDRESS,
    BILLING_ADDRESS,
    CALIBRATIONS_ADDRESS,
    EXHAUSTION_ADDRESS,
    MARKET_ADDRESS,
    METER_ADDRESS,
    PAYMENT_CHANNEL_ADDRESS,
    POLICY_ADDRESS,
    REGISTRY_ADDRESS,
    TARIFFS_ADDRESS,
    VALIDATORS_ADDRESS,
)
from contracts.binding import load_artifact
from contracts.genesis import MAX_HELD_WEI, MAX_LOW_CREDIT_WEI, MAX_RATE_WEI_PER_WH, GenesisMeter, genesis_alloc
from contracts.market import MarketRules, market_storage
from contracts.reading_format import MAX_REGISTER_WH, MeterStatus, compact_signature, reading_typed_data
from contracts.roles import Role
from contracts.tariff_format import TariffVersion
from primitives.errors import InvalidGenesis
from primitives.keccak import keccak256
from primitives.secp256k1 import sign
from tests.contracts.council import MAX_VALIDATORS, VALIDATORS, Council, people
from tests.contracts.ledgers import CHAIN_ID, GENESIS_TIME_S, make_ledger
from tests.contracts.neighbourhood import (
    EXHAUSTION,
    METER,
    OPERATOR,
    OWNER,
    PAYER,
    POINT_OF_SUPPLY,
    REGISTRY,
    REGULATOR,
    RIVAL,
    STRANGER,
    SUPPLIER,
    TARIFFS,
    WATT,
    Device,
    Neighbourhood,
    consent,
    events,
    key_of,
    only,
    reason,
)
from vm.addresses import create_address

RICH = {"0x" + person.hex(): {"balance": hex(10**30)} for person in (OPERATOR, SUPPLIER, PAYER, STRANGER)}
GOOD = GenesisMeter(b"\x05" * 20, OWNER, SUPPLIER, 1, 2, 3, 4)


def test_a_meter_of_the_genesis_is_registered_and_paid_for() -> None:
    device = Device("meter one", import_wh=70, export_wh=8)
    street = Neighbourhood(device, credit_wei=5 * WATT, low_credit_wei=WATT, rate_wei_per_wh=WATT)
    expected = (MeterStatus.ACTIVE, SUPPLIER, OWNER, EXHAUSTION_ADDRESS)
    assert street.ask_registry("registrationOf", device.address) == expected
    assert street.ask_meter("linkOf", device.address) == (MeterStatus.ACTIVE, SUPPLIER, EXHAUSTION_ADDRESS, 1, 0)
    assert street.account_view(device)["creditWei"] == 5 * WATT
    assert street.account_view(device)["lowCreditWei"] == WATT
    assert street.ask_registry("owner") == (OPERATOR,)
    roles = [street.ask_registry("roleOf", one)[0] for one in (OPERATOR, REGULATOR, SUPPLIER, OWNER)]
    assert roles == [Role.NONE, Role.REGULATOR, Role.SUPPLIER, Role.NONE]
    assert street.ask_meter("totals") == (0, 0, 0, 1)
    assert street.ledger.balance(EXHAUSTION_ADDRESS) == 5 * WATT
    assert street.supply_allowed(device)
    charged = street.submit(device.measure(import_wh=4))
    assert only(charged, "Charged")["energyWh"] == 4
    assert only(charged, "ReadingAccepted")["exportWh"] == 8
    assert reason(street.submit(device.measure(import_wh=1))) is None


def test_the_genesis_writes_what_transactions_would_write() -> None:
    """An empty genesis and the transactions of a first day leave each slot that the genesis with a meter has."""
    device = Device("meter one", import_wh=70, export_wh=8)
    credit, low = 5 * WATT, WATT
    street = Neighbourhood()
    assert street.install(device, tariff=1).success
    street.top_up(device, credit)
    street.exhaustion(OWNER, "setLowCreditThreshold", device.address, low)
    prepared = Neighbourhood(device, credit_wei=credit, low_credit_wei=low, installed_at_s=GENESIS_TIME_S)
    meter = GenesisMeter(device.address, OWNER, SUPPLIER, 70, 8, credit, low, point_of_supply=POINT_OF_SUPPLY)
    alloc = genesis_alloc(OPERATOR, [SUPPLIER], {SUPPLIER: 1}, [meter], regulators=[REGULATOR], time_s=GENESIS_TIME_S)
    slots = 0
    for contract in (REGISTRY_ADDRESS, METER_ADDRESS, EXHAUSTION_ADDRESS, TARIFFS_ADDRESS):
        storage = alloc["0x" + contract.hex()]["storage"]
        assert isinstance(storage, dict)
        for slot_hex in storage:
            slot = int(slot_hex, 16)
            written = (contract.hex(), slot_hex, hex(street.ledger.storage(contract, slot)))
            assert written == (contract.hex(), slot_hex, hex(prepared.ledger.storage(contract, slot)))
            slots += 1
    assert slots == 36
    assert street.ledger.balance(EXHAUSTION_ADDRESS) == prepared.ledger.balance(EXHAUSTION_ADDRESS)


def test_the_alloc_is_read_by_the_chain() -> None:
    alloc = genesis_alloc(OPERATOR, [SUPPLIER], {SUPPLIER: 7}, [GOOD])
    genesis = parse_genesis({"config": {"chainId": 1947}, "difficulty": "1", "gasLimit": "9000000", "alloc": alloc})
    account = genesis.state.accounts[EXHAUSTION_ADDRESS]
    assert account is not None
    assert account.balance == GOOD.credit_wei
    assert genesis.state.codes[account.code_hash] == EXHAUSTION.runtime_code
    assert METER_ADDRESS in genesis.state.storage


def test_the_first_validators_stand_where_the_rules_of_the_chain_read_them() -> None:
    first = people(3)
    alloc = genesis_alloc(OPERATOR, validators=iter(first))
    genesis = parse_genesis({"config": {"chainId": 1947}, "difficulty": "1", "gasLimit": "9000000", "alloc": alloc})
    account = genesis.state.accounts[VALIDATORS_ADDRESS]
    assert account is not None
    assert genesis.state.codes[account.code_hash] == VALIDATORS.runtime_code
    start = int.from_bytes(keccak256(bytes(32)), "big")
    assert genesis.state.storage[VALIDATORS_ADDRESS] == {
        0: 3,
        **{start + index: int.from_bytes(one, "big") for index, one in enumerate(first)},
    }
    assert Council(first).listed() == first


def test_the_constructor_writes_what_the_genesis_writes() -> None:
    first = people(4)
    ledger = make_ledger({})
    deployed = ledger.transact(OPERATOR, None, VALIDATORS.deployment([first])).output
    storage = genesis_alloc(OPERATOR, validators=first)["0x" + VALIDATORS_ADDRESS.hex()]["storage"]
    assert isinstance(storage, dict)
    assert {slot: ledger.storage(deployed, int(slot, 16)) for slot in storage} == {
        slot: int(value, 16) for slot, value in storage.items()
    }
    assert len(storage) == 5


def test_without_validators_there_is_no_contract_for_them() -> None:
    contracts = [REGISTRY_ADDRESS, METER_ADDRESS, EXHAUSTION_ADDRESS, TARIFFS_ADDRESS, PAYMENT_CHANNEL_ADDRESS]
    contracts += [POLICY_ADDRESS, BILLING_ADDRESS, MARKET_ADDRESS, AUCTION_ADDRESS, CALIBRATIONS_ADDRESS]
    assert set(genesis_alloc(OPERATOR)) == {"0x" + address.hex() for address in contracts}


@pytest.mark.parametrize(
    ("validators", "text"),
    [
        ([bytes(20)], "address"),
        ([b"\x01" * 19], "address"),
        ([b"\x01" * 32], "address"),
        ([OWNER, RIVAL, OWNER], "twice"),
        (people(MAX_VALIDATORS + 1), "129 validators; at most 128"),
    ],
)
def test_validators_that_cannot_be_are_refused(validators: list[bytes], text: str) -> None:
    with pytest.raises(InvalidGenesis, match=text):
        genesis_alloc(OPERATOR, validators=validators)
    assert genesis_alloc(OPERATOR, validators=people(MAX_VALIDATORS))


@pytest.mark.parametrize(
    ("operator", "suppliers", "rates", "meters", "text"),
    [
        (bytes(20), [], {}, [], "address"),
        (b"\x01" * 19, [], {}, [], "address"),
        (OPERATOR, [bytes(20)], {}, [], "address"),
        (OPERATOR, [], {SUPPLIER: 1}, [], "not among the suppliers"),
        (OPERATOR, [SUPPLIER], {SUPPLIER: MAX_RATE_WEI_PER_WH + 1}, [], "rate"),
        (OPERATOR, [SUPPLIER], {SUPPLIER: -1}, [], "rate"),
        (OPERATOR, [SUPPLIER], {SUPPLIER: 1}, [GOOD, GOOD], "twice"),
        (OPERATOR, [RIVAL], {}, [GOOD], "unknown supplier"),
        (OPERATOR, [SUPPLIER], {}, [GOOD], "no tariff"),
        (
            OPERATOR,
            [SUPPLIER],
            {SUPPLIER: 1},
            [replace(GOOD, opening_import_wh=MAX_REGISTER_WH + 1)],
            "import register",
        ),
        (OPERATOR, [SUPPLIER], {SUPPLIER: 1}, [replace(GOOD, opening_export_wh=-1)], "export register"),
        (OPERATOR, [SUPPLIER], {SUPPLIER: 1}, [replace(GOOD, credit_wei=MAX_HELD_WEI + 1)], "credit"),
        (OPERATOR, [SUPPLIER], {SUPPLIER: 1}, [replace(GOOD, low_credit_wei=MAX_LOW_CREDIT_WEI + 1)], "threshold"),
        (
            OPERATOR,
            [SUPPLIER],
            {SUPPLIER: 1},
            [replace(GOOD, credit_wei=MAX_HELD_WEI), replace(GOOD, meter=b"\x06" * 20)],
            "all credits",
        ),
        (OPERATOR, [SUPPLIER], {SUPPLIER: 1}, [replace(GOOD, tariff=2)], "tariff 2 that is not its supplier's"),
        (OPERATOR, [SUPPLIER], {SUPPLIER: 1}, [replace(GOOD, owner=bytes(20))], "address"),
        (OPERATOR, [SUPPLIER], {SUPPLIER: 1}, [replace(GOOD, meter=b"")], "address"),
    ],
)
def test_a_genesis_that_the_contracts_would_refuse_is_refused(
    operator: bytes, suppliers: list[bytes], rates: dict[bytes, int], meters: list[GenesisMeter], text: str
) -> None:
    with pytest.raises(InvalidGenesis, match=text):
        genesis_alloc(operator, suppliers, rates, meters)


def test_deployed_like_any_contract_they_work_at_other_addresses() -> None:
    """As on another chain: constructors instead of a genesis, and meters sign for that contract's address."""
    ledger = make_ledger(dict(RICH))
    registry = ledger.transact(OPERATOR, None, REGISTRY.deployment([OPERATOR])).output
    meter = ledger.transact(OPERATOR, None, METER.deployment([registry])).output
    # Exhaustion and Tariffs name each other: the address of the second is known from the nonce it will be created with.
    expected = create_address(OPERATOR, 3)
    exhaustion = ledger.transact(OPERATOR, None, EXHAUSTION.deployment([meter, registry, expected])).output
    tariffs = ledger.transact(OPERATOR, None, TARIFFS.deployment([registry, exhaustion])).output
    assert tariffs == expected
    device = Device("meter one")
    installation = [device.address, OWNER, exhaustion, 1, POINT_OF_SUPPLY, 0, 0]
    price = TariffVersion.flat(5).argument()
    for sender, to, data, value in (
        (OPERATOR, registry, REGISTRY.abi.encode_call("connect", [meter, tariffs]), 0),
        (OPERATOR, registry, REGISTRY.abi.encode_call("addRegulator", [STRANGER]), 0),
        (STRANGER, registry, REGISTRY.abi.encode_call("addMember", [SUPPLIER, Role.SUPPLIER]), 0),
        (STRANGER, registry, REGISTRY.abi.encode_call("approveSink", [exhaustion]), 0),
        (SUPPLIER, tariffs, TARIFFS.abi.encode_call("createTariff", [b"t".ljust(32, b"\0"), 0, price]), 0),
        (
            SUPPLIER,
            registry,
            REGISTRY.abi.encode_call("installMeter", [*installation, consent(device.address, SUPPLIER, registry)]),
            0,
        ),
        (PAYER, exhaustion, EXHAUSTION.abi.encode_call("topUp", [device.address]), 100),
    ):
        assert ledger.transact(sender, to, data, value).success
    fields = device.fields(sequence=1, importWh=8, time=ledger.time_s)
    r, vs = compact_signature(*sign(reading_typed_data(CHAIN_ID, meter).hash(fields), key_of(device.name)))
    accepted = ledger.transact(STRANGER, meter, METER.abi.encode_call("submit", [(tuple(fields.values()), r, vs)]))
    assert accepted.success
    account = ledger.call(STRANGER, exhaustion, EXHAUSTION.abi.encode_call("accountOf", [device.address])).output
    (seen,) = EXHAUSTION.abi.decode_result("accountOf", account)
    assert isinstance(seen, tuple)
    assert (seen[0], seen[5]) == (60, 8)
    assert [log.address for log in accepted.logs] == [meter, exhaustion]


def test_constructors_refuse_the_zero_address() -> None:
    ledger = make_ledger(dict(RICH))
    for artifact, arguments in ((REGISTRY, 1), (METER, 1), (EXHAUSTION, 3), (TARIFFS, 2)):
        refused = ledger.transact(OPERATOR, None, artifact.deployment([bytes(20)] * arguments))
        assert not refused.success
        assert artifact.error_name(refused.output) == "ZeroAddress"


def test_events_of_a_top_up_follow_a_genesis_credit() -> None:
    device = Device("meter one")
    street = Neighbourhood(device, credit_wei=5)
    assert [event.name for event in events(street.top_up(device, 1))] == ["ToppedUp"]


def test_a_market_begins_as_if_it_had_been_deployed_with_its_rules() -> None:
    rules = MarketRules(500, 2_000, 7_200, 500, 5_000, grid_controller=b"\x0c" * 20, treasury=b"\x0d" * 20)
    alloc = genesis_alloc(OPERATOR)
    deployed = make_ledger(alloc)
    market = load_artifact("Market")
    others = [REGISTRY_ADDRESS, METER_ADDRESS, AUCTION_ADDRESS]
    address = deployed.transact(OPERATOR, None, market.deployment(others)).output
    for slot, value in market_storage().items():
        assert deployed.storage(address, slot) == value == deployed.storage(MARKET_ADDRESS, slot)
    placed = make_ledger(genesis_alloc(OPERATOR, market_rules=rules))

    def ask(function: str) -> tuple[object, ...]:
        result = placed.call(OPERATOR, MARKET_ADDRESS, market.abi.encode_call(function))
        return market.abi.decode_result(function, result.output)

    assert ask("rules") == ((500, 2_000, 7_200, 500, 5_000),)
    assert (ask("gridController"), ask("treasury")) == ((rules.grid_controller,), (rules.treasury,))


def test_market_and_auction_are_deployed_with_each_others_addresses() -> None:
    ledger = make_ledger(genesis_alloc(OPERATOR) | RICH)
    market, auction = load_artifact("Market"), load_artifact("Auction")
    places = [create_address(OPERATOR, nonce) for nonce in (0, 1)]
    first, both = market.deployment([REGISTRY_ADDRESS, METER_ADDRESS, places[1]]), [REGISTRY_ADDRESS, METER_ADDRESS]
    assert ledger.transact(OPERATOR, None, first).output == places[0]
    assert ledger.transact(OPERATOR, None, auction.deployment([*both, places[0]])).output == places[1]
    for artifact, place, other in ((market, places[0], "auction"), (auction, places[1], "market")):
        named = ledger.call(OPERATOR, place, artifact.abi.encode_call(other))
        assert artifact.abi.decode_result(other, named.output) == (places[other == "auction"],)
    refused = ledger.transact(OPERATOR, None, market.deployment([*both, bytes(20)]))
    assert market.error_name(refused.output) == "ZeroAddress"


@pytest.mark.parametrize(
    "rules",
    [
        MarketRules(tax_bps=1),  # without a treasury
        MarketRules(tax_bps=3_001, treasury=b"\x0d" * 20),
        MarketRules(penalty_bps=10_001),
        MarketRules(delivery_s=3_599),
        MarketRules(least_wh=99),
        MarketRules(least_wh=2_000, most_wh=1_999),
        MarketRules(most_wh=10**9 + 1),
    ],
)
def test_a_market_with_rules_that_regulators_could_not_set_is_refused(rules: MarketRules) -> None:
    with pytest.raises(InvalidGenesis, match="market"):
        genesis_alloc(OPERATOR, market_rules=rules)
