"""The proof that a block is final: the commit seals of a quorum, all of one round.

It travels and is stored beside the block, not in its header. Two nodes may hold different certificates for one block;
each of them proves the same. Everything that checks one needs is here: the importer and a light client share it.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from chain.consensus.qbft.messages import (
    MAX_ROUND_BYTES,
    SIGNATURE_BYTES,
    Commit,
    InvalidConsensusMessage,
    signatures_of,
)
from chain.consensus.qbft.signing import Authenticator, Domain, Recover, recover_signer
from chain.consensus.qbft.validators import MAX_VALIDATORS, ValidatorSet
from primitives import rlp
from primitives.errors import InvalidBlock, InvalidRlp

MAX_CERTIFICATE_BYTES = 16 + MAX_VALIDATORS * (SIGNATURE_BYTES + 2)
"""A round and a seal of each validator, with their RLP prefixes."""


class InvalidCertificate(InvalidBlock):
    """Seals do not prove that a block is final."""


@dataclass(frozen=True, slots=True)
class CommitCertificate:
    """The seals that made a block final."""

    round: int
    seals: tuple[bytes, ...]
    """65-byte signatures of the commits, in the strict order of their signers' addresses."""

    def encode(self) -> bytes:
        return rlp.encode([rlp.encode_int(self.round), self.seals])

    @classmethod
    def of(cls, round_: int, seals_by_signer: Mapping[bytes, bytes]) -> "CommitCertificate":
        return cls(round_, tuple(seals_by_signer[address] for address in sorted(seals_by_signer)))


def decode_certificate(data: bytes) -> CommitCertificate:
    """Raises InvalidCertificate where data is not the canonical encoding of one."""
    if len(data) > MAX_CERTIFICATE_BYTES:
        raise InvalidCertificate(f"a certificate of {len(data)} bytes; at most {MAX_CERTIFICATE_BYTES} are allowed")
    try:
        items = rlp.decode(data)
        if not isinstance(items, list) or len(items) != 2:
            raise InvalidCertificate("a certificate has 2 fields: round and seals")
        return CommitCertificate(rlp.decode_int(items[0], MAX_ROUND_BYTES), signatures_of(items[1]))
    except (InvalidRlp, InvalidConsensusMessage) as error:
        raise InvalidCertificate(f"a certificate is not well formed: {error}") from error


def check_certificate(
    certificate: CommitCertificate,
    height: int,
    block_hash: bytes,
    validators: ValidatorSet,
    domain: Domain,
    recover: Recover = recover_signer,
) -> None:
    """Raises InvalidCertificate unless a quorum of distinct validators sealed this block in the certificate's round.

    `validators` are those of this height, which the state at the parent block names.
    """
    commit = Commit(height, certificate.round, block_hash)
    if not Authenticator(domain, recover).quorum_signed(commit, certificate.seals, validators):
        raise InvalidCertificate(
            f"the {len(certificate.seals)} seals of block {height} (0x{block_hash.hex()}) are not, in the order of "
            f"their addresses, of at least {validators.quorum} of its {len(validators)} validators"
        )
