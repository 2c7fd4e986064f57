"""Stack, jumps and the ends of a frame (0x00, 0x50, 0x56 to 0x5b, 0x5f to 0x9f, 0xf3, 0xfd, 0xff)."""

from collections.abc import Callable

from vm.errors import InvalidJump, InvalidOpcode, Revert, StaticViolation
from vm.frame import Frame
from vm.gas import COLD_ACCOUNT_ACCESS, NEW_ACCOUNT
from vm.instructions.environment import to_address

# The program counter of a frame that has come to its end.
FINISHED = -1


def stop(frame: Frame) -> None:
    frame.pc = FINISHED


def return_(frame: Frame) -> None:
    offset, length = frame.stack.pop(), frame.stack.pop()
    frame.expand(offset, length)
    frame.output = frame.memory.read(offset, length)
    frame.pc = FINISHED


def revert(frame: Frame) -> None:
    offset, length = frame.stack.pop(), frame.stack.pop()
    frame.expand(offset, length)
    frame.output = frame.memory.read(offset, length)
    raise Revert


def invalid(frame: Frame) -> None:
    raise InvalidOpcode


def selfdestruct(frame: Frame) -> None:
    """Move the balance and end; the account goes only if this transaction created it (EIP-6780)."""
    if frame.is_static:
        raise StaticViolation
    host = frame.host
    beneficiary = to_address(frame.stack.pop())
    if not host.warm_address(beneficiary):
        frame.charge(COLD_ACCOUNT_ACCESS)
    if host.is_empty(beneficiary) and host.balance(frame.address):
        frame.charge(NEW_ACCOUNT)
    host.self_destruct(frame.address, beneficiary)
    frame.pc = FINISHED


def jump(frame: Frame) -> None:
    target = frame.stack.pop()
    if target not in frame.program.jump_destinations:
        raise InvalidJump
    frame.pc = target


def jumpi(frame: Frame) -> None:
    pop = frame.stack.pop
    target = pop()
    if pop():
        if target not in frame.program.jump_destinations:
            raise InvalidJump
        frame.pc = target


def gas(frame: Frame) -> None:
    """Ends its block, so that everything up to here, and nothing beyond, has been charged."""
    frame.stack.append(frame.gas)


def pop(frame: Frame) -> None:
    frame.stack.pop()


def jumpdest(frame: Frame) -> None:
    """A mark in the code."""


def push_of(value: int) -> Callable[[Frame], None]:
    """PUSH0 to PUSH32, and PC, which pushes a number known when the code is read."""

    def push(frame: Frame) -> None:
        frame.stack.append(value)

    return push


def dup_of(depth: int) -> Callable[[Frame], None]:
    """DUP1 to DUP16."""

    def dup(frame: Frame) -> None:
        stack = frame.stack
        stack.append(stack[-depth])

    return dup


def swap_of(depth: int) -> Callable[[Frame], None]:
    """SWAP1 to SWAP16."""
    index = -depth - 1

    def swap(frame: Frame) -> None:
        stack = frame.stack
        stack[-1], stack[index] = stack[index], stack[-1]

    return swap
