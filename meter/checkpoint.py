"""What a meter knows between two readings, kept twice: for a killed program and for a lost power supply.

Every sample goes to a file in the runtime folder, which is memory (tmpfs) and wears nothing out; once a minute it goes
to a file beside the outbox, on the card, and is there after a power cut. Each file has two places that are written in
turn, with a checksum, so that a torn write leaves the one before. A checkpoint names the reading that it follows on:
when another reading was signed since, it is worthless, and is not used.
"""

import hashlib
import logging
import os
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from primitives.clock import Clock

logger = logging.getLogger(__name__)

PLACE_BYTES = 4096
"""A page of memory and of the card: a write touches no other but the file's time. Once a minute it is 5.9 MB a day."""
MAX_DRIVER_STATE_BYTES = 2048
MAX_BOOT_ID_CHARS = 64

_MAGIC = b"wattckp1"
# Checksum and length of what follows; then the fields, the boot's name and the driver's state.
_FRAME = struct.Struct(">8sIH")
_FIELDS = struct.Struct(">20s32sQQ32sH?QQIB")
_BOOT_ID_FILE = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The state behind a sample."""

    meter: bytes
    ledger: bytes
    """Hash of its first block."""
    sequence: int
    """The last reading that was signed before, and its hash."""
    head_hash: bytes
    driver_state: bytes
    flags: int = 0
    """For the next reading."""
    number: int = 0
    """Later ones have greater numbers."""
    boot_id: str = ""
    is_clean: bool = False
    """The program was stopped in order behind it."""
    block_time_s: int = 0
    """Time of the newest block that was heard of."""
    event_hour: int = 0
    event_count: int = 0
    """So many readings were signed out of turn in this hour since 1970."""

    def encode(self) -> bytes:
        boot_id = self.boot_id.encode()[:MAX_BOOT_ID_CHARS]
        fields = _FIELDS.pack(
            self.meter,
            self.ledger,
            self.number,
            self.sequence,
            self.head_hash,
            self.flags,
            self.is_clean,
            self.block_time_s,
            self.event_hour,
            self.event_count,
            len(boot_id),
        )
        body = fields + boot_id + self.driver_state
        return _FRAME.pack(_MAGIC, zlib.crc32(body), len(body)) + body


def decode_checkpoint(place: bytes) -> Checkpoint | None:
    """What `encode` made; None for a place that was never written, torn, or damaged."""
    if len(place) < _FRAME.size + _FIELDS.size:
        return None
    magic, checksum, length = _FRAME.unpack_from(place)
    body = place[_FRAME.size : _FRAME.size + length]
    if magic != _MAGIC or len(body) != length or length < _FIELDS.size or zlib.crc32(body) != checksum:
        return None
    fields = _FIELDS.unpack_from(body)
    meter, ledger, number, sequence, head_hash, flags, is_clean, block_time_s, hour, count, boot_length = fields
    rest = body[_FIELDS.size :]
    try:
        boot_id = rest[:boot_length].decode()
    except UnicodeDecodeError:
        return None
    state = rest[boot_length:]
    return Checkpoint(
        meter, ledger, sequence, head_hash, state, flags, number, boot_id, is_clean, block_time_s, hour, count
    )


class CheckpointFile:
    """A file with two places."""

    def __init__(self, path: Path, *, is_durable: bool) -> None:
        """`is_durable`: a write is on the card before it counts. Raises OSError."""
        self.path = path
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        self._descriptor = os.open(path, flags, 0o600)
        self.is_durable = is_durable
        self._next_place = 0
        if is_durable and os.fstat(self._descriptor).st_size < 2 * PLACE_BYTES:
            # Of full length from the start: later writes change no metadata that would have to be written as well.
            os.pwrite(self._descriptor, bytes(2 * PLACE_BYTES), 0)
            os.fsync(self._descriptor)

    def read(self) -> list[Checkpoint]:
        """Those that are whole, the later one last. The next write replaces the earlier."""
        content = os.pread(self._descriptor, 2 * PLACE_BYTES, 0)
        places = [decode_checkpoint(content[begin : begin + PLACE_BYTES]) for begin in (0, PLACE_BYTES)]
        numbers = [-1 if place is None else place.number for place in places]
        self._next_place = 0 if numbers[0] <= numbers[1] else 1
        return sorted([place for place in places if place is not None], key=lambda place: place.number)

    def write(self, checkpoint: Checkpoint) -> None:
        """Raises OSError; the one written before is there in any case."""
        os.pwrite(self._descriptor, checkpoint.encode(), self._next_place * PLACE_BYTES)
        if self.is_durable:
            os.fdatasync(self._descriptor)
        self._next_place = 1 - self._next_place

    def close(self) -> None:
        os.close(self._descriptor)


class CheckpointKeeper:
    """Both files of one meter."""

    def __init__(self, meter: bytes, card: Path, memory: Path | None, clock: Clock, interval_s: int) -> None:
        """`memory` is the file in memory, None where there is no folder for it; `interval_s` is that of the card's."""
        self._meter = meter
        self._paths = ((memory, False), (card, True))
        self._clock = clock
        self._interval_ms = interval_s * 1000
        self._files: list[CheckpointFile] = []
        self._kept_ms: int | None = None
        self._failing: set[Path] = set()
        self._found: list[Checkpoint] = []
        self.beside: list[Callable[[], None]] = []
        """Called before a checkpoint goes to the card: writes what may be lost in between."""

    def open(self) -> None:
        """Open the files and read what was kept; one that cannot be used is told, and done without."""
        for path, is_durable in self._paths:
            if path is not None:
                try:
                    file = CheckpointFile(path, is_durable=is_durable)
                    self._found += [one for one in file.read() if one.meter == self._meter]
                    self._files.append(file)
                except OSError as error:
                    self._tell(path, error)
        self._found.sort(key=lambda one: one.number)

    @property
    def newest(self) -> Checkpoint | None:
        """The last one, whatever was signed since: it knows how the program ended."""
        return self._found[-1] if self._found else None

    def behind(self, ledger: bytes, sequence: int, head_hash: bytes) -> Checkpoint | None:
        """The last one that follows on this very reading, or on a later one of the same ledger.

        A later one tells that the outbox was lost, or is an old copy, and readings with it: their energy is in the
        state, and goes on in the next reading.
        """
        same_ledger = [one for one in self._found if one.ledger == ledger]
        fitting = [one for one in same_ledger if (one.sequence, one.head_hash) == (sequence, head_hash)]
        later = [one for one in same_ledger if one.sequence > sequence]
        found = later or fitting
        return found[-1] if found else None

    def is_due(self) -> bool:
        """Whether the one on the card is old enough to be replaced."""
        return self._kept_ms is None or self._clock.elapsed_ms() - self._kept_ms >= self._interval_ms

    def keep(self, checkpoint: Checkpoint, *, on_card: bool) -> None:
        """Trouble with a disk is told once; measuring goes on without."""
        if len(checkpoint.driver_state) > MAX_DRIVER_STATE_BYTES:
            return  # of a played file with endless fractions; it is played again from the last reading on
        if on_card:
            for write in self.beside:
                write()
            self._kept_ms = self._clock.elapsed_ms()
        for file in self._files:
            if on_card or not file.is_durable:
                try:
                    file.write(checkpoint)
                    self._failing.discard(file.path)
                except OSError as error:
                    self._tell(file.path, error)

    def close(self) -> None:
        for file in self._files:
            file.close()
        self._files = []

    def _tell(self, path: Path, error: OSError) -> None:
        if path in self._failing:
            return
        self._failing.add(path)
        logger.error(
            "the state between readings cannot be kept in %s (%s): after a crash the energy since the last reading "
            "would be missing. Free some space, or check the disk",
            path,
            error.strerror,
        )


def keeper_of(outbox: Path, meter: bytes, clock: Clock, interval_s: int, folder: Path | None) -> CheckpointKeeper:
    """For the meter with this outbox; `folder` is one in memory, None where there is none."""
    memory = None
    if folder is not None:
        # Several meters, also copies of one, may share the folder.
        name = hashlib.sha256(bytes(outbox.absolute()) + meter).hexdigest()[:32]
        memory = folder / f"{name}.state"
    return CheckpointKeeper(meter, state_file(outbox), memory, clock, interval_s)


def state_file(outbox: Path) -> Path:
    """Beside the outbox, on the card."""
    return outbox.with_name(outbox.name + ".state")


def runtime_folder(configured: Path | None) -> Path | None:
    """The folder in memory: as configured, of systemd, of the system, of the user; None where none can be written."""
    given = os.environ.get("RUNTIME_DIRECTORY", "").split(":")[0]
    personal = os.environ.get("XDG_RUNTIME_DIR", "")
    candidates = [configured, given and Path(given), Path("/run/wattchain"), personal and Path(personal)]
    for folder in candidates:
        if folder and folder.is_dir() and os.access(folder, os.W_OK | os.X_OK):
            return folder
    return None


def read_boot_id(path: Path = _BOOT_ID_FILE) -> str:
    """The name of this boot of the computer, empty where it tells none."""
    try:
        return path.read_text("ascii").strip()[:MAX_BOOT_ID_CHARS]
    except (OSError, ValueError):
        return ""
