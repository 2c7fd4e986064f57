"""Calibrations for the contract tests: meters and people with keys, and short ways to sign, to record and to ask."""

from dataclasses import replace
from typing import Any

from contracts.addresses import CALIBRATIONS_ADDRESS
from contracts.binding import load_artifact
from contracts.calibration_format import ONE_PPM, Calibration, Quantity
from contracts.genesis import Alloc
from contracts.reading_format import compact_signature
from primitives.secp256k1 import address_of, sign
from tests.contracts.ledgers import CHAIN_ID, GENESIS_TIME_S, Ledger, Result, make_ledger
from tests.contracts.meter_book import BOOK_ADDRESS, MeterBook, Record, book_alloc, contract_entry
from tests.contracts.policy_stage import reason as policy_reason

CALIBRATIONS = load_artifact("Calibrations")
METER_KEY, PERSON_KEY, OTHER_KEY = (bytes([number]) * 32 for number in (1, 2, 3))
METER, PERSON, OTHER = (address_of(key) for key in (METER_KEY, PERSON_KEY, OTHER_KEY))
OWNER, SUPPLIER, STRANGER = (bytes([number]) * 20 for number in (0x11, 0x12, 0x13))
FIRST = Calibration(METER, PERSON, 1, GENESIS_TIME_S, Quantity.CURRENT, 1, ONE_PPM, 1_031_250)


def calibrations_alloc() -> Alloc:
    storage = CALIBRATIONS.storage_layout.assign("registry", value=BOOK_ADDRESS)
    entry = contract_entry(CALIBRATIONS.runtime_code, storage)
    return book_alloc() | {"0x" + CALIBRATIONS_ADDRESS.hex(): entry}


class Workshop:
    """One active meter and its calibrations."""

    def __init__(self, ledger: Ledger | None = None) -> None:
        self.ledger = ledger or make_ledger(calibrations_alloc())
        self.book = MeterBook(self.ledger)
        self.book.set_meter(METER, Record(OWNER, SUPPLIER))

    def record(
        self,
        calibration: Calibration,
        *,
        meter_key: bytes = METER_KEY,
        person_key: bytes = PERSON_KEY,
        signed: Calibration | None = None,
        chain_id: int = CHAIN_ID,
        contract: bytes = CALIBRATIONS_ADDRESS,
    ) -> Result:
        """By a stranger. `signed` is what is signed where that is not what is sent."""
        digest = (signed or calibration).signing_hash(chain_id, contract)
        signatures = [compact_signature(*sign(digest, key)) for key in (meter_key, person_key)]
        return self.send(calibration, *signatures)

    def send(self, calibration: Calibration, by_meter: tuple[bytes, bytes], by_person: tuple[bytes, bytes]) -> Result:
        data = CALIBRATIONS.abi.encode_call("record", [calibration.arguments(), by_meter, by_person])
        return self.ledger.transact(STRANGER, CALIBRATIONS_ADDRESS, data)

    def next(self, quantity: Quantity, channel: int, new_ppm: int, **changed: Any) -> Calibration:
        """The calibration that the contract would take now."""
        sequence, _ = self.ask("standingOf", METER)
        old_ppm = self.ask("factorOf", METER, int(quantity), channel)[0]
        right = Calibration(METER, PERSON, sequence + 1, self.ledger.time_s, quantity, channel, old_ppm, new_ppm)
        return replace(right, **changed)

    def factors(self, meter: bytes = METER) -> list[tuple[int, int, int]]:
        return [tuple(row) for row in self.ask("factorsOf", meter)[0]]

    def ask(self, function: str, *arguments: object) -> tuple[Any, ...]:
        data = CALIBRATIONS.abi.encode_call(function, arguments)
        result = self.ledger.call(bytes(20), CALIBRATIONS_ADDRESS, data)
        assert result.success, reason(result)
        return CALIBRATIONS.abi.decode_result(function, result.output)


def reason(result: Result) -> str | None:
    """The error with its values, without their names; None where the transaction succeeded."""
    return policy_reason(result, CALIBRATIONS)
