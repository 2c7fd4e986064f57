"""How one's payment channels stand: what the ledger says, beside the payments that are kept here."""

from dataclasses import dataclass
from pathlib import Path

from primitives.hexadecimal import to_checksum_address
from wallet.amounts import format_amount
from wallet.channel import Place, find_channels, is_open, read_channel, read_place
from wallet.channel_payment import OpenChannel
from wallet.channel_store import ChannelKey, ChannelStore
from wallet.client import RpcClient
from wallet.progress_bar import Told, tell_nobody
from wallet.quantities import format_duration, format_time


@dataclass(frozen=True, slots=True)
class Standing:
    """An open channel with what is on paper for it."""

    channel: OpenChannel
    present_s: int
    signed_wei: int
    received_wei: int

    @property
    def left_s(self) -> int:
        return self.channel.valid_until_s - self.present_s

    def warning(self, before_s: int) -> str | None:
        """What the producer should do while there is time."""
        unclaimed_wei = self.received_wei - self.channel.claimed_wei
        if unclaimed_wei <= 0 or self.left_s > before_s:
            return None
        when = f"ends in {format_duration(self.left_s)}" if self.left_s > 0 else "is over"
        return (
            f"The validity of channel {self.channel.number} {when}, and {format_amount(unclaimed_wei)} are not "
            f"claimed: close it now with `wattchain channel close {self.channel.number}`, or the consumer may take "
            "them back."
        )


async def read_standings(
    client: RpcClient, parties: set[bytes], store: Path, told: Told = tell_nobody
) -> list[Standing]:
    """Of all open channels of these addresses."""
    place = await read_place(client)
    found = []
    for number in await find_channels(client, parties, place.block_number, told):
        if await is_open(client, number, place.block_number):
            found.append(read_standing(place, await read_channel(client, number, place.block_number), store))
    return found


def read_standing(place: Place, channel: OpenChannel, store: Path) -> Standing:
    """Of one channel."""
    key = ChannelKey(place.genesis_hash, channel.number)
    with ChannelStore(store) as kept:
        signed, received = kept.last_signed(key), kept.best_received(key)
    return Standing(channel, place.time_s, signed.total_wei if signed else 0, received.total_wei if received else 0)


def standing_text(standing: Standing) -> str:
    one = standing.channel
    end = format_time(one.valid_until_s) + ("" if standing.left_s > 0 else ", which is over")
    lines = [
        f"Channel {one.number}, valid until {end}",
        f"  from {to_checksum_address(one.consumer)}",
        f"  to {to_checksum_address(one.producer)}",
        f"  {format_amount(one.deposit_wei)} put in, {format_amount(one.claimed_wei)} claimed",
    ]
    if standing.signed_wei:
        lines.append(f"  {format_amount(standing.signed_wei)} signed here in all")
    if standing.received_wei:
        lines.append(f"  {format_amount(standing.received_wei)} received here in all")
    return "\n".join(lines)


def standing_json(standing: Standing) -> dict[str, object]:
    one = standing.channel
    return {
        "channel": one.number,
        "consumer": to_checksum_address(one.consumer),
        "producer": to_checksum_address(one.producer),
        "deposit_wei": str(one.deposit_wei),
        "claimed_wei": str(one.claimed_wei),
        "valid_until": one.valid_until_s,
        "seconds_left": standing.left_s,
        "signed_wei": str(standing.signed_wei),
        "received_wei": str(standing.received_wei),
    }
