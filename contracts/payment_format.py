"""What the two parties of a payment channel sign, as the PaymentChannel contract checks it (EIP-712).

After a purchase the consumer signs a Payment: the total due up to now. A producer signs a Closing where the consumer is
to close before the validity ends. The signature goes in the short form of ERC-2098 (contracts/reading_format.py).
"""

from contracts.addresses import PAYMENT_CHANNEL_ADDRESS
from primitives.eip712 import TypedData

DOMAIN_NAME = "Wattchain PaymentChannel"
DOMAIN_VERSION = "1"

PAYMENT_FIELDS = (("channel", "uint256"), ("producer", "address"), ("totalWei", "uint256"))
CLOSING_FIELDS = (("channel", "uint256"), ("consumer", "address"), ("totalWei", "uint256"))
"""(name, type) of each signed field. Each names the other party, who is the one that can use it."""

MAX_VALIDITY_S = 366 * 86_400
"""How far the end of a channel's validity may lie ahead."""
MAX_DEPOSIT_WEI = 2**96 - 1


def payment_typed_data(chain_id: int, contract: bytes = PAYMENT_CHANNEL_ADDRESS) -> TypedData:
    """Hashes payments (mappings by the names in PAYMENT_FIELDS): `.hash` is what the consumer signs."""
    return _typed_data("Payment", PAYMENT_FIELDS, chain_id, contract)


def closing_typed_data(chain_id: int, contract: bytes = PAYMENT_CHANNEL_ADDRESS) -> TypedData:
    """Hashes closings (mappings by the names in CLOSING_FIELDS): `.hash` is what the producer signs."""
    return _typed_data("Closing", CLOSING_FIELDS, chain_id, contract)


def _typed_data(name: str, fields: tuple[tuple[str, str], ...], chain_id: int, contract: bytes) -> TypedData:
    domain = {
        "name": DOMAIN_NAME,
        "version": DOMAIN_VERSION,
        "chainId": chain_id,
        "verifyingContract": contract,
    }
    return TypedData(domain, {name: [{"name": field, "type": kind} for field, kind in fields]}, name)
