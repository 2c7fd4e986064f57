"""How a frame of the interpreter can end other than well: outcomes of a contract, never faults of the node.

A Halt takes all gas of its frame and undoes what it did; a Revert undoes too, but keeps the gas left and has output
(Yellow Paper 9.4.2, EIP-140). The class name is what traces and outcomes call the halt.
"""


class Revert(Exception):
    """The REVERT instruction ended the frame."""


class Halt(Exception):
    """An exceptional halt: all gas of the frame is gone, all its effects are undone."""


class OutOfGas(Halt):
    """The frame cannot pay for its next instruction."""


class StackUnderflow(Halt):
    """An instruction takes more words than the stack holds."""


class StackOverflow(Halt):
    """The stack would hold more than 1,024 words."""


class InvalidOpcode(Halt):
    """The byte is no instruction under Cancun rules, or is the designated invalid one (EIP-141)."""


class InvalidJump(Halt):
    """The target of a jump is not a JUMPDEST."""


class StaticViolation(Halt):
    """A change of state inside a static call (EIP-214)."""


class ReturnDataOutOfBounds(Halt):
    """RETURNDATACOPY reads beyond the return data (EIP-211)."""


class InitCodeTooLarge(Halt):
    """CREATE with more than 49,152 bytes of init code (EIP-3860)."""


class CodeTooLarge(Halt):
    """A new contract's code would be longer than 24,576 bytes (EIP-170)."""


class InvalidCodePrefix(Halt):
    """A new contract's code would begin with 0xEF (EIP-3541)."""


class AddressCollision(Halt):
    """The address of a new contract is in use (EIP-684, EIP-7610)."""


class PrecompileFailure(Halt):
    """A precompiled contract refuses its input."""
