"""What the ledger has to say about how far a meter is to be trusted: refused readings, breaks, flags, calibrations.

Anybody can ask; nothing of the meter's own computer is believed. Who sends refused readings is not known by this: meter
and sequence are what the sender wrote.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Protocol, cast

from contracts.addresses import CALIBRATIONS_ADDRESS, METER_ADDRESS
from contracts.binding import load_artifact
from contracts.calibration_format import MAX_AHEAD_S, ONE_PPM, Quantity
from contracts.reading_format import Outcome, StatusFlag
from primitives.errors import Invalid
from primitives.hexadecimal import to_checksum_address
from wallet.answers import Log
from wallet.client import BlockTag, InvalidAnswer
from wallet.progress_bar import Told, tell_nobody

# Blocks in one question, within what nodes answer.
BLOCKS_PER_QUESTION = 1000
# A stranger can cause events without end; the newest are shown.
MAX_FINDINGS = 100
# A running meter sees within seconds that it was calibrated, a busy one within minutes: the next reading tells it.
SEEN_WITHIN_S = 600

TOLD_FLAGS = (
    StatusFlag.TAMPER
    | StatusFlag.COVER_OPEN
    | StatusFlag.SETTINGS_CHANGED
    | StatusFlag.PROGRAM_CHANGED
    | StatusFlag.DEVICE_CHANGED
    | StatusFlag.OVERRIDE
)
"""What a supplier wants to hear of; power cuts and gaps happen to everybody."""


class Kind(StrEnum):
    REFUSED = "refused"
    BREAK = "break"
    FLAGS = "flags"
    CALIBRATION = "calibration"
    UNSIGNED = "unsigned"
    """Other factors than before, and no calibration on the ledger that explains them."""


@dataclass(frozen=True, slots=True)
class Finding:
    kind: Kind
    block_number: int
    sequence: int
    what: str


@dataclass(slots=True)
class _Factors:
    """Readings that tell of other factors, and the calibrations that may be why."""

    changed_s: list[int] = field(default_factory=list)
    """Times of calibrations."""
    told: deque[tuple[Finding, int, int]] = field(default_factory=lambda: deque(maxlen=MAX_FINDINGS))
    """Each such reading, the time of the reading before (where that was seen), and its own."""
    last_s: int = 0

    def see(self, event: str, fields: dict[str, int | bytes], block_number: int) -> None:
        sequence, time_s = (cast(int, fields.get(name, 0)) for name in ("sequence", "time"))
        if event == "CalibrationChanged":
            self.changed_s.append(time_s)
        elif event == "ReadingAccepted":
            if cast(int, fields["flags"]) & StatusFlag.CALIBRATED:
                what = (
                    f"reading {sequence} was made with other factors than the one before, and the ledger has no "
                    "calibration that says who changed them (one that was made just now may be on its way)"
                )
                self.told.append((Finding(Kind.UNSIGNED, block_number, sequence, what), self.last_s, time_s))
            self.last_s = time_s

    def unexplained(self) -> list[Finding]:
        return [
            finding
            for finding, before_s, time_s in self.told
            if not any(before_s - SEEN_WITHIN_S < one <= time_s + MAX_AHEAD_S for one in self.changed_s)
        ]


class LogSource(Protocol):
    """A node, as far as it is asked here (wallet.client.RpcClient)."""

    async def call(
        self, to: bytes, data: bytes, block: BlockTag = "latest", sender: bytes | None = None, value: int = 0
    ) -> bytes: ...

    async def logs(
        self,
        addresses: Sequence[bytes] = (),
        topics: Sequence[bytes | Sequence[bytes] | None] = (),
        from_block: BlockTag = "latest",
        to_block: BlockTag = "latest",
    ) -> list[Log]: ...


async def audit(
    node: LogSource, meter: bytes, first_block: int, last_block: int, told: Told = tell_nobody
) -> list[Finding]:
    """What was found in these blocks, the newest MAX_FINDINGS, oldest first. Raises RpcError, InvalidAnswer."""
    meters, calibrations = (load_artifact(name).abi for name in ("Meter", "Calibrations"))
    abis = {METER_ADDRESS: meters, CALIBRATIONS_ADDRESS: calibrations}
    names = ("ReadingAccepted", "ReadingRefused", "ReadingGapFound")
    kinds = [*(meters.event(name).topic for name in names), calibrations.event("CalibrationChanged").topic]
    topics = [kinds, meters.event("ReadingRefused").topics(meter=meter)[1]]
    found, factors = list[Finding](), _Factors()
    factors.changed_s += await _last_calibration_s(node, meter)
    # A calibration may have been brought a little before the first reading that it holds for.
    for first in range(max(0, first_block - BLOCKS_PER_QUESTION), last_block + 1, BLOCKS_PER_QUESTION):
        told(max(0, first - first_block), last_block - first_block + 1)
        last = min(first + BLOCKS_PER_QUESTION - 1, last_block)
        for log in await node.logs(list(abis), topics, first, last):
            try:
                decoded = abis[log.address].decode_log(log.topics, log.data)
            except (Invalid, KeyError) as error:
                raise InvalidAnswer(f"the node's answer makes no sense: {error}") from error
            if decoded is None:
                continue
            fields = cast(dict[str, int | bytes], decoded.arguments)
            factors.see(decoded.event, fields, log.block_number)
            finding = _finding(decoded.event, fields, log.block_number)
            if finding is not None:
                found.append(finding)
        found = [one for one in found if one.block_number >= first_block][-MAX_FINDINGS:]
    unexplained = [one for one in factors.unexplained() if one.block_number >= first_block]
    return sorted([*found, *unexplained], key=lambda one: one.block_number)[-MAX_FINDINGS:]


async def _last_calibration_s(node: LogSource, meter: bytes) -> list[int]:
    """The time of a meter's last calibration; nothing where it has none, or the ledger keeps none."""
    abi = load_artifact("Calibrations").abi
    data = await node.call(CALIBRATIONS_ADDRESS, abi.encode_call("standingOf", (meter,)))
    if not data:
        return []
    try:
        sequence, time_s = cast(tuple[int, int], abi.decode_result("standingOf", data))
    except Invalid as error:
        raise InvalidAnswer(f"the node's answer about calibrations makes no sense: {error}") from error
    return [time_s] if sequence else []


def _finding(event: str, fields: dict[str, int | bytes], block_number: int) -> Finding | None:
    sequence = int(cast(int, fields["sequence"]))
    if event == "CalibrationChanged":
        return Finding(Kind.CALIBRATION, block_number, sequence, _calibration_text(fields))
    if event == "ReadingRefused":
        outcome = cast(int, fields["outcome"])
        if outcome == Outcome.STALE:  # sent twice, or brought by somebody else first: harmless
            return None
        words = Outcome(outcome).name.lower().replace("_", " ") if outcome in set(Outcome) else f"rule {outcome}"
        what = f"somebody sent reading {sequence}, and the ledger refused it: {words}"
        return Finding(Kind.REFUSED, block_number, sequence, what)
    if event == "ReadingGapFound":
        before = int(cast(int, fields["lastSequence"]))
        if sequence == before + 1:
            what = (
                f"reading {sequence} does not follow on the reading {before} that the ledger has: a second device "
                "signs with this meter's key, or an old copy of its outbox was put back"
            )
        else:
            what = f"reading {sequence} came behind {before}: those between were set aside, deleted or brought too late"
        return Finding(Kind.BREAK, block_number, sequence, what)
    flags = StatusFlag(cast(int, fields["flags"])) & TOLD_FLAGS
    if not flags:
        return None
    told = ", ".join(str(flag.name).lower().replace("_", " ") for flag in TOLD_FLAGS if flag in flags)
    return Finding(Kind.FLAGS, block_number, sequence, f"reading {sequence} tells: {told}")


def _calibration_text(fields: dict[str, int | bytes]) -> str:
    names = ("quantity", "channel", "oldPpm", "newPpm")
    quantity, channel, old_ppm, new_ppm = [cast(int, fields[name]) for name in names]
    name = Quantity(quantity).name.lower() if quantity in set(Quantity) else f"quantity {quantity}"
    person = to_checksum_address(cast(bytes, fields["person"]))
    factors = [f"{ppm / Decimal(ONE_PPM):.6f}" for ppm in (old_ppm, new_ppm)]
    return f"{person} calibrated {name} {channel}, from {factors[0]} to {factors[1]}"
