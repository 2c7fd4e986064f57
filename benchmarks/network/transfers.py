"""The transfers of a load: many senders that take turns, signed beforehand, so that handing them in costs little.

Everything follows from the chain id and the numbers; nothing is random. Transfer n is sender n mod count's, with that
sender's next nonce, so that any first part of the transfers can run.
"""

from collections.abc import Iterator, Sequence

from chain.transaction import DYNAMIC_FEE, Transaction, sign_transaction
from chain.validity import TRANSACTION_GAS
from primitives.keccak import keccak256
from primitives.secp256k1 import address_of

FUNDS_WEI = 10**24
"""Of every sender, from the genesis on: more than it can ever send."""


def sender_key(index: int) -> bytes:
    return keccak256(b"benchmark sender %d" % index)


def sender_addresses(senders: int) -> list[bytes]:
    return [address_of(sender_key(index)) for index in range(senders)]


def signed_transfers(
    chain_id: int, senders: int, count: int, recipients: Sequence[bytes] | None = None
) -> Iterator[Transaction]:
    """The first `count` transfers, of 1 wei each, to the recipients in turn; to the senders themselves where none are
    named."""
    addresses = sender_addresses(senders) if recipients is None else recipients
    keys = [sender_key(index) for index in range(senders)]
    for number in range(count):
        nonce, sender = divmod(number, senders)
        recipient = addresses[(number + 1) % len(addresses)]
        unsigned = Transaction(DYNAMIC_FEE, chain_id, nonce, 0, 0, TRANSACTION_GAS, recipient, 1, b"")
        yield sign_transaction(unsigned, keys[sender])
