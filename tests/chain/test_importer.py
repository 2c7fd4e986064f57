"""The one door into the chain: what it takes, what it refuses and why, and that a refusal leaves no trace."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from chain.account import EMPTY_TRIE_ROOT
from chain.block import MAX_BLOCK_TRANSACTIONS, Block
from chain.block_execution import block_context
from chain.fees import expected_base_fee
from chain.header_rules import MAX_CLOCK_DRIFT_S, BlockFromFuture
from chain.importer import ImportStatus, ReorganisationTooDeep, UnknownParent, transactions_root
from chain.receipt import EMPTY_BLOOM
from chain.store import transaction_index
from primitives.errors import InvalidBlock
from tests.chain.ledger_world import ADDRESSES, COINBASE, KEYS, World, reseal, signed, world_genesis


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World.open(tmp_path / "a")
    with world.ledger:
        yield world


@pytest.fixture
def rival(tmp_path: Path) -> Iterator[World]:
    """Another node of the same chain; its blocks differ by their coinbase."""
    rival = World.open(tmp_path / "b")
    rival.coinbase = b"\xd0" * 20
    with rival.ledger:
        yield rival


def fingerprint(world: World) -> tuple[object, ...]:
    """Everything that a refused block could have changed."""
    connection = world.ledger.database.connection
    names = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name").fetchall()
    rows = tuple(tuple(sorted(connection.execute(f"SELECT * FROM {name}").fetchall(), key=repr)) for (name,) in names)
    return (world.ledger.head().hash, world.ledger.state.state_root, rows)


def test_a_block_extends_the_chain(world: World) -> None:
    block = world.build([world.transfer(0, 1, 5), world.transfer(2, 1, 6)])
    result = world.ledger.import_block(block)
    assert (result.status, result.connected, result.disconnected) == (ImportStatus.EXTENDED, (block,), ())
    assert world.ledger.head() == block.header
    account = world.ledger.latest_accounts.account(ADDRESSES[1])
    assert account is not None
    assert account.balance == 10**24 + 11
    tip = 2 * 21_000 * 10**9
    coinbase = world.ledger.latest_accounts.account(COINBASE)
    assert coinbase is not None
    assert coinbase.balance == tip + 7


def test_a_known_block_changes_nothing(world: World) -> None:
    (block,) = world.grow()
    before = fingerprint(world)
    assert world.ledger.import_block(block).status is ImportStatus.KNOWN
    assert fingerprint(world) == before


def wrong_headers(world: World, block: Block) -> dict[str, tuple[Block, str]]:
    """One broken rule each; the seal is made good again so that only that rule can be the reason."""
    header = block.header
    parent = world.ledger.head()

    def with_fields(**fields: object) -> Block:
        return reseal(block, replace(header, **fields, _hash=None))  # type: ignore[arg-type]

    return {
        "number": (with_fields(number=header.number + 1), "number"),
        "time not after parent": (with_fields(timestamp_s=parent.timestamp_s), "not after its parent"),
        "difficulty": (with_fields(difficulty=2), "difficulty"),
        "gas limit jumps": (with_fields(gas_limit=header.gas_limit * 2), "gas limit"),
        "gas used above limit": (with_fields(gas_used=header.gas_limit + 1), f"gas of {header.gas_limit}"),
        "base fee": (with_fields(base_fee_per_gas=header.base_fee_per_gas + 1), "base fee"),
        "ommers": (with_fields(ommers_hash=bytes(32)), "ommers"),
        "transactions root": (with_fields(transactions_root=EMPTY_TRIE_ROOT), "commits to"),
        "receipts root": (with_fields(receipts_root=bytes(32)), "receipts root"),
        "state root": (with_fields(state_root=bytes(32)), "state root"),
        "gas used": (with_fields(gas_used=header.gas_used - 1), "gas"),
        "bloom": (with_fields(logs_bloom=b"\x01" + EMPTY_BLOOM[1:]), "bloom"),
        "seal": (replace(block, header=header.with_seal(bytes(32), header.nonce)), "seal"),
        "body": (replace(block, transactions=()), "commits to"),
    }


RULES = ["number", "time not after parent", "difficulty", "gas limit jumps", "gas used above limit", "base fee",
         "ommers", "transactions root", "receipts root", "state root", "gas used", "bloom", "seal", "body"]  # fmt: skip


@pytest.mark.parametrize("rule", RULES)
def test_a_broken_rule_is_named_and_leaves_no_trace(world: World, rule: str) -> None:
    world.grow(2)
    good = world.build([world.transfer()])
    bad, reason = wrong_headers(world, good)[rule]
    before = fingerprint(world)
    with pytest.raises(InvalidBlock, match=reason):
        world.ledger.import_block(bad)
    assert fingerprint(world) == before
    assert world.ledger.import_block(good).status is ImportStatus.EXTENDED


def test_every_rule_is_tried(world: World) -> None:
    world.grow()
    assert sorted(wrong_headers(world, world.build([world.transfer()]))) == sorted(RULES)


def test_an_orphan_is_told_apart(world: World, rival: World) -> None:
    rival.grow(2)
    orphan = rival.ledger.blocks.canonical_block(2)
    assert orphan is not None
    with pytest.raises(UnknownParent):
        world.ledger.import_block(orphan)


def test_a_block_from_the_future_may_come_again_later(world: World) -> None:
    block = world.build()
    world.clock.now_s = block.header.timestamp_s - MAX_CLOCK_DRIFT_S - 1
    with pytest.raises(BlockFromFuture):
        world.ledger.import_block(block)
    world.clock.now_s += 1
    assert world.ledger.import_block(block).status is ImportStatus.EXTENDED


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"nonce": 5}, "nonce"),
        ({"value": 10**30}, "wei"),
        ({"gas_limit": 20_000}, "gas"),
        ({"chain_id": 1}, "chain"),
        ({"max_fee_per_gas": 1, "max_priority_fee_per_gas": 0}, "fee"),
    ],
)
def test_a_block_with_a_transaction_that_may_not_run(world: World, changes: dict[str, object], reason: str) -> None:
    world.grow()
    template = world.build()
    transactions = (signed(KEYS[3], **{"nonce": world.nonces.get(ADDRESSES[3], 0), **changes}),)
    root = transactions_root(replace(template, transactions=transactions))
    header = replace(template.header, transactions_root=root, _hash=None)
    bad = reseal(replace(template, transactions=transactions), header)
    before = fingerprint(world)
    with pytest.raises(InvalidBlock, match=reason):
        world.ledger.import_block(bad)
    assert fingerprint(world) == before


def test_an_invalid_block_is_remembered_and_its_children_are_refused(world: World) -> None:
    good = world.build()
    bad = reseal(good, replace(good.header, state_root=bytes(32), _hash=None))
    with pytest.raises(InvalidBlock, match="state root"):
        world.ledger.import_block(bad)
    with pytest.raises(InvalidBlock, match="found invalid"):
        world.ledger.import_block(bad)
    child = reseal(good, replace(good.header, parent_hash=bad.hash, number=2, _hash=None))
    with pytest.raises(InvalidBlock, match="found invalid"):
        world.ledger.import_block(child)


@pytest.mark.parametrize(("name", "limit"), [("MAX_BLOCK_TRANSACTIONS", 2), ("MAX_BLOCK_BYTES", 850)])
def test_a_block_that_is_too_large_is_refused(
    world: World, monkeypatch: pytest.MonkeyPatch, name: str, limit: int
) -> None:
    """However it comes here: what this node took, others that read it from bytes must take too."""
    world.grow()
    transfers = [world.transfer() for _ in range(3)]
    fits, too_large = world.build(transfers[:2]), world.build(transfers)
    assert len(fits.encode()) <= 850 < len(too_large.encode())
    monkeypatch.setattr(f"chain.block.{name}", limit)
    before = fingerprint(world)
    with pytest.raises(InvalidBlock, match=f"at most {limit} are accepted"):
        world.ledger.import_block(too_large)
    assert fingerprint(world) == before
    world.ledger.import_block(fits)


def test_the_index_has_room_for_every_transaction_of_a_block() -> None:
    assert MAX_BLOCK_TRANSACTIONS <= transaction_index.MAX_TRANSACTIONS


def test_settled_history_is_refused_before_its_body_is_looked_at(tmp_path: Path, rival: World) -> None:
    """At the difficulty of long ago a header costs its sender nothing; hashing megabytes of body costs us."""
    world = World.open(tmp_path / "capped", reorganisation_cap=2)
    with world.ledger:
        world.grow(3)
        (theirs,) = rival.grow(1)
        with pytest.raises(ReorganisationTooDeep):
            world.ledger.import_block(replace(theirs, transactions=()))


def test_a_heavier_branch_that_leaves_ours_below_the_cap_is_refused(tmp_path: Path, rival: World) -> None:
    """Its blocks came while they were no deeper than the cap; ours grew on."""
    world = World.open(tmp_path / "capped", reorganisation_cap=2)
    with world.ledger:
        world.grow(1)
        theirs = rival.grow(5)
        for block in theirs[:1]:
            assert world.ledger.import_block(block).status is ImportStatus.SIDE_BRANCH
        world.grow(2)
        for block in theirs[1:3]:
            assert world.ledger.import_block(block).status is ImportStatus.SIDE_BRANCH
        before = fingerprint(world)
        with pytest.raises(ReorganisationTooDeep, match="3 blocks back"):
            world.ledger.import_block(theirs[3])
        assert fingerprint(world) == before


def test_a_branch_below_the_kept_history_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cap was raised after the way back that it needs had been given up."""
    monkeypatch.setattr("chain.ledger.DEFAULT_HISTORY_BLOCKS", 2)
    low = World.open(tmp_path / "low", reorganisation_cap=2)
    with low.ledger:
        low.grow(5)
    world = World.open(tmp_path / "low", reorganisation_cap=5)
    other = World.open(tmp_path / "other")
    with world.ledger, other.ledger:
        other.coinbase = b"\xe0" * 20
        theirs = other.grow(6)
        world.clock.now_s = other.clock.now_s
        for block in theirs[:5]:
            assert world.ledger.import_block(block).status is ImportStatus.SIDE_BRANCH
        before = fingerprint(world)
        with pytest.raises(ReorganisationTooDeep, match="kept"):
            world.ledger.import_block(theirs[5])
        assert fingerprint(world) == before


def test_the_memory_of_invalid_blocks_is_bounded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chain.importer.MAX_REMEMBERED_INVALID", 2)
    good = world.build()
    bad = [reseal(good, replace(good.header, state_root=bytes([index]) * 32, _hash=None)) for index in range(3)]
    for block in bad:
        with pytest.raises(InvalidBlock, match="state root"):
            world.ledger.import_block(block)
    for block, reason in zip(bad[::-1], ["found invalid", "found invalid", "state root"], strict=True):
        with pytest.raises(InvalidBlock, match=reason):
            world.ledger.import_block(block)


def test_code_is_told_the_hashes_of_256_blocks(world: World) -> None:
    header = replace(world.ledger.head(), number=1_000, _hash=None)
    context = block_context(header, world.ledger.config, lambda number: number.to_bytes(32, "big"))
    told = {number: context.block_hash(number) for number in (743, 744, 999, 1_000)}
    assert [int.from_bytes(block_hash, "big") for block_hash in told.values()] == [0, 744, 999, 0]


def test_a_wrong_body_does_not_condemn_the_header(world: World) -> None:
    """Somebody who sends a good header with a wrong body must not keep the good block out."""
    good = world.build([world.transfer()])
    with pytest.raises(InvalidBlock, match="commits to"):
        world.ledger.import_block(replace(good, transactions=()))
    assert world.ledger.import_block(good).status is ImportStatus.EXTENDED


#        /-- b1 -- b2 -- b3      (rival)
#  genesis -- a1 -- a2           (ours, until b3 comes)
def test_the_heaviest_branch_wins(world: World, rival: World) -> None:
    ours, theirs = world.grow(2, transfers=3), rival.grow(3, transfers=2)
    for block in theirs[:2]:
        assert world.ledger.import_block(block).status is ImportStatus.SIDE_BRANCH
        assert world.ledger.head() == ours[-1].header
    result = world.ledger.import_block(theirs[2])
    assert result.status is ImportStatus.REORGANISED
    assert result.disconnected == tuple(ours)
    assert result.connected == tuple(theirs)
    assert [len(receipts) for receipts in result.receipts] == [2, 2, 2]
    assert world.ledger.state.state_root == rival.ledger.state.state_root
    assert world.ledger.head() == rival.ledger.head()
    assert world.ledger.blocks.transaction_location(ours[0].transactions[2].hash) is None


def test_the_first_seen_of_two_equal_branches_stays(world: World, rival: World) -> None:
    (ours,), (theirs,) = world.grow(), rival.grow()
    assert world.ledger.import_block(theirs).status is ImportStatus.SIDE_BRANCH
    assert world.ledger.head() == ours.header


def test_a_reorganisation_and_back(world: World, rival: World) -> None:
    ours, theirs = world.grow(1), rival.grow(2)
    for block in theirs:
        world.ledger.import_block(block)
    for block in ours:
        rival.ledger.import_block(block)
    longer = world.build()
    assert longer.header.parent_hash == theirs[-1].hash
    root_before = world.ledger.state.state_root
    # Grow the abandoned branch beyond: back to it, then once more to the other.
    other = World.open(world.ledger.database.directory.parent / "c")
    with other.ledger:
        other.ledger.import_block(ours[0])
        other.nonces = dict(world.nonces)
        extension = other.grow(2)
        for block in extension:
            result = world.ledger.import_block(block)
        assert result.status is ImportStatus.REORGANISED
        assert world.ledger.state.state_root == other.ledger.state.state_root != root_before


def test_a_heavier_branch_with_an_invalid_block_leaves_everything(world: World, rival: World) -> None:
    world.grow(2, transfers=2)
    theirs = rival.grow(2)
    good = rival.build([rival.transfer()])
    bad = reseal(good, replace(good.header, state_root=bytes(32), _hash=None))
    for block in theirs:
        world.ledger.import_block(block)
    before = fingerprint(world)
    with pytest.raises(InvalidBlock, match="state root"):
        world.ledger.import_block(bad)
    assert fingerprint(world) == before
    assert world.grow()[0].header == world.ledger.head()


def test_an_invalid_block_inside_a_side_branch_is_found_when_it_is_executed(world: World, rival: World) -> None:
    ours = world.grow(2)
    first = rival.build()
    bad = reseal(first, replace(first.header, state_root=b"\x01" * 32, _hash=None))
    assert world.ledger.import_block(bad).status is ImportStatus.SIDE_BRANCH
    descendants = []
    parent = bad.header
    for number in (2, 3):
        header = replace(
            parent, parent_hash=parent.hash, number=number, timestamp_s=parent.timestamp_s + 15,
            base_fee_per_gas=expected_base_fee(parent, world.ledger.config), _hash=None,
        )  # fmt: skip
        block = reseal(Block(header, ()), header)
        descendants.append(block)
        parent = block.header
    world.clock.now_s += 1_000
    assert world.ledger.import_block(descendants[0]).status is ImportStatus.SIDE_BRANCH
    root = world.ledger.state.state_root
    with pytest.raises(InvalidBlock, match="state root"):
        world.ledger.import_block(descendants[1])
    assert (world.ledger.head(), world.ledger.state.state_root) == (ours[-1].header, root)
    with pytest.raises(InvalidBlock, match="found invalid"):
        world.ledger.import_block(descendants[1])


def test_history_deeper_than_the_cap_is_settled(tmp_path: Path, rival: World) -> None:
    world = World.open(tmp_path / "capped", reorganisation_cap=2)
    with world.ledger:
        world.grow(3)
        theirs = rival.grow(5)
        with pytest.raises(ReorganisationTooDeep):
            world.ledger.import_block(theirs[0])
        world.clock.now_s += 1_000


@pytest.mark.parametrize("interval", [256, 2])
def test_difficulty_by_asert_on_a_side_branch_is_anchored_at_its_own_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, interval: int
) -> None:
    monkeypatch.setattr("chain.consensus.difficulty.ANCHOR_INTERVAL_BLOCKS", interval)
    genesis = replace(world_genesis(difficulty="asert", blockTimeSeconds=20), difficulty=1_000)
    first, second = World.open(tmp_path / "x", genesis), World.open(tmp_path / "y", genesis)
    with first.ledger, second.ledger:
        second.coinbase = b"\xd0" * 20
        second.clock.now_s += 400
        first.grow(3)
        theirs = second.grow(5)
        first.clock.now_s += 2_000
        statuses = [first.ledger.import_block(block).status for block in theirs]
        assert ImportStatus.REORGANISED in statuses
        assert len({block.header.difficulty for block in theirs}) > 1
        assert first.ledger.head() == second.ledger.head()


def test_what_was_imported_is_there_after_a_restart(tmp_path: Path) -> None:
    world = World.open(tmp_path / "a")
    with world.ledger:
        blocks = world.grow(3, transfers=2)
        root = world.ledger.state.state_root
    again = World.open(tmp_path / "a")
    with again.ledger:
        assert again.ledger.head() == blocks[-1].header
        assert again.ledger.state.state_root == root
        again.nonces = world.nonces
        again.clock.now_s = world.clock.now_s
        again.grow(1)
