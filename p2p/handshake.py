"""The handshake of two nodes as bytes in and bytes out: Noise XX that carries each side's certificate.

    initiator                                          responder
    e (32 bytes)                              ->
                                              <-       e, ee, s, es, certificate (161 bytes)
    s, se, certificate (129 bytes)            ->

Nobody on the way sees who they are. The initiator checks whom it reached before it says who it is. No socket here.
"""

from dataclasses import dataclass

from p2p.identity import CERTIFICATE_BYTES, AllowList, LocalIdentity, NodeId, NodeRefused, certified_node
from p2p.noise import KEY_BYTES, TAG_BYTES, CipherState, HandshakeState, InvalidNoise
from primitives.errors import Invalid
from primitives.hexadecimal import to_checksum_address

MESSAGE_BYTES = (
    KEY_BYTES,
    2 * KEY_BYTES + TAG_BYTES + CERTIFICATE_BYTES + TAG_BYTES,
    KEY_BYTES + TAG_BYTES + CERTIFICATE_BYTES + TAG_BYTES,
)
"""Exact, so that a stranger who speaks another protocol is recognised by its first two bytes."""


class InvalidHandshake(Invalid):
    """The other side is no node of this chain, or what it sent was altered on the way."""


@dataclass(frozen=True, slots=True)
class Session:
    """What a finished handshake leaves: who the peer is, and the two ciphers."""

    node_id: NodeId
    sending: CipherState
    receiving: CipherState
    handshake_hash: bytes


class Handshake:
    """One side of one handshake: `write` where `is_my_turn`, else `read`, until `session` is there."""

    def __init__(
        self, local: LocalIdentity, *, initiator: bool, allowed: AllowList, expected: NodeId | None = None
    ) -> None:
        self.session: Session | None = None
        self._local = local
        self._allowed = allowed
        self._expected = expected
        self._messages_done = 0
        self._remote: NodeId | None = None
        self._noise = HandshakeState(initiator, local.network.prologue, local.static_key)

    @property
    def is_my_turn(self) -> bool:
        return self._noise.is_my_turn

    @property
    def next_message_bytes(self) -> int:
        """The only size that the next message can have."""
        return MESSAGE_BYTES[self._messages_done]

    def write(self) -> bytes:
        # The first message is readable by anybody, so the certificate waits for the later ones.
        message = self._noise.write_message(self._local.certificate if self._messages_done else b"")
        self._advance()
        return message

    def read(self, message: bytes) -> None:
        """Raises InvalidHandshake, InvalidIdentity or NodeRefused; the handshake is over then."""
        if len(message) != self.next_message_bytes:
            raise InvalidHandshake(
                f"handshake message {self._messages_done + 1} has {self.next_message_bytes} bytes, not {len(message)}"
            )
        try:
            payload = self._noise.read_message(message)
        except InvalidNoise as error:
            raise InvalidHandshake(f"handshake message {self._messages_done + 1}: {error}") from error
        if self._noise.remote_static is not None:
            self._remote = certified_node(self._local.network, self._noise.remote_static, payload)
            self._check(self._remote)
        self._advance()

    def _check(self, node_id: NodeId) -> None:
        if node_id == self._local.node_id:
            raise NodeRefused("connected to ourselves, or to a second machine with our key")
        if self._expected is not None and node_id != self._expected:
            raise NodeRefused(
                f"called {to_checksum_address(self._expected)}, reached {to_checksum_address(node_id)} instead"
            )
        self._allowed.check(node_id)

    def _advance(self) -> None:
        self._messages_done += 1
        if self._noise.is_finished:
            if self._remote is None:
                raise RuntimeError("a handshake finished without a certificate")
            self.session = Session(self._remote, *self._noise.split(), self._noise.handshake_hash)
