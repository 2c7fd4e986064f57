"""Sealed orders of one's own, kept until they are revealed: a file each, which only its owner can read.

Who loses it cannot reveal the order, since the secret number in it is nowhere else.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from contracts.auction import MAX_ORDER_WH, SALT_BYTES, Side, commitment_of
from primitives.errors import InvalidHex, UserError
from primitives.hexadecimal import parse_data, to_data
from wallet.key_directory import write_private_file

FOLDER = "sealed-orders"
MAX_FILE_BYTES = 4_096


@dataclass(frozen=True, slots=True)
class SealedOrder:
    """The terms of an order that the ledger knows by their hash only."""

    chain_id: int
    slot_s: int
    account: bytes
    side: Side
    energy_wh: int
    price_wei_per_wh: int
    salt: bytes

    @property
    def commitment(self) -> bytes:
        return commitment_of(
            self.chain_id, self.slot_s, self.account, self.side, self.energy_wh, self.price_wei_per_wh, self.salt
        )


class SealedOrders:
    """The folder of them, beside the keys."""

    def __init__(self, keystore: Path) -> None:
        self._folder = keystore.parent / FOLDER

    def keep(self, order: SealedOrder) -> Path:
        """Write an order down. Raises UserError where that is not possible: then it must not be sent."""
        path = self._path(order.slot_s, order.account, order.commitment)
        values = asdict(order) | {"account": to_data(order.account), "salt": to_data(order.salt)}
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_private_file(path, json.dumps(values, indent=1) + "\n")
        except OSError as error:
            raise UserError(f"The secret of the order cannot be kept in {path}: {error.strerror}.") from error
        return path

    def forget(self, order: SealedOrder) -> None:
        """Where it is on the ledger for all to see, or was never sent."""
        self._path(order.slot_s, order.account, order.commitment).unlink(missing_ok=True)

    def find(self, slot_s: int, account: bytes, commitment: bytes) -> SealedOrder:
        """Raises UserError where it is not here, or is not what the ledger has the hash of."""
        path = self._path(slot_s, account, commitment)
        try:
            if path.stat().st_size > MAX_FILE_BYTES:
                raise UserError(f"{path} is no sealed order.")
            order = _parse(json.loads(path.read_text("utf-8")))
        except FileNotFoundError as error:
            raise UserError(
                f"The secret of this order is not here: it would be in {path}. Reveal it where it was sealed."
            ) from error
        except (OSError, ValueError, KeyError, TypeError, InvalidHex) as error:
            raise UserError(f"{path} cannot be read as a sealed order.") from error
        if order.commitment != commitment:
            raise UserError(f"{path} is not what was sealed: the ledger has another hash.")
        return order

    def _path(self, slot_s: int, account: bytes, commitment: bytes) -> Path:
        return self._folder / f"{slot_s}-{account.hex()}-{commitment[:8].hex()}.json"


def _parse(values: dict[str, object]) -> SealedOrder:
    energy_wh, price = int(str(values["energy_wh"])), int(str(values["price_wei_per_wh"]))
    if not 0 < energy_wh <= MAX_ORDER_WH or not 0 < price < 2**64:
        raise ValueError("terms out of range")
    return SealedOrder(
        chain_id=int(str(values["chain_id"])),
        slot_s=int(str(values["slot_s"])),
        account=parse_data(str(values["account"]), 20),
        side=Side(int(str(values["side"]))),
        energy_wh=energy_wh,
        price_wei_per_wh=price,
        salt=parse_data(str(values["salt"]), SALT_BYTES),
    )
