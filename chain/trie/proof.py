"""Merkle proofs: the nodes on the way from the root to a key, as eth_getProof hands them out (EIP-1186).

Where the key is absent, the same nodes prove that.
"""

from chain.trie.nibbles import to_nibbles
from chain.trie.node import EMPTY, HASH_REFERENCE_LENGTH, Extension, Leaf, Node, decode, encode
from chain.trie.update import DamagedTrie, NodeSource


def prove(source: NodeSource, key: bytes) -> list[bytes]:
    """RLP of each node from the root towards key; nodes that lie inside their parent are not listed again."""
    nibbles = to_nibbles(key)
    path = b""
    proof: list[bytes] = []
    node: Node | None = source.node(path)
    if node is None:
        return proof
    proof.append(encode(node))
    while not isinstance(node, Leaf):
        if isinstance(node, Extension):
            path += node.path
            reference = node.child
            if not nibbles.startswith(path):
                break
        else:
            if len(path) == len(nibbles):
                break
            reference = node[nibbles[len(path)]]
            if reference == EMPTY:
                break
            path = nibbles[: len(path) + 1]
        if len(reference) < HASH_REFERENCE_LENGTH:
            node = decode(reference)
            continue
        node = source.node(path)
        if node is None:
            raise DamagedTrie(f"there is no node at {path.hex()}, though its parent names one")
        proof.append(encode(node))
    return proof
