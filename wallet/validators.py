"""The validators of a network as its Validators contract has them, and a vote from its plan to what came of it.

What a vote does is the contract's to decide (contracts/src/Validators.sol); here are the questions, the transaction,
and the contract's answers and refusals as values and sentences. The node is not trusted: see wallet/client.py.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum

from chain.transaction import Transaction
from contracts.addresses import VALIDATORS_ADDRESS
from contracts.binding import load_artifact
from primitives.errors import InvalidAbi, InvalidHex, UserError
from primitives.hexadecimal import parse_data, to_checksum_address
from wallet.answers import Receipt
from wallet.client import BlockTag, InvalidAnswer, RpcClient, RpcError
from wallet.transfer import DEFAULT_MAX_FEE_WEI, build_transaction, check_cost

VOTE_GAS_MARGIN = 500_000
"""Beyond the node's estimate: where others vote first, this vote may become the one that decides, which costs more."""
REVERTED = 3
"""The code of a JSON-RPC error whose data is what a contract reverted with (execution-apis)."""


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
    if not await client.code(VALIDATORS_ADDRESS, block):
        raise UserError(
            "This network has no contract for validators: its blocks are made by mining, or its genesis file lacks it."
        )
    addresses = _addresses(await _ask(client, "validators", block))
    (needed,) = await _ask(client, "votesNeeded", block)
    (votes,) = await _ask(client, "openVotes", block)
    if not isinstance(needed, int) or not isinstance(votes, Sequence):
        raise InvalidAnswer("the validators' contract answered with something else than votes")
    proposals: dict[bytes, Proposal] = {}
    for voter, subject, to_remove in sorted(votes):
        known = proposals.get(subject) or Proposal(subject, to_remove, (), needed)
        proposals[subject] = replace(known, voters=(*known.voters, voter))
    in_order = tuple([proposals[subject] for subject in sorted(proposals)])
    return Validators(block, tuple(sorted(addresses)), needed, in_order)


async def plan_vote(
    client: RpcClient, vote: Vote, subject: bytes, voter: bytes, max_fee_wei: int = DEFAULT_MAX_FEE_WEI
) -> Transaction:
    """The unsigned transaction of a vote. Raises UserError where the contract refuses it, or it costs too much."""
    data = _call_data(vote, subject)
    try:
        gas = await client.estimate_gas(voter, VALIDATORS_ADDRESS, 0, data)
    except RpcError as error:
        raise refusal_of(error) or error from error
    gas_limit = gas + VOTE_GAS_MARGIN
    transaction = await build_transaction(client, voter, VALIDATORS_ADDRESS, data=data, gas_limit=gas_limit)
    await check_cost(client, voter, transaction, max_fee_wei)
    return transaction


async def outcome_of(client: RpcClient, vote: Vote, subject: bytes, voter: bytes, receipt: Receipt) -> VoteOutcome:
    """What came of a vote in a block. Raises UserError where the contract refused it there."""
    if not receipt.succeeded:
        raise await _refusal_in_block(client, vote, subject, voter, receipt)
    abi = load_artifact("Validators").abi
    outcome: VoteOutcome | None = None
    for log in receipt.logs:
        if log.address != VALIDATORS_ADDRESS:
            continue
        try:
            decoded = abi.decode_log(log.topics, log.data)
        except InvalidAbi as error:
            raise InvalidAnswer(f"an event of the validators' contract is malformed: {error}") from error
        if decoded is None:
            continue
        values = decoded.arguments
        if decoded.event == "ValidatorsChanged" and outcome is not None:
            outcome = replace(outcome, validators=_addresses((values["validators"],)))
        elif values.get("voter") == voter:
            outcome = VoteOutcome(_integer(values["votes"]), _integer(values["needed"]), None)
    if outcome is None:
        raise InvalidAnswer("the receipt of the vote does not say what came of it")
    return outcome


def refusal_of(error: RpcError) -> UserError | None:
    """The contract's refusal in a node's answer as a sentence; None where it is something else."""
    if error.code != REVERTED:
        return None
    try:
        data = parse_data(error.data)
        refused = load_artifact("Validators").abi.errors.get(data[:4])
        if refused is None:
            return None
        return UserError(_REFUSALS[refused.name](refused.decode(data)))
    except (InvalidHex, InvalidAbi):
        return None


async def _refusal_in_block(client: RpcClient, vote: Vote, subject: bytes, voter: bytes, receipt: Receipt) -> UserError:
    """Why a vote that could be planned failed in its block: the contract is asked again, since receipts do not say."""
    refused = None
    try:
        await client.call(VALIDATORS_ADDRESS, _call_data(vote, subject), receipt.block_number, sender=voter)
    except RpcError as error:
        refused = refusal_of(error)
    why = str(refused) if refused else "The list or the votes changed in the same moment; look at them and vote again."
    return UserError(f"The vote was refused in block {receipt.block_number}; its fee is spent. {why}")


async def _ask(client: RpcClient, function: str, block: BlockTag) -> tuple[object, ...]:
    abi = load_artifact("Validators").abi
    answer = await client.call(VALIDATORS_ADDRESS, abi.encode_call(function), block)
    try:
        return abi.decode_result(function, answer)
    except InvalidAbi as error:
        raise InvalidAnswer(f"the validators' contract gave no proper answer to {function}: {error}") from error


def _call_data(vote: Vote, subject: bytes) -> bytes:
    return load_artifact("Validators").abi.encode_call(vote.value, [subject])


def _addresses(result: Sequence[object]) -> tuple[bytes, ...]:
    """The addresses in a result or an event that is a list of them and nothing else."""
    (values,) = result
    if not isinstance(values, Sequence):
        raise InvalidAnswer("the validators' contract answered with something else than a list")
    return tuple(values)


def _integer(value: object) -> int:
    if not isinstance(value, int):
        raise InvalidAnswer("the validators' contract answered with something else than a number")
    return value


def _shown(values: Mapping[str, object], name: str) -> str:
    value = values[name]
    return to_checksum_address(value) if isinstance(value, bytes) else str(value)


def _count_is_invalid(values: Mapping[str, object]) -> str:
    if values["count"] == 0:
        return "The last validator cannot be removed: nobody would be left to make blocks."
    return f"There are {_shown(values, 'maximum')} validators already, the most that can be; remove one first."


def _has_voted(values: Mapping[str, object]) -> str:
    votes, needed = _shown(values, "votes"), _shown(values, "needed")
    return (
        f"{_shown(values, 'voter')} has voted for this already. It has {votes} of the {needed} votes that it needs; "
        "the others must come from other validators."
    )


_REFUSALS: dict[str, Callable[[Mapping[str, object]], str]] = {
    "NotValidator": lambda values: (
        f"{_shown(values, 'caller')} is not a validator, so it has no vote. Sign with a validator's key: name it with "
        "--from, or its file with --key-file."
    ),
    "ZeroAddress": lambda values: "The address of nothing but zeros is nobody's; it cannot become a validator.",
    "AlreadyValidator": lambda values: f"{_shown(values, 'candidate')} is a validator already.",
    "UnknownValidator": lambda values: f"{_shown(values, 'member')} is not a validator, so it cannot be removed.",
    "ValidatorCountInvalid": _count_is_invalid,
    "AlreadyVoted": _has_voted,
    "NotVoted": lambda values: (
        f"{_shown(values, 'voter')} has no vote about {_shown(values, 'subject')} that could be withdrawn."
    ),
    "TooManyVotes": lambda values: (
        f"{_shown(values, 'voter')} has {_shown(values, 'maximum')} open votes, the most that one validator can have. "
        "Withdraw one with `wattchain validators withdraw`, or wait until one is decided."
    ),
}
"""A sentence for each error that the contract declares, with the error's values."""
