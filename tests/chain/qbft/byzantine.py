"""Validators that break the rules, each in its own way."""

from chain.consensus.qbft.events import Broadcast, Output
from chain.consensus.qbft.height import HeightState
from chain.consensus.qbft.machine import QbftMachine
from chain.consensus.qbft.messages import (
    Commit,
    Message,
    Prepare,
    Prepared,
    Proposal,
    RoundChange,
    encode_message,
)
from chain.consensus.qbft.signing import Authenticator
from chain.consensus.qbft.votes import PreparedBlock
from primitives.errors import Invalid
from primitives.keccak import keccak256
from tests.chain.qbft.model_block import DOMAIN, ModelSigner, build_block, model_recover
from tests.chain.qbft.world import Participant, World, decode_once


class ForgetfulMachine(QbftMachine):
    """Never admits in a round change that it saw a block prepared."""

    def _locked(self, state: HeightState) -> PreparedBlock | None:
        return None


class Liar(Participant):
    """Common to those that sign what they please."""

    honest = False

    def __init__(self, world: World, own_address: bytes) -> None:
        super().__init__(world, own_address)
        self._signer = ModelSigner(own_address)
        self._authenticator = Authenticator(DOMAIN, model_recover)

    def signed(self, message: Message) -> bytes:
        return encode_message(self._authenticator.signed(message, self._signer))

    def speak(self, message: Message) -> None:
        self.world.send_to_all(self.address, encode_message(message))


class Silent(Liar):
    """Says nothing, ever."""

    def start(self) -> None:
        return

    def deliver(self, sender: bytes, packet: object) -> None:
        return


class Equivocator(Liar):
    """Proposes two blocks for one round, votes for every block it hears of, and denies what was prepared."""

    machine_class = ForgetfulMachine

    def __init__(self, world: World, own_address: bytes) -> None:
        super().__init__(world, own_address)
        self._supported: set[tuple[bytes, int, int, bytes]] = set()

    def carry_out(self, output: Output) -> None:
        if isinstance(output, Broadcast) and isinstance(output.message, Proposal):
            self._propose_two(output.message)
        else:
            super().carry_out(output)

    def deliver(self, sender: bytes, packet: object) -> None:
        if isinstance(packet, bytes):
            try:
                message = decode_once(packet)
            except Invalid:
                return
            if isinstance(message, (Proposal, Prepare, Commit)):
                self._support(sender, message.height, message.round, message.block_hash)
        super().deliver(sender, packet)

    def _propose_two(self, proposal: Proposal) -> None:
        rng = self.world.rng
        parent_hash = self.disk.head_hash
        block = build_block(proposal.height, parent_hash, self.address, f"other {rng.getrandbits(32)}".encode())
        other = Proposal(proposal.height, proposal.round, keccak256(block), b"", block, proposal.round_changes, ())
        others = [address for address in self.world.validators.addresses if address != self.address]
        rng.shuffle(others)
        half = rng.randint(0, len(others))
        for index, receiver in enumerate(others):
            mine = proposal if index < half else other
            self.world.send(self.address, receiver, self.signed(mine))
            self._support(receiver, mine.height, mine.round, mine.block_hash)

    def _support(self, receiver: bytes, height: int, round_: int, block_hash: bytes) -> None:
        # Once each: two of this kind would answer each other for ever.
        if (receiver, height, round_, block_hash) in self._supported:
            return
        self._supported.add((receiver, height, round_, block_hash))
        for vote in (Prepare(height, round_, block_hash), Commit(height, round_, block_hash)):
            self.world.send(self.address, receiver, self.signed(vote))


class Babbler(Liar):
    """Sends nonsense: bytes, cut messages, and well-signed messages that say impossible things."""

    def deliver(self, sender: bytes, packet: object) -> None:
        rng = self.world.rng
        if rng.random() < 0.5:
            self.world.send(self.address, rng.choice(self.world.validators.addresses), self._nonsense(packet))
        if rng.random() < 0.1 and isinstance(packet, bytes) and self.machine is not None:
            self.world.send_to_all(self.address, packet)  # A replay of somebody else's message.
        super().deliver(sender, packet)

    def _nonsense(self, packet: object) -> bytes:
        rng = self.world.rng
        if isinstance(packet, bytes) and packet and rng.random() < 0.4:
            position = rng.randrange(len(packet))
            return rng.choice([packet[:position], packet[:position] + rng.randbytes(1) + packet[position + 1 :]])
        height = self.height + rng.randint(0, 3)
        round_ = rng.choice([0, 1, 2, rng.randint(0, 50), 2**32 - 1])
        block = build_block(height, self.disk.head_hash, self.address, rng.choice([b"bad", b"good"]))
        block_hash = rng.choice([keccak256(block), rng.randbytes(32)])
        prepared = rng.choice([None, Prepared(rng.randint(0, 60), block_hash)])
        signatures = tuple(rng.randbytes(65) for _ in range(rng.randint(0, 8)))
        change = RoundChange(height, round_, prepared, b"", signatures, block)
        changes = tuple(
            self._authenticator.signed(change.without_proof(), self._signer) for _ in range(rng.randint(0, 5))
        )
        message: Message = rng.choice(
            [
                Prepare(height, round_, block_hash),
                Commit(height, round_, block_hash),
                change,
                change.without_proof(),
                RoundChange(height, round_, None),
                Proposal(height, round_, block_hash, b"", block, changes, signatures),
            ]
        )
        return self.signed(message)


class Twin(Participant):
    """An honest machine, but not the only one with its key: two of them are one Byzantine validator."""

    honest = False

    def speak(self, message: Message) -> None:
        self.world.send_to_all(self.address, encode_message(message))

    def deliver(self, sender: bytes, packet: object) -> None:
        # Each of the two hears most of what is said, but not all of it the same.
        if self.world.rng.random() < 0.8:
            super().deliver(sender, packet)
