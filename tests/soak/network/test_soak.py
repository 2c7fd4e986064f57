"""What a soak wants on the disks: one chain, every accepted transfer once, what proves each block."""

from dataclasses import replace

import pytest

from benchmarks.network.final_chain import StoredChain
from chain.config import POW, QBFT
from tests.chain.ledger_world import world_genesis
from tests.functional.running_node import ProcessFailed
from tests.soak.network.soak import check_chains

GENESIS = world_genesis().header(b"\x01" * 32)
HEADERS = tuple(replace(GENESIS, number=number) for number in range(3))
ACCEPTED = [bytes([number]) * 32 for number in range(3)]
CHAIN = StoredChain(HEADERS, tuple((one, 1) for one in ACCEPTED), 2, 0, HEADERS[-1].state_root)
WITHOUT_BODIES = replace(CHAIN, transactions=(), missing_bodies=2)


def test_what_is_as_it_should_be() -> None:
    check_chains([CHAIN, CHAIN, WITHOUT_BODIES], ACCEPTED, QBFT)
    check_chains([replace(CHAIN, certificates=0)] * 2, ACCEPTED, POW)


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (replace(CHAIN, headers=HEADERS[:2]), "node 1 has another chain"),
        (replace(CHAIN, state_root=bytes(32)), "node 1 has another state"),
        (replace(CHAIN, certificates=1), "node 1 has 1 certificates of 2"),
        (replace(CHAIN, transactions=CHAIN.transactions[1:]), "node 1: 1 accepted transfers are in no block"),
        (replace(CHAIN, transactions=(*CHAIN.transactions, (ACCEPTED[0], 2))), "1 are there twice"),
    ],
)
def test_what_is_not_is_told(other: StoredChain, words: str) -> None:
    with pytest.raises(ProcessFailed, match=words):
        check_chains([CHAIN, other], ACCEPTED, QBFT)


def test_somebody_must_have_executed_everything() -> None:
    with pytest.raises(ProcessFailed, match="no node has executed"):
        check_chains([WITHOUT_BODIES], ACCEPTED, QBFT)
