"""A contract on the ledger as a wallet uses it: ask a view function, plan a transaction that calls a function, and read
from its receipt what came of it. What the contract refuses is a sentence (wallet/refusals.py).

No contract's logic is here; the node is not trusted (wallet/client.py).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from chain.transaction import Transaction
from contracts.binding import load_artifact
from primitives.contract_abi import ContractAbi
from primitives.errors import InvalidAbi, InvalidHex, UserError
from primitives.hexadecimal import parse_data
from wallet.answers import Receipt
from wallet.client import BlockTag, InvalidAnswer, RpcClient, RpcError
from wallet.refusals import Sentence, Words, library_refusal, sentence_of
from wallet.transfer import DEFAULT_MAX_FEE_WEI, build_transaction, check_cost, check_funds

REVERTED = 3
"""The code of a JSON-RPC error whose data is what a contract reverted with (execution-apis)."""
GAS_MARGIN = 60_000
"""Beyond the node's estimate: others' transactions may come first in the block and leave storage that costs more to
change, about three slots' worth."""


@dataclass(frozen=True, slots=True)
class Contract:
    """A contract at a fixed address, with what a person is told about it."""

    name: str
    """Of its artifact."""
    address: bytes
    title: str
    """As it stands in a sentence: "the validators' contract"."""
    missing: str
    """The sentence where the network has no such contract."""
    refusals: Mapping[str, Sentence] = field(default_factory=dict)
    """A sentence for each error that it declares."""
    words: Words = field(default_factory=dict)
    """For numbers of an enum in its errors."""
    passes_on: tuple["Contract", ...] = ()
    """Contracts that it calls: their errors come through it, their events stand beside its own."""

    @property
    def abi(self) -> ContractAbi:
        return load_artifact(self.name).abi


@dataclass(frozen=True, slots=True)
class ContractCall:
    """A transaction that is meant: a function of a contract, its arguments, and the wei that go with it."""

    contract: Contract
    function: str
    arguments: tuple[object, ...] = ()
    value_wei: int = 0
    gas_margin: int = GAS_MARGIN

    @property
    def data(self) -> bytes:
        return self.contract.abi.encode_call(self.function, self.arguments)


@dataclass(frozen=True, slots=True)
class ContractEvent:
    """An event in a receipt."""

    contract: str
    name: str
    values: Mapping[str, Any]
    """By the names of the ABI."""


async def require_contract(client: RpcClient, contract: Contract, block: BlockTag = "latest") -> None:
    """Raises UserError where the network has no such contract."""
    if not await client.code(contract.address, block):
        raise UserError(contract.missing)


async def ask(
    client: RpcClient,
    contract: Contract,
    function: str,
    arguments: Sequence[object] = (),
    block: BlockTag = "latest",
    sender: bytes | None = None,
) -> tuple[Any, ...]:
    """What a view function returns, checked against its ABI, which gives the values' types (primitives/abi_types.py).

    Raises UserError with the contract's refusal, or where there is no such contract; InvalidAnswer.
    """
    abi = contract.abi
    try:
        answer = await client.call(contract.address, abi.encode_call(function, arguments), block, sender)
    except RpcError as error:
        raise refusal_of(error, contract) or error from error
    if not answer and abi.function(function).outputs.members:
        await require_contract(client, contract, block)
    try:
        return abi.decode_result(function, answer)
    except InvalidAbi as error:
        raise InvalidAnswer(f"{contract.title} gave no proper answer to {function}: {error}") from error


async def ask_one(
    client: RpcClient,
    contract: Contract,
    function: str,
    arguments: Sequence[object] = (),
    block: BlockTag = "latest",
) -> Any:
    """The value of a view function that returns one."""
    (value,) = await ask(client, contract, function, arguments, block)
    return value


async def plan_call(
    client: RpcClient, call: ContractCall, sender: bytes, max_fee_wei: int = DEFAULT_MAX_FEE_WEI
) -> Transaction:
    """The unsigned transaction of a call. Raises UserError where the contract refuses it, or it costs too much."""
    contract, data = call.contract, call.data
    if call.value_wei:
        await check_funds(client, sender, call.value_wei)
    try:
        gas = await client.estimate_gas(sender, contract.address, call.value_wei, data)
    except RpcError as error:
        raise refusal_of(error, contract) or error from error
    transaction = await build_transaction(
        client, sender, contract.address, call.value_wei, data, gas_limit=gas + call.gas_margin
    )
    await check_cost(client, sender, transaction, max_fee_wei)
    return transaction


async def events_of(client: RpcClient, call: ContractCall, sender: bytes, receipt: Receipt) -> list[ContractEvent]:
    """The events of a call in a block, in their order. Raises UserError where the contract refused it there, and
    InvalidAnswer."""
    if not receipt.succeeded:
        raise await _refusal_in_block(client, call, sender, receipt)
    contracts = {one.address: one for one in _with_passed_on(call.contract)}
    found = []
    for log in receipt.logs:
        contract = contracts.get(log.address)
        if contract is None:
            continue
        try:
            decoded = contract.abi.decode_log(log.topics, log.data)
        except InvalidAbi as error:
            raise InvalidAnswer(f"an event of {contract.title} is malformed: {error}") from error
        if decoded is not None:
            found.append(ContractEvent(contract.name, decoded.event, decoded.arguments))
    return found


def the_event(events: Sequence[ContractEvent], name: str, **expected: object) -> ContractEvent:
    """The first event of that name with these values. Raises InvalidAnswer where the receipt has none."""
    for event in events:
        if event.name == name and all(event.values.get(key) == value for key, value in expected.items()):
            return event
    raise InvalidAnswer(f"the receipt of the transaction does not say what came of it: it has no event {name}")


def refusal_of(error: RpcError, contract: Contract) -> UserError | None:
    """The contract's refusal in a node's answer as a sentence; None where it is something else."""
    if error.code != REVERTED:
        return None
    try:
        data = parse_data(error.data)
    except InvalidHex:
        return None
    for one in _with_passed_on(contract):
        sentence = sentence_of(data, one.abi, one.refusals, one.words)
        if sentence is not None:
            return UserError(sentence)
    sentence = library_refusal(data)
    return None if sentence is None else UserError(sentence)


async def _refusal_in_block(client: RpcClient, call: ContractCall, sender: bytes, receipt: Receipt) -> UserError:
    """Why what could be planned failed in its block: the contract is asked again, since receipts do not say."""
    refused: UserError | None = None
    try:
        block = receipt.block_number
        await client.call(call.contract.address, call.data, block, sender=sender, value=call.value_wei)
    except RpcError as error:
        refused = refusal_of(error, call.contract)
    why = str(refused) if refused else "Something changed on the ledger in the same moment; look again and repeat it."
    return UserError(f"It was refused in block {receipt.block_number}; its fee is spent. {why}")


def _with_passed_on(contract: Contract) -> list[Contract]:
    """The contract and all that it calls, each once."""
    found = [contract]
    for one in found:
        found += [other for other in one.passes_on if other not in found]
    return found
