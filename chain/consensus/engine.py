"""What every kind of consensus answers about a block's header, seal and proof; importer and builder know no more of it.

`anchor` is the block of the branch that difficulty is measured from (difficulty.anchor_number), or None while the
parent is the genesis block: a genesis time may lie years back, so nothing is measured from it.
"""

from typing import Protocol

from chain.account import StateReader
from chain.config import POW, QBFT, ChainConfig
from chain.consensus.proof_of_work import ProofOfWork
from chain.consensus.qbft.engine import ProofOfAuthority
from chain.consensus.qbft.signing import Recover, recover_signer
from chain.consensus.qbft.validators import ValidatorSet
from chain.header import Header


class Engine(Protocol):
    """One chain's rules of difficulty, seal and proof."""

    @property
    def is_final(self) -> bool:
        """Whether a block is final as soon as it may be imported, so that there are no branches."""

    @property
    def period_s(self) -> int:
        """How much later than its parent's a block's time must be at least."""

    @property
    def mix_hash(self) -> bytes:
        """What stands in that field of a block when it is built; proof of work replaces it."""

    def next_difficulty(self, parent: Header, timestamp_s: int, anchor: Header | None) -> int:
        """The difficulty that a block of that time on this parent must have."""

    def check_header(self, header: Header, parent: Header, anchor: Header | None) -> None:
        """Raises InvalidBlock where difficulty or seal are wrong; everything else is checked elsewhere."""

    def validators_of(self, number: int, parent_state: StateReader) -> ValidatorSet | None:
        """Who may vote on that block, given the state after the one before it; None where nobody votes.

        Raises InvalidBlock where the state should tell, but does not.
        """

    def check_builder(self, header: Header, validators: ValidatorSet | None) -> None:
        """Raises InvalidBlock where the block's builder may not build."""

    def check_certificate(self, header: Header, certificate: bytes, validators: ValidatorSet | None) -> None:
        """Raises InvalidBlock where what came beside the header does not prove what it must."""


def engine_for(config: ChainConfig, genesis_hash: bytes, recover: Recover = recover_signer) -> Engine:
    """The engine that the chain's rules ask for. `recover` may remember what it found (qbft alone needs it)."""
    if config.consensus == POW:
        return ProofOfWork(config)
    if config.consensus == QBFT:
        return ProofOfAuthority(config, genesis_hash, recover)
    raise ValueError(f"no engine for the consensus {config.consensus!r}")
