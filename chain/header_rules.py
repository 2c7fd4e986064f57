"""What a header must fulfil given its parent, before its transactions are looked at: cheap, and first.

Number, time, gas limit and base fee are the same on every chain (Yellow Paper 4.4.4, EIP-1559); difficulty, seal and
the least time between two blocks are the engine's (chain/consensus).
"""

from chain.config import ChainConfig
from chain.consensus.engine import Engine
from chain.fees import check_gas_limit, expected_base_fee
from chain.header import EMPTY_OMMERS_HASH, Header
from primitives.errors import InvalidBlock

MAX_CLOCK_DRIFT_S = 15
"""How far ahead of this node's clock a block's time may be: geth's bound, generous for Pis that ask a time server."""


class BlockFromFuture(InvalidBlock):
    """The block's time is too far ahead of this node's clock; it may become valid later."""


def check_header(header: Header, parent: Header, anchor: Header | None, config: ChainConfig, engine: Engine) -> None:
    """Raises InvalidBlock, with the rule and the values. `anchor`: see chain/consensus/engine.py."""
    if header.parent_hash != parent.hash:
        raise InvalidBlock("the header names another parent")
    if header.number != parent.number + 1:
        raise InvalidBlock(f"the block's number is {header.number}, its parent's {parent.number}")
    if header.timestamp_s <= parent.timestamp_s:
        raise InvalidBlock(f"the block's time {header.timestamp_s} is not after its parent's {parent.timestamp_s}")
    if header.timestamp_s < parent.timestamp_s + engine.period_s:
        raise InvalidBlock(
            f"the block's time {header.timestamp_s} is less than {engine.period_s} s after its parent's "
            f"{parent.timestamp_s}"
        )
    if header.ommers_hash != EMPTY_OMMERS_HASH:
        raise InvalidBlock("ommers are not part of this ledger")
    if header.gas_used > header.gas_limit:
        raise InvalidBlock(f"the block used {header.gas_used} gas of {header.gas_limit}")
    check_gas_limit(header.gas_limit, parent.gas_limit)
    base_fee = expected_base_fee(parent, config)
    if header.base_fee_per_gas != base_fee:
        raise InvalidBlock(f"the block's base fee is {header.base_fee_per_gas} wei; it must be {base_fee}")
    engine.check_header(header, parent, anchor)


def check_clock(header: Header, now_s: int) -> None:
    """The one rule that asks this node's clock. Raises BlockFromFuture.

    Not for blocks that a quorum sealed: its clocks have decided, and a Pi that does not know the time yet must follow.
    """
    if header.timestamp_s > now_s + MAX_CLOCK_DRIFT_S:
        raise BlockFromFuture(f"the block's time {header.timestamp_s} is ahead of this node's clock, {now_s}")
