"""Calibrations: what is recorded, every rule with its values, both signatures, and any sequence of changes."""

import re
from dataclasses import replace

import pytest
from eth_account.messages import encode_typed_data
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts import build
from contracts.addresses import CALIBRATIONS_ADDRESS, METER_ADDRESS, REGISTRY_ADDRESS
from contracts.calibration_format import (
    CALIBRATION_FIELDS,
    MAX_AHEAD_S,
    MAX_CHANNEL,
    MAX_PPM,
    MIN_PPM,
    ONE_PPM,
    Calibration,
    Quantity,
)
from contracts.genesis import genesis_alloc
from contracts.reading_format import compact_signature
from primitives.keccak import keccak256
from primitives.secp256k1 import ORDER, sign
from tests.contracts.calibration_stage import (
    CALIBRATIONS,
    FIRST,
    METER,
    METER_KEY,
    OTHER,
    OTHER_KEY,
    OWNER,
    PERSON,
    PERSON_KEY,
    STRANGER,
    SUPPLIER,
    Workshop,
    calibrations_alloc,
    reason,
)
from tests.contracts.ledgers import CHAIN_ID, GENESIS_TIME_S, make_ledger
from tests.contracts.meter_book import Record, Status
from tests.contracts.policy_stage import the_event


def shown(address: bytes) -> str:
    return "0x" + address.hex()


@pytest.fixture
def workshop() -> Workshop:
    return Workshop()


def test_a_calibration_is_recorded_with_who_when_old_and_new(workshop: Workshop) -> None:
    assert workshop.ask("standingOf", METER) == (0, 0)
    assert workshop.ask("factorOf", METER, 1, 1) == (ONE_PPM,)
    event = the_event(workshop.record(FIRST), CALIBRATIONS)
    assert event.name == "CalibrationChanged"
    assert event.arguments == {
        "meter": METER,
        "person": PERSON,
        "sequence": 1,
        "time": GENESIS_TIME_S,
        "quantity": 1,
        "channel": 1,
        "oldPpm": ONE_PPM,
        "newPpm": 1_031_250,
    }
    assert workshop.ask("standingOf", METER) == (1, GENESIS_TIME_S)
    assert workshop.ask("factorOf", METER, 1, 1) == (1_031_250,)
    assert workshop.factors() == [(1, 1, 1_031_250)]
    assert workshop.factors(OTHER) == []


def test_factors_of_quantities_and_channels_are_apart(workshop: Workshop) -> None:
    changes = [(Quantity.CURRENT, 1, 1_100_000), (Quantity.VOLTAGE, 1, 990_000), (Quantity.POWER, 64, MAX_PPM)]
    changes += [(Quantity.CURRENT, 1, 1_200_000), (Quantity.CURRENT, 2, MIN_PPM), (Quantity.VOLTAGE, 1, ONE_PPM)]
    for quantity, channel, ppm in changes:
        workshop.ledger.time_s += 1
        assert reason(workshop.record(workshop.next(quantity, channel, ppm))) is None
    assert workshop.factors() == [(1, 1, 1_200_000), (2, 1, ONE_PPM), (3, 64, MAX_PPM), (1, 2, MIN_PPM)]
    assert workshop.ask("standingOf", METER) == (6, GENESIS_TIME_S + 6)


def test_both_must_have_signed(workshop: Workshop) -> None:
    by_person = workshop.record(FIRST, meter_key=PERSON_KEY)
    assert reason(by_person) == f"SignatureInvalid({shown(METER)}, {shown(PERSON)})"
    by_other = workshop.record(FIRST, person_key=OTHER_KEY)
    assert reason(by_other) == f"SignatureInvalid({shown(PERSON)}, {shown(OTHER)})"
    assert workshop.factors() == []


@pytest.mark.parametrize(
    "changed", [{"new_ppm": 1_031_251}, {"channel": 2}, {"quantity": 2}, {"time_s": GENESIS_TIME_S - 1}]
)
def test_what_was_signed_is_what_counts(workshop: Workshop, changed: dict[str, int]) -> None:
    refused = reason(workshop.record(replace(FIRST, **changed), signed=FIRST))
    assert refused is not None
    assert refused.startswith(f"SignatureInvalid({shown(METER)}, ")


def test_a_signature_counts_on_one_chain_for_one_contract(workshop: Workshop) -> None:
    for elsewhere in ({"chain_id": CHAIN_ID + 1}, {"contract": METER_ADDRESS}):
        refused = reason(workshop.record(FIRST, **elsewhere))  # type: ignore[arg-type]
        assert refused is not None
        assert refused.startswith("SignatureInvalid")


def test_a_signature_has_one_form(workshop: Workshop) -> None:
    """The other root of s, and what is no signature at all, are nobody's."""
    digest = FIRST.signing_hash(CHAIN_ID)
    parity, r, s = sign(digest, METER_KEY)
    other_form = compact_signature(1 - parity, r, ORDER - s)
    by_person = compact_signature(*sign(digest, PERSON_KEY))
    for wrong in (other_form, (bytes(32), bytes(32)), (b"\xff" * 32, b"\x7f" * 32)):
        refused = reason(workshop.send(FIRST, wrong, by_person))
        assert refused is not None
        assert refused.startswith(f"SignatureInvalid({shown(METER)}, ")
    assert workshop.send(FIRST, compact_signature(parity, r, s), by_person).success


@pytest.mark.parametrize(
    ("changed", "refusal"),
    [
        ({"sequence": 0}, f"SequenceInvalid({shown(METER)}, 0, 1)"),
        ({"sequence": 2}, f"SequenceInvalid({shown(METER)}, 2, 1)"),
        ({"person": METER}, f"PersonInvalid({shown(METER)}, {shown(METER)})"),
        ({"person": bytes(20)}, f"PersonInvalid({shown(METER)}, {shown(bytes(20))})"),
        ({"quantity": 0}, "QuantityInvalid(0)"),
        ({"quantity": 4}, "QuantityInvalid(4)"),
        ({"channel": 0}, f"ChannelInvalid(0, {MAX_CHANNEL})"),
        ({"channel": 65}, f"ChannelInvalid(65, {MAX_CHANNEL})"),
        ({"new_ppm": MIN_PPM - 1}, f"FactorOutOfRange({MIN_PPM - 1}, {MIN_PPM}, {MAX_PPM})"),
        ({"new_ppm": MAX_PPM + 1}, f"FactorOutOfRange({MAX_PPM + 1}, {MIN_PPM}, {MAX_PPM})"),
        ({"new_ppm": 0}, f"FactorOutOfRange(0, {MIN_PPM}, {MAX_PPM})"),
        ({"new_ppm": ONE_PPM}, f"FactorUnchanged({ONE_PPM})"),
        ({"old_ppm": ONE_PPM + 1}, f"OldFactorDiffers({shown(METER)}, {ONE_PPM + 1}, {ONE_PPM})"),
        (
            {"time_s": GENESIS_TIME_S + MAX_AHEAD_S + 1},
            f"TimeInFuture({shown(METER)}, {GENESIS_TIME_S + 61}, {GENESIS_TIME_S + 60})",
        ),
        ({"meter": OTHER}, f"MeterUnknown({shown(OTHER)})"),
    ],
)
def test_what_is_refused(workshop: Workshop, changed: dict[str, object], refusal: str) -> None:
    assert reason(workshop.record(replace(FIRST, **changed))) == refusal  # type: ignore[arg-type]
    assert workshop.factors() == []


def test_a_clock_that_runs_a_little_ahead_is_no_obstacle(workshop: Workshop) -> None:
    ahead = replace(FIRST, time_s=GENESIS_TIME_S + MAX_AHEAD_S)
    assert workshop.record(ahead).success
    earlier = workshop.next(Quantity.VOLTAGE, 1, 990_000)
    refused = f"TimeFell({shown(METER)}, {GENESIS_TIME_S}, {GENESIS_TIME_S + MAX_AHEAD_S})"
    assert reason(workshop.record(earlier)) == refused
    assert workshop.record(replace(earlier, time_s=GENESIS_TIME_S + MAX_AHEAD_S)).success


def test_a_calibration_counts_once(workshop: Workshop) -> None:
    assert workshop.record(FIRST).success
    assert reason(workshop.record(FIRST)) == f"SequenceInvalid({shown(METER)}, 1, 2)"
    assert workshop.factors() == [(1, 1, 1_031_250)]


def test_a_meter_that_is_gone_is_not_calibrated(workshop: Workshop) -> None:
    assert workshop.record(FIRST).success
    workshop.book.set_meter(METER, Record(OWNER, SUPPLIER, Status.REMOVED))
    second = workshop.next(Quantity.VOLTAGE, 1, 990_000)
    assert reason(workshop.record(second)) == f"MeterNotActive({shown(METER)})"
    # What was is still there to be read.
    assert workshop.factors() == [(1, 1, 1_031_250)]
    workshop.book.set_meter(METER, Record(OWNER, SUPPLIER))
    assert workshop.record(second).success


@settings(max_examples=20)
@given(
    st.lists(
        st.tuples(st.sampled_from(Quantity), st.integers(1, MAX_CHANNEL), st.integers(MIN_PPM, MAX_PPM)), max_size=12
    )
)
def test_any_sequence_leaves_what_a_model_has(changes: list[tuple[Quantity, int, int]]) -> None:
    workshop = Workshop()
    model: dict[tuple[int, int], int] = {}
    taken = 0
    for quantity, channel, ppm in changes:
        result = workshop.record(workshop.next(quantity, channel, ppm))
        assert result.success == (model.get((quantity, channel), ONE_PPM) != ppm)
        if result.success:
            taken += 1
            model[int(quantity), channel] = ppm
    assert workshop.factors() == [(*key, ppm) for key, ppm in model.items()]
    assert workshop.ask("standingOf", METER)[0] == taken


def test_gas(workshop: Workshop) -> None:
    """A first factor writes three slots, a change of it two."""
    assert workshop.record(FIRST).gas_used < 160_000
    assert workshop.record(workshop.next(Quantity.CURRENT, 1, 1_000_001)).gas_used < 80_000


def test_nobody_pays_and_the_deployer_names_a_registry() -> None:
    digest = FIRST.signing_hash(CHAIN_ID)
    signatures = [compact_signature(*sign(digest, key)) for key in (METER_KEY, PERSON_KEY)]
    data = CALIBRATIONS.abi.encode_call("record", [FIRST.arguments(), *signatures])
    workshop = Workshop(make_ledger(calibrations_alloc() | {"0x" + STRANGER.hex(): {"balance": "0x64"}}))
    assert not workshop.ledger.transact(STRANGER, CALIBRATIONS_ADDRESS, data, 1).success
    refused = workshop.ledger.transact(STRANGER, None, CALIBRATIONS.deployment([bytes(20)]))
    assert reason(refused) == "ZeroAddress()"
    assert workshop.ledger.transact(STRANGER, None, CALIBRATIONS.deployment([SUPPLIER])).success


def test_the_genesis_places_it_beside_the_registry() -> None:
    ledger = make_ledger(genesis_alloc(OWNER))
    data = CALIBRATIONS.abi.encode_call("registry", [])
    assert ledger.call(STRANGER, CALIBRATIONS_ADDRESS, data).output == bytes(12) + REGISTRY_ADDRESS


def test_the_format_is_that_of_the_contract() -> None:
    (record,) = [entry for entry in CALIBRATIONS.abi_json if entry.get("name") == "record"]
    components = record["inputs"][0]["components"]
    assert [(one["name"], one["type"]) for one in components] == list(CALIBRATION_FIELDS)
    source = (build.SOURCES / "Calibrations.sol").read_text()
    declared = re.search(r"enum Quantity {([^}]*)}", source)
    assert declared is not None
    members = [member.strip().upper() for member in declared[1].split(",")]
    assert members == ["NONE", *[one.name for one in Quantity]]
    workshop = Workshop()
    for name, value in (
        ("ONE_PPM", ONE_PPM),
        ("MIN_PPM", MIN_PPM),
        ("MAX_PPM", MAX_PPM),
        ("MAX_CHANNEL", MAX_CHANNEL),
        ("MAX_AHEAD_S", MAX_AHEAD_S),
    ):
        assert workshop.ask(name) == (value,)


def test_another_library_hashes_a_calibration_to_the_same(workshop: Workshop) -> None:
    message = encode_typed_data(
        {
            "name": "Wattchain Calibrations",
            "version": "1",
            "chainId": CHAIN_ID,
            "verifyingContract": "0x000000000000000000000000000000000000100b",
        },
        {"Calibration": [{"name": name, "type": kind} for name, kind in CALIBRATION_FIELDS]},
        dict(zip([name for name, _ in CALIBRATION_FIELDS], FIRST.arguments(), strict=True)),
    )
    assert keccak256(b"\x19" + message.version + message.header + message.body) == FIRST.signing_hash(CHAIN_ID)
    assert workshop.ask("hashCalibration", FIRST.arguments()) == (message.body,)
    assert workshop.ask("domainSeparator") == (message.header,)


def test_arguments_are_the_fields_in_order() -> None:
    assert Calibration(*FIRST.arguments()) == FIRST  # type: ignore[arg-type]
