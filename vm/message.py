"""What goes into the interpreter and what comes out of it: a top-level call or create, and its outcome."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Message:
    """A top-level call or create. The sender's nonce and the price of the gas are the transaction's affair."""

    caller: bytes
    target: bytes
    """The account that is called; for a create, the address of the new contract, which the caller of run() derives."""
    value: int
    """Wei, moved by run() inside its snapshot."""
    data: bytes
    """Call data; for a create, the init code."""
    gas: int
    """What is left after the intrinsic gas."""
    is_create: bool = False
    is_static: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a message ended. Refunds are counted by the Host."""

    success: bool
    output: bytes
    """Return data, or the data of a revert; the code of a new contract; empty after a halt."""
    gas_left: int
    halt: str | None = None
    """The exceptional halt's name (a class of vm.errors); None after success and after a revert."""

    @property
    def is_revert(self) -> bool:
        return not self.success and self.halt is None
