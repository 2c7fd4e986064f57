"""Contracts read from their ABI JSON: calls, logs, errors; overloads; malformed descriptions."""

import pytest

from primitives.abi import encode, encode_topic, event_topic, function_selector
from primitives.contract_abi import ContractAbi, DecodedLog
from primitives.errors import InvalidAbi
from primitives.keccak import keccak256
from primitives.revert_reason import ERROR_SELECTOR

READING = {
    "name": "reading",
    "type": "tuple",
    "components": [
        {"name": "meter", "type": "address"},
        {"name": "registers", "type": "tuple[2]", "components": [{"name": "energyWh", "type": "uint64"}]},
    ],
}
ENTRIES = [
    {"type": "constructor", "inputs": [{"name": "supplier", "type": "address"}]},
    {"type": "function", "name": "submit", "inputs": [READING], "outputs": [{"name": "", "type": "bool"}]},
    {"type": "function", "name": "usage", "inputs": [], "outputs": [{"name": "", "type": "uint64"}]},
    {"type": "function", "name": "usage", "inputs": [{"name": "m", "type": "address"}], "outputs": []},
    {
        "type": "event",
        "name": "Charged",
        "inputs": [
            {"name": "meter", "type": "address", "indexed": True},
            {"name": "amount", "type": "uint256", "indexed": False},
            {"name": "note", "type": "string", "indexed": True},
            {"name": "", "type": "bytes", "indexed": False},
        ],
    },
    {"type": "event", "name": "Quiet", "anonymous": True, "inputs": [{"name": "a", "type": "uint8", "indexed": True}]},
    {
        "type": "error",
        "name": "TooLow",
        "inputs": [{"name": "has", "type": "uint256"}, {"name": "m", "type": "address"}],
    },
    {"type": "receive"},
    {"type": "fallback"},
]
METER = b"\x11" * 20


@pytest.fixture
def contract() -> ContractAbi:
    return ContractAbi(ENTRIES)


def test_calls_with_structs_are_encoded_by_their_components(contract: ContractAbi) -> None:
    signature, value = "submit((address,(uint64)[2]))", (METER, ((5,), (6,)))
    assert contract.function("submit").signature == signature
    call = contract.encode_call("submit", [value])
    assert call == function_selector(signature) + encode(["(address,(uint64)[2])"], [value])
    assert contract.function("submit").decode_call(call) == (value,)
    assert contract.decode_result("submit", encode(["bool"], [True])) == (True,)
    assert contract.encode_constructor([METER]) == encode(["address"], [METER])


def test_a_call_of_another_function_is_not_decoded(contract: ContractAbi) -> None:
    with pytest.raises(InvalidAbi, match="not a call of"):
        contract.function("submit").decode_call(b"\x00" * 100)


def test_overloads_are_told_apart_by_their_signature(contract: ContractAbi) -> None:
    assert contract.encode_call("usage()") == function_selector("usage()")
    assert contract.encode_call("usage(address)", [METER]) == function_selector("usage(address)") + encode(
        ["address"], [METER]
    )
    for name in ("usage", "nothing"):
        with pytest.raises(InvalidAbi, match="no function"):
            contract.function(name)


def test_logs_are_decoded_with_hashes_for_what_no_topic_can_hold(contract: ContractAbi) -> None:
    topics = [event_topic("Charged(address,uint256,string,bytes)"), bytes(12) + METER, keccak256(b"night")]
    log = contract.decode_log(topics, encode(["uint256", "bytes"], [7, b"x"]))
    assert log == DecodedLog("Charged", {"meter": METER, "amount": 7, "note": keccak256(b"night"), "3": b"x"})
    assert list(log.arguments) == ["meter", "amount", "note", "3"]


def test_logs_of_others_are_passed_over_and_malformed_ones_refused(contract: ContractAbi) -> None:
    topic = event_topic("Charged(address,uint256,string,bytes)")
    data = encode(["uint256", "bytes"], [7, b"x"])
    assert contract.decode_log([], data) is None
    assert contract.decode_log([b"\x01" * 32], data) is None
    for topics, bad in (([topic], data), ([topic, bytes(32)], data), ([topic, bytes(32), bytes(32)], b"")):
        with pytest.raises(InvalidAbi):
            contract.decode_log(topics, bad)
    with pytest.raises(InvalidAbi, match="not a log of"):
        contract.event("Charged").decode_log([b"\x01" * 32], data)


def test_an_anonymous_event_has_no_topic_of_its_own(contract: ContractAbi) -> None:
    event = contract.event("Quiet")
    assert event.decode_log([encode_topic("uint8", 3)], b"") == {"a": 3}
    assert event.topics(a=3) == [encode_topic("uint8", 3)]


def test_topics_select_by_indexed_arguments(contract: ContractAbi) -> None:
    event = contract.event("Charged")
    assert event.topics() == [event.topic, None, None]
    assert event.topics(note="night") == [event.topic, None, keccak256(b"night")]
    assert event.topics(meter=METER) == [event.topic, bytes(12) + METER, None]
    with pytest.raises(InvalidAbi, match="no indexed argument amount"):
        event.topics(amount=7)


def test_reasons_of_reverts_know_the_contracts_own_errors(contract: ContractAbi) -> None:
    custom = function_selector("TooLow(uint256,address)") + encode(["uint256", "address"], [5, METER])
    assert contract.revert_reason(custom) == f"TooLow(has=5, m=0x{METER.hex()})"
    assert contract.revert_reason(custom[:40]) is None
    assert contract.revert_reason(ERROR_SELECTOR + encode(["string"], ["no"])) == "no"
    assert contract.revert_reason(b"\x01\x02\x03\x04") is None


@pytest.mark.parametrize(
    "entry",
    [
        "text",
        {"type": "function"},
        {"type": "function", "name": ""},
        {"type": "modifier", "name": "f"},
        {"type": "function", "name": "f", "inputs": "x"},
        {"type": "function", "name": "f", "inputs": ["uint8"]},
        {"type": "function", "name": "f", "inputs": [{"name": "a"}]},
        {"type": "function", "name": "f", "inputs": [{"name": "a", "type": "tuple"}]},
        {"type": "function", "name": "f", "inputs": [{"name": "a", "type": "tuple", "components": "x"}]},
        {"type": "function", "name": "f", "inputs": [{"name": "a", "type": "uint7"}]},
        {"type": "event", "name": "E", "inputs": [{"name": str(i), "type": "bool", "indexed": True} for i in range(4)]},
    ],
)
def test_malformed_descriptions_are_refused(entry: object) -> None:
    with pytest.raises(InvalidAbi):
        ContractAbi([entry])


def test_endless_components_are_refused() -> None:
    parameter: dict[str, object] = {"name": "a", "type": "tuple"}
    parameter["components"] = [parameter]
    with pytest.raises(InvalidAbi, match="nested more than"):
        ContractAbi([{"type": "function", "name": "f", "inputs": [parameter]}])
