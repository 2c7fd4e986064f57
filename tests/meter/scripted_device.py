"""A device that tells what a test puts into it, on the test's clock; troubles are put in like measurements."""

import asyncio
from collections import deque

from meter.drivers.measurement import DeviceTrouble, Measurement, Source
from primitives.clock import ManualClock


class ScriptedDevice:
    def __init__(self, clock: ManualClock, source: Source = Source.POWER, interval_s: float = 5.0) -> None:
        self.source = source
        self.interval_s = interval_s
        self.is_closed = False
        self.read_count = 0
        self._clock = clock
        self._queue: deque[Measurement | Exception | None] = deque()
        self._is_there = asyncio.Event()

    def tell(
        self,
        power_w: int | None = None,
        *,
        import_mwh: int | None = None,
        export_mwh: int | None = None,
        device_id: str = "",
        values: tuple[tuple[str, int], ...] = (),
    ) -> None:
        power_mw = None if power_w is None else power_w * 1000
        self.put(
            Measurement(self._clock.elapsed_ms(), power_mw, import_mwh, export_mwh, values=values, device_id=device_id)
        )

    def fail(self, reason: str) -> None:
        self.put(DeviceTrouble(reason))

    def end(self) -> None:
        self.put(None)

    def put(self, entry: Measurement | Exception | None) -> None:
        self._queue.append(entry)
        self._is_there.set()

    async def read(self) -> Measurement | None:
        self.read_count += 1
        while not self._queue:
            self._is_there.clear()
            await self._is_there.wait()
        entry = self._queue.popleft()
        if isinstance(entry, Exception):
            raise entry
        return entry

    async def close(self) -> None:
        self.is_closed = True
