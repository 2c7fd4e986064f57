"""Receipts that a peer sent. What they are worth, their root says; here they only become receipts at all."""

from chain.receipt import Receipt, decode_receipts
from primitives.errors import InvalidBlock, InvalidRlp

MAX_TYPE = 0x7F
"""A typed receipt begins with its type, which is below every beginning of a list (EIP-2718)."""


def decode_foreign_receipts(encoded: bytes) -> list[Receipt]:
    """Raises InvalidBlock."""
    try:
        receipts = decode_receipts(encoded)
    except InvalidRlp as error:
        raise InvalidBlock(f"malformed receipts: {error}") from error
    if any(receipt.type > MAX_TYPE for receipt in receipts):
        raise InvalidBlock("a receipt of a type that there is not")
    return receipts
