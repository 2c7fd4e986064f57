"""Puts a meter's calibrations in force while it runs, and on the ledger as soon as one is in reach.

A service of the daemon. It sees by the file's version that `wattchain meter calibrate` has written to it; factors hold
from the next measurement on, and the next reading says so. Like the submitter it trusts its memory with nothing: each
round compares the file with the ledger. Where they differ, what the meter and a person have signed counts, the newer
first; a node's word alone counts for a meter that has nothing signed. What is dated ahead of the clock is not in force.
"""

import json
import logging
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass

from chain.transaction import Transaction, with_signature
from contracts.addresses import CALIBRATIONS_ADDRESS
from contracts.calibration_format import MAX_AHEAD_S, ONE_PPM
from contracts.reading_format import StatusFlag
from meter.calibration_ledger import NoCalibrations, read_signed, read_standing, record_call
from meter.calibration_shelf import CalibrationShelf
from meter.calibration_state import write_state
from meter.drivers.factors import Factor, Factors
from meter.kept_values import KeptValues
from meter.ledger import Node, NodeTrouble
from meter.live import Noting
from meter.outbox import Outbox
from meter.signed_calibration import History, Standing
from meter.signer import Signer, SignerUnavailable, sign_when_ready
from primitives.clock import Clock
from wallet.calibrations import CALIBRATIONS
from wallet.client import InvalidAnswer, NodeUnreachable, RpcError
from wallet.contract_call import refusal_of
from wallet.quantities import format_time
from wallet.transfer import DEFAULT_MAX_FEE_WEI, highest_fee, suggest_fees

logger = logging.getLogger(__name__)

# A person stands at the meter and looks whether the new factor is there.
LOOK_INTERVAL_S = 5.0
# Looking for what others have brought to the ledger may take a thousand questions.
SEARCH_AGAIN_S = 600.0
# A node that catches up tells what was long ago; one that keeps up has blocks every minute or so.
MAX_BEHIND_S = 600.0
KEPT_FACTORS = "factors of the last reading"
KEPT_IN_FORCE = "calibration in force"
NO_FACTORS = "[]"
MAX_DIGITS = 19
"""Of a number that the database holds."""


@dataclass(frozen=True, slots=True)
class CarrierSettings:
    chain_id: int
    confirmations: int = 6
    resend_after_s: float = 60.0
    max_fee_wei: int = DEFAULT_MAX_FEE_WEI


class CalibrationCarrier:
    """One meter's file of calibrations, its device, and the ledger."""

    def __init__(
        self,
        shelf: CalibrationShelf,
        apply: Callable[[Factors], None],
        noting: Noting,
        outbox: Outbox,
        node: Node,
        payer: Signer,
        clock: Clock,
        settings: CarrierSettings,
    ) -> None:
        """`clock` has the meter's time of day."""
        self._shelf = shelf
        self._apply = apply
        self._noting = noting
        self._outbox = outbox
        self._node = node
        self._payer = payer
        self._clock = clock
        self._settings = settings
        self._kept = KeptValues(outbox.database)
        self._in_force: Standing | None = None
        # Factors that were noted, and the last reading then.
        self._noted_at: tuple[str, int] | None = None
        self._is_settled = False
        # The calibration that was sent last, and when.
        self._sent: tuple[int, float] = (0, 0.0)
        # What of the ledger was looked for last, and when.
        self._searched: tuple[Standing, float] | None = None
        self._told = ""
        # The last calibration that was told to be dated ahead.
        self._ahead = (0, 0)
        self._by_ledger = "the ledger was not asked yet"
        with closing(shelf):  # before the first measurement
            shelf.open()
            apply(self._due().factors)

    async def run(self) -> None:
        """Until cancelled."""
        with closing(self._shelf):
            self._shelf.open()
            while True:
                self.look()
                try:
                    await self.carry()
                except (*NodeTrouble, SignerUnavailable) as error:
                    self._tell(f"calibrations wait for the ledger: {error}")
                write_state(self._kept, self._due(), self._shelf.history, self._by_ledger)
                await self._clock.sleep_s(LOOK_INTERVAL_S)

    def look(self) -> None:
        """Take over what was written to the file, or what has come due; see to it that a reading tells of it.

        What the last reading knew is kept beside the readings: a file that was deleted, edited or set back shows, too.
        """
        if self._shelf.look():
            self._is_settled = False
        if (standing := self._due()) != self._in_force:
            self.put_in_force(standing)
        if (ahead := self._shelf.history.last()) != self._ahead and ahead[0] > standing.sequence:
            self._ahead = ahead
            logger.warning(
                "calibration %d is dated %s, ahead of the meter's clock; before that time those up to %d are in force",
                ahead[0], format_time(ahead[1]), standing.sequence,
            )  # fmt: skip
        self._see_noted()

    def put_in_force(self, standing: Standing) -> None:
        """Tell the device its factors, and the next reading of those that none has told of."""
        self._in_force = standing
        self._apply(standing.factors)
        self._kept.set(KEPT_IN_FORCE, str(standing.sequence))
        self._is_settled = False
        factors = _as_text(standing.factors)
        if factors == (self._kept.get(KEPT_FACTORS) or NO_FACTORS):
            self._noted_at = None
            return
        self._noting.note(StatusFlag.CALIBRATED, f"the factors of calibration {standing.sequence} are in force")
        self._noted_at = (factors, self._head_sequence())

    def _due(self) -> Standing:
        """What holds now by the meter's clock, and what held before."""
        known = self._kept.get(KEPT_IN_FORCE) or ""
        return self._shelf.history.in_force(
            self._clock.precise_time_s(), int(known) if known.isdecimal() and len(known) < MAX_DIGITS else 0
        )

    def _see_noted(self) -> None:
        """Once a reading was signed after the note it has told; before, a restart would note it again."""
        if self._noted_at is not None and self._head_sequence() > self._noted_at[1]:
            self._kept.set(KEPT_FACTORS, self._noted_at[0])
            self._noted_at = None

    def _head_sequence(self) -> int:
        head = self._outbox.head()
        return 0 if head is None else head.sequence

    async def carry(self) -> None:
        """One round: compare with the ledger, send what is next. Raises one of NodeTrouble, SignerUnavailable."""
        if self._is_settled:
            return
        meter = self._shelf.meter
        try:
            deep_block = max(await self._node.block_number() - self._settings.confirmations, 0)
            newest = await read_standing(self._node, meter, "latest")
            if not self._agrees(newest) and not await self._take_over(newest):
                return
            last = self._due().sequence
            self._by_ledger = f"the ledger has {newest.sequence} of them"
            if newest.sequence < last:
                await self._send_next(newest.sequence)
            elif (await read_standing(self._node, meter, deep_block)).sequence >= last:
                self._is_settled = True
                self._told = ""
        except NoCalibrations:
            self._is_settled = True
            self._by_ledger = "this ledger has no contract for calibrations"
            self._tell("this ledger has no contract for calibrations; they are kept on this computer only")

    def _agrees(self, newest: Standing) -> bool:
        """Whether what the ledger holds is where these calibrations come from."""
        history = self._shelf.history
        is_within = history.base.sequence <= newest.sequence <= history.last()[0]
        return is_within and _as_set(history.factors(newest.sequence)) == _as_set(newest.factors)

    async def _take_over(self, newest: Standing) -> bool:
        """The ledger has others: whether its are in force now."""
        now_s, history = self._clock.precise_time_s(), self._shelf.history
        if newest.time_s > now_s + MAX_AHEAD_S:
            self._say(f"the ledger has calibration {newest.sequence}, dated {format_time(newest.time_s)}, ahead of the "
                      "meter's clock: it is not taken over before its time")  # fmt: skip
            return False
        block = await self._node.block("latest")
        if block is None or block.time_s < now_s - MAX_BEHIND_S:
            self._say("the ledger tells of other calibrations, but its newest block is old: it is asked again")
            return False
        if self._searched is not None and self._searched[0] == newest and now_s < self._searched[1] + SEARCH_AGAIN_S:
            return False
        self._searched = (newest, now_s)
        try:
            signed = await read_signed(self._node, self._shelf.meter, self._settings.chain_id, newest.sequence)
        except NodeUnreachable:
            self._searched = None  # it costs nothing to ask a node that does not answer
            raise
        if signed is not None and not _is_of(signed, newest):
            raise InvalidAnswer("the node's word about the factors is not what meter and person have signed")
        if signed is None and not history.records:
            signed = History(newest)  # it came through another contract: nothing else is known
        if signed is None or (history.records and newest.time_s < history.last()[1]):
            self._keep_to_the_file(newest, is_proven=signed is not None)
            return False
        logger.warning(
            "the ledger has other calibrations of this meter, %d of them; they are taken over, and hold instead of "
            "those that were known here (%d)", newest.sequence, history.last()[0],
        )  # fmt: skip
        self._shelf.replace(signed)
        self.look()
        self._say(f"taken over from the ledger, which has {newest.sequence}")
        return True

    def _keep_to_the_file(self, newest: Standing, *, is_proven: bool) -> None:
        self._shelf.doubt()
        why = "older ones" if is_proven else "ones whose signatures are not found"
        self._say(
            f"THE LEDGER HAS OTHER CALIBRATIONS of this meter, {newest.sequence} of them, than {self._shelf.path} with "
            f"{self._shelf.history.last()[0]}; it has {why}, so the file's stay in force, and nothing is sent: was the "
            "file replaced by a copy, or has another device this meter's key? To take the ledger's, stop the meter, "
            "move the file away and keep it"
        )

    async def _send_next(self, sequence: int) -> None:
        """Hand in the calibration behind a sequence."""
        now_s = self._clock.elapsed_ms() / 1000
        sent_sequence, sent_s = self._sent
        if sent_sequence == sequence + 1 and now_s - sent_s < self._settings.resend_after_s:
            return
        signed = next(one for one in self._shelf.history.records if one.calibration.sequence == sequence + 1)
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
        return with_signature(unsigned, *await sign_when_ready(self._payer, unsigned.signing_hash))

    def _say(self, what: str) -> None:
        """In the log, once, and in `meter status`."""
        self._by_ledger = what
        self._tell(what)

    def _tell(self, what: str) -> None:
        """Once, not in every round."""
        if what != self._told:
            self._told = what
            logger.warning("%s", what)


def _is_of(signed: History, newest: Standing) -> bool:
    return signed.last() == (newest.sequence, newest.time_s) and _as_set(signed.factors()) == _as_set(newest.factors)


def _as_text(factors: Factors) -> str:
    return json.dumps(sorted([[row.quantity, row.channel, row.ppm] for row in _as_set(factors)]))


def _as_set(factors: Factors) -> frozenset[Factor]:
    return frozenset(row for row in factors.rows if row.ppm != ONE_PPM)
