"""Hashing, memory, storage, transient storage and logs (0x20, 0x51 to 0x5e, 0xa0 to 0xa4)."""

from collections.abc import Callable

from primitives.keccak import keccak256
from vm.errors import OutOfGas, StaticViolation
from vm.frame import Frame
from vm.gas import (
    COLD_SLOAD_SURCHARGE,
    COLD_STORAGE_ACCESS,
    COPY_WORD,
    KECCAK_WORD,
    LOG_BYTE,
    STORAGE_SENTRY,
    WARM_ACCESS,
    storage_cost_and_refund,
    words,
)
from vm.host import Log


def keccak(frame: Frame) -> None:
    stack = frame.stack
    offset = stack.pop()
    length = stack[-1]
    frame.charge(KECCAK_WORD * words(length))
    frame.expand(offset, length)
    stack[-1] = int.from_bytes(keccak256(frame.memory.read(offset, length)), "big")


def mload(frame: Frame) -> None:
    stack = frame.stack
    offset = stack[-1]
    memory = frame.memory
    if offset + 32 > memory.size:
        frame.expand(offset, 32)
    stack[-1] = memory.load_word(offset)


def mstore(frame: Frame) -> None:
    stack = frame.stack
    offset = stack.pop()
    memory = frame.memory
    if offset + 32 > memory.size:
        frame.expand(offset, 32)
    memory.store_word(offset, stack.pop())


def mstore8(frame: Frame) -> None:
    stack = frame.stack
    offset = stack.pop()
    frame.expand(offset, 1)
    frame.memory.store_byte(offset, stack.pop() & 0xFF)


def msize(frame: Frame) -> None:
    frame.stack.append(frame.memory.size)


def mcopy(frame: Frame) -> None:
    pop = frame.stack.pop
    target, source, length = pop(), pop(), pop()
    if not length:
        return
    frame.charge(COPY_WORD * words(length))
    frame.expand(max(target, source), length)
    frame.memory.write(target, frame.memory.read(source, length))


def sload(frame: Frame) -> None:
    stack = frame.stack
    slot = stack[-1]
    host = frame.host
    if not host.warm_slot(frame.address, slot):
        frame.charge(COLD_SLOAD_SURCHARGE)
    stack[-1] = host.storage(frame.address, slot)


def sstore(frame: Frame) -> None:
    stack = frame.stack
    slot = stack.pop()
    store_slot(frame, slot, stack.pop())


def store_slot(frame: Frame, slot: int, value: int) -> None:
    """SSTORE. The whole cost is charged here: it depends on what the slot holds and held (EIP-2200)."""
    if frame.is_static:
        raise StaticViolation
    if frame.gas <= STORAGE_SENTRY:
        raise OutOfGas
    host, address = frame.host, frame.address
    cost = 0 if host.warm_slot(address, slot) else COLD_STORAGE_ACCESS
    current = host.storage(address, slot)
    if current == value:
        frame.charge(cost + WARM_ACCESS)
        return
    write_cost, refund = storage_cost_and_refund(host.original_storage(address, slot), current, value)
    frame.charge(cost + write_cost)
    if refund:
        host.add_refund(refund)
    host.set_storage(address, slot, value)


def tload(frame: Frame) -> None:
    stack = frame.stack
    stack[-1] = frame.host.transient_storage(frame.address, stack[-1])


def tstore(frame: Frame) -> None:
    if frame.is_static:
        raise StaticViolation
    pop = frame.stack.pop
    frame.host.set_transient_storage(frame.address, pop(), pop())


def log_with(topic_count: int) -> Callable[[Frame], None]:
    """LOG0 to LOG4."""

    def log(frame: Frame) -> None:
        if frame.is_static:
            raise StaticViolation
        pop = frame.stack.pop
        offset, length = pop(), pop()
        topics = tuple([pop().to_bytes(32, "big") for _ in range(topic_count)])
        frame.charge(LOG_BYTE * length)
        frame.expand(offset, length)
        frame.host.add_log(Log(frame.address, topics, frame.memory.read(offset, length)))

    return log
