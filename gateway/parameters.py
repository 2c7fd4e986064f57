"""Parameters of methods, from JSON values to the values of the ledger. Everything here raises Invalid on a wrong form.

The forms are those of execution-apis and EIP-1898; where geth is more generous than the specification (a block hash in
place of a number, storage slots in short form), so is this, since tools rely on it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from chain.simulation import AccountOverride, CallRequest
from chain.transaction import MAX_UINT64, AccessList
from gateway.errors import InvalidParameter
from primitives.errors import Invalid
from primitives.hexadecimal import parse_address, parse_data, parse_quantity, to_quantity

T = TypeVar("T")

BLOCK_TAGS = ("latest", "pending", "earliest", "safe", "finalized")

MAX_ACCESS_LIST_SLOTS = 10_000
"""In one call: at 1,900 gas each, 19 million gas; more than that no block takes beside other work."""
MAX_OVERRIDES = 1_000
"""Accounts and slots together that one call may override: bounds the memory of a call, above what any tool sends."""
MAX_LOG_ADDRESSES = 1_000
"""In one filter; each costs three bits of the bloom per block, and 1,000 meters are one community."""
MAX_TOPICS = 4
"""A log has at most four."""
MAX_TOPIC_ALTERNATIVES = 1_000
"""In one place of a filter, for the same reason as the addresses."""
MAX_PROOF_SLOTS = 1_024
"""In one proof, as in geth; some 2 KB each."""
MAX_REWARD_PERCENTILES = 100
"""As geth: one for each percent."""


@dataclass(frozen=True, slots=True)
class BlockReference:
    """One block as a request names it: exactly one of the three is set."""

    tag: str | None = None
    number: int | None = None
    hash: bytes | None = None
    require_canonical: bool = False
    """With a hash: refuse a block of a side branch (EIP-1898)."""


LATEST = BlockReference(tag="latest")
PENDING = BlockReference(tag="pending")


@dataclass(frozen=True, slots=True)
class LogFilter:
    """Which logs are wanted: of these addresses (all where empty), with these topics by place (any where empty)."""

    first: BlockReference = LATEST
    last: BlockReference = LATEST
    block_hash: bytes | None = None
    """One block in place of a range."""
    addresses: frozenset[bytes] = frozenset()
    topics: tuple[frozenset[bytes], ...] = ()


def boolean(value: object) -> bool:
    if not isinstance(value, bool):
        raise InvalidParameter(f"expected true or false, got {_shown(value)}")
    return value


def hash32(value: object) -> bytes:
    return parse_data(value, 32)


def quantity(value: object) -> int:
    return parse_quantity(value)


def index(value: object) -> int:
    """A place in a list, or a count: 64 bits."""
    return parse_quantity(value, 64)


def count(value: object) -> int:
    """A count that some libraries send as a plain JSON number."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_UINT64:
        return value
    return index(value)


def address(value: object) -> bytes:
    return parse_address(value)


def data(value: object) -> bytes:
    return parse_data(value)


def storage_slot(value: object) -> int:
    """A slot, padded or not: up to 32 bytes, an odd number of digits allowed."""
    digits = value[2:] if isinstance(value, str) and value[:2] in ("0x", "0X") else None
    if digits is None or len(digits) > 64 or not digits.isalnum() or not digits.isascii():
        raise InvalidParameter(f"expected a storage slot of up to 32 bytes as hexadecimal, got {_shown(value)}")
    try:
        return int(digits, 16)
    except ValueError as error:
        raise InvalidParameter(f"expected a storage slot as hexadecimal, got {_shown(value)}") from error


def proof_slots(value: object) -> tuple[str, ...]:
    """Slots as they were given, since the answer repeats them."""
    if not isinstance(value, list) or len(value) > MAX_PROOF_SLOTS:
        raise InvalidParameter(f"expected a list of at most {MAX_PROOF_SLOTS} slots")
    for slot in value:
        storage_slot(slot)
    return tuple(value)


def block_reference(value: object) -> BlockReference:
    """A tag, a number, a block hash, or an object of EIP-1898."""
    if isinstance(value, Mapping):
        return _block_object(value)
    if isinstance(value, str):
        if value in BLOCK_TAGS:
            return BlockReference(tag=value)
        if len(value) == 66:
            return BlockReference(hash=hash32(value))
    return BlockReference(number=index(value))


def block_number(value: object) -> BlockReference:
    """A tag or a number."""
    if isinstance(value, str) and value in BLOCK_TAGS:
        return BlockReference(tag=value)
    return BlockReference(number=index(value))


def call_request(value: object) -> CallRequest:
    """The transaction object of eth_call and its like. Unknown members are ignored, as everywhere."""
    if not isinstance(value, Mapping):
        raise InvalidParameter(f"expected a transaction object, got {_shown(value)}")
    if value.get("blobVersionedHashes") or value.get("maxFeePerBlobGas") or value.get("authorizationList"):
        raise InvalidParameter("blob and set-code transactions are not part of this ledger")
    gas_price = _optional(value, "gasPrice", quantity)
    max_fee = _optional(value, "maxFeePerGas", quantity)
    priority_fee = _optional(value, "maxPriorityFeePerGas", quantity)
    if gas_price is not None and (max_fee is not None or priority_fee is not None):
        raise InvalidParameter("both gasPrice and (maxFeePerGas or maxPriorityFeePerGas) specified")
    if gas_price is not None:
        max_fee = priority_fee = gas_price
    access_list = value.get("accessList")
    return CallRequest(
        sender=_optional(value, "from", address) or bytes(20),
        to=_optional(value, "to", address),
        gas=_optional(value, "gas", index),
        max_fee_per_gas=max_fee,
        max_priority_fee_per_gas=priority_fee,
        value=_optional(value, "value", quantity) or 0,
        data=_input(value),
        access_list=() if access_list is None else _access_list(access_list),
        chain_id=_optional(value, "chainId", quantity),
    )


def state_overrides(value: object) -> dict[bytes, AccountOverride]:
    """The third parameter of eth_call, as in geth: what accounts should look like for this call."""
    if not isinstance(value, Mapping):
        raise InvalidParameter(f"expected an object of addresses, got {_shown(value)}")
    overrides: dict[bytes, AccountOverride] = {}
    total = len(value)
    for key, fields in value.items():
        if not isinstance(fields, Mapping):
            raise InvalidParameter(f"expected an object of overrides for {_shown(key)}")
        state, difference = fields.get("state"), fields.get("stateDiff")
        if state is not None and difference is not None:
            raise InvalidParameter(f"account {_shown(key)} has both 'state' and 'stateDiff'")
        slots = state if state is not None else difference
        total += len(slots) if isinstance(slots, Mapping) else 0
        if total > MAX_OVERRIDES:
            raise InvalidParameter(f"more than {MAX_OVERRIDES} accounts and slots are overridden")
        overrides[address(key)] = AccountOverride(
            balance=_optional(fields, "balance", quantity),
            nonce=_optional(fields, "nonce", index),
            code=_optional(fields, "code", data),
            slots=None if slots is None else _slots(slots),
            replaces_storage=state is not None,
        )
    return overrides


def log_filter(value: object) -> LogFilter:
    if not isinstance(value, Mapping):
        raise InvalidParameter(f"expected a filter object, got {_shown(value)}")
    block_hash = _optional(value, "blockHash", hash32)
    first, last = _optional(value, "fromBlock", block_number), _optional(value, "toBlock", block_number)
    if block_hash is not None and (first is not None or last is not None):
        raise InvalidParameter("cannot specify both blockHash and fromBlock/toBlock, choose one or the other")
    return LogFilter(
        first or LATEST,
        last or LATEST,
        block_hash,
        _addresses(value.get("address")),
        _topics(value.get("topics")),
    )


def reward_percentiles(value: object) -> tuple[float, ...]:
    """Rising numbers from 0 to 100."""
    if not isinstance(value, list) or len(value) > MAX_REWARD_PERCENTILES:
        raise InvalidParameter(f"expected a list of at most {MAX_REWARD_PERCENTILES} percentiles")
    previous = 0.0
    for percentile in value:
        if not isinstance(percentile, int | float) or isinstance(percentile, bool) or not 0 <= percentile <= 100:
            raise InvalidParameter(f"invalid reward percentile: {_shown(percentile)}")
        if percentile < previous:
            raise InvalidParameter(f"invalid reward percentile: {_shown(percentile)} after {previous}")
        previous = percentile
    return tuple(value)


def filter_id(value: object) -> str:
    """As it was given, in its shortest form: some clients pad or shorten it."""
    return to_quantity(parse_quantity(value))


def options(value: object) -> Mapping[str, object]:
    if not isinstance(value, Mapping):
        raise InvalidParameter(f"expected an object of options, got {_shown(value)}")
    return value


def _block_object(value: Mapping[str, object]) -> BlockReference:
    number, block_hash = _optional(value, "blockNumber", block_number), _optional(value, "blockHash", hash32)
    if (number is None) == (block_hash is None):
        raise InvalidParameter("expected either blockNumber or blockHash (EIP-1898)")
    if number is not None:
        return number
    return BlockReference(hash=block_hash, require_canonical=_optional(value, "requireCanonical", boolean) or False)


def _input(value: Mapping[str, object]) -> bytes:
    new, old = _optional(value, "input", data), _optional(value, "data", data)
    if new is not None and old is not None and new != old:
        raise InvalidParameter('both "data" and "input" are set and not equal; use "input"')
    return new if new is not None else old or b""


def _access_list(value: object) -> AccessList:
    if not isinstance(value, list):
        raise InvalidParameter("accessList must be a list")
    entries = []
    total = 0
    for entry in value:
        keys = entry.get("storageKeys") if isinstance(entry, Mapping) else None
        if not isinstance(entry, Mapping) or not isinstance(keys or [], list):
            raise InvalidParameter("an entry of accessList is an object of address and storageKeys")
        keys = keys or []
        total += 1 + len(keys)
        if total > MAX_ACCESS_LIST_SLOTS:
            raise InvalidParameter(f"accessList has more than {MAX_ACCESS_LIST_SLOTS} entries")
        slots = tuple([int.from_bytes(hash32(key), "big") for key in keys])
        entries.append((address(entry.get("address")), slots))
    return tuple(entries)


def _slots(value: object) -> dict[int, int]:
    if not isinstance(value, Mapping):
        raise InvalidParameter("state and stateDiff are objects of slots and values")
    return {storage_slot(slot): int.from_bytes(hash32(word), "big") for slot, word in value.items()}


def _addresses(value: object) -> frozenset[bytes]:
    if value is None:
        return frozenset()
    values = value if isinstance(value, list) else [value]
    if len(values) > MAX_LOG_ADDRESSES:
        raise InvalidParameter(f"more than {MAX_LOG_ADDRESSES} addresses in one filter")
    return frozenset([address(item) for item in values])


def _topics(value: object) -> tuple[frozenset[bytes], ...]:
    if value is None:
        return ()
    if not isinstance(value, list) or len(value) > MAX_TOPICS:
        raise InvalidParameter(f"topics must be a list of at most {MAX_TOPICS}")
    return tuple([_topic(item) for item in value])


def _topic(value: object) -> frozenset[bytes]:
    """The alternatives in one place; empty for any. A `null` among alternatives means any, as in geth."""
    if value is None:
        return frozenset()
    values = value if isinstance(value, list) else [value]
    if len(values) > MAX_TOPIC_ALTERNATIVES:
        raise InvalidParameter(f"more than {MAX_TOPIC_ALTERNATIVES} alternatives for one topic")
    if None in values:
        return frozenset()
    return frozenset([hash32(item) for item in values])


def _optional(value: Mapping[str, object], name: str, parse: Callable[[object], T]) -> T | None:
    """A member of an object, None where it is absent or null. The error names it."""
    member = value.get(name)
    if member is None:
        return None
    try:
        return parse(member)
    except Invalid as error:
        raise InvalidParameter(f"{name}: {error}") from error


def _shown(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= 80 else shown[:77] + "..."
