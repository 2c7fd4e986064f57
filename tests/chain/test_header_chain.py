"""Headers without bodies: the importer's verdict on every header, and the validators that only receipts can tell."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from chain.block import Block
from chain.consensus.engine import engine_for
from chain.consensus.qbft.certificate import InvalidCertificate
from chain.consensus.qbft.validator_contract import VALIDATORS_CHANGED, InvalidValidators
from chain.consensus.qbft.validators import ValidatorSet
from chain.genesis import Genesis
from chain.header import Header
from chain.header_chain import HeaderChain
from chain.header_rules import MAX_CLOCK_DRIFT_S, BlockFromFuture
from chain.importer import ImportStatus, UnknownParent
from chain.receipt import Receipt
from contracts.binding import load_artifact
from primitives import abi
from primitives.errors import InvalidBlock
from tests.chain.ledger_world import ADDRESSES, KEYS, World, reseal, signed, world_genesis
from tests.chain.qbft.authority_world import (
    CONTRACT,
    SIGNERS,
    VALIDATORS,
    AuthorityWorld,
    authority_genesis,
    certify,
    overridden,
)
from tests.chain.test_importer_qbft import vote

NEWCOMER = SIGNERS[4].address
CODE = load_artifact("Validators").runtime_code


@pytest.fixture
def world(tmp_path: Path) -> Iterator[AuthorityWorld]:
    world = AuthorityWorld.open(tmp_path / "a", authority_genesis(code=CODE))
    with world.ledger:
        yield world


def chain_from_genesis(world: AuthorityWorld, genesis: Genesis | None = None) -> HeaderChain:
    """As a light client begins: with the genesis file and the genesis block's header."""
    genesis = genesis or authority_genesis(code=CODE)
    header = world.ledger.blocks.canonical_header(0)
    assert header is not None
    return HeaderChain(
        genesis.config, engine_for(genesis.config, header.hash), world.clock, header, genesis.validators()
    )


def receipts_of(world: AuthorityWorld, header: Header) -> Sequence[Receipt]:
    receipts = world.ledger.blocks.receipts(header.hash)
    assert receipts is not None
    return receipts


def follow(chain: HeaderChain, world: AuthorityWorld, made: Sequence[tuple[Block, bytes]]) -> int:
    """Add the headers, with receipts where they are needed; how often they were."""
    asked = 0
    for block, certificate in made:
        chain.add(block.header, certificate)
        if (header := chain.needs_receipts) is not None:
            assert header == block.header
            chain.supply_receipts(receipts_of(world, header))
            asked += 1
        assert chain.needs_receipts is None
    return asked


def test_it_follows_votes_from_the_genesis_on(world: AuthorityWorld) -> None:
    made = world.grow(2, [world.transfer()])
    made += world.grow(2, [vote(world, voter, "voteToAdd", NEWCOMER) for voter in range(3)])
    made += world.grow(1, [vote(world, 0, "voteToRemove", VALIDATORS[1])])  # not enough: no event
    both = [vote(world, voter, "voteToRemove", VALIDATORS[1]) for voter in (2, 3)]
    both += [vote(world, voter, "voteToAdd", SIGNERS[5].address) for voter in (0, 2, 3)]
    made += world.grow(3, both)
    chain = chain_from_genesis(world)
    assert follow(chain, world, made) == 2
    assert chain.validators == world.ledger.validators_of_next()
    assert chain.validators == ValidatorSet.of([VALIDATORS[0], *VALIDATORS[2:], NEWCOMER, SIGNERS[5].address])
    assert chain.head == world.ledger.head()


def test_the_certificate_must_be_of_those_validators(world: AuthorityWorld) -> None:
    changing, empty = world.grow(2, [vote(world, voter, "voteToAdd", NEWCOMER) for voter in range(3)])
    chain = chain_from_genesis(world)
    chain.add(*_headed(changing))
    chain.supply_receipts(receipts_of(world, changing[0].header))
    by_the_old = certify(empty[0], SIGNERS[:3], world.domain)
    with pytest.raises(InvalidCertificate):
        chain.add(empty[0].header, by_the_old)
    assert chain.head == changing[0].header
    chain.add(*_headed(empty))


def _headed(made: tuple[Block, bytes]) -> tuple[Header, bytes]:
    return made[0].header, made[1]


def test_receipts_come_first_and_have_to_be_the_blocks_own(world: AuthorityWorld) -> None:
    changing, empty = world.grow(2, [vote(world, voter, "voteToAdd", NEWCOMER) for voter in range(3)])
    chain = chain_from_genesis(world)
    chain.add(*_headed(changing))
    with pytest.raises(RuntimeError, match="needed first"):
        chain.add(*_headed(empty))
    receipts = list(receipts_of(world, changing[0].header))
    forged = replace(receipts[-1], logs=())
    for wrong in ([], receipts[:-1], [*receipts[:-1], forged], receipts[::-1]):
        with pytest.raises(InvalidBlock, match="not the receipts"):
            chain.supply_receipts(wrong)
    assert chain.needs_receipts == changing[0].header
    assert chain.validators == ValidatorSet.of(VALIDATORS)
    chain.supply_receipts(receipts)
    assert chain.validators == ValidatorSet.of([*VALIDATORS, NEWCOMER])
    chain.add(*_headed(empty))


def test_a_bloom_that_only_looks_like_it_changes_nothing(world: AuthorityWorld) -> None:
    """A voter that takes its vote back makes an event of the contract, and another contract one of that name."""
    code = b"\x7f" + VALIDATORS_CHANGED + bytes.fromhex("5f5fa100")  # PUSH32 topic PUSH0 PUSH0 LOG1 STOP
    create = b"\x60" + bytes((len(code),)) + bytes.fromhex("600c60003960") + bytes((len(code),)) + b"\x60\x00\xf3"
    assert len(create) == 12
    sender = SIGNERS[0].address
    deploys = signed(KEYS[ADDRESSES.index(sender)], to=None, data=create + code, gas_limit=500_000)
    world.nonces[sender] = 1
    made = world.grow(1, [deploys])
    (receipt,) = receipts_of(world, made[0][0].header)
    assert receipt.contract_address is not None
    noise = world.transfer(ADDRESSES.index(sender), gas_limit=100_000, value=0)
    noise = signed(KEYS[ADDRESSES.index(sender)], nonce=noise.nonce, to=receipt.contract_address)
    made += world.grow(2, [noise, vote(world, 1, "voteToAdd", NEWCOMER), vote(world, 1, "withdrawVote", NEWCOMER)])
    assert len(receipts_of(world, made[1][0].header)[0].logs) == 1
    chain = chain_from_genesis(world)
    assert follow(chain, world, made) == 1
    assert chain.validators == ValidatorSet.of(VALIDATORS)


def test_overrides_are_followed(tmp_path: Path) -> None:
    rescued = [VALIDATORS[3], NEWCOMER]
    genesis = overridden(authority_genesis(code=CODE), (1, VALIDATORS[1:]), (3, rescued))
    world = AuthorityWorld.open(tmp_path / "a", genesis)
    with world.ledger:
        made = world.grow(3)
        made += world.grow(2, [vote(world, voter, "voteToAdd", VALIDATORS[0]) for voter in (3, 4)])
        chain = chain_from_genesis(world, genesis)
        follow(chain, world, made[:2])
        assert chain.validators == ValidatorSet.of(rescued)
        follow(chain, world, made[2:])
        assert chain.validators == world.ledger.validators_of_next() == ValidatorSet.of([*rescued, VALIDATORS[0]])
        with pytest.raises(InvalidBlock):
            follow(chain_from_genesis(world, authority_genesis(code=CODE)), world, made)


# Announces whatever list it is called with: CALLDATACOPY, then LOG1 with the topic.
ANNOUNCER = bytes.fromhex("365f5f37 7f") + VALIDATORS_CHANGED + bytes.fromhex("365fa100")


def test_after_a_list_that_cannot_be_used_only_an_override_goes_on(tmp_path: Path) -> None:
    rescue = overridden(authority_genesis(code=ANNOUNCER), (2, VALIDATORS))
    world = AuthorityWorld.open(tmp_path / "a", rescue)
    with world.ledger:
        empty_list = signed(KEYS[0], to=CONTRACT, data=abi.encode(["address[]"], [[]]))
        made = world.grow(2, [empty_list])
        chain = chain_from_genesis(world, authority_genesis(code=ANNOUNCER))
        follow(chain, world, made[:1])
        assert chain.validators is None
        with pytest.raises(InvalidValidators):
            chain.add(*_headed(made[1]))
        chain = chain_from_genesis(world, rescue)
        follow(chain, world, made)
        assert chain.head == world.ledger.head()


def test_a_ledger_hands_one_out_for_its_head(world: AuthorityWorld) -> None:
    world.grow(2)
    chain = world.ledger.header_chain(world.ledger.head().hash)
    made = world.grow(2)
    follow(chain, world, made)
    assert chain.head == world.ledger.head()
    earlier = world.ledger.header_chain(made[0][0].header.parent_hash)
    assert earlier.validators == ValidatorSet.of(VALIDATORS)
    follow(earlier, world, made)
    with pytest.raises(UnknownParent):
        world.ledger.header_chain(bytes(32))


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"parent_hash": bytes(32)}, "parent"),
        ({"number": 3}, "number"),
        ({"timestamp_s": 0}, "not after its parent"),
        ({"coinbase": NEWCOMER}, "no validator"),
        ({"difficulty": 3}, "difficulty"),
        ({"base_fee_per_gas": 3}, "base fee"),
    ],
)
def test_a_broken_rule_is_named_and_changes_nothing(
    world: AuthorityWorld, fields: dict[str, object], reason: str
) -> None:
    ((first, _),) = world.grow()
    chain = world.ledger.header_chain(first.hash)
    good = world.build()
    bad = replace(good, header=replace(good.header, **fields, _hash=None))  # type: ignore[arg-type]
    with pytest.raises(InvalidBlock, match=reason):
        chain.add(bad.header, world.certificate(bad))
    assert chain.head == first.header
    with pytest.raises(InvalidCertificate):
        chain.add(good.header)
    chain.add(good.header, world.certificate(good))


def test_a_header_from_the_future_may_come_again_later(tmp_path: Path) -> None:
    world = World.open(tmp_path / "pow")
    with world.ledger:
        chain = world.ledger.header_chain(world.ledger.genesis_hash)
        block = world.build()
        world.clock.now_s = block.header.timestamp_s - MAX_CLOCK_DRIFT_S - 1
        with pytest.raises(BlockFromFuture):
            chain.add(block.header)
        assert chain.head.number == 0
        world.clock.now_s += 1
        chain.add(block.header)


def test_the_time_of_a_sealed_header_is_the_quorums_affair(world: AuthorityWorld) -> None:
    chain = world.ledger.header_chain(world.ledger.genesis_hash)
    block = world.build()
    world.clock.now_s = 0
    chain.add(block.header, world.certificate(block))


@pytest.mark.parametrize("rule", ["fixed", "asert"])
def test_proof_of_work_over_anchors_and_branches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rule: str) -> None:
    """From the genesis, from within, from an anchor and from a side branch: the difficulty that the importer wants."""
    monkeypatch.setattr("chain.consensus.difficulty.ANCHOR_INTERVAL_BLOCKS", 3)
    genesis = replace(world_genesis(difficulty=rule, blockTimeSeconds=60), difficulty=40)
    world, rival = World.open(tmp_path / "a", genesis), World.open(tmp_path / "b", genesis)
    rival.coinbase = b"\xd0" * 20
    with world.ledger, rival.ledger:
        theirs, ours = rival.grow(8), world.grow(9)
        world.clock.now_s += 1_000
        for block in theirs[:5]:
            assert world.ledger.import_block(block).status is ImportStatus.SIDE_BRANCH
        if rule == "asert":
            assert len({block.header.difficulty for block in ours}) > 1
        for blocks, starts in ((ours, range(9)), (theirs, range(6))):
            for start in starts:
                parent_hash = blocks[start].header.parent_hash
                chain = world.ledger.header_chain(parent_hash)
                for block in blocks[start:]:
                    chain.add(block.header)
                    assert chain.needs_receipts is None
                assert chain.head == blocks[-1].header
                assert chain.validators is None
        chain = world.ledger.header_chain(ours[-2].hash)
        last = ours[-1]
        with pytest.raises(InvalidBlock, match="certificate"):
            chain.add(last.header, b"\x01")
        wrong = reseal(last, replace(last.header, difficulty=last.header.difficulty + 1, _hash=None))
        with pytest.raises(InvalidBlock, match="difficulty"):
            chain.add(wrong.header)
        with pytest.raises(InvalidBlock, match="seal"):
            chain.add(last.header.with_seal(bytes(32), bytes(8)))
        chain.add(last.header)
