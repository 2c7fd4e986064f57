"""The chains of the simulated worlds: keys, who has money at the beginning, and the rules."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory

from chain.consensus.qbft.signing import Domain
from chain.genesis import Genesis, parse_genesis
from chain.ledger import Ledger
from contracts.addresses import VALIDATORS_ADDRESS
from contracts.genesis import genesis_alloc
from primitives.clock import ManualClock
from primitives.secp256k1 import address_of
from tests.simulation.virtual_time import START_S

CHAIN_ID = 1_984
FUNDS_WEI = 10**24
BLOCK_REWARD_WEI = 10**15
MAX_NODES = 10
GENESIS_S = START_S - 120
REQUEST_TIMEOUT_MS = 500
EMPTY_BLOCK_PERIOD_S = 4
"""Of qbft networks: short, so that little simulated time shows much."""

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
def qbft_genesis(validators: int) -> Genesis:
    """Of a network decided by the first so many nodes."""
    own = {
        "consensus": "qbft",
        "blockTimeSeconds": 1,
        "emptyBlockPeriodSeconds": EMPTY_BLOCK_PERIOD_S,
        "requestTimeoutMilliseconds": REQUEST_TIMEOUT_MS,
        "validatorContract": "0x" + VALIDATORS_ADDRESS.hex(),
        "blockRewardWei": str(BLOCK_REWARD_WEI),
    }
    members = addresses(validators)
    return _genesis(own, genesis_alloc(OPERATOR, validators=members), [*PAYERS, *members])


@lru_cache
def qbft_domain(validators: int) -> Domain:
    return _domain(qbft_genesis(validators))


@lru_cache
def pow_genesis() -> Genesis:
    own = {"consensus": "pow", "difficulty": "fixed", "blockRewardWei": str(BLOCK_REWARD_WEI)}
    return _genesis(own, {}, PAYERS)


@lru_cache
def pow_domain() -> Domain:
    """What a liar would sign for, on a chain where nobody listens to it."""
    return _domain(pow_genesis())


def _domain(genesis: Genesis) -> Domain:
    with TemporaryDirectory() as place, Ledger.open(Path(place), genesis, ManualClock(START_S)) as ledger:
        return Domain(CHAIN_ID, ledger.genesis_hash)


def _genesis(own: dict[str, object], alloc: dict[str, dict[str, object]], rich: Sequence[bytes]) -> Genesis:
    funds = {"0x" + address.hex(): {"balance": hex(FUNDS_WEI)} for address in rich}
    return parse_genesis(
        {
            "config": {"chainId": CHAIN_ID, "wattchain": own},
            "difficulty": "0x1",
            "gasLimit": "0x1c9c380",
            "timestamp": hex(GENESIS_S),
            "alloc": {**alloc, **funds},
        }
    )
