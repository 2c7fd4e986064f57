"""Two nodes of one chain for the tests of this folder: keys that are always the same, and finished sessions."""

from p2p.handshake import Handshake, Session
from p2p.identity import AllowList, LocalIdentity, Network, new_local_identity

NETWORK = Network(31_337, bytes(range(32)))
EVERYBODY = AllowList()


def node_key(number: int) -> bytes:
    return number.to_bytes(32, "big")


def identity(number: int, network: Network = NETWORK) -> LocalIdentity:
    return new_local_identity(network, node_key(number))


def pair(first: LocalIdentity, second: LocalIdentity) -> tuple[Handshake, Handshake]:
    """The initiator's and the responder's side of a handshake that has not begun."""
    return Handshake(first, initiator=True, allowed=EVERYBODY), Handshake(second, initiator=False, allowed=EVERYBODY)


def run(initiator: Handshake, responder: Handshake) -> None:
    """Carry the three messages."""
    responder.read(initiator.write())
    initiator.read(responder.write())
    responder.read(initiator.write())


def sessions() -> tuple[Session, Session]:
    sides = pair(identity(1), identity(2))
    run(*sides)
    first, second = sides[0].session, sides[1].session
    assert first is not None
    assert second is not None
    return first, second
