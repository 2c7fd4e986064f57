"""Which peer is next: claims, names, rests, and who is slow."""

from p2p import limits
from p2p.backend import ChainHead
from p2p.sync.peers import SyncPeers
from primitives.clock import ManualClock
from tests.p2p.memory_network import Talk, begin_talk


async def joined(peers: SyncPeers, clock: ManualClock, number: int, claims: int) -> Talk:
    talk = await begin_talk(clock=clock, peer=number)
    talk.session.claimed_head = ChainHead(claims, bytes(32), claims)
    peers.joined(talk.session)
    return talk


async def test_slow_peers_come_last_but_where_weight_counts() -> None:
    for prefers_heavy in (False, True):
        clock = ManualClock()
        peers = SyncPeers(clock, prefers_heavy)
        talks = [await joined(peers, clock, number, claims) for number, claims in ((2, 50), (3, 51))]
        peers.look()
        slow = peers.get(talks[1].session.node_id)
        assert slow is not None
        slow.is_slow = True
        best = peers.best_ahead(10)
        assert best is not None
        assert best.claimed_number == (51 if prefers_heavy else 50)
        await over(talks)


async def test_rests_double_up_to_a_limit_and_end_with_a_success() -> None:
    clock = ManualClock()
    peers = SyncPeers(clock)
    talk = await joined(peers, clock, 2, 50)
    (peer,) = peers
    peer.is_named = True
    rests = []
    for _ in range(6):
        peers.failed(peer)
        assert peers.best_ahead(0) is None
        rests.append(peer.rest_s)
        clock.advance_s(peer.rest_s)
        assert peers.best_ahead(0) is peer
    assert rests == [5, 10, 20, 40, 60, 60]
    assert not peers.another_claims_more(49, peer)
    peers.reached(peer)
    assert (peer.rest_s, peer.failures, peer.is_named) == (0, 0, False)
    await over([talk])


async def test_a_claim_counts_against_others_until_it_was_not_shown_too_often() -> None:
    clock = ManualClock()
    peers = SyncPeers(clock)
    talks = [await joined(peers, clock, number, claims) for number, claims in ((2, 50), (3, 60))]
    light, heavy = peers
    for _ in range(limits.MAX_IGNORED_FAILURES):
        assert peers.another_claims_more(50, light)
        peers.failed(heavy)
    assert not peers.another_claims_more(50, light)
    await over(talks)


async def test_a_clock_that_was_set_back_lets_nobody_rest_for_years() -> None:
    clock = ManualClock()
    peers = SyncPeers(clock)
    talk = await joined(peers, clock, 2, 50)
    (peer,) = peers
    peer.is_named = True
    peers.failed(peer)
    clock.now_s -= 10_000
    assert peers.best_ahead(0) is peer
    await over([talk])


async def over(talks: list[Talk]) -> None:
    for talk in talks:
        talk.session.end(None, "the test is over")
        await talk.ended()
