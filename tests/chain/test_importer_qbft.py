"""Blocks of a qbft chain: what the importer demands beside what every chain does, and what follows from it."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from chain.block import Block
from chain.block_execution import BlockExecution
from chain.consensus.qbft.certificate import InvalidCertificate
from chain.consensus.qbft.engine import MIX_HASH
from chain.consensus.qbft.signing import Domain
from chain.consensus.qbft.validator_contract import LENGTH_SLOT, InvalidValidators
from chain.consensus.qbft.validators import ValidatorSet
from chain.header_rules import MAX_CLOCK_DRIFT_S, BlockFromFuture
from chain.importer import ImportStatus, UnknownParent
from chain.store.state_reader import StateUnavailable
from chain.transaction import Transaction
from contracts.binding import load_artifact
from primitives import abi
from primitives.errors import Invalid, InvalidBlock, UserError
from tests.chain.ledger_world import ADDRESSES, CHAIN_ID, KEYS, World, signed
from tests.chain.qbft.authority_world import (
    CONTRACT,
    PERIOD_S,
    SIGNERS,
    VALIDATORS,
    AuthorityWorld,
    authority_genesis,
    certify,
    overridden,
    validator_storage,
)
from tests.chain.test_importer import fingerprint

NEWCOMER = SIGNERS[4].address


@pytest.fixture
def world(tmp_path: Path) -> Iterator[AuthorityWorld]:
    world = AuthorityWorld.open(tmp_path / "a")
    with world.ledger:
        yield world


@pytest.fixture
def executions(monkeypatch: pytest.MonkeyPatch) -> list[Transaction]:
    applied: list[Transaction] = []
    apply = BlockExecution.apply

    def counted(execution: BlockExecution, transaction: Transaction) -> object:
        applied.append(transaction)
        return apply(execution, transaction)

    monkeypatch.setattr(BlockExecution, "apply", counted)
    return applied


def changed(block: Block, **fields: object) -> Block:
    return replace(block, header=replace(block.header, **fields, _hash=None))  # type: ignore[arg-type]


def vote(world: AuthorityWorld, voter: int, function: str, subject: bytes) -> Transaction:
    """A call of the validator contract by the voter-th signer."""
    sender = ADDRESSES.index(SIGNERS[voter].address)
    data = abi.encode_call(f"{function}(address)", [subject])
    nonce = world.nonces.get(ADDRESSES[sender], 0)
    world.nonces[ADDRESSES[sender]] = nonce + 1
    return signed(KEYS[sender], nonce=nonce, to=CONTRACT, data=data, gas_limit=1_000_000)


def test_a_certified_block_is_final(world: AuthorityWorld) -> None:
    block = world.build([world.transfer()])
    certificate = world.certificate(block)
    result = world.ledger.import_block(block, certificate)
    assert (result.status, result.connected, result.certificates) == (
        ImportStatus.EXTENDED,
        (block,),
        (certificate,),
    )
    assert (block.header.difficulty, block.header.mix_hash, block.header.nonce) == (1, MIX_HASH, bytes(8))
    with world.ledger.view() as view:
        assert view.finalized_number() == view.head().number == 1
        assert view.certificate(block.hash) == certificate
        assert view.certificate(world.ledger.genesis_hash) == view.certificate(bytes(32)) == b""
    assert world.ledger.total_difficulty() == 2  # that of the genesis is 1 as well


def test_nothing_less_than_a_certificate_of_a_quorum(world: AuthorityWorld, executions: list[Transaction]) -> None:
    world.grow()
    block = world.build([world.transfer()])
    executions.clear()
    before = fingerprint(world)  # type: ignore[arg-type]
    wrong = [
        b"",
        b"\xc0",
        world.certificate(block, seals=2),
        world.certificate(changed(block, gas_used=0)),
        certify(block, SIGNERS[2:5], world.domain),
        certify(block, SIGNERS[:3], Domain(CHAIN_ID, bytes(32))),
    ]
    for certificate in wrong:
        with pytest.raises(InvalidCertificate):
            world.ledger.import_block(block, certificate)
    assert fingerprint(world) == before  # type: ignore[arg-type]
    assert executions == []
    assert world.ledger.import_block(block, world.certificate(block, seals=4)).status is ImportStatus.EXTENDED


def test_a_known_block_is_known_whatever_comes_with_it(world: AuthorityWorld) -> None:
    ((block, certificate),) = world.grow()
    assert world.ledger.import_block(block, b"garbage").status is ImportStatus.KNOWN
    with world.ledger.view() as view:
        assert view.certificate(block.hash) == certificate


WRONG_HEADERS: dict[str, tuple[dict[str, object], str]] = {
    "difficulty": ({"difficulty": 2}, "difficulty"),
    "mix hash": ({"mix_hash": bytes(32)}, "mix hash"),
    "nonce": ({"nonce": b"\x01" * 8}, "nonce"),
    "builder": ({"coinbase": NEWCOMER}, "no validator"),
    "state root": ({"state_root": bytes(32)}, "state root"),
    "transactions": ({"transactions_root": bytes(32)}, "commits to"),
}


@pytest.mark.parametrize("rule", WRONG_HEADERS)
@pytest.mark.parametrize("is_proposal", [False, True])
def test_a_broken_rule_is_named_and_leaves_no_trace(world: AuthorityWorld, rule: str, is_proposal: bool) -> None:
    """Even where a quorum sealed it."""
    world.grow(2)
    fields, reason = WRONG_HEADERS[rule]
    good = world.build([world.transfer()])
    bad = changed(good, **fields)
    before = fingerprint(world)  # type: ignore[arg-type]
    certificate = world.certificate(bad)
    with pytest.raises(InvalidBlock, match=reason):
        world.ledger.check_proposal(bad) if is_proposal else world.ledger.import_block(bad, certificate)
    assert fingerprint(world) == before  # type: ignore[arg-type]
    world.ledger.check_proposal(good)
    assert world.ledger.import_block(good, world.certificate(good)).status is ImportStatus.EXTENDED


def test_no_block_comes_before_the_period_is_over(world: AuthorityWorld) -> None:
    world.grow()
    good = world.build()
    assert good.header.timestamp_s == world.ledger.head().timestamp_s + PERIOD_S
    early = changed(good, timestamp_s=good.header.timestamp_s - 1)
    with pytest.raises(InvalidBlock, match=f"less than {PERIOD_S} s after its parent's"):
        world.ledger.check_proposal(early)
    with pytest.raises(InvalidBlock, match=f"less than {PERIOD_S} s after its parent's"):
        world.ledger.import_block(early, world.certificate(early))


def test_a_builder_whose_clock_is_behind_makes_blocks_that_others_take(world: AuthorityWorld) -> None:
    world.grow()
    due_s = world.ledger.head().timestamp_s + PERIOD_S
    for after_s in (-10, 0):
        block = world.build(after_s=after_s)
        assert world.clock.now_s < block.header.timestamp_s == due_s
        world.ledger.check_proposal(block)


def test_a_proposal_from_the_future_may_come_again_later(world: AuthorityWorld) -> None:
    block = world.build()
    world.clock.now_s = block.header.timestamp_s - MAX_CLOCK_DRIFT_S - 1
    with pytest.raises(BlockFromFuture):
        world.ledger.check_proposal(block)
    world.clock.now_s += 1
    world.ledger.check_proposal(block)


def test_a_node_that_does_not_know_the_time_follows_the_quorum(world: AuthorityWorld) -> None:
    block = world.build()
    world.clock.now_s = 0
    assert world.ledger.import_block(block, world.certificate(block)).status is ImportStatus.EXTENDED


def test_there_are_no_branches(world: AuthorityWorld) -> None:
    """Not even one that a quorum sealed: more than a third of the validators would have to lie for it."""
    block, other = world.build(builder=VALIDATORS[0]), world.build(builder=VALIDATORS[1])
    seals = [world.certificate(block), world.certificate(other)]
    world.ledger.import_block(block, seals[0])
    with pytest.raises(InvalidBlock, match="not the one that is final"):
        world.ledger.import_block(other, seals[1])
    with pytest.raises(InvalidBlock, match="does not stand on this node's head"):
        world.ledger.check_proposal(other)
    on_genesis = changed(other, number=2)
    with pytest.raises(InvalidBlock, match="number"):
        world.ledger.import_block(on_genesis, world.certificate(on_genesis))


def test_a_block_ahead_is_told_apart(world: AuthorityWorld, tmp_path: Path) -> None:
    other = AuthorityWorld.open(tmp_path / "b", clock=world.clock)
    with other.ledger:
        made = other.grow(2)
        with pytest.raises(UnknownParent):
            world.ledger.import_block(*made[1])
        for block, certificate in made:
            assert world.ledger.import_block(block, certificate).status is ImportStatus.EXTENDED


def test_proof_of_work_takes_no_certificate(tmp_path: Path) -> None:
    world = World.open(tmp_path / "pow")
    with world.ledger:
        block = world.build([world.transfer()])
        with pytest.raises(InvalidBlock, match="certificate"):
            world.ledger.import_block(block, b"\x01")
        result = world.ledger.import_block(block)
        assert result.certificates == (b"",)
        with world.ledger.view() as view, pytest.raises(Invalid, match="no validators"):
            view.validators_of(1)


def test_a_checked_proposal_is_executed_once(world: AuthorityWorld, executions: list[Transaction]) -> None:
    block = world.build([world.transfer(), world.transfer(1)])
    executions.clear()
    for _ in range(2):
        world.ledger.check_proposal(block)
    world.ledger.import_block(block, world.certificate(block))
    assert len(executions) == 2


def test_a_built_block_is_executed_once(world: AuthorityWorld, executions: list[Transaction]) -> None:
    block = world.build([world.transfer()], remembers=True)
    world.ledger.check_proposal(block)
    world.ledger.import_block(block, world.certificate(block))
    assert len(executions) == 1


def test_an_invalid_proposal_is_not_executed_again(world: AuthorityWorld, executions: list[Transaction]) -> None:
    bad = changed(world.build([world.transfer()]), state_root=bytes(32))
    with pytest.raises(InvalidBlock, match="state root"):
        world.ledger.check_proposal(bad)
    executions.clear()
    with pytest.raises(InvalidBlock, match="found invalid"):
        world.ledger.check_proposal(bad)
    assert executions == []


def test_another_proposal_than_the_one_checked_is_imported(world: AuthorityWorld, tmp_path: Path) -> None:
    checked = world.build([world.transfer(0)], builder=VALIDATORS[1])
    decided = world.build([world.transfer(1)], builder=VALIDATORS[2])
    world.ledger.check_proposal(checked)
    world.ledger.import_block(decided, world.certificate(decided))
    other = AuthorityWorld.open(tmp_path / "b", clock=world.clock)
    with other.ledger:
        other.ledger.import_block(decided, other.certificate(decided))
        assert other.ledger.state.state_root == world.ledger.state.state_root == decided.header.state_root


def test_validators_vote_members_in_and_out(tmp_path: Path) -> None:
    """From the block after the one in which the contract changes."""
    code = load_artifact("Validators").runtime_code
    world = AuthorityWorld.open(tmp_path / "voting", authority_genesis(code=code))
    with world.ledger:
        world.grow(1, [vote(world, voter, "voteToAdd", NEWCOMER) for voter in range(3)])
        five = ValidatorSet.of([*VALIDATORS, NEWCOMER])
        assert world.ledger.validators_of_next() == five
        block = world.build(builder=NEWCOMER)
        with pytest.raises(InvalidCertificate):  # a quorum of four is none of five
            world.ledger.import_block(block, certify(block, SIGNERS[:3], world.domain))
        world.ledger.import_block(block, certify(block, SIGNERS[1:5], world.domain))
        world.grow(1, [vote(world, voter, "voteToRemove", VALIDATORS[0]) for voter in range(1, 4)])
        assert world.ledger.validators_of_next() == ValidatorSet.of([*VALIDATORS[1:], NEWCOMER])
        with pytest.raises(InvalidBlock, match="no validator"):
            world.ledger.check_proposal(world.build(builder=VALIDATORS[0]))
        with world.ledger.view() as view:
            assert [len(view.validators_of(number)) for number in (1, 2, 3, 4)] == [4, 5, 5, 4]
            for number in (0, -1, 5):
                with pytest.raises(Invalid):
                    view.validators_of(number)


def test_an_override_rescues_a_chain(tmp_path: Path) -> None:
    """Three of four validators are lost; the operators name other ones for block 3."""
    code = load_artifact("Validators").runtime_code
    genesis = authority_genesis(code=code)
    first = AuthorityWorld.open(tmp_path / "a", genesis)
    with first.ledger:
        first.grow(2, [vote(first, 0, "voteToAdd", NEWCOMER)])
    rescued = [SIGNERS[3].address, SIGNERS[5].address]
    world = AuthorityWorld.open(tmp_path / "a", overridden(genesis, (3, rescued)))
    world.clock.now_s, world.nonces = first.clock.now_s, first.nonces
    with world.ledger:
        assert world.ledger.validators_of_next() == ValidatorSet.of(rescued)
        block = world.build([vote(world, 3, "voteToAdd", NEWCOMER)], remembers=True)
        world.ledger.check_proposal(block)
        with pytest.raises(InvalidCertificate):
            world.ledger.import_block(block, certify(block, SIGNERS[:3], world.domain))
        voted_before = certify(block, [SIGNERS[3], SIGNERS[5]], Domain(CHAIN_ID, world.ledger.genesis_hash))
        with pytest.raises(InvalidCertificate):  # of the right ones, but given without the override
            world.ledger.import_block(block, voted_before)
        world.ledger.import_block(block, world.certificate(block))
        # The state is the truth again; votes of before are void, so half of two is no majority.
        assert world.ledger.validators_of_next() == ValidatorSet.of(rescued)
        slots = world.ledger.state.reader()
        expected = validator_storage(ValidatorSet.of(rescued).addresses)
        assert {slot: slots.storage(CONTRACT, slot) for slot in expected} == expected
        world.grow(1, [vote(world, 5, "voteToAdd", NEWCOMER)])
        assert world.ledger.validators_of_next() == ValidatorSet.of([*rescued, NEWCOMER])
        blocks = [view_block for number in (1, 2, 3, 4) if (view_block := world.ledger.blocks.canonical_block(number))]
        certificates = [world.ledger.blocks.certificate(one.hash) for one in blocks]
        with world.ledger.view() as view:
            assert [len(view.validators_of(number)) for number in (1, 2, 3, 4, 5)] == [4, 4, 2, 2, 3]
    # Whoever has the same setting follows; whoever has not stays behind, and says why.
    for name, settings in (("with", overridden(genesis, (3, rescued))), ("without", genesis)):
        follower = AuthorityWorld.open(tmp_path / name, settings)
        follower.clock.now_s = world.clock.now_s
        with follower.ledger:
            for block, certificate in zip(blocks[:2], certificates, strict=False):
                follower.ledger.import_block(block, certificate)
            if name == "with":
                for block, certificate in zip(blocks[2:], certificates[2:], strict=True):
                    follower.ledger.import_block(block, certificate)
                assert follower.ledger.head() == blocks[-1].header
            else:
                with pytest.raises(InvalidBlock):
                    follower.ledger.import_block(blocks[2], certificates[2])


# PUSH0 PUSH0 SSTORE: whoever calls this contract empties its list.
SUICIDAL_CODE = bytes.fromhex("5f5f55")


def test_a_list_that_cannot_be_read_stops_the_chain_in_words(tmp_path: Path) -> None:
    genesis = authority_genesis(code=SUICIDAL_CODE)
    world = AuthorityWorld.open(tmp_path / "a", genesis)
    with world.ledger:
        head, _ = world.grow(1, [signed(KEYS[0], to=CONTRACT)])[0]
        assert world.ledger.state.reader().storage(CONTRACT, LENGTH_SLOT) == 0
        with pytest.raises(UserError, match=r"nobody can make block 2: .* 0 validators.*override"):
            world.ledger.validators_of_next()
        orphan = changed(world.build(builder=VALIDATORS[0]), number=2)
        for refuse in (world.ledger.check_proposal, lambda block: world.ledger.import_block(block, b"\xc0")):
            with pytest.raises(InvalidValidators):
                refuse(orphan)
        with pytest.raises(InvalidValidators):
            world.ledger.header_chain(head.hash)
        with world.ledger.view() as view, pytest.raises(InvalidValidators):
            view.validators_of(2)
    again = AuthorityWorld.open(tmp_path / "a", overridden(genesis, (2, VALIDATORS)))
    again.clock.now_s = world.clock.now_s
    with again.ledger:
        again.grow(2)
        assert again.ledger.validators_of_next() == ValidatorSet.of(VALIDATORS)


def test_everything_is_there_after_a_restart(tmp_path: Path) -> None:
    world = AuthorityWorld.open(tmp_path / "a")
    with world.ledger:
        made = world.grow(3, [world.transfer()])
    again = AuthorityWorld.open(tmp_path / "a")
    with again.ledger:
        assert [again.ledger.blocks.certificate(block.hash) for block, _ in made] == [seal for _, seal in made]
        again.clock.now_s = world.clock.now_s
        again.grow(1)


def test_validators_of_long_ago_are_not_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chain.ledger.DEFAULT_HISTORY_BLOCKS", 2)
    world = AuthorityWorld.open(tmp_path / "a", reorganisation_cap=2)
    with world.ledger as ledger:
        made = world.grow(5)
        with ledger.view() as view:
            assert len(view.validators_of(4)) == 4
            with pytest.raises(StateUnavailable):
                view.validators_of(3)
        assert ledger.header_chain(made[2][0].hash).head.number == 3
        with pytest.raises(UnknownParent, match="cannot be told"):
            ledger.header_chain(made[1][0].hash)
