"""The chains of the simulated worlds: keys, who has money at the beginning, and the rules."""

from collections.abc import Sequence
from functools import lru_cache

from chain.genesis import Genesis, parse_genesis
from contracts.addresses import VALIDATORS_ADDRESS
from contracts.genesis import genesis_alloc
from primitives.secp256k1 import address_of
from tests.simulation.virtual_time import START_S

CHAIN_ID = 1_984
FUNDS_WEI = 10**24
BLOCK_REWARD_WEI = 10**15
MAX_NODES = 10

KEYS = [bytes((number,)) * 32 for number in range(1, MAX_NODES + 1)]
"""Of the nodes."""
PAYER_KEYS = [bytes((100 + number,)) * 32 for number in range(MAX_NODES)]
"""Of people who send money to and fro."""
PAYERS = [address_of(key) for key in PAYER_KEYS]
OPERATOR = b"\x0f" * 20


@lru_cache
def addresses(count: int) -> tuple[bytes, ...]:
    """Of that many nodes."""
    return tuple(address_of(key) for key in KEYS[:count])


@lru_cache
def qbft_genesis(validators: tuple[bytes, ...], request_timeout_ms: int, empty_block_period_s: int) -> Genesis:
    own = {
        "consensus": "qbft",
        "blockTimeSeconds": 1,
        "emptyBlockPeriodSeconds": empty_block_period_s,
        "requestTimeoutMilliseconds": request_timeout_ms,
        "validatorContract": "0x" + VALIDATORS_ADDRESS.hex(),
        "blockRewardWei": str(BLOCK_REWARD_WEI),
    }
    return _genesis(own, genesis_alloc(OPERATOR, validators=validators), [*PAYERS, *validators])


@lru_cache
def pow_genesis() -> Genesis:
    own = {"consensus": "pow", "difficulty": "fixed", "blockRewardWei": str(BLOCK_REWARD_WEI)}
    return _genesis(own, {}, PAYERS)


def _genesis(own: dict[str, object], alloc: dict[str, dict[str, object]], rich: Sequence[bytes]) -> Genesis:
    funds = {"0x" + address.hex(): {"balance": hex(FUNDS_WEI)} for address in rich}
    return parse_genesis(
        {
            "config": {"chainId": CHAIN_ID, "wattchain": own},
            "difficulty": "0x1",
            "gasLimit": "0x1c9c380",
            "timestamp": hex(START_S - 60),
            "alloc": {**alloc, **funds},
        }
    )
