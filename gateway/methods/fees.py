"""What gas costs and did cost: suggestions for wallets, and the fee history they draw curves from."""

from collections.abc import Sequence

from chain.block_execution import BLOB_BASE_FEE
from chain.config import ZERO
from chain.fees import expected_base_fee
from chain.header import Header
from gateway import parameters
from gateway.backend import ChainView
from gateway.context import Context
from gateway.errors import pruned
from gateway.methods.lookup import require_header
from gateway.methods.table import Json, Parameter, Table
from gateway.parameters import BlockReference
from primitives.hexadecimal import to_quantity

TABLE = Table()

SUGGESTION_BLOCKS = 20
"""Recent blocks whose tips a suggestion is drawn from, as in geth."""
SUGGESTION_PERCENTILE = 60
MAX_FEE_HISTORY_BLOCKS = 1_024
"""In one answer, as in geth; also how far back every node keeps the past."""


@TABLE.answer("eth_gasPrice")
async def gas_price(context: Context) -> Json:
    """For transactions with one price: the next base fee and the suggested tip."""
    minimum = context.backend.minimum_priority_fee

    def price(chain: ChainView) -> int:
        return expected_base_fee(chain.head(), chain.config) + _suggested_tip(chain, minimum)

    return to_quantity(await context.read(price))


@TABLE.answer("eth_maxPriorityFeePerGas")
async def max_priority_fee_per_gas(context: Context) -> Json:
    minimum = context.backend.minimum_priority_fee
    return to_quantity(await context.read(lambda chain: _suggested_tip(chain, minimum)))


@TABLE.answer("eth_blobBaseFee")
async def blob_base_fee(context: Context) -> Json:
    return to_quantity(BLOB_BASE_FEE)


@TABLE.read(
    "eth_feeHistory",
    Parameter("block count", parameters.count),
    Parameter("newest block", parameters.block_number),
    Parameter("reward percentiles", parameters.reward_percentiles, ()),
)
def fee_history(chain: ChainView, block_count: int, newest: BlockReference, percentiles: Sequence[float]) -> Json:
    """A count above the limit, or beyond the genesis, gives what there is."""
    last = require_header(chain, newest)
    first_number = max(last.number - min(block_count, MAX_FEE_HISTORY_BLOCKS) + 1, 0)
    headers = list(chain.headers(first_number, last.number)) if block_count else []
    if not headers:
        return {"oldestBlock": "0x0", "baseFeePerGas": [], "gasUsedRatio": []}
    base_fees = [header.base_fee_per_gas for header in headers]
    base_fees.append(expected_base_fee(headers[-1], chain.config))
    answer: dict[str, Json] = {
        "oldestBlock": to_quantity(headers[0].number),
        "baseFeePerGas": [to_quantity(base_fee) for base_fee in base_fees],
        "gasUsedRatio": [header.gas_used / header.gas_limit if header.gas_limit else 0 for header in headers],
    }
    if percentiles:
        answer["reward"] = [_rewards(chain, header, percentiles) for header in headers]
    return answer


def _rewards(chain: ChainView, header: Header, percentiles: Sequence[float]) -> list[Json]:
    """The tip that so many percent of the block's gas paid at most; 0 for an empty block. Raises RpcError where nothing
    but the header is kept."""
    tips = _tips(chain, header)
    if header.gas_used and not tips:
        raise pruned(header.number)
    if not tips:
        return ["0x0"] * len(percentiles)
    answer: list[Json] = []
    position, passed = 0, tips[0][1]
    for percentile in percentiles:
        threshold = int(header.gas_used * percentile / 100)
        while passed < threshold and position < len(tips) - 1:
            position += 1
            passed += tips[position][1]
        answer.append(to_quantity(tips[position][0]))
    return answer


def _suggested_tip(chain: ChainView, minimum: int) -> int:
    """A tip above that of most recent transactions; where there are none, the least that this node takes."""
    if chain.config.fee_rule == ZERO:
        return minimum
    head = chain.head()
    tips: list[int] = []
    for header in chain.headers(max(head.number - SUGGESTION_BLOCKS + 1, 0), head.number):
        if header.gas_used:
            tips += [tip for tip, _ in _tips(chain, header)]
    if not tips:
        return minimum
    return max(sorted(tips)[(len(tips) - 1) * SUGGESTION_PERCENTILE // 100], minimum)


def _tips(chain: ChainView, header: Header) -> list[tuple[int, int]]:
    """(wei per gas above the base fee, gas used) of a block's transactions, the lowest tip first; none where it is not
    known: receipts that came from a peer, without the block, do not tell what was paid."""
    receipts = chain.receipts(header.hash) or ()
    tips = sorted((entry.effective_gas_price - header.base_fee_per_gas, entry.gas_used) for entry in receipts)
    return tips if tips and tips[0][0] >= 0 else []
