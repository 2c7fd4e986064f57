"""Applying a batch of changes to a trie that lies in a store, keyed by path.

The trie is updated, never rebuilt: only the nodes on the way to a changed key are loaded, and each is encoded and
hashed once a batch. Only branches and extensions are stored, at the nibbles that lead to them; a leaf says nothing that
its key and value do not, so the store of the values answers for the leaves. Nodes are never keyed by hash.
Nothing is written here: the result says what to write.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from chain.trie.nibbles import common_length, to_nibbles
from chain.trie.node import (
    BRANCH_ITEMS,
    EMPTY,
    EMPTY_ROOT,
    HASH_REFERENCE_LENGTH,
    VALUE,
    Branch,
    Extension,
    InnerNode,
    Leaf,
    Node,
    child_position,
    decode,
    encode,
    encode_branch,
    encode_extension,
    encode_leaf,
)
from primitives import rlp
from primitives.keccak import keccak256

_NIBBLE = [bytes((nibble,)) for nibble in range(16)]

_Change = tuple[bytes, bytes | None]
"""The nibbles of a key and its new value, None for none."""


class NodeSource(Protocol):
    """A trie as it lies in the store, before the batch."""

    def node(self, path: bytes) -> Node | None:
        """What stands at the nibbles of path: the branch or extension stored there, else the leaf made of the one entry
        whose key begins with path, else nothing. Never asked for below a leaf, nor beside an extension's way.

        Of an entry that the batch itself changes the value is not looked at.
        """

    def encoded(self, path: bytes) -> bytes | None:
        """The RLP of the branch or extension stored at path; None where none is."""


@dataclass(slots=True)
class TrieUpdate:
    """What a batch made of a trie."""

    root: bytes
    nodes: dict[bytes, bytes | None] = field(default_factory=dict)
    """RLP of the branches and extensions to store, by path; None where one is to be deleted."""
    decoded: dict[bytes, InnerNode] = field(default_factory=dict)
    """Those of the same nodes that were taken apart, for a cache."""


class DamagedTrie(RuntimeError):
    """A node names a child that the store does not have."""


def update(source: NodeSource, changes: Mapping[bytes, bytes | None]) -> TrieUpdate:
    """The trie after every key of `changes` has got its value, or is gone where that is None."""
    return _Batch(source).run([(to_nibbles(key), changes[key]) for key in sorted(changes)])


def build(entries: Mapping[bytes, bytes]) -> TrieUpdate:
    """A whole new trie of the given keys and values."""
    return update(_EMPTY_SOURCE, entries)


def encode_subtree(path: bytes, entries: list[tuple[bytes, bytes]]) -> bytes:
    """RLP of the node that stands at path in a trie whose entries below it are these, at least one.

    They are given by the nibbles of their keys, in order, all of one length and all beginning with path.
    """
    return encode(_Batch(_EMPTY_SOURCE).subtree(path, entries))


class _EmptySource:
    def node(self, path: bytes) -> Node | None:
        return None

    def encoded(self, path: bytes) -> bytes | None:
        return None


_EMPTY_SOURCE = _EmptySource()


class _Batch:
    """One run over the sorted changes. A node that was loaded is marked for deletion until it is placed again."""

    def __init__(self, source: NodeSource) -> None:
        self._source = source
        self._nodes: dict[bytes, bytes | None] = {}
        self._decoded: dict[bytes, InnerNode] = {}

    def run(self, changes: list[_Change]) -> TrieUpdate:
        old = self._source.node(b"")
        if old is not None and not isinstance(old, Leaf):
            self._nodes[b""] = None
        new = self._apply(b"", old, changes, 0, len(changes))
        if new is None:
            return TrieUpdate(EMPTY_ROOT, self._nodes, self._decoded)
        reference = self._place(b"", new)
        if len(reference) == HASH_REFERENCE_LENGTH:
            return TrieUpdate(reference[1:], self._nodes, self._decoded)
        if not isinstance(new, Leaf):  # the root is stored and hashed however short it is
            self._nodes[b""] = reference
            self._decoded[b""] = new
        return TrieUpdate(keccak256(reference), self._nodes, self._decoded)

    def subtree(self, path: bytes, entries: list[tuple[bytes, bytes]]) -> Node:
        return self._build(path, entries, 0, len(entries))

    def _apply(self, path: bytes, node: Node | None, changes: list[_Change], low: int, high: int) -> Node | None:
        """What stands at path after changes[low:high], all of whose keys begin with path."""
        if isinstance(node, list):
            return self._apply_to_branch(path, node, changes, low, high)
        if isinstance(node, Extension):
            return self._apply_to_extension(path, node, changes[low:high])
        depth = len(path)
        if isinstance(node, Leaf):
            if high - low == 1 and changes[low][0][depth:] == node.path:
                value = changes[low][1]
                return None if value is None else Leaf(node.path, value)
            entries = {path + node.path: node.value, **dict(changes[low:high])}
        else:
            entries = dict(changes[low:high])
        kept = sorted((key, value) for key, value in entries.items() if value is not None)
        return self._build(path, kept, 0, len(kept)) if kept else None

    def _apply_to_branch(self, path: bytes, branch: Branch, changes: list[_Change], low: int, high: int) -> Node | None:
        depth = len(path)
        items = branch.copy()
        made: dict[int, Node] = {}
        if low < high and len(changes[low][0]) == depth:
            value = changes[low][1]
            items[VALUE] = EMPTY if value is None else rlp.encode(value)
            low += 1
        while low < high:
            nibble = changes[low][0][depth]
            end = low + 1
            while end < high and changes[end][0][depth] == nibble:
                end += 1
            child_path = path + _NIBBLE[nibble]
            old = items[nibble]
            if end - low == 1 and len(old) == HASH_REFERENCE_LENGTH:
                replaced = self._replace(old, depth + 1, *changes[low])
                if replaced is not None:
                    items[nibble] = replaced
                    low = end
                    continue
            is_new_in_batch = child_path in self._nodes
            child = self._apply(child_path, None if old == EMPTY else self._load(child_path, old), changes, low, end)
            if child is None:
                items[nibble] = EMPTY
            else:
                items[nibble] = placed = self._place(child_path, child)
                made[nibble] = child
                if placed == old and not is_new_in_batch:  # nothing below changed, so there is nothing to write
                    self._forget(child_path)
            low = end
        if items.count(EMPTY) < BRANCH_ITEMS - 1:
            return items
        return self._collapse(path, items, made)

    def _replace(self, reference: bytes, depth: int, key: bytes, value: bytes | None) -> bytes | None:
        """The new reference of the node at the first `depth` nibbles of key, when key alone gets another value below.

        None, and nothing done, where branches alone do not lead to the key, or the node is its leaf. Most changes are
        of this kind: nothing moves, and each branch on the way has one hash exchanged, so it is not taken apart.
        """
        if value is None:
            return None
        encoded_at = self._source.encoded
        way = []
        while (encoded := encoded_at(key[:depth])) is not None and depth < len(key):
            position = child_position(encoded, key[depth])
            if not position:
                return None
            way.append((encoded, position))
            depth += 1
        leaf = self._source.node(key[:depth]) if way else None
        if not isinstance(leaf, Leaf) or leaf.path != key[depth:]:
            return None
        encoded = encode_leaf(Leaf(leaf.path, value))
        if len(encoded) < 32:
            return None
        digest = keccak256(encoded)
        if way[-1][0].startswith(digest, way[-1][1] + 1):
            return reference
        for old, position in reversed(way):
            depth -= 1
            encoded = old[: position + 1] + digest + old[position + HASH_REFERENCE_LENGTH :]
            self._nodes[key[:depth]] = encoded
            digest = keccak256(encoded)
        return b"\xa0" + digest

    def _collapse(self, path: bytes, items: Branch, made: dict[int, Node]) -> Node | None:
        """What becomes of a branch that has at most one item left."""
        if items[VALUE] != EMPTY:
            value = rlp.decode(items[VALUE])
            if not isinstance(value, bytes):
                raise DamagedTrie(f"the branch at {path.hex()} holds a list as its value")
            return Leaf(b"", value)
        for nibble, reference in enumerate(items):
            if reference == EMPTY:
                continue
            child_path = path + _NIBBLE[nibble]
            child = made.get(nibble)
            if child is None:
                replaced = self._nodes.get(child_path)
                child = self._load(child_path, reference)
                if isinstance(child, list) and len(reference) == HASH_REFERENCE_LENGTH:  # it stays, below an extension
                    del self._nodes[child_path]
                    if replaced is not None:
                        self._nodes[child_path] = replaced
            return self._join(_NIBBLE[nibble], child_path, child, reference)
        return None

    def _apply_to_extension(self, path: bytes, extension: Extension, changes: list[_Change]) -> Node | None:
        depth = len(path)
        way = path + extension.path
        # Removing what is not there changes nothing, and must not split the extension.
        changes = [change for change in changes if change[1] is not None or change[0].startswith(way)]
        if not changes:
            return extension
        shared = min(
            common_length(way, changes[0][0], depth), common_length(way, changes[-1][0], depth)
        )  # sorted: what the first and the last share, all share
        fork_path = way[: depth + shared]
        if shared == len(extension.path):
            child = self._apply(way, self._load(way, extension.child), changes, 0, len(changes))
            if child is None:
                return None
            joined = self._join(extension.path, way, child)
            if joined == extension:
                self._forget(way)
            return joined
        fork = [EMPTY] * BRANCH_ITEMS
        rest = extension.path[shared + 1 :]
        fork[extension.path[shared]] = (
            self._place(way[: depth + shared + 1], Extension(rest, extension.child)) if rest else extension.child
        )
        forked = self._apply_to_branch(fork_path, fork, changes, 0, len(changes))
        return None if forked is None else self._join(extension.path[:shared], fork_path, forked)

    def _build(self, path: bytes, entries: list[tuple[bytes, bytes]], low: int, high: int) -> Node:
        """A new subtree of entries[low:high]."""
        depth = len(path)
        first, value = entries[low]
        if high - low == 1:
            return Leaf(first[depth:], value)
        shared = common_length(first, entries[high - 1][0], depth)
        if shared:
            branch_path = first[: depth + shared]
            return self._join(first[depth : depth + shared], branch_path, self._build(branch_path, entries, low, high))
        items = [EMPTY] * BRANCH_ITEMS
        if len(first) == depth:
            items[VALUE] = rlp.encode(value)
            low += 1
        while low < high:
            nibble = entries[low][0][depth]
            end = low + 1
            while end < high and entries[end][0][depth] == nibble:
                end += 1
            child_path = path + _NIBBLE[nibble]
            items[nibble] = self._place(child_path, self._build(child_path, entries, low, end))
            low = end
        return items

    def _join(self, prefix: bytes, child_path: bytes, child: Node, reference: bytes = b"") -> Node:
        """The node that leads by `prefix` to a child; two in a row that are no branches become one.

        `reference` is the child's where it has been placed already.
        """
        if not prefix:
            return child
        if isinstance(child, list):
            return Extension(prefix, reference or self._place(child_path, child))
        if isinstance(child, Extension):
            self._nodes[child_path] = None  # also where it was found unchanged, and so forgotten
            self._decoded.pop(child_path, None)
            return Extension(prefix + child.path, child.child)
        return Leaf(prefix + child.path, child.value)

    def _load(self, path: bytes, reference: bytes) -> Node:
        """The child that a reference in an old node, or in one made in this batch, stands for."""
        if len(reference) < HASH_REFERENCE_LENGTH:
            return decode(reference)
        made = self._nodes.get(path)
        if made is not None:  # in this batch, on the way to something else
            self._nodes[path] = None
            return self._decoded.pop(path, None) or decode(made)
        node = self._source.node(path)
        if node is None:
            raise DamagedTrie(f"there is no node at {path.hex()}, though its parent names one")
        if not isinstance(node, Leaf):
            self._nodes[path] = None
        return node

    def _place(self, path: bytes, node: Node) -> bytes:
        """Put a finished node at its place; the reference for its parent."""
        if isinstance(node, Leaf):
            encoded = encode_leaf(node)
            return encoded if len(encoded) < 32 else b"\xa0" + keccak256(encoded)
        encoded = encode_branch(node) if isinstance(node, list) else encode_extension(node)
        if len(encoded) < 32:
            if path in self._nodes:
                self._nodes[path] = None
                self._decoded.pop(path, None)
            return encoded
        self._nodes[path] = encoded
        self._decoded[path] = node
        return b"\xa0" + keccak256(encoded)

    def _forget(self, path: bytes) -> None:
        self._nodes.pop(path, None)
        self._decoded.pop(path, None)
