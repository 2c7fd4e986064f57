"""What a meter signs, as the Meter contract checks it (EIP-712), and the codes that the contract answers with.

The fields are Meter's `struct Reading`, in its order; a test holds them against the artifact.
"""

from enum import IntEnum, IntFlag

from contracts.addresses import METER_ADDRESS
from primitives.eip712 import TypedData

READING_FIELDS = (
    ("meter", "address"),
    ("sequence", "uint64"),
    ("time", "uint64"),
    ("importWh", "uint64"),
    ("exportWh", "uint64"),
    ("powerW", "int32"),
    ("flags", "uint16"),
    ("previousHash", "bytes32"),
)
"""(name, type) of each signed field. `previousHash` is the struct hash of the reading before, zero for the first."""

DOMAIN_NAME = "Wattchain Meter"
DOMAIN_VERSION = "1"

MAX_BATCH = 100
"""Readings that submitBatch takes at once."""
MAX_AHEAD_S = 60
"""How far the time of a reading may lie ahead of the block's."""
MAX_BEFORE_S = 60
"""By how much a first reading may be older than the block that installed its meter."""
MAX_REGISTER_WH = 2**53 - 1
MAX_SEQUENCE = 2**48 - 1
MAX_DAYS = 366
"""Days that one question about usage may be about."""
HOURS_KEPT_DAYS = 32
MAX_HOUR_WH = 2**40 - 1
"""What an hour shows at most; the day has all."""
ZONE_STEP_S = 900
MIN_ZONE_S = -12 * 3600
MAX_ZONE_S = 14 * 3600
FIRST_PREVIOUS_HASH = bytes(32)


class Outcome(IntEnum):
    """Meter's `enum Outcome`: what `check` and `submitBatch` say of a reading."""

    ACCEPTED = 0
    STALE = 1
    """Its sequence, or a later one, was accepted before: nothing is lost, it need not be sent again."""
    UNKNOWN_METER = 2
    """Cured by installing the meter."""
    INACTIVE_METER = 3
    """Cured by reinstating the meter."""
    INVALID_SIGNATURE = 4
    OUT_OF_RANGE = 5
    TIME_IN_FUTURE = 6
    """Cured by waiting."""
    TIME_FELL = 7
    IMPORT_FELL = 8
    EXPORT_FELL = 9
    BEFORE_INSTALLATION = 10
    """Of a time before the meter was installed, or brought back: what its registers counted from then is charged."""


class MeterStatus(IntEnum):
    """Registry's `enum Status`."""

    UNKNOWN = 0
    ACTIVE = 1
    REMOVED = 2


class StatusFlag(IntFlag):
    """Bits of a reading's `flags`."""

    TAMPER = 1
    COVER_OPEN = 2
    CLOCK_SET = 4
    POWER_LOST = 8
    SUPPLY_OFF = 16
    """The supply was switched off during all or part of the time since the reading before."""
    GAP = 32
    """Measurements are missing since the reading before; energy in the gap is not invented."""
    RESTARTED = 64
    """The first reading after the meter's program started."""
    SETTINGS_CHANGED = 128
    """The meter's settings are not those of the reading before."""
    PROGRAM_CHANGED = 256
    """The meter's program is not that of the reading before."""
    JUMP = 512
    """More energy since the reading before than the connection can carry; counted, not dropped."""
    STUCK = 1024
    """The sensor told the very same values for too long."""
    DEVICE_CHANGED = 2048
    """The measuring device's register was reset, or another device stands behind the meter's key."""
    OVERRIDE = 4096
    """A person, not the ledger, decided on the supply during all or part of the time."""
    CALIBRATED = 8192
    """A calibration factor was changed since the reading before."""
    THRESHOLD = 16384
    """Power passed a limit that the owner set: the reason for this reading."""


def reading_typed_data(chain_id: int, meter_contract: bytes = METER_ADDRESS) -> TypedData:
    """Hashes readings (mappings by the names in READING_FIELDS): `.hash` is what is signed, `.struct_hash` the link."""
    domain = {
        "name": DOMAIN_NAME,
        "version": DOMAIN_VERSION,
        "chainId": chain_id,
        "verifyingContract": meter_contract,
    }
    types = {"Reading": [{"name": name, "type": kind} for name, kind in READING_FIELDS]}
    return TypedData(domain, types, "Reading")


def compact_signature(y_parity: int, r: int, s: int) -> tuple[bytes, bytes]:
    """(r, vs) as in ERC-2098, the form that `submit` takes. Needs s in the lower half, as our signatures have it."""
    return r.to_bytes(32, "big"), (y_parity << 255 | s).to_bytes(32, "big")
