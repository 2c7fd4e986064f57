"""The compiled contracts as Python sees them: artifact, calls, results, events and errors, all from the ABI.

It holds no logic of a contract. Encoding is primitives/contract_abi.py; where a contract stands is addresses.py.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from contracts.storage_layout import StorageLayout
from primitives.contract_abi import ContractAbi
from primitives.errors import UserError
from primitives.hexadecimal import parse_data

ARTIFACTS = Path(__file__).resolve().parent / "artifacts"


@dataclass(frozen=True, slots=True)
class Artifact:
    """One compiled contract. `abi` encodes calls and decodes results, logs and reverts."""

    name: str
    abi: ContractAbi
    abi_json: Sequence[Mapping[str, Any]]
    """As the compiler wrote it, for web3.py and other tools."""
    creation_code: bytes
    runtime_code: bytes
    """What stands at the contract's address; it has no immutables, so a genesis file may place it as it is."""
    storage_layout: StorageLayout

    def deployment(self, arguments: Sequence[object] = ()) -> bytes:
        """The data of a transaction that deploys the contract with these constructor arguments."""
        return self.creation_code + self.abi.encode_constructor(arguments)

    def error_name(self, revert_data: bytes) -> str | None:
        """The contract's own error that a call reverted with, None for anything else."""
        error = self.abi.errors.get(revert_data[:4])
        return None if error is None else error.name


@cache
def load_artifact(name: str, folder: Path = ARTIFACTS) -> Artifact:
    """The contract of this name ("Meter", "Exhaustion"). Raises UserError where the installation lacks it."""
    path = folder / f"{name}.json"
    try:
        document = json.loads(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise UserError(f"the compiled contract {path} is missing: install Wattchain again") from error
    return Artifact(
        name=name,
        abi=ContractAbi(document["abi"]),
        abi_json=document["abi"],
        creation_code=parse_data(document["bytecode"]),
        runtime_code=parse_data(document["deployedBytecode"]),
        storage_layout=StorageLayout(document["storageLayout"]),
    )
