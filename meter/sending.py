"""The transactions that carry readings: signed, stored before they are sent, followed until they are deep enough.

A transaction is sent again as the same bytes, so nothing happens twice; only its fee is raised where the ledger asks
for more.
"""

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from chain.transaction import Transaction, decode_transaction, with_signature
from contracts.reading_format import MAX_BATCH
from meter.ledger import MeterLedger
from meter.outbox import Outbox, OutgoingTransaction
from meter.reading import SignedReading
from meter.reading_judge import ReadingJudge
from meter.signer import Signer, sign_when_ready
from primitives.clock import Clock
from wallet.amounts import format_amount
from wallet.client import InvalidAnswer, RpcError
from wallet.transfer import Fees, highest_fee, suggest_fees

logger = logging.getLogger(__name__)

HASH_BYTES = 32
# A reading alone in its transaction that fails this often, while the simulation accepts it, is set aside.
MAX_ATTEMPTS = 3

# How nodes (ours, geth, Besu, Nethermind) word a refusal; compared in lower case.
_ALREADY_KNOWN = ("already known", "known transaction", "already imported", "already in the pool")
_NONCE_USED = ("nonce too low", "nonce is too low", "replace")


@dataclass(frozen=True, slots=True)
class _Quote:
    """What a batch costs by the node's word, for all of the same size in one round: asking costs as much again."""

    readings: int
    gas: int
    fees: Fees


class TransactionSender:
    """One outbox's transactions, and the account that pays for them."""

    def __init__(
        self,
        outbox: Outbox,
        ledger: MeterLedger,
        signer: Signer,
        clock: Clock,
        judge: ReadingJudge,
        *,
        resend_after_s: float,
        max_fee_wei: int,
    ) -> None:
        self._outbox = outbox
        self._ledger = ledger
        self._node = ledger.node
        self._signer = signer
        self._clock = clock
        self._judge = judge
        self._resend_after_s = resend_after_s
        self._max_fee_wei = max_fee_wei
        self.sender = signer.address
        self.batch_limit = MAX_BATCH
        """Readings in the next transaction; fewer where the ledger takes no more."""
        # When each transaction was last sent, by its hash and the clock that nobody sets; empty after a start, so that
        # all are sent again at once.
        self._sent_s: dict[bytes, float] = {}
        self._quote: _Quote | None = None

    def begin_round(self) -> None:
        """What the node said about costs is asked anew."""
        self._quote = None

    def has_one_to_send_again(self) -> bool:
        oldest_s = min(self._sent_s.values(), default=math.inf)
        return self._now_s() - oldest_s >= self._resend_after_s

    def _now_s(self) -> float:
        return self._clock.elapsed_ms() / 1000

    async def follow(self, deep_block: int) -> list[OutgoingTransaction]:
        """What became of those that were sent; the ones that are in no block, sent again where it is time.

        Raises one of NodeTrouble.
        """
        stored = self._outbox.transactions()
        self._sent_s = {one.hash: sent_s for one in stored if (sent_s := self._sent_s.get(one.hash)) is not None}
        if not stored:
            return []
        used = await self._node.nonce(self.sender, "latest")
        done, pending = [], []
        for transaction in stored:
            if transaction.sender != self.sender or len(transaction.hash) != HASH_BYTES:
                # Of an account that the settings named before, or edited so that no node can be asked for it.
                done.append(transaction.nonce)
                continue
            receipt = await self._node.receipt(transaction.hash)
            if receipt is None and used > transaction.nonce:
                logger.info("another transaction took nonce %d; its readings are looked after anew", transaction.nonce)
                done.append(transaction.nonce)
            elif receipt is None:
                pending.append(transaction)
            elif not receipt.succeeded:
                self._note_failure(transaction, receipt.block_number)
                done.append(transaction.nonce)
            elif receipt.block_number <= deep_block:
                done.append(transaction.nonce)
                self.batch_limit = min(self.batch_limit * 2, MAX_BATCH)
        self._outbox.forget_transactions(done)
        if pending and pending[0].nonce > await self._node.nonce(self.sender, "pending"):
            # A reorganisation took away an earlier one that was forgotten as deep: these would wait for ever.
            logger.warning("nonce %d of the sender is missing on the ledger: signing anew", pending[0].nonce - 1)
            self._outbox.forget_transactions([transaction.nonce for transaction in pending])
            return []
        return [transaction for transaction in pending if await self._send_again(transaction)]

    async def send(self, readings: Sequence[SignedReading], *, is_first: bool) -> bool:
        """A new transaction with these readings; whether it is under way. Raises one of NodeTrouble."""
        data = self._ledger.batch_call(readings)
        try:
            quote = self._quote
            if quote is None or quote.readings != len(readings):
                gas = await self._node.estimate_gas(self.sender, self._ledger.meter_contract, 0, data)
                self._quote = quote = _Quote(len(readings), gas, await suggest_fees(self._node))
            used = await self._node.nonce(self.sender, "pending")
            nonce = max([used, *(stored.nonce + 1 for stored in self._outbox.transactions())])
            # A quarter more than estimated: what others send before it is executed may make it costlier, and other
            # readings may close more days.
            transaction = await self._sign(nonce, quote.gas + quote.gas // 4, data, quote.fees, readings)
            self._outbox.store_transaction(transaction)
            return await self._send(transaction)
        except RpcError as error:
            if not is_first:
                logger.info("no more at once: %s", error)  # a node holds so much of a sender and no more
                return False
            if len(readings) == 1:
                raise
            logger.warning("a batch of %d readings was refused (%s); trying half of it", len(readings), error)
            self.batch_limit = len(readings) // 2
            return False

    def _note_failure(self, transaction: OutgoingTransaction, block_number: int) -> None:
        """A transaction is in a block, but was undone there: go on in halves until the reading that did it is alone."""
        count = transaction.last_sequence - transaction.first_sequence + 1
        which = f"{transaction.first_sequence} to {transaction.last_sequence}"
        logger.warning("readings %s failed in block %d; trying smaller batches", which, block_number)
        self.batch_limit = max(1, min(self.batch_limit, count) // 2)
        if count == 1:
            sequence = transaction.first_sequence
            if self._outbox.count_attempt(sequence) >= MAX_ATTEMPTS:
                self._judge.set_aside(sequence, f"its transaction failed {MAX_ATTEMPTS} times")

    async def _send_again(self, transaction: OutgoingTransaction) -> bool:
        """Whether the transaction is still under way."""
        if self._now_s() - self._sent_s.get(transaction.hash, -math.inf) < self._resend_after_s:
            return True
        if not transaction.is_intact():
            logger.error("the transaction with nonce %d was altered in the outbox; signing anew", transaction.nonce)
            self._outbox.forget_transactions([transaction.nonce])
            return False
        fees = await suggest_fees(self._node)
        if fees.max_fee_per_gas > transaction.max_fee_per_gas:
            transaction = await self._raise_fee(transaction, fees)
        return await self._send(transaction)

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
        self._sent_s[transaction.hash] = self._now_s()
        return True

    async def _raise_fee(self, transaction: OutgoingTransaction, fees: Fees) -> OutgoingTransaction:
        """With the fee of today, an eighth more at least (nodes want a tenth); as it is where the owner forbids it."""
        old = decode_transaction(transaction.raw)
        raised = replace(
            old,
            max_fee_per_gas=max(fees.max_fee_per_gas, old.max_fee_per_gas * 9 // 8 + 1),
            max_priority_fee_per_gas=max(fees.max_priority_fee_per_gas, old.max_priority_fee_per_gas * 9 // 8 + 1),
        )
        if highest_fee(raised) > self._max_fee_wei:
            logger.warning("the fee of nonce %d is not raised above what the settings allow", transaction.nonce)
            return transaction
        signed = with_signature(raised, *await sign_when_ready(self._signer, raised.signing_hash))
        renewed = replace(transaction, hash=signed.hash, raw=signed.encoded, max_fee_per_gas=signed.max_fee_per_gas)
        self._outbox.store_transaction(renewed)
        logger.info("offering a higher fee for the transaction with nonce %d", transaction.nonce)
        return renewed

    async def _sign(
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
        if fee > self._max_fee_wei:
            raise InvalidAnswer(
                f"by the node's word {len(readings)} readings could cost {format_amount(fee)}, more than the setting "
                f"ledger.max_fee_wei allows ({format_amount(self._max_fee_wei)})"
            )
        signed = with_signature(unsigned, *await sign_when_ready(self._signer, unsigned.signing_hash))
        first, last = readings[0].reading.sequence, readings[-1].reading.sequence
        return OutgoingTransaction(nonce, self.sender, signed.hash, signed.encoded, first, last, fees.max_fee_per_gas)
