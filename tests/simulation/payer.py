"""Users: each has a node of its own, and sends a transaction again until that node has accepted it."""

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from chain.pool.admission import AlreadyKnown
from chain.transaction import DYNAMIC_FEE, Transaction, sign_transaction
from chain.validity import NonceTooLow
from contracts.addresses import VALIDATORS_ADDRESS
from contracts.binding import load_artifact
from primitives.errors import InvalidTransaction
from tests.simulation.chains import CHAIN_ID, KEYS, PAYER_KEYS, PAYERS
from tests.simulation.node import SimulatedNode

if TYPE_CHECKING:
    from tests.simulation.world import World

VOTE_GAS = 400_000


class User(ABC):
    """Makes one transaction after another through one honest node."""

    def __init__(self, world: "World", node: SimulatedNode) -> None:
        self.nonce = 0
        self._world = world
        self._node = node
        self._waiting: Transaction | None = None
        self._is_busy = False

    @abstractmethod
    def next_transaction(self) -> Transaction | None:
        """With the present nonce; None where nothing more is wanted."""

    def act(self) -> None:
        """Submit the next transaction, or the last one again where nothing was heard of it."""
        core, life = self._node.core, self._node.host.life
        if core is None or life is None:
            self._is_busy = False  # whoever was waiting for the answer waits no more
            return
        if not self._is_busy and (transaction := self._waiting or self.next_transaction()) is not None:
            self._is_busy = True
            self._waiting = transaction
            life.start(self._submit(transaction))

    async def _submit(self, transaction: Transaction) -> None:
        core = self._node.core
        try:
            if core is not None:
                await core.service.submit(transaction)
                self._accepted(transaction)
        except (AlreadyKnown, NonceTooLow):
            self._accepted(transaction)
        except InvalidTransaction as error:
            self._world.witness.fail(f"{self._node.name} refuses a good transaction: {error}")
        finally:
            self._is_busy = False

    def _accepted(self, transaction: Transaction) -> None:
        self._world.witness.accept(self._node, transaction.hash)
        self.nonce += 1
        self._waiting = None


class Payer(User):
    """Sends a wei at a time to the next payer."""

    def __init__(self, world: "World", node: SimulatedNode, number: int) -> None:
        super().__init__(world, node)
        self._number = number

    def next_transaction(self) -> Transaction:
        receiver = PAYERS[(self._number + 1) % len(PAYERS)]
        unsigned = Transaction(DYNAMIC_FEE, CHAIN_ID, self.nonce, 10**9, 10**11, 21_000, receiver, 1, b"")
        return sign_transaction(unsigned, PAYER_KEYS[self._number])


class Voter(User):
    """A validator that votes once for a change of the validators, with the key of its node."""

    def __init__(self, world: "World", node: SimulatedNode, number: int, function: str, subject: bytes) -> None:
        """`function` of the contract: voteToAdd or voteToRemove."""
        super().__init__(world, node)
        self._key = KEYS[number]
        self._data = load_artifact("Validators").abi.encode_call(function, [subject])

    def next_transaction(self) -> Transaction | None:
        if self.nonce:
            return None
        to, data = VALIDATORS_ADDRESS, self._data
        return sign_transaction(Transaction(DYNAMIC_FEE, CHAIN_ID, 0, 10**9, 10**11, VOTE_GAS, to, 0, data), self._key)
