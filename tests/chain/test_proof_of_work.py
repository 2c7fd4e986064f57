"""The seal of a proof-of-work header, and the engine that checks it."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain.config import ChainConfig
from chain.consensus import nonce_search
from chain.consensus.difficulty import MAX_TARGET
from chain.consensus.engine import engine_for
from chain.consensus.nonce_search import NONCES_A_RUN, search_nonce
from chain.consensus.proof_of_work import check_seal, pow_value, seal_here, sealed
from chain.header import EMPTY_OMMERS_HASH, Header
from primitives.errors import InvalidBlock
from primitives.keccak import keccak256

_ZEROS = bytes(32)
_DIFFICULTY = 500


def _header(difficulty: int = _DIFFICULTY, number: int = 1, timestamp_s: int = 1_000) -> Header:
    return Header(
        _ZEROS, EMPTY_OMMERS_HASH, bytes(20), _ZEROS, _ZEROS, _ZEROS, bytes(256), difficulty, number, 8_000_000, 0,
        timestamp_s, b"", _ZEROS, bytes(8), 0,
    )  # fmt: skip


_SEALED = seal_here(_header())


def test_the_seal_is_keccak_of_seal_hash_and_nonce_and_reaches_the_difficulty() -> None:
    assert _SEALED.mix_hash == keccak256(_SEALED.seal_hash + _SEALED.nonce)
    assert int.from_bytes(_SEALED.mix_hash, "big") * _DIFFICULTY <= MAX_TARGET
    assert _SEALED.seal_hash == _header().seal_hash
    check_seal(_SEALED)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"nonce": b"\xff" * 8}, "the seal's mix hash is"),
        ({"mix_hash": bytes(31) + b"\x01"}, "the seal's mix hash is"),
        ({"mix_hash": b"\xff" * 32}, "does not reach the difficulty 500"),
        ({"timestamp_s": 1_001}, "the seal's mix hash is"),
        ({"coinbase": b"\x01" * 20}, "the seal's mix hash is"),
        ({"difficulty": 0}, "the block's difficulty is 0"),
        ({"difficulty": 2**255}, "does not reach the difficulty"),
    ],
)
def test_a_changed_header_is_not_sealed(change: dict[str, object], reason: str) -> None:
    with pytest.raises(InvalidBlock, match=reason):
        check_seal(replace(_SEALED, _hash=None, **change))


def test_a_nonce_without_enough_work_is_refused() -> None:
    header = _header(difficulty=2**200)
    with pytest.raises(InvalidBlock, match="does not reach the difficulty"):
        sealed(header, bytes(8))


def test_the_bound_is_inclusive() -> None:
    header = _header(difficulty=1)
    header = header.with_seal(pow_value(header.seal_hash, bytes(8)), bytes(8))
    check_seal(header)  # With difficulty 1 every value passes, 2**256 - 1 included.


def test_engine_checks_difficulty_and_seal() -> None:
    engine = engine_for(ChainConfig(1), bytes(32))
    parent = _header(number=0, timestamp_s=0)
    assert engine.next_difficulty(parent, 1_000, None) == _DIFFICULTY
    engine.check_header(_SEALED, parent, None)
    with pytest.raises(InvalidBlock, match="the block's difficulty is 500; it must be 501"):
        engine.check_header(_SEALED, _header(difficulty=501, number=0, timestamp_s=0), None)
    with pytest.raises(InvalidBlock, match="the seal"):
        engine.check_header(replace(_SEALED, nonce=bytes(8), _hash=None), parent, None)


def test_no_engine_for_an_unknown_consensus() -> None:
    with pytest.raises(ValueError, match="'luck'"):
        engine_for(ChainConfig(1, consensus="luck"), bytes(32))


@given(st.binary(min_size=39, max_size=39), st.integers(2**246, 2**256 - 1))
def test_both_ways_to_search_a_run_find_the_same(prefix: bytes, target: int) -> None:
    bound = target.to_bytes(32, "big")
    found = nonce_search._search_run_by_hashing(prefix, bound)
    assert nonce_search._search_run(prefix, bound) == found
    values = [keccak256(prefix + bytes((last,))) for last in range(NONCES_A_RUN)]
    assert found == next((bytes((last,)) for last, value in enumerate(values) if value <= bound), None)


def test_search_tries_every_nonce_once_and_wraps_around_the_end() -> None:
    seal_hash = keccak256(b"header")
    start = 2**64 - NONCES_A_RUN
    tried = [(start + offset) % 2**64 for offset in range(4 * NONCES_A_RUN)]
    values = {keccak256(seal_hash + n.to_bytes(8, "big")): n for n in tried}
    best = min(values)
    found = search_nonce(seal_hash, best, start + 5, runs=4)
    assert found == values[best].to_bytes(8, "big")
    below_best = (int.from_bytes(best, "big") - 1).to_bytes(32, "big")
    assert search_nonce(seal_hash, below_best, start, runs=4) is None
