"""Puts a meter's calibrations in force while it runs, and on the ledger as soon as one is in reach.

A service of the daemon. It sees by the file's version that `wattchain meter calibrate` has written to it; factors hold
from the next measurement on, and the next reading says so. Like the submitter it trusts its memory with nothing: each
round compares the file with the ledger. What two have signed stays in force whatever a node says; only a file that is
empty takes its factors from the ledger.
"""

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from chain.transaction import Transaction, with_signature
from contracts.addresses import CALIBRATIONS_ADDRESS
from contracts.calibration_format import MAX_PPM, MIN_PPM, ONE_PPM
from contracts.reading_format import StatusFlag
from meter.calibration import CalibrationBook, SignedCalibration
from meter.drivers.factors import QUANTITIES_WITH_FACTORS, Factor, Factors
from meter.kept_values import KeptValues
from meter.ledger import Node, NodeTrouble
from meter.live import Noting
from meter.outbox import Outbox
from meter.signer import Signer, SignerUnavailable
from primitives.clock import Clock
from primitives.errors import InvalidAbi
from wallet.calibrations import CALIBRATIONS
from wallet.client import BlockTag, InvalidAnswer, RpcError
from wallet.contract_call import refusal_of
from wallet.transfer import DEFAULT_MAX_FEE_WEI, highest_fee, suggest_fees

logger = logging.getLogger(__name__)

# A person stands at the meter and looks whether the new factor is there.
LOOK_INTERVAL_S = 5.0
KEPT_FACTORS = "factors of the last reading"
NO_FACTORS = "[]"


@dataclass(frozen=True, slots=True)
class CarrierSettings:
    chain_id: int
    confirmations: int = 6
    resend_after_s: float = 60.0
    max_fee_wei: int = DEFAULT_MAX_FEE_WEI


@dataclass(frozen=True, slots=True)
class Standing:
    """What the ledger holds of a meter's calibrations in a block."""

    sequence: int
    time_s: int
    factors: Factors


class NoCalibrations(Exception):
    """The ledger has no such contract."""


class CalibrationCarrier:
    """One meter's file of calibrations, its device, and the ledger."""

    def __init__(
        self,
        open_book: Callable[[], CalibrationBook],
        apply: Callable[[Factors], None],
        noting: Noting,
        outbox: Outbox,
        node: Node,
        payer: Signer,
        clock: Clock,
        settings: CarrierSettings,
    ) -> None:
        self._open_book = open_book
        self._apply = apply
        self._noting = noting
        self._outbox = outbox
        self._node = node
        self._payer = payer
        self._clock = clock
        self._settings = settings
        self._version = -1
        self._kept = KeptValues(outbox.database)
        # Factors that were noted, and the last reading then.
        self._noted_at: tuple[str, int] | None = None
        self._is_settled = False
        # The calibration that was sent last, and when.
        self._sent: tuple[int, float] = (0, 0.0)
        self._told = ""
        with open_book() as book:  # before the first measurement
            apply(book.factors())

    async def run(self) -> None:
        """Until cancelled. Raises UserError where the file was altered."""
        with self._open_book() as book:
            while True:
                self.look(book)
                try:
                    await self.carry(book)
                except (*NodeTrouble, SignerUnavailable) as error:
                    self._tell(f"calibrations wait for the ledger: {error}")
                await self._clock.sleep_s(LOOK_INTERVAL_S)

    def look(self, book: CalibrationBook) -> None:
        """Take over what was written to the file; see to it that a reading tells of it.

        What the last reading knew is kept beside the readings: a file that was deleted, edited or set back shows, too.
        """
        if book.version() != self._version:
            self.put_in_force(book)
        self._see_noted()

    def put_in_force(self, book: CalibrationBook) -> None:
        """Tell the device its factors, and the next reading of those that none has told of."""
        self._version = book.version()
        self._apply(book.factors())
        self._is_settled = False
        factors = _as_text(book.factors())
        if factors == (self._kept.get(KEPT_FACTORS) or NO_FACTORS):
            self._noted_at = None
            return
        self._noting.note(StatusFlag.CALIBRATED, f"the factors of calibration {book.last()[0]} are in force")
        self._noted_at = (factors, self._head_sequence())

    def _see_noted(self) -> None:
        """Once a reading was signed after the note it has told; before, a restart would note it again."""
        if self._noted_at is not None and self._head_sequence() > self._noted_at[1]:
            self._kept.set(KEPT_FACTORS, self._noted_at[0])
            self._noted_at = None

    def _head_sequence(self) -> int:
        head = self._outbox.head()
        return 0 if head is None else head.sequence

    async def carry(self, book: CalibrationBook) -> None:
        """One round: compare with the ledger, send what is next. Raises one of NodeTrouble, SignerUnavailable."""
        if self._is_settled:
            return
        try:
            deep_block = max(await self._node.block_number() - self._settings.confirmations, 0)
            newest = await self._standing(book.meter, "latest")
            if not self._agrees(book, newest):
                return
            last = book.last()[0]
            if newest.sequence < last:
                await self._send_next(book, newest.sequence)
            elif (await self._standing(book.meter, deep_block)).sequence >= last:
                self._is_settled = True
                self._told = ""
        except NoCalibrations:
            self._is_settled = True
            self._tell("this ledger has no contract for calibrations; they are kept on this computer only")

    def _agrees(self, book: CalibrationBook, newest: Standing) -> bool:
        """Whether what the ledger holds is where this file comes from."""
        last = book.last()[0]
        if newest.sequence <= last and _as_set(book.factors(newest.sequence)) == _as_set(newest.factors):
            return True
        if last == 0:
            logger.warning("the file of calibrations is new: %d are taken from the ledger", newest.sequence)
            book.adopt(newest.sequence, newest.time_s, newest.factors)
            self.put_in_force(book)
            return True
        self._tell(
            f"THE LEDGER HAS OTHER CALIBRATIONS of this meter, {newest.sequence} of them, than {book.path} with "
            f"{last}: was the file replaced by an old copy, or has another device this meter's key? The file's "
            "factors stay in force, and nothing is sent. To take the ledger's, stop the meter and move the file away"
        )
        return False

    async def _send_next(self, book: CalibrationBook, sequence: int) -> None:
        """Hand in the calibration behind a sequence."""
        now_s = self._clock.precise_time_s()
        sent_sequence, sent_s = self._sent
        if sent_sequence == sequence + 1 and now_s - sent_s < self._settings.resend_after_s:
            return
        signed = next(one for one in book.records() if one.calibration.sequence == sequence + 1)
        data = record_call(signed)
        try:
            gas = await self._node.estimate_gas(self._payer.address, CALIBRATIONS_ADDRESS, 0, data)
        except RpcError as error:
            sentence = refusal_of(error, CALIBRATIONS)
            if sentence is None:
                raise
            self._tell(f"calibration {sequence + 1} has to wait: {sentence}")
            return
        transaction = await self._transaction(gas + gas // 4, data)
        await self._node.send_raw(transaction.encoded)
        self._sent = (sequence + 1, now_s)
        logger.info("calibration %d was sent to the ledger", sequence + 1)

    async def _transaction(self, gas_limit: int, data: bytes) -> Transaction:
        """Signed. Raises InvalidAnswer where the node's price is more than the owner allows."""
        fees = await suggest_fees(self._node)
        used = await self._node.nonce(self._payer.address, "pending")
        # Behind the readings that the same account has under way.
        nonce = max([used, *(stored.nonce + 1 for stored in self._outbox.transactions())])
        unsigned = Transaction(
            fees.transaction_type,
            self._settings.chain_id,
            nonce,
            fees.max_priority_fee_per_gas,
            fees.max_fee_per_gas,
            gas_limit,
            CALIBRATIONS_ADDRESS,
            0,
            data,
        )
        if highest_fee(unsigned) > self._settings.max_fee_wei:
            raise InvalidAnswer(
                "by the node's word a calibration costs more than the setting ledger.max_fee_wei allows"
            )
        return with_signature(unsigned, *self._payer.sign(unsigned.signing_hash))

    async def _standing(self, meter: bytes, block: BlockTag) -> Standing:
        """Raises NoCalibrations, or one of NodeTrouble."""
        abi = CALIBRATIONS.abi
        answers = []
        for name in ("standingOf", "factorsOf"):
            data = await self._node.call(CALIBRATIONS_ADDRESS, abi.encode_call(name, (meter,)), block)
            if not data:
                raise NoCalibrations
            try:
                answers.append(abi.decode_result(name, data))
            except InvalidAbi as error:
                raise InvalidAnswer(f"the node's answer about calibrations makes no sense: {error}") from error
        sequence, time_s = cast(tuple[int, int], answers[0])
        factors = []
        for quantity, channel, ppm in cast(list[tuple[int, int, int]], answers[1][0]):
            if not (1 <= quantity <= len(QUANTITIES_WITH_FACTORS) and MIN_PPM <= ppm <= MAX_PPM):
                raise InvalidAnswer(f"the node tells of a factor of {ppm} millionths for quantity {quantity}")
            if ppm != ONE_PPM:
                factors.append(Factor(QUANTITIES_WITH_FACTORS[quantity - 1], channel, ppm))
        return Standing(sequence, time_s, Factors(tuple(factors)))

    def _tell(self, what: str) -> None:
        """Once, not in every round."""
        if what != self._told:
            self._told = what
            logger.warning("%s", what)


def record_call(signed: SignedCalibration) -> bytes:
    """The data of a transaction that carries a calibration."""
    return CALIBRATIONS.abi.encode_call("record", (signed.calibration.arguments(), signed.by_meter, signed.by_person))


def _as_text(factors: Factors) -> str:
    return json.dumps(sorted([[row.quantity, row.channel, row.ppm] for row in _as_set(factors)]))


def _as_set(factors: Factors) -> frozenset[Factor]:
    return frozenset(row for row in factors.rows if row.ppm != ONE_PPM)
