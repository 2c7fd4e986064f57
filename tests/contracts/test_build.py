"""The artifacts in the repository are what the pinned compiler makes of the sources, byte by byte."""

import json
import re
import shutil
from pathlib import Path

import pytest

from contracts import build
from primitives.errors import UserError

TEST_SOURCES = Path(__file__).parent / "src"
TEST_ARTIFACTS = Path(__file__).parent / "artifacts"
LOCK = json.loads((build.HERE / "package-lock.json").read_text())
MAX_CODE_BYTES = 24_576  # EIP-170


@pytest.fixture(scope="module")
def compiler() -> None:
    """The pinned compiler; npm is asked for it only where it is not there yet."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("node and npm are not installed, so the contracts cannot be compiled again")
    installed = build.HERE / "node_modules" / ".package-lock.json"
    wanted = {name: entry for name, entry in LOCK["packages"].items() if name}
    if not installed.exists() or json.loads(installed.read_text())["packages"] != wanted:
        try:
            build.install_compiler()
        except UserError as error:
            pytest.skip(f"the compiler is not installed and could not be fetched: {error}")


@pytest.mark.compiles
@pytest.mark.usefixtures("compiler")
@pytest.mark.parametrize(
    ("sources", "library", "artifacts"),
    [(build.SOURCES, None, build.ARTIFACTS), (TEST_SOURCES, build.SOURCES, TEST_ARTIFACTS)],
    ids=["contracts", "attackers"],
)
def test_a_new_build_differs_in_nothing(sources: Path, library: Path | None, artifacts: Path) -> None:
    compiled = build.compile_sources(sources, library)
    assert sorted(compiled) == sorted(path.stem for path in artifacts.glob("*.json"))
    for name, artifact in compiled.items():
        same = build.artifact_text(artifact) == (artifacts / f"{name}.json").read_text()
        assert same, f"{name} differs: run python -m contracts.build"


@pytest.mark.usefixtures("compiler")
def test_a_mistake_in_a_source_is_told(tmp_path: Path) -> None:
    (tmp_path / "Wrong.sol").write_text("contract Wrong { uint x = true; }")
    with pytest.raises(UserError, match="not implicitly convertible"):
        build.compile_sources(tmp_path)


def test_without_npm_the_build_names_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(UserError, match="apt install nodejs npm"):
        build.install_compiler()


def test_writing_artifacts_removes_those_of_contracts_that_are_gone(tmp_path: Path) -> None:
    build.write_artifacts({"Old": {"abi": []}, "New": {"b": 1, "a": 2}}, tmp_path)
    build.write_artifacts({"New": {"b": 1, "a": 2}}, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["New.json"]
    assert (tmp_path / "New.json").read_text() == '{\n "a": 2,\n "b": 1\n}\n'


def test_versions_are_pinned_and_the_lock_names_no_host() -> None:
    package = json.loads((build.HERE / "package.json").read_text())
    for name, version in package["dependencies"].items():
        assert re.fullmatch(r"\d+\.\d+\.\d+", version)
        assert LOCK["packages"][f"node_modules/{name}"]["version"] == version
    for name, entry in LOCK["packages"].items():
        assert "resolved" not in entry
        assert not name or entry["integrity"].startswith("sha512-")


def test_codes_carry_no_metadata_and_fit() -> None:
    for path in build.ARTIFACTS.glob("*.json"):
        code = bytes.fromhex(json.loads(path.read_text())["deployedBytecode"][2:])
        assert b"solc" not in code
        assert len(code) < MAX_CODE_BYTES
