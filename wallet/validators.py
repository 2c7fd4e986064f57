"""The validators of a network as its Validators contract has them, and a vote from its plan to what came of it.

What a vote does is the contract's to decide (contracts/src/Validators.sol); here are the questions, the transaction,
and the contract's answers and refusals as values and sentences. The node is not trusted: see wallet/client.py.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from contracts.addresses import VALIDATORS_ADDRESS
from wallet.client import InvalidAnswer, RpcClient
from wallet.contract_call import Contract, ContractCall, ContractEvent, ask, ask_one, require_contract

VOTE_GAS_MARGIN = 500_000
"""Beyond the node's estimate: where others vote first, this vote may become the one that decides, which costs more."""


class Vote(Enum):
    """What a validator can do; the value is the contract's function."""

    ADD = "voteToAdd"
    REMOVE = "voteToRemove"
    WITHDRAW = "withdrawVote"


@dataclass(frozen=True, slots=True)
class Proposal:
    """What has been voted about one address."""

    subject: bytes
    to_remove: bool
    voters: tuple[bytes, ...]
    needed: int

    @property
    def missing(self) -> int:
        """Votes that it still needs; 0 where the list has become shorter since, and any vote carries it out."""
        return max(0, self.needed - len(self.voters))


@dataclass(frozen=True, slots=True)
class Validators:
    """The list and all votes as of one block, in the order of addresses."""

    block_number: int
    addresses: tuple[bytes, ...]
    needed: int
    """Votes that any change needs."""
    proposals: tuple[Proposal, ...]

    def proposal(self, subject: bytes) -> Proposal:
        """What has been voted about an address, also where that is nothing."""
        for one in self.proposals:
            if one.subject == subject:
                return one
        return Proposal(subject, subject in self.addresses, (), self.needed)


@dataclass(frozen=True, slots=True)
class VoteOutcome:
    """What a vote in a block came to."""

    votes: int
    """For the change, with this one, or without the one that was withdrawn."""
    needed: int
    validators: tuple[bytes, ...] | None
    """The new list, None where it did not change."""


async def read_validators(client: RpcClient) -> Validators:
    """Raises UserError where the network has no validators' contract; InvalidAnswer."""
    block = await client.block_number()
    await require_contract(client, VALIDATORS, block)
    (addresses,) = await ask(client, VALIDATORS, "validators", block=block)
    needed = await ask_one(client, VALIDATORS, "votesNeeded", block=block)
    votes = await ask_one(client, VALIDATORS, "openVotes", block=block)
    proposals: dict[bytes, Proposal] = {}
    for voter, subject, to_remove in sorted(votes):
        known = proposals.get(subject) or Proposal(subject, to_remove, (), needed)
        proposals[subject] = replace(known, voters=(*known.voters, voter))
    in_order = tuple([proposals[subject] for subject in sorted(proposals)])
    return Validators(block, tuple(sorted(addresses)), needed, in_order)


def vote_call(vote: Vote, subject: bytes) -> ContractCall:
    """The call that casts a vote."""
    return ContractCall(VALIDATORS, vote.value, (subject,), gas_margin=VOTE_GAS_MARGIN)


def outcome_of(events: Sequence[ContractEvent], voter: bytes) -> VoteOutcome:
    """What came of a vote by the events of its receipt. Raises InvalidAnswer where they do not say."""
    outcome: VoteOutcome | None = None
    for event in events:
        if event.name == "ValidatorsChanged" and outcome is not None:
            outcome = replace(outcome, validators=event.values["validators"])
        elif event.values.get("voter") == voter:
            outcome = VoteOutcome(event.values["votes"], event.values["needed"], None)
    if outcome is None:
        raise InvalidAnswer("the receipt of the vote does not say what came of it")
    return outcome


def _count_is_invalid(values: Mapping[str, Any]) -> str:
    if values["count"] == 0:
        return "The last validator cannot be removed: nobody would be left to make blocks."
    return "There are {maximum} validators already, the most that can be; remove one first."


VALIDATORS = Contract(
    name="Validators",
    address=VALIDATORS_ADDRESS,
    title="the validators' contract",
    missing="This network has no contract for validators: its blocks are made by mining, or its genesis file lacks it.",
    refusals={
        "NotValidator": (
            "{caller} is not a validator, so it has no vote. Sign with a validator's key: name it with --from, or its "
            "file with --key-file."
        ),
        "ZeroAddress": "The address of nothing but zeros is nobody's; it cannot become a validator.",
        "AlreadyValidator": "{candidate} is a validator already.",
        "UnknownValidator": "{member} is not a validator, so it cannot be removed.",
        "ValidatorCountInvalid": _count_is_invalid,
        "AlreadyVoted": (
            "{voter} has voted for this already. It has {votes} of the {needed} votes that it needs; the others must "
            "come from other validators."
        ),
        "NotVoted": "{voter} has no vote about {subject} that could be withdrawn.",
        "TooManyVotes": (
            "{voter} has {maximum} open votes, the most that one validator can have. Withdraw one with `wattchain "
            "validators withdraw`, or wait until one is decided."
        ),
    },
)
