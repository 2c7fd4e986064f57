"""What one validator sends takes no place from another, and no more than its own share."""

from chain.consensus.qbft.height import EarlyMessages
from chain.consensus.qbft.messages import Commit, Message, Prepare, Proposal, RoundChange
from chain.consensus.qbft.tally import MAX_ROUNDS_KEPT, Tally
from tests.chain.qbft.model_block import address

HASH = b"\x01" * 32


def test_a_sender_of_many_rounds_loses_its_own_votes_only() -> None:
    tally = Tally()
    tally.add(address(0), Prepare(1, 0, HASH))
    for round_ in range(MAX_ROUNDS_KEPT + 1):
        tally.add(address(1), Prepare(1, round_, HASH))
        tally.add(address(1), Commit(1, round_, HASH))
    assert list(tally.prepares(0, HASH)) == [address(0)]
    assert list(tally.prepares(1, HASH)) == [address(1)]
    assert tally.same_round(address(1), Commit(1, 0, HASH)) is None


def test_the_newest_round_change_and_proposal_of_a_sender_are_kept() -> None:
    tally = Tally()
    for round_ in (3, 5, 4):
        tally.add(address(0), RoundChange(1, round_, None))
        tally.add(address(0), Proposal(1, round_, bytes((round_,)) * 32, block=bytes((round_,))))
    assert [change.round for change in tally.round_changes(5)] == [5]
    assert tally.round_changes(3) == tally.round_changes(4) == []
    assert tally.block(b"\x05" * 32) == b"\x05"
    assert tally.block(b"\x04" * 32) is None


def test_one_early_message_of_each_kind_and_sender_is_held() -> None:
    early = EarlyMessages()
    newest: list[Message] = [Prepare(2, 3, HASH), Commit(2, 3, HASH)]
    for round_ in (1, 3, 2):
        early.hold(address(0), Prepare(2, round_, HASH))
        early.hold(address(0), Commit(2, round_, HASH))
    early.hold(address(1), Prepare(2, 0, HASH))
    assert early.take(2) == [*newest, Prepare(2, 0, HASH)]
    assert early.take(2) == []
