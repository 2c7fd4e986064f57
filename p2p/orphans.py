"""Blocks whose parent is not here yet: a few of each peer, so many bytes in all, the oldest go first."""

from collections.abc import Iterator
from dataclasses import dataclass

from chain.block import Block
from p2p.identity import NodeId
from p2p.limits import MAX_ORPHAN_BYTES, MAX_ORPHANS_OF_PEER


@dataclass(frozen=True, slots=True)
class Orphan:
    """A block that a peer sent."""

    node_id: NodeId
    block: Block
    certificate: bytes

    @property
    def key(self) -> tuple[bytes, bytes]:
        return self.block.hash, self.certificate


class Orphans:
    """Found by the parent's hash."""

    def __init__(self, max_bytes: int = MAX_ORPHAN_BYTES) -> None:
        self._max_bytes = max_bytes
        self._orphans: dict[tuple[bytes, bytes], tuple[Orphan, int]] = {}
        """With the size of each, in the order of their coming. The certificate is part of the key, because the hash
        does not cover it: a block with a false one must not keep out the same block with a true one."""
        self._bytes = 0

    def __contains__(self, orphan: Orphan) -> bool:
        return orphan.key in self._orphans

    def __len__(self) -> int:
        return len(self._orphans)

    def add(self, orphan: Orphan) -> None:
        """Keep a block, in place of the oldest of its peer, or of all, where there is no room."""
        if orphan in self:
            return
        of_peer = list(self._of_peer(orphan.node_id))
        if len(of_peer) >= MAX_ORPHANS_OF_PEER:
            self._drop(of_peer[0])
        size = len(orphan.block.encode()) + len(orphan.certificate)
        self._orphans[orphan.key] = orphan, size
        self._bytes += size
        while self._bytes > self._max_bytes:
            self._drop(next(iter(self._orphans)))

    def take_children(self, parent_hash: bytes) -> list[Orphan]:
        """Those that waited for this block; they are not kept any longer."""
        children = [orphan for orphan, _ in self._orphans.values() if orphan.block.header.parent_hash == parent_hash]
        for orphan in children:
            self._drop(orphan.key)
        return children

    def forget_peer(self, node_id: NodeId) -> None:
        for key in list(self._of_peer(node_id)):
            self._drop(key)

    def _of_peer(self, node_id: NodeId) -> Iterator[tuple[bytes, bytes]]:
        return (key for key, (orphan, _) in self._orphans.items() if orphan.node_id == node_id)

    def _drop(self, key: tuple[bytes, bytes]) -> None:
        _, size = self._orphans.pop(key)
        self._bytes -= size
