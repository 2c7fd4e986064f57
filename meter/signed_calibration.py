"""Calibrations as meter and person have signed them, one behind the other: what a meter's factors come from.

Values only, each checked; where they lie is in meter/calibration.py and meter/calibration_shelf.py, how they are read
from the ledger in meter/calibration_ledger.py.
"""

import json
from collections.abc import Sequence
from dataclasses import astuple, dataclass, field
from typing import Any, cast

from contracts.calibration_format import MAX_AHEAD_S, MAX_CHANNEL, MAX_PPM, MIN_PPM, Calibration, Quantity
from contracts.reading_format import compact_signature
from meter.drivers.factors import QUANTITIES_WITH_FACTORS, Factor, Factors
from meter.signer import Signer
from primitives import secp256k1
from primitives.errors import Invalid, InvalidSignature
from primitives.hexadecimal import to_checksum_address
from primitives.json_text import InvalidJson, parse_json

Signature = tuple[bytes, bytes]
"""(r, vs) of ERC-2098."""

_HIGH_BIT = 1 << 255
_MAX_TIME_S = 2**63 - 1


class InvalidHistory(Invalid):
    """Calibrations that do not follow on each other, or that nobody can have made."""


@dataclass(frozen=True, slots=True)
class SignedCalibration:
    """A calibration with both signatures: what the ledger takes."""

    calibration: Calibration
    by_meter: Signature
    by_person: Signature

    def check(self, chain_id: int) -> None:
        """Raises InvalidSignature unless both have signed."""
        digest = self.calibration.signing_hash(chain_id)
        for what, address, (r, vs) in (
            ("meter", self.calibration.meter, self.by_meter),
            ("person", self.calibration.person, self.by_person),
        ):
            word = int.from_bytes(vs, "big")
            signer = secp256k1.recover_address(digest, word >> 255, int.from_bytes(r, "big"), word & ~_HIGH_BIT)
            if signer != address:
                raise InvalidSignature(f"it was not signed by the {what} {to_checksum_address(address)}")


def sign_calibration(calibration: Calibration, chain_id: int, meter: Signer, person: Signer) -> SignedCalibration:
    """Both signatures. Raises UserError where a key cannot sign."""
    digest = calibration.signing_hash(chain_id)
    by_meter, by_person = (compact_signature(*signer.sign(digest)) for signer in (meter, person))
    return SignedCalibration(calibration, by_meter, by_person)


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a meter's calibrations stand: the last one's number and time, and all factors then."""

    sequence: int = 0
    time_s: int = 0
    factors: Factors = field(default_factory=Factors)


@dataclass(frozen=True, slots=True)
class History:
    """A meter's calibrations, oldest first, behind what was taken over from the ledger by a node's word alone."""

    base: Standing = field(default_factory=Standing)
    records: tuple[SignedCalibration, ...] = ()

    @property
    def is_signed(self) -> bool:
        """Whether two have signed for every factor."""
        return self.base == Standing()

    def last(self) -> tuple[int, int]:
        """(sequence, time_s) of the last calibration; zeros where there is none."""
        if self.records:
            last = self.records[-1].calibration
            return last.sequence, last.time_s
        return self.base.sequence, self.base.time_s

    def factors(self, up_to: int | None = None) -> Factors:
        """Behind a calibration, the last one unless said otherwise."""
        factors = self.base.factors
        for one in self.records:
            if up_to is None or one.calibration.sequence <= up_to:
                factors = _behind(factors, one.calibration)
        return factors

    def in_force(self, now_s: float, known: int = 0) -> Standing:
        """What holds at a time: nothing that is dated further ahead than clocks differ.

        Up to the calibration `known` all have been in force before: a clock that fell behind takes none back.
        """
        latest_s = now_s + MAX_AHEAD_S
        if self.base.time_s > latest_s and self.base.sequence > known:
            return Standing()
        standing = self.base
        for one in self.records:
            change = one.calibration
            if change.time_s > latest_s and change.sequence > known:
                break
            standing = Standing(change.sequence, change.time_s, _behind(standing.factors, change))
        return standing

    def continues(self, other: "History") -> bool:
        """Whether this is the other, or that and more."""
        return self.base == other.base and self.records[: len(other.records)] == other.records

    def check(self, chain_id: int, meter: bytes) -> None:
        """Raises Invalid unless each is of this meter, signed by it and by a person, and follows on the one before."""
        sequence, time_s, factors = self.base.sequence, self.base.time_s, self.base.factors
        for one in self.records:
            change = one.calibration
            try:
                if change.meter != meter or change.person == meter:
                    raise InvalidHistory("it is another meter's, or no person's")
                if not (MIN_PPM <= change.new_ppm <= MAX_PPM and 1 <= change.channel <= MAX_CHANNEL):
                    raise InvalidHistory("its factor or channel is out of bounds")
                one.check(chain_id)
            except Invalid as error:
                raise InvalidHistory(f"calibration {change.sequence}: {error}") from error
            in_force = factors.ppm(QUANTITIES_WITH_FACTORS[change.quantity - 1], change.channel)
            if (change.sequence, change.old_ppm) != (sequence + 1, in_force) or change.time_s < time_s:
                raise InvalidHistory(f"calibration {change.sequence} does not follow on the one before")
            sequence, time_s, factors = change.sequence, change.time_s, _behind(factors, change)


def _behind(factors: Factors, change: Calibration) -> Factors:
    return factors.with_ppm(QUANTITIES_WITH_FACTORS[change.quantity - 1], change.channel, change.new_ppm)


def factors_text(factors: Factors) -> str:
    return json.dumps([[row.quantity, row.channel, row.ppm] for row in factors.rows])


def parse_factors(text: str) -> Factors:
    """What `factors_text` made. Raises InvalidHistory for what no ledger holds."""
    try:
        rows = cast(list[list[object]], parse_json(text))
        return Factors(tuple([_factor(*row) for row in rows]))
    except (InvalidJson, ValueError, TypeError) as error:
        raise InvalidHistory(f"factors that no ledger holds: {error}") from error


def _factor(quantity: object, channel: object, ppm: object) -> Factor:
    if quantity not in QUANTITIES_WITH_FACTORS or not isinstance(channel, int) or not isinstance(ppm, int):
        raise ValueError(f"{quantity!r} {channel!r} has no factor {ppm!r}")
    if not (1 <= channel <= MAX_CHANNEL and MIN_PPM <= ppm <= MAX_PPM):
        raise ValueError(f"the factor {ppm} of {quantity} {channel} is out of bounds")
    return Factor(str(quantity), channel, ppm)


def base_of(sequence: object, time_s: object, factors: object) -> Standing:
    """From a place that anybody may have written to. Raises InvalidHistory."""
    whole = [one for one in (sequence, time_s) if isinstance(one, int) and 0 <= one <= _MAX_TIME_S]
    if len(whole) != 2 or not isinstance(factors, str):
        raise InvalidHistory("what was taken over from the ledger is not what any ledger holds")
    return Standing(whole[0], whole[1], parse_factors(factors))


Row = tuple[bytes, int, int, int, int, int, int, bytes, bytes, bytes, bytes]
"""Person, sequence, time, quantity, channel, old and new factor, r and vs of the meter, r and vs of the person."""


def record_row(signed: SignedCalibration) -> Row:
    return (*astuple(signed.calibration)[1:], *signed.by_meter, *signed.by_person)


def record_of(meter: bytes, row: Sequence[object]) -> SignedCalibration:
    """What `record_row` made, from a place that anybody may have written to. Raises InvalidHistory."""
    person, *numbers, meter_r, meter_vs, person_r, person_vs = row
    blobs = [one for one in (person, meter_r, meter_vs, person_r, person_vs) if isinstance(one, bytes)]
    whole = [one for one in numbers if isinstance(one, int) and 0 <= one <= _MAX_TIME_S]
    if (len(blobs), len(whole), len(numbers)) != (5, 6, 6) or len(blobs[0]) != 20:
        raise InvalidHistory("a calibration whose fields are none")
    sequence, time_s, quantity, channel, old_ppm, new_ppm = whole
    are_bounded = all(MIN_PPM <= ppm <= MAX_PPM for ppm in (old_ppm, new_ppm))
    if quantity not in set(Quantity) or not 1 <= channel <= MAX_CHANNEL or not are_bounded:
        raise InvalidHistory(f"calibration {sequence} is of something that has no factor, or out of bounds")
    change = Calibration(meter, blobs[0], sequence, time_s, Quantity(quantity), channel, old_ppm, new_ppm)
    return SignedCalibration(change, (blobs[1], blobs[2]), (blobs[3], blobs[4]))


def history_text(history: History) -> str:
    """For a place beside the file."""
    base = [history.base.sequence, history.base.time_s, factors_text(history.base.factors)]
    records = [[one.hex() if isinstance(one, bytes) else one for one in record_row(r)] for r in history.records]
    return json.dumps({"base": base, "records": records})


def parse_history(text: str, chain_id: int, meter: bytes) -> History:
    """What `history_text` made. Raises Invalid where it was edited, or is another meter's."""
    try:
        content = cast(dict[str, Any], parse_json(text))
        base = base_of(*content["base"])
        rows = [[bytes.fromhex(x) if isinstance(x, str) else x for x in row] for row in content["records"]]
        history = History(base, tuple([record_of(meter, row) for row in rows]))
    except (InvalidJson, ValueError, TypeError, LookupError) as error:
        raise InvalidHistory(f"what was kept of the calibrations was edited: {error}") from error
    history.check(chain_id, meter)
    return history
