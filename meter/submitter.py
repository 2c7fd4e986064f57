"""Carries readings from the outbox to the Meter contract, and notes there what the ledger has accepted.

Not the judge of anything: each round asks the ledger where it stands and acts on the answer alone, so a round may be
cut off anywhere (power, network, reorganisation) and the next one finds its way. A transaction is on the disk before it
is sent and is sent again as the same bytes; the contract leaves out what it has already. Readings leave the outbox by
ReadingAccepted events `confirmations` blocks deep, whoever carried them.
"""

import asyncio
import logging
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from chain.transaction import Transaction, decode_transaction, with_signature
from contracts.reading_format import MAX_BATCH
from meter.alterations import Alteration, Kind
from meter.backoff import backoff_s
from meter.database import DiskFull
from meter.head import Head
from meter.ledger import MeterLedger, NodeTrouble
from meter.node_word import check_word
from meter.outbox import Outbox, OutgoingTransaction
from meter.outbox_check import genuine_waiting
from meter.reading import SignedReading
from meter.reading_judge import ReadingJudge, tell_settlement
from meter.signer import Signer, SignerUnavailable
from primitives.clock import Clock
from primitives.errors import UserError
from wallet.amounts import format_amount
from wallet.client import InvalidAnswer, NodeUnreachable, RpcError
from wallet.transfer import DEFAULT_MAX_FEE_WEI, Fees, highest_fee, suggest_fees

logger = logging.getLogger(__name__)

# Blocks asked for in one eth_getLogs, within what public and own nodes answer; also how often the place up to which
# the ledger was settled is written to the disk when nothing else happens, so that idle blocks cost no writes.
MAX_LOG_BLOCKS = 1000
# Such stretches in one round: after months offline the blocks missed are thousands of them, and readings go before.
MAX_STRETCHES = 20
# Transactions that wait for a block at the same time: four blocks of 30M gas full of whole batches (4M gas each). Nodes
# hold 64 of a sender.
MAX_IN_FLIGHT = 32
# While more waits than is under way, the ledger is asked so many times as often: a block that comes is followed by the
# next batches before the one after it is made.
BACKLOG_HURRY = 5
# A reading alone in its transaction that fails this often, while the simulation accepts it, is set aside.
MAX_ATTEMPTS = 3

# How nodes (ours, geth, Besu, Nethermind) word a refusal; compared in lower case.
_ALREADY_KNOWN = ("already known", "known transaction", "already imported", "already in the pool")
_NONCE_USED = ("nonce too low", "nonce is too low", "replace")


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
    most_w: int = 88_000
    """Power that the meter's connection never carries: readings by a node's word that would need more are none."""


@dataclass(frozen=True, slots=True)
class _Quote:
    """What a batch costs by the node's word, for all of the same size in one round: asking costs as much again."""

    readings: int
    gas: int
    fees: Fees


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
        self._signer = signer
        self._clock = clock
        self._settings = settings
        self._random = randomness or random.Random()
        self.payer = signer
        self.sender = signer.address
        self.is_reachable = True
        self._is_identified = False
        self._batch_limit = MAX_BATCH
        self._log_blocks = MAX_LOG_BLOCKS
        self._confirmed_block = outbox.confirmed_block()
        # When each transaction was last sent, by its hash; empty after a start, so that all are sent again at once.
        self._sent_s: dict[bytes, float] = {}
        self._quote: _Quote | None = None
        self._judge = ReadingJudge(outbox, ledger, self.sender)
        self._seen_block = -1
        self._wake = asyncio.Event()

    async def adopt(self) -> None:
        """Compare with the ledger before anything is signed: a new or old outbox goes on where the ledger stands.

        Raises UserError for another ledger than the outbox's; one of NodeTrouble.
        """
        genesis_hash = await self._identify()
        block = await self._node.block_number()
        last = await self._ledger.last_reading(self._outbox.meter)
        head = self._outbox.head()
        if head is not None and head.sequence >= last.sequence:
            return
        if head is None:
            logger.info("the outbox is new; the ledger's last reading of this meter is %d", last.sequence)
            state = None
        else:
            check_word(last, head, self._clock.time_s(), self._settings.most_w)
            self._note_foreign(last, "it is an old copy, or a second device signs with this meter's key")
            state = head.driver_state
        adopted = Head(last.sequence, last.hash, last.registers, state)
        self._outbox.adopt(adopted, genesis_hash, max(block - self._settings.confirmations, 0))
        self._confirmed_block = self._outbox.confirmed_block()

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
                await self._wait(self._settings.poll_interval_s / (BACKLOG_HURRY if has_more else 1))
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
        if not self._is_identified:
            await self._identify()
        self._quote = None
        self._seen_block = block = await self._node.block_number()
        is_settled = await self._settle(block - self._settings.confirmations)
        pending = await self._follow_transactions(block - self._settings.confirmations)
        last = await self._ledger.last_reading(self._outbox.meter)
        head = self._outbox.head()
        if head is None or last.sequence > head.sequence:
            check_word(last, head, self._clock.time_s(), self._settings.most_w)
            self._note_foreign(last, "a second device signs with this meter's key")
            raise UserError(
                f"the ledger holds reading {last.sequence} of this meter, which this outbox did not sign: another "
                "device uses the same key. Give one of them a new key and have it registered"
            )
        if last.sequence and self._outbox.hash_of(last.sequence) not in (last.hash, None):
            self._note_foreign(last, "a second device signs with this meter's key")
        return await self._send_waiting(last, pending) or not is_settled

    async def _send_waiting(self, last: Head, pending: Sequence[OutgoingTransaction]) -> bool:
        """Send what is new; whether more waits."""
        after = max([last.sequence, *(transaction.last_sequence for transaction in pending)])
        under_way = len(pending)
        while True:
            # Two at least: whether one reading is at fault shows only beside another.
            waiting = genuine_waiting(self._outbox, last, after, max(self._batch_limit, 2))
            if not waiting:
                return False
            if len(pending) >= self._settings.prompt_transactions and len(waiting) < self._batch_limit:
                return False
            if under_way >= min(self._settings.max_in_flight, MAX_IN_FLIGHT):
                return True
            sent = await self._submit(waiting, is_first=under_way == 0)
            if not sent:
                return under_way > 0
            after = sent[-1].reading.sequence
            under_way += 1

    def _note_foreign(self, last: Head, why: str) -> None:
        head = self._outbox.head()
        ours = "has none" if head is None or head.sequence < last.sequence else "signed another one under that number"
        what = f"the ledger holds reading {last.sequence} of this meter, and this outbox {ours}: {why}"
        self._outbox.alterations.record(Alteration(Kind.FOREIGN, last.sequence, last.sequence, what))

    async def _identify(self) -> bytes:
        """Make sure that the node's ledger is the one that readings are signed for; its genesis hash."""
        chain_id = await self._node.chain_id()
        wanted = self._outbox.domain.chain_id
        if chain_id != wanted:
            raise UserError(f"the node is on chain {chain_id}, but the meter's settings say chain {wanted}")
        genesis = await self._node.block(0)
        if genesis is None:
            raise InvalidAnswer("the node does not know its first block")
        genesis_hash = genesis.hash
        known = self._outbox.genesis_hash()
        if known is not None and known != genesis_hash:
            raise UserError(
                f"the node's ledger begins with block 0x{genesis_hash.hex()}, the readings in this outbox are for the "
                f"one that begins with 0x{known.hex()}: connect to that ledger, or use a new outbox file"
            )
        self._is_identified = True
        return genesis_hash

    async def _settle(self, deep_block: int) -> bool:
        """Take accepted readings up to a block out of the outbox; whether that block is reached."""
        if self._confirmed_block > deep_block + MAX_LOG_BLOCKS:
            # A node named a block that is yet to come, or this one is far behind: what is settled twice does no harm.
            self._confirmed_block = max(deep_block - MAX_LOG_BLOCKS, -1)
        for _ in range(MAX_STRETCHES):
            if self._confirmed_block >= deep_block:
                break
            first_block = self._confirmed_block + 1
            last_block = min(self._confirmed_block + self._log_blocks, deep_block)
            try:
                accepted = await self._ledger.accepted_readings(self._outbox.meter, first_block, last_block)
            except (RpcError, InvalidAnswer):
                if first_block == last_block:
                    raise
                self._log_blocks = max(1, (last_block - first_block + 1) // 2)  # too much for one answer
                continue
            if accepted or abs(last_block - self._outbox.confirmed_block()) >= MAX_LOG_BLOCKS:
                tell_settlement(self._outbox.settle(accepted, last_block))
            self._confirmed_block = last_block
            self._log_blocks = min(self._log_blocks * 2, MAX_LOG_BLOCKS)
        return self._confirmed_block >= deep_block

    async def _follow_transactions(self, deep_block: int) -> list[OutgoingTransaction]:
        """What became of the transactions that were sent; those that are in no block, sent again where it is time."""
        stored = self._outbox.transactions()
        self._sent_s = {one.hash: sent_s for one in stored if (sent_s := self._sent_s.get(one.hash)) is not None}
        if not stored:
            return []
        used = await self._node.nonce(self.sender, "latest")
        done, pending = [], []
        for transaction in stored:
            receipt = await self._node.receipt(transaction.hash)
            if transaction.sender != self.sender:
                done.append(transaction.nonce)  # of an account that the settings named before
            elif receipt is None and used > transaction.nonce:
                logger.info("another transaction took nonce %d; its readings are looked after anew", transaction.nonce)
                done.append(transaction.nonce)
            elif receipt is None:
                pending.append(transaction)
            elif not receipt.succeeded:
                self._note_failure(transaction, receipt.block_number)
                done.append(transaction.nonce)
            elif receipt.block_number <= deep_block:
                done.append(transaction.nonce)
                self._batch_limit = min(self._batch_limit * 2, MAX_BATCH)
        self._outbox.forget_transactions(done)
        if pending and pending[0].nonce > await self._node.nonce(self.sender, "pending"):
            # A reorganisation took away an earlier one that was forgotten as deep: these would wait for ever.
            logger.warning("nonce %d of the sender is missing on the ledger: signing anew", pending[0].nonce - 1)
            self._outbox.forget_transactions([transaction.nonce for transaction in pending])
            return []
        return [transaction for transaction in pending if await self._send_again(transaction)]

    def _note_failure(self, transaction: OutgoingTransaction, block_number: int) -> None:
        """A transaction is in a block, but was undone there: go on in halves until the reading that did it is alone."""
        count = transaction.last_sequence - transaction.first_sequence + 1
        which = f"{transaction.first_sequence} to {transaction.last_sequence}"
        logger.warning("readings %s failed in block %d; trying smaller batches", which, block_number)
        self._batch_limit = max(1, min(self._batch_limit, count) // 2)
        if count == 1:
            sequence = transaction.first_sequence
            if self._outbox.count_attempt(sequence) >= MAX_ATTEMPTS:
                self._judge.set_aside(sequence, f"its transaction failed {MAX_ATTEMPTS} times")

    async def _send_again(self, transaction: OutgoingTransaction) -> bool:
        """Whether the transaction is still under way."""
        if self._clock.precise_time_s() - self._sent_s.get(transaction.hash, 0) < self._settings.resend_after_s:
            return True
        if not transaction.is_intact():
            logger.error("the transaction with nonce %d was altered in the outbox; signing anew", transaction.nonce)
            self._outbox.forget_transactions([transaction.nonce])
            return False
        fees = await suggest_fees(self._node)
        if fees.max_fee_per_gas > transaction.max_fee_per_gas:
            transaction = self._raise_fee(transaction, fees)
        return await self._send(transaction)

    async def _submit(self, waiting: Sequence[SignedReading], *, is_first: bool) -> list[SignedReading]:
        """Send those of the readings that the ledger takes now; which they are, none where this round should end."""
        chosen = (await self._judge.choose(waiting))[: self._batch_limit]
        if not chosen:
            return []
        data = self._ledger.batch_call(chosen)
        try:
            quote = self._quote
            if quote is None or quote.readings != len(chosen):
                gas = await self._node.estimate_gas(self.sender, self._ledger.meter_contract, 0, data)
                self._quote = quote = _Quote(len(chosen), gas, await suggest_fees(self._node))
            used = await self._node.nonce(self.sender, "pending")
            nonce = max([used, *(stored.nonce + 1 for stored in self._outbox.transactions())])
            # A quarter more than estimated: what others send before it is executed may make it costlier, and other
            # readings may close more days.
            transaction = self._sign(nonce, quote.gas + quote.gas // 4, data, quote.fees, chosen)
            self._outbox.store_transaction(transaction)
            return chosen if await self._send(transaction) else []
        except RpcError as error:
            if not is_first:
                logger.info("no more at once: %s", error)  # a node holds so much of a sender and no more
                return []
            if len(chosen) == 1:
                raise
            logger.warning("a batch of %d readings was refused (%s); trying half of it", len(chosen), error)
            self._batch_limit = len(chosen) // 2
            return []

    async def _send(self, transaction: OutgoingTransaction) -> bool:
        """Hand in a stored transaction; whether it is under way. After NodeUnreachable it stays stored: who knows."""
        try:
            await self._node.send_raw(transaction.raw)
        except RpcError as error:
            message = error.message.lower()
            if not any(words in message for words in _ALREADY_KNOWN):
                self._outbox.forget_transactions([transaction.nonce])
                if any(words in message for words in _NONCE_USED):
                    logger.info("nonce %d is taken (%s); asking the ledger anew", transaction.nonce, error.message)
                    return False
                raise
        self._sent_s[transaction.hash] = self._clock.precise_time_s()
        return True

    def _raise_fee(self, transaction: OutgoingTransaction, fees: Fees) -> OutgoingTransaction:
        """With the fee of today, an eighth more at least (nodes want a tenth); as it is where the owner forbids it."""
        old = decode_transaction(transaction.raw)
        raised = replace(
            old,
            max_fee_per_gas=max(fees.max_fee_per_gas, old.max_fee_per_gas * 9 // 8 + 1),
            max_priority_fee_per_gas=max(fees.max_priority_fee_per_gas, old.max_priority_fee_per_gas * 9 // 8 + 1),
        )
        if highest_fee(raised) > self._settings.max_fee_wei:
            logger.warning("the fee of nonce %d is not raised above what the settings allow", transaction.nonce)
            return transaction
        signed = with_signature(raised, *self._signer.sign(raised.signing_hash))
        renewed = replace(transaction, hash=signed.hash, raw=signed.encoded, max_fee_per_gas=signed.max_fee_per_gas)
        self._outbox.store_transaction(renewed)
        logger.info("offering a higher fee for the transaction with nonce %d", transaction.nonce)
        return renewed

    def _sign(
        self, nonce: int, gas_limit: int, data: bytes, fees: Fees, readings: Sequence[SignedReading]
    ) -> OutgoingTransaction:
        """Raises InvalidAnswer where the node's price is more than the owner allows."""
        unsigned = Transaction(
            fees.transaction_type,
            self._outbox.domain.chain_id,
            nonce,
            fees.max_priority_fee_per_gas,
            fees.max_fee_per_gas,
            gas_limit,
            self._ledger.meter_contract,
            0,
            data,
        )
        fee = highest_fee(unsigned)
        if fee > self._settings.max_fee_wei:
            raise InvalidAnswer(
                f"by the node's word {len(readings)} readings could cost {format_amount(fee)}, more than the setting "
                f"ledger.max_fee_wei allows ({format_amount(self._settings.max_fee_wei)})"
            )
        signed = with_signature(unsigned, *self._signer.sign(unsigned.signing_hash))
        first, last = readings[0].reading.sequence, readings[-1].reading.sequence
        return OutgoingTransaction(nonce, self.sender, signed.hash, signed.encoded, first, last, fees.max_fee_per_gas)

    async def _is_worth_a_round(self) -> bool:
        """Whether there is a new block, or something to send again: else one question has to do, for a node has many
        meters that ask."""
        oldest_s = min(self._sent_s.values(), default=math.inf)
        if self._clock.precise_time_s() - oldest_s >= self._settings.resend_after_s:
            return True
        return await self._node.block_number() != self._seen_block

    async def _wait(self, duration_s: float) -> None:
        """Until a new reading is there, or for a time."""
        sleeping = asyncio.ensure_future(self._clock.sleep_s(duration_s))
        waking = asyncio.ensure_future(self._wake.wait())
        try:
            await asyncio.wait((sleeping, waking), return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleeping.cancel()
            waking.cancel()
