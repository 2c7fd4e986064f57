"""The trie against a second, naive implementation written from the Yellow Paper, over random batches of changes.

The stored nodes must be exactly those of a trie built afresh: nothing is left over, nothing is missing.
"""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chain.trie.nibbles import InvalidTrieNode, decode_path, encode_path, from_nibbles, to_nibbles
from chain.trie.node import EMPTY_ROOT, decode, encode
from chain.trie.ordered import ordered_root
from chain.trie.proof import prove
from chain.trie.root import trie_root
from chain.trie.update import DamagedTrie, build
from primitives import rlp
from primitives.errors import Invalid
from primitives.keccak import keccak256
from tests.chain.memory_trie import MemoryTrie


def naive_node(entries, depth):
    """The structure of appendix D as an RLP item; entries are (nibbles, value)."""
    if not entries:
        return b""
    if len(entries) == 1:
        return [naive_path(entries[0][0][depth:], 2), entries[0][1]]
    shared = 0
    while (
        all(len(key) > depth + shared for key, _ in entries) and len({key[depth + shared] for key, _ in entries}) == 1
    ):
        shared += 1
    if shared:
        return [naive_path(entries[0][0][depth : depth + shared], 0), naive_child(entries, depth + shared)]
    children = [
        naive_child([e for e in entries if e[0][depth : depth + 1] == bytes([n])], depth + 1) for n in range(16)
    ]
    return [*children, next((value for key, value in entries if len(key) == depth), b"")]


def naive_child(entries, depth):
    node = naive_node(entries, depth)
    encoded = rlp.encode(node)
    return node if len(encoded) < 32 else keccak256(encoded)


def naive_path(nibbles, flag):
    digits = [flag + len(nibbles) % 2] + ([] if len(nibbles) % 2 else [0]) + list(nibbles)
    return bytes(16 * digits[i] + digits[i + 1] for i in range(0, len(digits), 2))


def naive_root(values):
    return keccak256(rlp.encode(naive_node([(to_nibbles(key), value) for key, value in sorted(values.items())], 0)))


# Few different bytes, so that keys share long beginnings and branches merge and split often.
short_keys = st.lists(st.sampled_from([0x00, 0x01, 0x10, 0x11, 0xFF]), min_size=1, max_size=4).map(bytes)
long_keys = short_keys.map(lambda start: start.ljust(5, b"\x07") + bytes(27))
values = st.one_of(st.binary(min_size=1, max_size=3), st.binary(min_size=30, max_size=80))


@st.composite
def batches(draw, keys):
    pool = draw(st.lists(keys, min_size=1, max_size=24, unique=True))
    change = st.tuples(st.sampled_from(pool), st.one_of(st.none(), values))
    return draw(st.lists(st.lists(change, max_size=12).map(dict), min_size=1, max_size=6))


@settings(max_examples=300, deadline=None)
@given(st.one_of(batches(short_keys), batches(long_keys)))
def test_batches_give_the_trie_that_a_rebuild_gives(changes):
    trie = MemoryTrie()
    for batch in changes:
        trie.apply(batch)
        assert trie.root == naive_root(trie.values)
        fresh = build(trie.values)
        assert fresh.root == trie.root
        assert {path: node for path, node in fresh.nodes.items() if node is not None} == trie.nodes


def test_only_the_way_to_a_change_is_loaded_and_written():
    trie = MemoryTrie()
    trie.apply({keccak256(bytes([i, j])): b"value" * 20 for i in range(40) for j in range(50)})
    key = keccak256(bytes([3, 4]))
    result = trie.apply({key: b"other" * 20})
    nibbles = to_nibbles(key)
    assert len(trie.loads) == len(set(trie.loads)) <= 5
    assert all(nibbles.startswith(path) for path in trie.loads)
    assert set(result.nodes) <= set(trie.loads)
    assert trie.apply({key: b"other" * 20}).nodes.keys() <= {b""}


def test_a_missing_node_is_loud():
    trie = MemoryTrie()
    trie.apply({keccak256(bytes([i])): b"value" * 20 for i in range(200)})
    del trie.nodes[b"\x03"]
    trie.values = {key: value for key, value in trie.values.items() if key[0] >> 4 != 3}
    with pytest.raises(DamagedTrie):
        trie.apply({b"\x33" * 32: b"new" * 20})


@given(st.binary(max_size=40).map(to_nibbles), st.booleans(), st.booleans())
def test_paths_survive_their_encoding(nibbles, is_odd, is_leaf):
    path = nibbles[1:] if is_odd else nibbles
    assert decode_path(encode_path(path, is_leaf)) == (path, is_leaf)
    assert encode_path(path, is_leaf) == naive_path(path, 2 if is_leaf else 0)
    assert to_nibbles(from_nibbles(nibbles)) == nibbles


@pytest.mark.parametrize("encoded", [b"", b"\x40", b"\x05\x23", b"\x25\x00", b"\xf0\x12"])
def test_a_path_that_is_not_canonical_is_refused(encoded):
    with pytest.raises(InvalidTrieNode):
        decode_path(encoded)


@given(st.binary(max_size=120))
def test_garbage_is_no_node(data):
    try:
        node = decode(data)
    except Invalid:
        return
    assert encode(node) == data


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.one_of(short_keys, long_keys), values, max_size=30), st.one_of(short_keys, long_keys))
def test_a_proof_leads_from_the_root_to_the_value(entries, key):
    trie = MemoryTrie()
    trie.apply(entries)
    for wanted in [key, *entries]:
        assert value_proven(trie.root, wanted, prove(trie, wanted)) == entries.get(wanted)


def value_proven(root, key, proof):
    """The value that a proof shows, by following nothing but hashes."""
    by_hash = {keccak256(node): node for node in proof}
    nibbles = to_nibbles(key)
    if root == EMPTY_ROOT:
        return None
    item = rlp.decode(by_hash.pop(root))
    while item != b"":
        if len(item) == 17:
            if not nibbles:
                return item[16] or None
            child, nibbles = item[nibbles[0]], nibbles[1:]
        else:
            path, is_leaf = decode_path(item[0])
            if is_leaf:
                return item[1] if path == nibbles else None
            if not nibbles.startswith(path):
                return None
            child, nibbles = item[1], nibbles[len(path) :]
        item = rlp.decode(by_hash.pop(child)) if isinstance(child, bytes) and len(child) == 32 else child
    return None


def test_ordered_root_is_that_of_the_indices():
    items = [bytes([i % 251]) * (i % 70 + 1) for i in range(300)]
    assert ordered_root(items) == naive_root({rlp.encode(rlp.encode_int(i)): item for i, item in enumerate(items)})
    assert ordered_root([]) == trie_root({}) == EMPTY_ROOT == naive_root({})
