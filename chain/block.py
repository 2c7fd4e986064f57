"""A block: a header and its transactions. Ommers do not exist on this ledger; their list is always empty.

On the wire and on disk a block is the RLP list [header, transactions, ommers], as in the Yellow Paper.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from chain.header import Header, decode_header_item
from chain.transaction import Transaction, decode_transaction_item, encode_transaction_items
from chain.trie.ordered import ordered_root
from primitives import rlp
from primitives.errors import InvalidBlock, InvalidRlp

MAX_BLOCK_BYTES = 8 * 1024 * 1024
"""A rule of the ledger: no block is larger, so that any node can take it in. 30 million gas buy 7.5 MB of zeros as
calldata, and under 2 MB of anything else."""

MAX_BLOCK_TRANSACTIONS = 1 << 16
"""A rule of the ledger as well: the index of transactions has room for so many; 30 million gas allow 1,428."""

# The list itself and, in it, header, transactions and ommers; typed transactions count as one string each.
_MAX_BLOCK_ITEMS = 3 + 16 + 10 * MAX_BLOCK_TRANSACTIONS

_NO_OMMERS = rlp.encode([])


@dataclass(frozen=True, slots=True)
class Block:
    header: Header
    transactions: tuple[Transaction, ...]
    # Gossip, synchronisation, proposals and import all ask for it. Not part of __init__, so no replace() copies it.
    _transactions_root: bytes | None = field(default=None, init=False, repr=False, compare=False)

    @property
    def hash(self) -> bytes:
        return self.header.hash

    @property
    def transactions_root(self) -> bytes:
        """What the header must commit to, worked out from the transactions."""
        if self._transactions_root is None:
            root = ordered_root([transaction.encoded for transaction in self.transactions])
            object.__setattr__(self, "_transactions_root", root)
        return self._transactions_root  # type: ignore[return-value]

    @property
    def number(self) -> int:
        return self.header.number

    def encode(self) -> bytes:
        payload = self.header.encode() + encode_transaction_items(self.transactions) + _NO_OMMERS
        return rlp.list_prefix(len(payload)) + payload


def decode_block(encoded: bytes) -> Block:
    """Raises InvalidBlock or InvalidTransaction for anything but one canonical block."""
    check_size(len(encoded))
    try:
        item = rlp.decode(encoded, _MAX_BLOCK_ITEMS)
        if not isinstance(item, list) or len(item) != 3:
            raise InvalidBlock("a block is a list of header, transactions and ommers")
        if item[2] != []:
            raise InvalidBlock("ommers are not part of this ledger")
        return Block(decode_header_item(item[0]), _decode_transactions(item[1]))
    except InvalidRlp as error:
        raise InvalidBlock(f"malformed block: {error}") from error


def check_body(block: Block) -> None:
    """Refuse a body that is too large, or not the one its header commits to. Raises InvalidBlock."""
    check_transaction_count(len(block.transactions))
    check_size(len(block.encode()))
    if block.transactions_root != block.header.transactions_root:
        raise InvalidBlock("the block's transactions are not those that its header commits to")


def check_size(block_bytes: int) -> None:
    """Raises InvalidBlock for a block of more bytes than there may be."""
    if block_bytes > MAX_BLOCK_BYTES:
        raise InvalidBlock(f"a block of {block_bytes} bytes; at most {MAX_BLOCK_BYTES} are accepted")


def check_transaction_count(count: int) -> None:
    """Raises InvalidBlock for more transactions than a block may have."""
    if count > MAX_BLOCK_TRANSACTIONS:
        raise InvalidBlock(f"a block of {count} transactions; at most {MAX_BLOCK_TRANSACTIONS} are accepted")


def encode_body(transactions: Sequence[Transaction]) -> bytes:
    """What is stored beside the header: the RLP list of the transactions."""
    return encode_transaction_items(transactions)


def decode_body(encoded: bytes) -> tuple[Transaction, ...]:
    """The transactions of a stored body. Raises InvalidBlock or InvalidTransaction."""
    try:
        return _decode_transactions(rlp.decode(encoded))
    except InvalidRlp as error:
        raise InvalidBlock(f"malformed block body: {error}") from error


def _decode_transactions(item: rlp.Item) -> tuple[Transaction, ...]:
    if not isinstance(item, list):
        raise InvalidBlock("the transactions of a block must be a list")
    check_transaction_count(len(item))
    return tuple([decode_transaction_item(entry) for entry in item])
