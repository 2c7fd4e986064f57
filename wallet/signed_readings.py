"""Readings as their meters signed them, found again on the ledger in the transactions that brought them.

The Meter contract keeps the last one only. The node is not trusted: a reading's signature and its place in the chain of
readings are checked by the contract that it is shown to.
"""

from dataclasses import dataclass
from typing import Any

from contracts.addresses import METER_ADDRESS
from primitives.errors import InvalidAbi, UserError
from primitives.hexadecimal import to_checksum_address, to_data
from wallet.answers import Log
from wallet.client import InvalidAnswer, RpcClient
from wallet.meter_contract import METER
from wallet.quantities import format_time

WINDOW_BLOCKS = 10_000
"""What a node looks through at once."""
MAX_WINDOWS = 100
"""A million blocks back: half a year of blocks of 15 s."""


@dataclass(frozen=True, slots=True)
class SignedReading:
    """A reading and its signature, as the Meter's functions take them."""

    fields: tuple[Any, ...]
    r: bytes
    vs: bytes

    @property
    def arguments(self) -> tuple[object, ...]:
        return self.fields, self.r, self.vs


async def readings_around(client: RpcClient, meter: bytes, time_s: int) -> tuple[SignedReading, SignedReading]:
    """The last reading before a time and the first one at it or after it. Raises UserError where they are not there."""
    earlier, later = await _logs_around(client, meter, time_s)
    return await _signed(client, meter, earlier), await _signed(client, meter, later)


async def _logs_around(client: RpcClient, meter: bytes, time_s: int) -> tuple[tuple[int, Log], tuple[int, Log]]:
    """(sequence, log) of each."""
    event = METER.abi.event("ReadingAccepted")
    topics = event.topics(meter=meter)
    until = await client.block_number()
    later: tuple[int, Log] | None = None
    for _ in range(MAX_WINDOWS):
        first = max(0, until - WINDOW_BLOCKS + 1)
        logs = await client.logs([METER_ADDRESS], topics, first, until)
        for log in reversed(logs):
            try:
                values = event.decode_log(log.topics, log.data)
            except InvalidAbi as error:
                raise InvalidAnswer(f"an event of {METER.title} is malformed: {error}") from error
            found = int(str(values["sequence"])), log
            if int(str(values["time"])) >= time_s:
                later = found
            elif later is None:
                break
            else:
                return found, later
        if later is None or first == 0:
            break
        until = first - 1
    which = "after" if later is None else "before"
    raise UserError(
        f"The ledger has no reading of the meter {to_checksum_address(meter)} {which} {format_time(time_s)}"
        f"{' yet' if later is None else ''}."
    )


async def _signed(client: RpcClient, meter: bytes, found: tuple[int, Log]) -> SignedReading:
    """The reading of an event, out of the data of its transaction."""
    sequence, log = found
    data = await client.transaction_data(log.transaction_hash)
    if data is None:
        raise InvalidAnswer(f"the node does not know the transaction {to_data(log.transaction_hash)} of its own event")
    try:
        for signed in _readings_in(data):
            if signed.fields[0] == meter and signed.fields[1] == sequence:
                return signed
    except InvalidAbi as error:
        raise InvalidAnswer(f"the node's answer about a transaction is malformed: {error}") from error
    raise UserError(
        f"The reading {sequence} of the meter {to_checksum_address(meter)} came through another contract, so its "
        "signature cannot be found."
    )


def _readings_in(data: bytes) -> list[SignedReading]:
    """Of a call of `submit` or `submitBatch`; none of any other."""
    for name in ("submit", "submitBatch"):
        function = METER.abi.function(name)
        if data[:4] == function.selector:
            (argument,) = function.decode_call(data)
            several: Any = argument if name == "submitBatch" else [argument]
            return [SignedReading(*one) for one in several]
    return []
