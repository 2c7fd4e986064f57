"""A contract as a wallet uses it: answers that are checked, refusals of it and of those that it calls, events."""

import pytest

from contracts.addresses import EXHAUSTION_ADDRESS, METER_ADDRESS, VALIDATORS_ADDRESS
from primitives.abi import encode_call
from primitives.errors import UserError
from primitives.hexadecimal import to_data
from tests.contracts.council import person
from tests.wallet.refusal_checks import error_data, reverted_with
from tests.wallet.toy_node import BLOCK_HASH, ToyNode, serve
from wallet.answers import Log, Receipt
from wallet.client import InvalidAnswer, RpcClient
from wallet.contract_call import (
    Contract,
    ContractCall,
    ask,
    ask_one,
    events_of,
    plan_call,
    refusal_of,
    the_event,
)

MISSING = "There is none here."
VALIDATORS = Contract("Validators", VALIDATORS_ADDRESS, "the council", MISSING, {"NotVoted": "No vote of {voter}."})
METER = Contract("Meter", METER_ADDRESS, "the meters' contract", MISSING, passes_on=(VALIDATORS,))
BOTH = Contract("Exhaustion", EXHAUSTION_ADDRESS, "credit", MISSING, passes_on=(METER, VALIDATORS))
SENDER = person(1)


def log(contract: Contract, event: str, *values: object, address: bytes | None = None) -> Log:
    declared = contract.abi.event(event)
    indexed = [value for value, flag in zip(values, declared.indexed, strict=True) if flag]
    rest = tuple([value for value, flag in zip(values, declared.indexed, strict=True) if not flag])
    topics = (declared.topic, *[bytes(12) + value for value in indexed if isinstance(value, bytes)])
    data = declared.unindexed.encode(rest)
    return Log(address or contract.address, topics, data, 7, bytes(32), bytes(32), 0, False)


def receipt(*logs: Log, succeeded: bool = True) -> Receipt:
    return Receipt(bytes(32), 7, bytes.fromhex(BLOCK_HASH[2:]), succeeded, 21_000, 0, None, logs)


async def test_an_answer_has_the_types_of_the_abi() -> None:
    word = (2).to_bytes(32, "big").hex()
    with serve(ToyNode(fixed_results={"eth_call": "0x" + word})) as node:
        async with RpcClient(node.url) as client:
            assert await ask_one(client, VALIDATORS, "votesNeeded") == 2
            with pytest.raises(InvalidAnswer, match="the council gave no proper answer to validators"):
                await ask(client, VALIDATORS, "validators")


@pytest.mark.parametrize("code", ["0x", "0x01"])
async def test_no_answer_is_told_apart_from_no_contract(code: str) -> None:
    with serve(ToyNode(fixed_results={"eth_call": "0x", "eth_getCode": code})) as node:
        async with RpcClient(node.url) as client:
            with pytest.raises(UserError if code == "0x" else InvalidAnswer) as caught:
                await ask(client, VALIDATORS, "votesNeeded")
    assert (str(caught.value) == MISSING) == (code == "0x")


async def test_what_cannot_be_paid_is_not_planned() -> None:
    with serve(ToyNode(balances={SENDER: 5})) as node:
        async with RpcClient(node.url) as client:
            with pytest.raises(UserError, match=r"has 0\.000000000000000005 WATT, less than"):
                await plan_call(client, ContractCall(VALIDATORS, "withdrawVote", (person(2),), value_wei=6), SENDER)
            planned = await plan_call(client, ContractCall(VALIDATORS, "withdrawVote", (person(2),), 5, 1_000), SENDER)
    assert (planned.to, planned.value, planned.gas_limit) == (VALIDATORS_ADDRESS, 5, 22_000)
    assert planned.data == encode_call("withdrawVote(address)", [person(2)])


def test_refusals_of_contracts_that_it_calls_come_through() -> None:
    errors = {error.name: error for error in VALIDATORS.abi.errors.values()}
    for contract in (VALIDATORS, METER, BOTH):
        said = str(refusal_of(reverted_with(error_data(errors["NotVoted"])), contract))
        assert said.startswith("No vote of 0x")
        unwritten = str(refusal_of(reverted_with(error_data(errors["TooManyVotes"])), contract))
        assert unwritten.startswith("The contract refused this: too many votes (voter 0x")


async def test_events_of_contracts_that_nobody_asked_about_are_passed_over() -> None:
    voted = log(VALIDATORS, "AdditionVoted", person(2), SENDER, 1, 2)
    foreign = log(VALIDATORS, "AdditionVoted", person(3), SENDER, 1, 2, address=person(9))
    async with RpcClient("http://127.0.0.1:1") as client:
        call = ContractCall(METER, "usageOfAll")
        events = await events_of(client, call, SENDER, receipt(foreign, voted))
        assert [(event.contract, event.name, event.values["candidate"]) for event in events] == [
            ("Validators", "AdditionVoted", person(2))
        ]
        assert the_event(events, "AdditionVoted", voter=SENDER) is events[0]
        for wanted in ({"voter": person(5)}, {"nothing": 1}):
            with pytest.raises(InvalidAnswer, match="does not say what came of it"):
                the_event(events, "AdditionVoted", **wanted)
        broken = Log(VALIDATORS_ADDRESS, voted.topics, b"\x01", 7, bytes(32), bytes(32), 0, False)
        with pytest.raises(InvalidAnswer, match="malformed"):
            await events_of(client, call, SENDER, receipt(broken))


async def test_a_call_that_fails_in_its_block_is_told_even_where_nobody_knows_why() -> None:
    with serve(ToyNode(fixed_results={"eth_call": to_data(b"")})) as node:
        async with RpcClient(node.url) as client:
            call = ContractCall(VALIDATORS, "withdrawVote", (person(2),))
            with pytest.raises(UserError, match=r"refused in block 7; its fee is spent\. Something changed"):
                await events_of(client, call, SENDER, receipt(succeeded=False))
