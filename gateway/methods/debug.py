"""For those who look closely: raw bytes, and traces of what contract code did, step by step (EIP-3155, geth's form)."""

from collections.abc import Mapping

from chain.execution import TransactionOutcome, execute_transaction
from chain.simulation import CallRequest, simulate_call
from chain.state import State
from gateway import parameters
from gateway.backend import ChainView
from gateway.errors import LIMIT_EXCEEDED, SERVER_ERROR, InvalidParameter, RpcError
from gateway.methods.lookup import context_after, context_of, find_block, find_header, require_header
from gateway.methods.table import Json, Parameter, SimulationFrame, Table
from gateway.parameters import LATEST, BlockReference
from primitives.hexadecimal import to_data, to_quantity
from vm.frame import Frame
from vm.opcodes import Opcode
from vm.tracer import StructLog, StructLogTracer

TABLE = Table()

MAX_TRACE_STEPS = 20_000
"""Of one trace: some 100 bytes each in the answer, beside its words."""
MAX_TRACE_WORDS = 200_000
"""Of stack and memory, in all steps of one trace: some 40 bytes each, so that all stays below the response limit."""

_BLOCK = Parameter("block", parameters.block_reference)
_TRANSACTION_HASH = Parameter("transaction hash", parameters.hash32)
_OPTIONS = Parameter("trace options", parameters.options, {})


@TABLE.read("debug_getRawHeader", _BLOCK)
def get_raw_header(chain: ChainView, reference: BlockReference) -> Json:
    header = find_header(chain, reference)
    return None if header is None else to_data(header.encode())


@TABLE.read("debug_getRawBlock", _BLOCK)
def get_raw_block(chain: ChainView, reference: BlockReference) -> Json:
    block = find_block(chain, reference)
    return None if block is None else to_data(block.encode())


@TABLE.read("debug_getRawReceipts", _BLOCK)
def get_raw_receipts(chain: ChainView, reference: BlockReference) -> Json:
    header = find_header(chain, reference)  # a node may have a block's receipts without its body
    receipts = None if header is None else chain.receipts(header.hash)
    return None if receipts is None else [to_data(receipt.encode()) for receipt in receipts]


@TABLE.read("debug_getRawTransaction", _TRANSACTION_HASH)
def get_raw_transaction(chain: ChainView, transaction_hash: bytes) -> Json:
    found = chain.find_transaction(transaction_hash)
    return None if found is None else to_data(found[0].transactions[found[1]].encoded)


@TABLE.simulate("debug_traceTransaction", _TRANSACTION_HASH, _OPTIONS)
def trace_transaction(
    chain: ChainView, frame: SimulationFrame, transaction_hash: bytes, options: Mapping[str, object]
) -> Json:
    """Runs the block again up to that transaction, over the state before it."""
    found = chain.find_transaction(transaction_hash)
    if found is None:
        raise RpcError(SERVER_ERROR, "transaction not found")
    block, index = found
    tracer = _tracer(options)
    state = State(chain.state_at(block.number - 1))
    context = context_of(chain, block.header)
    for transaction in block.transactions[:index]:
        execute_transaction(state, context, transaction, transaction.sender)
    traced = block.transactions[index]
    return _trace(execute_transaction(state, context, traced, traced.sender, tracer=tracer), tracer)


@TABLE.simulate(
    "debug_traceCall",
    Parameter("transaction", parameters.call_request),
    Parameter("block", parameters.block_reference, LATEST),
    _OPTIONS,
)
def trace_call(
    chain: ChainView,
    frame: SimulationFrame,
    request: CallRequest,
    reference: BlockReference,
    options: Mapping[str, object],
) -> Json:
    header = require_header(chain, reference)
    is_pending = reference.tag == "pending"
    context = context_after(chain, header, frame.now_s) if is_pending else context_of(chain, header)
    tracer = _tracer(options)
    outcome = simulate_call(chain.state_at(header.number), context, request, frame.gas_cap, tracer)
    return _trace(outcome, tracer)


class _BoundedTracer(StructLogTracer):
    """Ends the call once the trace is too long to be answered."""

    def __init__(self, with_stack: bool, with_memory: bool) -> None:
        super().__init__(with_memory, MAX_TRACE_STEPS)
        self.with_stack = with_stack
        self._words = 0

    def before_step(self, frame: Frame, pc: int, opcode: Opcode) -> None:
        self._words += len(frame.stack) if self.with_stack else 0
        self._words += frame.memory.size // 32 if self.with_memory else 0
        if len(self.logs) >= MAX_TRACE_STEPS or self._words > MAX_TRACE_WORDS:
            raise RpcError(
                LIMIT_EXCEEDED, f"the trace has more than {MAX_TRACE_STEPS} steps or {MAX_TRACE_WORDS} words"
            )
        super().before_step(frame, pc, opcode)


def _tracer(options: Mapping[str, object]) -> _BoundedTracer:
    if options.get("tracer") is not None:
        raise InvalidParameter("only the struct logger is here: leave `tracer` out")
    return _BoundedTracer(options.get("disableStack") is not True, options.get("enableMemory") is True)


def _trace(outcome: TransactionOutcome, tracer: _BoundedTracer) -> Json:
    return {
        "gas": outcome.gas_used,
        "failed": not outcome.success,
        "returnValue": to_data(outcome.output),
        "structLogs": [_step(step, tracer.with_stack, tracer.with_memory) for step in tracer.logs],
    }


def _step(step: StructLog, with_stack: bool, with_memory: bool) -> Json:
    answer: dict[str, Json] = {
        "pc": step.pc,
        "op": step.name,
        "gas": step.gas,
        "gasCost": step.gas_cost,
        "depth": step.depth,
    }
    if with_stack:
        answer["stack"] = [to_quantity(word) for word in step.stack]
    if with_memory:
        answer["memory"] = [to_data(step.memory[at : at + 32]) for at in range(0, len(step.memory), 32)]
    if step.error is not None:
        answer["error"] = step.error
    return answer
