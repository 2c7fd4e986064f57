"""The Meter contract as the wallet knows it: its refusals in words, and the last reading it accepted.

Readings themselves are made and carried by the room meter/.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from contracts.addresses import METER_ADDRESS
from wallet.client import BlockTag, RpcClient
from wallet.contract_call import Contract, ask_one


@dataclass(frozen=True, slots=True)
class Registers:
    """What the last accepted reading of a meter said, or its installation where there is none."""

    sequence: int
    """0 before the first reading."""
    import_wh: int
    export_wh: int


async def read_registers(client: RpcClient, meter: bytes, block: BlockTag = "latest") -> Registers:
    """Raises UserError, InvalidAnswer."""
    sequence, _time_s, import_wh, export_wh, *_others = await ask_one(client, METER, "lastReading", [meter], block)
    return Registers(sequence, import_wh, export_wh)


async def read_zone_s(client: RpcClient, supplier: bytes, time_s: int, block: BlockTag = "latest") -> int:
    """By how many seconds a supplier's local time is ahead of UTC at a time. Raises UserError, InvalidAnswer."""
    zone_s: int = await ask_one(client, METER, "zoneOf", [supplier, time_s], block)
    return zone_s


def zone_text(offset_s: int) -> str:
    """ "+05:30" for a zone so many seconds east of UTC."""
    hours, minutes = divmod(abs(offset_s) // 60, 60)
    return f"{'-' if offset_s < 0 else '+'}{hours:02}:{minutes:02}"


def _zone_is_invalid(values: Mapping[str, Any]) -> str:
    given, least, most = (zone_text(values[name]) for name in ("offsetS", "minimumS", "maximumS"))
    return f"The time zone {given} is none that can be: they go from {least} to {most} in steps of {{stepS}}."


def _zone_repeats_day(values: Mapping[str, Any]) -> str:
    return (
        f"From {{from}} on the zone {zone_text(values['offsetS'])} would have a day begin for the second time. Choose "
        "a moment later in the day."
    )


METER = Contract(
    name="Meter",
    address=METER_ADDRESS,
    title="the meters' contract",
    missing="This network has no contract for meters: its genesis file lacks it.",
    refusals={
        "BatchSizeInvalid": "A batch has from 1 to {maximum} readings; this one has {size}.",
        "DayRangeInvalid": "Days are asked for in order, at most {maximum} at a time; {firstDay} to {lastDay} are not.",
        "ExportFell": "Registers never fall: the export of {meter} was {lastExportWh} already, above {exportWh}.",
        "ImportFell": "Registers never fall: the import of {meter} was {lastImportWh} already, above {importWh}.",
        "MeterInactive": "The meter {meter} was removed.",
        "MeterUnknown": "No meter {meter} was ever installed on this network.",
        "NotRegistry": "Only the registry may have this done, not {caller}.",
        "ReadingOutOfRange": (
            "Registers of the meter {meter} are out of range: {importWh} taken, {exportWh} given, reading {sequence}."
        ),
        "ReadingStale": "The reading {sequence} of the meter {meter} comes too late: reading {lastSequence} is there.",
        "SignatureInvalid": "The reading is not signed by the meter {meter}, but by {recovered}.",
        "TimeBeforeInstallation": (
            "The reading of {time} is from before the meter {meter} was installed: only those from {earliestTime} "
            "on count."
        ),
        "TimeFell": "The time of the meter {meter} went back from {lastTime} to {time}.",
        "TimeInFuture": "The clock of the meter {meter} is ahead: {time} is later than {latestTime}.",
        "TooManySinks": "Meters have had {maximum} sinks already: choose one of them, not {sink}.",
        "TooManyTariffChanges": (
            "The tariff of the meter {meter} was changed {maximum} times since its last reading. Get its readings "
            "first, or swap it: `wattchain meter swap`."
        ),
        "ZoneInvalid": _zone_is_invalid,
        "ZoneRepeatsDay": _zone_repeats_day,
        "ZoneTooSoon": (
            "A zone holds from {earliest} at the earliest, not from {from}: readings may be there already, and "
            "customers have a day's notice of another clock."
        ),
    },
)
