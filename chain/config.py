"""The rules of one chain, as its genesis file states them; every node of the chain holds the same.

Contract code runs under Cancun rules from the first block on. What geth's genesis format has no word for stands in the
section `config.wattchain`; where that is absent the chain is proof of work with a fixed difficulty, as in the El DApp
network. One thing no genesis file can say: an override of validators, by which operators rescue a chain.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from chain.consensus.qbft.validators import ADDRESS_BYTES, ValidatorSet
from primitives.errors import InvalidGenesis

POW, QBFT = "pow", "qbft"
FIXED, ASERT = "fixed", "asert"
EIP1559, ZERO = "eip1559", "zero"
PRODUCTION, DEVELOPMENT = "production", "development"

DEFAULT_BLOCK_TIME_S = 15
DEFAULT_BLOCK_REWARD = 2 * 10**18
"""Wei a block: what a miner of geth's Ethash chains earns since EIP-1234, which a plain geth file implies."""

DEFAULT_EMPTY_BLOCK_PERIOD_S = 60
DEFAULT_REQUEST_TIMEOUT_MS = 2_000
"""Twice what a block, its votes and their way to the disks of a few Pis take where nothing is wrong."""

MAX_PERIOD_S = 86_400
MIN_REQUEST_TIMEOUT_MS, MAX_REQUEST_TIMEOUT_MS = 100, 60_000
"""Below, a disk that syncs slowly ends every round; above, the cap of all rounds' timeouts would cut it."""

MAX_CHAIN_ID = 2**53 - 1
"""Above this JavaScript wallets lose digits (EIP-2294 sets the bound nearby)."""

_BLOCK_REWARD_BITS = 128
"""So that no balance ever leaves 256 bits: genesis gives at most 2**255 wei, rewards would take 2**127 blocks."""

# geth's and Besu's names of the forks up to Cancun: each must hold from block 0, since there is only one set of rules
# here. Later ones (Prague ...) are other rules, and refused.
_FORKS = {"homesteadBlock", "daoForkBlock", "eip150Block", "eip155Block", "eip158Block", "byzantiumBlock",
          "constantinopleBlock", "constantinopleFixBlock", "petersburgBlock", "istanbulBlock", "muirGlacierBlock",
          "berlinBlock", "londonBlock", "arrowGlacierBlock", "grayGlacierBlock", "mergeNetsplitBlock", "shanghaiTime",
          "cancunTime"}  # fmt: skip
_IGNORED = {"ethash", "terminalTotalDifficulty", "terminalTotalDifficultyPassed", "eip150Hash", "daoForkSupport"}
_QBFT_FIELDS = {"emptyBlockPeriodSeconds", "requestTimeoutMilliseconds", "validatorContract"}
_OWN_FIELDS = _QBFT_FIELDS | {"consensus", "difficulty", "blockTimeSeconds", "blockRewardWei", "fees", "network"}


@dataclass(frozen=True, slots=True)
class ValidatorOverride:
    """These are the validators of one block, whatever the ledger says; from there on they stand in the ledger."""

    block_number: int
    validators: ValidatorSet


@dataclass(frozen=True, slots=True)
class ChainConfig:
    """The rules of a chain beside the Cancun rules of the interpreter."""

    chain_id: int
    consensus: str = POW
    difficulty_rule: str = FIXED
    """`fixed`: every block has the genesis difficulty; `asert`: aserti3-2d towards block_time_s."""
    block_time_s: int = DEFAULT_BLOCK_TIME_S
    """What `asert` aims at; on qbft chains the time from block to block, at least."""
    block_reward: int = DEFAULT_BLOCK_REWARD
    """New wei for whoever made the block."""
    fee_rule: str = EIP1559
    """`eip1559`, or `zero` for a closed network: the base fee is always 0."""
    network: str = PRODUCTION
    """On a `development` network the clock may run faster than the wall's."""
    empty_block_period_s: int = DEFAULT_EMPTY_BLOCK_PERIOD_S
    """On qbft chains: from block to block where there is no transaction."""
    request_timeout_ms: int = DEFAULT_REQUEST_TIMEOUT_MS
    """On qbft chains: how long round 0 may take."""
    validator_contract: bytes = b""
    """On qbft chains: the 20-byte address of the contract in whose storage the validators stand."""
    validator_overrides: tuple[ValidatorOverride, ...] = ()
    """An operator's settings, never part of a genesis file; every node that is to follow the chain needs the same."""

    def override_at(self, number: int) -> ValidatorSet | None:
        """The validators of that block where an operator's setting names them."""
        for override in self.validator_overrides:
            if override.block_number == number:
                return override.validators
        return None


def parse_config(section: object) -> ChainConfig:
    """The `config` section of a genesis file in geth's format. Raises InvalidGenesis."""
    if not isinstance(section, Mapping):
        raise InvalidGenesis("the genesis file has no section `config`")
    chain_id = parse_integer(section.get("chainId"), "config.chainId")
    if not 0 < chain_id <= MAX_CHAIN_ID:
        raise InvalidGenesis(f"config.chainId must be from 1 to {MAX_CHAIN_ID}, not {chain_id}")
    _check_forks(section)
    own = section.get("wattchain", {})
    if not isinstance(own, Mapping):
        raise InvalidGenesis("config.wattchain must be a section of settings")
    if unknown := set(own) - _OWN_FIELDS:
        raise InvalidGenesis(f"config.wattchain has an unknown setting `{min(unknown)}`")
    consensus = _choice(own, "consensus", (POW, QBFT), POW)
    config = ChainConfig(
        chain_id,
        consensus,
        _choice(own, "difficulty", (FIXED, ASERT), FIXED),
        _within(own, "blockTimeSeconds", DEFAULT_BLOCK_TIME_S, 1, MAX_PERIOD_S),
        parse_integer(
            own.get("blockRewardWei", 0 if consensus == QBFT else DEFAULT_BLOCK_REWARD),
            "config.wattchain.blockRewardWei",
            _BLOCK_REWARD_BITS,
        ),
        _choice(own, "fees", (EIP1559, ZERO), EIP1559),
        _choice(own, "network", (PRODUCTION, DEVELOPMENT), PRODUCTION),
        _within(own, "emptyBlockPeriodSeconds", DEFAULT_EMPTY_BLOCK_PERIOD_S, 1, MAX_PERIOD_S),
        _within(
            own,
            "requestTimeoutMilliseconds",
            DEFAULT_REQUEST_TIMEOUT_MS,
            MIN_REQUEST_TIMEOUT_MS,
            MAX_REQUEST_TIMEOUT_MS,
        ),
        _address(own, "validatorContract") if consensus == QBFT else b"",
    )
    if consensus == QBFT and config.difficulty_rule != FIXED:
        raise InvalidGenesis(f"config.wattchain.difficulty is for proof of work; with {QBFT} every block's is 1")
    if consensus != QBFT and (foreign := set(own) & _QBFT_FIELDS):
        raise InvalidGenesis(f"config.wattchain.{min(foreign)} is a setting of {QBFT} chains; this one is {consensus}")
    return config


def parse_integer(value: object, name: str, max_bits: int = 256) -> int:
    """A number as geth writes them: a JSON integer, or decimal or 0x-prefixed text. Raises InvalidGenesis."""
    number: int | None = None
    if isinstance(value, int) and not isinstance(value, bool):
        number = value
    elif isinstance(value, str) and len(value) <= 80 and value.isascii():
        digits = value[2:] if value[:2] in ("0x", "0X") else value
        if digits.isalnum():
            try:
                number = int(digits, 10 if digits is value else 16)
            except ValueError:
                number = None
    if number is None or number < 0 or number.bit_length() > max_bits:
        raise InvalidGenesis(f"{name} must be a whole number of at most {max_bits} bits, got {value!r:.80}")
    return number


def _choice(section: Mapping[str, object], name: str, allowed: tuple[str, ...], default: str) -> str:
    value = section.get(name, default)
    if value not in allowed:
        raise InvalidGenesis(f"config.wattchain.{name} must be one of {', '.join(allowed)}, not {value!r:.80}")
    return str(value)


def _within(section: Mapping[str, object], name: str, default: int, lowest: int, highest: int) -> int:
    number = parse_integer(section.get(name, default), f"config.wattchain.{name}")
    if not lowest <= number <= highest:
        raise InvalidGenesis(f"config.wattchain.{name} must be from {lowest} to {highest}")
    return number


def _address(section: Mapping[str, object], name: str) -> bytes:
    text = section.get(name)
    digits = text.removeprefix("0x") if isinstance(text, str) and text.isascii() and text.isprintable() else ""
    try:
        address = bytes.fromhex(digits) if " " not in digits else b""
    except ValueError:
        address = b""
    if len(address) != ADDRESS_BYTES:
        raise InvalidGenesis(f"config.wattchain.{name} must be an address of {ADDRESS_BYTES} bytes, not {text!r:.80}")
    return address


def _check_forks(section: Mapping[str, object]) -> None:
    for name, value in section.items():
        if name in _IGNORED or name in ("chainId", "wattchain") or value is None:
            continue
        if name == QBFT:
            raise InvalidGenesis("config.qbft: the settings of a qbft chain stand in config.wattchain here")
        if name in ("clique", "ibft2", "aura"):
            raise InvalidGenesis(f"config.{name}: this consensus is not one that Wattchain runs")
        if name not in _FORKS:
            raise InvalidGenesis(
                f"config.{name} is neither a setting of a genesis file that is known here nor a fork up to Cancun"
            )
        if parse_integer(value, f"config.{name}") != 0:
            raise InvalidGenesis(
                f"config.{name} is {value}: on this ledger every rule up to Cancun holds from block 0 on, "
                "so a fork can only be at 0"
            )
