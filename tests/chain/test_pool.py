"""The transaction pool: who gets in, in which order, who has to go, and how it follows the chain."""

import asyncio
from dataclasses import replace

import pytest

from chain.account import Account
from chain.config import ZERO, ChainConfig
from chain.pool.admission import AlreadyKnown, OversizedTransaction, PoolFull, ReplacementUnderpriced, Underpriced
from chain.pool.pool import TransactionPool
from chain.transaction import BLOB, LEGACY, Transaction, decode_transaction, sign_transaction
from chain.validity import (
    GasLimitExceeded,
    InitCodeTooLong,
    InsufficientFunds,
    IntrinsicGasTooLow,
    NonceIsMax,
    NonceTooHigh,
    NonceTooLow,
    PriorityFeeAboveMaxFee,
    SenderHasCode,
)
from primitives.clock import ManualClock
from primitives.errors import InvalidTransaction
from tests.chain.pool_world import ADDRESSES, KEYS, RICH, Accounts, child, header, pool, transaction


def _refusal(pool: TransactionPool, candidate: Transaction) -> InvalidTransaction | None:
    before = pool.status()
    (refusal,) = pool.add([candidate])
    if refusal is not None:
        assert pool.status() == before
        assert candidate.hash not in pool or isinstance(refusal, AlreadyKnown)
    return refusal


def _take(pool: TransactionPool, *candidates: Transaction) -> None:
    assert pool.add(candidates) == [None] * len(candidates)


# Admission


@pytest.mark.parametrize(
    ("candidate", "kind", "words"),
    [
        (transaction(nonce=2), NonceTooLow, "nonce too low: next nonce 3, tx nonce 2"),
        (transaction(nonce=3 + 64), NonceTooHigh, "nonce too high: next nonce 3, tx nonce 67"),
        (transaction(nonce=2**64 - 1), NonceIsMax, "nonce has max value"),
        (transaction(nonce=3, gas_limit=20_999), IntrinsicGasTooLow, "intrinsic gas too low: .*20999.*21000"),
        (transaction(nonce=3, gas_limit=10_000_001), GasLimitExceeded, "exceeds block gas limit: .*10000001.*10000000"),
        (transaction(nonce=3, value=RICH), InsufficientFunds, r"insufficient funds for gas \* price \+ value: balance"),
        (transaction(nonce=3, tip=11, max_fee_per_gas=10), PriorityFeeAboveMaxFee, "max priority fee per gas higher"),
        (transaction(nonce=3, tip=0), Underpriced, "transaction underpriced: the tip is 0"),
        (transaction(nonce=3, chain_id=78), InvalidTransaction, "for chain 78, this is chain 77"),
        (transaction(nonce=3, type=LEGACY, tip=1_000, chain_id=None), InvalidTransaction, "could be replayed"),
        (transaction(nonce=3, type=BLOB, blob_hashes=(b"\x01" * 32,)), InvalidTransaction, "not supported: blob"),
        (transaction(nonce=3, data=bytes(131_072), gas_limit=9_000_000), OversizedTransaction, "oversized data: 13"),
        (
            transaction(nonce=3, to=None, data=bytes(49_153), gas_limit=9_000_000),
            InitCodeTooLong,
            "max initcode size exceeded: 49153",
        ),
    ],
)
def test_refusals_begin_with_the_words_of_geth_and_change_nothing(
    candidate: Transaction, kind: type[InvalidTransaction], words: str
) -> None:
    refusal = _refusal(pool(Accounts().having(0, nonce=3)), candidate)
    assert type(refusal) is kind
    with pytest.raises(kind, match=f"^(the transaction )?.*{words}"):
        raise refusal


@pytest.mark.parametrize("r", [0, 5])
def test_a_broken_signature_is_refused(r: int) -> None:
    # Another r may fit another key, which has no money.
    broken = replace(transaction(), r=r, _encoded=None, _hash=None, _sender=None)
    assert isinstance(_refusal(pool(), broken), InvalidTransaction)


def test_a_contract_cannot_send() -> None:
    accounts = Accounts({ADDRESSES[0]: Account(0, RICH, b"\x01" * 32)})
    assert isinstance(_refusal(pool(accounts), transaction()), SenderHasCode)


def test_an_unknown_sender_has_no_money() -> None:
    assert isinstance(_refusal(pool(Accounts({})), transaction()), InsufficientFunds)


def test_the_balance_must_cover_earlier_ones_too() -> None:
    cost = 21_000 * 1_000
    world = pool(Accounts().having(0, balance=3 * cost - 1))
    _take(world, transaction(nonce=0), transaction(nonce=1))
    refusal = _refusal(world, transaction(nonce=2))
    assert isinstance(refusal, InsufficientFunds)
    assert str(refusal).endswith(f"balance {3 * cost - 1}, queued cost {2 * cost}, tx cost {cost}, overshot 1")


def test_no_tip_is_asked_for_where_there_are_no_fees() -> None:
    free = transaction(tip=0, max_fee_per_gas=0)
    _take(pool(Accounts({}), config=ChainConfig(77, fee_rule=ZERO)), free)


def test_the_same_again_is_already_known() -> None:
    world = pool()
    _take(world, transaction())
    refusal = _refusal(world, transaction())
    assert isinstance(refusal, AlreadyKnown)
    assert str(refusal).startswith("already known")


# Nonce order


def test_gaps_are_queued_until_they_are_filled() -> None:
    world = pool()
    heard: list[Transaction] = []
    world.subscribe(heard.extend)
    first, second, third = (transaction(nonce=nonce) for nonce in range(3))
    _take(world, third, second)
    assert (world.status().pending, world.status().queued) == (0, 2)
    assert world.pending_nonce(ADDRESSES[0]) == 0
    assert heard == []
    _take(world, first)
    assert (world.status().pending, world.status().queued) == (3, 0)
    assert world.pending_nonce(ADDRESSES[0]) == 3
    assert list(world.pending()) == [first, second, third]
    assert heard == [first, second, third]


def test_pending_nonce_of_a_stranger_is_that_of_the_account() -> None:
    assert pool(Accounts().having(3, nonce=9)).pending_nonce(ADDRESSES[3]) == 9
    assert pool(Accounts({})).pending_nonce(ADDRESSES[3]) == 0


def test_best_tip_first_but_never_before_the_nonce() -> None:
    world = pool()
    cheap_then_dear = [transaction(0, 0, tip=5), transaction(0, 1, tip=500)]
    middle = [transaction(1, 0, tip=50), transaction(1, 1, tip=3)]
    _take(world, *cheap_then_dear, *middle)
    assert list(world.pending()) == [middle[0], cheap_then_dear[0], cheap_then_dear[1], middle[1]]


def test_the_base_fee_decides_what_the_miner_gets() -> None:
    world = pool(head=header(base_fee=100, gas_used=5_000_000))
    capped = transaction(0, 0, tip=90, max_fee_per_gas=110)
    modest = transaction(1, 0, tip=20)
    too_cheap = transaction(2, 0, tip=90, max_fee_per_gas=99)
    behind_it = transaction(2, 1, tip=90)
    _take(world, capped, modest, too_cheap, behind_it)
    assert list(world.pending()) == [modest, capped]
    assert list(world.pending(base_fee=0)) == [capped, too_cheap, behind_it, modest]


def test_senders_take_turns_between_equal_tips() -> None:
    world = pool()
    busy = [transaction(0, nonce) for nonce in range(3)]
    late = [transaction(1, nonce) for nonce in range(2)]
    _take(world, *busy, *late)
    assert list(world.pending()) == [busy[0], late[0], busy[1], late[1], busy[2]]


def test_a_skipped_sender_is_left_out_as_a_whole() -> None:
    world = pool()
    _take(world, *(transaction(0, nonce, tip=50) for nonce in range(3)), transaction(1, 0))
    selection = world.pending()
    selection.take()
    selection.skip_sender()
    assert list(selection) == [transaction(1, 0)]


# Replacement


@pytest.mark.parametrize(
    ("tip", "max_fee", "is_enough"),
    [(110, 1_100, True), (109, 1_100, False), (110, 1_099, False), (200, 1_000, False), (100, 2_000, False)],
)
def test_a_replacement_pays_ten_percent_more_on_both_fees(tip: int, max_fee: int, is_enough: bool) -> None:
    world = pool()
    old, later = transaction(nonce=0, tip=100), transaction(nonce=1)
    _take(world, old, later)
    new = transaction(nonce=0, tip=tip, max_fee_per_gas=max_fee)
    refusal = _refusal(world, new)
    if is_enough:
        assert refusal is None
        assert list(world.pending()) == [new, later]
        assert old.hash not in world
    else:
        assert isinstance(refusal, ReplacementUnderpriced)
        assert str(refusal).startswith("replacement transaction underpriced")
        assert list(world.pending()) == [old, later]


def test_nothing_is_replaced_for_free() -> None:
    world = pool(config=ChainConfig(77, fee_rule=ZERO))
    _take(world, transaction(tip=0, max_fee_per_gas=0))
    assert isinstance(_refusal(world, transaction(tip=0, max_fee_per_gas=0, value=1)), ReplacementUnderpriced)


def test_a_dearer_replacement_may_leave_later_ones_without_money() -> None:
    cost = 21_000 * 1_000
    world = pool(Accounts().having(0, balance=2 * cost))
    _take(world, transaction(nonce=0), transaction(nonce=1))
    _take(world, transaction(nonce=0, tip=20, max_fee_per_gas=1_500))
    assert (world.status().pending, world.status().queued) == (1, 1)
    assert world.pending_nonce(ADDRESSES[0]) == 1


def test_money_that_arrived_since_is_counted() -> None:
    cost = 21_000 * 1_000
    world = pool(Accounts().having(0, balance=cost))
    _take(world, transaction(nonce=0))
    world.head_changed(Accounts().having(0, balance=2 * cost), child(header()), [])
    _take(world, transaction(nonce=1))
    assert world.status().pending == 2


def test_what_the_account_has_paid_already_is_not_asked_for_twice() -> None:
    """The state moves on before the pool is told: the import of a block and the pool's head are two steps."""
    cost = 21_000 * 1_000
    accounts = Accounts().having(0, balance=2 * cost)
    world = pool(accounts)
    first = transaction(nonce=0)
    _take(world, first)
    accounts.accounts[ADDRESSES[0]] = Account(1, cost)
    _take(world, transaction(nonce=1))
    world.head_changed(accounts, child(header()), [first])
    assert list(world.pending()) == [transaction(nonce=1)]


# Limits and eviction


def test_a_full_pool_refuses_what_pays_no_more() -> None:
    world = pool(max_transactions=3)
    kept = [transaction(sender, tip=10) for sender in range(3)]
    _take(world, *kept)
    refusal = _refusal(world, transaction(3, tip=10))
    assert isinstance(refusal, PoolFull)
    assert str(refusal).startswith("txpool is full: 3 transactions")
    assert set(world.pending()) == set(kept)


def test_a_full_pool_gives_up_the_cheapest() -> None:
    world = pool(max_transactions=3)
    _take(world, *(transaction(sender, tip=10 + sender) for sender in range(3)))
    newcomer = transaction(3, tip=11)
    _take(world, newcomer)
    assert {t.sender for t in world.pending()} == {ADDRESSES[1], ADDRESSES[2], ADDRESSES[3]}


def test_only_the_last_of_a_sender_goes_so_that_no_gap_is_torn() -> None:
    world = pool(max_transactions=3)
    _take(world, transaction(0, 0, tip=5), transaction(0, 1, tip=900), transaction(1, 0, tip=50))
    _take(world, transaction(2, 0, tip=20))
    # The dear second one cannot run before the cheap first one has, so it is worth no more.
    assert list(world.pending()) == [transaction(1, 0, tip=50), transaction(2, 0, tip=20), transaction(0, 0, tip=5)]


def test_what_only_waits_goes_before_what_can_run() -> None:
    world = pool(max_transactions=2)
    _take(world, transaction(0, nonce=1, tip=900), transaction(1, tip=5))
    _take(world, transaction(2, tip=5))
    assert world.status().queued == 0
    assert len(list(world.pending())) == 2


def test_on_a_network_without_fees_the_busiest_sender_gives_way() -> None:
    world = pool(config=ChainConfig(77, fee_rule=ZERO), max_transactions=8)
    free = {"tip": 0, "max_fee_per_gas": 0}
    _take(world, *(transaction(0, nonce, **free) for nonce in range(8)))
    for sender in range(1, 4):
        _take(world, *(transaction(sender, nonce, **free) for nonce in range(2)))
    assert {address: len(held) for address, held in world.content().pending.items()} == {
        ADDRESSES[sender]: 2 for sender in range(4)
    }
    # All have the same now: the next newcomer gets one place, of the youngest among the busiest.
    _take(world, transaction(5, 0, **free))
    assert isinstance(_refusal(world, transaction(5, 1, **free)), PoolFull)


def test_between_equals_the_youngest_goes() -> None:
    world = pool(max_transactions=4)
    _take(world, transaction(0, 0), transaction(1, 0), transaction(1, 1), transaction(0, 1))
    _take(world, transaction(2, 0, tip=11))
    assert world.pending_nonce(ADDRESSES[0]) == 1
    assert world.pending_nonce(ADDRESSES[1]) == 2


def test_a_new_base_fee_changes_who_goes() -> None:
    world = pool(max_transactions=2)
    capped, modest = transaction(0, tip=90, max_fee_per_gas=100), transaction(1, tip=50)
    _take(world, capped, modest)
    assert isinstance(_refusal(world, transaction(2, tip=40)), PoolFull)
    world.head_changed(Accounts(), header(11, header().hash, base_fee=80, gas_used=5_000_000), [])
    _take(world, transaction(2, tip=40))
    assert list(world.pending()) == [modest, transaction(2, tip=40)]


def test_queued_ones_have_a_limit_of_their_own() -> None:
    world = pool(max_queued=2)
    _take(world, transaction(0, 1, tip=10), transaction(1, 1, tip=20))
    assert isinstance(_refusal(world, transaction(2, 1, tip=5)), PoolFull)
    _take(world, transaction(2, 1, tip=15))
    assert set(world.content().queued) == {ADDRESSES[1], ADDRESSES[2]}


def test_bytes_are_limited_and_a_refused_giant_drives_nobody_out() -> None:
    small = [transaction(sender, tip=10) for sender in range(4)]
    dear = transaction(5, tip=900)
    size = len(small[0].encoded)
    world = pool(max_bytes=len(dear.encoded) + 4 * size)
    _take(world, *small, dear)
    giant = transaction(6, tip=50, data=bytes(4 * size), gas_limit=100_000)
    before = set(world.pending())
    assert isinstance(_refusal(world, giant), PoolFull)
    assert set(world.pending()) == before
    fitting = transaction(6, tip=50, data=bytes(size // 2), gas_limit=100_000)
    _take(world, fitting)
    assert world.status().encoded_bytes <= len(dear.encoded) + 4 * size
    assert len(world) == 4


def test_a_refused_replacement_in_a_full_pool_leaves_the_old_one() -> None:
    old = transaction(0, tip=10)
    world = pool(max_bytes=len(old.encoded) + 10)
    _take(world, old)
    assert isinstance(
        _refusal(world, transaction(0, tip=20, max_fee_per_gas=2_000, data=bytes(40), gas_limit=50_000)), PoolFull
    )
    assert list(world.pending()) == [old]


def test_own_users_transactions_go_last() -> None:
    world = pool(max_transactions=2)
    own = transaction(0, tip=2)
    assert world.add([own], is_local=True) == [None]
    _take(world, transaction(1, tip=50))
    _take(world, transaction(2, tip=60))
    assert set(world.pending()) == {own, transaction(2, tip=60)}


def test_queued_ones_expire() -> None:
    clock = ManualClock()
    world = pool(clock=clock, queued_lifetime_s=100)
    head = header()
    waiting, runnable = transaction(0, 1), transaction(1, 0)
    _take(world, waiting, runnable)
    clock.advance_s(100)
    head = child(head)
    world.head_changed(Accounts(), head, [])
    assert waiting.hash in world
    clock.advance_s(1)
    world.head_changed(Accounts(), child(head), [])
    assert waiting.hash not in world
    assert runnable.hash in world


def test_a_sender_that_ran_out_of_money_waits_anew() -> None:
    clock = ManualClock()
    world = pool(clock=clock, queued_lifetime_s=100)
    held = transaction(0, 0)
    _take(world, held)
    clock.advance_s(1_000)
    head = header(11, b"\x01" * 32)
    world.head_changed(Accounts().having(0, balance=5), head, [])
    assert world.status().queued == 1
    world.head_changed(Accounts(), child(head), [])
    assert world.status().pending == 1


# Following the chain


def test_included_ones_leave_and_the_next_move_up() -> None:
    world = pool()
    first, second, fourth = transaction(0, 0), transaction(0, 1), transaction(0, 3)
    _take(world, first, second, fourth)
    world.head_changed(Accounts().having(0, nonce=1), child(header()), [first])
    assert first.hash not in world
    assert world.status().encoded_bytes == len(second.encoded) + len(fourth.encoded)
    assert list(world.pending()) == [second]
    assert world.pending_nonce(ADDRESSES[0]) == 2
    assert world.content().queued == {ADDRESSES[0]: [fourth]}


def test_another_transaction_with_the_same_nonce_settles_ours() -> None:
    world = pool()
    _take(world, transaction(0, 0))
    world.head_changed(Accounts().having(0, nonce=1), child(header()), [transaction(0, 0, tip=77)])
    assert len(world) == 0


def test_transactions_of_undone_blocks_come_back() -> None:
    world = pool()
    first, second = transaction(0, 0), transaction(0, 1)
    head = child(header())
    world.head_changed(Accounts().having(0, nonce=1), head, [first])
    _take(world, second)
    other_branch = child(header(), gas_used=1)
    world.head_changed(Accounts(), other_branch, [], [first])
    assert list(world.pending()) == [first, second]


def test_limits_hold_when_transactions_come_back() -> None:
    world = pool(max_transactions=2)
    mined = [transaction(sender, tip=20 + sender) for sender in range(2)]
    world.head_changed(Accounts().having(0, nonce=1), child(header()), mined)
    _take(world, transaction(2, tip=10), transaction(3, tip=30))
    world.head_changed(Accounts(), child(header(), gas_used=1), [], mined)
    assert list(world.pending()) == [transaction(3, tip=30), mined[1]]


def test_a_transaction_that_both_branches_hold_does_not_come_back() -> None:
    world = pool()
    first = transaction(0, 0)
    world.head_changed(Accounts().having(0, nonce=1), child(header()), [first])
    world.head_changed(Accounts().having(0, nonce=1), child(header(), gas_used=1), [first], [first])
    assert len(world) == 0


def test_many_blocks_at_once_are_followed_too() -> None:
    world = pool()
    _take(world, transaction(0, 0), transaction(1, 0))
    world.head_changed(Accounts().having(0, nonce=1), header(50, b"\x05" * 32), [])
    assert list(world.pending()) == [transaction(1, 0)]


def test_a_transaction_is_announced_once() -> None:
    world = pool()
    heard: list[Transaction] = []
    end = world.subscribe(heard.extend)
    first = transaction(0, 0)
    _take(world, first)
    head = child(header())
    world.head_changed(Accounts(), head, [])
    assert heard == [first]
    end()
    _take(world, transaction(1, 0))
    assert heard == [first]


def test_new_money_or_a_larger_block_sets_waiting_ones_free() -> None:
    cost = 21_000 * 1_000
    world = pool(Accounts().having(0, balance=2 * cost))
    large = transaction(1, gas_limit=9_999_000)
    _take(world, transaction(0, 0), transaction(0, 1), large)
    poor = Accounts().having(0, balance=cost)
    head = header(11, b"\x01" * 32, gas_limit=9_990_000)
    world.head_changed(poor, head, [])
    assert (world.status().pending, world.status().queued) == (1, 2)
    heard: list[Transaction] = []
    world.subscribe(heard.extend)
    world.head_changed(Accounts(), header(12, head.hash, gas_limit=9_999_000), [])
    assert (world.status().pending, world.status().queued) == (3, 0)
    assert heard == []  # They were announced when they first became pending.


async def test_submit_raises_the_refusal_and_returns_the_hash() -> None:
    world = pool()
    candidate = transaction()
    assert await world.submit(candidate) == candidate.hash
    assert world.get(candidate.hash) is candidate
    assert world.get(bytes(32)) is None
    with pytest.raises(AlreadyKnown):
        await world.submit(candidate)


async def test_hundreds_are_taken_in_one_go() -> None:
    world = pool()
    backlog = [transaction(sender, nonce) for sender in range(10) for nonce in range(60)]
    assert await asyncio.wait_for(world.submit_many(backlog), 30) == [None] * 600
    assert world.status().pending == 600


def test_keys_sign_for_their_addresses() -> None:
    assert sign_transaction(transaction(), KEYS[4]).sender == ADDRESSES[4]


# Senders


def test_a_transaction_in_the_pool_need_not_be_recovered_again(monkeypatch: pytest.MonkeyPatch) -> None:
    held = pool()
    _take(held, transaction(0), transaction(1))
    again = [decode_transaction(one.encoded) for one in (transaction(0), transaction(1), transaction(2))]
    held.recognise(again)

    def fails(*_: object) -> bytes:
        raise AssertionError("the signature is looked at again")

    monkeypatch.setattr("primitives.secp256k1.recover_address", fails)
    assert [one.sender for one in again[:2]] == ADDRESSES[:2]
    with pytest.raises(AssertionError):
        _ = again[2].sender


def test_nobody_takes_the_sender_of_another_transaction() -> None:
    known, other = transaction(0), decode_transaction(transaction(1).encoded)
    assert known.sender == ADDRESSES[0]
    other.take_sender_of(known)
    assert other.sender == ADDRESSES[1]
