"""`python -m contracts.build`: compiles contracts/src with the pinned compiler and writes contracts/artifacts.

Reproducible: versions come from package-lock.json (npm ci checks their digests), the compiler leaves out its metadata
hash, and an artifact is JSON with sorted keys. Needs node and npm; nothing that runs a node or a meter needs this file.
Input and output: https://docs.soliditylang.org, "Compiler Input and Output JSON Description".
"""

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from primitives.errors import UserError

HERE = Path(__file__).resolve().parent
SOURCES = HERE / "src"
ARTIFACTS = HERE / "artifacts"
COMPILER = HERE / "node_modules" / "solc" / "solc.js"

NPM_TIMEOUT_S = 600
"""The compiler is 9 MB; a Pi behind a slow line needs minutes for it."""
COMPILE_TIMEOUT_S = 600

OPTIMIZER_RUNS = 1_000_000
"""A reading is charged for years by code that is placed once: cheap calls count, size (far below 24 KB) does not."""
RUNS_OF = {"Auction.sol": 200}
"""Where size counts: the auction would be above the 24 KB that a contract's code may have (EIP-170)."""

_OUTPUTS = ["abi", "evm.bytecode.object", "evm.deployedBytecode.object", "evm.methodIdentifiers", "storageLayout"]
_AST_NUMBER = re.compile(r"\)\d+")


def install_compiler() -> None:
    """Fetches what package-lock.json names. Raises UserError where node or npm is missing or fails."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        raise UserError("compiling the contracts needs node and npm: sudo apt install nodejs npm")
    command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    finished = subprocess.run(
        command, cwd=HERE, capture_output=True, text=True, timeout=NPM_TIMEOUT_S, check=False, stdin=subprocess.DEVNULL
    )
    if finished.returncode != 0:
        raise UserError(f"npm could not install the compiler: {finished.stderr.strip()[-500:]}")


def compile_sources(sources: Path = SOURCES, library: Path | None = None) -> dict[str, dict[str, object]]:
    """The artifact of every contract (not of interfaces) defined in the .sol files of a folder, by name.

    Where `library` is given, the sources may also import its files. Raises UserError with the compiler's messages.
    """
    files_by_runs: dict[int, list[str]] = {}
    for path in sorted(sources.glob("*.sol")):
        files_by_runs.setdefault(RUNS_OF.get(path.name, OPTIMIZER_RUNS), []).append(path.name)
    compiled = [compile_files(sources, library, files, runs) for runs, files in files_by_runs.items()]
    return {name: artifact for artifacts in compiled for name, artifact in artifacts.items()}


def compile_files(sources: Path, library: Path | None, files: list[str], runs: int) -> dict[str, dict[str, object]]:
    """The artifacts of some files of a folder, optimised for so many calls of what they contain."""
    settings = {
        "optimizer": {"enabled": True, "runs": runs},
        "viaIR": True,
        "metadata": {"appendCBOR": False, "bytecodeHash": "none"},
        "outputSelection": {file: {"*": _OUTPUTS} for file in files},
    }
    output = compiler_output(sources, library, settings)
    return {
        name: _artifact(name, file, output["contracts"][file][name], runs)
        for file in files
        for name in sorted(output["contracts"].get(file, {}))
        if _is_callable(output["contracts"][file][name])
    }


def compiler_output(sources: Path, library: Path | None, settings: Mapping[str, object]) -> dict[str, Any]:
    """The compiler's own JSON for the .sol files of one or two folders. Raises UserError with its messages."""
    folders = [folder for folder in (sources, library) if folder is not None]
    request = {
        "language": "Solidity",
        "sources": {path.name: {"content": path.read_text()} for folder in folders for path in folder.glob("*.sol")},
        "settings": {"evmVersion": "cancun", **settings},
    }
    command = ["node", str(COMPILER), "--standard-json", "--base-path", str(sources)]
    command += ["--include-path", str(HERE / "node_modules")]
    output = _run_compiler(command, json.dumps(request))
    messages = [str(message["formattedMessage"]) for message in output.get("errors", []) if _is_ours(message)]
    if messages:
        raise UserError("the compiler complains:\n" + "\n".join(messages))
    return output


def write_artifacts(artifacts: Mapping[str, Mapping[str, object]], folder: Path = ARTIFACTS) -> None:
    """Writes one JSON file for each contract and removes those of contracts that are gone."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.glob("*.json"):
        if path.stem not in artifacts:
            path.unlink()
    for name, artifact in artifacts.items():
        (folder / f"{name}.json").write_text(artifact_text(artifact))


def artifact_text(artifact: Mapping[str, object]) -> str:
    return json.dumps(artifact, indent=1, sort_keys=True) + "\n"


def _run_compiler(command: list[str], request: str) -> dict[str, Any]:
    # Files, not pipes: the wrapper reads without waiting, and exits before a pipe has taken more than 64 KiB.
    with tempfile.TemporaryFile("w+") as source, tempfile.TemporaryFile("w+") as output:
        source.write(request)
        source.seek(0)
        finished = subprocess.run(
            command,
            stdin=source,
            stdout=output,
            stderr=subprocess.PIPE,
            text=True,
            timeout=COMPILE_TIMEOUT_S,
            check=False,
        )
        output.seek(0)
        text = output.read()
    # The wrapper prints a line of its own before the JSON.
    start = text.find("{")
    if finished.returncode != 0 or start < 0:
        raise UserError(f"the compiler failed: {(finished.stderr or text).strip()[-500:]}")
    parsed: dict[str, Any] = json.loads(text[start:])
    return parsed


def _is_callable(compiled: Mapping[str, Any]) -> bool:
    """Neither an interface, nor a library whose functions are all built into the contracts that use it."""
    return bool(compiled["evm"]["bytecode"]["object"] and compiled["abi"])


def _is_ours(message: Mapping[str, Any]) -> bool:
    """Errors, and warnings about our own sources: those about the library are its authors' to act on."""
    location = message.get("sourceLocation") or {}
    return message["severity"] == "error" or not str(location.get("file", "")).startswith("@openzeppelin/")


def _artifact(name: str, source: str, compiled: Mapping[str, object], runs: int) -> dict[str, object]:
    evm = compiled["evm"]
    layout = compiled["storageLayout"]
    if not isinstance(evm, Mapping) or not isinstance(layout, Mapping):
        raise UserError(f"the compiler's output for {name} is not of the expected form")
    compiler = json.loads((HERE / "package.json").read_text())["dependencies"]["solc"]
    return {
        "abi": compiled["abi"],
        "bytecode": "0x" + evm["bytecode"]["object"],
        "compiler": {"evmVersion": "cancun", "optimizerRuns": runs, "solc": compiler, "viaIR": True},
        "contractName": name,
        "deployedBytecode": "0x" + evm["deployedBytecode"]["object"],
        "methodIdentifiers": evm["methodIdentifiers"],
        "sourceName": source,
        "storageLayout": _stable_layout(layout),
    }


def _stable_layout(layout: Mapping[str, object]) -> object:
    """The storage layout without the compiler's internal numbers, which change with every unrelated line of source."""
    text = _AST_NUMBER.sub(")", json.dumps({"storage": layout["storage"], "types": layout["types"]}))
    return _without_key(json.loads(text), "astId")


def _without_key(value: object, key: str) -> object:
    if isinstance(value, dict):
        return {name: _without_key(item, key) for name, item in value.items() if name != key}
    if isinstance(value, list):
        return [_without_key(item, key) for item in value]
    return value


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m contracts.build", description="Compile the contracts.")
    parser.add_argument("--sources", type=Path, default=SOURCES, help="folder of .sol files (contracts/src)")
    parser.add_argument("--artifacts", type=Path, default=ARTIFACTS, help="folder to write to (contracts/artifacts)")
    arguments = parser.parse_args()
    try:
        install_compiler()
        library = None if arguments.sources.resolve() == SOURCES else SOURCES
        artifacts = compile_sources(arguments.sources, library)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    write_artifacts(artifacts, arguments.artifacts)
    for name, artifact in artifacts.items():
        print(f"{name}: {len(str(artifact['deployedBytecode'])) // 2 - 1} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
