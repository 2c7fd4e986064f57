"""A store of one trie in memory: values by key, inner nodes by path. It counts what is loaded."""

from chain.trie.nibbles import to_nibbles
from chain.trie.node import EMPTY_ROOT, Leaf, Node, decode
from chain.trie.update import TrieUpdate, update


class MemoryTrie:
    def __init__(self):
        self.values = {}
        self.nodes = {}
        self.root = EMPTY_ROOT
        self.loads = []

    def node(self, path: bytes) -> Node | None:
        self.loads.append(path)
        if path in self.nodes:
            return decode(self.nodes[path])
        below = [key for key in self.values if to_nibbles(key).startswith(path)]
        assert len(below) <= 1, "a leaf was asked for where several keys lie below"
        return Leaf(to_nibbles(below[0])[len(path) :], self.values[below[0]]) if below else None

    def encoded(self, path: bytes) -> bytes | None:
        if path in self.nodes:
            self.loads.append(path)
        return self.nodes.get(path)

    def apply(self, changes) -> TrieUpdate:
        self.loads = []
        result = update(self, changes)
        for path, encoded in result.nodes.items():
            if encoded is None:
                self.nodes.pop(path, None)
            else:
                self.nodes[path] = encoded
        self.values.update(changes)
        self.values = {key: value for key, value in self.values.items() if value is not None}
        self.root = result.root
        return result
