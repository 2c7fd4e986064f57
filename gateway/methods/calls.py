"""Running contract code without a transaction: calls, estimates, access lists.

A call in `latest`, or any block, sees that block's own number and time, as in geth; in `pending` those of a block made
now. Gas is estimated for the block to come whenever the head is meant: a contract that looks at the time must not judge
by that of a block long past.
"""

from chain.account import StateReader
from chain.execution import TransactionOutcome
from chain.simulation import (
    AccountOverride,
    CallFailed,
    CallRequest,
    OverriddenReader,
    create_access_list,
    estimate_gas,
    simulate_call,
)
from gateway import parameters
from gateway.backend import ChainView
from gateway.errors import SERVER_ERROR, RpcError, reverted
from gateway.methods.lookup import context_after, context_of, require_header
from gateway.methods.table import Json, Parameter, SimulationFrame, Table
from gateway.objects import access_list_object
from gateway.parameters import LATEST, PENDING, BlockReference
from primitives.hexadecimal import to_data, to_quantity
from vm.host import BlockContext

TABLE = Table()

Overrides = dict[bytes, AccountOverride]

_CALL = Parameter("transaction", parameters.call_request)
_OVERRIDES = Parameter("state overrides", parameters.state_overrides, {})


@TABLE.simulate("eth_call", _CALL, Parameter("block", parameters.block_reference, LATEST), _OVERRIDES)
def call(
    chain: ChainView, frame: SimulationFrame, request: CallRequest, block: BlockReference, overrides: Overrides
) -> Json:
    state, context = _place(chain, block, frame, overrides, for_next=False)
    outcome = simulate_call(state, context, request, frame.gas_cap)
    if not outcome.success:
        raise failure(outcome)
    return to_data(outcome.output)


@TABLE.simulate("eth_estimateGas", _CALL, Parameter("block", parameters.block_reference, PENDING), _OVERRIDES)
def estimate(
    chain: ChainView, frame: SimulationFrame, request: CallRequest, block: BlockReference, overrides: Overrides
) -> Json:
    state, context = _place(chain, block, frame, overrides, for_next=True)
    try:
        return to_quantity(estimate_gas(state, context, request, frame.gas_cap))
    except CallFailed as error:
        if error.outcome.halt == "OutOfGas":
            raise RpcError(SERVER_ERROR, f"gas required exceeds allowance ({error.gas})") from error
        raise failure(error.outcome) from error


@TABLE.simulate("eth_createAccessList", _CALL, Parameter("block", parameters.block_reference, PENDING), _OVERRIDES)
def access_list(
    chain: ChainView, frame: SimulationFrame, request: CallRequest, block: BlockReference, overrides: Overrides
) -> Json:
    state, context = _place(chain, block, frame, overrides, for_next=True)
    found = create_access_list(state, context, request, frame.gas_cap)
    answer: dict[str, Json] = {
        "accessList": access_list_object(found.access_list),
        "gasUsed": to_quantity(found.outcome.gas_used),
    }
    if not found.outcome.success:
        answer["error"] = failure(found.outcome).message
    return answer


def failure(outcome: TransactionOutcome) -> RpcError:
    """The answer where a call ended badly: code 3 with the data after a revert, -32000 after a halt."""
    if outcome.halt is None:
        return reverted(outcome.output)
    return RpcError(SERVER_ERROR, _HALT_WORDINGS.get(outcome.halt, outcome.halt))


def _place(
    chain: ChainView, block: BlockReference, frame: SimulationFrame, overrides: Overrides, *, for_next: bool
) -> tuple[StateReader, BlockContext]:
    """The state to run on and the block to run in."""
    header = require_header(chain, block)
    state = chain.state_at(header.number)
    if block.tag == "pending" or (for_next and header.number == chain.head().number):
        context = context_after(chain, header, frame.now_s)
    else:
        context = context_of(chain, header)
    return (OverriddenReader(state, overrides) if overrides else state), context


# geth's words for the interpreter's halts.
_HALT_WORDINGS = {
    "OutOfGas": "out of gas",
    "StackUnderflow": "stack underflow",
    "StackOverflow": "stack limit reached 1024",
    "InvalidOpcode": "invalid opcode",
    "InvalidJump": "invalid jump destination",
    "StaticViolation": "write protection",
    "ReturnDataOutOfBounds": "return data out of bounds",
    "InitCodeTooLarge": "max initcode size exceeded",
    "CodeTooLarge": "max code size exceeded",
    "InvalidCodePrefix": "invalid code: must not begin with 0xef",
    "AddressCollision": "contract address collision",
    "PrecompileFailure": "precompiled contract failed",
}
