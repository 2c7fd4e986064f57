"""Certificates: a quorum's seals of one round prove a block final, nothing less does. With real keys."""

import pytest

from chain.consensus.qbft.certificate import (
    MAX_CERTIFICATE_BYTES,
    CommitCertificate,
    InvalidCertificate,
    check_certificate,
    decode_certificate,
)
from chain.consensus.qbft.messages import Commit, Message, Prepare
from chain.consensus.qbft.signing import Authenticator, Domain, KeySigner
from chain.consensus.qbft.validators import MAX_VALIDATORS, ValidatorSet
from primitives import rlp

DOMAIN = Domain(7, b"\x05" * 32)
SIGNERS = sorted((KeySigner(bytes((index,)) * 32) for index in range(1, 6)), key=lambda signer: signer.address)
VALIDATORS = ValidatorSet.of(signer.address for signer in SIGNERS[:4])
BLOCK_HASH = b"\x09" * 32
HEIGHT = 12


def seal(signer: KeySigner, message: Message | None = None, domain: Domain = DOMAIN) -> bytes:
    return Authenticator(domain).signed(message or Commit(HEIGHT, 2, BLOCK_HASH), signer).signature


def certificate(*seals: bytes) -> CommitCertificate:
    return CommitCertificate(2, seals)


def check(candidate: CommitCertificate, height: int = HEIGHT, block_hash: bytes = BLOCK_HASH) -> None:
    check_certificate(candidate, height, block_hash, VALIDATORS, DOMAIN)


SEALS = [seal(signer) for signer in SIGNERS]


def test_a_quorum_and_all_validators_prove_a_block() -> None:
    check(certificate(*SEALS[:3]))
    check(certificate(*SEALS[1:4]))
    check(certificate(*SEALS[:4]))


@pytest.mark.parametrize(
    "seals",
    [
        (),
        SEALS[:2],
        [SEALS[0], SEALS[0], SEALS[1]],
        [SEALS[1], SEALS[0], SEALS[2]],
        [SEALS[0], SEALS[1], SEALS[4]],
        [*SEALS[:3], SEALS[3], SEALS[3]],
        [*SEALS[:2], seal(SIGNERS[2], Prepare(HEIGHT, 2, BLOCK_HASH))],
        [*SEALS[:2], seal(SIGNERS[2], Commit(HEIGHT, 3, BLOCK_HASH))],
        [*SEALS[:2], seal(SIGNERS[2], domain=Domain(8, DOMAIN.genesis_hash))],
        [*SEALS[:2], bytes(65)],
    ],
    ids=[
        "none", "too few", "repeated", "out of order", "a stranger", "more than there are", "a prepare",
        "another round", "another chain", "no signature",
    ],
)  # fmt: skip
def test_nothing_less_does(seals: list[bytes]) -> None:
    with pytest.raises(InvalidCertificate):
        check(certificate(*seals))


def test_it_proves_this_block_at_this_height_only() -> None:
    with pytest.raises(InvalidCertificate):
        check(certificate(*SEALS[:3]), height=HEIGHT + 1)
    with pytest.raises(InvalidCertificate):
        check(certificate(*SEALS[:3]), block_hash=bytes(32))


def test_seals_of_several_rounds_do_not_add_up() -> None:
    # Two blocks may each gather seals in several rounds; only together within one round they exclude another block.
    mixed = [seal(SIGNERS[0], Commit(HEIGHT, 1, BLOCK_HASH)), *SEALS[1:3]]
    for round_ in (1, 2):
        with pytest.raises(InvalidCertificate):
            check(CommitCertificate(round_, tuple(mixed)))


def test_it_survives_its_encoding() -> None:
    whole = CommitCertificate.of(2, {SIGNERS[index].address: SEALS[index] for index in (3, 0, 2)})
    assert decode_certificate(whole.encode()) == whole
    check(whole)
    largest = CommitCertificate(2**32 - 1, (bytes(65),) * MAX_VALIDATORS)
    assert len(largest.encode()) <= MAX_CERTIFICATE_BYTES
    assert decode_certificate(largest.encode()) == largest


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x80",
        rlp.encode([b"\x01"]),
        rlp.encode([b"\x00", []]),
        rlp.encode([b"\x01", [bytes(64)]]),
        rlp.encode([b"\x01", bytes(65)]),
        rlp.encode([b"\x01", [bytes(65)] * (MAX_VALIDATORS + 1)]),
        bytes(MAX_CERTIFICATE_BYTES + 1),
    ],
)
def test_malformed_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(InvalidCertificate):
        decode_certificate(data)
