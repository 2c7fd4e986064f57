"""Nodes for the light client's tests: real ledgers answered for by the real gateway, honest unless told otherwise.

A node's answers pass through the gateway's dispatcher and the client's parsing, without a socket; `serve` puts one on a
socket for tests of whole commands.
"""

import asyncio
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, TypeVar, cast

from chain.account import EMPTY_TRIE_ROOT
from chain.config import ChainConfig, ValidatorOverride
from chain.consensus.difficulty import anchor_number, next_difficulty
from chain.consensus.proof_of_work import seal_here
from chain.consensus.qbft.certificate import CommitCertificate
from chain.consensus.qbft.engine import MIX_HASH
from chain.consensus.qbft.messages import Commit
from chain.consensus.qbft.signing import Authenticator, Domain, KeySigner
from chain.fees import expected_base_fee
from chain.genesis import Genesis
from chain.header import Header
from chain.ledger import Ledger
from chain.receipt import EMPTY_BLOOM
from gateway.backend import Backend, ChainView
from gateway.context import Context
from gateway.dispatcher import Dispatcher
from primitives.clock import ManualClock
from primitives.hexadecimal import to_data
from tests.chain.ledger_world import CHAIN_ID, COINBASE
from tests.chain.qbft.authority_world import SIGNERS
from wallet.client import NodeUnreachable, RpcClient, RpcError
from wallet.light.client import LightClient
from wallet.light.follower import Follower, Listener
from wallet.light.source import NodeSource, SealedHeader, Source
from wallet.light.store import LightStore
from wallet.light.trust import Trust

T = TypeVar("T")
Tamper = Callable[[list[Any], Any], Any]
"""(parameters, honest result) -> what is answered; it may raise instead."""


class LedgerBackend:
    """As much of gateway.backend.Backend as reading takes."""

    def __init__(self, ledger: Ledger, clock: ManualClock) -> None:
        self.clock = clock
        self._ledger = ledger

    async def read(self, function: Callable[[ChainView], T]) -> T:
        with self._ledger.view() as view:
            return function(view)

    def on_pending(self, listener: Callable[[Sequence[object]], None]) -> Callable[[], None]:
        return lambda: None


class LightNode:
    """A node over a ledger; fits what NodeSource needs of an RpcClient."""

    def __init__(self, ledger: Ledger, clock: ManualClock, url: str = "http://honest") -> None:
        self.url = url
        self.is_gone = False
        self.tamper: dict[str, Tamper] = {}
        self.asked: list[tuple[str, list[Any]]] = []
        self.backend = cast(Backend, LedgerBackend(ledger, clock))
        self._dispatcher: Dispatcher | None = None

    @property
    def source(self) -> Source:
        return NodeSource(cast(RpcClient, self))

    async def request(self, method: str, *parameters: object) -> object:
        if self.is_gone:
            raise NodeUnreachable(f"No node answers at {self.url}.")
        self.asked.append((method, list(parameters)))
        if self._dispatcher is None:
            self._dispatcher = Dispatcher(Context(self.backend))
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": parameters}).encode()
        answer = json.loads(await self._dispatcher.answer(body) or b"")
        if "error" in answer:
            raise RpcError(method, answer["error"]["code"], answer["error"]["message"])
        tamper = self.tamper.get(method)
        return answer["result"] if tamper is None else tamper(list(parameters), answer["result"])


class ScriptedSource:
    """A node that keeps just these headers, from the genesis block on."""

    def __init__(self, headers: Iterable[SealedHeader], name: str = "http://scripted") -> None:
        self.name = name
        self.chain = list(headers)
        self.asked: list[int] = []

    async def head_number(self) -> int:
        return len(self.chain) - 1

    async def headers(self, first: int, count: int) -> list[SealedHeader]:
        self.asked.append(first)
        return self.chain[first : first + count]

    async def receipts(self, block_hash: bytes) -> Any:
        return None

    async def account(self, address: bytes, slots: Sequence[int], block_hash: bytes) -> Any:
        raise NodeUnreachable("it hands out headers only")


class Home:
    """A light client's computer: its file, its clock, and the nodes it asks."""

    opened: ClassVar[list[LightStore]] = []
    """The files of all homes of a test, closed at its end (conftest.py)."""

    def __init__(self, folder: Path, genesis: Genesis, clock: ManualClock) -> None:
        self.folder = folder
        self.clock = clock
        self.trust = Trust(genesis, clock)
        self.store = LightStore.open(folder, self.trust)
        self.opened.append(self.store)

    def follower(self, on_headers: Listener | None = None) -> Follower:
        return Follower(self.trust, self.store, on_headers)

    def client(self, *nodes: LightNode | Source, on_headers: Listener | None = None) -> LightClient:
        sources = [node.source if isinstance(node, LightNode) else node for node in nodes]
        return LightClient(self.trust, self.store, self.follower(on_headers), sources)

    @property
    def head(self) -> Header:
        return self.store.record().head


def seal(
    header: Header,
    genesis_hash: bytes,
    signers: Iterable[KeySigner] = SIGNERS[:3],
    round_: int = 0,
    overrides: Sequence[ValidatorOverride] = (),
) -> bytes:
    """The certificate that these signers' seals make of a header."""
    named = tuple([(one.block_number, one.validators) for one in overrides])
    authenticator = Authenticator(Domain(CHAIN_ID, genesis_hash, named))
    commit = Commit(header.number, round_, header.hash)
    seals = {signer.address: authenticator.signed(commit, signer).signature for signer in signers}
    return CommitCertificate.of(round_, seals).encode()


def child(parent: Header, **changes: Any) -> Header:
    """A qbft header that follows, of an empty block."""
    fields: dict[str, Any] = {
        "parent_hash": parent.hash,
        "number": parent.number + 1,
        "timestamp_s": parent.timestamp_s + 2,
        "mix_hash": MIX_HASH,
        "coinbase": SIGNERS[0].address,
        "receipts_root": EMPTY_TRIE_ROOT,
        "logs_bloom": EMPTY_BLOOM,
        "gas_used": 0,
    }
    return replace(parent, **{**fields, **changes}, _hash=None)


def sealed_chain(genesis: Header, count: int, every: int = 1) -> list[SealedHeader]:
    """The genesis header and so many after it; those at multiples of `every`, and the last, carry real seals."""
    chain = [SealedHeader(genesis)]
    for number in range(1, count + 1):
        header = child(chain[-1].header)
        is_sealed = number % every == 0 or number == count
        chain.append(SealedHeader(header, seal(header, genesis.hash) if is_sealed else b""))
    return chain


def mined_chain(
    chain: Sequence[SealedHeader], count: int, config: ChainConfig, spacing_s: int = 15, coinbase: bytes = COINBASE
) -> list[SealedHeader]:
    """The chain and so many headers on top of it, with real work of the difficulty that the rules ask for."""
    grown = list(chain)
    for _ in range(count):
        parent = grown[-1].header
        anchor = anchor_number(parent.number)
        draft = replace(
            parent,
            parent_hash=parent.hash,
            number=parent.number + 1,
            timestamp_s=parent.timestamp_s + spacing_s,
            coinbase=coinbase,
            base_fee_per_gas=expected_base_fee(parent, config),
            difficulty=next_difficulty(config, parent, None if anchor is None else grown[anchor].header),
            _hash=None,
        )
        grown.append(SealedHeader(seal_here(draft)))
    return grown


def as_json(sealed: SealedHeader) -> dict[str, str]:
    """As wattchain_getHeaders writes it."""
    return {"header": to_data(sealed.header.encode()), "certificate": to_data(sealed.certificate)}


def run(coroutine: Any) -> Any:
    return asyncio.run(coroutine)
