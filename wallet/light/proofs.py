"""Proofs of accounts and storage slots (EIP-1186), checked against the state root of a header that is believed.

Who made a proof does not matter: it leads from the root to the key by hashes, or it is refused. Of a key that is absent
the same nodes prove that. Trie nodes are those of the Yellow Paper, appendix D.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from chain.account import EMPTY_CODE_HASH
from chain.trie.nibbles import InvalidTrieNode, to_nibbles
from chain.trie.node import EMPTY, EMPTY_ROOT, HASH_REFERENCE_LENGTH, Extension, Leaf, Node, decode
from chain.trie.root import slot_key
from primitives import rlp
from primitives.errors import Invalid, InvalidRlp
from primitives.keccak import keccak256

MAX_PROOF_NODES = 65
"""A node for each of a key's 64 nibbles, and a leaf."""
MAX_NODE_BYTES = 576
"""A branch of sixteen hashes has 532; an account's leaf has at most 150, a slot's 70."""

_ROOTLESS = (b"", EMPTY_ROOT, bytes(32))
"""What nodes say of an absent account where a hash should stand."""
_CODELESS = (b"", EMPTY_CODE_HASH, bytes(32))


class InvalidProof(Invalid):
    """Nodes of a trie do not prove what they should, or the answer beside them says something else."""


@dataclass(frozen=True, slots=True)
class SlotAnswer:
    """A slot as a node answers: a claim, and what shall prove it."""

    value: int
    proof: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class AccountAnswer:
    """An account as a node answers eth_getProof: claims, and what shall prove them."""

    nonce: int
    balance: int
    code_hash: bytes
    storage_root: bytes
    proof: tuple[bytes, ...]
    slots: tuple[SlotAnswer, ...]
    """In the order in which they were asked for."""


@dataclass(frozen=True, slots=True)
class ProvedAccount:
    """An account as the state holds it. One that is absent is all zero and empty."""

    address: bytes
    exists: bool
    nonce: int
    balance: int
    """In wei."""
    code_hash: bytes
    storage_root: bytes
    slots: Mapping[int, int]
    """Those that were asked for."""


def check_answer(answer: AccountAnswer, state_root: bytes, address: bytes, slots: Sequence[int]) -> ProvedAccount:
    """What of the answer is proved, which is all of it. Raises InvalidProof."""
    account = prove_account(state_root, address, answer.proof)
    claimed = (answer.nonce, answer.balance)
    if claimed != (account.nonce, account.balance) or not _says(answer, account):
        raise InvalidProof(f"the answer about 0x{address.hex()} is not what its own proof says")
    if len(answer.slots) != len(slots):
        raise InvalidProof(f"{len(slots)} slots were asked for, {len(answer.slots)} are answered")
    values = {}
    for slot, one in zip(slots, answer.slots, strict=True):
        # An absent account has no trie in which anything would have to be proved.
        values[slot] = prove_slot(account.storage_root, slot, one.proof) if account.exists else 0
        if values[slot] != one.value:
            raise InvalidProof(f"the answer about slot {slot:#x} of 0x{address.hex()} is not what its own proof says")
    return ProvedAccount(
        address, account.exists, account.nonce, account.balance, account.code_hash, account.storage_root, values
    )


def prove_account(state_root: bytes, address: bytes, proof: Sequence[bytes]) -> ProvedAccount:
    """The account, or that there is none. Raises InvalidProof."""
    value = prove(state_root, keccak256(address), proof)
    if value is None:
        return ProvedAccount(address, False, 0, 0, EMPTY_CODE_HASH, EMPTY_ROOT, {})
    try:
        fields = rlp.decode(value)
        if not isinstance(fields, list) or len(fields) != 4:
            raise InvalidProof("an account has four fields")
        nonce, balance = rlp.decode_int(fields[0], 8), rlp.decode_int(fields[1], 32)
    except InvalidRlp as error:
        raise InvalidProof(f"an account that is none: {error}") from error
    root, code_hash = fields[2], fields[3]
    if not isinstance(root, bytes) or not isinstance(code_hash, bytes) or (len(root), len(code_hash)) != (32, 32):
        raise InvalidProof("the hashes of an account have 32 bytes")
    return ProvedAccount(address, True, nonce, balance, code_hash, root, {})


def prove_slot(storage_root: bytes, slot: int, proof: Sequence[bytes]) -> int:
    """The value in the slot, 0 where it is absent. Raises InvalidProof."""
    value = prove(storage_root, slot_key(slot), proof)
    if value is None:
        return 0
    try:
        return rlp.decode_int(rlp.decode(value), 32)
    except InvalidRlp as error:
        raise InvalidProof(f"the value of a slot that is none: {error}") from error


def prove(root: bytes, key: bytes, proof: Sequence[bytes]) -> bytes | None:
    """What the trie with this root holds under the key; None where the proof shows that it holds nothing.

    Raises InvalidProof, also where nodes are left over: an honest answer has none.
    """
    if len(proof) > MAX_PROOF_NODES:
        raise InvalidProof(f"a proof of {len(proof)} nodes; at most {MAX_PROOF_NODES} are possible")
    if root == EMPTY_ROOT and list(proof) in ([], [EMPTY]):
        return None
    way = _Way(root, proof)
    node, path, nibbles = way.root(), 0, to_nibbles(key)
    while True:
        if isinstance(node, Leaf):
            value = node.value if node.path == nibbles[path:] else None
            break
        if isinstance(node, Extension):
            end = path + len(node.path)
            if not node.path:
                raise InvalidProof("an extension without a path")
            if nibbles[path:end] != node.path:
                value = None
                break
            path, reference = end, node.child
        else:
            if path == len(nibbles):
                raise InvalidProof("the way to a key ends at a branch")  # all keys are equally long
            reference = node[nibbles[path]]
            path += 1
        if reference == EMPTY:
            value = None
            break
        node = way.follow(reference)
    way.finish()
    return value


class _Way:
    """The nodes of a proof, each taken once, in order, where its hash is named."""

    def __init__(self, root: bytes, proof: Sequence[bytes]) -> None:
        self._root = root
        self._left = list(reversed(proof))

    def root(self) -> Node:
        return self._take(self._root)

    def follow(self, reference: bytes) -> Node:
        """The child that a reference in its parent stands for."""
        if len(reference) == HASH_REFERENCE_LENGTH and reference[0] == 0xA0:
            return self._take(reference[1:])
        if len(reference) >= 32:
            raise InvalidProof("a node inside its parent that is too large for that")
        return _decode(reference)

    def finish(self) -> None:
        if self._left:
            raise InvalidProof(f"{len(self._left)} nodes of the proof lead nowhere")

    def _take(self, node_hash: bytes) -> Node:
        if not self._left:
            raise InvalidProof(f"the proof lacks the node with the hash 0x{node_hash.hex()}")
        encoded = self._left.pop()
        if len(encoded) > MAX_NODE_BYTES:
            raise InvalidProof(f"a node of {len(encoded)} bytes; at most {MAX_NODE_BYTES} are possible")
        if keccak256(encoded) != node_hash:
            raise InvalidProof(f"a node of the proof does not have the hash 0x{node_hash.hex()} that leads to it")
        return _decode(encoded)


def _decode(encoded: bytes) -> Node:
    try:
        return decode(encoded)
    except (InvalidTrieNode, InvalidRlp) as error:
        raise InvalidProof(f"a node of the proof is malformed: {error}") from error


def _says(answer: AccountAnswer, account: ProvedAccount) -> bool:
    """Whether the hashes in the answer are the account's; of an absent one nodes write them in several ways."""
    if not account.exists:
        return answer.storage_root in _ROOTLESS and answer.code_hash in _CODELESS
    return (answer.storage_root, answer.code_hash) == (account.storage_root, account.code_hash)
