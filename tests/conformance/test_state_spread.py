"""Official state tests in `make test`: every folder and nearly every case, save those that take minutes.

The whole is `make conformance`. On one core of a laptop this takes some 40 s.
"""

from pathlib import Path

import pytest

from tests.conformance.vectors import WHERE_TO_GET_THEM, files_of, run_file, vectors_root

MIN_CASES = 3_000
# Loops of millions of instructions, and 2^32 rounds of BLAKE2: nine cases that take longer than all others together.
SLOW = ("vmPerformance", "CALLBlake2f_MaxRounds")

pytestmark = pytest.mark.slow


def _files_by_folder() -> dict[str, list[Path]]:
    folders: dict[str, list[Path]] = {}
    for file in files_of("state", vectors_root()):
        if not any(name in str(file) for name in SLOW):
            folders.setdefault(file.relative_to(vectors_root()).parts[1], []).append(file)
    return folders


FOLDERS = _files_by_folder() if vectors_root().is_dir() else {}


@pytest.mark.skipif(not FOLDERS, reason=WHERE_TO_GET_THEM)
@pytest.mark.parametrize("folder", FOLDERS)
def test_state_vectors_pass(folder: str) -> None:
    outcomes = [outcome for file in FOLDERS[folder] for outcome in run_file("state", file)]
    assert outcomes
    failures = [f"{one.file} {one.name}: {one.failure}" for one in outcomes if one.failure is not None]
    assert not failures, "\n".join(failures)


@pytest.mark.skipif(not FOLDERS, reason=WHERE_TO_GET_THEM)
def test_the_spread_is_wide() -> None:
    texts = (file.read_text() for files in FOLDERS.values() for file in files)
    assert sum(text.count('"txbytes"') for text in texts) >= MIN_CASES


@pytest.mark.skipif(not FOLDERS, reason=WHERE_TO_GET_THEM)
@pytest.mark.parametrize("field", ["hash", "logs", "expectException"])
def test_a_vector_that_wants_another_result_fails(field: str, tmp_path: Path) -> None:
    file = next(file for file in FOLDERS["stExample"] if file.name == "add11.json")
    text = file.read_text()
    if field == "expectException":
        changed = text.replace('"indexes"', '"expectException": "Any", "indexes"')
    else:
        start = text.index('"0x', text.index(f'"{field}"')) + 3
        changed = text[:start] + ("00" if text[start : start + 2] != "00" else "01") + text[start + 2 :]
    copy = tmp_path / "changed.json"
    copy.write_text(changed)
    assert [outcome.failure is None for outcome in run_file("state", file)] == [True]
    assert [outcome.failure is None for outcome in run_file("state", copy)] == [False]
