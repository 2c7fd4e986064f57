"""Certificates of static keys: whose they are, for which chain, and what is refused."""

import contextlib

import pytest
from eth_account import Account
from eth_account.messages import encode_typed_data
from hypothesis import given
from hypothesis import strategies as st

from p2p.identity import AllowList, InvalidIdentity, Network, NodeRefused, certified_node, certify, new_local_identity
from primitives.secp256k1 import ORDER, address_of
from tests.p2p.peers import NETWORK, node_key

STATIC = bytes(range(32, 64))
CERTIFICATE = certify(NETWORK, STATIC, node_key(7))


def test_a_certificate_names_the_node_that_made_it() -> None:
    assert certified_node(NETWORK, STATIC, CERTIFICATE) == address_of(node_key(7))


def test_an_independent_signer_of_typed_data_makes_the_same_certificate() -> None:
    signable = encode_typed_data(
        domain_data={"name": "Wattchain peer", "version": "1", "chainId": 31_337, "salt": NETWORK.genesis_hash},
        message_types={"StaticKey": [{"name": "staticKey", "type": "bytes32"}]},
        message_data={"staticKey": STATIC},
    )
    signed = Account.sign_message(signable, node_key(7))
    assert bytes((signed.v - 27,)) + signed.r.to_bytes(32, "big") + signed.s.to_bytes(32, "big") == CERTIFICATE


@pytest.mark.parametrize("network", [Network(31_338, NETWORK.genesis_hash), Network(31_337, bytes(32))])
def test_a_certificate_is_worth_nothing_on_another_chain(network: Network) -> None:
    assert certified_node(network, STATIC, CERTIFICATE) != address_of(node_key(7))
    assert network.prologue != NETWORK.prologue


def test_a_certificate_is_worth_nothing_for_another_static_key() -> None:
    assert certified_node(NETWORK, bytes(32), CERTIFICATE) != address_of(node_key(7))


@given(st.integers(0, 64), st.integers(1, 255))
def test_an_altered_certificate_never_names_the_node(position: int, mask: int) -> None:
    altered = bytearray(CERTIFICATE)
    altered[position] ^= mask
    with contextlib.suppress(InvalidIdentity):
        assert certified_node(NETWORK, STATIC, bytes(altered)) != address_of(node_key(7))


@given(st.binary(max_size=80))
def test_garbage_is_refused_or_names_a_stranger(garbage: bytes) -> None:
    with contextlib.suppress(InvalidIdentity):
        assert certified_node(NETWORK, STATIC, garbage) != address_of(node_key(7))


def test_the_second_form_of_a_signature_is_refused() -> None:
    """(1 - parity, r, n - s) is valid too for the curve; one node must not have two certificates (EIP-2)."""
    high_s = ORDER - int.from_bytes(CERTIFICATE[33:], "big")
    other = bytes((1 - CERTIFICATE[0],)) + CERTIFICATE[1:33] + high_s.to_bytes(32, "big")
    with pytest.raises(InvalidIdentity, match="upper half"):
        certified_node(NETWORK, STATIC, other)


def test_an_identity_is_certified_and_keeps_its_secret_to_itself() -> None:
    identity = new_local_identity(NETWORK, node_key(7))
    static = identity.static_key.public_key().public_bytes_raw()
    assert certified_node(NETWORK, static, identity.certificate) == identity.node_id == address_of(node_key(7))
    assert new_local_identity(NETWORK, node_key(7)).certificate != identity.certificate
    assert "static_key" not in repr(identity)


def test_an_allow_list_lets_in_those_it_names() -> None:
    allowed = AllowList(frozenset([address_of(node_key(1))]))
    allowed.check(address_of(node_key(1)))
    AllowList().check(address_of(node_key(2)))
    with pytest.raises(NodeRefused, match="allow-list"):
        allowed.check(address_of(node_key(2)))
    with pytest.raises(NodeRefused):
        AllowList(frozenset()).check(address_of(node_key(1)))
