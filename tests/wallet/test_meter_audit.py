"""`wattchain meter audit` against a real gateway and the contracts: what was refused, broken, flagged; else nothing."""

from collections.abc import Iterator
from dataclasses import astuple
from pathlib import Path

import pytest

from contracts.addresses import BILLING_ADDRESS, CALIBRATIONS_ADDRESS, METER_ADDRESS, REGISTRY_ADDRESS
from contracts.calibration_format import Calibration, Quantity
from contracts.reading_format import StatusFlag
from meter.reading import NO_HASH, Reading, ReadingDomain, SignedReading
from meter.signed_calibration import sign_calibration
from meter.signer import KeySigner
from primitives.errors import UserError
from tests.gateway.memory_ledger import CHAIN_ID
from tests.wallet.contract_person import (
    CUSTOMER,
    KEYS,
    METER,
    NEW_METER,
    STRANGER,
    SUPPLIER,
    Neighbour,
    neighbour,
    shown,
)
from wallet.audit_commands import audit

SIGNER = next(signer for signer in map(KeySigner, KEYS) if signer.address == METER)
START_S = 1_700_000_000
DOMAIN = ReadingDomain(CHAIN_ID, METER_ADDRESS)


@pytest.fixture
def people(tmp_path: Path) -> Iterator[Neighbour]:
    with neighbour(audit, tmp_path) as here:
        arguments = (METER, CUSTOMER, BILLING_ADDRESS, 0, bytes(32), 0, 0)
        here.call(SUPPLIER, REGISTRY_ADDRESS, "Registry", "installMeter", *arguments)
        here.ledger.clock.now_s += 50_000
        yield here


def reading(sequence: int, before: SignedReading | None, flags: int = 0, time_s: int = 0) -> SignedReading:
    previous = NO_HASH if before is None else before.reading.hash
    return DOMAIN.sign(
        Reading(METER, sequence, time_s or START_S + sequence, 10 * sequence, 0, 1, flags, previous), SIGNER
    )


def bring(people: Neighbour, *readings: SignedReading) -> None:
    signed = [(astuple(one.reading), *one.signature) for one in readings]
    people.call(STRANGER, METER_ADDRESS, "Meter", "submitBatch", signed)


def test_nothing_speaks_against_a_good_meter(people: Neighbour) -> None:
    first = reading(1, None, StatusFlag.RESTARTED)
    bring(people, first, reading(2, first, StatusFlag.POWER_LOST | StatusFlag.GAP))
    bring(people, first)  # once more
    assert people.ok(shown(METER)) == f"{shown(METER)}\nNothing speaks against it from block 0 on.\n"
    assert people.json(shown(METER)) == []


def test_refused_broken_and_flagged(people: Neighbour) -> None:
    first = reading(1, None)
    forged = SignedReading(reading(2, first).reading, first.signature)
    clone = reading(3, reading(2, None), StatusFlag.TAMPER | StatusFlag.COVER_OPEN | StatusFlag.RESTARTED)
    bring(people, first, forged)
    bring(people, reading(2, first))
    bring(people, clone)
    bring(people, reading(7, reading(6, clone)))
    found = people.json(shown(METER))
    assert [(one["kind"], one["sequence"]) for one in found] == [
        ("refused", 2),
        ("break", 3),
        ("flags", 3),
        ("break", 7),
    ]
    text = people.ok(shown(METER))
    assert "somebody sent reading 2, and the ledger refused it: invalid signature" in text
    assert "reading 3 does not follow on the reading 2 that the ledger has: a second device" in text
    assert "reading 3 tells: tamper, cover open" in text
    assert "reading 7 came behind 3: those between" in text
    assert people.json(shown(METER), "--blocks", "1") == found[-1:]


def test_strangers_noise_is_bounded(people: Neighbour, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wallet.meter_audit.MAX_FINDINGS", 3)
    first = reading(1, None)
    forged = SignedReading(reading(2, first).reading, first.signature)
    bring(people, first, *[forged] * 5)
    assert len(people.json(shown(METER))) == 3


def test_another_meters_readings_are_not_its_own(people: Neighbour) -> None:
    first = reading(1, None)
    bring(people, SignedReading(reading(2, first).reading, first.signature))
    arguments = (NEW_METER, CUSTOMER, BILLING_ADDRESS, 0, bytes(32), 0, 0)
    people.call(SUPPLIER, REGISTRY_ADDRESS, "Registry", "installMeter", *arguments)
    assert "Nothing speaks against it" in people.ok(shown(NEW_METER))


def test_a_meter_that_is_not_there(people: Neighbour) -> None:
    error = people.run(shown(STRANGER)).exception
    assert isinstance(error, UserError)
    assert str(error).startswith(f"No meter {shown(STRANGER)} was ever installed")


def calibrate(people: Neighbour, sequence: int, old_ppm: int, new_ppm: int, time_s: int = 1) -> None:
    person = next(signer for signer in map(KeySigner, KEYS) if signer.address == CUSTOMER)
    change = Calibration(METER, CUSTOMER, sequence, time_s, Quantity.CURRENT, 2, old_ppm, new_ppm)
    signed = sign_calibration(change, CHAIN_ID, SIGNER, person)
    arguments = (change.arguments(), signed.by_meter, signed.by_person)
    people.call(STRANGER, CALIBRATIONS_ADDRESS, "Calibrations", "record", *arguments)


def test_calibrations_are_told_with_their_names(people: Neighbour) -> None:
    calibrate(people, 1, 1_000_000, 1_031_250)
    calibrate(people, 2, 1_031_250, 999_999)
    found = people.json(shown(METER))
    assert [(one["kind"], one["sequence"]) for one in found] == [("calibration", 1), ("calibration", 2)]
    assert found[0]["what"] == f"{shown(CUSTOMER)} calibrated current 2, from 1.000000 to 1.031250"
    assert found[1]["what"] == f"{shown(CUSTOMER)} calibrated current 2, from 1.031250 to 0.999999"


def test_other_factors_that_nobody_signed_for_are_told(people: Neighbour) -> None:
    first = reading(1, None, time_s=START_S + 10_000)
    second = reading(2, first, StatusFlag.CALIBRATED, time_s=START_S + 20_000)
    third = reading(3, second, time_s=START_S + 30_000)
    fourth = reading(4, third, StatusFlag.CALIBRATED, time_s=START_S + 40_000)
    bring(people, first, second)
    calibrate(people, 1, 1_000_000, 1_031_250, time_s=START_S + 19_000)  # on its way behind the reading that told
    bring(people, third, fourth)
    found = people.json(shown(METER))
    assert [(one["kind"], one["sequence"]) for one in found] == [("calibration", 1), ("unsigned", 4)]
    assert "reading 4 was made with other factors" in found[1]["what"]
    # Also where the calibration lies before the blocks that are looked through.
    assert [one["kind"] for one in people.json(shown(METER), "--blocks", "1")] == ["unsigned"]
    calibrate(people, 2, 1_031_250, 1_100_000, time_s=START_S + 39_999)
    assert [one["kind"] for one in people.json(shown(METER))] == ["calibration", "calibration"]
    assert people.json(shown(METER), "--blocks", "2")[-1]["kind"] == "calibration"
