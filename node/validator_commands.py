"""`wattchain network validators` and `vote`: who makes the blocks, and deciding about it.

The decision is the Validators contract's: more than half of the present validators. A vote is a transaction signed with
the node's own key, so it is cast on the computer where that key lies.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import click

from contracts.addresses import VALIDATORS_ADDRESS
from contracts.binding import load_artifact
from node.directory_option import data_directory_option
from node.network_options import address_option
from node.node_key import NODE_KEY_FILE, read_node_key
from primitives.errors import InvalidAbi, InvalidHex, UserError
from primitives.hexadecimal import parse_data, to_checksum_address, to_data
from primitives.secp256k1 import address_of
from wallet.client import InvalidAnswer, RpcClient, RpcError
from wallet.command_line import json_option, node_option, print_result
from wallet.transfer import DEFAULT_MAX_FEE_WEI, build_transaction, check_cost, sign_and_send

T = TypeVar("T")

DEFAULT_WAIT_S = 120.0
"""Blocks with a transaction in them come within seconds; two minutes are many."""
_FUNCTIONS = {"add": "voteToAdd", "remove": "voteToRemove", "withdraw": "withdrawVote"}
_REFUSALS = {
    "NotValidator": "This node is not a validator, so it has no vote.",
    "ZeroAddress": "The address 0 cannot be a validator.",
    "AlreadyValidator": "That node is a validator already.",
    "UnknownValidator": "That node is not a validator.",
    "ValidatorCountInvalid": "There can be 1 to 128 validators.",
    "AlreadyVoted": "This node has cast that vote already; others have to vote as well.",
    "NotVoted": "This node has cast no such vote.",
    "TooManyVotes": "This node has too many open votes; withdraw one first: wattchain network vote withdraw ADDRESS",
}


@dataclass(frozen=True, slots=True)
class OpenVote:
    """A vote that has not led to a decision yet."""

    voter: bytes
    subject: bytes
    is_to_remove: bool


@dataclass(frozen=True, slots=True)
class Council:
    """The validators as the ledger has them, and what they are deciding about."""

    validators: tuple[bytes, ...]
    needed: int
    """Votes for a decision."""
    open_votes: tuple[OpenVote, ...]

    def as_json(self) -> dict[str, object]:
        return {
            "validators": [to_checksum_address(one) for one in self.validators],
            "votesNeeded": self.needed,
            "openVotes": [
                {
                    "voter": to_checksum_address(vote.voter),
                    "subject": to_checksum_address(vote.subject),
                    "vote": "remove" if vote.is_to_remove else "add",
                }
                for vote in self.open_votes
            ],
        }


@click.command()
@node_option
@json_option
def validators(node: str, as_json: bool) -> None:
    """The nodes that make the blocks, and the votes about others."""
    council = asyncio.run(_with_client(node, read_council))
    print_result(council.as_json(), "\n".join(council_lines(council)), as_json)


@click.command()
@click.argument("action", type=click.Choice(list(_FUNCTIONS)))
@click.argument("address")
@data_directory_option
@node_option
@click.option(
    "--wait",
    "wait_s",
    type=click.FloatRange(min=0),
    default=DEFAULT_WAIT_S,
    show_default=True,
    help="Seconds to wait until the vote is in a block; 0 does not wait.",
)
@json_option
def vote(action: str, address: str, data_directory: Path, node: str, wait_s: float, as_json: bool) -> None:
    """Vote, as this node, to add or remove a validator, or withdraw such a vote.

    ADDRESS is the node id that `wattchain status` shows. The vote counts when more than half of the validators have
    cast the same one. It is signed with the node.key in --data-dir.
    """
    subject = address_option(address, "ADDRESS")
    try:
        key = read_node_key(data_directory / NODE_KEY_FILE)
    except FileNotFoundError as error:
        raise UserError(
            f"There is no node's key in {data_directory}. Name the folder of the node that votes with --data-dir."
        ) from error

    async def cast(client: RpcClient) -> tuple[bytes, Council | None]:
        return await _vote(client, key, _FUNCTIONS[action], subject, wait_s)

    transaction_hash, council = asyncio.run(_with_client(node, cast))
    facts: dict[str, object] = {"transaction": to_data(transaction_hash)}
    if council is None:
        print_result(facts, f"The vote is handed in as {facts['transaction']}; it is not in a block yet.", as_json)
    else:
        text = ["The vote is in the ledger.", "", *council_lines(council)]
        print_result(facts | council.as_json(), "\n".join(text), as_json)


def council_lines(council: Council) -> list[str]:
    lines = [f"{len(council.validators)} validators; a decision needs {council.needed} votes:"]
    lines += [f"  {to_checksum_address(one)}" for one in council.validators]
    if council.open_votes:
        lines.append("Open votes:")
    for subject, is_to_remove in dict.fromkeys((one.subject, one.is_to_remove) for one in council.open_votes):
        voters = [one.voter for one in council.open_votes if one.subject == subject]
        verb = "remove" if is_to_remove else "add"
        lines.append(f"  {verb} {to_checksum_address(subject)}: {len(voters)} of {council.needed}")
        lines += [f"    by {to_checksum_address(voter)}" for voter in voters]
    return lines


async def read_council(client: RpcClient) -> Council:
    """Raises UserError where the network has no such contract."""
    members = await _ask(client, "validators")
    needed = await _ask(client, "votesNeeded")
    votes = await _ask(client, "openVotes")
    match members, needed, votes:
        case [*addresses], int(number), [*entries]:
            return Council(
                tuple([_address(one) for one in addresses]), number, tuple([_open_vote(entry) for entry in entries])
            )
    raise InvalidAnswer("the node's answer about validators is malformed")


async def _vote(
    client: RpcClient, key: bytes, function: str, subject: bytes, wait_s: float
) -> tuple[bytes, Council | None]:
    """The transaction, and what stands after it where it came into a block in time. Raises UserError."""
    sender = address_of(key)
    data = load_artifact("Validators").abi.encode_call(function, [subject])
    try:
        transaction = await build_transaction(client, sender, VALIDATORS_ADDRESS, data=data)
    except RpcError as error:
        raise _refusal(error) from error
    await check_cost(client, sender, transaction, DEFAULT_MAX_FEE_WEI)
    transaction_hash = await sign_and_send(client, transaction, key)
    if not wait_s:
        return transaction_hash, None
    receipt = await client.wait_for_receipt(transaction_hash, wait_s)
    if not receipt.succeeded:
        raise UserError("The vote came into a block, but no longer counted: the validators had changed meanwhile.")
    return transaction_hash, await read_council(client)


async def _ask(client: RpcClient, function: str) -> object:
    abi = load_artifact("Validators").abi
    output = await client.call(VALIDATORS_ADDRESS, abi.encode_call(function))
    if not output:
        raise UserError("This network has no validators: its blocks are made by mining.")
    try:
        (value,) = abi.decode_result(function, output)
    except InvalidAbi as error:
        raise InvalidAnswer(f"the node's answer about validators is malformed: {error}") from error
    return value


def _refusal(error: RpcError) -> UserError:
    """Why the contract would not take the vote, in plain words where it says so."""
    try:
        name = load_artifact("Validators").error_name(parse_data(error.data))
    except InvalidHex:
        return error
    return UserError(_REFUSALS[name]) if name in _REFUSALS else error


def _address(value: object) -> bytes:
    if not isinstance(value, bytes) or len(value) != 20:
        raise InvalidAnswer("the node's answer about validators is malformed")
    return value


def _open_vote(entry: object) -> OpenVote:
    match entry:
        case (voter, subject, bool(is_to_remove)):
            return OpenVote(_address(voter), _address(subject), is_to_remove)
    raise InvalidAnswer("the node's answer about validators is malformed")


async def _with_client(node: str, work: Callable[[RpcClient], Awaitable[T]]) -> T:
    async with RpcClient(node) as client:
        return await work(client)
