"""Long vouchers: credit that a supplier signs off-line (EIP-712), as Exhaustion redeems it, and as text to print.

A voucher is for one meter, or for whoever bears it: then it has a key of its own, whose private half is part of the
text and signs, on redeeming, for which meter. So nobody who sees the transaction can redeem it for another meter.
"""

import base64
import binascii
from dataclasses import dataclass

from contracts.addresses import EXHAUSTION_ADDRESS
from contracts.reading_format import compact_signature
from primitives.eip712 import TypedData
from primitives.errors import UserError
from primitives.keccak import keccak256
from primitives.secp256k1 import address_of, private_key_is_valid, sign

VOUCHER_FIELDS = (
    ("supplier", "address"),
    ("meter", "address"),
    ("holder", "address"),
    ("amountWei", "uint128"),
    ("serial", "uint64"),
    ("expiry", "uint64"),
)
REDEMPTION_FIELDS = (("voucher", "bytes32"), ("meter", "address"))
DOMAIN_NAME = "Wattchain Exhaustion"
DOMAIN_VERSION = "1"
MAX_REVOKED = 64
"""Serial numbers that revokeVouchers takes at once."""
MAX_AMOUNT_WEI = 10**33
NO_ADDRESS = bytes(20)
NO_SIGNATURE = (bytes(32), bytes(32))

TEXT_PREFIX = "WATT"
_GROUP = 5
_FORM = 1
_CHECK_BYTES = 4
_FOR_METER, _FOR_BEARER = 0, 1
_TEXT_BYTES = 1 + 1 + 8 + 20 + 32 + 16 + 8 + 8 + 64 + _CHECK_BYTES


@dataclass(frozen=True, slots=True)
class Voucher:
    """Exhaustion's `struct Voucher`: either `meter` or `holder` is set."""

    supplier: bytes
    amount_wei: int
    serial: int
    expiry_s: int
    """Last Unix time at which it is redeemed."""
    meter: bytes = NO_ADDRESS
    holder: bytes = NO_ADDRESS
    """Address of the key of a bearer's voucher."""

    def argument(self) -> tuple[object, ...]:
        """As the contract takes it."""
        return self.supplier, self.meter, self.holder, self.amount_wei, self.serial, self.expiry_s

    def fields(self) -> dict[str, object]:
        return dict(zip((name for name, _ in VOUCHER_FIELDS), self.argument(), strict=True))


@dataclass(frozen=True, slots=True)
class SignedVoucher:
    """All that is needed to redeem it, on the chain with this id."""

    voucher: Voucher
    signature: tuple[bytes, bytes]
    """(r, vs) as in ERC-2098."""
    chain_id: int
    holder_key: bytes | None = None
    """Private key of a bearer's voucher: who has it has the money."""

    def redemption(self, meter: bytes, exhaustion: bytes = EXHAUSTION_ADDRESS) -> tuple[object, ...]:
        """The arguments of `redeem`. Raises UserError where the voucher is for another meter."""
        if self.holder_key is None:
            return self.voucher.argument(), self.signature, meter, NO_SIGNATURE
        typed_data = _typed_data("Redemption", REDEMPTION_FIELDS, self.chain_id, exhaustion)
        voucher_hash = voucher_typed_data(self.chain_id, exhaustion).struct_hash(self.voucher.fields())
        hash_ = typed_data.hash({"voucher": voucher_hash, "meter": meter})
        return self.voucher.argument(), self.signature, meter, compact_signature(*sign(hash_, self.holder_key))

    def to_text(self) -> str:
        """Capital letters and digits in groups of five, with a checksum against mistyping."""
        voucher = self.voucher
        kind, whom = (_FOR_METER, voucher.meter) if self.holder_key is None else (_FOR_BEARER, self.holder_key)
        body = b"".join(
            (
                bytes((_FORM, kind)),
                self.chain_id.to_bytes(8, "big"),
                voucher.supplier,
                whom.rjust(32, b"\0"),
                voucher.amount_wei.to_bytes(16, "big"),
                voucher.serial.to_bytes(8, "big"),
                voucher.expiry_s.to_bytes(8, "big"),
                *self.signature,
            )
        )
        letters = base64.b32encode(body + keccak256(body)[:_CHECK_BYTES]).decode().rstrip("=")
        groups = [letters[start : start + _GROUP] for start in range(0, len(letters), _GROUP)]
        return "-".join([TEXT_PREFIX, *groups])


def issue_voucher(
    supplier_key: bytes,
    amount_wei: int,
    serial: int,
    expiry_s: int,
    chain_id: int,
    *,
    meter: bytes | None = None,
    holder_key: bytes | None = None,
    exhaustion: bytes = EXHAUSTION_ADDRESS,
) -> SignedVoucher:
    """Signs a voucher for a meter or, with a fresh `holder_key`, for whoever bears it.

    Raises UserError where both or neither are given, or where a number is out of range.
    """
    if (meter is None) == (holder_key is None):
        raise UserError("a voucher is for a meter, or for whoever bears it")
    for what, value, most in (
        ("the amount in wei", amount_wei, MAX_AMOUNT_WEI),
        ("the serial number", serial, 2**64 - 1),
        ("the time at which a voucher expires", expiry_s, 2**64 - 1),
    ):
        if not (0 if what == "the serial number" else 1) <= value <= most:
            raise UserError(f"{what} must be at most {most} and above 0, got {value}")
    voucher = Voucher(
        address_of(supplier_key),
        amount_wei,
        serial,
        expiry_s,
        meter or NO_ADDRESS,
        NO_ADDRESS if holder_key is None else address_of(holder_key),
    )
    hash_ = voucher_typed_data(chain_id, exhaustion).hash(voucher.fields())
    return SignedVoucher(voucher, compact_signature(*sign(hash_, supplier_key)), chain_id, holder_key)


def voucher_from_text(text: str) -> SignedVoucher:
    """The voucher of a printed text, typed with or without its groups and in any case. Raises UserError."""
    letters = "".join(character for character in text.upper() if character.isalnum())
    if not letters.startswith(TEXT_PREFIX) or len(letters) > 2 * _TEXT_BYTES:
        raise UserError(f"a voucher begins with {TEXT_PREFIX}")
    letters = letters[len(TEXT_PREFIX) :]
    try:
        data = base64.b32decode(letters + "=" * (-len(letters) % 8))
    except (binascii.Error, ValueError) as error:
        raise UserError("this is not a voucher: it has letters that no voucher has, or lacks some") from error
    body, check = data[:-_CHECK_BYTES], data[-_CHECK_BYTES:]
    if len(data) != _TEXT_BYTES or keccak256(body)[:_CHECK_BYTES] != check:
        raise UserError("this voucher is mistyped or incomplete")
    if body[0] != _FORM or body[1] not in (_FOR_METER, _FOR_BEARER):
        raise UserError("this voucher is of a form that this version of Wattchain does not know")
    is_bearers = body[1] == _FOR_BEARER
    whom, rest = body[30:62], body[62:]
    if is_bearers and not private_key_is_valid(whom):
        raise UserError("this voucher has a key of its own that cannot sign")
    voucher = Voucher(
        supplier=body[10:30],
        amount_wei=int.from_bytes(rest[:16], "big"),
        serial=int.from_bytes(rest[16:24], "big"),
        expiry_s=int.from_bytes(rest[24:32], "big"),
        meter=NO_ADDRESS if is_bearers else whom[12:],
        holder=address_of(whom) if is_bearers else NO_ADDRESS,
    )
    signature = (rest[32:64], rest[64:96])
    return SignedVoucher(voucher, signature, int.from_bytes(body[2:10], "big"), whom if is_bearers else None)


def voucher_typed_data(chain_id: int, exhaustion: bytes = EXHAUSTION_ADDRESS) -> TypedData:
    """Hashes vouchers (mappings by the names in VOUCHER_FIELDS)."""
    return _typed_data("Voucher", VOUCHER_FIELDS, chain_id, exhaustion)


def _typed_data(name: str, fields: tuple[tuple[str, str], ...], chain_id: int, exhaustion: bytes) -> TypedData:
    domain = {"name": DOMAIN_NAME, "version": DOMAIN_VERSION, "chainId": chain_id, "verifyingContract": exhaustion}
    return TypedData(domain, {name: [{"name": field, "type": kind} for field, kind in fields]}, name)
