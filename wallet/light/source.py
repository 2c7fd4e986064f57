"""What a light client asks a node, with answers as values. Nothing in them is believed here; it is only well formed.

Follows ethereum/execution-apis for eth_getProof, docs/json-rpc.md for wattchain_getHeaders.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from chain.header import Header, decode_header
from chain.receipt import Receipt, decode_consensus_receipts
from primitives.hexadecimal import parse_data, parse_quantity, to_data, to_quantity
from wallet.client import InvalidAnswer, RpcClient
from wallet.light.proofs import AccountAnswer, SlotAnswer

MAX_HEADERS = 192
"""As many as a node gives at once."""
_NUMBER_BITS = 63


@dataclass(frozen=True, slots=True)
class SealedHeader:
    """A header, and what proves it beside its own fields: nothing with proof of work."""

    header: Header
    certificate: bytes = b""


class Source(Protocol):
    """A node that may lie, be slow or be gone.

    Everything raises NodeUnreachable, RpcError where the node refuses, and Invalid for what no honest node answers.
    """

    @property
    def name(self) -> str:
        """As the person who named it knows it."""

    async def head_number(self) -> int:
        """Of its newest block, as it says."""

    async def headers(self, first: int, count: int) -> list[SealedHeader]:
        """Its canonical ones from that number on, at most `count` or MAX_HEADERS; fewer where its chain ends."""

    async def receipts(self, block_hash: bytes) -> list[Receipt] | None:
        """Of a block; None where it does not have them."""

    async def account(self, address: bytes, slots: Sequence[int], block_hash: bytes) -> AccountAnswer:
        """An account and slots of it in the state after that block."""


class NodeSource:
    """A node by its JSON-RPC."""

    def __init__(self, client: RpcClient) -> None:
        self._client = client
        self.name = client.url

    async def head_number(self) -> int:
        return parse_quantity(await self._client.request("eth_blockNumber"), _NUMBER_BITS)

    async def headers(self, first: int, count: int) -> list[SealedHeader]:
        count = min(count, MAX_HEADERS)
        answer = await self._client.request("wattchain_getHeaders", to_quantity(first), to_quantity(count))
        if not isinstance(answer, list) or len(answer) > count:
            raise InvalidAnswer(f"asked for {count} headers, the node answers with something else")
        headers = [_sealed_header(entry) for entry in answer]
        for number, sealed in enumerate(headers, first):
            if sealed.header.number != number:
                raise InvalidAnswer(f"asked for header {number}, the node answers with {sealed.header.number}")
        return headers

    async def receipts(self, block_hash: bytes) -> list[Receipt] | None:
        answer = await self._client.request("debug_getRawReceipts", to_data(block_hash))
        if answer is None:
            return None
        if not isinstance(answer, list):
            raise InvalidAnswer("asked for receipts, the node answers with something else")
        return decode_consensus_receipts([parse_data(one) for one in answer])

    async def account(self, address: bytes, slots: Sequence[int], block_hash: bytes) -> AccountAnswer:
        keys = [to_data(slot.to_bytes(32, "big")) for slot in slots]
        block = {"blockHash": to_data(block_hash), "requireCanonical": True}
        answer = await self._client.request("eth_getProof", to_data(address), keys, block)
        if not isinstance(answer, dict) or not isinstance(answer.get("storageProof"), list):
            raise InvalidAnswer("asked for a proof, the node answers with something else")
        return AccountAnswer(
            parse_quantity(answer.get("nonce"), 64),
            parse_quantity(answer.get("balance")),
            parse_data(answer.get("codeHash")),
            parse_data(answer.get("storageHash")),
            _proof(answer.get("accountProof")),
            tuple([_slot(entry) for entry in answer["storageProof"]]),
        )


def _sealed_header(entry: object) -> SealedHeader:
    if not isinstance(entry, dict):
        raise InvalidAnswer("asked for headers, the node answers with something else")
    return SealedHeader(decode_header(parse_data(entry.get("header"))), parse_data(entry.get("certificate")))


def _slot(entry: object) -> SlotAnswer:
    if not isinstance(entry, dict):
        raise InvalidAnswer("asked for a slot, the node answers with something else")
    return SlotAnswer(parse_quantity(entry.get("value")), _proof(entry.get("proof")))


def _proof(nodes: object) -> tuple[bytes, ...]:
    if not isinstance(nodes, list):
        raise InvalidAnswer("asked for a proof, the node answers with something else")
    return tuple([parse_data(node) for node in nodes])
