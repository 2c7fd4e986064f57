"""Where the vectors are, what a case is, and running the cases of one file. Not a runner itself: see __init__.py."""

import importlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

KINDS = ("state", "rlp", "trie", "transaction", "abi", "keystore")

WHERE_TO_GET_THEM = (
    "the official test vectors are not here: put the files of github.com/ethereum/tests "
    "(GeneralStateTests as state/, RLPTests as rlp/, TrieTests as trie/, TransactionTests as transaction/, ABITests as "
    "abi/, KeyStoreTests as keystore/) into one folder and name it in the environment variable WATTCHAIN_VECTORS"
)

_OFFICIAL_FOLDERS = {
    "state": "GeneralStateTests",
    "rlp": "RLPTests",
    "trie": "TrieTests",
    "transaction": "TransactionTests",
    "abi": "ABITests",
    "keystore": "KeyStoreTests",
}


@dataclass(frozen=True, slots=True)
class Case:
    """One vector: its name within its file, and what the file says about it."""

    name: str
    content: Any


class Mismatch(Exception):
    """Our code does not do what the vector says."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one case; failure is None where it passed."""

    file: Path
    name: str
    failure: str | None


class Runner(Protocol):
    def read(self, file: Path) -> Iterator[Case]: ...

    def check(self, case: Case) -> None: ...


def vectors_root() -> Path:
    """The folder named in WATTCHAIN_VECTORS, else shared/conformance beside the repository."""
    named = os.environ.get("WATTCHAIN_VECTORS")
    return Path(named) if named else Path(__file__).resolve().parents[3] / "shared" / "conformance"


def runner(kind: str) -> Runner:
    return cast(Runner, importlib.import_module(f"tests.conformance.{kind}"))


def files_of(kind: str, directory: Path) -> list[Path]:
    """All vector files of a kind: in its own folder where the directory has one, else anywhere below."""
    for name in (kind, _OFFICIAL_FOLDERS[kind]):
        if (directory / name).is_dir():
            directory = directory / name
            break
    return [directory] if directory.is_file() else sorted(directory.rglob("*.json"))


def run_file(kind: str, file: Path) -> list[Outcome]:
    """Check every case of one file. Whatever goes wrong is the failure of that case, or of the file."""
    module = runner(kind)
    outcomes = []
    try:
        for case in module.read(file):
            outcomes.append(Outcome(file, case.name, _failure(module, case)))
    except Exception as error:  # noqa: BLE001 - a file that cannot be read must be counted, not end the run
        outcomes.append(Outcome(file, "(file)", f"cannot be read: {type(error).__name__}: {error}"))
    return outcomes


def expect_equal(what: str, ours: object, expected: object) -> None:
    if ours != expected:
        raise Mismatch(f"{what} is {_shown(ours)}, expected {_shown(expected)}")


def from_hex(text: str) -> bytes:
    """Bytes of hexadecimal with or without 0x, as the vectors write it."""
    return bytes.fromhex(text.removeprefix("0x"))


def _failure(module: Runner, case: Case) -> str | None:
    try:
        module.check(case)
    except Mismatch as mismatch:
        return str(mismatch)
    except Exception as error:  # noqa: BLE001 - any error of the code under test is a failure of this case
        return f"{type(error).__name__}: {error}"
    return None


def _shown(value: object) -> str:
    return value.hex() if isinstance(value, bytes) else repr(value)
