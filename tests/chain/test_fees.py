"""Base fee and gas limit from block to block."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain.config import ZERO, ChainConfig
from chain.fees import MAX_GAS_LIMIT, MIN_GAS_LIMIT, check_gas_limit, expected_base_fee, next_gas_limit
from chain.header import EMPTY_OMMERS_HASH, Header
from primitives.errors import InvalidBlock

_CONFIG = ChainConfig(1)


@pytest.mark.parametrize(
    ("base_fee", "gas_limit", "gas_used", "expected"),
    [
        # The three cases of geth's own test of EIP-1559.
        (1_000_000_000, 20_000_000, 10_000_000, 1_000_000_000),
        (1_000_000_000, 20_000_000, 9_000_000, 987_500_000),
        (1_000_000_000, 20_000_000, 11_000_000, 1_012_500_000),
        # Main-net block 12,965,000 (the first of London) and its child.
        (1_000_000_000, 30_029_122, 30_025_257, 1_124_967_822),
        (7, 30_000_000, 0, 7),
        (8, 30_000_000, 0, 7),
        (0, 30_000_000, 30_000_000, 1),
        (1, 30_000_000, 15_000_001, 2),
    ],
)
def test_base_fee(base_fee: int, gas_limit: int, gas_used: int, expected: int) -> None:
    assert expected_base_fee(_header(gas_limit, gas_used, base_fee), _CONFIG) == expected


def test_base_fee_is_zero_on_a_network_without_fees() -> None:
    assert expected_base_fee(_header(30_000_000, 30_000_000, 0), ChainConfig(1, fee_rule=ZERO)) == 0


@given(st.integers(0, 2**128), st.integers(MIN_GAS_LIMIT, MAX_GAS_LIMIT), st.data())
def test_base_fee_moves_by_an_eighth_at_most(base_fee: int, gas_limit: int, data: st.DataObject) -> None:
    gas_used = data.draw(st.integers(0, gas_limit))
    # An odd gas limit lets a full block use one gas more than twice the target.
    largest_rise = base_fee // 8 + base_fee // (8 * (gas_limit // 2)) + 2
    found = expected_base_fee(_header(gas_limit, gas_used, base_fee), _CONFIG)
    assert base_fee - base_fee // 8 <= found <= base_fee + largest_rise


@pytest.mark.parametrize("gas_limit", [30_000_000 - 29_295, 30_000_000, 30_000_000 + 29_295])
def test_gas_limit_within_the_bound_passes(gas_limit: int) -> None:
    check_gas_limit(gas_limit, 30_000_000)


@pytest.mark.parametrize(
    ("gas_limit", "parent"),
    [
        (30_000_000 + 29_296, 30_000_000),
        (30_000_000 - 29_296, 30_000_000),
        (4_999, 5_000),
        (2**63, 2**63 - 1),
        (0, 30_000_000),
    ],
)
def test_gas_limit_out_of_bounds_is_refused(gas_limit: int, parent: int) -> None:
    with pytest.raises(InvalidBlock, match=f"the gas limit is {gas_limit}"):
        check_gas_limit(gas_limit, parent)


@given(st.integers(MIN_GAS_LIMIT, MAX_GAS_LIMIT), st.integers(0, 2**64))
def test_next_gas_limit_is_always_valid_and_never_away_from_the_target(parent: int, target: int) -> None:
    found = next_gas_limit(parent, target)
    check_gas_limit(found, parent)
    assert min(parent, target) <= found or found == MIN_GAS_LIMIT
    assert found <= max(parent, target)


def test_gas_limit_arrives_at_its_target() -> None:
    limit = 5_000_000
    for _ in range(2_000):
        limit = next_gas_limit(limit, 30_000_000)
    assert limit == 30_000_000


def _header(gas_limit: int, gas_used: int, base_fee: int) -> Header:
    zeros = bytes(32)
    return Header(
        zeros, EMPTY_OMMERS_HASH, bytes(20), zeros, zeros, zeros, bytes(256), 1, 1, gas_limit, gas_used, 1, b"", zeros,
        bytes(8), base_fee,
    )  # fmt: skip
