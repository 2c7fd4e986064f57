"""The difficulty rules: published vectors of aserti3-2d, its properties, and the claim of the house plan, simulated."""

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain.config import ASERT, FIXED, ChainConfig
from chain.consensus.difficulty import (
    ANCHOR_INTERVAL_BLOCKS,
    MAX_TARGET,
    anchor_number,
    asert_target,
    difficulty_to_target,
    next_difficulty,
    target_to_difficulty,
)
from chain.header import EMPTY_OMMERS_HASH, Header

# Bitcoin Cash: ten-minute blocks, a half-life of two days, a largest target of 224 bits.
_BLOCK_TIME_S = 600
_HALF_LIFE_S = 172_800
_LARGEST_TARGET = 2**224 - 1

# (anchor height, time of the anchor's parent, anchor bits, [(height, time, bits of the next block)]): lines of the test
# vectors that the specification's authors published as run01, run04, run05, run07 and run10.
_PUBLISHED = {
    "steady": (1, 0, 0x1D00FFFF, [(2, 1200, 0x1D00FFFF), (7, 4200, 0x1D00FFFF), (11, 6600, 0x1D00FFFF)]),
    "doubling from the smallest target": (
        1,
        0,
        0x01010000,
        [
            (2, 174000, 0x01020000),
            (8, 1214400, 0x02008000),
            (120, 20635200, 0x10008000),
            (223, 38495400, 0x1C400000),
            (224, 38668800, 0x1D008000),
            (225, 38842200, 0x1D00FFFF),
            (226, 39015600, 0x1D00FFFF),
        ],
    ),
    "halving without time passing": (
        1,
        0,
        0x1D00FFFF,
        [
            (2, 0, 0x1D00FEC5),
            (290, 0, 0x1C7F62C0),
            (2306, 0, 0x1C00FEC5),
            (30242, 0, 0x0F7F62C0),
            (62210, 0, 0x0200FE00),
            (62498, 0, 0x017F0000),
            (63938, 0, 0x01030000),
            (64226, 0, 0x01010000),
            (64514, 0, 0x01010000),
        ],
    ),
    "rising hash power": (
        1,
        0,
        0x1802AEE8,
        [
            (2, 1200, 0x1802AEE8),
            (3, 1310, 0x1802AD91),
            (4, 1327, 0x1802ABF8),
            (9, 7099, 0x1802B39C),
            (23, 12849, 0x1802AC4D),
            (101, 20372, 0x18024899),
            (200, 24330, 0x1801D3F3),
            (333, 27493, 0x18015822),
            (459, 29064, 0x1800FFB4),
            (561, 30388, 0x1800C921),
            (638, 31020, 0x1800A788),
        ],
    ),
    "beyond 63 bits of height and 31 of time": (
        9223372036854775802,
        2147483047,
        0x1802AEE8,
        [
            (9223372036854775803, 2147484547, 0x1802AFBB),
            (9223372036854775808, 2147489047, 0x1802B3E5),
            (9223372036854775812, 2147492647, 0x1802B73D),
        ],
    ),
}


@pytest.mark.parametrize("name", _PUBLISHED)
def test_published_vectors(name: str) -> None:
    anchor_height, parent_time_s, anchor_bits, rows = _PUBLISHED[name]
    for height, time_s, bits in rows:
        target = asert_target(
            _target_of(anchor_bits),
            time_s - parent_time_s,
            height - anchor_height + 1,
            _BLOCK_TIME_S,
            _HALF_LIFE_S,
            _LARGEST_TARGET,
        )
        assert hex(_bits_of(target)) == hex(bits), (height, time_s)


@given(st.integers(1, 2**128 - 1))
def test_difficulty_survives_the_way_to_a_target_and_back(difficulty: int) -> None:
    assert target_to_difficulty(difficulty_to_target(difficulty)) == difficulty


@given(st.integers(1, MAX_TARGET), st.integers(-(2**70), 2**70), st.integers(0, 2**70))
def test_any_times_and_heights_give_a_target_within_bounds(target: int, elapsed_s: int, blocks: int) -> None:
    assert 1 <= asert_target(target, elapsed_s, blocks, 15, 300) <= MAX_TARGET


@given(st.integers(2**100, 2**200), st.integers(0, 10**5), st.integers(0, 5_000))
def test_target_is_within_a_thousandth_of_the_exact_power(target: int, elapsed_s: int, blocks: int) -> None:
    exponent = (elapsed_s - 15 * blocks) / 300
    if abs(exponent) > 50:
        return
    found = asert_target(target, elapsed_s, blocks, 15, 300)
    assert abs(found / target / 2**exponent - 1) < 0.001


@given(st.integers(1, 2**80), st.integers(1, 10_000), st.integers(0, 10_000), st.integers(1, 300))
def test_slower_blocks_never_raise_the_difficulty(difficulty: int, number: int, elapsed_s: int, more_s: int) -> None:
    anchor = _header(1, 1_000, difficulty)
    parent = _header(number, 1_000 + elapsed_s, difficulty)
    slower = replace(parent, timestamp_s=parent.timestamp_s + more_s)
    assert next_difficulty(_ASERT, slower, anchor) <= next_difficulty(_ASERT, parent, anchor)


def test_the_first_two_blocks_have_the_genesis_difficulty_however_old_genesis_is() -> None:
    genesis = _header(0, 0, 1_000)
    assert next_difficulty(_ASERT, genesis, None) == 1_000
    anchor = _header(1, 1_700_000_000, 1_000)
    assert next_difficulty(_ASERT, anchor, anchor) == 1_000


def test_one_half_life_ahead_or_behind_schedule_doubles_or_halves() -> None:
    anchor = _header(1, 1_000, 1_000_000)
    assert next_difficulty(_ASERT, _header(21, 1_000, 1), anchor) == 2_000_000
    assert next_difficulty(_ASERT, _header(1, 1_300, 1), anchor) == 500_000


def test_fixed_difficulty_never_moves() -> None:
    config = ChainConfig(1, difficulty_rule=FIXED)
    assert next_difficulty(config, _header(5, 10**9, 777), _header(1, 0, 777)) == 777


def test_asert_follows_eightfold_hash_power_and_back_within_1400_s() -> None:
    """Peers come and go, 1 -> 8 -> 1: 1,400 s after each step the difficulty is within 25 % of the right one.

    The time of a block is drawn from the exponential distribution that a search without memory has, with a fixed seed;
    the difficulty is averaged over 40 blocks, and the median of 25 runs is taken, since single runs scatter.
    """
    ups, downs = [], []
    for seed in range(25):
        up, down = _simulate(seed)
        ups.append(up)
        downs.append(down)
    for found, right in ((sorted(ups)[12], 8), (sorted(downs)[12], 1)):
        assert right * 0.75 <= found <= right * 1.25, (found, right)


_ASERT = ChainConfig(1, difficulty_rule=ASERT, block_time_s=15)


class _Mining:
    """A chain of headers whose blocks are found by so many peers, each with the same hash rate."""

    def __init__(self, seed: int, hash_rate: int = 10_000) -> None:
        self.right = hash_rate * 15
        self.time_s = 1_000.0
        self._hash_rate = hash_rate
        self._generator = random.Random(seed)
        self._headers = [_header(0, 0, self.right), _header(1, 1_000, self.right)]

    def block(self, peers: int) -> float:
        """Mine one; its difficulty in units of the right one for one peer."""
        parent = self._headers[-1]
        number = anchor_number(parent.number)
        assert number is not None
        difficulty = next_difficulty(_ASERT, parent, self._headers[number])
        found_s = self.time_s + self._generator.expovariate(peers * self._hash_rate / difficulty)
        # Times strictly rise, and no block runs ahead of the clock.
        self.time_s = max(found_s, parent.timestamp_s + 1)
        self._headers.append(_header(parent.number + 1, int(self.time_s), difficulty))
        return difficulty / self.right


def _simulate(seed: int) -> tuple[float, float]:
    """The mean difficulty, in units of the right one for one peer, from 1,400 s after each of the two steps."""
    mining = _Mining(seed)
    means = []
    for peers, blocks in ((1, 200), (8, 400), (1, 400)):
        began_s, seen = mining.time_s, []
        for _ in range(blocks):
            difficulty = mining.block(peers)
            if mining.time_s - began_s > 1_400:
                seen.append(difficulty)
        means.append(sum(seen[:40]) / 40)
    return means[1], means[2]


@pytest.mark.parametrize("seed", range(5))
def test_work_is_cheap_for_a_bounded_number_of_blocks_after_a_week_off(seed: int) -> None:
    mining = _Mining(seed)
    for _ in range(300 + 50 * seed):
        mining.block(1)
    mining.time_s += 7 * 86_400
    began_s, cheap = mining.time_s, 0
    recent = [0.0] * 20
    while sum(recent) / 20 < 0.75:
        recent = [*recent[1:], mining.block(1)]
        cheap += 1
    doublings = mining.right.bit_length()
    assert cheap <= ANCHOR_INTERVAL_BLOCKS + 22 * doublings + 40
    assert mining.time_s - began_s <= 3_600


def _header(number: int, timestamp_s: int, difficulty: int) -> Header:
    zeros = bytes(32)
    return Header(
        zeros, EMPTY_OMMERS_HASH, bytes(20), zeros, zeros, zeros, bytes(256), difficulty, number, 8_000_000, 0,
        timestamp_s, b"", zeros, bytes(8), 0,
    )  # fmt: skip


def _target_of(bits: int) -> int:
    """Bitcoin's compact form of a target."""
    size, word = bits >> 24, bits & 0x7FFFFF
    return word >> 8 * (3 - size) if size <= 3 else word << 8 * (size - 3)


def _bits_of(target: int) -> int:
    size = (target.bit_length() + 7) // 8
    word = target << 8 * (3 - size) if size <= 3 else target >> 8 * (size - 3)
    if word & 0x800000:
        word >>= 8
        size += 1
    return size << 24 | word
