"""Messages of the consensus: to whom they go, who passes them on, and how large they may be from whom."""

from collections.abc import Collection
from dataclasses import dataclass, field

import pytest

from p2p import limits
from p2p.consensus_gossip import ConsensusGossip, Judgement
from p2p.identity import NodeId
from p2p.messages import AnnounceBlocks, Consensus, Message
from p2p.reputation import Offence
from primitives.clock import ManualClock
from tests.p2p.memory_network import node


@dataclass(eq=False)
class FakeSession:
    node_id: NodeId
    consensus_limit_bytes: int = 0
    posted: list[Message] = field(default_factory=list)
    offences: list[Offence] = field(default_factory=list)

    def post(self, message: Message) -> bool:
        self.posted.append(message)
        return True

    def offend(self, offence: Offence, _: str) -> None:
        self.offences.append(offence)


class FakeParty:
    def __init__(self) -> None:
        self.judgement = Judgement.RELEVANT
        self.taken: list[bytes] = []

    def take(self, data: bytes, origin: NodeId) -> Judgement:
        self.taken.append(data)
        return self.judgement


class World:
    """Node 1 with sessions to some others."""

    def __init__(self, validators: Collection[int], connected: Collection[int]) -> None:
        self.clock = ManualClock()
        self.reserved: list[frozenset[NodeId]] = []
        self.gossip = ConsensusGossip(node(1), self.clock, lambda nodes: self.reserved.append(frozenset(nodes)))
        self.party = FakeParty()
        self.gossip.serve(self.party)
        self.gossip.set_validators([node(number) for number in validators])
        self.sessions = {number: FakeSession(node(number)) for number in connected}
        for session in self.sessions.values():
            self.gossip.joined(session)  # type: ignore[arg-type]

    def posted(self) -> dict[int, list[Message]]:
        return {number: session.posted for number, session in self.sessions.items() if session.posted}

    def hears(self, number: int, message: Consensus) -> None:
        self.gossip.take_message(self.sessions[number], message)  # type: ignore[arg-type]


def test_validators_that_are_all_connected_talk_directly() -> None:
    world = World(validators=[1, 2, 3], connected=[2, 3, 9])
    world.gossip.broadcast(b"vote")
    assert world.posted() == {2: [Consensus(False, b"vote")], 3: [Consensus(False, b"vote")]}


def test_where_a_validator_is_missing_everybody_is_asked_to_pass_on() -> None:
    world = World(validators=[1, 2, 3], connected=[2, 9])
    world.gossip.broadcast(b"vote")
    assert world.posted() == {2: [Consensus(True, b"vote")], 9: [Consensus(True, b"vote")]}


def test_to_one_validator_directly_or_by_way_of_others() -> None:
    world = World(validators=[1, 2, 3], connected=[2, 9])
    world.gossip.send(node(2), b"direct")
    assert world.posted() == {2: [Consensus(False, b"direct")]}
    world.gossip.send(node(3), b"around")
    assert world.posted()[9] == [Consensus(True, b"around")]


def test_what_is_to_be_passed_on_goes_to_all_others_once_until_it_is_repeated_later() -> None:
    world = World(validators=[1, 2, 3], connected=[2, 3, 9])
    world.hears(2, Consensus(True, b"vote"))
    world.hears(9, Consensus(True, b"vote"))
    assert world.posted() == {3: [Consensus(True, b"vote")], 9: [Consensus(True, b"vote")]}
    assert world.party.taken == [b"vote", b"vote"]
    world.clock.advance_s(limits.CONSENSUS_MEMORY_S)
    world.hears(2, Consensus(True, b"vote"))
    assert len(world.sessions[3].posted) == 2


@pytest.mark.parametrize("judgement", [Judgement.USELESS, Judgement.INVALID])
def test_nothing_useless_is_passed_on_and_only_the_invalid_is_held_against_its_bringer(judgement: Judgement) -> None:
    world = World(validators=[1, 2, 3], connected=[2, 3])
    world.party.judgement = judgement
    world.hears(2, Consensus(True, b"vote"))
    assert world.posted() == {}
    assert world.sessions[2].offences == ([Offence.INVALID_MESSAGE] if judgement is Judgement.INVALID else [])


def test_a_direct_message_is_not_passed_on() -> None:
    world = World(validators=[1, 2, 3], connected=[2, 3])
    world.hears(2, Consensus(False, b"vote"))
    assert world.posted() == {}


def test_the_memory_of_what_was_passed_on_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_REMEMBERED_CONSENSUS_MESSAGES", 100)
    world = World(validators=[1, 2, 3], connected=[2, 3])
    for number in range(limits.MAX_REMEMBERED_CONSENSUS_MESSAGES + 1):
        world.hears(2, Consensus(True, number.to_bytes(4, "big")))
    world.hears(2, Consensus(True, (5).to_bytes(4, "big")))
    count = len(world.sessions[3].posted)
    assert count == limits.MAX_REMEMBERED_CONSENSUS_MESSAGES + 1
    world.hears(2, Consensus(True, (0).to_bytes(4, "big")))  # the oldest was forgotten
    assert len(world.sessions[3].posted) == count + 1


def test_how_much_a_peer_may_send_follows_the_validators() -> None:
    world = World(validators=[], connected=[2, 9])
    assert [session.consensus_limit_bytes for session in world.sessions.values()] == [0, 0]
    world.gossip.set_validators([node(1), node(2)])
    assert world.sessions[2].consensus_limit_bytes == limits.MAX_CONSENSUS_MESSAGE_BYTES
    assert world.sessions[9].consensus_limit_bytes == limits.MAX_RELAYED_CONSENSUS_BYTES
    assert world.reserved[-1] == {node(1), node(2)}
    world.gossip.set_validators([node(1), node(9)])
    assert world.sessions[2].consensus_limit_bytes == limits.MAX_RELAYED_CONSENSUS_BYTES
    assert world.sessions[9].consensus_limit_bytes == limits.MAX_CONSENSUS_MESSAGE_BYTES


def test_a_validator_behind_is_shown_the_head_and_one_that_left_is_not() -> None:
    world = World(validators=[1, 2], connected=[2])
    world.gossip.show_head(node(2), 7, bytes(32))
    assert isinstance(world.sessions[2].posted[-1], AnnounceBlocks)
    world.gossip.left(world.sessions[2])  # type: ignore[arg-type]
    world.gossip.show_head(node(2), 8, bytes(32))
    assert len(world.sessions[2].posted) == 1


def test_a_session_that_was_replaced_leaves_the_new_one_in_place() -> None:
    world = World(validators=[1, 2], connected=[2])
    old, new = world.sessions[2], FakeSession(node(2))
    world.gossip.joined(new)  # type: ignore[arg-type]
    world.gossip.left(old)  # type: ignore[arg-type]
    world.gossip.broadcast(b"vote")
    assert new.posted == [Consensus(False, b"vote")]


def test_what_only_a_validator_may_send_is_passed_on_by_validators_alone() -> None:
    """Or an honest node is punished by its peers for what it passes on."""
    largest = Consensus(True, bytes(limits.MAX_RELAYED_CONSENSUS_BYTES))
    larger = Consensus(True, bytes(limits.MAX_RELAYED_CONSENSUS_BYTES + 1))
    watching = World(validators=[2, 3], connected=[2, 9])
    for message in (larger, largest):
        watching.hears(2, message)
    assert watching.posted() == {9: [largest]}
    validating = World(validators=[1, 2, 3], connected=[2, 9])
    validating.hears(2, larger)
    assert validating.posted() == {9: [larger]}


def flood(world: World, number: int, count: int) -> int:
    """Messages that were taken in before the first was refused."""
    for position in range(count):
        world.hears(number, Consensus(False, position.to_bytes(4, "big")))
        if world.sessions[number].offences:
            return position
    return count


def test_a_peer_that_floods_is_told_apart_from_one_that_passes_on_what_many_validators_say() -> None:
    few, many = World(range(1, 5), [2, 3]), World(range(1, 129), [2, 3])
    seconds, said_per_s = 30, 2 * 128 + 1
    for world in (few, many):
        for _ in range(seconds):
            flood(world, 2, said_per_s)
            world.clock.advance_s(1)
    assert few.sessions[2].offences[0] is Offence.FLOOD
    assert many.sessions[2].offences == []
    assert few.sessions[3].offences == []
    assert flood(many, 2, 10_000) < 10_000
