"""Who a node is: the 20-byte address of its secp256k1 key, which certifies the static key of its connections.

The certificate is the node's signature over EIP-712 typed data that names the static key and the chain, so it can be
neither carried to another chain nor mistaken for a transaction, a block or a reading signed with the same key.
"""

from collections.abc import Collection
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from primitives import secp256k1
from primitives.eip712 import TypedData
from primitives.errors import Invalid, InvalidSignature
from primitives.hexadecimal import to_checksum_address

NodeId = bytes
"""20 bytes: the address of the node's key. A validator's node id is its address as a validator."""

CERTIFICATE_BYTES = 65
"""y_parity || r || s."""

_PROLOGUE_NAME = b"wattchain/1"
_CERTIFICATE_TYPES = {"StaticKey": [{"name": "staticKey", "type": "bytes32"}]}


class InvalidIdentity(Invalid):
    """The certificate of a peer is malformed, or says that it is somebody else."""


class NodeRefused(Invalid):
    """The peer is who it says it is, and we do not want it: not on the allow-list, not whom we called, or ourselves."""


@dataclass(frozen=True, slots=True)
class Network:
    """Which chain a connection is for."""

    chain_id: int
    genesis_hash: bytes

    @property
    def prologue(self) -> bytes:
        """What both sides mix into the handshake first: with another chain's node it fails."""
        return _PROLOGUE_NAME + self.chain_id.to_bytes(32, "big") + self.genesis_hash

    def certificate_hash(self, static_public_key: bytes) -> bytes:
        """The 32 bytes that a node's key signs to certify a static key."""
        domain = {"name": "Wattchain peer", "version": "1", "chainId": self.chain_id, "salt": self.genesis_hash}
        return TypedData(domain, _CERTIFICATE_TYPES, "StaticKey").hash({"staticKey": static_public_key})


@dataclass(frozen=True, slots=True)
class LocalIdentity:
    """This node as its peers see it, and the secret that proves it."""

    network: Network
    node_id: NodeId
    static_key: X25519PrivateKey
    certificate: bytes

    def __repr__(self) -> str:
        return f"LocalIdentity({to_checksum_address(self.node_id)})"


def new_local_identity(network: Network, node_private_key: bytes) -> LocalIdentity:
    """An identity with a fresh static key, which lives as long as the process: nothing but the node's key is stored."""
    static_key = X25519PrivateKey.generate()
    certificate = certify(network, static_key.public_key().public_bytes_raw(), node_private_key)
    return LocalIdentity(network, secp256k1.address_of(node_private_key), static_key, certificate)


def certify(network: Network, static_public_key: bytes, node_private_key: bytes) -> bytes:
    """The 65-byte certificate of a static key."""
    y_parity, r, s = secp256k1.sign(network.certificate_hash(static_public_key), node_private_key)
    return bytes((y_parity,)) + r.to_bytes(32, "big") + s.to_bytes(32, "big")


def certified_node(network: Network, static_public_key: bytes, certificate: bytes) -> NodeId:
    """The node that certified the static key. Raises InvalidIdentity.

    Every well-formed signature is somebody's: it is for the caller to say whom it expects.
    """
    if len(certificate) != CERTIFICATE_BYTES:
        raise InvalidIdentity(f"a certificate has {CERTIFICATE_BYTES} bytes, not {len(certificate)}")
    r, s = int.from_bytes(certificate[1:33], "big"), int.from_bytes(certificate[33:], "big")
    try:
        return secp256k1.recover_address(network.certificate_hash(static_public_key), certificate[0], r, s)
    except InvalidSignature as error:
        raise InvalidIdentity(f"the certificate of a peer: {error}") from error


@dataclass(frozen=True, slots=True)
class AllowList:
    """Which nodes may connect, in either direction: all, or those named."""

    nodes: Collection[NodeId] | None = None

    def check(self, node_id: NodeId) -> None:
        """Raises NodeRefused."""
        if self.nodes is not None and node_id not in self.nodes:
            raise NodeRefused(f"the node {to_checksum_address(node_id)} is not on the allow-list")
