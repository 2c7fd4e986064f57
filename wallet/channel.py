"""The payment channels of a network as the PaymentChannel contract has them, and its refusals as sentences.

What is signed off the chain is wallet/channel_payment.py. The node is not trusted: see wallet/client.py.
"""

from dataclasses import dataclass

from contracts.addresses import PAYMENT_CHANNEL_ADDRESS
from primitives.errors import InvalidAbi, UserError
from wallet.answers import Log
from wallet.channel_payment import MAX_CHANNEL, OpenChannel
from wallet.client import BlockTag, InvalidAnswer, RpcClient
from wallet.contract_call import Contract, ask, ask_one, require_contract
from wallet.progress_bar import Told, tell_nobody

UNKNOWN, OPEN, CLOSED = 0, 1, 2
LOG_STEP_BLOCKS = 10_000
"""Blocks that a node searches at once (gateway/logs.py)."""


@dataclass(frozen=True, slots=True)
class Place:
    """Which ledger a node is on, and the time of the block that answers are about."""

    chain_id: int
    genesis_hash: bytes
    block_number: int
    time_s: int


async def read_place(client: RpcClient, confirmations: int = 1) -> Place:
    """Of the newest block with so many blocks on it, itself counted. Raises UserError where there is no contract."""
    newest = await client.block_number()
    number = max(0, newest - confirmations + 1)
    first, block = await client.block(0), await client.block(number)
    if first is None or block is None:
        raise InvalidAnswer("the node does not know its own blocks")
    await require_contract(client, PAYMENT_CHANNEL, number)
    return Place(await client.chain_id(), first.hash, number, block.time_s)


async def read_channel(client: RpcClient, number: int, block: BlockTag = "latest") -> OpenChannel:
    """An open channel. Raises UserError where it is closed or was never opened."""
    check_number(number)
    answer = await ask(client, PAYMENT_CHANNEL, "channelOf", [number], block)
    status, consumer, producer, deposit_wei, claimed_wei, valid_until_s = answer
    if status == CLOSED:
        raise UserError(f"Channel {number} is closed: its money is distributed.")
    if status != OPEN:
        raise UserError(f"There is no channel {number} on this ledger (or it is not in enough blocks yet).")
    return OpenChannel(number, consumer, producer, deposit_wei, claimed_wei, valid_until_s)


async def find_channels(client: RpcClient, parties: set[bytes], last_block: int, told: Told = tell_nobody) -> list[int]:
    """The numbers of all channels ever opened by or for these addresses."""
    signature = PAYMENT_CHANNEL.abi.event("Opened").topics()[0]
    padded = [party.rjust(32, b"\0") for party in sorted(parties)]
    found = set()
    for first in range(0, last_block + 1, LOG_STEP_BLOCKS):
        told(first, last_block + 1)
        last = min(last_block, first + LOG_STEP_BLOCKS - 1)
        for who in ([padded], [None, padded]):  # as consumer, as producer
            for log in await client.logs([PAYMENT_CHANNEL_ADDRESS], [signature, None, *who], first, last):
                found.add(_opened_by(log, parties))
    return sorted(found)


def _opened_by(log: Log, parties: set[bytes]) -> int:
    """The channel that was opened by or for one of these. Raises InvalidAnswer where the log does not say that."""
    try:
        decoded = PAYMENT_CHANNEL.abi.decode_log(log.topics, log.data)
    except InvalidAbi as error:
        raise InvalidAnswer(f"an event of {PAYMENT_CHANNEL.title} is malformed: {error}") from error
    if decoded is None or not parties & {decoded.arguments.get("consumer"), decoded.arguments.get("producer")}:
        raise InvalidAnswer("the node gave an event that was not asked for")
    return int(str(decoded.arguments["channel"]))


async def is_open(client: RpcClient, number: int, block: BlockTag = "latest") -> bool:
    """Whether the channel still holds money."""
    answer = await ask(client, PAYMENT_CHANNEL, "channelOf", [number], block)
    return bool(answer[0] == OPEN)


async def read_kept(client: RpcClient, party: bytes, block: BlockTag = "latest") -> int:
    """Wei that the contract keeps for a party that did not take them."""
    return int(await ask_one(client, PAYMENT_CHANNEL, "keptWei", [party], block))


def check_number(number: int) -> None:
    """Raises UserError for what can be no channel's number."""
    if not 0 < number <= MAX_CHANNEL:
        raise UserError(f"{number} is no channel's number; `wattchain channel list` shows yours.")


PAYMENT_CHANNEL = Contract(
    name="PaymentChannel",
    address=PAYMENT_CHANNEL_ADDRESS,
    title="the payment channels' contract",
    missing="This network has no payment channels: its genesis file lacks the contract.",
    refusals={
        "ZeroAddress": "The address of nothing but zeros is nobody's; nothing can be paid to it.",
        "ProducerIsConsumer": "{consumer} cannot open a channel to itself; name the producer who is to be paid.",
        "AmountZero": "A channel needs an amount above zero.",
        "DepositTooLarge": "The channel would hold {depositWei}; at most {maximumWei} are possible.",
        "ValidityInvalid": (
            "The validity would end {validUntil}; it must end after the present ({presentTime}) and at the latest "
            "{latestTime}. A channel can be extended again and again."
        ),
        "ValidityNotLonger": (
            "Channel {channel} is valid until {presentValidUntil} already; an extension must end later."
        ),
        "ChannelUnknown": "There is no channel {channel}; {channels} were ever opened on this ledger.",
        "ChannelClosed": "Channel {channel} is closed: its money is distributed.",
        "NotConsumer": "{caller} is not the consumer of channel {channel}; only the consumer can do this.",
        "NotProducer": "{caller} is not the producer of channel {channel}; only the producer can do this.",
        "StillValid": (
            "Channel {channel} is valid until {validUntil}, and it is {presentTime}: until then only the producer can "
            "close it, or you with the producer's agreement (`wattchain channel agree`)."
        ),
        "SignatureInvalid": "What was presented for channel {channel} is not signed by {signer}.",
        "TotalAboveDeposit": "Channel {channel} holds {depositWei} in all; {totalWei} are more than that.",
        "NothingToClaim": "Of channel {channel}, {claimedWei} are claimed already; {totalWei} in all add nothing.",
        "TotalBelowClaimed": (
            "Of channel {channel}, {claimedWei} are claimed already; it cannot be closed with only {totalWei}."
        ),
        "NothingKept": "Nothing is kept for {party}: all it was paid, it has.",
        "WithdrawalFailed": "{to} does not take the {amountWei}; name another receiver.",
        "GasTooLow": (
            "The transaction has too little gas to pay both parties: {gasLeft} of the {neededGas} that are needed."
        ),
    },
)
