"""Whether a node's word on a meter's last reading is true: shown by the signature that the meter itself put under it.

The meter goes on behind the ledger's registers where its outbox is new or an old copy, and its own signature makes
energy of them; so nothing is believed that this key did not sign. The reading is found again in the transaction that
brought it, whoever is called there: a signed reading stands in the call's data word for word. Where that cannot be
shown a person may vouch for it in the settings (`ledger.believed_reading`).
"""

import logging
import re
from dataclasses import astuple, dataclass, replace

from contracts.reading_format import MAX_AHEAD_S, MAX_BATCH, READING_FIELDS
from meter.drivers.driver import Registers
from meter.head import Head
from meter.ledger import AcceptedReading, MeterLedger
from meter.log_stretches import accepted_readings, first_block_from
from meter.reading import NO_HASH, Reading, ReadingDomain, Signature, SignedReading
from primitives.abi import encode
from primitives.clock import Clock
from primitives.errors import InvalidReading, UserError
from wallet.client import InvalidAnswer, RpcError

logger = logging.getLogger(__name__)

MAX_LOOKED_THROUGH = 2_000_000
"""Blocks that a reading is looked for in: a year of one every 15 s; 2,000 questions."""
TELL_EVERY = 100
"""Stretches of blocks from one line in the log to the next."""
# A computer's clock, and the one that a reading was signed by, may be so far apart.
SPARE_S = 3600

_WORD_TYPES = [kind for _, kind in READING_FIELDS]
_WORDS = re.compile(r"(\d{1,15}) (\d{1,16}) (\d{1,16})", re.ASCII)


class Unproven(InvalidAnswer):
    """The node says what nothing proves."""


@dataclass(frozen=True, slots=True)
class BelievedReading:
    """What a person lets the meter go on behind, though the node alone says so."""

    sequence: int
    import_wh: int
    export_wh: int

    @classmethod
    def parse(cls, text: str) -> "BelievedReading | None":
        """None for an empty text. Raises UserError."""
        if not text:
            return None
        found = _WORDS.fullmatch(text)
        if found is None:
            raise UserError(
                "The setting ledger.believed_reading must be three numbers in quotes: the reading's number, Wh taken "
                f'and Wh given, such as "1234 567890 0"; it is {text[:100]!r}.'
            )
        return cls(*[int(number) for number in found.groups()])


@dataclass(frozen=True, slots=True)
class Standing:
    """Where the ledger stands, and who says so."""

    head: Head
    is_proved: bool
    """By the meter's own signature, or because there is nothing to prove; else by a person's word."""


class NodeWord:
    """For one meter. What was proved is remembered, and how far a reading was looked for."""

    def __init__(
        self,
        ledger: MeterLedger,
        domain: ReadingDomain,
        meter: bytes,
        clock: Clock,
        believed: BelievedReading | None = None,
    ) -> None:
        self._ledger = ledger
        self._domain = domain
        self._meter = meter
        self._clock = clock
        self._believed = believed
        self._stretches = accepted_readings(ledger, meter)
        self._proved: Reading | None = None
        # The hash of the reading that is looked for, and up to which block it is still to be looked for.
        self._place: tuple[bytes, int] | None = None

    async def standing(self, last: Head) -> Standing:
        """Where the meter may go on, by a node's word on its last reading. Raises Unproven, or one of NodeTrouble."""
        try:
            return Standing(await self._proved_head(last), is_proved=True)
        except Unproven:
            if not self._is_believed(last):
                raise
            return Standing(replace(last, driver_state=None), is_proved=False)

    async def check_signed(self, last: Head) -> None:
        """Make sure that this meter's key signed the reading. Raises Unproven, or one of NodeTrouble."""
        try:
            await self._signed(last)
        except Unproven:
            if not self._is_believed(last):
                raise

    def _is_believed(self, last: Head) -> bool:
        registers = last.registers
        word = BelievedReading(last.sequence, registers.import_wh, registers.export_wh)
        return word == self._believed and registers.time_s <= self._clock.time_s() + SPARE_S

    async def _proved_head(self, last: Head) -> Head:
        registers = last.registers
        if last.sequence == 0:
            if registers.time_s or last.hash != NO_HASH:
                raise InvalidAnswer("the node tells of a meter without readings that has a last one")
            if registers.import_wh or registers.export_wh:
                raise self._unproven(last, "a meter that has signed nothing yet proves no opening registers")
            return last
        reading = await self._signed(last)
        if (reading.import_wh, reading.export_wh) != (registers.import_wh, registers.export_wh):
            signed = f"{reading.import_wh} Wh taken and {reading.export_wh} Wh given"
            raise self._unproven(last, f"the meter signed {signed} with it; a supplier may have set others since")
        own = Registers(reading.time_s, reading.import_wh, reading.export_wh)
        return Head(reading.sequence, last.hash, own, None)

    async def _signed(self, last: Head) -> Reading:
        """The reading, signed by this meter's key."""
        proved = self._proved
        if proved is not None and (proved.sequence, proved.hash) == (last.sequence, last.hash):
            return proved
        try:
            accepted = await self._find(last)
            reading, brought_by = accepted.reading, accepted.transaction_hash
            data = await self._ledger.node.transaction_data(brought_by)
        except Unproven:
            raise
        except (RpcError, InvalidAnswer) as error:
            raise self._unproven(last, f"it does not show where that comes from ({error})") from error
        if reading.hash != last.hash:
            raise self._unproven(last, "the event of its acceptance tells of another reading under that number")
        named = f"the transaction 0x{brought_by.hex()} that brought it"
        if data is None:
            raise self._unproven(last, f"it does not know {named}")
        if not self._bears_signature(data, reading):
            raise self._unproven(last, f"{named} does not show this meter's signature under it")
        self._proved = reading
        return reading

    async def _find(self, last: Head) -> AcceptedReading:
        """The event of its acceptance, looked for from the newest block back to the time of the reading."""
        newest = await self._ledger.node.block_number()
        first = await first_block_from(self._ledger, last.registers.time_s - MAX_AHEAD_S, newest)
        first = max(first, newest - MAX_LOOKED_THROUGH + 1)
        until = newest if self._place is None or self._place[0] != last.hash else min(self._place[1], newest)
        told = 0
        while until >= first:
            stretch = await self._stretches.backward(until, first)
            for accepted in stretch.found:
                if accepted.reading.sequence == last.sequence:
                    return accepted
            until = stretch.first_block - 1
            self._place = (last.hash, until)
            told += 1
            if told % TELL_EVERY == 0:
                logger.info(
                    "looking for this meter's reading %d on the ledger: %d of %d blocks looked through",
                    last.sequence,
                    newest - until,
                    newest - first + 1,
                )
        raise self._unproven(last, f"in its blocks {min(first, newest)} to {newest} no event tells of its acceptance")

    def _bears_signature(self, data: bytes, reading: Reading) -> bool:
        """Whether call data hold the reading with its signature, as they stand in a `SignedReading`."""
        words = encode(_WORD_TYPES, astuple(reading))
        position = data.find(words)
        for _ in range(MAX_BATCH):
            if position < 0:
                break
            end = position + len(words)
            signature = Signature(data[end : end + 32], data[end + 32 : end + 64])
            try:
                self._domain.verify(SignedReading(reading, signature))
            except InvalidReading:
                position = data.find(words, position + 1)
            else:
                return True
        return False

    def _unproven(self, last: Head, why: str) -> Unproven:
        self._place = None
        self._ledger.node.ask_another()
        registers = last.registers
        taken, given = registers.import_wh, registers.export_wh
        return Unproven(
            f"by the node's word the ledger's last reading of this meter is number {last.sequence}, with {taken} Wh "
            f"taken and {given} Wh given, but {why}. Another node is asked, where the settings name one "
            "(ledger.spare_nodes). Ask your supplier what the ledger holds: if this is true, write "
            f'ledger.believed_reading = "{last.sequence} {taken} {given}" into the meter\'s settings and start it again'
        )
