"""`wattchain validators`: see who makes the blocks, and vote members in and out.

What is read and sent is in wallet/validators.py; here are the arguments, and what a person sees.
"""

from collections.abc import Sequence

import click

from chain.consensus.qbft.validators import tolerated_faults
from primitives.hexadecimal import to_checksum_address
from wallet.client import RpcClient
from wallet.command_line import PlainGroup, json_option, node_option, print_result
from wallet.contract_call import ContractEvent
from wallet.contract_commands import (
    Outcome,
    Plan,
    Sending,
    ask_node,
    parse_account,
    send_planned,
    sending_options,
)
from wallet.validators import Proposal, Validators, Vote, VoteOutcome, outcome_of, read_validators, vote_call


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
    council = ask_node(node, read_validators)
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
    council = ask_node(node, read_validators)
    text = "\n".join([_proposal_text(one) for one in council.proposals]) or "No vote is open."
    result = {"block": council.block_number, "proposals": [_proposal_json(one) for one in council.proposals]}
    print_result(result, text, as_json)


@validators.command()
@click.argument("address")
@sending_options
def add(address: str, sending: Sending) -> None:
    """Vote to make the node with this ADDRESS a validator.

    `wattchain status` on that node's computer shows its address. See that the node runs and has caught up first: a
    validator that is not there only brings the network nearer to a standstill. Your vote stays until it is decided or
    you withdraw it.
    """
    _cast(Vote.ADD, address, sending)


@validators.command()
@click.argument("address")
@sending_options
def remove(address: str, sending: Sending) -> None:
    """Vote to remove the validator with this ADDRESS.

    Its node stays in the network, but makes no more blocks, and all its open votes end. A validator may also vote for
    its own removal. With fewer than four validators, all of them are needed for every block.
    """
    _cast(Vote.REMOVE, address, sending)


@validators.command()
@click.argument("address")
@sending_options
def withdraw(address: str, sending: Sending) -> None:
    """Take back your vote about ADDRESS.

    Whether it was to add or to remove it; as long as it is not decided.
    """
    _cast(Vote.WITHDRAW, address, sending)


def _cast(vote: Vote, address: str, sending: Sending) -> None:
    subject = parse_account(address)
    shown = to_checksum_address(subject)

    async def plan(client: RpcClient, voter: bytes) -> Plan:
        council = await read_validators(client)

        def outcome(events: Sequence[ContractEvent]) -> Outcome:
            came = outcome_of(events, voter)
            after = came.validators and [to_checksum_address(one) for one in came.validators]
            result = {"votes": came.votes, "needed": came.needed, "validators": after}
            return Outcome(result, _outcome_text(vote, shown, came))

        return Plan(
            call=vote_call(vote, subject),
            lines=_plan_lines(vote, council, subject, voter),
            outcome=outcome,
            question="Send this vote?",
            result={
                "vote": vote.name.lower(),
                "subject": shown,
                "voter": to_checksum_address(voter),
                "votes": None,
                "needed": None,
                "validators": None,
            },
        )

    send_planned(sending, plan)


def _plan_lines(vote: Vote, council: Validators, subject: bytes, voter: bytes) -> list[tuple[str, str]]:
    proposal = council.proposal(subject)
    deed = {
        Vote.ADD: "make {} a validator",
        Vote.REMOVE: "remove the validator {}",
        Vote.WITHDRAW: "withdraw the vote about {}",
    }[vote]
    so_far = f"{len(proposal.voters)} of {_votes(proposal.needed)} that it needs"
    lines = [("Vote", deed.format(to_checksum_address(subject))), ("Now", so_far)]
    votes_then = len({*proposal.voters, voter})
    if vote is not Vote.WITHDRAW and votes_then >= proposal.needed:
        count = len(council.addresses) + (-1 if proposal.to_remove else 1)
        lines.append(("Then", f"it is decided: {_validators(count)}. {_faults(count)}"))
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
