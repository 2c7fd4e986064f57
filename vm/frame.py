"""One frame: the state of one running piece of code, from a call or a create to its end.

Instructions are functions of a Frame. They change its stack, memory and gas; a CALL or CREATE leaves a new frame in
`child` for the interpreter to run, so Python never recurses. What a frame is not: it knows no loop and no code
analysis beyond carrying them.
"""

from typing import TYPE_CHECKING

from vm.errors import OutOfGas
from vm.gas import memory_cost
from vm.host import BlockContext, Host, TransactionContext
from vm.memory import Memory

if TYPE_CHECKING:
    from vm.code import Program


class Environment:
    """What all frames of one message share."""

    __slots__ = ("block", "host", "transaction")

    def __init__(self, host: Host, block: BlockContext, transaction: TransactionContext) -> None:
        self.host = host
        self.block = block
        self.transaction = transaction


class Frame:
    """Stack, memory, gas and context of one running piece of code. Hot: slots, plain attributes."""

    __slots__ = (
        "address",
        "caller",
        "child",
        "code",
        "data",
        "depth",
        "environment",
        "gas",
        "host",
        "is_create",
        "is_static",
        "memory",
        "output",
        "pc",
        "program",
        "result_length",
        "result_offset",
        "return_data",
        "snapshot",
        "stack",
        "value",
    )

    program: "Program"

    def __init__(
        self,
        environment: Environment,
        caller: bytes,
        address: bytes,
        code: bytes,
        data: bytes,
        value: int,
        gas: int,
        depth: int,
        is_static: bool,
        is_create: bool = False,
        result_offset: int = 0,
        result_length: int = 0,
    ) -> None:
        self.environment = environment
        self.host = environment.host
        self.caller = caller
        self.address = address
        """Whose storage and balance the code works on."""
        self.code = code
        self.data = data
        self.value = value
        """In wei, as CALLVALUE sees it."""
        self.gas = gas
        self.depth = depth
        self.is_static = is_static
        self.is_create = is_create
        self.result_offset = result_offset
        """Where in the caller's memory the output goes, and how much of it."""
        self.result_length = result_length
        self.stack: list[int] = []
        self.memory = Memory()
        self.pc = 0
        """Where to go on: set to the instruction after the block before a block runs, changed by jumps."""
        self.return_data = b""
        self.output = b""
        self.child: Frame | None = None
        """A frame to run before this one goes on."""
        self.snapshot = 0

    def charge(self, gas: int) -> None:
        """Take gas. Raises OutOfGas."""
        left = self.gas - gas
        if left < 0:
            raise OutOfGas
        self.gas = left

    def expand(self, offset: int, length: int) -> None:
        """Have memory reach over a range and pay for it; nothing happens for a length of 0. Raises OutOfGas."""
        memory = self.memory
        if not length or offset + length <= memory.size:
            return
        size = (offset + length + 31) & ~31
        left = self.gas - memory_cost(size) + memory_cost(memory.size)
        if left < 0:
            raise OutOfGas
        self.gas = left
        memory.size = size
