"""Every error of every contract has its sentence, whoever wrote the commands; artifacts name the contracts."""

import importlib
import pkgutil

import pytest

import wallet
from contracts.binding import ARTIFACTS, load_artifact
from tests.wallet.refusal_checks import check_refusals
from wallet.contract_call import Contract


def known_contracts() -> dict[str, Contract]:
    """Of all rooms' files in wallet/: each contract that a command knows."""
    found = {}
    for module in pkgutil.iter_modules(wallet.__path__, "wallet."):
        for value in vars(importlib.import_module(module.name)).values():
            if isinstance(value, Contract):
                found[value.name] = value
    return found


KNOWN = known_contracts()
WITH_ERRORS = sorted(path.stem for path in ARTIFACTS.glob("*.json") if load_artifact(path.stem).abi.errors)


@pytest.mark.parametrize("name", WITH_ERRORS)
def test_each_error_of_a_contract_is_said_in_words(name: str) -> None:
    assert name in KNOWN, f"no command knows the contract {name}"
    check_refusals(KNOWN[name])
    assert KNOWN[name].missing.endswith(".")
