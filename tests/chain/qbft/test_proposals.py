"""Proposals as blocks of a real ledger; and whole heights of four machines, each over a ledger of its own."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from chain.block import Block, decode_block
from chain.consensus.qbft.events import (
    BlockBuilt,
    Broadcast,
    Decided,
    MessageReceived,
    NewHead,
    Output,
    Persist,
    RequestProposal,
    Send,
    SetTimer,
    Settings,
    TimerFired,
    TimerKind,
    TransactionsPending,
    Vote,
    VoteKind,
)
from chain.consensus.qbft.machine import QbftMachine
from chain.consensus.qbft.messages import Commit, Message
from chain.consensus.qbft.proposals import MAX_DECODED, LedgerProposals
from chain.consensus.qbft.signing import KeySigner
from chain.transaction import Transaction
from primitives import rlp
from primitives.clock import ManualClock
from primitives.errors import InvalidBlock
from tests.chain.ledger_world import START_S
from tests.chain.qbft.authority_world import SIGNERS, VALIDATORS, AuthorityWorld, authority_genesis, overridden


@pytest.fixture
def world(tmp_path: Path) -> Iterator[AuthorityWorld]:
    world = AuthorityWorld.open(tmp_path / "a")
    with world.ledger:
        world.grow()
        yield world


def test_a_proposal_of_its_builder_and_one_carried_over(world: AuthorityWorld) -> None:
    proposals = LedgerProposals(world.ledger)
    block = world.build([world.transfer()], builder=VALIDATORS[1])
    encoded, parent_hash = block.encode(), world.ledger.head().hash
    assert proposals.block_hash(encoded) == block.hash
    proposals.check(encoded, 2, parent_hash, VALIDATORS[1])
    proposals.check(encoded, 2, parent_hash, None)
    with pytest.raises(InvalidBlock, match="says it was built by"):
        proposals.check(encoded, 2, parent_hash, VALIDATORS[0])
    for height, parent in ((3, parent_hash), (2, bytes(32))):
        with pytest.raises(InvalidBlock, match="another parent"):
            proposals.check(encoded, height, parent, VALIDATORS[1])


def test_whoever_knows_the_senders_is_asked_once(world: AuthorityWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Sequence[Transaction]] = []
    known = [world.transfer(), world.transfer()]
    senders = [one.sender for one in known]

    def recognise(transactions: Sequence[Transaction]) -> None:
        asked.append(transactions)
        for transaction, other in zip(transactions, known, strict=True):
            transaction.take_sender_of(other)

    proposals = LedgerProposals(world.ledger, recognise)
    block = world.build(known)
    proposals.block_hash(block.encode())
    proposals.check(block.encode(), 2, world.ledger.head().hash, block.header.coinbase)
    (transactions,) = asked
    monkeypatch.setattr("primitives.secp256k1.recover_address", lambda *_: bytes(20))
    assert [transaction.sender for transaction in transactions] == senders


def test_what_the_ledger_refuses_is_refused(world: AuthorityWorld) -> None:
    proposals = LedgerProposals(world.ledger)
    good = world.build([world.transfer()])
    bad = replace(good, header=replace(good.header, gas_used=0, _hash=None))
    with pytest.raises(InvalidBlock, match="used"):
        proposals.check(bad.encode(), 2, world.ledger.head().hash, bad.header.coinbase)


def test_bytes_that_are_no_block(world: AuthorityWorld) -> None:
    """Whatever is wrong with them, in the one kind of error that the machine expects."""
    proposals = LedgerProposals(world.ledger)
    good = world.build([world.transfer()])
    header, body, ommers = rlp.decode(good.encode())
    assert isinstance(body, list)
    garbage = [
        b"",
        b"\xc0",
        b"\x00" * 100,
        good.encode() + b"\x00",
        good.encode()[:-1],
        rlp.encode([header, [*body, b"\x02\xc0"], ommers]),
        rlp.encode([header, [b"\x03" + bytes(50)], ommers]),
        rlp.encode([header, [[b""] * 9], ommers]),
    ]
    for encoded in garbage:
        with pytest.raises(InvalidBlock):
            proposals.block_hash(encoded)
        with pytest.raises(InvalidBlock):
            proposals.check(encoded, 2, world.ledger.head().hash, None)


def test_a_header_with_another_body_is_no_block(world: AuthorityWorld) -> None:
    """A quorum may have prepared that very header: what a liar passes on with it must not be taken for the block."""
    proposals = LedgerProposals(world.ledger)
    good = world.build([world.transfer(0), world.transfer(1)])
    for body in ((), good.transactions[:1], good.transactions[::-1], (*good.transactions, world.transfer(2))):
        with pytest.raises(InvalidBlock, match="commits to"):
            proposals.block_hash(replace(good, transactions=body).encode())
    assert proposals.block_hash(good.encode()) == good.hash


def test_a_proposal_is_decoded_once_and_few_are_kept(world: AuthorityWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded = []

    def counted(encoded: bytes) -> Block:
        decoded.append(encoded)
        return decode_block(encoded)

    monkeypatch.setattr("chain.consensus.qbft.proposals.decode_block", counted)
    proposals = LedgerProposals(world.ledger)
    blocks = [world.build().encode() for _ in range(MAX_DECODED + 1)]
    for encoded in (blocks[0], blocks[0], *blocks[1:], blocks[1], blocks[0]):
        proposals.block_hash(encoded)
    assert decoded == [*blocks, blocks[0]]


class Node:
    """A machine over its own ledger; outputs that concern others are collected."""

    def __init__(self, world: AuthorityWorld, signer: KeySigner, votes: Sequence[Vote] = ()) -> None:
        self.world = world
        self.votes = {vote.kind: vote for vote in votes}
        self.signer = signer
        self.sent: list[tuple[bytes | None, Message]] = []
        self.timers: list[SetTimer] = []
        self.pending: list[Transaction] = []
        self.machine = QbftMachine(Settings(), world.domain, signer, LedgerProposals(world.ledger), votes)
        self.tell_head()

    def tell_head(self) -> None:
        head = self.world.ledger.head()
        self.take(NewHead(head.number, head.hash, head.coinbase, self.world.ledger.validators_of_next()))
        self.take(TransactionsPending(True))

    def take(self, event: object) -> None:
        for output in self.machine.step(event):  # type: ignore[arg-type]
            self.carry_out(output)

    def carry_out(self, output: Output) -> None:
        match output:
            case Persist(votes):
                self.votes |= {vote.kind: vote for vote in votes}
            case Broadcast(message):
                self.sent.append((None, message))
            case Send(validator, message):
                self.sent.append((validator, message))
            case SetTimer():
                self.timers.append(output)
            case RequestProposal(height, round_, _):
                block = self.world.build(self.pending, builder=self.signer.address, remembers=True)
                self.take(BlockBuilt(height, round_, block.encode()))
            case Decided(_, block_hash, encoded, certificate):
                result = self.world.ledger.import_block(decode_block(encoded), certificate.encode())
                assert result.head.hash == block_hash
                self.pending = []
                self.tell_head()

    def fire(self, kind: TimerKind) -> None:
        for timer in [one.timer for one in self.timers if one.timer.kind is kind]:
            self.take(TimerFired(timer))
        self.timers = [one for one in self.timers if one.timer.kind is not kind]


def deliver(nodes: list[Node], lost: type[Message] | None = None) -> None:
    """Until nobody has anything to say; who is silent is not on the list. Messages of one kind may get lost."""
    while any(node.sent for node in nodes):
        for node in nodes:
            said, node.sent = node.sent, []
            for target, message in said:
                for other in nodes:
                    is_heard = lost is None or not isinstance(message, lost)
                    if is_heard and other is not node and target in (None, other.signer.address):
                        other.take(MessageReceived(message))


@pytest.mark.parametrize("silent", [None, 0, 1, 2, 3])
def test_four_validators_make_final_blocks_that_all_import(tmp_path: Path, silent: int | None) -> None:
    """With nobody, or one of them, silent; rounds change where its turn comes."""
    clock = ManualClock(START_S)
    worlds = [AuthorityWorld.open(tmp_path / str(index), clock=clock) for index in range(4)]
    nodes = [Node(world, signer) for world, signer in zip(worlds, SIGNERS, strict=False)]
    active = [node for index, node in enumerate(nodes) if index != silent]
    for height in range(1, 6):
        transaction = worlds[0].transfer()
        for node in active:
            node.pending = [transaction]
        for kind in (TimerKind.BLOCK, TimerKind.ROUND, TimerKind.ROUND):
            if active[0].world.ledger.head().number < height:
                for node in active:
                    node.fire(kind)
                deliver(active)
        heads = {node.world.ledger.head() for node in active}
        assert [head.number for head in heads] == [height]
        roots = {node.world.ledger.state.state_root for node in active}
        assert len(roots) == 1
    for world in worlds:
        world.ledger.close()


def test_survivors_of_a_half_decided_block_go_on_when_the_operators_have_named_them(tmp_path: Path) -> None:
    """All committed a block, nobody heard of it, and half of them are lost: what the others voted is void by then."""
    clock = ManualClock(START_S)
    worlds = [AuthorityWorld.open(tmp_path / str(index), clock=clock) for index in range(4)]
    nodes = [Node(world, signer) for world, signer in zip(worlds, SIGNERS, strict=False)]
    for node in nodes:
        node.fire(TimerKind.BLOCK)
    deliver(nodes, lost=Commit)
    for node in nodes:
        assert VoteKind.COMMIT in node.votes
        assert node.world.ledger.head().number == 0
        node.world.ledger.close()
    genesis = overridden(authority_genesis(), (1, VALIDATORS[:2]))
    survivors = [
        Node(AuthorityWorld.open(tmp_path / str(index), genesis, clock), SIGNERS[index], [*nodes[index].votes.values()])
        for index in range(2)
    ]
    for kind in (TimerKind.BLOCK, TimerKind.REPEAT):
        for node in survivors:
            node.fire(kind)
        deliver(survivors)
    (head,) = {node.world.ledger.head() for node in survivors}
    assert head.number == 1
    for node in survivors:
        node.world.ledger.close()
