"""People who pay each other: each has a node of its own, and sends a payment again until that node has accepted it."""

from typing import TYPE_CHECKING

from chain.pool.admission import AlreadyKnown
from chain.transaction import DYNAMIC_FEE, Transaction, sign_transaction
from chain.validity import NonceTooLow
from primitives.errors import InvalidTransaction
from tests.simulation.chains import CHAIN_ID, PAYER_KEYS, PAYERS
from tests.simulation.node import SimulatedNode

if TYPE_CHECKING:
    from tests.simulation.world import World


class Payer:
    """Makes one payment after another through one honest node."""

    def __init__(self, world: "World", node: SimulatedNode, number: int) -> None:
        self.nonce = 0
        self._world = world
        self._node = node
        self._number = number
        self._payment: Transaction | None = None
        self._is_busy = False

    def pay(self) -> None:
        """Submit the next payment, or the last one again where nothing was heard of it."""
        core, life = self._node.core, self._node.host.life
        if core is None or life is None:
            self._is_busy = False  # whoever was waiting for the answer waits no more
            return
        if not self._is_busy:
            self._is_busy = True
            payment = self._payment = self._payment or self._next_payment()
            life.start(self._submit(payment))

    async def _submit(self, payment: Transaction) -> None:
        core = self._node.core
        try:
            if core is not None:
                await core.service.submit(payment)
                self._accepted(payment)
        except (AlreadyKnown, NonceTooLow):
            self._accepted(payment)
        except InvalidTransaction as error:
            self._world.witness.fail(f"{self._node.name} refuses a good payment: {error}")
        finally:
            self._is_busy = False

    def _accepted(self, payment: Transaction) -> None:
        self._world.witness.accept(self._node, payment.hash)
        self.nonce += 1
        self._payment = None

    def _next_payment(self) -> Transaction:
        receiver = PAYERS[(self._number + 1) % len(PAYERS)]
        unsigned = Transaction(DYNAMIC_FEE, CHAIN_ID, self.nonce, 10**9, 10**11, 21_000, receiver, 1, b"")
        return sign_transaction(unsigned, PAYER_KEYS[self._number])
