"""The Meter contract: what it accepts, what it refuses with which error, and what it tells an index."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.addresses import EXHAUSTION_ADDRESS, METER_ADDRESS
from contracts.reading_format import (
    MAX_AHEAD_S,
    MAX_BATCH,
    MAX_REGISTER_WH,
    MAX_SEQUENCE,
    READING_FIELDS,
    Outcome,
    StatusFlag,
    reading_typed_data,
)
from primitives import secp256k1
from primitives.hexadecimal import to_data
from tests.contracts.ledgers import CHAIN_ID, GENESIS_TIME_S
from tests.contracts.neighbourhood import (
    METER,
    OWNER,
    RATE_WEI_PER_WH,
    STRANGER,
    SUPPLIER,
    TYPED_DATA,
    WATT,
    Device,
    Neighbourhood,
    event_names,
    events,
    key_of,
    only,
    outcomes,
    reason,
)


@pytest.fixture
def device() -> Device:
    return Device("meter one", import_wh=5_000, export_wh=700)


@pytest.fixture
def street(device: Device) -> Neighbourhood:
    """One meter that has had one reading accepted (1,000 Wh in, 20 out)."""
    street = Neighbourhood(device, credit_wei=100 * WATT)
    assert street.submit(device.measure(import_wh=1_000, export_wh=20, power_w=250)).success
    return street


def test_an_accepted_reading_is_reported_whole_and_charged(street: Neighbourhood, device: Device) -> None:
    device.time_s += 900
    before = device.previous_hash
    result = street.submit(device.measure(import_wh=300, power_w=-40, flags=StatusFlag.TAMPER | StatusFlag.CLOCK_SET))
    assert event_names(result) == ["ReadingAccepted", "Charged"]
    assert only(result, "ReadingAccepted") == {
        "meter": device.address,
        "supplier": SUPPLIER,
        "sequence": 2,
        "time": device.time_s,
        "importWh": 6_300,
        "exportWh": 720,
        "powerW": -40,
        "flags": 5,
        "previousHash": before,
    }
    assert only(result, "Charged") == {
        "meter": device.address,
        "supplier": SUPPLIER,
        "energyWh": 300,
        "costWei": 300 * RATE_WEI_PER_WH,
        "paidWei": 300 * RATE_WEI_PER_WH,
        "balanceWei": 100 * WATT - 1_300 * RATE_WEI_PER_WH,
    }
    last = (2, device.time_s, 6_300, 720, -40, 5, device.previous_hash)
    assert street.ask_meter("lastReading", device.address) == (last,)


def test_energy_counts_from_the_opening_registers(street: Neighbourhood, device: Device) -> None:
    assert street.account(device) == (100 * WATT - 1_000 * RATE_WEI_PER_WH, 0, 1_000)
    assert street.ask_meter("totals") == (1_000, 20, 250, 1)


def test_a_reading_without_use_is_accepted_at_no_cost(street: Neighbourhood, device: Device) -> None:
    result = street.submit(device.measure())
    assert only(result, "Charged")["costWei"] == 0
    assert street.account(device)[2] == 1_000


def _refused(street: Neighbourhood, device: Device, **changed: object) -> tuple[str | None, Outcome]:
    """How a reading with these fields is refused alone and in a batch; nothing may change."""
    return _refused_signed(street, device, device.sign(device.fields(**({"sequence": device.sequence + 1} | changed))))


def _refused_signed(street: Neighbourhood, device: Device, signed: object) -> tuple[str | None, Outcome]:
    before = (street.ask_meter("lastReading", device.address), street.account(device), street.ask_meter("totals"))
    alone = street.submit(signed)  # type: ignore[arg-type]
    assert not alone.success
    batch = street.submit_batch([signed])  # type: ignore[list-item]
    (outcome,) = outcomes(batch)
    assert only(batch, "ReadingRefused")["outcome"] == outcome
    assert street.ask_meter("check", signed) == (outcome,)
    after = (street.ask_meter("lastReading", device.address), street.account(device), street.ask_meter("totals"))
    assert before == after
    return reason(alone), outcome


def test_an_old_sequence_is_refused(street: Neighbourhood, device: Device) -> None:
    text = f"ReadingStale(meter={to_data(device.address)}, sequence=1, lastSequence=1)"
    assert _refused(street, device, sequence=1) == (text, Outcome.STALE)
    assert _refused(street, device, sequence=0)[1] == Outcome.STALE


def test_a_falling_import_register_is_refused(street: Neighbourhood, device: Device) -> None:
    text = f"ImportFell(meter={to_data(device.address)}, importWh=5999, lastImportWh=6000)"
    assert _refused(street, device, importWh=5_999) == (text, Outcome.IMPORT_FELL)


def test_a_falling_export_register_is_refused(street: Neighbourhood, device: Device) -> None:
    text = f"ExportFell(meter={to_data(device.address)}, exportWh=719, lastExportWh=720)"
    assert _refused(street, device, exportWh=719) == (text, Outcome.EXPORT_FELL)


def test_registers_below_the_opening_ones_are_refused() -> None:
    device = Device("meter one", import_wh=5_000)
    street = Neighbourhood(device)
    assert _refused(street, device, importWh=4_999)[1] == Outcome.IMPORT_FELL


def test_a_first_reading_from_before_the_installation_is_refused() -> None:
    """The supplier read the registers then; a minute is left to a clock that is behind."""
    installed_at_s = GENESIS_TIME_S - 3_600
    device = Device("meter one", import_wh=5_000)
    street = Neighbourhood(device, installed_at_s=installed_at_s)
    earliest_s = installed_at_s - 60
    text = f"TimeBeforeInstallation(meter={to_data(device.address)}, time={{}}, earliestTime={earliest_s})"
    for time_s in (earliest_s - 1, earliest_s - 400 * 86_400, 0):
        assert _refused(street, device, time=time_s) == (text.format(time_s), Outcome.BEFORE_INSTALLATION)
    device.time_s = earliest_s
    assert street.submit(device.measure(import_wh=1)).success
    assert _refused(street, device, time=earliest_s - 1)[1] == Outcome.BEFORE_INSTALLATION


def test_a_reading_from_the_time_in_which_a_meter_was_away_is_refused(street: Neighbourhood, device: Device) -> None:
    assert street.registry(SUPPLIER, "removeMeter", device.address).success
    street.ledger.time_s += 86_400
    assert street.registry(SUPPLIER, "reinstateMeter", device.address, 7_000, 720).success
    back_s = street.ledger.time_s
    assert _refused(street, device, time=back_s - 61, importWh=7_100)[1] == Outcome.BEFORE_INSTALLATION
    device.time_s, device.import_wh = back_s, 7_000
    assert only(street.submit(device.measure(import_wh=100)), "Charged")["energyWh"] == 100


def test_a_successors_first_reading_is_not_from_before_it_took_the_place(street: Neighbourhood, device: Device) -> None:
    successor = Device("its successor", time_s=street.ledger.time_s - 61)
    assert street.registry(SUPPLIER, "swapMeter", device.address, successor.address, 6_000, 720, 0, 0).success
    assert _refused(street, successor, importWh=9)[1] == Outcome.BEFORE_INSTALLATION
    successor.time_s += 1
    assert street.submit(successor.measure(import_wh=9)).success


def test_a_time_before_the_last_one_is_refused(street: Neighbourhood, device: Device) -> None:
    text = f"TimeFell(meter={to_data(device.address)}, time={device.time_s - 1}, lastTime={device.time_s})"
    assert _refused(street, device, time=device.time_s - 1) == (text, Outcome.TIME_FELL)


def test_a_time_in_the_future_is_refused_beyond_the_tolerance(street: Neighbourhood, device: Device) -> None:
    latest = GENESIS_TIME_S + MAX_AHEAD_S
    text = f"TimeInFuture(meter={to_data(device.address)}, time={latest + 1}, latestTime={latest})"
    assert _refused(street, device, time=latest + 1) == (text, Outcome.TIME_IN_FUTURE)
    device.time_s = latest
    assert street.submit(device.measure()).success


def test_an_unregistered_meter_is_refused(street: Neighbourhood) -> None:
    unknown = Device("nobody's meter")
    text = f"MeterUnknown(meter={to_data(unknown.address)})"
    assert _refused(street, unknown) == (text, Outcome.UNKNOWN_METER)


def test_the_zero_address_cannot_pass_for_a_meter_by_an_invalid_signature(
    street: Neighbourhood, device: Device
) -> None:
    fields, _, _ = device.sign(device.fields(meter=bytes(20), sequence=9))
    assert _refused_signed(street, device, (fields, bytes(32), bytes(32)))[1] == Outcome.UNKNOWN_METER


def test_a_removed_meter_is_refused(street: Neighbourhood, device: Device) -> None:
    assert street.registry(SUPPLIER, "removeMeter", device.address).success
    assert _refused(street, device) == (f"MeterInactive(meter={to_data(device.address)})", Outcome.INACTIVE_METER)


def test_a_foreign_key_is_refused(street: Neighbourhood, device: Device) -> None:
    key = key_of("stranger")
    signed = device.sign(device.fields(sequence=2), key)
    text = f"SignatureInvalid(meter={to_data(device.address)}, recovered={to_data(secp256k1.address_of(key))})"
    assert _refused_signed(street, device, signed) == (text, Outcome.INVALID_SIGNATURE)


@given(st.sampled_from([name for name, _ in READING_FIELDS if name != "meter"]), st.integers(1, 9))
def test_no_field_can_be_altered_after_signing(name: str, by: int) -> None:
    device = Device("meter one", import_wh=5_000, export_wh=700)
    street = Neighbourhood(device)
    honest = device.fields(sequence=5)
    _, r, vs = device.sign(honest)
    value = honest[name]
    altered = {name: bytes([by]) * 32 if isinstance(value, bytes) else int(str(value)) + by}
    fields = tuple((honest | altered)[field] for field, _ in READING_FIELDS)
    assert _refused_signed(street, device, (fields, r, vs))[1] == Outcome.INVALID_SIGNATURE


@given(st.binary(min_size=64, max_size=64))
def test_garbage_is_not_a_signature(signature: bytes) -> None:
    device = Device("meter one")
    street = Neighbourhood(device)
    fields, _, _ = device.sign(device.fields(sequence=1))
    garbage = (fields, signature[:32], signature[32:])
    assert _refused_signed(street, device, garbage)[1] == Outcome.INVALID_SIGNATURE


@pytest.mark.parametrize(
    ("chain_id", "contract"), [(CHAIN_ID + 1, METER_ADDRESS), (CHAIN_ID, EXHAUSTION_ADDRESS)], ids=["chain", "contract"]
)
def test_a_signature_for_another_ledger_is_refused(
    street: Neighbourhood, device: Device, chain_id: int, contract: bytes
) -> None:
    fields = device.fields(sequence=2)
    y_parity, r, s = secp256k1.sign(reading_typed_data(chain_id, contract).hash(fields), key_of(device.name))
    signed = (tuple(fields.values()), r.to_bytes(32, "big"), (y_parity << 255 | s).to_bytes(32, "big"))
    assert _refused_signed(street, device, signed)[1] == Outcome.INVALID_SIGNATURE


@pytest.mark.parametrize(
    "changed",
    [
        {"sequence": MAX_SEQUENCE + 1},
        {"sequence": 2**64 - 1},
        {"importWh": MAX_REGISTER_WH + 1},
        {"importWh": 2**64 - 1},
        {"exportWh": MAX_REGISTER_WH + 1},
        {"exportWh": 2**64 - 1},
    ],
)
def test_values_that_do_not_fit_are_refused(street: Neighbourhood, device: Device, changed: dict[str, object]) -> None:
    text, outcome = _refused(street, device, **changed)
    assert outcome == Outcome.OUT_OF_RANGE
    assert text is not None
    assert text.startswith("ReadingOutOfRange(")


def test_the_greatest_values_are_accepted_and_charged_exactly() -> None:
    device = Device("meter one")
    rate = 2**64 - 1
    street = Neighbourhood(device, credit_wei=10**33, rate_wei_per_wh=rate)
    device.sequence, device.import_wh, device.export_wh = MAX_SEQUENCE, MAX_REGISTER_WH, MAX_REGISTER_WH
    result = street.submit(device.sign(device.fields(powerW=-(2**31), flags=2**16 - 1)))
    assert only(result, "Charged")["costWei"] == MAX_REGISTER_WH * rate
    assert street.account(device) == (0, MAX_REGISTER_WH * rate - 10**33, MAX_REGISTER_WH)
    assert street.ask_meter("totals") == (MAX_REGISTER_WH, MAX_REGISTER_WH, -(2**31), 1)


def test_a_value_wider_than_its_type_reverts(street: Neighbourhood, device: Device) -> None:
    data = METER.abi.encode_call("submit", [device.measure()])
    dirty = data[: 4 + 32] + b"\x01" + data[4 + 32 + 1 :]
    assert not street.ledger.transact(STRANGER, METER_ADDRESS, dirty).success
    assert not street.ledger.transact(STRANGER, METER_ADDRESS, data[:-1]).success
    assert street.ledger.transact(STRANGER, METER_ADDRESS, data).success


def test_missing_readings_show_as_a_gap_and_lose_no_energy(street: Neighbourhood, device: Device) -> None:
    last_hash = device.previous_hash
    device.measure(import_wh=50)
    device.measure(import_wh=60)
    lost_hash = device.previous_hash
    result = street.submit(device.measure(import_wh=70))
    assert event_names(result) == ["ReadingGapFound", "ReadingAccepted", "Charged"]
    assert only(result, "ReadingGapFound") == {
        "meter": device.address,
        "lastSequence": 1,
        "sequence": 4,
        "lastHash": last_hash,
        "previousHash": lost_hash,
    }
    assert only(result, "Charged")["energyWh"] == 180


def test_a_jump_in_the_sequence_alone_is_no_gap(street: Neighbourhood, device: Device) -> None:
    device.sequence += 10
    assert event_names(street.submit(device.measure(import_wh=1))) == ["ReadingAccepted", "Charged"]


def test_a_batch_of_many_meters_is_accepted_in_order() -> None:
    devices = [Device(f"meter {number}") for number in range(3)]
    street = Neighbourhood(*devices, credit_wei=WATT)
    signed = [device.measure(import_wh=10 * turn + 1, power_w=5) for turn in range(3) for device in devices]
    result = street.submit_batch(signed)
    assert outcomes(result) == [Outcome.ACCEPTED] * 9
    assert event_names(result) == ["ReadingAccepted", "Charged"] * 9
    assert [street.account(device)[2] for device in devices] == [33, 33, 33]
    assert street.ask_meter("totals") == (99, 0, 15, 3)


def test_a_batch_that_a_stranger_submitted_in_part_goes_through_and_charges_once(
    street: Neighbourhood, device: Device
) -> None:
    signed = [device.measure(import_wh=100) for _ in range(4)]
    assert street.submit(signed[0]).success
    assert street.submit(signed[1]).success
    result = street.submit_batch(signed)
    assert outcomes(result) == [Outcome.STALE, Outcome.STALE, Outcome.ACCEPTED, Outcome.ACCEPTED]
    assert street.account(device)[2] == 1_400
    assert set(outcomes(street.submit_batch(signed))) == {Outcome.STALE}
    assert street.account(device)[2] == 1_400


def test_a_stranger_who_submits_the_last_reading_first_changes_no_sum(street: Neighbourhood, device: Device) -> None:
    signed = [device.measure(import_wh=100) for _ in range(4)]
    assert street.submit(signed[3]).success
    assert set(outcomes(street.submit_batch(signed))) == {Outcome.STALE}
    assert street.account(device) == (100 * WATT - 1_400 * RATE_WEI_PER_WH, 0, 1_400)


def test_the_same_reading_twice_in_a_batch_is_charged_once(street: Neighbourhood, device: Device) -> None:
    signed = device.measure(import_wh=100)
    result = street.submit_batch([signed, signed, signed])
    assert outcomes(result) == [Outcome.ACCEPTED, Outcome.STALE, Outcome.STALE]
    assert only(result, "Charged")["energyWh"] == 100
    assert [event.arguments["sequence"] for event in events(result) if event.name == "ReadingRefused"] == [2, 2]


def test_one_bad_reading_does_not_hold_up_the_batch(street: Neighbourhood, device: Device) -> None:
    other = Device("nobody's meter")
    forged = device.sign(device.fields(sequence=90, importWh=99_999), key_of("stranger"))
    first, second = device.measure(import_wh=1), device.measure(import_wh=2)
    result = street.submit_batch([first, forged, other.measure(import_wh=5), second])
    assert outcomes(result) == [
        Outcome.ACCEPTED,
        Outcome.INVALID_SIGNATURE,
        Outcome.UNKNOWN_METER,
        Outcome.ACCEPTED,
    ]
    assert street.account(device)[2] == 1_003


def test_batches_are_bounded(street: Neighbourhood, device: Device) -> None:
    assert reason(street.submit_batch([])) == f"BatchSizeInvalid(size=0, maximum={MAX_BATCH})"
    signed = [device.measure(import_wh=1) for _ in range(MAX_BATCH + 1)]
    assert reason(street.submit_batch(signed)) == f"BatchSizeInvalid(size={MAX_BATCH + 1}, maximum={MAX_BATCH})"
    assert outcomes(street.submit_batch(signed[:MAX_BATCH])) == [Outcome.ACCEPTED] * MAX_BATCH


def test_python_and_contract_agree_on_hashes_and_limits(street: Neighbourhood, device: Device) -> None:
    fields = device.fields(powerW=-7, flags=3)
    values = tuple(fields[name] for name, _ in READING_FIELDS)
    assert street.ask_meter("hashReading", values) == (TYPED_DATA.struct_hash(fields),)
    assert street.ask_meter("domainSeparator") == (TYPED_DATA.domain_separator,)
    assert street.ask_meter("READING_TYPEHASH") == (TYPED_DATA.type_hash,)
    limits = [street.ask_meter(name)[0] for name in ("MAX_BATCH", "MAX_AHEAD_S", "MAX_REGISTER_WH", "MAX_SEQUENCE")]
    assert limits == [MAX_BATCH, MAX_AHEAD_S, MAX_REGISTER_WH, MAX_SEQUENCE]


def test_the_meter_takes_no_money(street: Neighbourhood) -> None:
    assert not street.ledger.transact(OWNER, METER_ADDRESS, b"", 1).success
