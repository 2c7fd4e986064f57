"""The official RLP, trie, transaction, ABI and keystore vectors, all of them, and the runner's own behaviour."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conformance.__main__ import main
from tests.conformance.vectors import WHERE_TO_GET_THEM, files_of, run_file, vectors_root

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("kind", ["rlp", "trie", "transaction", "abi", "keystore"])
def test_all_official_vectors_pass(kind: str) -> None:
    if not vectors_root().is_dir():
        pytest.skip(WHERE_TO_GET_THEM)
    files = files_of(kind, vectors_root())
    assert files, f"no {kind} vectors under {vectors_root()}"
    outcomes = [outcome for file in files for outcome in run_file(kind, file)]
    assert outcomes
    failures = [f"{one.file} {one.name}: {one.failure}" for one in outcomes if one.failure is not None]
    assert not failures, "\n".join(failures)


@pytest.fixture
def rlp_files(tmp_path: Path) -> Path:
    """Two good cases, a wrong one, one of another form and a file that is no JSON."""
    (tmp_path / "deep").mkdir()
    (tmp_path / "good.json").write_text(json.dumps({"dog": {"in": "dog", "out": "0x83646f67"}}))
    wrong = {"cat": {"in": "cat", "out": "0x83646f67"}, "bad": {"in": "INVALID", "out": "8101"}, "odd": {"in": 1}}
    (tmp_path / "deep" / "wrong.json").write_text(json.dumps(wrong))
    (tmp_path / "deep" / "broken.json").write_text("{")
    return tmp_path


@pytest.mark.parametrize("workers", ["1", "2"])
def test_failures_are_named_and_counted(rlp_files: Path, workers: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rlp", str(rlp_files), "--workers", workers]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "2 passed, 3 failed"
    failed = sorted(lines[:-1])
    assert len(failed) == 3
    assert failed[0].startswith(f"FAILED {rlp_files}/deep/broken.json (file): cannot be read")
    assert failed[1] == f"FAILED {rlp_files}/deep/wrong.json cat: the encoding is 83636174, expected 83646f67"
    assert failed[2].startswith(f"FAILED {rlp_files}/deep/wrong.json odd: KeyError")


def test_one_file_can_be_run_alone(rlp_files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rlp", str(rlp_files / "good.json")]) == 0
    assert capsys.readouterr().out == "1 passed, 0 failed\n"


def test_a_folder_without_vectors_is_no_success(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["abi", str(tmp_path)]) == 2
    printed = capsys.readouterr()
    assert printed.out == "0 passed, 0 failed\n"
    assert "WATTCHAIN_VECTORS" in printed.err


def test_the_official_folder_names_are_known(tmp_path: Path) -> None:
    (tmp_path / "RLPTests").mkdir()
    (tmp_path / "ABITests").mkdir()
    (tmp_path / "RLPTests" / "a.json").touch()
    (tmp_path / "ABITests" / "b.json").touch()
    assert files_of("rlp", tmp_path) == [tmp_path / "RLPTests" / "a.json"]


def test_the_command_uses_the_folder_in_the_environment(rlp_files: Path) -> None:
    (rlp_files / "deep" / "broken.json").unlink()
    (rlp_files / "deep" / "wrong.json").unlink()
    done = subprocess.run(
        [sys.executable, "-m", "tests.conformance", "rlp"],
        cwd=REPOSITORY,
        env={**os.environ, "WATTCHAIN_VECTORS": str(rlp_files)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "1 passed, 0 failed\n", "")


def test_a_transaction_vector_that_wants_another_result_fails(tmp_path: Path) -> None:
    if not vectors_root().is_dir():
        pytest.skip(WHERE_TO_GET_THEM)
    source = next(file for file in files_of("transaction", vectors_root()) if file.name == "RightVRSTest.json")
    for field, value in (("sender", "0x" + "11" * 20), ("intrinsicGas", "0x1"), ("exception", "Any")):
        document = json.loads(source.read_text())
        document["RightVRSTest"]["result"]["Cancun"][field] = value
        changed = tmp_path / "changed.json"
        changed.write_text(json.dumps(document))
        assert [outcome.failure is not None for outcome in run_file("transaction", changed)] == [True]
