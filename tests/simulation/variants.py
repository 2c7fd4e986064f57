"""Protocols with a part missing, to see that the simulation notices. Only what the ledger sees is watched in them."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from unittest.mock import patch

from chain.consensus.qbft.machine import QbftMachine


@dataclass(frozen=True, slots=True)
class Variant:
    """What is taken away from all nodes."""

    name: str = "whole"
    keeps_votes: bool = True
    """The file of votes outlives a power cut."""
    names_prepared: bool = True
    """A round change names the block that its sender saw prepared."""
    watches_votes: bool = True
    """Contradictions of one validator count as violations, not only forks."""

    @contextmanager
    def applied(self) -> Iterator[None]:
        if self.names_prepared:
            yield
            return
        with patch.object(QbftMachine, "_locked", lambda machine, state: None):
            yield


WHOLE = Variant()
VOLATILE_VOTES = Variant("volatile-votes", keeps_votes=False, watches_votes=False)
NO_LOCK = Variant("no-lock", names_prepared=False, watches_votes=False)

VARIANTS = {variant.name: variant for variant in (WHOLE, VOLATILE_VOTES, NO_LOCK)}
