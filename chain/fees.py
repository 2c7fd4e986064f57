"""How the base fee and the gas limit move from block to block; builder and header checks use the same formulas.

The base fee follows EIP-1559, or is always 0 where the chain's fee rule says so. The gas limit may move by less than
1/1024 of the parent's (Yellow Paper 4.4.4). What a single transaction pays is not decided here.
"""

from chain.config import ZERO, ChainConfig
from chain.header import Header
from primitives.errors import InvalidBlock

# EIP-1559.
ELASTICITY = 2
BASE_FEE_CHANGE_DENOMINATOR = 8

# Yellow Paper 4.4.4.
GAS_LIMIT_BOUND_DIVISOR = 1024
MIN_GAS_LIMIT = 5000
MAX_GAS_LIMIT = 2**63 - 1
"""EIP-1985; geth's bound as well."""


def expected_base_fee(parent: Header, config: ChainConfig) -> int:
    """Wei per gas that a block on this parent burns (EIP-1559)."""
    if config.fee_rule == ZERO:
        return 0
    base_fee = parent.base_fee_per_gas
    gas_target = max(parent.gas_limit // ELASTICITY, 1)
    if parent.gas_used == gas_target:
        return base_fee
    change = base_fee * abs(parent.gas_used - gas_target) // gas_target // BASE_FEE_CHANGE_DENOMINATOR
    if parent.gas_used > gas_target:
        return base_fee + max(change, 1)
    return base_fee - change


def check_gas_limit(gas_limit: int, parent_gas_limit: int) -> None:
    """Raises InvalidBlock where a block's gas limit is too far from its parent's, or out of all bounds."""
    if not MIN_GAS_LIMIT <= gas_limit <= MAX_GAS_LIMIT:
        raise InvalidBlock(f"the gas limit is {gas_limit}; it must be from {MIN_GAS_LIMIT} to {MAX_GAS_LIMIT}")
    bound = parent_gas_limit // GAS_LIMIT_BOUND_DIVISOR
    if abs(gas_limit - parent_gas_limit) >= bound and gas_limit != parent_gas_limit:
        raise InvalidBlock(
            f"the gas limit is {gas_limit}, the parent's {parent_gas_limit}; it must change by less than {bound}"
        )


def next_gas_limit(parent_gas_limit: int, target: int) -> int:
    """The gas limit of a block built on this parent: as near to the wanted one as the rules let it come."""
    step = max(parent_gas_limit // GAS_LIMIT_BOUND_DIVISOR - 1, 0)
    wanted = max(parent_gas_limit - step, min(parent_gas_limit + step, target))
    return min(max(wanted, MIN_GAS_LIMIT), MAX_GAS_LIMIT)
