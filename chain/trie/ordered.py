"""The root over a list, as a header commits to its transactions and its receipts. Computed in memory, never stored."""

from collections.abc import Sequence

from chain.trie.update import build
from primitives import rlp


def ordered_root(items: Sequence[bytes]) -> bytes:
    """The root of the trie in which the RLP of its index leads to each item (Yellow Paper, 4.3.2)."""
    return build({rlp.encode(rlp.encode_int(index)): item for index, item in enumerate(items)}).root
