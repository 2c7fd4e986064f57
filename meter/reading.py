"""A meter's reading: what it says, its EIP-712 hash, and the signature of the meter's own key.

The same struct as `IMeter.Reading` in contracts/src/IMeter.sol, in the domain of one Meter contract on one chain, so
that anybody may carry a reading to the ledger and nobody can alter it. Readings are chained: each names the hashStruct
of the one signed before. Signatures are in the short form of ERC-2098 (r, vs).
"""

from dataclasses import astuple, dataclass
from typing import NamedTuple

from contracts.reading_format import (
    FIRST_PREVIOUS_HASH,
    MAX_REGISTER_WH,
    MAX_SEQUENCE,
    READING_FIELDS,
    StatusFlag,
    compact_signature,
    reading_typed_data,
)
from meter.signer import Signer
from primitives import secp256k1
from primitives.abi import encode
from primitives.errors import InvalidReading, InvalidSignature
from primitives.keccak import keccak256

# As wide as the contract's own types; it bounds the sequence and the registers further.
MAX_TIME_S = 2**48 - 1
MAX_FLAGS = 2**16 - 1
MAX_ABSOLUTE_POWER_W = 2**31 - 1

NO_HASH = FIRST_PREVIOUS_HASH
"""What the first reading of a meter names as the one before."""

# The hash of the struct's type is the same in every domain.
_TYPE_HASH = reading_typed_data(chain_id=0).type_hash
_STRUCT_TYPES = ("bytes32", *(kind for _, kind in READING_FIELDS))
_HIGH_BIT = 1 << 255


@dataclass(frozen=True, slots=True)
class Reading:
    """One reading. Registers are cumulative; power is negative while more is given to the grid than taken."""

    meter: bytes
    """20-byte address of the meter's own key."""
    sequence: int
    """1 for the first, rising by one."""
    time_s: int
    """Unix time."""
    import_wh: int
    export_wh: int
    power_w: int
    flags: int
    """A sum of `StatusFlag` bits."""
    previous_hash: bytes
    """hashStruct of the reading before, zero for the first."""

    def __post_init__(self) -> None:
        """Raises InvalidReading for what the contract would refuse as out of range."""
        if len(self.meter) != 20 or len(self.previous_hash) != 32:
            raise InvalidReading("a reading names its meter in 20 bytes and the reading before in 32")
        for name, value, least, greatest in (
            ("sequence", self.sequence, 1, MAX_SEQUENCE),
            ("time", self.time_s, 0, MAX_TIME_S),
            ("import register", self.import_wh, 0, MAX_REGISTER_WH),
            ("export register", self.export_wh, 0, MAX_REGISTER_WH),
            ("power", self.power_w, -MAX_ABSOLUTE_POWER_W, MAX_ABSOLUTE_POWER_W),
            ("flags", self.flags, 0, MAX_FLAGS),
        ):
            if not least <= value <= greatest:
                raise InvalidReading(f"the {name} of a reading is {value}, outside {least} to {greatest}")

    @property
    def hash(self) -> bytes:
        """hashStruct (EIP-712): 32 bytes that do not depend on the chain."""
        return keccak256(encode(_STRUCT_TYPES, (_TYPE_HASH, *astuple(self))))


class Signature(NamedTuple):
    """r, and s with the parity of the point in its highest bit (ERC-2098); 32 bytes each."""

    r: bytes
    vs: bytes

    def parts(self) -> tuple[int, int, int]:
        """(y_parity, r, s), whatever the bytes are; who recovers a key from them checks their range."""
        vs = int.from_bytes(self.vs, "big")
        return vs >> 255, int.from_bytes(self.r, "big"), vs & ~_HIGH_BIT


@dataclass(frozen=True, slots=True)
class SignedReading:
    reading: Reading
    signature: Signature


class ReadingDomain:
    """The Meter contract at an address on a chain: what signatures of readings are bound to."""

    def __init__(self, chain_id: int, contract: bytes) -> None:
        self.chain_id = chain_id
        self.contract = contract
        self.separator = reading_typed_data(chain_id, contract).domain_separator

    def signing_hash(self, reading: Reading) -> bytes:
        """The 32 bytes that the meter signs."""
        return keccak256(b"\x19\x01" + self.separator + reading.hash)

    def sign(self, reading: Reading, signer: Signer) -> SignedReading:
        """Raises InvalidReading where the key is not that of the reading's meter, and what the signer raises."""
        if signer.address != reading.meter:
            raise InvalidReading("the key that signs a reading must be the key of its meter")
        signature = compact_signature(*signer.sign(self.signing_hash(reading)))
        return SignedReading(reading, Signature(*signature))

    def verify(self, signed: SignedReading) -> None:
        """Raises InvalidReading where the signature is not that of the reading's meter."""
        try:
            signer = secp256k1.recover_address(self.signing_hash(signed.reading), *signed.signature.parts())
        except InvalidSignature as error:
            raise InvalidReading(f"the signature of reading {signed.reading.sequence} is invalid: {error}") from error
        if signer != signed.reading.meter:
            raise InvalidReading(f"reading {signed.reading.sequence} was signed by another key than its meter's")


def flag_names(flags: int) -> tuple[str, ...]:
    """The names of set bits, for people; bits without a name are shown by number."""
    known = {flag.value: flag.name or "" for flag in StatusFlag}
    bits = [bit for bit in range(MAX_FLAGS.bit_length()) if flags >> bit & 1]
    return tuple([known[1 << bit].lower().replace("_", " ") if 1 << bit in known else f"bit {bit}" for bit in bits])
