"""The messages of one height that count, in bounded memory, and what they add up to.

Who sent a message, and whether it is justified, was checked before it comes here. Of two messages that contradict each
other the first counts.
"""

from collections.abc import Iterator
from typing import TypeVar

from chain.consensus.qbft.messages import Commit, Message, Prepare, Proposal, RoundChange, claim

MAX_ROUNDS_KEPT = 4
"""Prepares and commits kept of each validator, of the highest rounds: a sender of many rounds loses its own only."""

_T = TypeVar("_T", bound=Message)
_Votes = dict[bytes, dict[int, _T]]


class Tally:
    """The collected messages of one height."""

    def __init__(self) -> None:
        self._proposals: dict[bytes, Proposal] = {}
        self._prepares: _Votes[Prepare] = {}
        self._commits: _Votes[Commit] = {}
        self._round_changes: dict[bytes, RoundChange] = {}

    def add(self, sender: bytes, message: Message) -> None:
        """Count the message, unless it is known, old, or contradicts one that counts."""
        if self.same_round(sender, message) is not None:
            return
        match message:
            case Prepare():
                _keep(self._prepares, sender, message)
            case Commit():
                _keep(self._commits, sender, message)
            case Proposal():
                _keep_newest(self._proposals, sender, message)
            case RoundChange():
                _keep_newest(self._round_changes, sender, message)

    def same_round(self, sender: bytes, message: Message) -> Message | None:
        """The sender's counted message of this kind and round."""
        known: Message | None
        match message:
            case Prepare():
                known = self._prepares.get(sender, {}).get(message.round)
            case Commit():
                known = self._commits.get(sender, {}).get(message.round)
            case Proposal():
                known = self._proposals.get(sender)
            case RoundChange():
                known = self._round_changes.get(sender)
        return known if known is not None and known.round == message.round else None

    def contradicted(self, sender: bytes, message: Message) -> Message | None:
        """The counted message that says something else for the same round: together they are an equivocation."""
        known = self.same_round(sender, message)
        return known if known is not None and claim(known) != claim(message) else None

    def prepares(self, round_: int, block_hash: bytes) -> dict[bytes, bytes]:
        """The signatures of those who prepared the block in the round, by sender."""
        return {
            sender: votes[round_].signature
            for sender, votes in self._prepares.items()
            if round_ in votes and votes[round_].block_hash == block_hash
        }

    def committed(self, quorum: int) -> tuple[Commit, dict[bytes, bytes]] | None:
        """A commit of some round that a quorum made, and their seals by sender."""
        seals: dict[tuple[int, bytes], dict[bytes, bytes]] = {}
        for sender, votes in self._commits.items():
            for commit in votes.values():
                gathered = seals.setdefault((commit.round, commit.block_hash), {})
                gathered[sender] = commit.signature
                if len(gathered) >= quorum:
                    return commit, gathered
        return None

    def round_changes(self, round_: int) -> list[RoundChange]:
        """Those that are in exactly this round."""
        return [change for change in self._round_changes.values() if change.round == round_]

    def round_reached(self, count: int) -> int:
        """The highest round that at least `count` validators have reached or passed, 0 where there is none."""
        rounds = sorted((change.round for change in self._round_changes.values()), reverse=True)
        return rounds[count - 1] if len(rounds) >= count else 0

    def count_in_round(self, round_: int) -> int:
        """How many validators have reached the round or passed it, as any message of theirs shows."""
        seen = {sender for sender, votes in self._prepares.items() if max(votes) >= round_}
        seen |= {sender for sender, votes in self._commits.items() if max(votes) >= round_}
        seen |= {sender for sender, proposal in self._proposals.items() if proposal.round >= round_}
        seen |= {sender for sender, change in self._round_changes.items() if change.round >= round_}
        return len(seen)

    def block(self, block_hash: bytes) -> bytes | None:
        """The block of that hash, if any message brought it."""
        for message in self._with_blocks():
            if isinstance(message, Proposal):
                if message.block_hash == block_hash:
                    return message.block
            elif message.prepared is not None and message.prepared.block_hash == block_hash:
                return message.block
        return None

    def _with_blocks(self) -> Iterator[Proposal | RoundChange]:
        yield from self._proposals.values()
        yield from self._round_changes.values()


def _keep(votes: _Votes[_T], sender: bytes, message: _T) -> None:
    rounds = votes.setdefault(sender, {})
    rounds[message.round] = message
    if len(rounds) > MAX_ROUNDS_KEPT:
        del rounds[min(rounds)]


def _keep_newest(messages: dict[bytes, _T], sender: bytes, message: _T) -> None:
    known = messages.get(sender)
    if known is None or known.round < message.round:
        messages[sender] = message
