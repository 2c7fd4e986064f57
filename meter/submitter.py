"""Carries readings from the outbox to the Meter contract, and notes there what the ledger has accepted.

Not the judge of anything: each round asks the ledger where it stands and acts on the answer alone, so a round may be
cut off anywhere (power, network, reorganisation) and the next one finds its way. What is accepted deep enough is taken
out by meter/settling.py, transactions are meter/sending.py's; the contract leaves out what it has already.
"""

import asyncio
import logging
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from meter.alterations import Alteration, Kind
from meter.backoff import backoff_s
from meter.database import DiskFull
from meter.head import Head
from meter.ledger import MeterLedger, NodeTrouble
from meter.node_word import BelievedReading, NodeWord, Standing
from meter.outbox import Outbox, OutgoingTransaction
from meter.outbox_check import genuine_waiting
from meter.reading_judge import ReadingJudge
from meter.sending import TransactionSender
from meter.settling import Settler
from meter.signer import Signer, SignerUnavailable, when_ready
from primitives.clock import Clock
from primitives.errors import UserError
from wallet.client import InvalidAnswer, NodeUnreachable
from wallet.transfer import DEFAULT_MAX_FEE_WEI

logger = logging.getLogger(__name__)

# Transactions that wait for a block at the same time: four blocks of 30M gas full of whole batches (4M gas each). Nodes
# hold 64 of a sender.
MAX_IN_FLIGHT = 32
# While more waits than is under way, the ledger is asked so many times as often: a block that comes is followed by the
# next batches before the one after it is made.
BACKLOG_HURRY = 5
# How long a meter that has an outbox looks for the proof of a later reading before it goes on as if offline; on a real
# clock. A year of blocks takes 2,000 questions.
PROOF_PATIENCE_S = 600.0


@dataclass(frozen=True, slots=True)
class SubmitterSettings:
    confirmations: int = 6
    """Blocks on top of the one that accepted a reading before it leaves the outbox; 0 where blocks are final."""
    poll_interval_s: float = 5.0
    """How often the ledger is asked when nothing new was signed."""
    resend_after_s: float = 60.0
    """A transaction that is in no block is sent again after this long, in case the node forgot it."""
    max_in_flight: int = 16
    """Two blocks full, so that the second is there when the first is made."""
    prompt_transactions: int = 1
    """While so many are under way, readings that would not fill another wait for them, and go together: that costs half
    of the fees and of the writes to the card, and up to a block of time."""
    max_fee_wei: int = DEFAULT_MAX_FEE_WEI
    """What one transaction may cost in fees; where the node asks for more, readings wait."""
    believed: BelievedReading | None = None
    """A last reading on the ledger that a person vouches for, where nothing else proves it."""


class Submitter:
    """One outbox, one account that pays (it may carry the readings of any meter)."""

    def __init__(
        self,
        outbox: Outbox,
        ledger: MeterLedger,
        signer: Signer,
        clock: Clock,
        settings: SubmitterSettings,
        randomness: random.Random | None = None,
    ) -> None:
        self._outbox = outbox
        self._ledger = ledger
        self._node = ledger.node
        self._clock = clock
        self._settings = settings
        self._random = randomness or random.Random()
        self.payer = signer
        self.sender = signer.address
        self.is_reachable = True
        self._judge = ReadingJudge(outbox, ledger, self.sender)
        self._sending = TransactionSender(
            outbox,
            ledger,
            signer,
            clock,
            self._judge,
            resend_after_s=settings.resend_after_s,
            max_fee_wei=settings.max_fee_wei,
        )
        self._settler = Settler(outbox, ledger)
        self._word = NodeWord(ledger, outbox.domain, outbox.meter, clock, settings.believed)
        self._seen_block = -1
        # The newest block when readings were first held back for those under way; None while none are.
        self._held_at_block: int | None = None
        self._wake = asyncio.Event()

    async def adopt(self, patience_s: float | None = None) -> None:
        """Compare with the ledger before anything is signed: a new or old outbox goes on where the ledger stands.

        Raises one of NodeTrouble: also where the node says what nothing proves. With `patience_s` TimeoutError where
        it does not answer within that time, or the proof is not found within PROOF_PATIENCE_S.
        """
        async with asyncio.timeout(patience_s):
            genesis = await self._node.block(0)
            if genesis is None:
                raise InvalidAnswer("the node does not know its first block")
            block = await self._node.block_number()
            last = await self._ledger.last_reading(self._outbox.meter)
        head = self._outbox.head()
        if head is not None and head.sequence >= last.sequence:
            if self._outbox.genesis_hash() is None:
                self._outbox.note_ledger(genesis.hash)
            return
        async with asyncio.timeout(None if patience_s is None else PROOF_PATIENCE_S):
            standing = await self._word.standing(last)
        self._note_adoption(head, standing)
        adopted = replace(standing.head, driver_state=None if head is None else head.driver_state)
        deep_block = max(block - self._settings.confirmations, 0)
        # A key that is busy is waited for: what the old head would go on with is on the ledger already.
        await when_ready(lambda: self._outbox.adopt(adopted, genesis.hash, deep_block))
        self._settler.begin_again()

    def _note_adoption(self, head: Head | None, standing: Standing) -> None:
        last = standing.head
        if head is None:
            logger.info(
                "the outbox is new; the ledger's last reading of this meter is %d, with %d Wh taken and %d Wh given",
                last.sequence,
                last.registers.import_wh,
                last.registers.export_wh,
            )
        else:
            self._note_foreign(last, "it is an old copy, or a second device signs with this meter's key")
        if standing.is_proved:
            return
        registers = last.registers
        what = (
            f"the meter goes on behind reading {last.sequence} with {registers.import_wh} Wh taken and "
            f"{registers.export_wh} Wh given, which nothing proves: a person wrote it into ledger.believed_reading"
        )
        if last.sequence:
            self._outbox.alterations.record(Alteration(Kind.BELIEVED, last.sequence, last.sequence, what))
        else:  # opening registers are the supplier's own, who sees them again in the first reading
            logger.warning("%s", what)

    async def run(self) -> None:
        """Until cancelled. Raises UserError for what only a person can put right."""
        failures, has_more = 0, True
        while True:
            try:
                if has_more or self._wake.is_set() or await self._is_worth_a_round():
                    self._wake.clear()
                    has_more = True  # should it fail
                    has_more = await self.step()
                failures, self.is_reachable = 0, True
                is_hurried = has_more or self._held_at_block is not None
                await self._wait(self._settings.poll_interval_s / (BACKLOG_HURRY if is_hurried else 1))
            except (*NodeTrouble, SignerUnavailable, DiskFull) as error:
                failures += 1
                self.is_reachable = not isinstance(error, NodeUnreachable)
                delay_s = backoff_s(failures, self._random)
                logger.warning("readings wait in the outbox: %s; trying again in %.0f s", error, delay_s)
                await self._clock.sleep_s(delay_s)

    def wake(self) -> None:
        """A new reading is in the outbox."""
        self._wake.set()

    async def step(self) -> bool:
        """One round: settle what is deep enough, follow what was sent, send what is new.

        Whether more waits for no other reason than that enough is under way.
        """
        self._sending.begin_round()
        self._seen_block = block = await self._node.block_number()
        is_settled = await self._settler.settle(block - self._settings.confirmations)
        pending = await self._sending.follow(block - self._settings.confirmations)
        last = await self._ledger.last_reading(self._outbox.meter)
        head = self._outbox.head()
        if head is None or last.sequence > head.sequence:
            await self._word.check_signed(last)
            self._note_foreign(last, "a second device signs with this meter's key")
            raise UserError(
                f"the ledger holds reading {last.sequence} of this meter, which this outbox did not sign: another "
                "device uses the same key. Give one of them a new key and have it registered"
            )
        if last.sequence and self._outbox.hash_of(last.sequence) not in (last.hash, None):
            await self._word.check_signed(last)
            self._note_foreign(last, "a second device signs with this meter's key")
        return await self._send_waiting(last, pending) or not is_settled

    async def _send_waiting(self, last: Head, pending: Sequence[OutgoingTransaction]) -> bool:
        """Send what is new; whether more waits."""
        after = max([last.sequence, *(transaction.last_sequence for transaction in pending)])
        under_way = len(pending)
        while True:
            batch_limit = self._sending.batch_limit
            # Two at least: whether one reading is at fault shows only beside another.
            waiting = genuine_waiting(self._outbox, last, after, max(batch_limit, 2))
            if not waiting:
                self._held_at_block = None
                return False
            if len(waiting) < batch_limit and self._is_held_back(len(pending)):
                return False
            if under_way >= min(self._settings.max_in_flight, MAX_IN_FLIGHT):
                return True
            chosen = (await self._judge.choose(waiting))[:batch_limit]
            if not chosen or not await self._sending.send(chosen, is_first=under_way == 0):
                return under_way > 0
            after = chosen[-1].reading.sequence
            under_way += 1

    def _is_held_back(self, pending: int) -> bool:
        """Whether readings that would not fill a transaction wait for those under way: until the next block, not on."""
        if pending < self._settings.prompt_transactions:
            return False
        if self._held_at_block is None:
            self._held_at_block = self._seen_block
        return self._held_at_block == self._seen_block

    def _note_foreign(self, last: Head, why: str) -> None:
        head = self._outbox.head()
        ours = "has none" if head is None or head.sequence < last.sequence else "signed another one under that number"
        what = f"the ledger holds reading {last.sequence} of this meter, and this outbox {ours}: {why}"
        self._outbox.alterations.record(Alteration(Kind.FOREIGN, last.sequence, last.sequence, what))

    async def _is_worth_a_round(self) -> bool:
        """Whether there is a new block, or something to send again: else one question has to do, for a node has many
        meters that ask."""
        return self._sending.has_one_to_send_again() or await self._node.block_number() != self._seen_block

    async def _wait(self, duration_s: float) -> None:
        """Until a new reading is there, or for a time."""
        sleeping = asyncio.ensure_future(self._clock.sleep_s(duration_s))
        waking = asyncio.ensure_future(self._wake.wait())
        try:
            await asyncio.wait((sleeping, waking), return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleeping.cancel()
            waking.cancel()
