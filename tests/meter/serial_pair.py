"""A real pair of pseudo-terminals for tests: the code under test opens one end by pyserial, a misbehaving device has
the other.
"""

import asyncio
import random
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType

from meter.pseudo_terminal import PseudoTerminal

NOISE = bytes([0x00, 0xFF, 0x80, 0x1B, 0x7F, 0xC3, 0x28, 0x0D])


class SerialPair(PseudoTerminal):
    """Plugged in at the beginning: `with SerialPair(tmp_path) as pair`, then open `pair.path`."""

    def __init__(self, folder: Path, name: str = "ttyBoard") -> None:
        super().__init__(folder / name)

    @property
    def port(self) -> str:
        return str(self.path)

    def __enter__(self) -> "SerialPair":
        self.plug()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.unplug()

    async def send_lines(self, lines: Iterable[str], end: str = "\r\n") -> None:
        for line in lines:
            await self.send((line + end).encode())


class MisbehavingDevice:
    """Sends good lines with everything between them that a bad wire makes; seeded, so that a failure comes again."""

    def __init__(self, pair: SerialPair, seed: int) -> None:
        self._pair = pair
        self._random = random.Random(seed)

    async def play(self, lines: Sequence[bytes]) -> None:
        """All lines, torn into pieces of any size, with lines of noise between them and half a line at the beginning.

        Noise has line ends of its own, so that every line of `lines` can be told whole by who reads well.
        """
        sent = [b" 17.3 0.00\r\n"]
        for line in lines:
            if self._random.random() < 0.3:
                sent.append(self._noise() + b"\r\n")
            if self._random.random() < 0.1:
                sent.append(b"\r\n\r\n")
            sent.append(line + self._random.choice((b"\r\n", b"\n")))
        data = b"".join(sent)
        while data:
            size = self._random.randint(1, 40)
            await self._pair.send(data[:size])
            data = data[size:]
            if self._random.random() < 0.2:
                await asyncio.sleep(0)

    def _noise(self) -> bytes:
        return bytes([self._random.choice(NOISE) for _ in range(self._random.randint(1, 30))])


async def let_open() -> None:
    """Let tasks that were just made run until they wait: what they open is open then.

    A port forgets what came before it was opened, so a test begins to send when this returns.
    """
    for _ in range(3):
        await asyncio.sleep(0)
