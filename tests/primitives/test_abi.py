"""The ABI codec against eth-abi on drawn types and values; the official vectors run in tests/conformance."""

from decimal import Decimal, getcontext

import eth_abi
import pytest
from hypothesis import given
from hypothesis import strategies as st

from primitives import abi
from primitives.errors import InvalidAbi
from primitives.keccak import keccak256

# eth-abi scales its Decimals in the thread's context; ours never round.
getcontext().prec = 200

Typed = tuple[str, st.SearchStrategy[object]]

sizes = st.integers(min_value=1, max_value=32)


def _integer(bits: int, is_signed: bool) -> Typed:
    low = -(2 ** (bits - 1)) if is_signed else 0
    return f"{'' if is_signed else 'u'}int{bits}", st.integers(low, low + 2**bits - 1)


def _fixed_point(bits: int, decimals: int, is_signed: bool) -> Typed:
    low = -(2 ** (bits - 1)) if is_signed else 0
    values = st.integers(low, low + 2**bits - 1).map(lambda scaled: Decimal(scaled).scaleb(-decimals))
    return f"{'' if is_signed else 'u'}fixed{bits}x{decimals}", values


elementary: st.SearchStrategy[Typed] = st.one_of(
    st.builds(lambda size, is_signed: _integer(8 * size, is_signed), sizes, st.booleans()),
    st.builds(
        lambda size, decimals, is_signed: _fixed_point(8 * size, decimals, is_signed),
        sizes,
        st.integers(1, 80),
        st.booleans(),
    ),
    sizes.map(lambda size: (f"bytes{size}", st.binary(min_size=size, max_size=size))),
    st.sampled_from(
        [
            ("address", st.binary(min_size=20, max_size=20)),
            ("bool", st.booleans()),
            ("bytes", st.binary(max_size=70)),
            ("string", st.text(max_size=30)),
            ("function", st.binary(min_size=24, max_size=24)),
        ]
    ),
)


def _array(of: Typed, length: int | None) -> Typed:
    name, values = of
    if length is None:
        return f"{name}[]", st.lists(values, max_size=3).map(tuple)
    return f"{name}[{length}]", st.lists(values, min_size=length, max_size=length).map(tuple)


def _struct(members: list[Typed]) -> Typed:
    return f"({','.join(name for name, _ in members)})", st.tuples(*[values for _, values in members])


types = st.recursive(
    elementary,
    lambda inner: st.one_of(
        st.builds(_array, inner, st.none() | st.integers(1, 3)),
        st.lists(inner, min_size=1, max_size=3).map(_struct),
    ),
    max_leaves=6,
)


@given(st.data())
def test_drawn_values_are_encoded_and_decoded_as_eth_abi_does(data: st.DataObject) -> None:
    drawn = data.draw(st.lists(types, max_size=4))
    names = [name for name, _ in drawn]
    values = data.draw(st.tuples(*[values for _, values in drawn]))
    encoded = abi.encode(names, values)
    assert encoded == eth_abi.encode(names, values)
    assert abi.decode(names, encoded) == values
    assert abi.decode(names, encoded) == _as_ours(names, eth_abi.decode(names, encoded))


def _as_ours(names: list[str], values: object) -> object:
    """eth-abi gives addresses as text."""

    def convert(value: object) -> object:
        if isinstance(value, (tuple, list)):
            return tuple(convert(element) for element in value)
        if isinstance(value, str) and len(value) == 42 and value.startswith("0x"):
            return bytes.fromhex(value[2:])
        return value

    return convert(values)


def test_the_example_of_the_solidity_documentation() -> None:
    encoded = abi.encode_call("sam(bytes,bool,uint256[])", (b"dave", True, [1, 2, 3]))
    assert encoded.hex() == (
        "a5643bf2"
        "0000000000000000000000000000000000000000000000000000000000000060"
        "0000000000000000000000000000000000000000000000000000000000000001"
        "00000000000000000000000000000000000000000000000000000000000000a0"
        "0000000000000000000000000000000000000000000000000000000000000004"
        "6461766500000000000000000000000000000000000000000000000000000000"
        "0000000000000000000000000000000000000000000000000000000000000003"
        "0000000000000000000000000000000000000000000000000000000000000001"
        "0000000000000000000000000000000000000000000000000000000000000002"
        "0000000000000000000000000000000000000000000000000000000000000003"
    )


def test_selectors_and_topics_use_the_full_names_of_types() -> None:
    assert abi.function_selector("transfer(address,uint256)").hex() == "a9059cbb"
    assert abi.function_selector("transfer(address,uint)").hex() == "a9059cbb"
    transfer = "ddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef"
    assert abi.event_topic("Transfer(address,address,uint)").hex() == transfer
    assert abi.canonical_signature("f((int,ufixed)[2],fixed[])") == "f((int256,ufixed128x18)[2],fixed128x18[])"
    assert abi.canonical_signature("none()") == "none()"


@pytest.mark.parametrize(
    "signature", ["", "f", "f(", "f)", "f(uint))", "f(uint)[2]", "1f()", "f g()", "f(uint,)", "é()"]
)
def test_other_texts_are_no_signatures(signature: str) -> None:
    with pytest.raises(InvalidAbi):
        abi.canonical_signature(signature)


def test_an_address_may_be_text_with_the_right_check_sum() -> None:
    text = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"
    assert abi.encode(["address"], [text]) == bytes(12) + bytes.fromhex(text[2:])
    with pytest.raises(InvalidAbi, match="mistyped"):
        abi.encode(["address"], [text.replace("aA", "AA")])


def test_topics_are_values_or_hashes() -> None:
    assert abi.encode_topic("uint8", 7) == (7).to_bytes(32, "big")
    assert abi.encode_topic("address", b"\x01" * 20) == bytes(12) + b"\x01" * 20
    assert abi.encode_topic("string", "hi") == keccak256(b"hi")
    assert abi.encode_topic("bytes", b"\x01\x02") == keccak256(b"\x01\x02")
    assert abi.encode_topic("uint8[]", [1, 2]) == keccak256((1).to_bytes(32, "big") + (2).to_bytes(32, "big"))
    # Inside arrays and structs text is padded to whole words, without its length.
    assert abi.encode_topic("(string,bool)", ("hi", True)) == keccak256(
        b"hi".ljust(32, b"\0") + (1).to_bytes(32, "big")
    )
    assert abi.encode_topic("string[2]", ["hi", ""]) == keccak256(b"hi".ljust(32, b"\0"))
