"""`wattchain validators`: see who makes the blocks, and vote members in and out.

What is read and sent is in wallet/validators.py; here are the arguments, and what a person sees.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click
from rich.console import Console

from chain.consensus.qbft.validators import tolerated_faults
from chain.transaction import Transaction
from primitives.errors import InvalidHex, UserError
from primitives.hexadecimal import parse_address, to_checksum_address, to_data
from wallet.amounts import format_amount, parse_amount
from wallet.answers import Receipt
from wallet.client import RpcClient
from wallet.command_line import (
    PlainGroup,
    confirm,
    json_option,
    node_option,
    password_file_option,
    print_result,
    say,
)
from wallet.commands import keystore_option, max_fee_option, wait_option, yes_option
from wallet.key_directory import KeyDirectory
from wallet.signing_key import SigningKey, choose_key, from_option, key_file_option
from wallet.transfer import highest_fee, sign_and_send
from wallet.validators import Proposal, Validators, Vote, VoteOutcome, outcome_of, plan_vote, read_validators

_Command = TypeVar("_Command", bound=Callable[..., None])


@click.group(cls=PlainGroup)
def validators() -> None:
    """Who makes the blocks, and who is to.

    Validators are the nodes that make a network's blocks together. They decide themselves who is one of them: each of
    them has a vote, and a change is made as soon as more than half of them are for it. Each one votes on its own
    computer with its node's key:

      wattchain validators add 0x... --key-file ~/.wattchain/node.key
    """


@validators.command("list")
@node_option
@json_option
def list_validators(node: str, as_json: bool) -> None:
    """Show the validators."""
    council = asyncio.run(_read(node))
    count = len(council.addresses)
    text = "\n".join([to_checksum_address(address) for address in council.addresses])
    text += f"\n{_validators(count)}; a change needs {_votes(council.needed)}. {_faults(count)}"
    result = {
        "block": council.block_number,
        "validators": [to_checksum_address(address) for address in council.addresses],
        "needed": council.needed,
    }
    print_result(result, text, as_json)


@validators.command()
@node_option
@json_option
def votes(node: str, as_json: bool) -> None:
    """Show the open votes: about whom, by whom, and how many are missing."""
    council = asyncio.run(_read(node))
    text = "\n".join([_proposal_text(one) for one in council.proposals]) or "No vote is open."
    result = {"block": council.block_number, "proposals": [_proposal_json(one) for one in council.proposals]}
    print_result(result, text, as_json)


def _vote_options(command: _Command) -> _Command:
    """What all commands that send a vote take."""
    options = (from_option, key_file_option, wait_option, max_fee_option, yes_option, keystore_option, node_option)
    for option in reversed((*options, password_file_option, json_option)):
        command = option(command)
    return command


@validators.command()
@click.argument("address")
@_vote_options
def add(address: str, **options: Any) -> None:
    """Vote to make the node with this ADDRESS a validator.

    `wattchain status` on that node's computer shows its address. See that the node runs and has caught up first: a
    validator that is not there only brings the network nearer to a standstill. Your vote stays until it is decided or
    you withdraw it.
    """
    _cast(Vote.ADD, address, Ballot(**options))


@validators.command()
@click.argument("address")
@_vote_options
def remove(address: str, **options: Any) -> None:
    """Vote to remove the validator with this ADDRESS.

    Its node stays in the network, but makes no more blocks, and all its open votes end. A validator may also vote for
    its own removal. With fewer than four validators, all of them are needed for every block.
    """
    _cast(Vote.REMOVE, address, Ballot(**options))


@validators.command()
@click.argument("address")
@_vote_options
def withdraw(address: str, **options: Any) -> None:
    """Take back your vote about ADDRESS.

    Whether it was to add or to remove it; as long as it is not decided.
    """
    _cast(Vote.WITHDRAW, address, Ballot(**options))


@dataclass(frozen=True, slots=True)
class Ballot:
    """The options of a command that sends a vote."""

    sender: str | None
    key_file: Path | None
    wait_s: float
    max_fee: str
    yes: bool
    keys: KeyDirectory
    node: str
    password_file: Path | None
    as_json: bool


def _cast(vote: Vote, address: str, ballot: Ballot) -> None:
    subject = _parse(address)
    key = choose_key(ballot.keys, ballot.sender, ballot.key_file, ballot.password_file)
    council, transaction = asyncio.run(_plan(ballot, vote, subject, key.address))
    for line in _plan_lines(vote, council, subject, key):
        say(line)
    fee = highest_fee(transaction)
    say(f"Fee     {'none' if fee == 0 else 'at most ' + format_amount(fee)}")
    say(f"Chain   {transaction.chain_id}, by the node at {ballot.node}")
    confirm("Send this vote?", ballot.yes)
    private_key = key.unlock(ballot.password_file)
    transaction_hash, receipt, outcome = asyncio.run(_submit(ballot, vote, subject, key, transaction, private_key))
    result: dict[str, object] = {
        "transaction": to_data(transaction_hash),
        "vote": vote.name.lower(),
        "subject": to_checksum_address(subject),
        "voter": to_checksum_address(key.address),
        "block": receipt and receipt.block_number,
        "fee_wei": receipt and str(receipt.gas_used * receipt.effective_gas_price),
        "votes": outcome and outcome.votes,
        "needed": outcome and outcome.needed,
        "validators": outcome and outcome.validators and [to_checksum_address(one) for one in outcome.validators],
    }
    text = f"Handed in as {result['transaction']}; it is not in a block yet."
    if receipt is not None and outcome is not None:
        text = f"In block {receipt.block_number}, transaction {result['transaction']}.\n"
        text += _outcome_text(vote, to_checksum_address(subject), outcome)
    print_result(result, text, ballot.as_json)


async def _read(node: str) -> Validators:
    async with RpcClient(node) as client:
        return await read_validators(client)


async def _plan(ballot: Ballot, vote: Vote, subject: bytes, voter: bytes) -> tuple[Validators, Transaction]:
    max_fee_wei = parse_amount(ballot.max_fee)
    async with RpcClient(ballot.node) as client:
        council = await read_validators(client)
        return council, await plan_vote(client, vote, subject, voter, max_fee_wei)


async def _submit(
    ballot: Ballot, vote: Vote, subject: bytes, key: SigningKey, transaction: Transaction, private_key: bytes
) -> tuple[bytes, Receipt | None, VoteOutcome | None]:
    """Sign, hand in and wait; the hash, and what came of it where it is in a block in time."""
    async with RpcClient(ballot.node) as client:
        transaction_hash = await sign_and_send(client, transaction, private_key)
        if ballot.wait_s == 0:
            return transaction_hash, None, None
        with Console(stderr=True).status("Waiting for the block ..."):
            receipt = await client.wait_for_receipt(transaction_hash, ballot.wait_s)
        return transaction_hash, receipt, await outcome_of(client, vote, subject, key.address, receipt)


def _parse(address: str) -> bytes:
    try:
        return parse_address(address)
    except InvalidHex as error:
        raise UserError(f"{address[:80]} is no address: {error}.") from error


def _plan_lines(vote: Vote, council: Validators, subject: bytes, key: SigningKey) -> Sequence[str]:
    proposal = council.proposal(subject)
    deed = {
        Vote.ADD: "make {} a validator",
        Vote.REMOVE: "remove the validator {}",
        Vote.WITHDRAW: "withdraw the vote about {}",
    }[vote]
    so_far = f"{len(proposal.voters)} of {_votes(proposal.needed)} that it needs"
    lines = [
        f"Vote    {deed.format(to_checksum_address(subject))}",
        f"By      {to_checksum_address(key.address)}  {key.name}",
        f"Now     {so_far}",
    ]
    votes_then = len({*proposal.voters, key.address})
    if vote is not Vote.WITHDRAW and votes_then >= proposal.needed:
        count = len(council.addresses) + (-1 if proposal.to_remove else 1)
        lines.append(f"Then    it is decided: {_validators(count)}. {_faults(count)}")
    return lines


def _outcome_text(vote: Vote, subject: str, outcome: VoteOutcome) -> str:
    so_far = f"{outcome.votes} of {_votes(outcome.needed)} that it needs"
    if vote is Vote.WITHDRAW:
        return f"The vote about {subject} is withdrawn; it has {so_far}."
    if outcome.validators is None:
        return f"It has {so_far}; nothing is changed yet."
    count = len(outcome.validators)
    done = "is a validator now" if vote is Vote.ADD else "is no validator any more"
    return f"It is decided: {subject} {done}. {_validators(count)}. {_faults(count)}"


def _proposal_text(proposal: Proposal) -> str:
    deed = "Remove" if proposal.to_remove else "Add"
    missing = f"{proposal.missing} missing" if proposal.missing else "enough: any validator's vote carries it out"
    lines = [f"{deed} {to_checksum_address(proposal.subject)}"]
    lines += [f"  {len(proposal.voters)} of {_votes(proposal.needed)}, {missing}"]
    lines += [f"  by {to_checksum_address(voter)}" for voter in proposal.voters]
    return "\n".join(lines)


def _proposal_json(proposal: Proposal) -> dict[str, object]:
    return {
        "vote": "remove" if proposal.to_remove else "add",
        "subject": to_checksum_address(proposal.subject),
        "voters": [to_checksum_address(voter) for voter in proposal.voters],
        "needed": proposal.needed,
        "missing": proposal.missing,
    }


def _validators(count: int) -> str:
    return f"{count} validator{'' if count == 1 else 's'}"


def _votes(count: int) -> str:
    return f"{count} vote{'' if count == 1 else 's'}"


def _faults(count: int) -> str:
    """What the number of validators means for the network."""
    faults = tolerated_faults(count)
    if faults == 0:
        return "Each of them is needed for every block." if count > 1 else "It is needed for every block."
    return f"Blocks go on being made while at most {faults} of them {'is' if faults == 1 else 'are'} out of order."
