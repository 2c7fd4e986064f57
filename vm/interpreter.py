"""Runs a message: the stack of frames, and the loop over blocks of instructions.

Specification: the Ethereum Virtual Machine under Cancun rules (Yellow Paper section 9 and the EIPs up to that fork).
Intrinsic gas, the price of gas, the sender's nonce and refunds are the transaction's affair, not this file's.
"""

from vm.code import PROGRAMS
from vm.errors import AddressCollision, Halt, OutOfGas, Revert, StackOverflow, StackUnderflow
from vm.frame import Environment, Frame
from vm.host import BlockContext, Host, TransactionContext
from vm.instructions.calls import deposit_code, resume, run_precompile
from vm.instructions.flow import FINISHED
from vm.message import Message, Outcome
from vm.precompiles import PRECOMPILES
from vm.tracer import Tracer
from vm.translation.trace import LEFT, WENT_ON
from vm.translation.translator import TRANSLATOR


def run(
    host: Host,
    block: BlockContext,
    transaction: TransactionContext,
    message: Message,
    tracer: Tracer | None = None,
) -> Outcome:
    """Run a call or a create to its end. What a failed one did is undone in the host, its value transfer included."""
    environment = Environment(host, block, transaction)
    if message.is_create:
        return _run_create(environment, message, tracer)
    code_address = message.target
    snapshot = host.snapshot()
    host.transfer(message.caller, message.target, message.value)
    if code_address in PRECOMPILES:
        found = run_precompile(code_address, message.data, message.gas)
        if found is None:
            host.revert(snapshot)
            return Outcome(False, b"", 0, "PrecompileFailure")
        output, gas_left = found
        return Outcome(True, output, gas_left)
    code = host.code(code_address)
    if not code:
        return Outcome(True, b"", message.gas)
    frame = Frame(
        environment,
        message.caller,
        message.target,
        code,
        message.data,
        message.value,
        message.gas,
        0,
        message.is_static,
    )
    frame.snapshot = snapshot
    return _run_frames(frame, tracer)


def _run_create(environment: Environment, message: Message, tracer: Tracer | None) -> Outcome:
    host = environment.host
    host.warm_address(message.target)
    if host.is_occupied(message.target):
        return Outcome(False, b"", 0, AddressCollision.__name__)
    frame = Frame(
        environment,
        message.caller,
        message.target,
        message.data,
        b"",
        message.value,
        message.gas,
        0,
        message.is_static,
        True,
    )
    frame.snapshot = host.snapshot()
    host.create_account(message.target)
    host.transfer(message.caller, message.target, message.value)
    return _run_frames(frame, tracer)


def _run_frames(first: Frame, tracer: Tracer | None) -> Outcome:
    """Run a frame and all that it calls, on a stack of our own."""
    frames = [first]
    frame = first
    frame.program = PROGRAMS.program(frame.code)
    if tracer is not None:
        tracer.enter_frame(frame)
    while True:
        success, halt = True, None
        try:
            if tracer is None:
                _run_blocks(frame)
            else:
                _run_traced(frame, tracer)
            if frame.pc != FINISHED:
                child = frame.child
                if child is not None:
                    frame.child = None
                    child.program = PROGRAMS.program(child.code)
                    frames.append(child)
                    frame = child
                    if tracer is not None:
                        tracer.enter_frame(frame)
                continue
            if frame.is_create:
                deposit_code(frame)
        except Revert:
            success = False
            frame.host.revert(frame.snapshot)
        except Halt as reason:
            success, halt = False, type(reason).__name__
            frame.gas = 0
            frame.output = b""
            frame.host.revert(frame.snapshot)
        if tracer is not None:
            tracer.leave_frame(frame, success, halt)
        frames.pop()
        if not frames:
            return Outcome(success, frame.output, frame.gas, halt)
        ended, frame = frame, frames[-1]
        resume(frame, ended, success)


def _run_blocks(frame: Frame) -> None:
    """Run block after block until the frame has ended or has a child to run."""
    program = frame.program
    blocks = program.blocks
    stack = frame.stack
    while True:
        block = blocks.get(frame.pc)
        if block is None:
            block = program.read_block(frame.pc)
        trace = block.trace
        if trace is not None:
            ending = trace(frame)
            if ending == WENT_ON:
                continue
            if ending == LEFT:
                return
        else:
            block.countdown -= 1
            if block.countdown < 0:
                TRANSLATOR.consider(program, block)
        gas = frame.gas - block.gas
        if gas < 0:
            raise OutOfGas
        frame.gas = gas
        height = len(stack)
        if height < block.min_height:
            raise StackUnderflow
        if height > block.max_height:
            raise StackOverflow
        frame.pc = block.end
        for step in block.steps:
            step(frame)
        if block.leaves:
            return


def _run_traced(frame: Frame, tracer: Tracer) -> None:
    """The same, one instruction at a time, with a word to the tracer before and after each."""
    program = frame.program
    while True:
        pc, gas_before = frame.pc, frame.gas
        block = program.single_blocks.get(pc)
        if block is None:
            block = program.read_single(pc)
        tracer.before_step(frame, pc, block.instructions[0].opcode)
        try:
            if frame.gas < block.gas:
                raise OutOfGas
            if len(frame.stack) < block.min_height:
                raise StackUnderflow
            if len(frame.stack) > block.max_height:
                raise StackOverflow
            frame.gas -= block.gas
            frame.pc = block.end
            for step in block.steps:
                step(frame)
        except Halt as reason:
            tracer.after_step(frame, gas_before, type(reason).__name__)
            raise
        except Revert:
            tracer.after_step(frame, gas_before, None)
            raise
        tracer.after_step(frame, gas_before, None)
        if block.leaves:
            return
