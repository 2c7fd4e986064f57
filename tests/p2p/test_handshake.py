"""Two nodes that find out who the other is, and everybody who must not get so far."""

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from p2p.handshake import MESSAGE_BYTES, Handshake, InvalidHandshake
from p2p.identity import AllowList, InvalidIdentity, LocalIdentity, Network, NodeRefused
from primitives.errors import Invalid
from tests.p2p.peers import EVERYBODY, NETWORK, identity, pair, run, sessions


def test_both_know_each_other_and_can_talk() -> None:
    initiator, responder = sessions()
    assert initiator.node_id == identity(2).node_id
    assert responder.node_id == identity(1).node_id
    assert initiator.handshake_hash == responder.handshake_hash
    assert responder.receiving.decrypt_with_ad(b"", initiator.sending.encrypt_with_ad(b"", b"kWh")) == b"kWh"
    assert initiator.receiving.decrypt_with_ad(b"", responder.sending.encrypt_with_ad(b"", b"Wh")) == b"Wh"


def test_the_messages_have_the_sizes_they_always_have() -> None:
    initiator, responder = pair(identity(1), identity(2))
    sizes = []
    for _ in range(3):
        writer, reader = (initiator, responder) if initiator.is_my_turn else (responder, initiator)
        message = writer.write()
        sizes.append(len(message))
        reader.read(message)
    assert tuple(sizes) == MESSAGE_BYTES == (32, 161, 129)


@pytest.mark.parametrize("other", [Network(31_338, NETWORK.genesis_hash), Network(31_337, b"\x01" * 32)])
def test_nodes_of_other_chains_do_not_get_past_the_second_message(other: Network) -> None:
    initiator, responder = pair(identity(1), identity(2, other))
    responder.read(initiator.write())
    with pytest.raises(InvalidHandshake, match="message 2"):
        initiator.read(responder.write())


def test_whoever_answers_in_anothers_place_is_refused_before_he_knows_who_called() -> None:
    initiator = Handshake(identity(1), initiator=True, allowed=EVERYBODY, expected=identity(3).node_id)
    responder = Handshake(identity(2), initiator=False, allowed=EVERYBODY)
    responder.read(initiator.write())
    with pytest.raises(NodeRefused, match="reached 0x"):
        initiator.read(responder.write())
    assert initiator.session is None


def test_a_node_that_is_not_on_the_allow_list_is_refused_by_either_side() -> None:
    closed = AllowList(frozenset([identity(9).node_id]))
    initiator = Handshake(identity(1), initiator=True, allowed=closed)
    responder = Handshake(identity(2), initiator=False, allowed=EVERYBODY)
    with pytest.raises(NodeRefused, match="allow-list"):
        run(initiator, responder)
    initiator = Handshake(identity(1), initiator=True, allowed=EVERYBODY)
    responder = Handshake(identity(2), initiator=False, allowed=closed)
    with pytest.raises(NodeRefused, match="allow-list"):
        run(initiator, responder)
    assert responder.session is None


def test_a_node_does_not_talk_to_itself() -> None:
    with pytest.raises(NodeRefused, match="ourselves"):
        run(*pair(identity(1), identity(1)))


def test_a_certificate_of_somebody_elses_static_key_does_not_help() -> None:
    """A thief of a certificate lacks the static key; with his own, the certificate names nobody in particular."""
    victim = identity(2)
    thief = LocalIdentity(NETWORK, victim.node_id, X25519PrivateKey.generate(), victim.certificate)
    initiator = Handshake(identity(1), initiator=True, allowed=EVERYBODY, expected=victim.node_id)
    responder = Handshake(thief, initiator=False, allowed=EVERYBODY)
    responder.read(initiator.write())
    with pytest.raises((NodeRefused, InvalidIdentity)):
        initiator.read(responder.write())


def run_altered(sides: tuple[Handshake, Handshake], index: int, position: int) -> None:
    for turn in range(3):
        message = bytearray(sides[turn % 2].write())
        if turn == index:
            message[position] ^= 0x80
        sides[1 - turn % 2].read(bytes(message))


@pytest.mark.parametrize("index", [0, 1, 2])
def test_any_altered_byte_ends_the_handshake(index: int) -> None:
    for position in range(0, MESSAGE_BYTES[index], 3):
        sides = pair(identity(1), identity(2))
        with pytest.raises(Invalid):
            run_altered(sides, index, position)
        assert sides[1 - index % 2].session is None


@pytest.mark.parametrize("size", [0, 1, 31, 33, 65_535])
def test_a_message_of_another_size_is_refused(size: int) -> None:
    responder = Handshake(identity(1), initiator=False, allowed=EVERYBODY)
    with pytest.raises(InvalidHandshake, match="32 bytes"):
        responder.read(bytes(size))
