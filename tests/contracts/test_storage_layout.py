"""Slots and values by the compiler's layout: known places, and refusal of what does not fit."""

import pytest

from contracts.storage_layout import StorageLayout
from primitives.keccak import keccak256

_NUMBER = {"encoding": "inplace", "label": "uint16", "numberOfBytes": "2"}
LAYOUT = StorageLayout(
    {
        "storage": [
            {"label": "count", "slot": "0", "offset": 0, "type": "number"},
            {"label": "pair", "slot": "1", "offset": 0, "type": "struct"},
            {"label": "people", "slot": "3", "offset": 0, "type": "mapping"},
            {"label": "list", "slot": "4", "offset": 0, "type": "array"},
            {"label": "guests", "slot": "5", "offset": 0, "type": "addresses"},
        ],
        "types": {
            "number": _NUMBER,
            "signed": {"encoding": "inplace", "label": "int8", "numberOfBytes": "1"},
            "address": {"encoding": "inplace", "label": "address", "numberOfBytes": "20"},
            "struct": {
                "encoding": "inplace",
                "label": "struct Pair",
                "numberOfBytes": "64",
                "members": [
                    {"label": "first", "slot": "0", "offset": 0, "type": "number"},
                    {"label": "second", "slot": "0", "offset": 2, "type": "signed"},
                    {"label": "third", "slot": "1", "offset": 0, "type": "address"},
                ],
            },
            "mapping": {
                "encoding": "mapping",
                "label": "mapping",
                "numberOfBytes": "32",
                "key": "address",
                "value": "struct",
            },
            "array": {"encoding": "dynamic_array", "label": "uint16[]", "numberOfBytes": "32", "base": "number"},
            "addresses": {"encoding": "dynamic_array", "label": "address[]", "numberOfBytes": "32", "base": "address"},
        },
    }
)
PERSON = b"\x11" * 20


def test_a_plain_variable() -> None:
    assert LAYOUT.slot("count") == 0
    assert LAYOUT.assign("count", value=513) == {0: 513}


def test_a_struct_is_packed_from_the_right() -> None:
    assert LAYOUT.assign("pair", value={"first": 0x0102, "second": -1, "third": PERSON}) == {
        1: 0xFF0102,
        2: int.from_bytes(PERSON, "big"),
    }
    assert LAYOUT.assign("pair", value={"second": 1}) == {1: 0x010000, 2: 0}


def test_a_struct_is_read_as_it_was_written() -> None:
    value = {"first": 0xFFFE, "second": -3, "third": PERSON}
    contents = LAYOUT.assign("people", PERSON, value=value)
    assert LAYOUT.slots("people", PERSON) == tuple(contents)
    assert LAYOUT.slots("count") == (0,)
    read = LAYOUT.read_struct("people", PERSON, contents=contents)
    assert read == value | {"third": int.from_bytes(PERSON, "big")}
    assert LAYOUT.read_struct("pair", contents={1: 0, 2: 0}) == {"first": 0, "second": 0, "third": 0}


def test_a_mapping_hashes_key_and_slot() -> None:
    slot = int.from_bytes(keccak256(bytes(12) + PERSON + (3).to_bytes(32, "big")), "big")
    assert LAYOUT.slot("people", PERSON) == slot
    assert LAYOUT.assign("people", PERSON, value={"first": 7}) == {slot: 7, slot + 1: 0}


def test_a_list_has_its_length_in_its_slot_and_its_elements_behind_the_hash_of_it() -> None:
    first = int.from_bytes(keccak256((5).to_bytes(32, "big")), "big")
    other = b"\x22" * 20
    assert LAYOUT.assign_list("guests", [PERSON, other]) == {
        5: 2,
        first: int.from_bytes(PERSON, "big"),
        first + 1: int.from_bytes(other, "big"),
    }
    assert LAYOUT.assign_list("guests", []) == {5: 0}


@pytest.mark.parametrize(
    ("variable", "values"),
    [("count", [1]), ("list", [1]), ("people", []), ("missing", []), ("guests", [b"\x11"]), ("guests", ["0x11"])],
)
def test_lists_that_do_not_fit_are_refused(variable: str, values: list[object]) -> None:
    with pytest.raises(ValueError, match=r"."):
        LAYOUT.assign_list(variable, values)


@pytest.mark.parametrize(
    ("variable", "keys", "value"),
    [
        ("missing", (), 0),
        ("count", (), 65_536),
        ("count", (), -1),
        ("count", (), "1"),
        ("count", (), b"\x01"),
        ("count", (PERSON,), 1),
        ("people", (), 1),
        ("people", (b"\x11",), {}),
        ("pair", (), 1),
        ("pair", (), {"fourth": 1}),
        ("pair", (), {"second": 128}),
        ("list", (), 1),
    ],
)
def test_what_does_not_fit_is_refused(variable: str, keys: tuple[bytes, ...], value: object) -> None:
    with pytest.raises(ValueError, match=r"."):
        LAYOUT.assign(variable, *keys, value=value)
