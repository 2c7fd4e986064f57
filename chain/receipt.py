"""Receipts and the bloom filter over their logs (Yellow Paper 4.4.1 and 4.4.3, EIP-658, EIP-2718)."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from primitives import rlp
from primitives.errors import InvalidBlock
from primitives.keccak import keccak256
from vm.host import Log

BLOOM_BYTES = 256
EMPTY_BLOOM = bytes(BLOOM_BYTES)


@dataclass(frozen=True, slots=True)
class Receipt:
    """What one transaction did. Succeeded or not, its gas was used and paid for."""

    type: int
    succeeded: bool
    cumulative_gas_used: int
    """By this transaction and all before it in the block."""
    logs: tuple[Log, ...]
    gas_used: int
    """By this transaction alone; not part of the hashed receipt, kept for queries."""
    contract_address: bytes | None = None
    """Where this transaction created a contract; not part of the hashed receipt."""
    effective_gas_price: int = 0
    """Wei per gas that were paid; not part of the hashed receipt."""
    _bloom: bytes | None = field(default=None, repr=False, compare=False)

    @property
    def bloom(self) -> bytes:
        if self._bloom is None:
            object.__setattr__(self, "_bloom", logs_bloom(self.logs))
        return self._bloom  # type: ignore[return-value]

    def encode(self) -> bytes:
        """The consensus form, which the receipts root commits to."""
        payload = rlp.encode(
            [
                b"\x01" if self.succeeded else b"",
                rlp.encode_int(self.cumulative_gas_used),
                self.bloom,
                _log_items(self.logs),
            ]
        )
        return payload if self.type == 0 else bytes((self.type,)) + payload


def logs_bloom(logs: Iterable[Log]) -> bytes:
    """The 256-byte filter in which every address and topic of the logs sets three bits."""
    bits = 0
    for log in logs:
        bits |= bloom_bits(log.address)
        for topic in log.topics:
            bits |= bloom_bits(topic)
    return bits.to_bytes(BLOOM_BYTES, "big") if bits else EMPTY_BLOOM


def bloom_bits(value: bytes) -> int:
    """The three bits of one address or topic, as a 2048-bit number."""
    digest = keccak256(value)
    low_11_bits = 0x7FF
    return (
        1 << (int.from_bytes(digest[0:2], "big") & low_11_bits)
        | 1 << (int.from_bytes(digest[2:4], "big") & low_11_bits)
        | 1 << (int.from_bytes(digest[4:6], "big") & low_11_bits)
    )


def merge_blooms(receipts: Iterable[Receipt]) -> bytes:
    """The bloom of a block."""
    bits = 0
    for receipt in receipts:
        if receipt.logs:
            bits |= int.from_bytes(receipt.bloom, "big")
    return bits.to_bytes(BLOOM_BYTES, "big") if bits else EMPTY_BLOOM


def encode_receipts(receipts: Sequence[Receipt]) -> bytes:
    """What is stored for a block: everything but the blooms, which follow from the logs."""
    return rlp.encode(
        [
            [
                rlp.encode_int(receipt.type),
                b"\x01" if receipt.succeeded else b"",
                rlp.encode_int(receipt.cumulative_gas_used),
                rlp.encode_int(receipt.gas_used),
                receipt.contract_address or b"",
                rlp.encode_int(receipt.effective_gas_price),
                _log_items(receipt.logs),
            ]
            for receipt in receipts
        ]
    )


def decode_receipts(encoded: bytes, max_items: int | None = None) -> list[Receipt]:
    """The receipts of a stored block. Raises InvalidBlock or InvalidRlp on damaged bytes.

    `max_items` bounds the items in all lists together, for bytes of somebody else; ours hold as many logs as gas
    allowed.
    """
    item = rlp.decode(encoded, len(encoded) if max_items is None else max_items)
    if not isinstance(item, list):
        raise InvalidBlock("stored receipts are not a list")
    return [_decode_receipt(entry) for entry in item]


def decode_consensus_receipts(encoded: Sequence[bytes]) -> list[Receipt]:
    """The receipts of a block, each as Receipt.encode gives it. Raises InvalidBlock or InvalidRlp.

    Gas follows from the receipt before; what else that form does not hold is left out. Blooms are not looked at:
    encoded again, a receipt has its true one.
    """
    receipts: list[Receipt] = []
    gas_before = 0
    for one in encoded:
        type_ = one[0] if one and one[0] < 0x80 else 0
        item = rlp.decode(one[1:] if type_ else one)
        if not isinstance(item, list) or len(item) != 4 or not isinstance(item[3], list):
            raise InvalidBlock("a receipt has four fields")
        gas = rlp.decode_int(item[1], 8)
        logs = tuple([_decode_log(log) for log in item[3]])
        receipts.append(Receipt(type_, item[0] == b"\x01", gas, logs, gas - gas_before))
        gas_before = gas
    return receipts


def _decode_receipt(item: rlp.Item) -> Receipt:
    if not isinstance(item, list) or len(item) != 7 or not isinstance(item[6], list):
        raise InvalidBlock("a stored receipt has seven fields")
    number = rlp.decode_int
    contract_address = item[4]
    if not isinstance(contract_address, bytes):
        raise InvalidBlock("the contract address of a stored receipt must be bytes")
    logs = tuple([_decode_log(log) for log in item[6]])
    return Receipt(
        number(item[0]),
        item[1] == b"\x01",
        number(item[2], 8),
        logs,
        number(item[3], 8),
        contract_address or None,
        number(item[5]),
    )


def _log_items(logs: Iterable[Log]) -> list[object]:
    return [[log.address, list(log.topics), log.data] for log in logs]


def _decode_log(item: rlp.Item) -> Log:
    if not isinstance(item, list) or len(item) != 3:
        raise InvalidBlock("a stored log has three fields")
    address, topics, data = item
    if not isinstance(address, bytes) or not isinstance(topics, list) or not isinstance(data, bytes):
        raise InvalidBlock("a stored log is an address, topics and data")
    return Log(address, tuple([topic for topic in topics if isinstance(topic, bytes)]), data)
