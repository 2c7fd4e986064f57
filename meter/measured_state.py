"""What a meter has measured so far, as it is kept between two starts: exact sums, and where the device stood.

Written by ourselves with every reading and between readings (meter/checkpoint.py); read back with suspicion all the
same, since a driver of another kind may have written it.
"""

import json
from dataclasses import dataclass

from contracts.reading_format import MAX_REGISTER_WH
from meter.integration import MWMS_PER_WH
from meter.register_rules import RegisterPosition

# What is longer is not ours, and parsing it should not take long.
MAX_STATE_BYTES = 1024
MAX_ID_CHARS = 64
_MAX_SUM_MWMS = (MAX_REGISTER_WH + 1) * MWMS_PER_WH
_MAX_TIME = 2**63


@dataclass(frozen=True, slots=True)
class MeasuredState:
    """Where the next measurement goes on."""

    source: str
    device_id: str = ""
    import_mwms: int = 0
    export_mwms: int = 0
    measured_s: int = 0
    """Unix time of the last measurement that told energy; 0 where it is not known."""
    boot_id: str = ""
    elapsed_ms: int = 0
    """When that was by the monotonic clock, which counts within one boot of the computer."""
    import_position: RegisterPosition | None = None
    export_position: RegisterPosition | None = None

    def encode(self) -> bytes:
        fields = (
            self.source,
            self.device_id,
            self.import_mwms,
            self.export_mwms,
            self.measured_s,
            self.boot_id,
            self.elapsed_ms,
            None if self.import_position is None else self.import_position.encode(),
            None if self.export_position is None else self.export_position.encode(),
        )
        return json.dumps(fields, separators=(",", ":")).encode()


def decode_state(state: bytes) -> MeasuredState | None:
    """What `encode` made; None for anything else."""
    if len(state) > MAX_STATE_BYTES:
        return None
    try:
        source, device_id, import_mwms, export_mwms, measured_s, boot_id, elapsed_ms, taken, given = json.loads(state)
        numbers = ((import_mwms, _MAX_SUM_MWMS), (export_mwms, _MAX_SUM_MWMS), (measured_s, _MAX_TIME))
        if any(type(value) is not int or not 0 <= value <= most for value, most in numbers):
            return None
        if type(elapsed_ms) is not int or any(type(text) is not str for text in (source, device_id, boot_id)):
            return None
        positions = [None if fields is None else RegisterPosition.decode(fields) for fields in (taken, given)]
    except (ValueError, TypeError, RecursionError):
        return None
    return MeasuredState(source, device_id, import_mwms, export_mwms, measured_s, boot_id, elapsed_ms, *positions)
