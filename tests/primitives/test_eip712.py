"""Typed data: the standard's own example, drawn messages against eth-account, and what does not fit."""

import copy
import json
from typing import Any

import pytest
from eth_account import Account
from eth_account.messages import encode_typed_data
from hypothesis import given
from hypothesis import strategies as st

from primitives import secp256k1
from primitives.eip712 import TypedData, domain_separator, encode_type, hash_typed_data, hash_typed_data_json
from primitives.errors import InvalidTypedData
from primitives.keccak import keccak256

# The example that EIP-712 itself works through.
MAIL: dict[str, Any] = {
    "types": {
        "EIP712Domain": [
            {"name": "name", "type": "string"},
            {"name": "version", "type": "string"},
            {"name": "chainId", "type": "uint256"},
            {"name": "verifyingContract", "type": "address"},
        ],
        "Person": [{"name": "name", "type": "string"}, {"name": "wallet", "type": "address"}],
        "Mail": [
            {"name": "from", "type": "Person"},
            {"name": "to", "type": "Person"},
            {"name": "contents", "type": "string"},
        ],
    },
    "primaryType": "Mail",
    "domain": {
        "name": "Ether Mail",
        "version": "1",
        "chainId": 1,
        "verifyingContract": "0xCcCCccccCCCCcCCCCCCcCcCccCcCCCcCcccccccC",
    },
    "message": {
        "from": {"name": "Cow", "wallet": "0xCD2a3d9F938E13CD947Ec05AbC7FE734Df8DD826"},
        "to": {"name": "Bob", "wallet": "0xbBbBBBBbbBBBbbbBbbBbbbbBBbBbbbbBbBbbBBbB"},
        "contents": "Hello, Bob!",
    },
}


def test_the_example_of_the_standard() -> None:
    assert encode_type(MAIL["types"], "Mail") == (
        "Mail(Person from,Person to,string contents)Person(string name,address wallet)"
    )
    assert domain_separator(MAIL["domain"]).hex() == "f2cee375fa42b42143804025fc449deafd50cc031ca257e0b194a650a912090f"
    mail = TypedData(MAIL["domain"], MAIL["types"], "Mail")
    assert mail.type_hash.hex() == "a0cedeb2dc280ba39b857546d74f5549c3a1d7bdc2dd96bf881f76108e23dac2"
    assert mail.struct_hash(MAIL["message"]).hex() == "c52c0ee5d84264471806290a3f2c4cecfc5490626bf912d01f240d7a274b371e"
    expected = "be609aee343fb3c4b28e1df9e632fca64fcfaede20f02e86244efddf30957bd2"
    assert mail.hash(MAIL["message"]).hex() == expected
    assert hash_typed_data_json(MAIL).hex() == expected
    assert hash_typed_data_json(json.loads(json.dumps(MAIL))).hex() == expected


def test_structs_that_are_referred_to_follow_in_the_order_of_their_names() -> None:
    names = ["Zeta", "Beta", "Eta", "Alpha", "Delta", "Gamma"]
    types = {name: [{"name": "x", "type": "bool"}] for name in names}
    types["Middle"] = [{"name": name.lower(), "type": f"{name}[]"} for name in names]
    expected = "Middle(" + ",".join(f"{name}[] {name.lower()}" for name in names) + ")"
    assert encode_type(types, "Middle") == expected + "".join(f"{name}(bool x)" for name in sorted(names))


def test_a_signature_over_it_is_that_of_eth_account() -> None:
    private_key = keccak256(b"cow")
    y_parity, r, s = secp256k1.sign(hash_typed_data_json(MAIL), private_key)
    theirs = Account.sign_typed_data(private_key, full_message=MAIL)
    assert (y_parity, r, s) == (theirs.v - 27, theirs.r, theirs.s)


ATOMIC: dict[str, st.SearchStrategy[object]] = {
    "uint8": st.integers(0, 255),
    "uint256": st.integers(0, 2**256 - 1),
    "int32": st.integers(-(2**31), 2**31 - 1),
    "bool": st.booleans(),
    "address": st.binary(min_size=20, max_size=20).map(lambda value: "0x" + value.hex()),
    "bytes4": st.binary(min_size=4, max_size=4),
    "bytes32": st.binary(min_size=32, max_size=32),
    "bytes": st.binary(max_size=40),
    "string": st.text(max_size=20),
}


@st.composite
def documents(draw: st.DrawFn) -> tuple[dict[str, list[dict[str, str]]], dict[str, object]]:
    """Types with an Inner and an Outer struct, and a message of Outer."""

    def fields(kinds: list[str]) -> list[dict[str, str]]:
        return [{"name": f"field{i}", "type": kind} for i, kind in enumerate(kinds)]

    suffixes = st.sampled_from(["", "", "[]", "[2]", "[2][]", "[][2]"])
    inner = draw(st.lists(st.sampled_from(list(ATOMIC)), min_size=1, max_size=3))
    outer_kinds = st.builds(str.__add__, st.sampled_from([*ATOMIC, "Inner"]), suffixes)
    outer = draw(st.lists(outer_kinds, min_size=1, max_size=4))

    def value_of(kind: str) -> object:
        if kind.endswith("]"):
            element, _, length = kind[:-1].rpartition("[")
            return [value_of(element) for _ in range(int(length or draw(st.integers(0, 2))))]
        if kind == "Inner":
            return {f"field{i}": value_of(one) for i, one in enumerate(inner)}
        return draw(ATOMIC[kind])

    message = {f"field{i}": value_of(kind) for i, kind in enumerate(outer)}
    return {"Inner": fields(inner), "Outer": fields(outer)}, message


@given(documents(), st.sets(st.sampled_from(["name", "version", "chainId", "verifyingContract", "salt"])))
def test_drawn_messages_have_the_hash_of_eth_account(
    document: tuple[dict[str, list[dict[str, str]]], dict[str, object]], domain_fields: set[str]
) -> None:
    types, message = document
    # eth-account finds the primary type as the struct that no other refers to.
    if not any(field["type"].startswith("Inner") for field in types["Outer"]):
        del types["Inner"]
    full_domain = {**MAIL["domain"], "salt": b"\x05" * 32}
    domain = {name: value for name, value in full_domain.items() if name in domain_fields}
    signable = encode_typed_data(domain, types, message)
    expected = keccak256(b"\x19" + signable.version + signable.header + signable.body)
    assert hash_typed_data(domain, types, "Outer", message) == expected


def test_a_prepared_kind_of_message_hashes_many() -> None:
    types = {"Reading": [{"name": "meter", "type": "address"}, {"name": "energyWh", "type": "uint64"}]}
    readings = TypedData({"name": "Wattchain"}, types, "Reading")
    hashes = {readings.hash({"meter": b"\x01" * 20, "energyWh": energy_wh}) for energy_wh in range(20)}
    assert len(hashes) == 20
    assert readings.hash({"meter": b"\x01" * 20, "energyWh": 3}) == hash_typed_data(
        {"name": "Wattchain"}, types, "Reading", {"energyWh": 3, "meter": "0x" + "01" * 20}
    )


def test_numbers_and_bytes_may_be_text_as_in_json() -> None:
    types = {"T": [{"name": "n", "type": "int64"}, {"name": "b", "type": "bytes"}, {"name": "f", "type": "bytes2"}]}
    expected = hash_typed_data({}, types, "T", {"n": -5, "b": b"\x01", "f": b"\x02\x03"})
    assert hash_typed_data({}, types, "T", {"n": "-5", "b": "0x01", "f": "0x0203"}) == expected
    assert hash_typed_data({}, types, "T", {"n": "-0x5", "b": "0x01", "f": "0x0203"}) == expected


def test_a_struct_may_hold_arrays_of_itself() -> None:
    types = {"Node": [{"name": "children", "type": "Node[]"}]}
    message = {"children": [{"children": []}, {"children": [{"children": []}]}]}
    assert encode_type(types, "Node") == "Node(Node[] children)"
    assert len(hash_typed_data({}, types, "Node", message)) == 32
    for _ in range(200):
        message = {"children": [message]}
    with pytest.raises(InvalidTypedData, match="nested more than"):
        hash_typed_data({}, types, "Node", message)


def test_a_document_whose_primary_type_is_its_domain() -> None:
    document = {**MAIL, "primaryType": "EIP712Domain"}
    assert hash_typed_data_json(document) == keccak256(b"\x19\x01" + domain_separator(MAIL["domain"]))


def _changed(path: str, value: object) -> dict[str, Any]:
    document = copy.deepcopy(MAIL)
    *parents, last = path.split(".")
    place: Any = document
    for parent in parents:
        place = place[parent]
    if value is None:
        del place[last]
    else:
        place[last] = value
    return document


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("types", None),
        ("domain", None),
        ("message", None),
        ("primaryType", None),
        ("types", []),
        ("message", []),
        ("primaryType", "Letter"),
        ("types.Person", None),
        ("types.Person", "fields"),
        ("types.Person", ["name"]),
        ("types.Person", [{"name": "name"}]),
        ("types.Person", [{"name": "name", "type": 5}]),
        ("types.Person", [{"name": "na me", "type": "string"}]),
        ("types.Person", [{"name": "name", "type": "string"}, {"name": "name", "type": "string"}]),
        ("types.Per(son", []),
        ("types.Mail", [{"name": "contents", "type": "uint7"}]),
        ("types.Mail", [{"name": "contents", "type": "fixed128x18"}]),
        ("types.Mail", [{"name": "contents", "type": "function"}]),
        ("types.Mail", [{"name": "contents", "type": "string" + "[]" * 40}]),
        ("message.contents", None),
        ("message.extra", 1),
        ("message.contents", 5),
        ("message.to", "Bob"),
        ("message.to.wallet", "0xbB"),
        ("message.to.wallet", "0xbbBBBBBbbBBBbbbBbbBbbbbBBbBbbbbBbBbbBBbB"),
        ("domain.chainId", -1),
        ("domain.chainId", "one"),
        ("domain.color", "red"),
        ("domain.name", None),
    ],
)
def test_what_does_not_fit_its_types_is_refused(path: str, value: object) -> None:
    with pytest.raises(InvalidTypedData):
        hash_typed_data_json(_changed(path, value))


@pytest.mark.parametrize("document", [None, [], "text", {}])
def test_other_values_are_no_documents(document: object) -> None:
    with pytest.raises(InvalidTypedData):
        hash_typed_data_json(document)


def test_arrays_of_another_length_are_refused() -> None:
    types = {"T": [{"name": "a", "type": "uint8[2]"}]}
    for value in ([1], [1, 2, 3], 5):
        with pytest.raises(InvalidTypedData):
            hash_typed_data({}, types, "T", {"a": value})


def test_an_unknown_field_of_a_domain_is_refused() -> None:
    with pytest.raises(InvalidTypedData, match="no field color"):
        domain_separator({"color": "red"})
