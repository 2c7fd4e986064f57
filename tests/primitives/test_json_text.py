"""Strict JSON: what Python's parser reads is read alike, and what could harm the process is refused."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from primitives.json_text import MAX_JSON_DEPTH, InvalidJson, parse_json

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(values, st.booleans())
def test_values_come_back(value: object, ensure_ascii: bool) -> None:
    text = json.dumps(value, ensure_ascii=ensure_ascii)
    try:
        encoded = text.encode()
    except UnicodeEncodeError:  # a lone surrogate is no UTF-8
        return
    assert parse_json(text) == parse_json(encoded) == value


@given(st.text(alphabet='[]{}":,\\01aé \n', max_size=30))
def test_drawn_texts_are_read_as_python_reads_them_or_refused(text: str) -> None:
    try:
        expected = json.loads(text)
    except ValueError:
        with pytest.raises(InvalidJson):
            parse_json(text)
        return
    assert parse_json(text) == expected


def test_the_depth_is_bounded_and_brackets_in_strings_do_not_count() -> None:
    deepest = "[" * MAX_JSON_DEPTH + "]" * MAX_JSON_DEPTH
    assert parse_json(deepest) == json.loads(deepest)
    with pytest.raises(InvalidJson, match="nested more than"):
        parse_json(f"[{deepest}]")
    assert parse_json(json.dumps(["[" * 1000 + '"' + "\\" + "{" * 1000])) == ["[" * 1000 + '"' + "\\" + "{" * 1000]
    assert parse_json("[" + ",".join(["[]"] * 1000) + "]") == [[]] * 1000
    with pytest.raises(InvalidJson, match="nested more than"):
        parse_json("[[]," * (MAX_JSON_DEPTH + 1) + "1" + "]" * (MAX_JSON_DEPTH + 1))


@pytest.mark.parametrize(
    "text", [b"", b"\xff", b'"\xed\xa0\x80"', "NaN", "[Infinity]", "-Infinity", "1e999", "9" * 5000]
)
def test_what_is_not_json_is_refused(text: bytes | str) -> None:
    with pytest.raises(InvalidJson):
        parse_json(text)


def test_deep_nesting_does_not_end_a_process_whose_recursion_limit_was_raised() -> None:
    program = (
        "import sys; sys.setrecursionlimit(100_000)\n"
        "from primitives.json_text import InvalidJson, parse_json\n"
        "for text in ('[' * 200_000, '{\"a\":' * 200_000, '\"' * 200_000):\n"
        "    try: parse_json(text)\n"
        "    except InvalidJson: print('refused')\n"
    )
    repository = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=repository, capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout) == (0, "refused\n" * 3)
