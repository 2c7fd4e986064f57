"""What all commands have in common that send a transaction to a contract: their options, the plan that is shown before
anything happens, the question, and the result.

A command's own file says what is called, what is shown, and what the events mean; wallet/contract_call.py does the
rest.
"""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from rich.console import Console

from chain.transaction import Transaction
from primitives.errors import InvalidHex, UserError
from primitives.hexadecimal import parse_address, to_checksum_address, to_data
from wallet.amounts import format_amount, parse_amount
from wallet.answers import Receipt
from wallet.client import RpcClient
from wallet.command_line import (
    as_one_argument,
    confirm,
    json_option,
    node_option,
    password_file_option,
    print_result,
    say,
)
from wallet.commands import keystore_option, max_fee_option, wait_option, yes_option
from wallet.contract_call import Contract, ContractCall, ContractEvent, events_of, plan_call, the_event
from wallet.key_directory import KeyDirectory
from wallet.refusals import shown_values
from wallet.signing_key import SigningKey, choose_key, from_option, key_file_option
from wallet.transfer import highest_fee, sign_and_send

LABEL_WIDTH = 8

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Sending:
    """The options of a command that sends a transaction."""

    sender: str | None
    key_file: Path | None
    wait_s: float
    max_fee: str
    yes: bool
    keys: KeyDirectory
    node: str
    password_file: Path | None
    as_json: bool


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a transaction: members of the result in JSON, and the same for a person."""

    result: Mapping[str, object]
    text: str


@dataclass(frozen=True, slots=True)
class Plan:
    """A transaction that is meant, and how to tell a person about it before and after."""

    call: ContractCall
    lines: Sequence[tuple[str, str]]
    """What will happen: a label of one word and a text each."""
    outcome: Callable[[Sequence[ContractEvent]], Outcome]
    """From the events of the receipt. May raise InvalidAnswer, as `the_event` does."""
    question: str = "Send this?"
    result: Mapping[str, object] = field(default_factory=dict)
    """Members of the result in JSON that hold, or are null, before anything is in a block."""


def sending_options(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command all options of Sending and hands them over as one argument `sending`."""
    options = (from_option, key_file_option, wait_option, max_fee_option, yes_option, keystore_option, node_option)
    return as_one_argument("sending", Sending, (*options, password_file_option, json_option))(command)


def send_planned(sending: Sending, make_plan: Callable[[RpcClient, bytes], Awaitable[Plan]]) -> None:
    """Choose the key, make the plan for its address, show it, ask, send, wait and print the result.

    `make_plan` asks the node what it needs; it may raise UserError. Raises UserError, Invalid.
    """
    key = choose_key(sending.keys, sending.sender, sending.key_file, sending.password_file)
    plan, transaction = asyncio.run(_planned(sending, make_plan, key.address))
    for label, text in (*plan.lines, ("By", f"{to_checksum_address(key.address)}  {key.name}")):
        say(f"{label:<{LABEL_WIDTH}}{text}")
    fee = highest_fee(transaction)
    say(f"{'Fee':<{LABEL_WIDTH}}{'none' if fee == 0 else 'at most ' + format_amount(fee)}")
    say(f"{'Chain':<{LABEL_WIDTH}}{transaction.chain_id}, by the node at {sending.node}")
    confirm(plan.question, sending.yes)
    private_key = key.unlock(sending.password_file)
    transaction_hash, receipt, outcome = asyncio.run(_submitted(sending, plan, key, transaction, private_key))
    result: dict[str, object] = {
        "transaction": to_data(transaction_hash),
        "block": receipt and receipt.block_number,
        "fee_wei": receipt and str(receipt.gas_used * receipt.effective_gas_price),
        **plan.result,
    }
    text = f"Handed in as {result['transaction']}; it is not in a block yet."
    if receipt is not None and outcome is not None:
        result |= outcome.result
        text = f"In block {receipt.block_number}, transaction {result['transaction']}.\n{outcome.text}"
    print_result(result, text, sending.as_json)


def send_call(
    sending: Sending,
    call: ContractCall,
    lines: Sequence[tuple[str, str]],
    event: str,
    told: str,
    *,
    question: str = "Send this?",
) -> None:
    """`send_planned` for a call that is told by its event: its values are the result, and stand in the text `told`,
    with {name} for the value of that name as a person reads it."""

    async def plan(_client: RpcClient, _sender: bytes) -> Plan:
        return Plan(call, lines, lambda events: told_by(call.contract, events, event, told), question)

    send_planned(sending, plan)


def told_by(contract: Contract, events: Sequence[ContractEvent], name: str, told: str) -> Outcome:
    """The outcome that an event of the contract is. Raises InvalidAnswer where the receipt has none."""
    event = the_event(events, name)
    shown = shown_values(contract.abi.event(name), event.values, contract.words)
    return Outcome(event_json(contract, event), told.format_map(shown))


def event_json(contract: Contract, event: ContractEvent) -> dict[str, object]:
    """An event's values in JSON: names in small_letters, wei as text (numbers of JSON are too small), bytes as 0x."""
    declared = contract.abi.event(event.name)
    types = dict(zip(declared.input_names, declared.inputs.members, strict=True))
    return {snake_case(name): to_json(name, types[name].canonical, value) for name, value in event.values.items()}


def to_json(name: str, type_name: str, value: object) -> object:
    """A value of the ABI as JSON has it."""
    if isinstance(value, bytes):
        return to_checksum_address(value) if type_name == "address" else to_data(value)
    if isinstance(value, (tuple, list)):
        return [to_json(name, type_name.rpartition("[")[0], item) for item in value]
    is_large = isinstance(value, int) and not isinstance(value, bool) and "wei" in name.lower()
    return str(value) if is_large else value


def snake_case(name: str) -> str:
    """ "openingImportWh" is "opening_import_wh"."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower().rstrip("_")


def ask_node(node: str, ask: Callable[[RpcClient], Awaitable[_T]]) -> _T:
    """What `ask` finds out with a client of the node. Raises UserError, Invalid."""

    async def asked() -> _T:
        async with RpcClient(node) as client:
            return await ask(client)

    return asyncio.run(asked())


async def ledger_time_s(client: RpcClient) -> int:
    """The Unix time of the newest block: the ledger's own, which may run faster than the wall's in a demo."""
    latest = await client.block("latest")
    return int(time.time()) if latest is None else latest.time_s


def parse_account(text: str, keys: KeyDirectory | None = None) -> bytes:
    """The address that is given, or that of a key of one's own by its name. Raises UserError."""
    if keys is not None and not text.lower().startswith("0x"):
        return keys.find(text).address
    try:
        return parse_address(text)
    except InvalidHex as error:
        raise UserError(f"'{text[:80]}' is no address: {error}.") from error


async def _planned(
    sending: Sending, make_plan: Callable[[RpcClient, bytes], Awaitable[Plan]], sender: bytes
) -> tuple[Plan, Transaction]:
    max_fee_wei = parse_amount(sending.max_fee)
    async with RpcClient(sending.node) as client:
        plan = await make_plan(client, sender)
        return plan, await plan_call(client, plan.call, sender, max_fee_wei)


async def _submitted(
    sending: Sending, plan: Plan, key: SigningKey, transaction: Transaction, private_key: bytes
) -> tuple[bytes, Receipt | None, Outcome | None]:
    """Sign, hand in and wait; the hash, and what came of it where it is in a block in time."""
    async with RpcClient(sending.node) as client:
        transaction_hash = await sign_and_send(client, transaction, private_key)
        if sending.wait_s == 0:
            return transaction_hash, None, None
        with Console(stderr=True).status("Waiting for the block ..."):
            receipt = await client.wait_for_receipt(transaction_hash, sending.wait_s)
        events = await events_of(client, plan.call, key.address, receipt)
        return transaction_hash, receipt, plan.outcome(events)
