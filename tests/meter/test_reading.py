"""Readings: what is signed here is what the Meter contract hashes and accepts, and what wallets sign (EIP-712)."""

from dataclasses import astuple, replace

import pytest
from eth_account import Account
from eth_account.messages import encode_typed_data

from contracts.addresses import METER_ADDRESS
from contracts.binding import load_artifact
from contracts.reading_format import MAX_REGISTER_WH, MAX_SEQUENCE, READING_FIELDS, Outcome, StatusFlag
from meter.reading import NO_HASH, Reading, ReadingDomain, Signature, SignedReading, flag_names
from meter.signer import KeySigner
from primitives.errors import InvalidReading
from tests.meter.fake_node import CHAIN_ID, GENESIS_TIME_S, METER, METER_KEY, OTHER_KEY, FakeNode

ABI = load_artifact("Meter").abi
DOMAIN = ReadingDomain(CHAIN_ID, METER_ADDRESS)
READING = Reading(METER, 7, GENESIS_TIME_S, 123_456, 789, -1500, StatusFlag.GAP | StatusFlag.TAMPER, b"\x05" * 32)


def ask(node: FakeNode, function: str, *arguments: object) -> tuple[object, ...]:
    found = ABI.function(function)
    outcome = node._call(None, METER_ADDRESS, found.encode_call(arguments), node.blocks[-1])
    assert outcome.success
    return found.decode_result(outcome.output)


def test_hashes_are_the_contracts() -> None:
    node = FakeNode()
    assert ask(node, "hashReading", astuple(READING)) == (READING.hash,)
    assert ask(node, "domainSeparator") == (DOMAIN.separator,)


@pytest.mark.parametrize("sequence", range(1, 20))
def test_contract_accepts_the_signature(sequence: int) -> None:
    signed = DOMAIN.sign(replace(READING, sequence=sequence), KeySigner(METER_KEY))
    assert ask(FakeNode(), "check", (astuple(signed.reading), *signed.signature)) == (Outcome.ACCEPTED,)


def test_signature_is_that_of_a_wallet() -> None:
    message = {name: value for (name, _), value in zip(READING_FIELDS, astuple(READING), strict=True)}
    domain = {"name": "Wattchain Meter", "version": "1", "chainId": CHAIN_ID, "verifyingContract": METER_ADDRESS}
    types = {"Reading": [{"name": name, "type": kind} for name, kind in READING_FIELDS]}
    theirs = Account.sign_message(encode_typed_data(domain, types, message), METER_KEY)
    ours = DOMAIN.sign(READING, KeySigner(METER_KEY)).signature
    assert int.from_bytes(ours.r, "big") == theirs.r
    assert int.from_bytes(ours.vs, "big") == theirs.s | (theirs.v - 27) << 255
    assert DOMAIN.signing_hash(READING) == bytes(theirs.message_hash)


def test_only_the_meters_own_key_signs() -> None:
    with pytest.raises(InvalidReading, match="must be the key of its meter"):
        DOMAIN.sign(READING, KeySigner(OTHER_KEY))


def test_what_was_altered_or_signed_elsewhere_does_not_verify() -> None:
    signed = DOMAIN.sign(READING, KeySigner(METER_KEY))
    DOMAIN.verify(signed)
    for altered in (
        replace(signed, reading=replace(READING, import_wh=READING.import_wh - 1)),
        replace(signed, reading=replace(READING, previous_hash=NO_HASH)),
        replace(signed, signature=Signature(bytes(32), signed.signature.vs)),
        replace(signed, signature=Signature(b"\xff" * 32, b"\xff" * 32)),
    ):
        with pytest.raises(InvalidReading):
            DOMAIN.verify(altered)
    for elsewhere in (ReadingDomain(CHAIN_ID + 1, METER_ADDRESS), ReadingDomain(CHAIN_ID, b"\x01" * 20)):
        with pytest.raises(InvalidReading):
            elsewhere.verify(SignedReading(READING, signed.signature))


@pytest.mark.parametrize(
    "changes",
    [
        {"sequence": 0},
        {"sequence": MAX_SEQUENCE + 1},
        {"time_s": -1},
        {"import_wh": -1},
        {"export_wh": MAX_REGISTER_WH + 1},
        {"power_w": 2**31},
        {"flags": 2**16},
        {"meter": b"\x01"},
        {"previous_hash": b""},
    ],
)
def test_values_beyond_the_contracts_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(InvalidReading):
        replace(READING, **changes)  # type: ignore[arg-type]


def test_flags_have_names() -> None:
    assert flag_names(StatusFlag.TAMPER | StatusFlag.SUPPLY_OFF | 1 << 15) == ("tamper", "supply off", "bit 15")
    assert flag_names(0) == ()
