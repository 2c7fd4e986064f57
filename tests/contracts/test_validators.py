"""Validators: ways to vote, refusals with their values, the arithmetic of majorities, and what becomes of votes."""

import pytest

from chain.consensus.qbft import validators as qbft
from contracts import genesis
from contracts.addresses import VALIDATORS_ADDRESS
from tests.contracts.council import (
    KNOWN_HASH_SLOT,
    MAX_OPEN_VOTES,
    MAX_VALIDATORS,
    VALIDATORS,
    Council,
    council_alloc,
    events,
    new_list,
    people,
    reason,
)
from tests.contracts.ledgers import make_ledger

A, B, C, D, E = people(5)
CANDIDATE, OTHER = people(2, first=1000)


def shown(address: bytes) -> str:
    return "0x" + address.hex()


# A change and what is told of it


def test_the_list_of_the_genesis_can_be_read() -> None:
    council = Council([A, B, C])
    assert council.listed() == council.stored() == [A, B, C]
    assert council.ask("validatorCount") == (3,)
    assert council.ask("votesNeeded") == (2,)
    assert [council.ask("isValidator", one) for one in (A, C, CANDIDATE, bytes(20))] == [
        (True,),
        (True,),
        (False,),
        (False,),
    ]
    assert council.ask("proposal", CANDIDATE) == (False, (), 2, 2)
    assert council.ask("proposal", A) == (True, (), 2, 2)
    assert council.open_votes() == set()


def test_a_candidate_is_added_by_the_vote_that_makes_the_majority() -> None:
    council = Council([A, B, C])
    (voted,) = events(council.add(A, CANDIDATE))
    assert voted.name == "AdditionVoted"
    assert voted.arguments == {"candidate": CANDIDATE, "voter": A, "votes": 1, "needed": 2}
    assert council.listed() == [A, B, C]
    assert council.ask("proposal", CANDIDATE) == (False, (A,), 2, 1)
    voted, changed = events(council.add(C, CANDIDATE))
    assert voted.arguments == {"candidate": CANDIDATE, "voter": C, "votes": 2, "needed": 2}
    assert (changed.name, changed.arguments) == ("ValidatorsChanged", {"validators": (A, B, C, CANDIDATE)})
    assert council.listed() == council.stored() == [A, B, C, CANDIDATE]
    assert events(council.add(CANDIDATE, OTHER))[0].arguments["needed"] == 3


def test_a_member_is_removed_by_the_vote_that_makes_the_majority() -> None:
    council = Council([A, B, C])
    (voted,) = events(council.remove(A, B))
    assert voted.name == "RemovalVoted"
    assert voted.arguments == {"member": B, "voter": A, "votes": 1, "needed": 2}
    assert council.ask("proposal", B) == (True, (A,), 2, 1)
    assert new_list(council.remove(C, B)) == council.listed() == council.stored() == [A, C]
    assert not council.ask("isValidator", B)[0]


def test_who_is_to_go_may_vote_for_it() -> None:
    council = Council([A, B, C])
    council.remove(B, B)
    assert council.voters(B) == {B}
    assert new_list(council.remove(A, B)) == [A, C]


def test_the_first_the_last_and_one_between_are_removed_alike() -> None:
    for leaving in (A, B, C):
        council = Council([A, B, C])
        council.remove(A, leaving)
        assert set(new_list(council.remove(B, leaving)) or ()) == {A, B, C} - {leaving}
        assert set(council.stored()) == {A, B, C} - {leaving}


def test_one_alone_decides_alone() -> None:
    council = Council([A])
    assert new_list(council.add(A, B)) == [A, B]
    council.remove(A, B)
    assert new_list(council.remove(B, B)) == [A]


@pytest.mark.parametrize("count", range(1, 9))
def test_it_takes_more_than_half_to_add(count: int) -> None:
    voters = people(count)
    council = Council(voters)
    needed = count // 2 + 1
    assert needed > count / 2 >= needed - 1
    for number, voter in enumerate(voters[:needed], start=1):
        assert council.ask("proposal", CANDIDATE)[2:] == (needed, needed - number + 1)
        result = council.add(voter, CANDIDATE)
        assert events(result)[0].arguments == {
            "candidate": CANDIDATE,
            "voter": voter,
            "votes": number,
            "needed": needed,
        }
        assert new_list(result) == ([*voters, CANDIDATE] if number == needed else None)


@pytest.mark.parametrize("count", range(2, 9))
def test_it_takes_more_than_half_to_remove(count: int) -> None:
    voters = people(count)
    council = Council(voters)
    needed = count // 2 + 1
    for number, voter in enumerate(voters[:needed], start=1):
        result = council.remove(voter, voters[-1])
        assert events(result)[0].arguments == {
            "member": voters[-1],
            "voter": voter,
            "votes": number,
            "needed": needed,
        }
        assert new_list(result) == (voters[:-1] if number == needed else None)


# Votes that are taken back, die or become enough


def test_a_vote_that_was_taken_back_does_not_count() -> None:
    council = Council([A, B, C])
    council.add(A, CANDIDATE)
    council.remove(A, C)
    (withdrawn,) = events(council.withdraw(A, CANDIDATE))
    assert withdrawn.name == "VoteWithdrawn"
    assert withdrawn.arguments == {"subject": CANDIDATE, "voter": A, "votes": 0, "needed": 2}
    assert council.open_votes() == {(A, C, True)}
    assert new_list(council.add(B, CANDIDATE)) is None
    assert new_list(council.add(A, CANDIDATE)) == [A, B, C, CANDIDATE]


def test_the_votes_of_a_member_that_is_removed_die_with_it() -> None:
    council = Council([A, B, C, D, E])
    council.add(A, CANDIDATE)
    council.add(E, CANDIDATE)
    council.remove(E, D)
    for voter in (A, B, C):
        council.remove(voter, E)
    assert council.open_votes() == {(A, CANDIDATE, False)}
    assert council.voters(CANDIDATE) == {A}
    # Four are left, so three are needed: E's vote is not one of them.
    assert new_list(council.add(B, CANDIDATE)) is None
    assert new_list(council.add(C, CANDIDATE)) == council.listed()
    assert CANDIDATE in council.listed()


def test_who_comes_back_begins_without_votes_for_and_by_itself() -> None:
    council = Council([A, B, C])
    council.add(C, CANDIDATE)
    council.remove(C, B)
    council.remove(A, C)
    council.remove(B, C)
    council.add(A, C)
    assert new_list(council.add(B, C)) == [A, B, C]
    assert council.open_votes() == set()
    assert new_list(council.add(A, CANDIDATE)) is None
    assert new_list(council.remove(A, B)) is None
    assert new_list(council.remove(B, C)) is None, "of the votes for its first removal none counts"


def test_votes_about_a_candidate_that_came_and_went_do_not_come_back() -> None:
    """Three of five add it; the two late votes of others, given before it came, are nothing worth when it has left."""
    council = Council([A, B, C, D])
    council.add(A, CANDIDATE)
    council.add(B, CANDIDATE)
    council.add(C, CANDIDATE)
    council.remove(A, CANDIDATE)
    council.remove(B, CANDIDATE)
    assert council.voters(CANDIDATE) == {A, B}
    council.remove(C, CANDIDATE)
    assert council.listed() == [A, B, C, D]
    assert council.open_votes() == set()
    assert council.ask("proposal", CANDIDATE) == (False, (), 3, 3)
    assert new_list(council.add(D, CANDIDATE)) is None
    assert reason(council.withdraw(A, CANDIDATE)) == f"NotVoted(voter={shown(A)}, subject={shown(CANDIDATE)})"


def test_a_longer_list_needs_more_votes_for_what_is_open() -> None:
    council = Council([A, B, C])
    council.remove(A, C)
    for voter in (A, B):
        council.add(voter, CANDIDATE)
    assert council.ask("proposal", C) == (True, (A,), 3, 2)
    assert new_list(council.remove(B, C)) is None
    assert new_list(council.remove(CANDIDATE, C)) == [A, B, CANDIDATE]


def test_votes_that_a_shorter_list_makes_enough_are_carried_out_by_the_next_vote() -> None:
    council = Council([A, B, C, D])
    council.add(A, CANDIDATE)
    council.add(B, CANDIDATE)
    council.add(A, OTHER)
    council.add(B, OTHER)
    for voter in (A, B, C):
        council.remove(voter, D)
    assert council.ask("proposal", CANDIDATE) == (False, (A, B), 2, 0)
    assert CANDIDATE not in council.listed(), "one change a transaction"
    repeated = council.add(A, CANDIDATE)
    assert events(repeated)[0].arguments == {"candidate": CANDIDATE, "voter": A, "votes": 2, "needed": 2}
    assert new_list(repeated) == [A, B, C, CANDIDATE]
    assert council.ask("proposal", OTHER) == (False, (A, B), 3, 1)


def test_a_list_written_from_outside_voids_all_votes() -> None:
    """As operators do where a majority is lost: another list, or the same again with the known hash set to zero."""
    for written, void_hash in (([A, B], False), ([A, B, C, D, E], True), ([A, B, E, D, C], False)):
        council = Council([A, B, C, D, E])
        for voter in (A, E):
            council.add(voter, CANDIDATE)
        council.remove(A, B)
        assert council.voters(CANDIDATE) == {A, E}
        council.write(written, void_hash=void_hash)
        assert council.listed() == council.stored() == written
        assert council.voters(CANDIDATE) == council.open_votes() == set()
        assert reason(council.withdraw(A, CANDIDATE)) == f"NotVoted(voter={shown(A)}, subject={shown(CANDIDATE)})"
        council.add(A, CANDIDATE)
        council.remove(A, B)
        assert council.open_votes() == {(A, CANDIDATE, False), (A, B, True)}
        assert council.voters(CANDIDATE) == {A}


# Refusals


def test_nobody_but_validators_votes() -> None:
    council = Council([A, B, C])
    for function in ("voteToAdd", "voteToRemove", "withdrawVote"):
        for caller in (CANDIDATE, OTHER):
            refused = council.vote(caller, function, B)
            assert reason(refused) == f"NotValidator(caller={shown(caller)})"
    for voter in (A, B):
        council.remove(voter, C)
    assert reason(council.add(C, CANDIDATE)) == f"NotValidator(caller={shown(C)})"
    assert council.open_votes() == set()


def test_what_is_there_is_not_added_and_what_is_not_is_not_removed() -> None:
    council = Council([A, B, C])
    assert reason(council.add(A, B)) == f"AlreadyValidator(candidate={shown(B)})"
    assert reason(council.add(A, A)) == f"AlreadyValidator(candidate={shown(A)})"
    assert reason(council.add(A, bytes(20))) == "ZeroAddress()"
    assert reason(council.remove(A, CANDIDATE)) == f"UnknownValidator(member={shown(CANDIDATE)})"
    assert reason(council.remove(A, bytes(20))) == f"UnknownValidator(member={shown(bytes(20))})"


def test_a_vote_that_stands_is_not_given_twice() -> None:
    council = Council([A, B, C, D, E])
    council.add(A, CANDIDATE)
    council.add(B, CANDIDATE)
    said = f"AlreadyVoted(voter={shown(A)}, subject={shown(CANDIDATE)}, votes=2, needed=3)"
    assert reason(council.add(A, CANDIDATE)) == said
    council.remove(C, D)
    said = f"AlreadyVoted(voter={shown(C)}, subject={shown(D)}, votes=1, needed=3)"
    assert reason(council.remove(C, D)) == said


def test_what_was_not_voted_is_not_taken_back() -> None:
    council = Council([A, B, C])
    council.add(B, CANDIDATE)
    for subject in (CANDIDATE, C, bytes(20)):
        assert reason(council.withdraw(A, subject)) == f"NotVoted(voter={shown(A)}, subject={shown(subject)})"


def test_the_last_validator_stays() -> None:
    council = Council([A])
    assert reason(council.remove(A, A)) == "ValidatorCountInvalid(count=0, maximum=128)"
    # A vote that has become enough changes nothing about it.
    council = Council([A, B])
    council.remove(A, A)
    council.remove(A, B)
    council.remove(B, B)
    assert council.ask("proposal", A) == (True, (A,), 1, 0)
    assert reason(council.remove(A, A)) == "ValidatorCountInvalid(count=0, maximum=128)"


def test_the_list_is_full_at_128() -> None:
    members = people(MAX_VALIDATORS)
    votes = {member: [(CANDIDATE, False)] for member in members[: MAX_VALIDATORS // 2]}
    ledger = make_ledger(council_alloc(members[:-1], votes))
    council = Council([], ledger)
    # 127 validators need 64; the repeated vote carries out what the written ones had decided.
    assert new_list(council.add(A, CANDIDATE)) == [*members[:-1], CANDIDATE]
    assert council.ask("votesNeeded") == (65,)
    refused = council.add(A, members[-1])
    assert reason(refused) == "ValidatorCountInvalid(count=129, maximum=128)"
    assert council.stored() == [*members[:-1], CANDIDATE]


def test_a_validator_has_sixteen_open_votes_at_most() -> None:
    council = Council([A, B, C])
    candidates = people(MAX_OPEN_VOTES, first=2000)
    for candidate in candidates:
        assert council.add(A, candidate).success
    said = f"TooManyVotes(voter={shown(A)}, maximum=16)"
    assert reason(council.add(A, CANDIDATE)) == reason(council.remove(A, B)) == said
    assert council.add(B, CANDIDATE).success, "the limit is each one's own"
    council.withdraw(A, candidates[3])
    assert new_list(council.add(A, CANDIDATE)) == [A, B, C, CANDIDATE]


def test_votes_that_do_not_count_any_more_leave_room_for_others() -> None:
    council = Council([A, B, C])
    candidates = people(MAX_OPEN_VOTES, first=2000)
    for candidate in candidates:
        council.add(A, candidate)
    assert candidates[5] in (new_list(council.add(B, candidates[5])) or ())
    assert council.add(A, CANDIDATE).success
    assert len(council.open_votes()) == MAX_OPEN_VOTES
    assert reason(council.add(A, OTHER)) == f"TooManyVotes(voter={shown(A)}, maximum=16)"


def test_a_refusal_leaves_everything_as_it_was() -> None:
    council = Council([A, B, C])
    council.add(A, CANDIDATE)
    before = council.open_votes()
    for refused in (council.add(A, CANDIDATE), council.add(CANDIDATE, OTHER), council.remove(A, OTHER)):
        assert not refused.success
        assert refused.logs == ()
    assert council.open_votes() == before
    assert council.listed() == [A, B, C]


def test_no_money_is_taken() -> None:
    ledger = make_ledger(council_alloc([A, B, C]) | {shown(A): {"balance": "0xff"}})
    council = Council([], ledger)
    assert not council.vote(A, "voteToAdd", CANDIDATE, value_wei=1).success
    assert not ledger.transact(A, VALIDATORS_ADDRESS, b"", 1).success
    assert not ledger.transact(A, VALIDATORS_ADDRESS, b"\x01\x02\x03\x04", 0).success
    assert ledger.balance(VALIDATORS_ADDRESS) == 0
    assert council.vote(A, "voteToAdd", CANDIDATE).success


# Deployed like any contract


def test_the_constructor_announces_its_list_and_checks_it() -> None:
    ledger = make_ledger({})
    made = ledger.transact(A, None, VALIDATORS.deployment([[A, B]]))
    assert made.success
    (log,) = made.logs
    decoded = VALIDATORS.abi.decode_log(log.topics, log.data)
    assert decoded is not None
    assert decoded.arguments == {"validators": (A, B)}
    data = VALIDATORS.abi.encode_call("voteToAdd", [C])
    assert [ledger.transact(voter, made.output, data).success for voter in (A, B)] == [True, True]
    listed = ledger.call(A, made.output, VALIDATORS.abi.encode_call("validators")).output
    assert VALIDATORS.abi.decode_result("validators", listed) == ((A, B, C),)
    for wrong, said in (
        ([], "ValidatorCountInvalid(count=0, maximum=128)"),
        ([A, bytes(20)], "ZeroAddress()"),
        ([A, B, A], f"AlreadyValidator(candidate={shown(A)})"),
        (people(MAX_VALIDATORS + 1), "ValidatorCountInvalid(count=129, maximum=128)"),
    ):
        assert reason(ledger.transact(A, None, VALIDATORS.deployment([wrong]))) == said


def test_all_who_speak_of_the_limits_say_the_same() -> None:
    council = Council([A])
    assert council.ask("MAX_VALIDATORS") == (MAX_VALIDATORS,) == (qbft.MAX_VALIDATORS,) == (genesis.MAX_VALIDATORS,)
    assert council.ask("MAX_OPEN_VOTES") == (MAX_OPEN_VOTES,)
    assert VALIDATORS.storage_layout.slot("_knownHash") == KNOWN_HASH_SLOT
