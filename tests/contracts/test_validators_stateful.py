"""Any sequence of votes leaves the list and the open votes that a model kept in Python has, and no others.

Hypothesis draws votes to add and to remove, votes taken back, and lists written from outside, by and about members and
strangers; after every step the contract, its storage and its last announcement must say what the model says.
"""

from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.contracts.council import Council, events, new_list, people, reason
from tests.contracts.ledgers import Result

EVERYBODY = people(7)
everybody = st.sampled_from(EVERYBODY)
councils = st.lists(everybody, min_size=1, max_size=5, unique=True)


@dataclass
class Model:
    """Who is on the list, and the votes that count as (voter, subject)."""

    members: set[bytes]
    votes: set[tuple[bytes, bytes]] = field(default_factory=set)

    @property
    def needed(self) -> int:
        return len(self.members) // 2 + 1

    def voters(self, subject: bytes) -> set[bytes]:
        return {voter for voter, other in self.votes if other == subject}

    def refusal(self, voter: bytes, subject: bytes, to_remove: bool) -> str | None:
        if voter not in self.members:
            return "NotValidator"
        if to_remove and subject not in self.members:
            return "UnknownValidator"
        if not to_remove and subject in self.members:
            return "AlreadyValidator"
        if to_remove and len(self.members) == 1:
            return "ValidatorCountInvalid"
        if (voter, subject) in self.votes and len(self.voters(subject)) < self.needed:
            return "AlreadyVoted"
        return None

    def vote(self, voter: bytes, subject: bytes) -> bool:
        """Whether the list changed."""
        self.votes.add((voter, subject))
        if len(self.voters(subject)) < self.needed:
            return False
        self.members ^= {subject}
        self.votes = {vote for vote in self.votes if subject not in vote}
        return True


class Votes(RuleBasedStateMachine):
    @initialize(first=councils)
    def open(self, first: list[bytes]) -> None:
        self.council = Council(first)
        self.model = Model(set(first))
        self.last_told = first

    @rule(voter=everybody, subject=everybody)
    def vote(self, voter: bytes, subject: bytes) -> None:
        """For the change that is possible."""
        self._vote(voter, subject, subject in self.model.members)

    @rule(subject=everybody)
    def come_or_go(self, subject: bytes) -> None:
        self._all_vote(subject)

    @rule(subject=everybody)
    def go_and_come_back(self, subject: bytes) -> None:
        """Or the other way round."""
        self._all_vote(subject)
        self.all_say_the_same()
        self._all_vote(subject)

    @rule(voter=everybody, subject=everybody, to_remove=st.booleans())
    def vote_for_anything(self, voter: bytes, subject: bytes, to_remove: bool) -> None:
        self._vote(voter, subject, to_remove)

    @precondition(lambda self: self.model.votes)
    @rule(data=st.data())
    def withdraw_an_open_one(self, data: st.DataObject) -> None:
        self._withdraw(*data.draw(st.sampled_from(sorted(self.model.votes))))

    @rule(voter=everybody, subject=everybody)
    def withdraw_anything(self, voter: bytes, subject: bytes) -> None:
        self._withdraw(voter, subject)

    @rule(written=councils, void_hash=st.booleans())
    def write_from_outside(self, written: list[bytes], void_hash: bool) -> None:
        self.council.write(written, void_hash=void_hash or written == self.last_told)
        self.last_told = written
        self.model = Model(set(written))

    @invariant()
    def all_say_the_same(self) -> None:
        stored = self.council.stored()
        assert stored == self.council.listed() == self.last_told
        assert len(stored) == len(set(stored))
        assert set(stored) == self.model.members != set()
        open_votes = {(voter, subject, subject in self.model.members) for voter, subject in self.model.votes}
        assert self.council.open_votes() == open_votes
        for subject in EVERYBODY:
            voters = self.model.voters(subject)
            to_remove, found, needed, missing = self.council.ask("proposal", subject)
            assert isinstance(found, (list, tuple))
            assert sorted(found) == sorted(voters)
            assert to_remove == (subject in self.model.members)
            assert (needed, missing) == (self.model.needed, max(0, self.model.needed - len(voters)))

    def _all_vote(self, subject: bytes) -> None:
        """For what is possible, in the order of the list, until they have it."""
        to_remove = subject in self.model.members
        for voter in self.council.listed():
            if (subject in self.model.members) == to_remove:
                self._vote(voter, subject, to_remove)

    def _vote(self, voter: bytes, subject: bytes, to_remove: bool) -> None:
        refusal = self.model.refusal(voter, subject, to_remove)
        result = (self.council.remove if to_remove else self.council.add)(voter, subject)
        if refusal is not None:
            self._refused(result, refusal)
            return
        needed = self.model.needed
        votes = len(self.model.voters(subject) | {voter})
        changed = self.model.vote(voter, subject)
        told = events(result)[0]
        assert told.name == ("RemovalVoted" if to_remove else "AdditionVoted")
        assert (told.arguments["votes"], told.arguments["needed"]) == (votes, needed)
        assert len(events(result)) == 1 + changed
        announced = new_list(result)
        assert (announced is not None) == changed
        self.last_told = announced or self.last_told

    def _withdraw(self, voter: bytes, subject: bytes) -> None:
        result = self.council.withdraw(voter, subject)
        if voter not in self.model.members:
            self._refused(result, "NotValidator")
        elif (voter, subject) not in self.model.votes:
            self._refused(result, "NotVoted")
        else:
            self.model.votes.remove((voter, subject))
            (told,) = events(result)
            assert told.arguments["votes"] == len(self.model.voters(subject))
            assert told.arguments["needed"] == self.model.needed

    @staticmethod
    def _refused(result: Result, name: str) -> None:
        assert (reason(result) or "").startswith(name + "("), reason(result)
        assert result.logs == ()


TestVotes = Votes.TestCase
TestVotes.settings = settings(max_examples=80, stateful_step_count=25)
