"""Official trie vectors (TrieTests): roots after batches and after single changes, and the order of keys."""

import json
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from pathlib import Path

from chain.trie.nibbles import from_nibbles, to_nibbles
from chain.trie.node import EMPTY, HASH_REFERENCE_LENGTH, VALUE, Extension, Leaf, Node, decode
from chain.trie.root import trie_root
from primitives.keccak import keccak256
from tests.chain.memory_trie import MemoryTrie
from tests.conformance.vectors import Case, expect_equal


def read(file: Path) -> Iterator[Case]:
    is_secure = "secure" in file.stem.lower()
    for name, vector in json.loads(file.read_text()).items():
        yield Case(name, {**vector, "is_secure": is_secure})


def check(case: Case) -> None:
    vector = case.content
    if "tests" in vector:
        _check_order(vector)
        return
    pairs = list(vector["in"].items()) if isinstance(vector["in"], dict) else vector["in"]
    changes = [(_bytes(key), None if value is None else _bytes(value)) for key, value in pairs]
    if vector["is_secure"]:
        changes = [(keccak256(key), value) for key, value in changes]
    expected = _bytes(vector["root"])
    one_by_one = MemoryTrie()
    for key, value in changes:
        one_by_one.apply({key: value})
    expect_equal("the root after single changes", one_by_one.root, expected)
    at_once = MemoryTrie()
    at_once.apply(dict(changes))
    expect_equal("the root after one batch", at_once.root, expected)
    expect_equal("the root of a new trie", trie_root(one_by_one.values), expected)


def _check_order(vector) -> None:
    trie = MemoryTrie()
    trie.apply({key.encode(): key.encode() for key in vector["in"]})
    keys = [key.decode() for key in _keys(trie, b"", trie.node(b""))]
    for key, previous, following in vector["tests"]:
        before, after = bisect_left(keys, key), bisect_right(keys, key)
        expect_equal(f"the key before {key!r}", keys[before - 1] if before else "", previous)
        expect_equal(f"the key after {key!r}", keys[after] if after < len(keys) else "", following)


def _keys(trie: MemoryTrie, path: bytes, node: Node) -> Iterator[bytes]:
    """The keys below a node in the order in which the trie holds them."""
    if isinstance(node, Leaf):
        yield from_nibbles(path + node.path)
        return
    if isinstance(node, Extension):
        yield from _keys(trie, path + node.path, _child(trie, path + node.path, node.child))
        return
    if node[VALUE] != EMPTY:
        yield from_nibbles(path)
    for nibble, reference in enumerate(node[:VALUE]):
        if reference != EMPTY:
            child_path = path + bytes([nibble])
            yield from _keys(trie, child_path, _child(trie, child_path, reference))


def _child(trie: MemoryTrie, path: bytes, reference: bytes) -> Node:
    if len(reference) < HASH_REFERENCE_LENGTH:
        return decode(reference)
    node = trie.node(path)
    assert node is not None, f"no node at {to_nibbles(path).hex()}"
    return node


def _bytes(text: str) -> bytes:
    return bytes.fromhex(text[2:]) if text.startswith("0x") else text.encode()
