"""What QBFT signs, and who signed: secp256k1 over a hash that no other chain and no other use of the key shares.

The hash is keccak-256 of the prefix and the RLP of [chain id, genesis hash, kind, height, round, claim], with the list
of the validators as a seventh item where operators named them for that height. The prefix begins with 0x19 in the way
of EIP-191, so it can be no transaction, no header, no typed data and no personal message. A commit's signature is the
seal. Its round is part of what is signed, and has to be: see docs/consensus.md.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

from chain.consensus.qbft.messages import SIGNATURE_BYTES, Message, claim_item, kind_of
from chain.consensus.qbft.validators import ValidatorSet
from primitives import rlp, secp256k1
from primitives.errors import InvalidSignature
from primitives.keccak import keccak256

PREFIX = b"\x19Wattchain QBFT 1\n"

MAX_REMEMBERED_SIGNATURES = 4096
"""Recoveries that are not repeated when the same message, or a certificate made of it, comes again: about 1 MB."""

Recover = Callable[[bytes, bytes], bytes]
"""(32-byte hash, 65-byte signature) -> 20-byte address; raises InvalidSignature."""

_M = TypeVar("_M", bound=Message)


class Signer(Protocol):
    """A validator's key, wherever it is kept."""

    @property
    def address(self) -> bytes:
        """The 20 bytes that stand in the validator set."""

    def sign(self, digest: bytes) -> bytes:
        """The 65-byte signature over a 32-byte hash."""


class KeySigner:
    """A validator's key in memory."""

    def __init__(self, private_key: bytes) -> None:
        self._private_key = private_key
        self._address = secp256k1.address_of(private_key)

    @property
    def address(self) -> bytes:
        return self._address

    def sign(self, digest: bytes) -> bytes:
        y_parity, r, s = secp256k1.sign(digest, self._private_key)
        return r.to_bytes(32, "big") + s.to_bytes(32, "big") + bytes((y_parity,))


def recover_signer(digest: bytes, signature: bytes) -> bytes:
    """The address that signed; one signature form only (low s). Raises InvalidSignature."""
    if len(signature) != SIGNATURE_BYTES:
        raise InvalidSignature(f"a signature of {len(signature)} bytes; it has {SIGNATURE_BYTES}")
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:64], "big")
    return secp256k1.recover_address(digest, signature[64], r, s)


@dataclass(frozen=True, slots=True)
class Domain:
    """The chain that a message belongs to, and the blocks of it whose validators its operators have named."""

    chain_id: int
    genesis_hash: bytes
    overrides: tuple[tuple[int, ValidatorSet], ...] = ()
    """Block numbers with the validators that operators agreed on. What was voted on such a block before they did is
    worth nothing any more, whoever repeats it: with fewer validators it might make up a quorum for a block that is
    none."""

    def override_at(self, height: int) -> ValidatorSet | None:
        return next((validators for number, validators in self.overrides if number == height), None)

    def digest(self, message: Message) -> bytes:
        """The 32 bytes that the sender signs."""
        items = [
            rlp.encode_int(self.chain_id),
            self.genesis_hash,
            rlp.encode_int(kind_of(message)),
            rlp.encode_int(message.height),
            rlp.encode_int(message.round),
            claim_item(message),
        ]
        override = self.override_at(message.height)
        if override is not None:
            items.append(list(override.addresses))
        return keccak256(PREFIX + rlp.encode(items))


class Authenticator:
    """Signs and recovers for one chain; remembers what it recovered."""

    def __init__(self, domain: Domain, recover: Recover = recover_signer) -> None:
        self._domain = domain
        self._recover = recover
        self._known: OrderedDict[tuple[bytes, bytes], bytes] = OrderedDict()

    def is_signed_by(self, address: bytes, message: Message) -> bool:
        """Whether this address signed the message."""
        try:
            return self.sender(message) == address
        except InvalidSignature:
            return False

    def signed(self, message: _M, signer: Signer) -> _M:
        """The message with its signature."""
        return replace(message, signature=signer.sign(self._domain.digest(message)))

    def sender(self, message: Message) -> bytes:
        """The address that signed the message. Raises InvalidSignature."""
        return self._address(self._domain.digest(message), message.signature)

    def quorum_signed(self, message: Message, signatures: Sequence[bytes], validators: ValidatorSet) -> bool:
        """Whether a quorum of distinct validators signed this (itself unsigned) message.

        The signatures stand in the strict order of their addresses: one form only, and none counts twice.
        """
        if not validators.quorum <= len(signatures) <= len(validators):
            return False
        digest = self._domain.digest(message)
        previous = b""
        for signature in signatures:
            try:
                address = self._address(digest, signature)
            except InvalidSignature:
                return False
            if address <= previous or address not in validators:
                return False
            previous = address
        return True

    def _address(self, digest: bytes, signature: bytes) -> bytes:
        key = (digest, signature)
        address = self._known.get(key)
        if address is None:
            address = self._known[key] = self._recover(digest, signature)
            if len(self._known) > MAX_REMEMBERED_SIGNATURES:
                self._known.popitem(last=False)
        return address
