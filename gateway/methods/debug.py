"""For those who look closely: raw bytes, and traces of what contract code did, step by step (EIP-3155, geth's form)."""

from collections.abc import Mapping

from chain.execution import TransactionOutcome, execute_transaction
from chain.simulation import CallRequest, simulate_call
from chain.state import State
from gateway import parameters
from gateway.backend import ChainView
from gateway.errors import LIMIT_EXCEEDED, SERVER_ERROR, InvalidParameter, RpcError
from gateway.methods.lookup import context_after, context_of, find_block, require_header
from gateway.methods.table import Json, Parameter, SimulationFrame, Table
from gateway.parameters import LATEST, BlockReference
from primitives.hexadecimal import to_data, to_quantity
from vm.tracer import StructLog, StructLogTracer

TABLE = Table()

MAX_TRACE_STEPS = 20_000
"""Of one trace: about 400 bytes each in the answer, so 8 MB, below the response limit."""

_BLOCK = Parameter("block", parameters.block_reference)
_TRANSACTION_HASH = Parameter("transaction hash", parameters.hash32)
_OPTIONS = Parameter("trace options", parameters.options, {})


@TABLE.read("debug_getRawHeader", _BLOCK)
def get_raw_header(chain: ChainView, reference: BlockReference) -> Json:
    block = find_block(chain, reference)
    return None if block is None else to_data(block.header.encode())


@TABLE.read("debug_getRawBlock", _BLOCK)
def get_raw_block(chain: ChainView, reference: BlockReference) -> Json:
    block = find_block(chain, reference)
    return None if block is None else to_data(block.encode())


@TABLE.read("debug_getRawReceipts", _BLOCK)
def get_raw_receipts(chain: ChainView, reference: BlockReference) -> Json:
    block = find_block(chain, reference)
    receipts = None if block is None else chain.receipts(block.hash)
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
    return _trace(execute_transaction(state, context, traced, traced.sender, tracer=tracer), tracer, options)


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
    return _trace(outcome, tracer, options)


def _tracer(options: Mapping[str, object]) -> StructLogTracer:
    if options.get("tracer") is not None:
        raise InvalidParameter("only the struct logger is here: leave `tracer` out")
    return StructLogTracer(options.get("enableMemory") is True, MAX_TRACE_STEPS)


def _trace(outcome: TransactionOutcome, tracer: StructLogTracer, options: Mapping[str, object]) -> Json:
    if len(tracer.logs) >= MAX_TRACE_STEPS:
        raise RpcError(LIMIT_EXCEEDED, f"the trace has more than {MAX_TRACE_STEPS} steps")
    with_stack = options.get("disableStack") is not True
    return {
        "gas": outcome.gas_used,
        "failed": not outcome.success,
        "returnValue": to_data(outcome.output),
        "structLogs": [_step(step, with_stack, tracer.with_memory) for step in tracer.logs],
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
