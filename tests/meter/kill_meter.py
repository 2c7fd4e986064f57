"""Run by test_kill_meter.py in a process of its own, to be killed: a meter that takes 3.6 kW, measured every 50 ms.

The real clocks, the real outbox, checkpoints in the folder given. Tells each sample as "elapsed_ms import_wh flags".
"""

import asyncio
import sys
from pathlib import Path

from meter.checkpoint import CheckpointKeeper, read_boot_id
from meter.drivers.measurement import Measurement, Source
from meter.gaps import GapJournal
from meter.head import first_head
from meter.measuring import MeasuringDriver
from meter.meter_clock import MeterClock
from meter.outbox import Outbox
from meter.recorder import Recorder
from meter.signer import KeySigner
from primitives.clock import SystemClock
from tests.meter.kill_outbox import DOMAIN, KEY, METER

POWER_MW = 3_600_000_000
"""So much that a Wh is a millisecond: every lost or invented moment shows."""


class Board:
    source = Source.POWER
    interval_s = 20.0  # a start of Python on a busy machine is no gap

    def __init__(self, clock: SystemClock) -> None:
        self._clock = clock

    async def read(self) -> Measurement | None:
        await self._clock.sleep_s(0.12)
        return Measurement(self._clock.elapsed_ms(), POWER_MW)

    async def close(self) -> None:
        pass


async def main(folder: Path) -> None:
    clock, signer = SystemClock(), KeySigner(KEY)
    outbox = Outbox.open(folder / "outbox.sqlite", DOMAIN, METER, signer)
    if outbox.head() is None:
        outbox.adopt(first_head(), b"\x01" * 32, 0)
    meter_clock = MeterClock(clock)
    boot_id = read_boot_id()
    keeper = CheckpointKeeper(METER, folder / "card", folder / "memory", clock, 60)
    driver = MeasuringDriver(Board(clock), clock, meter_clock, GapJournal(outbox.database), boot_id)
    recorder = Recorder(
        outbox,
        signer,
        clock,
        meter_clock,
        keeper,
        interval_s=1,
        spacing_s=0,
        boot_id=boot_id,
        most_events_per_hour=12,
    )
    driver.start(*recorder.resume())
    while (sample := await driver.read()) is not None:
        recorder.take(sample)
        if sample.measurement is not None:
            print(sample.measurement.elapsed_ms, sample.registers.import_wh, int(sample.flags), flush=True)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
