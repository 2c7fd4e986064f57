"""python -m contracts.lint: nothing is left, neither findings without explanation nor explanations without finding."""

from pathlib import Path

import pytest

from contracts.lint import Explanation, Finding, complaints, read_explanations
from primitives.errors import UserError


def finding(check: str, place: str) -> Finding:
    return Finding("Low", check, place, "what slither says")


def test_a_finding_that_nothing_explains_is_left() -> None:
    explained = [Explanation("timestamp", {"Meter.submit": 1}, "time is what it is about")]
    found = [
        finding("timestamp", "Meter.submit"),
        finding("timestamp", "Market.quote"),
        finding("tx-origin", "Meter.submit"),
    ]
    left = complaints(found, explained)
    assert [line.split("\n")[0] for line in left] == [
        "Low: timestamp in Market.quote",
        "Low: tx-origin in Meter.submit",
    ]


def test_a_second_finding_in_an_explained_place_is_left() -> None:
    found = [finding("calls-loop", "Meter._accept")] * 2
    assert len(complaints(found, [Explanation("calls-loop", {"Meter._accept": 1}, "bounded")])) == 1
    assert complaints(found, [Explanation("calls-loop", {"Meter._accept": 2}, "bounded")]) == []


def test_an_explanation_of_nothing_is_refused() -> None:
    found = [finding("timestamp", "Meter.submit")]
    assert complaints(found, [Explanation("timestamp", {"Meter.submit": 2}, "")]) == [
        "explained.toml explains 2 of timestamp in Meter.submit; there are 1"
    ]
    assert complaints([], [Explanation("timestamp", {"*": 1}, "")]) == [
        "explained.toml explains 1 of timestamp in *; there are 0"
    ]


def test_a_check_can_be_explained_everywhere() -> None:
    found = [finding("timestamp", "Meter.submit"), finding("timestamp", "Market.quote")] * 3
    assert complaints(found, [Explanation("timestamp", {"*": 1}, "time is what they are about")]) == []


def test_an_explanation_can_be_of_one_kind_of_finding_only() -> None:
    explained = [Explanation("timestamp", {"*": 1}, "a reason", text="uses timestamp")]
    found = [finding("timestamp", "Meter.submit"), Finding("Low", "timestamp", "Market.quote", "uses timestamp for x")]
    assert [line.split("\n")[0] for line in complaints(found, explained)] == ["Low: timestamp in Meter.submit"]


def test_explanations_have_reasons_and_come_once(tmp_path: Path) -> None:
    path = tmp_path / "explained.toml"
    path.write_text('[[explained]]\ncheck = "calls-loop"\nwhere = ["A.f x3", "B.g"]\nreason = "bounded"\n')
    assert read_explanations(path) == [Explanation("calls-loop", {"A.f": 3, "B.g": 1}, "bounded")]
    path.write_text('[[explained]]\ncheck = "calls-loop"\nwhere = ["A.f"]\nreason = " "\n')
    with pytest.raises(UserError, match="no reason is given for calls-loop"):
        read_explanations(path)
    path.write_text('[[explained]]\ncheck = "calls-loop"\nwhere = ["A.f", "A.f x2"]\nreason = "bounded"\n')
    with pytest.raises(UserError, match="explained twice"):
        read_explanations(path)


def test_the_explanations_of_the_repository_are_of_this_form() -> None:
    assert all(len(explanation.reason) > 20 for explanation in read_explanations())
