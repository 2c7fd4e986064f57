"""Block headers: the sixteen fields of the London fork (Yellow Paper 4.4, EIP-1559), as RLP.

The header's hash is the block's identity. On a proof-of-work chain `mix_hash` and `nonce` are the seal; the hash of the
other fields is what the seal proves.
"""

from dataclasses import dataclass, field, replace

from primitives import rlp
from primitives.errors import InvalidBlock, InvalidRlp
from primitives.keccak import keccak256

EMPTY_OMMERS_HASH = keccak256(rlp.encode([]))
MAX_EXTRA_DATA_BYTES = 32  # Yellow Paper 4.4.4; web3.py refuses longer ones
_FIELD_COUNT = 16
_SEAL_FIELDS = slice(13, 15)


@dataclass(frozen=True, slots=True, eq=False)
class Header:
    """One header; equal where the hashes are equal."""

    parent_hash: bytes
    ommers_hash: bytes
    coinbase: bytes
    """20-byte address that receives fees and reward."""
    state_root: bytes
    transactions_root: bytes
    receipts_root: bytes
    logs_bloom: bytes
    """256 bytes."""
    difficulty: int
    number: int
    gas_limit: int
    gas_used: int
    timestamp_s: int
    """Unix time in seconds."""
    extra_data: bytes
    mix_hash: bytes
    nonce: bytes
    """8 bytes."""
    base_fee_per_gas: int
    """In wei."""
    _hash: bytes | None = field(default=None, repr=False)

    @property
    def hash(self) -> bytes:
        if self._hash is None:
            object.__setattr__(self, "_hash", keccak256(self.encode()))
        return self._hash  # type: ignore[return-value]

    @property
    def seal_hash(self) -> bytes:
        """keccak-256 of the header without mix_hash and nonce: what proof of work is done on."""
        items = self._items()
        del items[_SEAL_FIELDS]
        return keccak256(rlp.encode(items))

    def with_seal(self, mix_hash: bytes, nonce: bytes) -> "Header":
        return replace(self, mix_hash=mix_hash, nonce=nonce, _hash=None)

    def encode(self) -> bytes:
        return rlp.encode(self._items())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Header) and self.hash == other.hash

    def __hash__(self) -> int:
        return hash(self.hash)

    def _items(self) -> list[bytes]:
        number = rlp.encode_int
        return [
            self.parent_hash,
            self.ommers_hash,
            self.coinbase,
            self.state_root,
            self.transactions_root,
            self.receipts_root,
            self.logs_bloom,
            number(self.difficulty),
            number(self.number),
            number(self.gas_limit),
            number(self.gas_used),
            number(self.timestamp_s),
            self.extra_data,
            self.mix_hash,
            self.nonce,
            number(self.base_fee_per_gas),
        ]


def decode_header(encoded: bytes) -> Header:
    """Raises InvalidBlock for anything but one canonical header."""
    try:
        return decode_header_item(rlp.decode(encoded))
    except InvalidRlp as error:
        raise InvalidBlock(f"malformed header: {error}") from error


def decode_header_item(item: rlp.Item) -> Header:
    """A header as a decoded RLP item. Raises InvalidBlock or InvalidRlp."""
    if not isinstance(item, list) or len(item) != _FIELD_COUNT:
        raise InvalidBlock(f"a header has {_FIELD_COUNT} fields, got {len(item) if isinstance(item, list) else 'none'}")
    number = rlp.decode_int
    extra_data = item[12]
    if not isinstance(extra_data, bytes) or len(extra_data) > MAX_EXTRA_DATA_BYTES:
        raise InvalidBlock(f"the extra data of a header is at most {MAX_EXTRA_DATA_BYTES} bytes")
    return Header(
        _exact(item[0], 32, "parent hash"),
        _exact(item[1], 32, "ommers hash"),
        _exact(item[2], 20, "coinbase"),
        _exact(item[3], 32, "state root"),
        _exact(item[4], 32, "transactions root"),
        _exact(item[5], 32, "receipts root"),
        _exact(item[6], 256, "logs bloom"),
        number(item[7]),
        number(item[8], 8),
        number(item[9], 8),
        number(item[10], 8),
        number(item[11], 8),
        extra_data,
        _exact(item[13], 32, "mix hash"),
        _exact(item[14], 8, "nonce"),
        number(item[15]),
    )


def _exact(item: rlp.Item, length: int, name: str) -> bytes:
    if not isinstance(item, bytes) or len(item) != length:
        raise InvalidBlock(f"the {name} of a header must be {length} bytes")
    return item
