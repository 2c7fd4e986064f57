"""Headers checked one after another, without bodies and without execution: what synchronisation and light clients need.

Every rule that a header and its certificate can be measured by is applied, the importer's own. Who the validators are
follows from the blocks: a header whose bloom may hold the contract's ValidatorsChanged is followed by its receipts,
which its receipts root proves, before the next header can be checked. Nothing here reads a disk.
"""

from collections.abc import Sequence

from chain.config import ChainConfig
from chain.consensus.difficulty import anchor_number
from chain.consensus.engine import Engine
from chain.consensus.qbft.validator_contract import InvalidValidators, changed_validators, may_change_validators
from chain.consensus.qbft.validators import ValidatorSet
from chain.header import Header
from chain.header_rules import check_clock, check_header
from chain.importer import receipts_root
from chain.receipt import Receipt
from primitives.clock import Clock
from primitives.errors import InvalidBlock


class HeaderChain:
    """Grows from a block that is trusted already. For one thread at a time, any."""

    def __init__(
        self,
        config: ChainConfig,
        engine: Engine,
        clock: Clock,
        parent: Header,
        validators: ValidatorSet | None = None,
        anchor: Header | None = None,
    ) -> None:
        """`parent` is the trusted block; on a qbft chain `validators` are those of the block after it.

        `anchor`, for proof of work alone, is the block of parent's branch that anchor_number names.
        """
        self._config = config
        self._engine = engine
        self._clock = clock
        self._head = parent
        self._validators = validators
        self._anchor = anchor
        self._needs_receipts = False

    @property
    def head(self) -> Header:
        """The last header that was checked."""
        return self._head

    @property
    def validators(self) -> ValidatorSet | None:
        """Of the block after the head, as far as its receipts are known.

        None with proof of work, and where the contract announced a list that cannot be used: no block follows then.
        """
        return self._config.override_at(self._head.number + 1) or self._validators

    @property
    def needs_receipts(self) -> Header | None:
        """The head, where it may have changed the validators: supply_receipts has to come before the next header."""
        return self._head if self._needs_receipts else None

    def add(self, header: Header, certificate: bytes = b"") -> None:
        """Make this the head. Raises InvalidBlock, or with proof of work BlockFromFuture, and changes nothing."""
        if self._needs_receipts:
            raise RuntimeError(f"the receipts of block {self._head.number} are needed first")
        check_header(header, self._head, self._anchor, self._config, self._engine)
        validators = self.validators
        self._engine.check_builder(header, validators)
        self._engine.check_certificate(header, certificate, validators)
        if not self._engine.is_final:
            check_clock(header, self._clock.time_s())
        self._head, self._validators = header, validators
        if anchor_number(header.number) == header.number:
            self._anchor = header
        self._needs_receipts = validators is not None and may_change_validators(
            header.logs_bloom, self._config.validator_contract
        )

    def supply_receipts(self, receipts: Sequence[Receipt]) -> None:
        """The receipts of the head. Raises InvalidBlock where they are others, and changes nothing."""
        if receipts_root(receipts) != self._head.receipts_root:
            raise InvalidBlock(f"these are not the receipts of block {self._head.number}")
        self._needs_receipts = False
        try:
            changed = changed_validators(receipts, self._config.validator_contract)
        except InvalidValidators:
            self._validators = None
        else:
            self._validators = changed or self._validators
