"""Asks the ledger which readings it would take now, and sets aside those that it never will.

One bad reading in an outbox must not hold up the good ones, and none may be blamed for what is the ledger's fault.
"""

import logging
from collections.abc import Sequence

from contracts.reading_format import Outcome
from meter.ledger import MeterLedger
from meter.outbox import Outbox, Settlement
from meter.reading import SignedReading
from wallet.client import RpcError

logger = logging.getLogger(__name__)

# Waiting, or a registration by the supplier, cures these: the reading stays in the queue.
_CURABLE = {Outcome.TIME_IN_FUTURE, Outcome.UNKNOWN_METER, Outcome.INACTIVE_METER}


class ReadingJudge:
    """For one outbox."""

    def __init__(self, outbox: Outbox, ledger: MeterLedger, sender: bytes) -> None:
        self._outbox = outbox
        self._ledger = ledger
        self._sender = sender
        self._told_to_wait: tuple[int, Outcome] | None = None

    async def choose(self, waiting: Sequence[SignedReading]) -> list[SignedReading]:
        """The readings that the ledger would accept now, in order; sets aside those that it never will."""
        chosen: list[SignedReading] = []
        for one, outcome in zip(waiting, await self._judge(waiting), strict=True):
            sequence = one.reading.sequence
            if outcome is None:
                self.set_aside(sequence, "the contract reverts for this reading alone")
            elif outcome == Outcome.ACCEPTED:
                chosen.append(one)
            elif outcome in _CURABLE:
                if self._told_to_wait != (sequence, outcome):
                    self._told_to_wait = (sequence, outcome)
                    logger.warning("reading %d has to wait: %s", sequence, _words(outcome))
                break  # nothing behind it may overtake it
            elif outcome != Outcome.STALE:  # a stale one was accepted meanwhile; it leaves when that is deep enough
                self.set_aside(sequence, f"the ledger refuses it: {_words(outcome)}")
        return chosen

    async def _judge(self, readings: Sequence[SignedReading]) -> list[Outcome | None]:
        """The ledger's opinion of each, None where the contract reverts; RpcError where it does for all."""
        try:
            return list(await self._ledger.outcomes(readings, self._sender))
        except RpcError:
            if len(readings) == 1:
                raise
        middle = len(readings) // 2
        judged: list[Outcome | None] = []
        refusal: RpcError | None = None
        for half in (readings[:middle], readings[middle:]):
            try:
                judged += await self._judge(half)
            except RpcError as error:
                # One that reverts is at fault only where another passes; otherwise the ledger itself is in trouble.
                judged += [None] * len(half)
                refusal = error
        if refusal is not None and all(outcome is None for outcome in judged):
            raise refusal
        return judged

    def set_aside(self, sequence: int, reason: str) -> None:
        """Keep it, but send it no more; say so."""
        self._outbox.quarantine(sequence, reason)
        logger.error(
            "READING %d IS SET ASIDE: %s. It stays in the outbox (`wattchain meter status`); tell your supplier. "
            "Registers are cumulative, so the next accepted reading carries its energy",
            sequence,
            reason,
        )


def tell_settlement(settlement: Settlement) -> None:
    """Say what the ledger made of our readings where that is not what was sent."""
    for sequence in settlement.foreign:
        logger.error(
            "THE LEDGER HOLDS ANOTHER READING %d THAN OURS: a second device signs with this meter's key", sequence
        )
    for sequence in settlement.superseded:
        logger.error(
            "READING %d WAS PASSED OVER: the ledger accepted a later one first, which carries its energy", sequence
        )


def _words(outcome: Outcome) -> str:
    return outcome.name.lower().replace("_", " ")
