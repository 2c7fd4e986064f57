"""Difficulty rules of proof of work, all in integers.

A block of difficulty d is sealed where its proof-of-work value v holds v * d <= 2**256 - 1, so that on average d hashes
are needed. The largest value that seals is the target, (2**256 - 1) // d; back again, d = (2**256 - 1) // target, which
gives the same d for every d below 2**128.

`asert` is aserti3-2d, the rule of Bitcoin Cash since 2020 (upgrade specification "2020-11-15 ASERT"), with the time of
the anchor itself as its reference: the block after the anchor has the anchor's difficulty, and each block after it
    target = anchor's target * 2 ** ((parent time - anchor time - block time * (parent number - anchor number))
                                     / half-life)
with the published cubic approximation of 2 ** x. The anchor moves on every ANCHOR_INTERVAL_BLOCKS: with block 1 as the
anchor for ever, a network that was off for a week owes its schedule 40,000 blocks, and makes them up one a second with
hardly any work.
"""

from chain.config import FIXED, ChainConfig
from chain.header import Header

MAX_TARGET = 2**256 - 1
MAX_DIFFICULTY = MAX_TARGET
MIN_DIFFICULTY = 1

HALF_LIFE_BLOCKS = 20
"""The house plan's choice: with 15 s blocks the difficulty follows eightfold hash power within about 1,400 s."""

ANCHOR_INTERVAL_BLOCKS = 256
"""About an hour of 15 s blocks: after any time off, work is cheap for at most this many blocks and as many more as the
difficulty needs to double its way up again (21 each)."""

_RADIX_BITS = 16
_RADIX = 1 << _RADIX_BITS
_TARGET_BITS = 256


def anchor_number(parent_number: int) -> int | None:
    """The number of the block that difficulty is measured from, on a parent of this number; None on top of genesis."""
    if parent_number == 0:
        return None
    return 1 + (parent_number - 1) // ANCHOR_INTERVAL_BLOCKS * ANCHOR_INTERVAL_BLOCKS


def next_difficulty(config: ChainConfig, parent: Header, anchor: Header | None) -> int:
    """The difficulty of a block on this parent. `anchor` is the branch's block anchor_number(parent.number)."""
    if config.difficulty_rule == FIXED or anchor is None:
        return parent.difficulty
    half_life_s = HALF_LIFE_BLOCKS * config.block_time_s
    target = asert_target(
        difficulty_to_target(anchor.difficulty),
        parent.timestamp_s - anchor.timestamp_s,
        parent.number - anchor.number,
        config.block_time_s,
        half_life_s,
    )
    return target_to_difficulty(target)


def asert_target(
    anchor_target: int,
    elapsed_s: int,
    elapsed_blocks: int,
    block_time_s: int,
    half_life_s: int,
    max_target: int = MAX_TARGET,
) -> int:
    """The next target, from 1 to max_target, by aserti3-2d.

    The specification's height_delta + 1 is `elapsed_blocks` here; its time_delta is `elapsed_s`.
    """
    lead = (elapsed_s - block_time_s * elapsed_blocks) * _RADIX
    # The published algorithm divides as C does, towards zero.
    exponent = lead // half_life_s if lead >= 0 else -(-lead // half_life_s)
    shifts = exponent >> _RADIX_BITS
    if shifts > _TARGET_BITS:  # Times may be far apart; a number of so many bits must never be built.
        return max_target
    if shifts < -_TARGET_BITS:
        return 1
    fraction = exponent - (shifts << _RADIX_BITS)
    factor = _RADIX + (
        (195_766_423_245_049 * fraction + 971_821_376 * fraction**2 + 5_127 * fraction**3 + (1 << 47)) >> 48
    )
    shifts -= _RADIX_BITS
    target = anchor_target * factor
    target = target << shifts if shifts >= 0 else target >> -shifts
    return min(max(target, 1), max_target)


def difficulty_to_target(difficulty: int) -> int:
    """The largest proof-of-work value that seals a block of this difficulty."""
    return MAX_TARGET // difficulty


def target_to_difficulty(target: int) -> int:
    """The difficulty of a target, at least 1."""
    return max(MAX_TARGET // target, MIN_DIFFICULTY)
