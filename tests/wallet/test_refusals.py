"""The words for what contracts refuse: each value as its name says, and a sentence also where nobody wrote one."""

import pytest

from primitives.abi import encode_call
from primitives.contract_abi import ContractAbi
from primitives.hexadecimal import to_checksum_address
from wallet.refusals import library_refusal, sentence_of, shown_value

METER = bytes(range(20))
TIME_S = 1_796_083_200  # 2026-12-01


@pytest.mark.parametrize(
    ("name", "type_name", "value", "shown"),
    [
        ("amountWei", "uint256", 15 * 10**17, "1.5 WATT"),
        ("rateWeiPerWh", "uint64", 10**15, "1 WATT a kWh"),
        ("balanceWei", "int256", -(10**17), "-0.1 WATT"),
        ("importWh", "uint64", 12_340, "12.34 kWh"),
        ("powerW", "int32", -5, "-5 W"),
        ("noticeS", "uint64", 86_400, "1 day"),
        ("validityS", "uint64", 90, "90 seconds"),
        ("time", "uint64", TIME_S, "2026-12-01 00:00:00 UTC"),
        ("from", "uint48", TIME_S + 1, "2026-12-01 00:00:01 UTC"),
        ("latestTime", "uint64", TIME_S, "2026-12-01 00:00:00 UTC"),
        ("format", "uint64", TIME_S, str(TIME_S)),
        ("repeat", "uint64", TIME_S, str(TIME_S)),
        ("from", "uint48", 7, "7"),
        ("time", "uint256", 2**255, f"second {2**255}"),
        ("sequence", "uint64", 3, "3"),
        ("meter", "address", METER, to_checksum_address(METER)),
        ("pointOfSupply", "bytes32", b"\x01" * 32, "0x" + "01" * 32),
        ("active", "bool", True, "yes"),
        ("name", "string", "El\nDApp", "'El\\nDApp'"),
        ("amountsWei", "uint256[]", (10**18, 0), "1 WATT, 0 WATT"),
    ],
)
def test_a_value_is_shown_as_its_name_says(name: str, type_name: str, value: object, shown: str) -> None:
    assert shown_value(name, type_name, value) == shown


def abi_with(name: str, *inputs: tuple[str, str]) -> ContractAbi:
    return ContractAbi([{"type": "error", "name": name, "inputs": [{"type": t, "name": n} for t, n in inputs]}])


CREDIT = abi_with("CreditTooLarge", ("uint256", "amountWei"), ("uint256", "maximumWei"))
CREDIT_DATA = encode_call("CreditTooLarge(uint256,uint256)", [5 * 10**18, 10**18])


def test_a_sentence_has_the_values_where_it_names_them() -> None:
    text = "No more than {maximumWei} fits."
    assert sentence_of(CREDIT_DATA, CREDIT, {"CreditTooLarge": text}) == "No more than 1 WATT fits."
    by_value = {"CreditTooLarge": lambda values: "{amountWei}!" if values["amountWei"] > 1 else ""}
    assert sentence_of(CREDIT_DATA, CREDIT, by_value) == "5 WATT!"


def test_an_error_without_a_sentence_is_still_said_in_words() -> None:
    assert sentence_of(CREDIT_DATA, CREDIT, {}) == (
        "The contract refused this: credit too large (amount 5 WATT, maximum 1 WATT)."
    )
    assert sentence_of(encode_call("Closed()"), abi_with("Closed"), {}) == "The contract refused this: closed."


def test_numbers_of_an_enum_are_words() -> None:
    abi = abi_with("RoleTaken", ("uint8", "role"))
    words = {"role": {2: "a supplier"}}
    for number, said in ((2, "a supplier"), (9, "9")):
        data = encode_call("RoleTaken(uint8)", [number])
        assert sentence_of(data, abi, {"RoleTaken": "It is {role}."}, words) == f"It is {said}."


@pytest.mark.parametrize("data", [b"", b"\x01", CREDIT_DATA[:4], CREDIT_DATA[:-1], b"\xff" * 68])
def test_garbage_is_nobodys_refusal(data: bytes) -> None:
    assert sentence_of(data, CREDIT, {"CreditTooLarge": "x"}) is None
    assert library_refusal(data) is None


def test_what_solidity_itself_refuses_is_said() -> None:
    assert library_refusal(encode_call("Error(string)", ["no room"])) == "The contract refused this: no room."
    assert "overflow" in (library_refusal(encode_call("Panic(uint256)", [0x11])) or "")
    long = library_refusal(encode_call("Error(string)", ["x" * 10_000])) or ""
    assert len(long) < 300
