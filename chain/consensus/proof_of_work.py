"""Proof of work by keccak-256: the engine of chains whose genesis says `pow`.

The proof-of-work value of a header is keccak256(seal hash || nonce), 40 bytes hashed once. It stands in the header's
mix_hash, so that a seal is refused or looked at without hashing twice, and value * difficulty must not exceed
2**256 - 1. This is neither Ethash nor Bitcoin's double hash; no other chain's work can be reused here.
"""

from chain.account import StateReader
from chain.config import ChainConfig
from chain.consensus import difficulty
from chain.consensus.nonce_search import NONCES_A_RUN, search_nonce
from chain.consensus.qbft.validators import ValidatorSet
from chain.header import Header
from primitives.errors import InvalidBlock
from primitives.keccak import keccak256

_RUNS_A_SEARCH = 16


class ProofOfWork:
    """The engine (chain.consensus.engine.Engine) of a proof-of-work chain."""

    is_final = False
    period_s = 1
    mix_hash = bytes(32)

    def __init__(self, config: ChainConfig) -> None:
        self._config = config

    def next_difficulty(self, parent: Header, timestamp_s: int, anchor: Header | None) -> int:
        """The difficulty that a block on this parent must have; its own time does not matter."""
        return difficulty.next_difficulty(self._config, parent, anchor)

    def check_header(self, header: Header, parent: Header, anchor: Header | None) -> None:
        """Raises InvalidBlock where difficulty or seal are wrong."""
        expected = self.next_difficulty(parent, header.timestamp_s, anchor)
        if header.difficulty != expected:
            raise InvalidBlock(f"the block's difficulty is {header.difficulty}; it must be {expected}")
        check_seal(header)

    def validators_of(self, number: int, parent_state: StateReader) -> ValidatorSet | None:
        """Nobody votes."""
        return None

    def check_builder(self, header: Header, validators: ValidatorSet | None) -> None:
        """Whoever has done the work may build."""

    def check_certificate(self, header: Header, certificate: bytes, validators: ValidatorSet | None) -> None:
        """Raises InvalidBlock where there is one: the seal in the header is all the proof."""
        if certificate:
            raise InvalidBlock(f"block {header.number} comes with a certificate; proof of work knows none")


def pow_value(seal_hash: bytes, nonce: bytes) -> bytes:
    """The 32 bytes that a nonce (8 bytes) makes of a header's seal hash."""
    return keccak256(seal_hash + nonce)


def check_seal(header: Header) -> None:
    """Raises InvalidBlock where the header's nonce does not prove the work of its difficulty."""
    if header.difficulty < difficulty.MIN_DIFFICULTY:
        raise InvalidBlock(f"the block's difficulty is {header.difficulty}; it must be at least 1")
    # The cheap test first: a flood of headers without work costs no hashing.
    if int.from_bytes(header.mix_hash, "big") * header.difficulty > difficulty.MAX_TARGET:
        raise InvalidBlock(
            f"the seal does not reach the difficulty {header.difficulty}: its value is 0x{header.mix_hash.hex()}"
        )
    value = pow_value(header.seal_hash, header.nonce)
    if value != header.mix_hash:
        raise InvalidBlock(f"the seal's mix hash is 0x{header.mix_hash.hex()}; the nonce gives 0x{value.hex()}")


def sealed(header: Header, nonce: bytes) -> Header:
    """The header with this nonce and the mix hash that follows. Raises InvalidBlock where the work is not enough."""
    candidate = header.with_seal(pow_value(header.seal_hash, nonce), nonce)
    check_seal(candidate)
    return candidate


def seal_here(header: Header, start: int = 0) -> Header:
    """The header sealed by a search in this very thread, however long it takes: for tools and tiny difficulties.

    A node mines by chain/miner.py instead.
    """
    target = difficulty.difficulty_to_target(header.difficulty).to_bytes(32, "big")
    seal_hash = header.seal_hash
    while True:
        nonce = search_nonce(seal_hash, target, start, _RUNS_A_SEARCH)
        if nonce is not None:
            return sealed(header, nonce)
        start += _RUNS_A_SEARCH * NONCES_A_RUN
