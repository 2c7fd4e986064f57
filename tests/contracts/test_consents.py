"""No address becomes a meter without its key's word for this supplier, registry and chain."""

import pytest
from eth_account.messages import encode_typed_data

from contracts.addresses import EXHAUSTION_ADDRESS, METER_ADDRESS, REGISTRY_ADDRESS
from contracts.consent_format import consent_hash
from contracts.reading_format import compact_signature
from contracts.roles import Role
from primitives.hexadecimal import to_data
from primitives.keccak import keccak256
from primitives.secp256k1 import sign
from tests.contracts.ledgers import CHAIN_ID
from tests.contracts.neighbourhood import (
    OWNER,
    POINT_OF_SUPPLY,
    REGISTRY,
    REGULATOR,
    RIVAL,
    SUPPLIER,
    Device,
    Neighbourhood,
    consent,
    key_of,
    reason,
)

MAX_S = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0
OLD, NEW = Device("meter one"), Device("new meter")


@pytest.fixture
def town() -> Neighbourhood:
    street = Neighbourhood(OLD)
    assert street.registry(REGULATOR, "addMember", RIVAL, Role.SUPPLIER).success
    return street


def _try(town: Neighbourhood, signature: tuple[bytes, bytes], supplier: bytes = SUPPLIER) -> tuple[str, str]:
    """How an installation, and a swap by SUPPLIER, would be refused; "" where one would not."""
    installation = (NEW.address, OWNER, EXHAUSTION_ADDRESS, 0, POINT_OF_SUPPLY, 0, 0, signature)
    swap = (OLD.address, NEW.address, 0, 0, 0, 0, signature)
    calls = ((supplier, "installMeter", installation), (SUPPLIER, "swapMeter", swap))
    installed, swapped = (
        reason(town.ledger.call(sender, REGISTRY_ADDRESS, REGISTRY.abi.encode_call(function, arguments))) or ""
        for sender, function, arguments in calls
    )
    return installed, swapped


def _signed(digest: bytes, key: bytes) -> tuple[bytes, bytes]:
    return compact_signature(*sign(digest, key))


def test_with_the_keys_own_consent_a_meter_is_installed_or_takes_a_place(town: Neighbourhood) -> None:
    assert _try(town, consent(NEW.address, SUPPLIER)) == ("", "")


@pytest.mark.parametrize(
    "digest",
    [
        consent_hash(CHAIN_ID, NEW.address, RIVAL),
        consent_hash(CHAIN_ID + 1, NEW.address, SUPPLIER),
        consent_hash(CHAIN_ID, NEW.address, SUPPLIER, METER_ADDRESS),
        consent_hash(CHAIN_ID, OLD.address, SUPPLIER),
        keccak256(b"anything else"),
    ],
    ids=["another supplier", "another chain", "another contract", "another meter", "something else"],
)
def test_what_the_key_has_signed_for_anything_else_is_no_consent(town: Neighbourhood, digest: bytes) -> None:
    for refusal in _try(town, _signed(digest, key_of(NEW.name))):
        assert refusal.startswith(f"ConsentInvalid(meter={to_data(NEW.address)}, supplier={to_data(SUPPLIER)}, ")


def test_another_keys_signature_is_no_consent_and_it_is_said_whose_it_is(town: Neighbourhood) -> None:
    digest = consent_hash(CHAIN_ID, NEW.address, SUPPLIER)
    for refusal in _try(town, _signed(digest, key_of("supplier"))):
        assert refusal.endswith(f"recovered={to_data(SUPPLIER)})")


def test_malformed_signatures_are_nobodys(town: Neighbourhood) -> None:
    r, vs = consent(NEW.address, SUPPLIER)
    upper = (int.from_bytes(vs, "big") & 1 << 255 | MAX_S + 1).to_bytes(32, "big")
    for signature in ((bytes(32), bytes(32)), (b"\xff" * 32, vs), (r, b"\xff" * 32), (r, upper)):
        for refusal in _try(town, signature):
            assert refusal.endswith(f"recovered={to_data(bytes(20))})")


def test_a_consent_is_of_no_use_to_another_supplier_who_sees_it_nor_twice(town: Neighbourhood) -> None:
    seen = consent(NEW.address, SUPPLIER)
    refusal, _ = _try(town, seen, RIVAL)
    assert refusal.startswith(f"ConsentInvalid(meter={to_data(NEW.address)}, supplier={to_data(RIVAL)}, ")
    assert town.install(Device("new meter")).success
    assert town.registry(SUPPLIER, "removeMeter", NEW.address).success
    assert _try(town, seen) == (f"MeterAlreadyInstalled(meter={to_data(NEW.address)})",) * 2


def test_eth_account_hashes_it_alike() -> None:
    domain = {"name": "Wattchain Registry", "version": "1", "chainId": CHAIN_ID}
    message = {"meter": to_data(NEW.address), "supplier": to_data(SUPPLIER)}
    types = {"Consent": [{"name": "meter", "type": "address"}, {"name": "supplier", "type": "address"}]}
    signable = encode_typed_data(domain | {"verifyingContract": to_data(REGISTRY_ADDRESS)}, types, message)
    digest = keccak256(b"\x19" + signable.version + signable.header + signable.body)
    assert digest == consent_hash(CHAIN_ID, NEW.address, SUPPLIER)
