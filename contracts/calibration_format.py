"""A calibration as meter and person sign it (EIP-712), and as the contract has it (contracts/src/Calibrations.sol).

The fields are the contract's `struct Calibration`, in its order; a test holds them against the artifact.
"""

from dataclasses import astuple, dataclass
from enum import IntEnum
from functools import lru_cache

from contracts.addresses import CALIBRATIONS_ADDRESS
from primitives.eip712 import TypedData

CALIBRATION_FIELDS = (
    ("meter", "address"),
    ("person", "address"),
    ("sequence", "uint64"),
    ("time", "uint64"),
    ("quantity", "uint8"),
    ("channel", "uint8"),
    ("oldPpm", "uint32"),
    ("newPpm", "uint32"),
)
"""(name, type) of each signed field."""

DOMAIN_NAME = "Wattchain Calibrations"
DOMAIN_VERSION = "1"

ONE_PPM = 1_000_000
"""A factor that changes nothing."""
MIN_PPM = 100_000
MAX_PPM = 10_000_000
MAX_CHANNEL = 64
MAX_AHEAD_S = 60
"""How far the time of a calibration may lie ahead of the block's."""


class Quantity(IntEnum):
    """What a factor belongs to; the contract's `enum Quantity` without None."""

    CURRENT = 1
    VOLTAGE = 2
    POWER = 3


@dataclass(frozen=True, slots=True)
class Calibration:
    """One change of a factor."""

    meter: bytes
    """20-byte address of the meter's own key."""
    person: bytes
    """20-byte address of who calibrated it."""
    sequence: int
    """1 for a meter's first, rising by one."""
    time_s: int
    """Unix time."""
    quantity: Quantity
    channel: int
    """Clamp or phase, from 1."""
    old_ppm: int
    new_ppm: int
    """Parts per million."""

    def arguments(self) -> tuple[object, ...]:
        """As the contract's functions take it."""
        return astuple(self)

    def signing_hash(self, chain_id: int, contract: bytes = CALIBRATIONS_ADDRESS) -> bytes:
        """The 32 bytes that meter and person sign."""
        names = [name for name, _ in CALIBRATION_FIELDS]
        return calibration_typed_data(chain_id, contract).hash(dict(zip(names, astuple(self), strict=True)))


@lru_cache(maxsize=4)
def calibration_typed_data(chain_id: int, contract: bytes = CALIBRATIONS_ADDRESS) -> TypedData:
    """Hashes calibrations (mappings by the names in CALIBRATION_FIELDS)."""
    domain = {"name": DOMAIN_NAME, "version": DOMAIN_VERSION, "chainId": chain_id, "verifyingContract": contract}
    types = {"Calibration": [{"name": name, "type": kind} for name, kind in CALIBRATION_FIELDS]}
    return TypedData(domain, types, "Calibration")
