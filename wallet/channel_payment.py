"""A signed payment of a payment channel: the text that a consumer hands over by any means, and what it is worth.

Values and decisions only; what is kept on the disk is wallet/channel_store.py, what the ledger says is
wallet/channel.py. The text comes from strangers: it is bounded, and every field is checked.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from contracts.payment_format import MAX_DEPOSIT_WEI, closing_typed_data, payment_typed_data
from contracts.reading_format import compact_signature
from primitives.errors import Invalid, InvalidHex, InvalidSignature
from primitives.hexadecimal import parse_address, parse_data, to_checksum_address, to_data
from primitives.json_text import InvalidJson, parse_json
from primitives.secp256k1 import recover_address, sign

MAX_TEXT_BYTES = 2_048
"""A payment has some 350 characters; a mail may have broken its lines."""
MAX_CHANNEL = 2**53 - 1
"""Greatest number of a channel that every JSON reader keeps exactly; nobody opens as many."""


class InvalidPayment(Invalid):
    """Text is no signed payment, or one that is worth nothing here; says why."""


class Kind(Enum):
    """What was signed; the value is the word in the text."""

    PAYMENT = "payment"
    """By the consumer: the total due up to now."""
    CLOSING = "closing"
    """By the producer: the total with which the consumer may close at once."""


@dataclass(frozen=True, slots=True)
class SignedTotal:
    """A total for a channel, signed by one party for the other."""

    kind: Kind
    chain_id: int
    contract: bytes
    channel: int
    counterparty: bytes
    """For whom it is: the producer in a payment, the consumer in a closing."""
    total_wei: int
    r: bytes
    vs: bytes

    @property
    def hash(self) -> bytes:
        return _hash(self.kind, self.chain_id, self.contract, self.channel, self.counterparty, self.total_wei)

    def signer(self) -> bytes:
        """Who signed it. Raises InvalidPayment where nobody did."""
        word = int.from_bytes(self.vs, "big")
        y_parity, s = word >> 255, word & (1 << 255) - 1
        try:
            return recover_address(self.hash, y_parity, int.from_bytes(self.r, "big"), s)
        except InvalidSignature as error:
            raise InvalidPayment(f"the signature of the {self.kind.value} is nobody's: {error}") from error


@dataclass(frozen=True, slots=True)
class OpenChannel:
    """A channel as the ledger has it."""

    number: int
    consumer: bytes
    producer: bytes
    deposit_wei: int
    claimed_wei: int
    valid_until_s: int


def sign_total(
    kind: Kind,
    chain_id: int,
    contract: bytes,
    channel: int,
    counterparty: bytes,
    total_wei: int,
    private_key: bytes,
) -> SignedTotal:
    """A payment by the consumer's key, or a closing by the producer's."""
    signature = sign(_hash(kind, chain_id, contract, channel, counterparty, total_wei), private_key)
    r, vs = compact_signature(*signature)
    return SignedTotal(kind, chain_id, contract, channel, counterparty, total_wei, r, vs)


def encode_total(signed: SignedTotal) -> str:
    """One line of JSON, to be handed over by any means."""
    document = {
        "wattchain": signed.kind.value,
        "chain": signed.chain_id,
        "contract": to_checksum_address(signed.contract),
        "channel": signed.channel,
        "to": to_checksum_address(signed.counterparty),
        "total_wei": str(signed.total_wei),
        "signature": to_data(signed.r + signed.vs),
    }
    return json.dumps(document, separators=(",", ":"))


def parse_total(text: str, kind: Kind) -> SignedTotal:
    """What `encode_total` wrote. Raises InvalidPayment."""
    if len(text.encode("utf-8", "replace")) > MAX_TEXT_BYTES:
        raise InvalidPayment(f"the text is longer than any {kind.value}")
    try:
        document = parse_json(text)
    except InvalidJson as error:
        raise InvalidPayment(
            f"the text is no {kind.value}: it must be JSON from {{ to }}, as it was written"
        ) from error
    names = {"wattchain", "chain", "contract", "channel", "to", "total_wei", "signature"}
    if not isinstance(document, Mapping) or set(document) != names:
        raise InvalidPayment(
            f"the text is no {kind.value}: it must have exactly the members {', '.join(sorted(names))}"
        )
    if document["wattchain"] != kind.value:
        raise InvalidPayment(f"the text is no {kind.value}: it calls itself {str(document['wattchain'])[:40]!r}")
    total = document["total_wei"]
    if not isinstance(total, str) or not (total.isascii() and total.isdecimal() and len(total) <= 40):
        raise InvalidPayment("total_wei must be a whole number of wei in quotes")
    try:
        contract, counterparty = parse_address(document["contract"]), parse_address(document["to"])
        signature = parse_data(document["signature"], 64)
    except InvalidHex as error:
        raise InvalidPayment(f"the {kind.value} is damaged: {error}") from error
    chain_id, channel = _whole(document["chain"], "chain"), _whole(document["channel"], "channel")
    if int(total) > MAX_DEPOSIT_WEI:
        raise InvalidPayment("total_wei is more than any channel can hold")
    return SignedTotal(kind, chain_id, contract, channel, counterparty, int(total), signature[:32], signature[32:])


def check_payment(
    payment: SignedTotal, chain_id: int, contract: bytes, channel: OpenChannel, now_s: int, margin_s: int
) -> None:
    """Is a payment good for its total in this channel? Says nothing about what was received before.

    `margin_s` is the time that the producer wants to have left for closing. Raises InvalidPayment with the reason.
    """
    check_place(payment, chain_id, contract, channel)
    if payment.counterparty != channel.producer:
        raise InvalidPayment(
            f"the payment is for {to_checksum_address(payment.counterparty)}, but channel {channel.number} belongs to "
            f"the producer {to_checksum_address(channel.producer)}"
        )
    if payment.signer() != channel.consumer:
        raise InvalidPayment(
            f"the payment is not signed by {to_checksum_address(channel.consumer)}, the consumer of channel "
            f"{channel.number}"
        )
    if now_s + margin_s >= channel.valid_until_s:
        raise InvalidPayment(
            f"the validity of channel {channel.number} is over, or ends so soon that closing may come too late; the "
            "consumer can extend it"
        )


def check_closing(closing: SignedTotal, chain_id: int, contract: bytes, channel: OpenChannel) -> None:
    """May the consumer close with this? Raises InvalidPayment with the reason."""
    check_place(closing, chain_id, contract, channel)
    if closing.counterparty != channel.consumer or closing.signer() != channel.producer:
        raise InvalidPayment(f"the closing is not one by the producer of channel {channel.number} for its consumer")


def check_place(signed: SignedTotal, chain_id: int, contract: bytes, channel: OpenChannel) -> None:
    """Chain, contract, channel and deposit. Raises InvalidPayment."""
    word = signed.kind.value
    if signed.chain_id != chain_id:
        raise InvalidPayment(f"the {word} is for chain {signed.chain_id}, this is chain {chain_id}")
    if signed.contract != contract:
        raise InvalidPayment(f"the {word} is for another contract, {to_checksum_address(signed.contract)}")
    if signed.channel != channel.number:
        raise InvalidPayment(f"the {word} is for channel {signed.channel}, not for channel {channel.number}")
    if signed.total_wei > channel.deposit_wei:
        raise InvalidPayment(
            f"the {word} is for {signed.total_wei} wei in all, but channel {channel.number} holds only "
            f"{channel.deposit_wei} wei; the consumer can top it up"
        )


def _hash(kind: Kind, chain_id: int, contract: bytes, channel: int, counterparty: bytes, total_wei: int) -> bytes:
    if kind is Kind.PAYMENT:
        message = {"channel": channel, "producer": counterparty, "totalWei": total_wei}
        return payment_typed_data(chain_id, contract).hash(message)
    message = {"channel": channel, "consumer": counterparty, "totalWei": total_wei}
    return closing_typed_data(chain_id, contract).hash(message)


def _whole(value: object, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= MAX_CHANNEL:
        raise InvalidPayment(f"{name} must be a whole number above zero")
    return value
