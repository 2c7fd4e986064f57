"""Signed calibrations found again on real contracts, by a node that hides or makes up what it likes."""

from dataclasses import replace

import pytest

from contracts.addresses import CALIBRATIONS_ADDRESS
from contracts.calibration_format import ONE_PPM, Calibration, Quantity
from meter.calibration_ledger import MAX_RECORDS, read_signed, read_standing, record_call
from meter.drivers.factors import Factor, Factors
from meter.signed_calibration import History, SignedCalibration, Standing, sign_calibration
from meter.signer import KeySigner
from tests.meter.fake_node import CHAIN_ID, GENESIS_TIME_S, METER, METER_KEY, OTHER_KEY, OWNER, FakeNode
from wallet.client import InvalidAnswer

PERSON = KeySigner(OTHER_KEY)
FIRST = Calibration(METER, PERSON.address, 1, GENESIS_TIME_S, Quantity.CURRENT, 1, ONE_PPM, 1_100_000)
SECOND = replace(FIRST, sequence=2, old_ppm=1_100_000, new_ppm=1_200_000)


def signed(change: Calibration) -> SignedCalibration:
    return sign_calibration(change, CHAIN_ID, KeySigner(METER_KEY), PERSON)


@pytest.fixture
def node() -> FakeNode:
    node = FakeNode()
    for change in (FIRST, SECOND):
        node.transact(OWNER, CALIBRATIONS_ADDRESS, record_call(signed(change)))
    return node


async def test_all_are_found_window_by_window(node: FakeNode, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = History(records=(signed(FIRST), signed(SECOND)))
    assert await read_signed(node, METER, CHAIN_ID, 2) == whole
    monkeypatch.setattr("meter.calibration_ledger.WINDOW_BLOCKS", 1)
    assert await read_signed(node, METER, CHAIN_ID, 2) == whole
    assert await read_signed(node, METER, CHAIN_ID, 1) == History(records=(signed(FIRST),))
    factors = Factors((Factor("current", 1, 1_200_000),))
    assert await read_standing(node, METER, "latest") == Standing(2, GENESIS_TIME_S, factors)


async def test_a_node_that_answers_for_few_blocks_only_is_asked_for_few(node: FakeNode) -> None:
    node.max_logs = 1
    assert await read_signed(node, METER, CHAIN_ID, 2) == History(records=(signed(FIRST), signed(SECOND)))


async def test_what_is_hidden_is_not_found(node: FakeNode, monkeypatch: pytest.MonkeyPatch) -> None:
    for count in (3, MAX_RECORDS + 1, 2**64 - 1):
        assert await read_signed(node, METER, CHAIN_ID, count) is None
    node.inputs = dict.fromkeys(node.inputs, b"\x01\x02\x03\x04")  # as through another contract
    assert await read_signed(node, METER, CHAIN_ID, 2) is None
    monkeypatch.setattr("meter.calibration_ledger.MAX_WINDOWS", 0)
    assert await read_signed(node, METER, CHAIN_ID, 2) is None


@pytest.mark.parametrize(
    "made_up",
    [
        replace(signed(SECOND), calibration=replace(SECOND, new_ppm=500_000)),
        replace(signed(SECOND), by_meter=signed(SECOND).by_person),
        signed(replace(SECOND, old_ppm=ONE_PPM)),
        signed(replace(SECOND, new_ppm=1)),
        signed(replace(SECOND, channel=200)),
        signed(replace(SECOND, time_s=1)),
    ],
)
async def test_what_is_made_up_is_refused(node: FakeNode, made_up: SignedCalibration) -> None:
    for key, data in node.inputs.items():
        if data == record_call(signed(SECOND)):
            node.inputs[key] = record_call(made_up)
    with pytest.raises(InvalidAnswer, match="nobody can have made"):
        await read_signed(node, METER, CHAIN_ID, 2)


@pytest.mark.parametrize("cut", [4, 40, -1])
async def test_nonsense_is_an_invalid_answer(node: FakeNode, cut: int) -> None:
    node.inputs = {key: data[:cut] for key, data in node.inputs.items()}
    with pytest.raises(InvalidAnswer, match="makes no sense"):
        await read_signed(node, METER, CHAIN_ID, 2)


async def test_endless_logs_are_an_invalid_answer(node: FakeNode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("meter.calibration_ledger.MAX_RECORDS", 1)
    with pytest.raises(InvalidAnswer, match="more calibrations than a meter can have"):
        await read_signed(node, METER, CHAIN_ID, 1)
