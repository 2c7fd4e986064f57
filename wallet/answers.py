"""A node's answers as values: receipts, logs and blocks, checked on the way in. Raises InvalidHex for the malformed.

Shapes after ethereum/execution-apis; only what the wallet and the meter need is kept.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from primitives.errors import InvalidHex
from primitives.hexadecimal import parse_data, parse_quantity


@dataclass(frozen=True, slots=True)
class Log:
    """One event of a contract, and where it stands in the chain; removed where a reorganisation took it back."""

    address: bytes
    topics: tuple[bytes, ...]
    data: bytes
    block_number: int
    block_hash: bytes
    transaction_hash: bytes
    log_index: int
    removed: bool

    @classmethod
    def from_json(cls, value: object) -> Self:
        fields = _object(value, "log")
        return cls(
            parse_data(fields.get("address"), 20),
            tuple([parse_data(topic, 32) for topic in _list(fields.get("topics"), "topics")]),
            parse_data(fields.get("data")),
            parse_quantity(fields.get("blockNumber"), 64),
            parse_data(fields.get("blockHash"), 32),
            parse_data(fields.get("transactionHash"), 32),
            parse_quantity(fields.get("logIndex"), 64),
            fields.get("removed") is True,
        )


@dataclass(frozen=True, slots=True)
class Receipt:
    """What came of a transaction in a block."""

    transaction_hash: bytes
    block_number: int
    block_hash: bytes
    succeeded: bool
    gas_used: int
    effective_gas_price: int
    contract_address: bytes | None
    logs: tuple[Log, ...]

    @classmethod
    def from_json(cls, value: object) -> Self:
        fields = _object(value, "receipt")
        contract = fields.get("contractAddress")
        return cls(
            parse_data(fields.get("transactionHash"), 32),
            parse_quantity(fields.get("blockNumber"), 64),
            parse_data(fields.get("blockHash"), 32),
            parse_quantity(fields.get("status"), 8) == 1,
            parse_quantity(fields.get("gasUsed"), 64),
            parse_quantity(fields.get("effectiveGasPrice")),
            None if contract is None else parse_data(contract, 20),
            tuple([Log.from_json(log) for log in _list(fields.get("logs"), "logs")]),
        )


@dataclass(frozen=True, slots=True)
class BlockSummary:
    """A block's header, as far as a client needs it; the base fee is None before London's rules."""

    number: int
    hash: bytes
    parent_hash: bytes
    time_s: int
    gas_limit: int
    base_fee: int | None

    @classmethod
    def from_json(cls, value: object) -> Self:
        fields = _object(value, "block")
        base_fee = fields.get("baseFeePerGas")
        return cls(
            parse_quantity(fields.get("number"), 64),
            parse_data(fields.get("hash"), 32),
            parse_data(fields.get("parentHash"), 32),
            parse_quantity(fields.get("timestamp"), 64),
            parse_quantity(fields.get("gasLimit"), 64),
            None if base_fee is None else parse_quantity(base_fee),
        )


def _object(value: object, what: str) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise InvalidHex(f"expected a {what}, got {type(value).__name__}")
    return value


def _list(value: object, what: str) -> list[object]:
    if not isinstance(value, list):
        raise InvalidHex(f"expected {what} as a list, got {type(value).__name__}")
    return value
