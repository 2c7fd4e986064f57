"""Short codes: the official vectors, and a meter that takes each code once whatever the order they are typed in."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.openpaygo import (
    COUNTS_AHEAD,
    COUNTS_BEHIND,
    MAX_COUNT,
    MAX_LONG_VALUE,
    CodeCounts,
    CodeKind,
    CodeSecret,
    CodeUsed,
    InvalidCode,
    make_code,
    read_code,
    starting_code_of,
)
from tests.conformance.vectors import vectors_root

KEY = bytes.fromhex("bc41ec9530f6dac86b1a29ab82edc5fb")
SECRET = CodeSecret(KEY, 516959010)
KINDS = {"ADD_TIME": CodeKind.ADD_TIME, "SET_TIME": CodeKind.SET_TIME}
KINDS |= {"DISABLE_PAYG": CodeKind.DISABLE_PAYG, "COUNTER_SYNC": CodeKind.COUNTER_SYNC}
NEW = CodeCounts(1)


def test_official_vectors() -> None:
    """Each code as it is published, made and read again."""
    path = vectors_root() / "openpaygo" / "test_tokens.jsonl"
    if not path.is_file():
        pytest.skip("the vectors are not here: put test_tokens.jsonl of github.com/EnAccess/OpenPAYGO-python into the "
                    "folder openpaygo beside the other vectors (WATTCHAIN_VECTORS)")  # fmt: skip
    cases = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(cases) == 80
    for case in cases:
        secret = CodeSecret(bytes.fromhex(case["key"]), case["starting_code"], case["restricted_digit_set"])
        kind, value = KINDS[case["token_type"]], case["value_raw"] or 0
        made = make_code(secret, case["count"], kind, value, is_long=case["extended_token"])
        assert made == (case["token"], case["new_count"]), case
        read = read_code(secret, CodeCounts(case["count"]), case["token"])
        assert (read.kind, read.value, read.count) == (kind, value, case["new_count"]), case


@pytest.mark.parametrize(
    ("kind", "value", "four_digits", "is_long", "code"),
    [
        (CodeKind.ADD_TIME, 1, False, False, "588224011"),
        (CodeKind.ADD_TIME, 1, False, True, "247264959011"),
        (CodeKind.ADD_TIME, 1, True, False, "314114432231134"),
        (CodeKind.ADD_TIME, 1, True, True, "14323213131442331314"),
        (CodeKind.ADD_TIME, 2, False, False, "639704012"),
    ],
)
def test_a_few_published_codes(kind: CodeKind, value: int, four_digits: bool, is_long: bool, code: str) -> None:
    secret = CodeSecret(KEY, 516959010, four_digits)
    assert make_code(secret, 1, kind, value, is_long=is_long) == (code, 2)
    spaced = f"{code[:3]} {code[3:6]}-{code[6:]}"
    assert read_code(secret, NEW, spaced).counts == CodeCounts(2, frozenset({2}))


def test_each_code_counts_once_in_any_order_of_a_few() -> None:
    codes, count = [], 1
    for value in (10, 20, 30):
        code, count = make_code(SECRET, count, CodeKind.ADD_TIME, value)
        codes.append(code)
    counts, units = NEW, 0
    for code in reversed(codes):
        read = read_code(SECRET, counts, code)
        counts, units = read.counts, units + read.value
        with pytest.raises(CodeUsed):
            read_code(SECRET, counts, code)
    assert (units, counts) == (60, CodeCounts(6, frozenset({2, 4, 6})))


def test_setting_and_unlocking_void_what_was_not_typed() -> None:
    early, count = make_code(SECRET, 1, CodeKind.ADD_TIME, 10)
    for kind, value in ((CodeKind.SET_TIME, 5), (CodeKind.DISABLE_PAYG, 0), (CodeKind.COUNTER_SYNC, 0)):
        late, _ = make_code(SECRET, count, kind, value)
        read = read_code(SECRET, NEW, late)
        assert (read.kind, read.value) == (kind, value)
        with pytest.raises(CodeUsed):
            read_code(SECRET, read.counts, early)
        with pytest.raises(CodeUsed):
            read_code(SECRET, read.counts, late)


def test_a_code_too_far_ahead_or_behind_does_not_count() -> None:
    far, count = make_code(SECRET, 1 + COUNTS_AHEAD, CodeKind.ADD_TIME, 1)
    with pytest.raises(InvalidCode):
        read_code(SECRET, NEW, far)
    sync, _ = make_code(SECRET, count, CodeKind.COUNTER_SYNC)
    synced = read_code(SECRET, NEW, sync)
    assert synced.counts.last == count + 1
    old, _ = make_code(SECRET, 1, CodeKind.ADD_TIME, 1)
    with pytest.raises(CodeUsed):
        read_code(SECRET, CodeCounts(2 + COUNTS_BEHIND), old)
    assert read_code(SECRET, CodeCounts(1 + COUNTS_BEHIND), old).count == 2


def test_a_code_for_the_counter_never_sets_it_back() -> None:
    """What was used would count again."""
    sync, count = make_code(SECRET, 10, CodeKind.COUNTER_SYNC)
    with pytest.raises(CodeUsed):
        read_code(SECRET, CodeCounts(count + 10), sync)


@pytest.mark.parametrize("text", ["", "1", "12345678", "1234567890", "12345678x", "１２３４５６７８９", "5" * 1_000])
def test_what_is_no_code(text: str) -> None:
    for secret in (SECRET, CodeSecret(KEY, 5, True)):
        with pytest.raises(InvalidCode):
            read_code(secret, NEW, text)


def test_values_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InvalidCode, match="from 0 to 995"):
        make_code(SECRET, 1, CodeKind.ADD_TIME, 996)
    with pytest.raises(InvalidCode, match="from 0 to 999999"):
        make_code(SECRET, 1, CodeKind.ADD_TIME, MAX_LONG_VALUE + 1, is_long=True)
    with pytest.raises(InvalidCode, match="another kind"):
        make_code(SECRET, 1, CodeKind.SET_TIME, 998, is_long=True)
    with pytest.raises(InvalidCode, match="new key"):
        make_code(SECRET, MAX_COUNT, CodeKind.ADD_TIME, 1)
    with pytest.raises(InvalidCode):
        CodeSecret(KEY[1:], 1)
    assert 0 <= starting_code_of(KEY) < 10**9


@given(
    st.binary(min_size=16, max_size=16),
    st.integers(0, 999_999_999),
    st.integers(0, 60),
    st.sampled_from(CodeKind),
    st.integers(0, 995),
    st.booleans(),
    st.booleans(),
)
def test_what_is_made_is_read(
    key: bytes, start: int, count: int, kind: CodeKind, value: int, four_digits: bool, is_long: bool
) -> None:
    secret = CodeSecret(key, start, four_digits)
    code, number = make_code(secret, count, kind, value, is_long=is_long)
    read = read_code(secret, CodeCounts(count), code)
    has_value = kind in (CodeKind.ADD_TIME, CodeKind.SET_TIME)
    assert (read.kind, read.value, read.count) == (kind, value if has_value else 0, number)
