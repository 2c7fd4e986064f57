"""A node with the real contracts, an outbox and a submitter, for the tests of what carries readings."""

import asyncio
import random
from contextlib import suppress
from pathlib import Path

from contracts.addresses import EXHAUSTION_ADDRESS, METER_ADDRESS
from meter.ledger import MeterLedger, NodeTrouble
from meter.outbox import Outbox
from meter.reading import Reading, ReadingDomain, SignedReading
from meter.signer import KeySigner
from meter.submitter import Submitter, SubmitterSettings
from primitives.clock import ManualClock
from primitives.secp256k1 import address_of
from tests.meter.fake_node import (
    BLOCK_TIME_S,
    CHAIN_ID,
    GENESIS_TIME_S,
    METER_KEY,
    SENDER_KEY,
    FakeNode,
)

DOMAIN = ReadingDomain(CHAIN_ID, METER_ADDRESS)
SETTINGS = SubmitterSettings(confirmations=2, poll_interval_s=5, resend_after_s=60)
STEP_WH = 1000
BATCH = 5
"""Of the fixture `small_batches`."""


class Scene:
    """A node, an outbox and a submitter that can be thrown away and made anew, as a crash does."""

    def __init__(
        self,
        folder: Path,
        node: FakeNode | None = None,
        settings: SubmitterSettings = SETTINGS,
        meter_key: bytes = METER_KEY,
    ) -> None:
        self.path = folder / "outbox.sqlite"
        self.meter_key, self.meter = meter_key, address_of(meter_key)
        self.node = node or FakeNode()
        self.settings = settings
        self.clock = ManualClock(GENESIS_TIME_S)
        self.node.clock = self.clock
        self.outbox = Outbox.open(self.path, DOMAIN, self.meter)
        self.submitter = self._new_submitter()

    def _new_submitter(self) -> Submitter:
        ledger = MeterLedger(self.node, METER_ADDRESS, EXHAUSTION_ADDRESS)
        return Submitter(self.outbox, ledger, KeySigner(SENDER_KEY), self.clock, self.settings, random.Random(1))

    def crash(self) -> None:
        self.outbox.close()
        self.outbox = Outbox.open(self.path, DOMAIN, self.meter)
        self.submitter = self._new_submitter()

    def measure(self, count: int = 1, *, time_s: int | None = None) -> None:
        for _ in range(count):
            signed = self.next_reading(time_s)
            self.outbox.append(signed, b"state")

    def next_reading(self, time_s: int | None = None) -> SignedReading:
        head = self.outbox.head()
        assert head is not None
        last = head.registers
        sequence = head.sequence + 1
        time_s = max(last.time_s, GENESIS_TIME_S) if time_s is None else time_s
        reading = Reading(self.meter, sequence, time_s, last.import_wh + STEP_WH, 0, 5, 0, head.hash)
        return DOMAIN.sign(reading, KeySigner(self.meter_key))

    async def settle(self, rounds: int = 40) -> None:
        """Rounds of the submitter with a block after each, as they come, until nothing waits."""
        for _ in range(rounds):
            with suppress(*NodeTrouble):
                await self.submitter.step()
            self.node.mine()
            self.clock.advance_s(BLOCK_TIME_S)
            if self.outbox.count() == self.outbox.count_quarantined() and not self.outbox.transactions():
                return
        raise AssertionError(f"{self.outbox.count()} readings, {len(self.outbox.transactions())} transactions left")

    def check_charged_once(self, count: int) -> None:
        assert self.node.accepted_sequences() == list(range(1, count + 1))
        assert self.node.charged_wh() == count * STEP_WH
        assert self.outbox.count() == 0


async def idle() -> None:
    """Let the other tasks run until all of them wait; the fake node answers without waiting."""
    for _ in range(200):
        await asyncio.sleep(0)
