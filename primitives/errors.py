"""The error tree, drawn whole so that every handler can see what it may meet.

Four families, told apart by whose fault it is:

    Invalid              the other side's fault: malformed or refused input; says what and which value
    |-- InvalidHex, InvalidRlp, InvalidAbi, InvalidTypedData, InvalidSignature, InvalidKeystore
    |-- InvalidGenesis, InvalidTransaction, InvalidBlock, InvalidReading
    vm.errors.Halt       an outcome of the contract interpreter (and vm.errors.Revert), never a fault of the node
    UserError            a message for a person: printed plainly, exit status 2, no traceback
    `-- NeedsPerson      no later try goes better, which ends a service for good: exit status 78
    anything else        a bug: loud

A module that needs a finer distinction subclasses one of these beside the code that raises it.
"""

from collections.abc import Iterator
from contextlib import contextmanager


class Invalid(Exception):
    """Input from outside breaks a rule; nothing was changed because of it."""


class InvalidHex(Invalid):
    """Text that should be 0x-prefixed hexadecimal is not, or has the wrong length."""


class InvalidRlp(Invalid):
    """Bytes are not one canonical RLP item."""


class InvalidAbi(Invalid):
    """A type, a value or encoded bytes do not follow the Solidity ABI."""


class InvalidTypedData(Invalid):
    """An EIP-712 message does not fit its types."""


class InvalidSignature(Invalid):
    """A signature is malformed, not canonical or of somebody else."""


class InvalidKeystore(Invalid):
    """A key file is malformed, or the password does not open it."""


class InvalidGenesis(Invalid):
    """A genesis file does not describe a chain that this node can run."""


class InvalidTransaction(Invalid):
    """A transaction can never, or not at this place, be part of the chain."""


class InvalidBlock(Invalid):
    """A header or block breaks a rule of the chain."""


class InvalidReading(Invalid):
    """A meter reading breaks a rule (signature, sequence, register, time)."""


class UserError(Exception):
    """A plain sentence for the person at the terminal, with what to do next."""


class NeedsPerson(UserError):
    """No later try goes better: a person has to correct a setting, or put another file or key in its place.

    Never for what passes by itself: a network, node, disk or device that is away, a place that is taken, a full disk;
    nor for what a node says, which may lie, and be another one at the next try.
    """


@contextmanager
def mended_by_a_person() -> Iterator[None]:
    """What fails in here, or in the function that this stands above, is the settings' own fault: NeedsPerson."""
    try:
        yield
    except NeedsPerson:
        raise
    except UserError as error:
        raise NeedsPerson(str(error)) from error


def plain_cause(failures: BaseExceptionGroup) -> UserError | None:
    """The first UserError of a group of tasks that failed; None where a bug is among them, which has to be loud."""
    mine, others = failures.split(UserError)
    if mine is None or others is not None:
        return None
    first: BaseException = mine
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    assert isinstance(first, UserError)  # by the split above
    return first
