"""A meter's calibrations one behind the other: what holds when, and what nobody can have made."""

from dataclasses import replace

import pytest

from contracts.calibration_format import ONE_PPM, Calibration, Quantity
from meter.calibration_state import MAX_SHOWN_FACTORS, state_text
from meter.drivers.factors import Factor, Factors
from meter.signed_calibration import (
    History,
    InvalidHistory,
    SignedCalibration,
    Standing,
    history_text,
    parse_history,
    sign_calibration,
)
from meter.signer import KeySigner
from primitives.errors import Invalid
from tests.meter.fake_node import CHAIN_ID, METER, METER_KEY, OTHER_KEY

BEGIN_S = 1_700_000_000
PERSON = KeySigner(OTHER_KEY)
FIRST = Calibration(METER, PERSON.address, 1, BEGIN_S, Quantity.CURRENT, 1, ONE_PPM, 1_100_000)
SECOND = replace(FIRST, sequence=2, time_s=BEGIN_S + 1000, old_ppm=1_100_000, new_ppm=1_200_000)


def signed(change: Calibration) -> SignedCalibration:
    return sign_calibration(change, CHAIN_ID, KeySigner(METER_KEY), PERSON)


def ppm(standing: Standing) -> tuple[int, int]:
    return standing.sequence, standing.factors.ppm("current", 1)


def test_each_holds_from_its_time_on() -> None:
    history = History(records=(signed(FIRST), signed(SECOND)))
    assert history.in_force(BEGIN_S - 61) == Standing()
    assert ppm(history.in_force(BEGIN_S - 60)) == (1, 1_100_000)
    assert ppm(history.in_force(BEGIN_S + 939)) == (1, 1_100_000)
    assert ppm(history.in_force(BEGIN_S + 940)) == (2, 1_200_000)
    # What held before is not taken back by a clock that falls behind.
    assert ppm(history.in_force(0, known=1)) == (1, 1_100_000)
    assert ppm(history.in_force(0, known=2)) == (2, 1_200_000)
    base = History(Standing(7, BEGIN_S, Factors((Factor("current", 1, 990_000),))))
    assert base.in_force(BEGIN_S - 61) == Standing()
    assert ppm(base.in_force(BEGIN_S)) == (7, 990_000)


def test_one_history_continues_another() -> None:
    whole = History(records=(signed(FIRST), signed(SECOND)))
    start = History(records=(signed(FIRST),))
    assert whole.continues(start)
    assert whole.continues(whole)
    assert whole.continues(History())
    assert not start.continues(whole)
    assert not whole.continues(History(Standing(1, 0)))
    assert not whole.continues(History(records=(signed(replace(FIRST, time_s=BEGIN_S + 1)),)))


@pytest.mark.parametrize(
    "records",
    [
        (signed(SECOND),),
        (signed(FIRST), signed(replace(SECOND, sequence=3))),
        (signed(FIRST), signed(replace(SECOND, old_ppm=ONE_PPM))),
        (signed(FIRST), signed(replace(SECOND, time_s=BEGIN_S - 1))),
        (signed(replace(FIRST, person=METER)),),
        (signed(replace(FIRST, meter=PERSON.address)),),
        (signed(replace(FIRST, new_ppm=99_999)),),
        (replace(signed(FIRST), by_person=signed(FIRST).by_meter),),
    ],
)
def test_what_nobody_can_have_made(records: tuple[SignedCalibration, ...]) -> None:
    with pytest.raises(InvalidHistory):
        History(records=records).check(CHAIN_ID, METER)


def test_state_in_words() -> None:
    history = History(records=(signed(FIRST), signed(SECOND)))
    text = state_text(history.in_force(BEGIN_S), history, "the ledger has 1 of them")
    assert text == (
        "current 1 by 1.100000; calibration 1 of 2023-11-14 22:13:20 UTC is in force; CALIBRATION 2 IS DATED "
        "2023-11-14 22:30:00 UTC, ahead of the clock, and not in force yet; the ledger has 1 of them"
    )
    many = Factors(tuple([Factor("power", channel, 900_000) for channel in range(1, 30)]))
    assert f"power {MAX_SHOWN_FACTORS} by 0.900000, 9 more" in state_text(Standing(0, 0, many), history, "")


def test_what_is_kept_is_read_again_or_refused() -> None:
    base = Standing(3, BEGIN_S, Factors((Factor("voltage", 1, 990_000),)))
    change = Calibration(METER, PERSON.address, 4, BEGIN_S, Quantity.CURRENT, 1, ONE_PPM, 1_100_000)
    history = History(base, (sign_calibration(change, CHAIN_ID, KeySigner(METER_KEY), PERSON),))
    text = history_text(history)
    assert parse_history(text, CHAIN_ID, METER) == history
    for old, new in (
        ("1100000", "1100001"),
        ("1100000", "-1"),
        ("1100000", "1e9"),
        ("1100000", "99999999999999999999999"),
        ("[3,", "[-3,"),
        ("[3,", "[null,"),
        ("990000", "1"),
        (PERSON.address.hex(), METER.hex()),
        (PERSON.address.hex(), "00"),
        (PERSON.address.hex(), "zz"),
    ):
        assert old in text
        with pytest.raises(Invalid):
            parse_history(text.replace(old, new), CHAIN_ID, METER)
    for chain_id, meter in ((CHAIN_ID + 1, METER), (CHAIN_ID, PERSON.address)):
        with pytest.raises(Invalid):
            parse_history(text, chain_id, meter)
