"""What a tracer is told: every instruction with its gas, frames in order, halts by name."""

from tests.vm.assembly import CONTRACT, OTHER, address_word, run
from vm.frame import Frame
from vm.opcodes import Opcode
from vm.tracer import StructLogTracer


def test_struct_logs_tell_place_gas_and_stack() -> None:
    tracer = StructLogTracer(with_memory=True)
    ran = run("PUSH 2 PUSH 3 ADD PUSH0 MSTORE STOP", tracer=tracer, gas=1_000)
    assert [(log.pc, log.name, log.gas, log.gas_cost, log.stack) for log in tracer.logs] == [
        (0, "PUSH1", 1_000, 3, ()),
        (2, "PUSH1", 997, 3, (2,)),
        (4, "ADD", 994, 3, (2, 3)),
        (5, "PUSH0", 991, 2, (5,)),
        (6, "MSTORE", 989, 6, (5, 0)),
        (7, "STOP", 983, 0, ()),
    ]
    assert [log.memory for log in tracer.logs[-2:]] == [b"", (5).to_bytes(32, "big")]
    assert ran.outcome.gas_left == 983


def test_a_halt_is_named_where_it_happens() -> None:
    tracer = StructLogTracer()
    run("PUSH 1 POP POP", tracer=tracer)
    assert [(log.name, log.error) for log in tracer.logs] == [
        ("PUSH1", None),
        ("POP", None),
        ("POP", "StackUnderflow"),
    ]


def test_frames_are_told_from_outside_in_and_back() -> None:
    class Frames(StructLogTracer):
        def __init__(self) -> None:
            super().__init__()
            self.told: list[tuple[object, ...]] = []

        def enter_frame(self, frame: Frame) -> None:
            self.told.append(("enter", frame.address, frame.depth))

        def leave_frame(self, frame: Frame, success: bool, halt: str | None) -> None:
            self.told.append(("leave", frame.address, success, halt))

        def before_step(self, frame: Frame, pc: int, opcode: Opcode) -> None:
            if opcode.name == "CALL":
                self.told.append((opcode.name, frame.address))

    tracer = Frames()
    program = f"PUSH0 PUSH0 PUSH0 PUSH0 PUSH0 PUSH {address_word(OTHER)} PUSH 5000 CALL"
    run(program, others={OTHER: "INVALID"}, tracer=tracer)
    assert tracer.told == [
        ("enter", CONTRACT, 0),
        ("CALL", CONTRACT),
        ("enter", OTHER, 1),
        ("leave", OTHER, False, "InvalidOpcode"),
        ("leave", CONTRACT, True, None),
    ]


def test_a_call_costs_what_it_hands_over() -> None:
    tracer = StructLogTracer()
    program = f"PUSH0 PUSH0 PUSH0 PUSH0 PUSH0 PUSH {address_word(OTHER)} PUSH 5000 CALL STOP"
    run(program, others={OTHER: "PUSH0"}, tracer=tracer)
    costs = {(log.depth, log.name): log.gas_cost for log in tracer.logs}
    assert costs[1, "CALL"] == 2_600 + 5_000
    assert costs[2, "PUSH0"] == 2
    assert [log.gas for log in tracer.logs if (log.depth, log.name) == (2, "PUSH0")] == [5_000]


def test_a_trace_is_bounded() -> None:
    tracer = StructLogTracer(max_steps=10)
    assert run("again: PUSH 1 POP @again JUMP", tracer=tracer, gas=10_000).outcome.halt == "OutOfGas"
    assert len(tracer.logs) == 10
