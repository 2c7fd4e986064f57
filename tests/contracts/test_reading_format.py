"""The reading as Python writes it down is the struct of the contract; enumerations likewise; eth-account agrees."""

import re

from eth_account.messages import encode_typed_data

from contracts import build
from contracts.reading_format import (
    READING_FIELDS,
    MeterStatus,
    Outcome,
    StatusFlag,
    compact_signature,
    reading_typed_data,
)
from contracts.roles import Role
from primitives.keccak import keccak256
from primitives.secp256k1 import sign
from tests.contracts.neighbourhood import METER, Device, key_of

INTERFACE, REGISTRY = ((build.SOURCES / f"{name}.sol").read_text() for name in ("IMeter", "IRegistry"))


def test_the_fields_are_those_of_the_contract() -> None:
    (submit,) = [entry for entry in METER.abi_json if entry.get("name") == "submit"]
    reading = submit["inputs"][0]["components"][0]
    assert [(one["name"], one["type"]) for one in reading["components"]] == list(READING_FIELDS)


def test_the_enumerations_are_those_of_the_contract() -> None:
    for name, python in (("Outcome", Outcome), ("Status", MeterStatus), ("Role", Role)):
        declared = re.search(rf"enum {name} {{([^}}]*)}}", INTERFACE + REGISTRY)
        assert declared is not None
        members = [member.strip() for member in declared[1].split(",")]
        assert [member.lower() for member in members] == [one.name.replace("_", "").lower() for one in python]
        assert [int(one) for one in python] == list(range(len(members)))


def test_the_flags_are_those_that_the_contract_documents() -> None:
    documented = re.search(r"status bits:([^;]*);", INTERFACE)
    assert documented is not None
    pairs = re.findall(r"(\d+) ([a-z ]+)", documented[1].replace("///", ""))
    assert [(name.replace(" ", "_").upper(), int(bit)) for bit, name in pairs] == [
        (flag.name, flag.value) for flag in StatusFlag
    ]


def test_another_library_hashes_a_reading_to_the_same() -> None:
    device = Device("meter one")
    fields = device.fields(powerW=-5, flags=9, sequence=3)
    message = encode_typed_data(
        {
            "name": "Wattchain Meter",
            "version": "1",
            "chainId": 77,
            "verifyingContract": "0x0000000000000000000000000000000000001001",
        },
        {"Reading": [{"name": name, "type": kind} for name, kind in READING_FIELDS]},
        fields,
    )
    expected = keccak256(b"\x19" + message.version + message.header + message.body)
    assert reading_typed_data(77).hash(fields) == expected


def test_a_compact_signature_holds_parity_and_s() -> None:
    for number in range(8):
        y_parity, r, s = sign(bytes([number]) * 32, key_of("meter one"))
        compact_r, vs = compact_signature(y_parity, r, s)
        assert int.from_bytes(compact_r, "big") == r
        assert (vs[0] >> 7, int.from_bytes(vs, "big") & (1 << 255) - 1) == (y_parity, s)
