"""Takes readings out of the outbox whose acceptance by the ledger is deep enough, whoever carried them."""

from meter.ledger import MeterLedger
from meter.log_stretches import MAX_LOG_BLOCKS, accepted_readings
from meter.outbox import Outbox
from meter.reading_judge import tell_settlement

# Stretches in one round: after months offline the blocks missed are thousands of them, and readings go before.
MAX_STRETCHES = 20


class Settler:
    """Follows the ReadingAccepted events of one meter."""

    def __init__(self, outbox: Outbox, ledger: MeterLedger) -> None:
        self._outbox = outbox
        self._stretches = accepted_readings(ledger, outbox.meter)
        # Ahead of what the outbox keeps, which is written once in so many blocks: idle ones cost no writes.
        self._confirmed_block = outbox.confirmed_block()

    def begin_again(self) -> None:
        """The outbox was told another block up to which it is settled."""
        self._confirmed_block = self._outbox.confirmed_block()

    async def settle(self, deep_block: int) -> bool:
        """Take accepted readings up to a block out of the outbox; whether that block is reached."""
        if self._confirmed_block > deep_block + MAX_LOG_BLOCKS:
            # A node named a block that is yet to come, or this one is far behind: what is settled twice does no harm.
            self._confirmed_block = max(deep_block - MAX_LOG_BLOCKS, -1)
        for _ in range(MAX_STRETCHES):
            if self._confirmed_block >= deep_block:
                break
            stretch = await self._stretches.forward(self._confirmed_block + 1, deep_block)
            last_block = stretch.last_block
            if stretch.found or abs(last_block - self._outbox.confirmed_block()) >= MAX_LOG_BLOCKS:
                accepted = [one.reading for one in stretch.found]
                tell_settlement(self._outbox.settle(accepted, last_block))
            self._confirmed_block = last_block
        return self._confirmed_block >= deep_block
