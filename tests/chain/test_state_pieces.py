"""Pieces of a state as foreign bytes: every one that is right is understood, everything else is refused, and nothing
else happens."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chain.account import EMPTY_CODE_HASH, EMPTY_TRIE_ROOT, Account
from chain.state_pieces import (
    MAX_PIECE_BYTES,
    AccountLeaf,
    AccountLeaves,
    InvalidStatePiece,
    PieceRequest,
    Place,
    SlotLeaf,
    SlotLeaves,
    TrieNode,
    check_piece,
    decode_piece,
    leaf_value,
)
from chain.store.records import StoredAccount
from chain.trie.nibbles import to_nibbles
from chain.trie.root import slot_key
from chain.trie.update import build
from primitives import rlp
from primitives.keccak import keccak256

OWNER = keccak256(b"a contract")
TWINS = (40_364, 105_566)
"""Slots whose keys begin with the same eight nibbles: below them leaves are shorter than a hash."""


def account_leaf(number, balance=1, code_hash=EMPTY_CODE_HASH, storage_root=EMPTY_TRIE_ROOT):
    address = number.to_bytes(20, "big")
    stored = StoredAccount(Account(number, balance, code_hash), storage_root)
    return AccountLeaf(keccak256(address), stored, b"" if storage_root == EMPTY_TRIE_ROOT else address)


hashes = st.binary(min_size=32, max_size=32)
account_leaves = st.dictionaries(
    st.integers(0, 2**64 - 1),
    st.tuples(
        st.integers(0, 2**256 - 1),
        st.one_of(st.just(EMPTY_CODE_HASH), hashes),
        st.one_of(st.just(EMPTY_TRIE_ROOT), hashes),
    ),
    min_size=1,
    max_size=12,
).map(lambda made: AccountLeaves(tuple(sorted(account_leaf(number, *parts) for number, parts in made.items()))))
slot_leaves = st.dictionaries(
    st.one_of(st.integers(0, 300), st.sampled_from(TWINS)), st.integers(1, 2**256 - 1), min_size=1, max_size=12
).map(
    lambda made: SlotLeaves(
        tuple(sorted(SlotLeaf(slot_key(slot), rlp.encode_int(value)) for slot, value in made.items()))
    )
)


def trie_of(piece):
    return build({leaf.key: leaf_value(leaf) for leaf in piece.leaves})


def request_for(piece, path=b"", root=None):
    owner = b"" if isinstance(piece, AccountLeaves) else OWNER
    return PieceRequest(Place(owner, path), trie_of(piece).root if root is None else root)


@settings(max_examples=40)
@given(st.one_of(account_leaves, slot_leaves))
def test_leaves_come_back_from_their_bytes_and_are_proved_by_the_root(piece):
    decoded = decode_piece(piece.encode())
    assert decoded == piece
    checked = check_piece(request_for(piece), decoded)
    assert tuple(checked.accounts or checked.slots) == piece.leaves
    assert not checked.children


@settings(max_examples=40)
@given(st.one_of(account_leaves, slot_leaves))
def test_a_trie_taken_apart_node_by_node_gives_all_its_leaves(piece):
    """Every inner node as a piece; what has no inner node is a leaf, and comes as such."""
    nodes, owner = trie_of(piece).nodes, request_for(piece).place.owner
    waiting, found = [request_for(piece)], []
    while waiting:
        request = waiting.pop()
        path = request.place.path
        if path in nodes:
            part = decode_piece(TrieNode(nodes[path]).encode())
        else:
            part = replace(piece, leaves=tuple(leaf for leaf in piece.leaves if to_nibbles(leaf.key).startswith(path)))
        checked = check_piece(request, part)
        assert all(child.place.owner == owner for child in checked.children)
        found += [*checked.accounts, *checked.slots]
        waiting += checked.children
    assert sorted(found) == list(piece.leaves)


def test_leaves_below_a_path_of_odd_length_are_proved_by_the_node_above():
    piece = SlotLeaves(tuple(sorted(SlotLeaf(slot_key(slot), b"\x07") for slot in range(200))))
    root = build({leaf.key: leaf_value(leaf) for leaf in piece.leaves})
    below = check_piece(request_for(piece), TrieNode(root.nodes[b""])).children
    assert len(below) == 16
    for request in below:
        part = [leaf for leaf in piece.leaves if to_nibbles(leaf.key).startswith(request.place.path)]
        assert check_piece(request, SlotLeaves(tuple(part))).slots == tuple(part)
        with pytest.raises(InvalidStatePiece):
            check_piece(request, SlotLeaves(tuple(part[1:])))


def test_leaves_inside_a_node_are_taken_out_of_it():
    piece = SlotLeaves(tuple(sorted(SlotLeaf(slot_key(slot), b"\x01") for slot in TWINS)))
    nodes = trie_of(piece).nodes
    (below,) = check_piece(request_for(piece), TrieNode(nodes[b""])).children
    assert len(below.place.path) == 8
    checked = check_piece(below, TrieNode(nodes[below.place.path]))
    assert tuple(checked.slots) == piece.leaves
    assert not checked.children


def leaves_of(*slots):
    return [[slot_key(slot), b"\x01"] for slot in slots]


ACCOUNT = [keccak256(bytes(20)), b"", b"\x05", b"", b"", b""]
CONTRACT = [keccak256(bytes(20)), b"\x01", b"", bytes(31) + b"\x01", bytes(31) + b"\x02", bytes(20)]


def changed(fields, index, value):
    return [*fields[:index], value, *fields[index + 1 :]]


@pytest.mark.parametrize(
    "item",
    [
        [],
        b"",
        b"\x01",
        [b"\x01"],
        [b"\x03", []],
        [b"", []],
        [b"\x00", b""],
        [b"\x01", b""],
        [b"\x01", []],
        [b"\x02", []],
        [b"\x01", [ACCOUNT], b""],
        [b"\x01", [ACCOUNT[:5]]],
        [b"\x01", [b"account"]],
        [b"\x01", [ACCOUNT, ACCOUNT]],
        [b"\x01", [changed(ACCOUNT, 0, bytes(31))]],
        [b"\x01", [changed(ACCOUNT, 1, b"\x00")]],
        [b"\x01", [changed(ACCOUNT, 1, bytes([1] * 9))]],
        [b"\x01", [changed(ACCOUNT, 1, [])]],
        [b"\x01", [changed(ACCOUNT, 2, bytes([1] * 33))]],
        [b"\x01", [changed(ACCOUNT, 2, b"\x00\x01")]],
        [b"\x01", [changed(ACCOUNT, 3, EMPTY_CODE_HASH)]],
        [b"\x01", [changed(ACCOUNT, 3, bytes(31))]],
        [b"\x01", [changed(ACCOUNT, 4, EMPTY_TRIE_ROOT)]],
        [b"\x01", [changed(ACCOUNT, 5, bytes(20))]],
        [b"\x01", [changed(CONTRACT, 5, b"")]],
        [b"\x01", [changed(CONTRACT, 5, bytes(19) + b"\x01")]],
        [b"\x01", [changed(CONTRACT, 5, bytes(21))]],
        [b"\x01", leaves_of(1)],
        [b"\x02", [ACCOUNT]],
        [b"\x02", [[slot_key(1), b""]]],
        [b"\x02", [[slot_key(1), b"\x00\x01"]]],
        [b"\x02", [[slot_key(1), bytes([1] * 33)]]],
        [b"\x02", [[slot_key(1), []]]],
        [b"\x02", [[b"\x01" * 33, b"\x01"]]],
        [b"\x02", leaves_of(*sorted([1, 2], key=slot_key, reverse=True))],
        [b"\x02", [leaves_of(1)]],
    ],
)
def test_what_is_no_piece_is_refused(item):
    with pytest.raises(InvalidStatePiece):
        decode_piece(rlp.encode(item))


def test_the_accounts_that_the_cases_above_spoil_are_good_as_they_are():
    assert len(decode_piece(rlp.encode([b"\x01", [ACCOUNT]])).leaves) == 1
    assert decode_piece(rlp.encode([b"\x01", [CONTRACT]])).leaves[0].address == bytes(20)


def test_a_piece_that_is_too_large_is_refused_unread():
    with pytest.raises(InvalidStatePiece, match="at most"):
        decode_piece(rlp.encode([b"", bytes(MAX_PIECE_BYTES)]))
    with pytest.raises(InvalidStatePiece, match="more items"):
        decode_piece(rlp.encode([b"\x02", [[]] * 60_000]))


@given(st.binary(max_size=200))
def test_garbage_is_refused(garbage):
    with pytest.raises(InvalidStatePiece):
        decode_piece(garbage)


@settings(max_examples=40)
@given(st.one_of(account_leaves, slot_leaves), st.data())
def test_one_changed_byte_is_noticed(piece, data):
    encoded = bytearray(piece.encode())
    position = data.draw(st.integers(0, len(encoded) - 1))
    encoded[position] ^= data.draw(st.integers(1, 255))
    with pytest.raises(InvalidStatePiece):
        check_piece(request_for(piece), decode_piece(bytes(encoded)))


@settings(max_examples=40)
@given(st.one_of(account_leaves, slot_leaves), st.binary(max_size=10).map(lambda path: bytes(n % 16 for n in path)))
def test_leaves_with_another_hash_or_of_another_trie_are_refused(piece, path):
    request = request_for(piece, path, bytes(32))
    with pytest.raises(InvalidStatePiece):
        check_piece(request, piece)
    other = Place(b"" if request.place.owner else OWNER, path)
    with pytest.raises(InvalidStatePiece, match="wrong kind"):
        check_piece(PieceRequest(other, trie_of(piece).root), piece)


def test_leaves_beside_the_place_are_refused():
    piece = SlotLeaves((SlotLeaf(slot_key(1), b"\x01"),))
    beside = bytes([(to_nibbles(slot_key(1))[0] + 1) % 16])
    with pytest.raises(InvalidStatePiece, match="does not belong below"):
        check_piece(request_for(piece, beside), piece)


HASH = b"\xa0" + bytes(32)
SHORT_LEAF = bytes.fromhex("c2") + b"\x20" + b"\x01"


def node(*items):
    payload = b"".join(items)
    return rlp.list_prefix(len(payload)) + payload


@pytest.mark.parametrize(
    "encoded",
    [
        b"",
        b"\x80",
        b"\xc0",
        node(b"\x20"),
        node(*[b"\x80"] * 17),
        node(HASH, *[b"\x80"] * 16),
        node(HASH, HASH, *[b"\x80"] * 14, b"\x05"),
        node(HASH, HASH, *[b"\x80"] * 14),
        node(HASH, b"\x01", *[b"\x80"] * 15),
        node(HASH, b"\xa1" + bytes(33), *[b"\x80"] * 15),
        node(HASH, SHORT_LEAF, *[b"\x80"] * 15),
        node(HASH, b"\xc1\x80", *[b"\x80"] * 15),
        node(b"\x00", HASH),
        node(b"\x11", b"\x80"),
        node(b"\x11", SHORT_LEAF),
        node(b"\x40", HASH),
        node(b"\xc0", HASH),
        node(rlp.encode(b"\x00" + bytes(40)), HASH),
        node(rlp.encode(b"\x20" + bytes(32)), b"\x01"),
        node(HASH, HASH, *[b"\x80"] * 15)[:-1],
        node(HASH, HASH, *[b"\x80"] * 15) + b"\x80",
        b"\xff" * 40,
    ],
)
@pytest.mark.parametrize("owner", [b"", OWNER])
def test_a_node_with_the_right_hash_that_makes_no_sense_is_refused(encoded, owner):
    """A state root may be anybody's: what is behind it need not be a trie."""
    with pytest.raises(InvalidStatePiece):
        check_piece(PieceRequest(Place(owner), keccak256(encoded)), TrieNode(encoded))


@pytest.mark.parametrize("value", [b"\x80", b"\x81\x80", b"\x82\x00\x01", b"\xc0", b"\x81"], ids=bytes.hex)
def test_a_leaf_inside_a_node_must_be_a_slot_with_a_value(value):
    path = bytes(63)
    embedded = node(b"\x20", rlp.encode(value))
    branch = node(embedded, node(b"\x20", b"\x01"), *[b"\x80"] * 15)
    request = PieceRequest(Place(OWNER, path), keccak256(branch))
    if value == b"\x81\x80":  # 0x80 as RLP: the one good value among these
        assert [leaf.value for leaf in check_piece(request, TrieNode(branch)).slots] == [b"\x80", b"\x01"]
        return
    with pytest.raises(InvalidStatePiece):
        check_piece(request, TrieNode(branch))


@given(st.binary(max_size=120), st.binary(max_size=64).map(lambda path: bytes(n % 16 for n in path)))
def test_no_node_whose_hash_is_right_does_anything_but_be_refused_or_opened(encoded, path):
    try:
        checked = check_piece(PieceRequest(Place(OWNER, path), keccak256(encoded)), TrieNode(encoded))
    except InvalidStatePiece:
        return
    assert checked.children or checked.slots


def test_a_lone_leaf_comes_as_a_leaf_not_as_a_node():
    piece = SlotLeaves((SlotLeaf(slot_key(1), b"\x01"),))
    encoded = node(rlp.encode(b"\x20" + slot_key(1)), b"\x01")
    assert keccak256(encoded) == trie_of(piece).root
    with pytest.raises(InvalidStatePiece, match="lone leaf"):
        check_piece(request_for(piece), TrieNode(encoded))
