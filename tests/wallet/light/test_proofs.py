"""Proofs of accounts and slots against the trie's own code, and whatever a liar may hand out instead."""

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chain.account import EMPTY_CODE_HASH, Account
from chain.trie.node import EMPTY_ROOT
from chain.trie.proof import prove as make_proof
from chain.trie.root import account_value, slot_key, storage_value
from primitives import rlp
from primitives.keccak import keccak256
from tests.chain.memory_trie import MemoryTrie
from wallet.light.proofs import (
    MAX_NODE_BYTES,
    MAX_PROOF_NODES,
    AccountAnswer,
    InvalidProof,
    SlotAnswer,
    check_answer,
    prove,
    prove_account,
    prove_slot,
)

PREFIX = bytes(30)
KEYS = st.one_of(st.binary(min_size=32, max_size=32), st.binary(min_size=2, max_size=2).map(lambda end: PREFIX + end))
"""Far apart, and so near together that nodes lie inside their parents."""
ENTRIES = st.dictionaries(KEYS, st.binary(min_size=1, max_size=40), max_size=25)
ADDRESS, OTHER = b"\x11" * 20, b"\x22" * 20


def trie_of(entries: dict[bytes, bytes]) -> MemoryTrie:
    trie = MemoryTrie()
    trie.apply(entries)
    return trie


@given(ENTRIES, KEYS)
def test_what_the_trie_holds_is_proved_and_what_it_lacks_too(entries: dict[bytes, bytes], other: bytes) -> None:
    trie = trie_of(entries)
    for key in [*entries, other]:
        assert prove(trie.root, key, make_proof(trie, key)) == entries.get(key)


@given(ENTRIES.filter(bool), st.data())
def test_a_proof_with_anything_changed_is_refused(entries: dict[bytes, bytes], data: st.DataObject) -> None:
    trie = trie_of(entries)
    key = data.draw(st.sampled_from(sorted(entries)))
    proof = make_proof(trie, key)
    place = data.draw(st.integers(0, len(proof) - 1))
    node = bytearray(proof[place])
    node[data.draw(st.integers(0, len(node) - 1))] ^= data.draw(st.integers(1, 255))
    changed = [*proof[:place], bytes(node), *proof[place + 1 :]]
    for wrong in (
        changed,
        proof[:place] + proof[place + 1 :],
        [*proof, proof[-1]],
        [*proof[: place + 1], *proof[place:]],
    ):
        with pytest.raises(InvalidProof):
            prove(trie.root, key, wrong)
    with pytest.raises(InvalidProof):
        prove(keccak256(b"another state"), key, proof)


@given(ENTRIES.filter(bool), KEYS, st.data())
def test_a_proof_for_one_key_says_nothing_false_about_another(
    entries: dict[bytes, bytes], other: bytes, data: st.DataObject
) -> None:
    trie = trie_of(entries)
    key = data.draw(st.sampled_from(sorted(entries)))
    try:
        value = prove(trie.root, other, make_proof(trie, key))
    except InvalidProof:
        return
    assert value == entries.get(other)


ITEMS = st.recursive(st.binary(max_size=34), lambda inner: st.lists(inner, max_size=17), max_leaves=40)


@settings(max_examples=150)
@given(st.lists(st.one_of(st.binary(max_size=80), ITEMS.map(rlp.encode)), min_size=1, max_size=3), KEYS)
def test_garbage_that_has_the_right_hash_ends_plainly(nodes: list[bytes], key: bytes) -> None:
    with contextlib.suppress(InvalidProof):
        prove(keccak256(nodes[0]), key, nodes)
    with contextlib.suppress(InvalidProof):
        prove_account(keccak256(nodes[0]), key[:20], nodes)


def test_nodes_of_impossible_forms_are_refused() -> None:
    key = bytes(32)
    leaf = rlp.encode([b"\x20", b"value"])
    endless = rlp.encode([b"\x00", rlp.encode([b"\x00", b"\x01"])])
    branch_of_branches = rlp.encode([rlp.encode([b"x" * 40, b"y"])] * 17)
    whole_leaf = rlp.encode([b"\x20" + key, b"value"])
    assert prove(keccak256(whole_leaf), key, [whole_leaf]) == b"value"
    detour = rlp.encode([b"\x00", keccak256(whole_leaf)])
    with pytest.raises(InvalidProof, match="without a path"):
        prove(keccak256(detour), key, [detour, whole_leaf])
    for node in (leaf[:-1], endless, branch_of_branches, b"\xc0", b"\x80\x80"):
        with pytest.raises(InvalidProof):
            prove(keccak256(node), key, [node])


def test_sizes_are_bounded() -> None:
    large = rlp.encode([b"\x20" + bytes(32), bytes(MAX_NODE_BYTES)])
    with pytest.raises(InvalidProof, match="at most 576"):
        prove(keccak256(large), bytes(32), [large])
    with pytest.raises(InvalidProof, match="at most 65"):
        prove(EMPTY_ROOT, bytes(32), [b"\x80"] * (MAX_PROOF_NODES + 1))


def test_an_empty_trie_holds_nothing_and_only_that() -> None:
    assert prove(EMPTY_ROOT, bytes(32), []) is None
    assert prove(EMPTY_ROOT, bytes(32), [b"\x80"]) is None
    for root, proof in ((EMPTY_ROOT, [b"\x80", b"\x80"]), (bytes(32), []), (EMPTY_ROOT, [b"\xc0"])):
        with pytest.raises(InvalidProof):
            prove(root, bytes(32), proof)


SLOTS = {0: 7, 5: 2**256 - 1, 2**255: 1}
STORAGE = trie_of({slot_key(slot): storage_value(value) for slot, value in SLOTS.items()})
ACCOUNT = Account(nonce=3, balance=10**18, code_hash=keccak256(b"code"))
STATE = trie_of(
    {
        keccak256(ADDRESS): account_value(ACCOUNT, STORAGE.root),
        **{keccak256(bytes([index])): account_value(Account(1)) for index in range(40)},
    }
)


def answer_for(address: bytes, wanted: tuple[int, ...], **changes: object) -> AccountAnswer:
    """An honest answer, but for the changes."""
    account = ACCOUNT if address == ADDRESS else Account()
    proofs = tuple(
        SlotAnswer(SLOTS.get(slot, 0), tuple(make_proof(STORAGE, slot_key(slot)))) if address == ADDRESS
        else SlotAnswer(0, ())
        for slot in wanted
    )  # fmt: skip
    fields: dict[str, object] = {
        "nonce": account.nonce,
        "balance": account.balance,
        "code_hash": account.code_hash,
        "storage_root": STORAGE.root if address == ADDRESS else EMPTY_ROOT,
        "proof": tuple(make_proof(STATE, keccak256(address))),
        "slots": proofs,
    }
    return AccountAnswer(**{**fields, **changes})  # type: ignore[arg-type]


def test_an_honest_answer_is_taken() -> None:
    wanted = (0, 1, 5, 2**255)
    found = check_answer(answer_for(ADDRESS, wanted), STATE.root, ADDRESS, wanted)
    assert (found.nonce, found.balance, found.code_hash) == ACCOUNT
    assert found.slots == {0: 7, 1: 0, 5: 2**256 - 1, 2**255: 1}
    assert found.exists


@pytest.mark.parametrize("empty", [bytes(32), b"", EMPTY_ROOT])
def test_an_absent_account_is_proved_absent(empty: bytes) -> None:
    code_hash = EMPTY_CODE_HASH if empty == EMPTY_ROOT else empty
    answer = answer_for(OTHER, (4,), storage_root=empty, code_hash=code_hash)
    found = check_answer(answer, STATE.root, OTHER, (4,))
    assert (found.exists, found.balance, found.slots) == (False, 0, {4: 0})


@pytest.mark.parametrize(
    "changes",
    [
        {"nonce": 4},
        {"balance": 10**19},
        {"code_hash": EMPTY_CODE_HASH},
        {"storage_root": EMPTY_ROOT},
        {"proof": ()},
        {"slots": ()},
        {"slots": (SlotAnswer(8, tuple(make_proof(STORAGE, slot_key(0)))),)},
        {"slots": (SlotAnswer(0, ()),)},
        {"slots": (SlotAnswer(0, tuple(make_proof(STORAGE, slot_key(1)))),) * 2},
    ],
)
def test_an_answer_that_claims_what_it_does_not_prove_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(InvalidProof):
        check_answer(answer_for(ADDRESS, (0,), **changes), STATE.root, ADDRESS, (0,))


def test_nothing_may_be_claimed_of_an_absent_account() -> None:
    for changes in ({"balance": 1}, {"code_hash": keccak256(b"code")}, {"slots": (SlotAnswer(1, ()),)}):
        with pytest.raises(InvalidProof):
            check_answer(answer_for(OTHER, (4,), **changes), STATE.root, OTHER, (4,))
    # Nor that an account is absent which is there.
    with pytest.raises(InvalidProof):
        check_answer(answer_for(OTHER, (), proof=answer_for(ADDRESS, ()).proof), STATE.root, ADDRESS, ())


@given(st.binary(max_size=120))
def test_an_account_or_value_of_any_bytes_ends_plainly(value: bytes) -> None:
    account = trie_of({keccak256(ADDRESS): value or b"\x00"})
    slot = trie_of({slot_key(1): value or b"\x00"})
    with contextlib.suppress(InvalidProof):
        prove_account(account.root, ADDRESS, make_proof(account, keccak256(ADDRESS)))
    with contextlib.suppress(InvalidProof):
        prove_slot(slot.root, 1, make_proof(slot, slot_key(1)))
