"""From the name of a block in a request to the block, or the state after it."""

from dataclasses import replace

from chain.account import StateReader
from chain.block import Block
from chain.block_execution import block_context
from chain.fees import expected_base_fee
from chain.header import Header
from gateway.backend import ChainView
from gateway.errors import SERVER_ERROR, RpcError, pruned
from gateway.parameters import BlockReference
from vm.host import BlockContext


def find_number(chain: ChainView, reference: BlockReference) -> int:
    """The number that a tag stands for. There is no block `pending` before it is sealed: the tag means the head."""
    if reference.number is not None:
        return reference.number
    if reference.tag == "earliest":
        return 0
    if reference.tag in ("safe", "finalized"):
        return chain.finalized_number()
    return chain.head().number


def find_header(chain: ChainView, reference: BlockReference) -> Header | None:
    """The header, or None where there is no such block."""
    if reference.hash is not None:
        return chain.header_by_hash(reference.hash)
    if reference.tag in ("latest", "pending"):
        return chain.head()
    return chain.header_by_number(find_number(chain, reference))


def find_block(chain: ChainView, reference: BlockReference) -> Block | None:
    """None where there is no such block. Raises RpcError where nothing but its header is kept."""
    header = find_header(chain, reference)
    if header is None:
        return None
    block = chain.block_by_hash(header.hash)
    if block is None:
        raise pruned(header.number)
    return block


def require_header(chain: ChainView, reference: BlockReference) -> Header:
    """The header of a canonical block. Raises RpcError."""
    header = find_header(chain, reference)
    if header is None:
        raise RpcError(SERVER_ERROR, "header not found" if reference.hash is None else "header for hash not found")
    if reference.hash is not None and not chain.is_canonical(reference.hash):
        raise RpcError(SERVER_ERROR, "hash is not currently canonical: only the canonical chain has states")
    return header


def state_after(chain: ChainView, reference: BlockReference) -> StateReader:
    """Raises RpcError where there is no such block, Invalid where its state is no longer kept."""
    return chain.state_at(require_header(chain, reference).number)


def context_of(chain: ChainView, header: Header) -> BlockContext:
    """What code saw in that canonical block."""

    def canonical_hash(number: int) -> bytes:
        ancestor = chain.header_by_number(number)
        return bytes(32) if ancestor is None else ancestor.hash

    return block_context(header, chain.config, canonical_hash)


def context_after(chain: ChainView, head: Header, now_s: int) -> BlockContext:
    """What code will see in a block made now on top of the head, as far as that is known."""
    following = replace(
        head,
        parent_hash=head.hash,
        number=head.number + 1,
        timestamp_s=max(now_s, head.timestamp_s + 1),
        base_fee_per_gas=expected_base_fee(head, chain.config),
        _hash=None,
    )
    return context_of(chain, following)
