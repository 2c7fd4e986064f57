"""Where a meter's chain of readings stands, and the meter's seal on it.

The seal is a signature of the meter's own key over all that the next reading continues, the driver's state included:
who has the file but not the key cannot write a head that counts.
"""

import sqlite3
from dataclasses import dataclass

from meter.drivers.driver import Registers
from meter.reading import NO_HASH, Reading, ReadingDomain, Signature
from primitives import secp256k1
from primitives.errors import InvalidReading, InvalidSignature
from primitives.keccak import keccak256

HEAD_COLUMNS = "sequence, hash, time_s, import_wh, export_wh, driver_state, seal_r, seal_vs"


@dataclass(frozen=True, slots=True)
class Head:
    """Where the chain of readings stands: what the next one continues."""

    sequence: int
    hash: bytes
    registers: Registers
    driver_state: bytes | None


def first_head() -> Head:
    """The head of a meter that the ledger has no reading of."""
    return Head(0, NO_HASH, Registers(), None)


def check_continues(reading: Reading, head: Head) -> None:
    """Raises InvalidReading unless the reading may stand behind the head."""
    if reading.sequence != head.sequence + 1 or reading.previous_hash != head.hash:
        raise InvalidReading(f"reading {reading.sequence} does not follow on reading {head.sequence}")
    for name, value, last in (
        ("time", reading.time_s, head.registers.time_s),
        ("import register", reading.import_wh, head.registers.import_wh),
        ("export register", reading.export_wh, head.registers.export_wh),
    ):
        if value < last:
            raise InvalidReading(f"the {name} of reading {reading.sequence} falls from {last} to {value}")


def seal_hash(domain: ReadingDomain, head: Head) -> bytes:
    """The 32 bytes that the meter signs to seal a head; nothing else that it signs begins like this."""
    registers = head.registers
    numbers = (head.sequence, registers.time_s, registers.import_wh, registers.export_wh)
    state = b"" if head.driver_state is None else b"\x01" + head.driver_state
    return keccak256(
        b"wattchain meter head" + domain.separator + head.hash + b"".join(_word(number) for number in numbers) + state
    )


def seal_signer(domain: ReadingDomain, head: Head, seal: Signature) -> bytes:
    """Whose seal it is. Raises InvalidSignature."""
    if len(seal.r) != 32 or len(seal.vs) != 32:
        raise InvalidSignature("no seal")
    return secp256k1.recover_address(seal_hash(domain, head), *seal.parts())


def write_head(connection: sqlite3.Connection, head: Head, seal: Signature | None) -> None:
    registers = head.registers
    connection.execute(
        f"INSERT OR REPLACE INTO head (id, {HEAD_COLUMNS}) VALUES (1, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            head.sequence,
            head.hash,
            registers.time_s,
            registers.import_wh,
            registers.export_wh,
            head.driver_state,
            *(seal or (None, None)),
        ),
    )


def _word(number: int) -> bytes:
    # What somebody else wrote into the file may be negative.
    return number.to_bytes(32, "big", signed=True)
