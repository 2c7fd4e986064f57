"""Blocks without their parents: bounded for each peer and in all, found by their parent."""

from p2p.limits import MAX_ORPHANS_OF_PEER
from p2p.orphans import Orphan, Orphans
from tests.p2p.memory_network import FakeChain, next_block, node

PARENT = FakeChain().best


def orphan(peer: int, gas_used: int, certificate: bytes = b"") -> Orphan:
    return Orphan(node(peer), next_block(PARENT, gas_used), certificate)


def test_children_are_taken_once_and_both_certificates_are_kept() -> None:
    orphans = Orphans()
    kept = [orphan(1, 1), orphan(2, 1, b"other"), orphan(2, 2)]
    for entry in [*kept, kept[0]]:
        orphans.add(entry)
    assert orphans.take_children(bytes(32)) == []
    assert orphans.take_children(PARENT.hash) == kept
    assert len(orphans) == 0


def test_a_peer_pushes_out_its_own_only() -> None:
    orphans = Orphans()
    first = orphan(1, 0)
    orphans.add(first)
    mine = [orphan(2, number) for number in range(1, MAX_ORPHANS_OF_PEER + 2)]
    for entry in mine:
        orphans.add(entry)
    assert first in orphans
    assert mine[0] not in orphans
    assert mine[-1] in orphans
    orphans.forget_peer(node(2))
    assert len(orphans) == 1


def test_all_together_are_bounded_by_their_bytes() -> None:
    size = len(orphan(1, 1).block.encode())
    orphans = Orphans(max_bytes=3 * size + size // 2)
    entries = [orphan(peer, peer) for peer in range(1, 6)]
    for entry in entries:
        orphans.add(entry)
    assert [entry in orphans for entry in entries] == [False, False, True, True, True]
