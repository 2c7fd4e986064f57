"""Keeps what the ledger last said of the meter's account, on the disk with few writes, and carries it on without one.

While a ledger is in reach nothing is computed: the book learns the account after each new block. When it is not, the
local account begins with the readings that the outbox holds behind the known ones, and follows the samples.
"""

import asyncio
import logging

from meter.drivers.driver import Registers
from meter.ledger_terms import AccountTerms, KnownAccount, LedgerTerms
from meter.local_account import LocalAccount, from_text, same_money, to_text
from meter.outbox import Outbox
from meter.reading import SignedReading
from meter.relay_store import RelayStore
from primitives.clock import Clock
from primitives.errors import UserError
from wallet.amounts import format_amount
from wallet.client import InvalidAnswer, RpcError

logger = logging.getLogger(__name__)

KEY = "known account"
# Between two questions for tariff, terms and zone, in polls: ten minutes. They change by days, and what is charged more
# holds a day after its announcement at the earliest.
TERMS_POLLS = 120
# What only charges have changed is written this often at most: readings behind it are in the outbox anyway. Any other
# change, such as a top-up, is written at once.
WRITE_INTERVAL_S = 600
# Readings that are charged before others get a turn: some 20 ms of a Pi 3.
CHUNK = 200


class AccountBook:
    """Of one prepaid meter; of a postpaid one it knows nothing."""

    def __init__(
        self,
        terms: LedgerTerms,
        outbox: Outbox,
        store: RelayStore,
        clock: Clock,
        allowance_wei: int = 0,
        poll_interval_s: float = 5.0,
    ) -> None:
        self._terms = terms
        self._outbox = outbox
        self._store = store
        self._clock = clock
        self._allowance_wei = allowance_wei
        self._terms_interval_ms = TERMS_POLLS * poll_interval_s * 1000
        text = store.get(KEY)
        self._known = self._written = None if text is None else from_text(text)
        self._account_terms: AccountTerms | None = None
        self._asked_ms: int | None = None
        self._written_ms: int | None = None
        self._sequence = 0
        self._registers: Registers | None = None
        self.local: LocalAccount | None = None
        """Only while no ledger is in reach."""

    async def learn(self, block_number: int, time_s: int) -> None:
        """A ledger is in reach, and this block is the newest that counts. Raises NodeUnreachable."""
        self.local = None
        now_ms = self._clock.elapsed_ms()
        meter = self._outbox.meter
        try:
            if self._asked_ms is None or now_ms - self._asked_ms >= self._terms_interval_ms:
                self._account_terms = await self._terms.account_terms(meter, time_s, block_number)
                self._asked_ms = now_ms
            if self._account_terms is None:
                self._take(None)
            else:
                self._take(await self._terms.known_account(meter, self._account_terms, block_number))
        except (RpcError, InvalidAnswer) as error:
            # Whether the supply is on does not depend on it now; what was known before stays.
            logger.warning("the meter's account is not known for a time without a ledger: %s", error)

    async def carry_on(self) -> None:
        """No ledger is in reach: keep the account here."""
        if self.local is not None or self._known is None:
            return
        self._write()
        known = self._known
        account = LocalAccount(known, self._allowance_wei)
        sequence = known.sequence
        while readings := self._waiting(sequence):
            account.add_readings([_registers(signed) for signed in readings])
            sequence = readings[-1].reading.sequence
            await asyncio.sleep(0)
        head = self._outbox.head()
        if head is not None and head.sequence >= sequence:
            # Where the ledger has readings that the known account has not, the last one stands for them.
            account.add_readings([head.registers])
            sequence = head.sequence
        if self._registers is not None:
            account.observe(self._registers)
        self._sequence = sequence
        self.local = account
        balance = format_amount(abs(account.balance_wei))
        what = "overdrawn" if account.balance_wei < 0 else "of credit"
        logger.warning("no ledger in reach: the meter keeps its own account, from %s %s on", balance, what)

    def observe(self, registers: Registers) -> None:
        """A sample. What was signed of the samples before is charged as a reading."""
        self._registers = registers
        if self.local is None:
            return
        head = self._outbox.head()
        if head is not None and head.sequence > self._sequence:
            # One as a rule; a reading that was set aside is not there, and the next one covers its energy.
            self.local.add_readings([_registers(one) for one in self._waiting(self._sequence)])
            self._sequence = head.sequence
        self.local.observe(registers)

    def allows(self, time_s: int) -> bool | None:
        """By the local account; None where there is none, or before the first sample shows what was used unsigned."""
        if self.local is None:
            return None
        is_allowed = self.local.allows(time_s)
        return None if is_allowed and self._registers is None else is_allowed

    def _waiting(self, sequence: int) -> list[SignedReading]:
        """Readings behind a sequence; none of them where somebody has put nonsense into the file, which is found and
        told before it would be sent. The registers now cover their energy."""
        try:
            return self._outbox.waiting(sequence, CHUNK)
        except UserError as error:
            logger.error("%s", error)
            return []

    def _take(self, known: KnownAccount | None) -> None:
        before = self._known
        self._known = known
        if same_money(known, self._written):
            return
        now_ms = self._clock.elapsed_ms()
        is_charge = (
            known is not None
            and before is not None
            and known.balance_wei <= before.balance_wei
            and known.sequence > before.sequence
        )
        is_due = self._written_ms is None or now_ms - self._written_ms >= WRITE_INTERVAL_S * 1000
        if not is_charge or is_due:
            self._write()

    def _write(self) -> None:
        if same_money(self._known, self._written):
            return
        self._store.put(KEY, "" if self._known is None else to_text(self._known))
        self._written, self._written_ms = self._known, self._clock.elapsed_ms()


def _registers(signed: SignedReading) -> Registers:
    reading = signed.reading
    return Registers(reading.time_s, reading.import_wh, reading.export_wh)
