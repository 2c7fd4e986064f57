"""Headers that follow a block which is believed: checked one by one, kept until they are stored.

On a qbft chain not every certificate has to be checked. Each header's hash stands in the next one, so a quorum that
sealed a block sealed all blocks below it, as far as the same validators are asked. So the certificate of the last
header given is checked, and that of each header whose bloom may announce other validators, before its receipts are
looked at: whoever wants to bring in a header, or a change of validators, needs the seals of a quorum that the change
itself did not name. An honest validator seals nothing that does not stand on the final block below, so seals on a later
header prove as much as seals on each; docs/light-client.md has the argument in full.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from chain.config import ChainConfig
from chain.consensus.engine import Engine
from chain.consensus.qbft.validator_contract import may_change_validators
from chain.consensus.qbft.validators import ValidatorSet
from chain.header import Header
from chain.header_chain import HeaderChain
from chain.receipt import Receipt
from primitives.clock import Clock
from wallet.light.source import SealedHeader

KEPT_HEADERS = 512
"""How many are kept below the newest, 0.4 MB: forks of 255 blocks are found among them, and the block that `asert`
measures from is at most 255 below a fork."""


@dataclass(frozen=True, slots=True)
class Proved:
    """How far a chain is proved: its newest header, and what is needed to go on from there."""

    head: SealedHeader
    total_difficulty: int
    validators: ValidatorSet | None
    """Of the next block; None with proof of work, and where the ledger names none that can be used."""
    sealed_by: ValidatorSet | None
    """Whose seals stand in the head's certificate; None with proof of work and for the genesis block."""


class Branch:
    """Grows from a block that is believed. Not thread-safe."""

    def __init__(
        self, config: ChainConfig, engine: Engine, clock: Clock, start: Proved, anchor: Header | None = None
    ) -> None:
        """`anchor`: as chain.header_chain.HeaderChain wants it."""
        self._config = config
        self._engine = engine
        self._chain = HeaderChain(config, _SealsApart(engine), clock, start.head.header, start.validators, anchor)
        self._waiting: list[SealedHeader] = []
        """Linked to what is proved, and not proved yet themselves."""
        self._sealed_by = start.sealed_by
        self.proved = start
        self.fork_number = start.head.header.number
        """Of the block below `unstored`; headers above it that are stored belong to another branch."""
        self.unstored: deque[SealedHeader] = deque(maxlen=KEPT_HEADERS)
        """Proved headers since the start, or since `stored` was called; the newest only where there are more."""

    @property
    def head(self) -> Header:
        """The last header added."""
        return self._chain.head

    @property
    def needs_receipts(self) -> Header | None:
        """The head, where only its receipts tell who the validators are now."""
        return self._chain.needs_receipts

    def add(self, sealed: SealedHeader, *, is_last: bool) -> None:
        """One more header; the last one proves all that were added before it. Raises InvalidBlock.

        After an error the branch has come to its end: what `proved` and `unstored` hold is true, the rest is not used.
        """
        header, validators = sealed.header, self._chain.validators
        self._chain.add(header)
        self._waiting.append(sealed)
        if is_last or not self._engine.is_final or self._validators_may_change(header):
            self._engine.check_certificate(header, sealed.certificate, validators)
            self._sealed_by = validators
            if self.needs_receipts is None:
                self._prove()

    def supply_receipts(self, receipts: Sequence[Receipt]) -> None:
        """Those of the head. Raises InvalidBlock."""
        self._chain.supply_receipts(receipts)
        self._prove()

    def stored(self) -> None:
        """What was proved is safe elsewhere."""
        self.unstored.clear()
        self.fork_number = self.proved.head.header.number

    def _validators_may_change(self, header: Header) -> bool:
        """By an event, or by an override for the next block: each set of validators vouches for its own headers."""
        return self._config.override_at(header.number + 1) is not None or may_change_validators(
            header.logs_bloom, self._config.validator_contract
        )

    def _prove(self) -> None:
        """All that waits is proved by the seals of its last header."""
        total_difficulty = self.proved.total_difficulty + sum([one.header.difficulty for one in self._waiting])
        self.proved = Proved(self._waiting[-1], total_difficulty, self._chain.validators, self._sealed_by)
        self.unstored.extend(self._waiting)
        self._waiting.clear()


class _SealsApart:
    """The chain's engine without certificates, which the branch checks where they are due."""

    def __init__(self, engine: Engine) -> None:
        self.is_final = engine.is_final
        self.period_s = engine.period_s
        self.mix_hash = engine.mix_hash
        self.next_difficulty = engine.next_difficulty
        self.check_header = engine.check_header
        self.validators_of = engine.validators_of
        self.check_builder = engine.check_builder

    def check_certificate(self, header: Header, certificate: bytes, validators: ValidatorSet | None) -> None:
        """Not here."""
