"""Calls and creates (0xf0 to 0xf5, 0xfa), from the instruction to the caller's going on.

An instruction either is done at once (too deep, too poor, no code, a precompiled contract) or leaves a new frame in
`child`. When that has ended, the interpreter hands it to `resume`. Specifications: EIP-150, 211, 214, 684, 1014, 2929,
3541, 3860, 7610.
"""

from vm.addresses import create2_address, create_address
from vm.errors import CodeTooLarge, Halt, InitCodeTooLarge, InvalidCodePrefix, StaticViolation
from vm.frame import Frame
from vm.gas import (
    CALL_DEPTH_LIMIT,
    CALL_STIPEND,
    CALL_VALUE,
    CODE_DEPOSIT_BYTE,
    INIT_CODE_WORD,
    KECCAK_WORD,
    MAX_CODE_BYTES,
    MAX_INIT_CODE_BYTES,
    MAX_NONCE,
    NEW_ACCOUNT,
    all_but_one_64th,
    words,
)
from vm.instructions.environment import access_account
from vm.precompiles import PRECOMPILES


def call(frame: Frame) -> None:
    pop = frame.stack.pop
    gas, target_word, value = pop(), pop(), pop()
    if value and frame.is_static:
        raise StaticViolation
    target = access_account(frame, target_word)
    data = _call_data(frame)
    if value:
        frame.charge(CALL_VALUE + (NEW_ACCOUNT if frame.host.is_empty(target) else 0))
    _enter(frame, gas, frame.address, target, target, value, value, data, frame.is_static)


def callcode(frame: Frame) -> None:
    pop = frame.stack.pop
    gas, target_word, value = pop(), pop(), pop()
    code_address = access_account(frame, target_word)
    data = _call_data(frame)
    if value:
        frame.charge(CALL_VALUE)
    _enter(frame, gas, frame.address, frame.address, code_address, value, value, data, frame.is_static)


def delegatecall(frame: Frame) -> None:
    pop = frame.stack.pop
    gas, target_word = pop(), pop()
    code_address = access_account(frame, target_word)
    data = _call_data(frame)
    _enter(frame, gas, frame.caller, frame.address, code_address, frame.value, 0, data, frame.is_static)


def staticcall(frame: Frame) -> None:
    pop = frame.stack.pop
    gas, target_word = pop(), pop()
    target = access_account(frame, target_word)
    data = _call_data(frame)
    _enter(frame, gas, frame.address, target, target, 0, 0, data, True)


def create(frame: Frame) -> None:
    pop = frame.stack.pop
    value = pop()
    init_code = _init_code(frame, pop(), pop(), INIT_CODE_WORD)
    _create(frame, value, init_code, None)


def create2(frame: Frame) -> None:
    pop = frame.stack.pop
    value = pop()
    init_code = _init_code(frame, pop(), pop(), INIT_CODE_WORD + KECCAK_WORD)
    _create(frame, value, init_code, pop())


def resume(frame: Frame, child: Frame, success: bool) -> None:
    """Take over what a child that has ended leaves: gas, output and whether it went well."""
    frame.gas += child.gas
    if child.is_create:
        frame.return_data = b"" if success else child.output
        frame.stack.append(int.from_bytes(child.address, "big") if success else 0)
        return
    output = frame.return_data = child.output
    frame.stack.append(1 if success else 0)
    if child.result_length and output:
        frame.memory.write(child.result_offset, output[: child.result_length])


def deposit_code(frame: Frame) -> None:
    """Make the output of init code the new contract's code. Raises Halt where the rules forbid it."""
    code = frame.output
    if code[:1] == b"\xef":
        raise InvalidCodePrefix
    if len(code) > MAX_CODE_BYTES:
        raise CodeTooLarge
    frame.charge(CODE_DEPOSIT_BYTE * len(code))
    frame.host.set_code(frame.address, code)


def run_precompile(address: bytes, data: bytes, gas: int) -> tuple[bytes, int] | None:
    """(output, gas left) of a precompiled contract; None where it fails or costs more, which takes all gas."""
    precompile = PRECOMPILES[address]
    left = gas - precompile.gas(data)
    if left < 0:
        return None
    try:
        return precompile.run(data), left
    except Halt:
        return None


def _call_data(frame: Frame) -> tuple[bytes, int, int]:
    """Take the two ranges of a call off the stack and pay for the memory: (input, output offset, output length)."""
    pop = frame.stack.pop
    offset, length, result_offset, result_length = pop(), pop(), pop(), pop()
    frame.expand(offset, length)
    frame.expand(result_offset, result_length)
    return frame.memory.read(offset, length), result_offset, result_length


def _enter(
    frame: Frame,
    gas: int,
    caller: bytes,
    address: bytes,
    code_address: bytes,
    value: int,
    spent: int,
    ranges: tuple[bytes, int, int],
    is_static: bool,
) -> None:
    """Hand over gas and begin the call. `value` is what CALLVALUE tells, `spent` what the frame must own for it."""
    gas = min(gas, all_but_one_64th(frame.gas))
    frame.gas -= gas
    if spent:
        gas += CALL_STIPEND
    frame.return_data = b""
    host = frame.host
    if frame.depth >= CALL_DEPTH_LIMIT or (spent and host.balance(frame.address) < spent):
        frame.gas += gas
        frame.stack.append(0)
        return
    data, result_offset, result_length = ranges
    is_precompile = code_address in PRECOMPILES
    code = b"" if is_precompile else host.code(code_address)
    child = Frame(
        frame.environment,
        caller,
        address,
        code,
        data,
        value,
        gas,
        frame.depth + 1,
        is_static,
        False,
        result_offset,
        result_length,
    )
    child.snapshot = host.snapshot()
    # An account without code may be an empty one, which the touch alone removes (EIP-161). A delegated call
    # touches nobody but its own account.
    if address == code_address and (spent or not code):
        host.transfer(caller, address, spent)
    if code:
        frame.child = child
    else:
        resume(frame, child, not is_precompile or _finish_precompile(child, code_address))


def _finish_precompile(child: Frame, code_address: bytes) -> bool:
    found = run_precompile(code_address, child.data, child.gas)
    if found is None:
        child.gas = 0
        child.host.revert(child.snapshot)
        return False
    child.output, child.gas = found
    return True


def _init_code(frame: Frame, offset: int, length: int, word_gas: int) -> bytes:
    if frame.is_static:
        raise StaticViolation
    if length > MAX_INIT_CODE_BYTES:
        raise InitCodeTooLarge
    frame.charge(word_gas * words(length))
    frame.expand(offset, length)
    return frame.memory.read(offset, length)


def _create(frame: Frame, value: int, init_code: bytes, salt: int | None) -> None:
    frame.return_data = b""
    host, creator = frame.host, frame.address
    nonce = host.nonce(creator)
    if frame.depth >= CALL_DEPTH_LIMIT or nonce >= MAX_NONCE or host.balance(creator) < value:
        frame.stack.append(0)
        return
    gas = all_but_one_64th(frame.gas)
    frame.gas -= gas
    address = create_address(creator, nonce) if salt is None else create2_address(creator, salt, init_code)
    host.increment_nonce(creator)
    host.warm_address(address)
    if host.is_occupied(address):
        frame.stack.append(0)
        return
    child = Frame(
        frame.environment, creator, address, init_code, b"", value, gas, frame.depth + 1, frame.is_static, True
    )
    child.snapshot = host.snapshot()
    host.create_account(address)
    host.transfer(creator, address, value)
    frame.child = child
