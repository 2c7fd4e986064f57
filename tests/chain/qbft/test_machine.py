"""The machine step by step: one node of four under test, the other three played by hand."""

from dataclasses import replace
from typing import TypeVar

import pytest

from chain.consensus.qbft.certificate import check_certificate
from chain.consensus.qbft.events import (
    Behind,
    BlockBuilt,
    Broadcast,
    Decided,
    Equivocation,
    MessageReceived,
    NewHead,
    Output,
    OwnKeyElsewhere,
    PeerBehind,
    Persist,
    Rejected,
    RequestProposal,
    Send,
    SetTimer,
    Settings,
    TimerFired,
    TimerKind,
    TransactionsPending,
    Vote,
)
from chain.consensus.qbft.machine import QbftMachine
from chain.consensus.qbft.messages import Commit, Message, Prepare, Prepared, Proposal, RoundChange
from chain.consensus.qbft.signing import Authenticator, Domain
from chain.consensus.qbft.validators import ValidatorSet
from primitives.keccak import keccak256
from tests.chain.qbft.model_block import (
    DOMAIN,
    GENESIS_HASH,
    ModelBlocks,
    ModelSigner,
    address,
    build_block,
    model_recover,
)

VALIDATORS = ValidatorSet.of(address(index) for index in range(4))
SETTINGS = Settings(base_timeout_ms=1_000, block_period_ms=1_000, empty_block_period_ms=10_000)
AUTHENTICATOR = Authenticator(DOMAIN, model_recover)

O = TypeVar("O")  # noqa: E741
M = TypeVar("M", Proposal, Prepare, Commit, RoundChange)


def block_of(proposer: int, salt: bytes = b"", height: int = 1) -> bytes:
    return build_block(height, GENESIS_HASH, address(proposer), salt)


BLOCK = block_of(0)
HASH = keccak256(BLOCK)


def signed(sender: int, message: M) -> M:
    return AUTHENTICATOR.signed(message, ModelSigner(address(sender)))


def proposal(sender: int = 0, round_: int = 0, block: bytes = BLOCK) -> Proposal:
    return signed(sender, Proposal(1, round_, keccak256(block), block=block))


class Node:
    """The machine of one validator, with a disk for its votes."""

    def __init__(self, index: int, votes: tuple[Vote, ...] = (), domain: Domain = DOMAIN) -> None:
        self.index = index
        self.machine = QbftMachine(SETTINGS, domain, ModelSigner(address(index)), ModelBlocks(), votes, model_recover)
        self.timers: dict[TimerKind, SetTimer] = {}
        self.votes = {vote.kind: vote for vote in votes}

    def step(self, event: object) -> list[Output]:
        outputs = self.machine.step(event)  # type: ignore[arg-type]
        for position, output in enumerate(outputs):
            if isinstance(output, SetTimer):
                self.timers[output.timer.kind] = output
            if isinstance(output, Persist):
                assert position == 0
                self.votes |= {vote.kind: vote for vote in output.votes}
        return outputs

    def start(self, number: int = 0, validators: ValidatorSet = VALIDATORS) -> list[Output]:
        return self.step(NewHead(number, GENESIS_HASH, bytes(20), validators))

    def fire(self, kind: TimerKind) -> list[Output]:
        return self.step(TimerFired(self.timers[kind].timer))

    def hear(self, *messages: Message) -> list[Output]:
        return [output for message in messages for output in self.step(MessageReceived(message))]

    def restarted(self, domain: Domain = DOMAIN) -> "Node":
        return Node(self.index, tuple(self.votes.values()), domain)


def started(index: int = 1) -> Node:
    node = Node(index)
    node.start()
    return node


def only(outputs: list[Output], kind: type[O]) -> list[O]:
    return [output for output in outputs if isinstance(output, kind)]


def said(outputs: list[Output], kind: type[O]) -> list[O]:
    return [output.message for output in only(outputs, Broadcast) if isinstance(output.message, kind)]


def prepares(round_: int = 0, senders: tuple[int, ...] = (0, 2, 3), block_hash: bytes = HASH) -> list[Message]:
    return [signed(sender, Prepare(1, round_, block_hash)) for sender in senders]


def commits(round_: int = 0, senders: tuple[int, ...] = (0, 2, 3), block_hash: bytes = HASH) -> list[Message]:
    return [signed(sender, Commit(1, round_, block_hash)) for sender in senders]


def proof(round_: int, block_hash: bytes, senders: tuple[int, ...] = (0, 2, 3)) -> tuple[bytes, ...]:
    return tuple(signed(sender, Prepare(1, round_, block_hash)).signature for sender in senders)


def change(
    sender: int, round_: int, prepared: Prepared | None = None, block: bytes = b"", proven_by: tuple[bytes, ...] = ()
) -> RoundChange:
    return replace(signed(sender, RoundChange(1, round_, prepared)), block=block, prepare_signatures=proven_by)


def locked_change(sender: int, round_: int, prepared_round: int = 0, block: bytes = BLOCK) -> RoundChange:
    block_hash = keccak256(block)
    return change(sender, round_, Prepared(prepared_round, block_hash), block, proof(prepared_round, block_hash))


def justified(sender: int, round_: int, block: bytes, changes: list[RoundChange]) -> Proposal:
    highest = max(changes, key=lambda one: -1 if one.prepared is None else one.prepared.round)
    return replace(
        proposal(sender, round_, block),
        round_changes=tuple(one.without_proof() for one in changes),
        prepare_signatures=highest.prepare_signatures,
    )


def test_a_height_from_proposal_to_decision() -> None:
    node = started()
    assert said(node.hear(proposal()), Prepare) == [signed(1, Prepare(1, 0, HASH))]
    outputs = node.hear(*prepares(senders=(2, 3)))
    assert said(outputs, Commit) == [signed(1, Commit(1, 0, HASH))]
    (decided,) = only(node.hear(*commits(senders=(0, 3))), Decided)
    assert (decided.height, decided.block_hash, decided.block) == (1, HASH, BLOCK)
    check_certificate(decided.certificate, 1, HASH, VALIDATORS, DOMAIN, model_recover)


def test_messages_may_come_in_any_order() -> None:
    node = started()
    assert node.hear(*commits(), *prepares()) == []
    outputs = node.hear(proposal())
    assert only(outputs, Decided)


def test_votes_are_persisted_before_anything_is_sent() -> None:
    node = started()
    for outputs in (node.hear(proposal()), node.step(MessageReceived(prepares()[0])), node.hear(prepares()[1])):
        if only(outputs, Broadcast):
            assert isinstance(outputs[0], Persist)
    assert len(node.votes) == 3  # prepare, commit, and the prepared block


def test_a_proposer_asks_for_a_block_when_there_are_transactions_or_long_was_none() -> None:
    for due in (TransactionsPending(True), TimerKind.EMPTY_BLOCK):
        node = started(0)
        assert node.fire(TimerKind.BLOCK) == []
        outputs = node.fire(due) if isinstance(due, TimerKind) else node.step(due)
        assert only(outputs, RequestProposal) == [RequestProposal(1, 0, GENESIS_HASH)]
        outputs = node.step(BlockBuilt(1, 0, BLOCK))
        assert said(outputs, Proposal) == [proposal()]
        assert said(outputs, Prepare)


def test_a_block_that_was_not_asked_for_or_comes_late_is_not_proposed() -> None:
    node = started(0)
    assert node.step(BlockBuilt(1, 0, BLOCK)) == []
    node.fire(TimerKind.BLOCK)
    node.step(TransactionsPending(True))
    node.fire(TimerKind.ROUND)
    assert node.step(BlockBuilt(1, 0, BLOCK)) == []


def test_a_single_validator_decides_alone() -> None:
    node = Node(0)
    node.start(0, ValidatorSet.of([address(0)]))
    node.fire(TimerKind.BLOCK)
    node.fire(TimerKind.EMPTY_BLOCK)
    outputs = node.step(BlockBuilt(1, 0, BLOCK))
    assert isinstance(outputs[0], Persist)
    assert only(outputs, Decided)


@pytest.mark.parametrize(
    "message",
    [
        proposal(2, 0, block_of(2)),
        proposal(0, 0, block_of(0, b"bad")),
        proposal(0, 0, block_of(2)),
        proposal(0, 0, block_of(0, height=2)),
        replace(proposal(), block=block_of(0, b"other")),
        replace(proposal(), block=b"garbage"),
        replace(proposal(), prepare_signatures=proof(0, HASH)),
        proposal(2, 2, block_of(2)),
        signed(7, Prepare(1, 0, HASH)),
        replace(prepares()[0], signature=bytes(65)),
        change(0, 0),
        change(0, 1, None, BLOCK),
        change(0, 1, Prepared(0, HASH), BLOCK),
        change(0, 1, Prepared(0, HASH), block_of(0, b"other"), proof(0, HASH)),
        change(0, 1, Prepared(0, HASH), BLOCK, proof(0, HASH, (0, 2))),
        change(0, 1, Prepared(0, HASH), BLOCK, proof(1, HASH)),
        locked_change(0, 1, 1),
    ],
)
def test_what_no_honest_node_says_is_rejected(message: Message) -> None:
    node = started()
    outputs = node.hear(message)
    assert len(only(outputs, Rejected)) == len(outputs) == 1


def test_of_two_proposals_the_first_counts_and_both_are_reported_once() -> None:
    node = started()
    other = proposal(0, 0, block_of(0, b"other"))
    node.hear(proposal())
    outputs = node.hear(other, other)
    assert outputs == [Equivocation(address(0), proposal(), other)]


def test_a_validator_counts_once() -> None:
    node = started()
    node.hear(proposal())
    assert not said(node.hear(*prepares(senders=(2, 2, 2))), Commit)
    (contradiction,) = only(node.hear(*prepares(senders=(2,), block_hash=bytes(32))), Equivocation)
    assert contradiction.validator == address(2)


def test_rounds_that_run_out_get_longer_up_to_a_cap() -> None:
    node = started()
    node.fire(TimerKind.BLOCK)
    node.fire(TimerKind.EMPTY_BLOCK)
    delays = [node.timers[TimerKind.ROUND].delay_ms]
    for round_ in range(1, 8):
        (sent,) = said(node.fire(TimerKind.ROUND), RoundChange)
        assert sent == signed(1, RoundChange(1, round_, None))
        (timer,) = only(node.hear(change(2, round_), change(3, round_)), SetTimer)
        delays.append(timer.delay_ms)
    assert delays == [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 32_000, 32_000]
    assert replace(SETTINGS, base_timeout_ms=4_000).round_timeout_ms(9) == 60_000


def test_who_is_ahead_of_the_others_waits_for_a_quorum() -> None:
    node = started()
    node.fire(TimerKind.BLOCK)
    node.fire(TimerKind.EMPTY_BLOCK)
    assert not only(node.fire(TimerKind.ROUND), SetTimer)
    assert not only(node.hear(change(2, 1), change(2, 1), change(3, 0)), SetTimer)
    (timer,) = only(node.hear(signed(3, Prepare(1, 2, HASH))), SetTimer)  # it has passed round 1
    assert (timer.timer.kind, timer.timer.round, timer.delay_ms) == (TimerKind.ROUND, 1, 2_000)


def test_a_proposal_shows_that_a_quorum_is_there() -> None:
    node = started()
    changes = [change(sender, 2) for sender in (0, 2, 3)]
    (timer,) = only(node.hear(justified(2, 2, block_of(2), changes)), SetTimer)
    assert (timer.timer.kind, timer.timer.round) == (TimerKind.ROUND, 2)


def test_it_joins_the_slowest_of_the_f_plus_1_fastest() -> None:
    node = started()
    assert node.hear(change(0, 9)) == []
    (sent,) = said(node.hear(change(2, 5)), RoundChange)
    assert sent.round == 5
    assert said(node.hear(change(3, 7)), RoundChange)[0].round == 7


def test_a_prepared_block_is_named_in_the_round_change_and_proposed_again() -> None:
    node = started()  # address 1 proposes in round 1
    node.hear(proposal(), *prepares(senders=(2, 3)))
    (sent,) = said(node.fire(TimerKind.ROUND), RoundChange)
    assert sent.prepared == Prepared(0, HASH)
    outputs = node.hear(change(2, 1), change(3, 1))
    (again,) = said(outputs, Proposal)
    assert (again.round, again.block_hash, len(again.round_changes)) == (1, HASH, 3)
    other = started(3)
    assert said(other.hear(again), Prepare) == [signed(3, Prepare(1, 1, HASH))]


def test_the_block_prepared_in_the_highest_round_is_proposed_even_by_who_never_saw_it() -> None:
    newer = block_of(2, b"newer")
    changes = [locked_change(0, 3), locked_change(2, 3, 2, newer), change(1, 3)]
    for order in (changes, [changes[1], changes[0]]):
        node = started(3)  # proposes in round 3
        (again,) = said(node.hear(*order), Proposal)
        assert (again.round, again.block_hash, again.block) == (3, keccak256(newer), newer)


def test_nothing_prepared_a_new_block_is_asked_for() -> None:
    node = started()
    outputs = node.hear(change(0, 1), change(2, 1))
    assert only(outputs, RequestProposal) == [RequestProposal(1, 1, GENESIS_HASH)]
    fresh = block_of(1)
    (sent,) = said(node.step(BlockBuilt(1, 1, fresh)), Proposal)
    assert said(started(3).hear(sent), Prepare)


def test_a_justified_proposal_takes_a_node_straight_into_its_round() -> None:
    node = started()
    later = justified(2, 2, BLOCK, [locked_change(0, 2), change(2, 2), change(3, 2)])
    assert said(node.hear(later), Prepare) == [signed(1, Prepare(1, 2, HASH))]
    assert node.timers[TimerKind.ROUND].delay_ms == 4_000


@pytest.mark.parametrize(
    "wrong",
    [
        justified(2, 2, block_of(2), [locked_change(0, 2), change(2, 2), change(3, 2)]),
        justified(2, 2, block_of(2), [change(2, 2), change(3, 2)]),
        justified(2, 2, block_of(2), [change(2, 2), change(3, 2), change(3, 2)]),
        justified(2, 2, block_of(2), [change(0, 2), change(2, 2), change(3, 2), change(3, 2)]),
        justified(2, 2, block_of(2), [change(2, 2), change(3, 2), change(8, 2)]),
        justified(2, 2, block_of(0), [change(0, 2), change(2, 2), change(3, 2)]),
        justified(2, 2, BLOCK, [locked_change(0, 2), locked_change(2, 2, 1, block_of(1)), change(3, 2)]),
        replace(
            justified(2, 2, BLOCK, [locked_change(0, 2), change(2, 2), change(3, 2)]),
            prepare_signatures=proof(0, HASH, (0, 2)),
        ),
    ],
    ids=["not the locked block", "no quorum", "counted twice", "repeated", "a stranger", "built by another",
         "not the highest", "no proof"],
)  # fmt: skip
def test_an_unjustified_proposal_is_rejected(wrong: Proposal) -> None:
    outputs = started().hear(wrong)
    assert len(only(outputs, Rejected)) == len(outputs) == 1


def test_once_in_a_later_round_nothing_earlier_is_voted_for() -> None:
    node = started()
    node.fire(TimerKind.BLOCK)
    node.fire(TimerKind.EMPTY_BLOCK)
    node.fire(TimerKind.ROUND)
    assert node.hear(proposal(), *prepares()) == []
    (decided,) = only(node.hear(*commits()), Decided)  # But what a quorum committed is final, wherever this node is.
    check_certificate(decided.certificate, 1, HASH, VALIDATORS, DOMAIN, model_recover)


def test_seals_of_several_rounds_do_not_add_up() -> None:
    node = started()
    node.hear(proposal())
    outputs = node.hear(*commits(0, (0,)), *commits(1, (2,)), *commits(2, (3,)))
    assert not only(outputs, Decided)


def test_a_stale_round_change_is_answered_once_with_what_helps() -> None:
    node = started()
    later = justified(2, 2, BLOCK, [locked_change(0, 2), change(2, 2), change(3, 2)])
    node.hear(later)
    outputs = node.hear(change(3, 1), change(3, 1))
    assert [output.message for output in only(outputs, Send)] == [later, signed(1, Prepare(1, 2, HASH))]
    behind = started()
    behind.hear(change(0, 4), change(2, 4))
    (answer,) = only(behind.hear(change(3, 2)), Send)
    assert answer == Send(address(3), signed(1, RoundChange(1, 4, None)))


def test_the_newest_messages_are_repeated() -> None:
    node = started()
    assert only(node.fire(TimerKind.REPEAT), Broadcast) == []
    node.hear(proposal(), *prepares())
    outputs = node.fire(TimerKind.REPEAT)
    assert [type(output.message) for output in only(outputs, Broadcast)] == [Prepare, Commit]
    assert not only(outputs, Persist)
    node.fire(TimerKind.ROUND)
    assert [type(o.message) for o in only(node.fire(TimerKind.REPEAT), Broadcast)] == [RoundChange]


def test_messages_of_the_next_height_wait_and_those_beyond_do_not() -> None:
    node = started()
    block = build_block(2, HASH, address(3), b"")
    next_hash = keccak256(block)
    outputs = node.hear(
        signed(0, Prepare(2, 0, next_hash)),
        signed(2, Prepare(2, 0, next_hash)),
        signed(3, Proposal(2, 0, next_hash, block=block)),
        signed(3, Prepare(3, 0, next_hash)),
    )
    assert [output.validator for output in only(outputs, Behind)] == [address(0), address(2), address(3)]
    outputs = node.step(NewHead(1, HASH, address(2), VALIDATORS))
    assert said(outputs, Commit) == [signed(1, Commit(2, 0, next_hash))]
    assert not only(node.step(NewHead(2, next_hash, address(3), VALIDATORS)), Broadcast)
    assert only(node.hear(change(3, 1)), PeerBehind) == [PeerBehind(address(3), 1)]


def test_old_timers_and_heads_change_nothing() -> None:
    node = started()
    old = node.timers[TimerKind.BLOCK].timer
    node.step(NewHead(1, HASH, address(0), VALIDATORS))
    assert node.step(TimerFired(old)) == []
    assert node.step(NewHead(0, GENESIS_HASH, bytes(20), VALIDATORS)) == []


def test_who_is_no_validator_only_watches() -> None:
    node = Node(7)
    assert list(map(type, node.start())) == [SetTimer]
    assert node.hear(proposal(), *prepares(), *commits()) == []
    assert list(map(type, node.fire(TimerKind.REPEAT))) == [SetTimer]


def test_who_was_voted_out_still_tells_the_others_that_they_are_behind() -> None:
    node = Node(7)
    node.start(1)
    assert node.hear(*prepares(senders=(2, 2))) == [PeerBehind(address(2), 1)]
    node.fire(TimerKind.REPEAT)
    assert node.hear(*prepares(senders=(2,))) == [PeerBehind(address(2), 1)]
    assert node.hear(signed(3, Prepare(7, 0, HASH))) == [Behind(address(3), 7)]


def test_another_machine_with_the_same_key_is_noticed() -> None:
    node = started()
    node.hear(proposal())
    assert node.hear(*prepares(senders=(1,))) == []  # its own, come back
    (notice,) = node.hear(*prepares(senders=(1,), block_hash=bytes(32)))
    assert isinstance(notice, OwnKeyElsewhere)
    assert only(node.hear(change(1, 5)), OwnKeyElsewhere)


def test_after_a_restart_it_prepares_nothing_else() -> None:
    node = started()
    node.hear(proposal())
    again = node.restarted()
    outputs = again.start()
    assert said(outputs, Prepare) == [signed(1, Prepare(1, 0, HASH))]
    assert only(again.hear(proposal(0, 0, block_of(0, b"other"))), Rejected)
    assert not said(again.hear(proposal()), Prepare)
    assert said(again.hear(*prepares(senders=(2, 3))), Commit)


def test_after_a_restart_it_still_names_what_it_committed() -> None:
    node = started()
    node.hear(proposal(), *prepares())
    again = node.restarted()
    assert said(again.start(), Commit) == [signed(1, Commit(1, 0, HASH))]
    (sent,) = said(again.fire(TimerKind.ROUND), RoundChange)
    assert sent.prepared == Prepared(0, HASH)
    assert sent.block == BLOCK
    once_more = again.restarted()
    assert said(once_more.start(), RoundChange) == [sent]
    assert only(once_more.hear(change(2, 1), change(3, 1)), SetTimer)[-1].delay_ms == 2_000  # round 1 once more
    assert only(again.hear(*commits()), Decided)


def test_after_a_restart_a_proposer_repeats_its_proposal() -> None:
    node = started(0)
    node.fire(TimerKind.BLOCK)
    node.step(TransactionsPending(True))
    node.step(BlockBuilt(1, 0, BLOCK))
    again = node.restarted()
    assert said(again.start(), Proposal) == [proposal()]
    assert again.step(BlockBuilt(1, 0, block_of(0, b"other"))) == []


def test_below_the_height_of_its_stored_votes_it_does_not_vote() -> None:
    node = Node(1)
    node.start(4)
    node.step(TimerFired(node.timers[TimerKind.BLOCK].timer))
    node.fire(TimerKind.EMPTY_BLOCK)
    node.fire(TimerKind.ROUND)
    again = node.restarted()
    assert only(again.start(0), SetTimer) == list(again.timers.values())  # The ledger was restored from an older copy.
    assert list(again.timers) == [TimerKind.REPEAT]
    assert again.hear(proposal()) == []
    assert said(again.start(4), RoundChange)


RESCUERS = ValidatorSet.of(address(index) for index in (0, 1, 2))
RESCUE = Domain(DOMAIN.chain_id, DOMAIN.genesis_hash, ((1, RESCUERS),))
"""The operators agreed on three validators for block 1, of which two are a quorum."""


def test_what_was_voted_before_the_operators_named_other_validators_is_void() -> None:
    """Or two survivors' commits would decide a block that the override made invalid, again after each restart."""
    node = started()
    node.hear(proposal(), *prepares())
    again = node.restarted(RESCUE)
    assert only(again.start(validators=RESCUERS), Broadcast) == []
    assert TimerKind.BLOCK in again.timers  # the height begins anew
    outputs = again.hear(proposal(), *prepares(senders=(0, 2)), *commits(senders=(0, 2)))
    assert not only(outputs, Decided)
    assert not only(outputs, Broadcast)


def test_after_an_override_only_votes_given_since_outlive_a_restart() -> None:
    node = started()
    node.hear(proposal(), *prepares())
    rescued = node.restarted(RESCUE)
    rescued.start(validators=RESCUERS)
    rescued.fire(TimerKind.BLOCK)
    rescued.fire(TimerKind.EMPTY_BLOCK)
    (sent,) = said(rescued.fire(TimerKind.ROUND), RoundChange)
    assert sent.prepared is None
    again = rescued.restarted(RESCUE)
    assert only(again.start(validators=RESCUERS), Broadcast) == [Broadcast(sent)]
