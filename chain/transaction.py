"""Transactions as they are signed, hashed and carried: types 0 (legacy), 1 (EIP-2930) and 2 (EIP-1559).

Decoding checks form and the signature's ranges only; whether a transaction may run at some state is decided by
chain/execution.py, whether this chain's id and replay protection (EIP-155) are right by `check_chain`. Blob
transactions (type 3, EIP-4844) can be decoded on request, for the official tests; the ledger itself refuses them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from primitives import rlp, secp256k1
from primitives.errors import InvalidRlp, InvalidSignature, InvalidTransaction
from primitives.keccak import keccak256

LEGACY, ACCESS_LIST, DYNAMIC_FEE, BLOB = 0, 1, 2, 3

AccessList = tuple[tuple[bytes, tuple[int, ...]], ...]
"""Pairs of a 20-byte address and the storage slots of it that are going to be used (EIP-2930)."""

MAX_UINT64 = 2**64 - 1
_FIELD_COUNT = {LEGACY: 9, ACCESS_LIST: 11, DYNAMIC_FEE: 12, BLOB: 14}

# A transaction has some fields and, for the rest, entries of its access list, of which the smallest is three items in
# 23 bytes; slots and blob hashes take 33 each. More items than this are no transaction, and would cost memory.
_ITEMS_OF_FIELDS = 16
_BYTES_A_LISTED_ITEM = 7


@dataclass(frozen=True, slots=True, eq=False)
class Transaction:
    """One transaction; `y_parity`, `r` and `s` are 0 until it is signed. Equal where the hashes are equal.

    Legacy and access-list transactions have one gas price, which stands in both fee fields.
    """

    type: int
    chain_id: int | None
    """None for a legacy transaction without replay protection (before EIP-155)."""
    nonce: int
    max_priority_fee_per_gas: int
    max_fee_per_gas: int
    gas_limit: int
    to: bytes | None
    """None creates a contract."""
    value: int
    data: bytes
    access_list: AccessList = ()
    max_fee_per_blob_gas: int = 0
    blob_hashes: tuple[bytes, ...] = ()
    y_parity: int = 0
    r: int = 0
    s: int = 0
    _encoded: bytes | None = field(default=None, repr=False)
    _hash: bytes | None = field(default=None, repr=False)
    _sender: bytes | None = field(default=None, repr=False)

    @property
    def encoded(self) -> bytes:
        """The canonical bytes: an RLP list for type 0, else the type byte and an RLP list (EIP-2718)."""
        if self._encoded is None:
            object.__setattr__(self, "_encoded", self._encode())
        return self._encoded  # type: ignore[return-value]

    @property
    def hash(self) -> bytes:
        """The 32-byte identity of the transaction."""
        if self._hash is None:
            object.__setattr__(self, "_hash", keccak256(self.encoded))
        return self._hash  # type: ignore[return-value]

    @property
    def sender(self) -> bytes:
        """The 20-byte address that signed. Raises InvalidSignature."""
        if self._sender is None:
            address = secp256k1.recover_address(self.signing_hash, self.y_parity, self.r, self.s)
            object.__setattr__(self, "_sender", address)
        return self._sender  # type: ignore[return-value]

    @property
    def signing_hash(self) -> bytes:
        """The 32 bytes that the sender signs."""
        items = self._unsigned_items()
        if self.type != LEGACY:
            return keccak256(bytes((self.type,)) + rlp.encode(items))
        if self.chain_id is not None:
            items += [rlp.encode_int(self.chain_id), b"", b""]
        return keccak256(rlp.encode(items))

    def take_sender_of(self, known: "Transaction") -> None:
        """Take over who signed it from an equal transaction, where that is known there: finding out takes 70 us."""
        if self._sender is None and known == self:
            object.__setattr__(self, "_sender", known._sender)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Transaction) and self.hash == other.hash

    def __hash__(self) -> int:
        return hash(self.hash)

    def _unsigned_items(self) -> list[object]:
        number = rlp.encode_int
        if self.type in (LEGACY, ACCESS_LIST):
            prices = [number(self.max_fee_per_gas)]
        else:
            prices = [number(self.max_priority_fee_per_gas), number(self.max_fee_per_gas)]
        items: list[object] = [
            number(self.nonce),
            *prices,
            number(self.gas_limit),
            self.to or b"",
            number(self.value),
            self.data,
        ]
        if self.type == LEGACY:
            return items
        items.insert(0, number(self.chain_id or 0))
        items.append([[address, [slot.to_bytes(32, "big") for slot in slots]] for address, slots in self.access_list])
        if self.type == BLOB:
            items += [number(self.max_fee_per_blob_gas), list(self.blob_hashes)]
        return items

    def _encode(self) -> bytes:
        items = self._unsigned_items()
        if self.type == LEGACY:
            v = 27 + self.y_parity if self.chain_id is None else 35 + 2 * self.chain_id + self.y_parity
            items += [rlp.encode_int(v), rlp.encode_int(self.r), rlp.encode_int(self.s)]
            return rlp.encode(items)
        items += [rlp.encode_int(self.y_parity), rlp.encode_int(self.r), rlp.encode_int(self.s)]
        return bytes((self.type,)) + rlp.encode(items)


def sign_transaction(transaction: Transaction, private_key: bytes) -> Transaction:
    """The same transaction with the signature of a 32-byte private key."""
    return with_signature(transaction, *secp256k1.sign(transaction.signing_hash, private_key))


def with_signature(transaction: Transaction, y_parity: int, r: int, s: int) -> Transaction:
    """The same transaction with a signature over its `signing_hash`, made elsewhere."""
    return replace(transaction, y_parity=y_parity, r=r, s=s, _encoded=None, _hash=None, _sender=None)


def check_chain(transaction: Transaction, chain_id: int) -> None:
    """Refuse what is signed for another chain, or for none (EIP-155). Raises InvalidTransaction."""
    if transaction.chain_id is None:
        raise InvalidTransaction("the transaction has no chain id (EIP-155): it could be replayed on another chain")
    if transaction.chain_id != chain_id:
        raise InvalidTransaction(f"the transaction is for chain {transaction.chain_id}, this is chain {chain_id}")


def decode_transaction(encoded: bytes, *, allow_blob: bool = False) -> Transaction:
    """The transaction in its canonical bytes. Raises InvalidTransaction, with the reason, for anything else."""
    if not encoded:
        raise InvalidTransaction("an empty transaction")
    transaction_type = encoded[0]
    try:
        if transaction_type >= 0xC0:
            return _decode_items(LEGACY, rlp.decode(encoded, _ITEMS_OF_FIELDS), encoded)
        if transaction_type in (ACCESS_LIST, DYNAMIC_FEE) or (transaction_type == BLOB and allow_blob):
            max_items = _ITEMS_OF_FIELDS + len(encoded) // _BYTES_A_LISTED_ITEM
            return _decode_items(transaction_type, rlp.decode(encoded[1:], max_items), encoded)
    except InvalidRlp as error:
        raise InvalidTransaction(f"malformed transaction: {error}") from error
    raise InvalidTransaction(f"transaction type {transaction_type} is not accepted on this ledger")


def decode_transaction_item(item: rlp.Item) -> Transaction:
    """A transaction as it stands in a block's list: a list for type 0, a string for the others.

    Raises InvalidTransaction.
    """
    if isinstance(item, list):
        try:
            return _decode_items(LEGACY, item, rlp.encode(item))
        except InvalidRlp as error:
            raise InvalidTransaction(f"malformed transaction: {error}") from error
    if item and item[0] >= 0xC0:
        raise InvalidTransaction("a legacy transaction stands in a block as a list, not as a string (EIP-2718)")
    return decode_transaction(item)


def encode_transaction_items(transactions: Sequence[Transaction]) -> bytes:
    """The RLP list of a block's transactions."""
    encoded = [t.encoded if t.type == LEGACY else rlp.encode(t.encoded) for t in transactions]
    payload = b"".join(encoded)
    return rlp.list_prefix(len(payload)) + payload


def _decode_items(transaction_type: int, items: rlp.Item, encoded: bytes) -> Transaction:
    if not isinstance(items, list) or len(items) != _FIELD_COUNT[transaction_type]:
        raise InvalidTransaction(
            f"a type {transaction_type} transaction has {_FIELD_COUNT[transaction_type]} fields, "
            f"got {len(items) if isinstance(items, list) else 'no list'}"
        )
    number = rlp.decode_int
    v, r, s = number(items[-3]), number(items[-2]), number(items[-1])
    chain_id: int | None
    access_list: AccessList = ()
    if transaction_type == LEGACY:
        chain_id, y_parity = _split_v(v)
        fields = [items[1], *items[1:6]]
        nonce = items[0]
    else:
        chain_id, y_parity = number(items[0], 8), v
        nonce = items[1]
        fields = items[2:8] if transaction_type != ACCESS_LIST else [items[2], *items[2:7]]
        access_list = _decode_access_list(items[7 if transaction_type == ACCESS_LIST else 8])
    _check_signature(y_parity, r, s)
    priority_fee, max_fee, gas_limit, to, value, data = fields
    if not isinstance(to, bytes) or len(to) not in (0, 20):
        raise InvalidTransaction("the recipient must be 20 bytes, or none to create a contract")
    if not isinstance(data, bytes):
        raise InvalidTransaction("the data of a transaction must be bytes")
    return Transaction(
        transaction_type,
        chain_id,
        number(nonce, 8),
        number(priority_fee),
        number(max_fee),
        number(gas_limit, 8),
        to or None,
        number(value),
        data,
        access_list,
        number(items[9]) if transaction_type == BLOB else 0,
        _decode_blob_hashes(items[10]) if transaction_type == BLOB else (),
        y_parity,
        r,
        s,
        bytes(encoded),
    )


def _split_v(v: int) -> tuple[int | None, int]:
    """(chain id or None, y parity) of a legacy signature's v (EIP-155)."""
    if v in (27, 28):
        return None, v - 27
    if v < 35:
        raise InvalidTransaction(f"the signature's v is {v}; it must be 27, 28 or at least 35")
    chain_id, y_parity = divmod(v - 35, 2)
    if chain_id > MAX_UINT64:
        raise InvalidTransaction("the chain id of a transaction is above 64 bits")
    return chain_id, y_parity


def _check_signature(y_parity: int, r: int, s: int) -> None:
    if y_parity not in (0, 1):
        raise InvalidTransaction(f"the signature's parity is {y_parity}; it must be 0 or 1")
    if not 0 < r < secp256k1.ORDER or not 0 < s < secp256k1.ORDER:
        raise InvalidTransaction("r or s of the signature is out of range")
    if s > secp256k1.HALF_ORDER:
        raise InvalidTransaction("s of the signature is in the upper half of the curve's order (EIP-2)")


def _decode_access_list(item: rlp.Item) -> AccessList:
    if not isinstance(item, list):
        raise InvalidTransaction("the access list must be a list")
    entries = []
    for entry in item:
        if not isinstance(entry, list) or len(entry) != 2:
            raise InvalidTransaction("an entry of the access list must be an address and a list of slots")
        address, slots = entry
        if not isinstance(address, bytes) or len(address) != 20 or not isinstance(slots, list):
            raise InvalidTransaction("an entry of the access list must be an address and a list of slots")
        if any(not isinstance(slot, bytes) or len(slot) != 32 for slot in slots):
            raise InvalidTransaction("a slot of the access list must be 32 bytes")
        entries.append((address, tuple([int.from_bytes(slot, "big") for slot in slots if isinstance(slot, bytes)])))
    return tuple(entries)


def _decode_blob_hashes(item: rlp.Item) -> tuple[bytes, ...]:
    if not isinstance(item, list):
        raise InvalidTransaction("the blob hashes must be a list")
    hashes = tuple([value for value in item if isinstance(value, bytes) and len(value) == 32])
    if len(hashes) != len(item):
        raise InvalidTransaction("a blob hash must be 32 bytes")
    return hashes


def sender_or_refuse(transaction: Transaction) -> bytes:
    """The sender. Raises InvalidTransaction where no key fits the signature."""
    try:
        return transaction.sender
    except InvalidSignature as error:
        raise InvalidTransaction(f"the transaction's signature is not valid: {error}") from error
