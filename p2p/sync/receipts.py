"""Receipts that a peer sent. What they are worth, their root says; here they only become receipts at all."""

from chain.receipt import Receipt, decode_receipts
from primitives.errors import InvalidBlock, InvalidRlp

MAX_TYPE = 0x7F
"""A typed receipt begins with its type, which is below every beginning of a list (EIP-2718)."""


MAX_ITEMS = 1 << 19
"""A log without topics takes 375 gas and four items: 30 million gas buy 320,000 in all. Some 40 MB when decoded."""


def decode_foreign_receipts(encoded: bytes) -> list[Receipt]:
    """Without what the root does not commit to, but for the gas of each, which follows. Raises InvalidBlock."""
    try:
        receipts = decode_receipts(encoded, MAX_ITEMS)
    except InvalidRlp as error:
        raise InvalidBlock(f"malformed receipts: {error}") from error
    if any(receipt.type > MAX_TYPE for receipt in receipts):
        raise InvalidBlock("a receipt of a type that there is not")
    committed: list[Receipt] = []
    gas_before = 0
    for receipt in receipts:
        gas = receipt.cumulative_gas_used
        committed.append(Receipt(receipt.type, receipt.succeeded, gas, receipt.logs, gas - gas_before))
        gas_before = gas
    return committed
