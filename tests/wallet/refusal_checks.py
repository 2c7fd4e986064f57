"""Is every error that a contract declares said in words? Each command's test asks it of its contract."""

from primitives.abi_types import AbiType, ArrayType, BytesType, TupleType
from primitives.contract_abi import CustomError
from primitives.hexadecimal import to_data
from wallet.client import RpcError
from wallet.contract_call import REVERTED, Contract, refusal_of
from wallet.refusals import COMMON_SENTENCES


def check_refusals(contract: Contract) -> None:
    """Each error has a sentence by hand that is a sentence, shows its values, and does not repeat the error's name; and
    there are no sentences for errors that do not exist."""
    errors = {error.name: error for error in contract.abi.errors.values()}
    assert set(contract.refusals) - set(errors) == set()
    assert set(errors) - set(contract.refusals) - set(COMMON_SENTENCES) == set(), f"no sentence in {contract.name}"
    for name, error in errors.items():
        for number in (0, 41):
            said = refusal_of(reverted_with(error_data(error, number)), contract)
            assert said is not None, name
            sentence = str(said)
            assert sentence.endswith((".", "`")), sentence
            assert sentence[0].isupper() or sentence.startswith(("0x", "'")), sentence
            assert name not in sentence, sentence
            assert "{" not in sentence, sentence


def error_data(error: CustomError, number: int = 41) -> bytes:
    """What a call reverts with, its values made up."""
    values = tuple([_made_up(member, number) for member in error.inputs.members])
    return error.selector + error.inputs.encode(values)


def reverted_with(data: object, code: int = REVERTED) -> RpcError:
    return RpcError("eth_estimateGas", code, "execution reverted", to_data(data) if isinstance(data, bytes) else data)


def _made_up(member: AbiType, number: int) -> object:
    if isinstance(member, TupleType):
        return tuple([_made_up(one, number) for one in member.members])
    if isinstance(member, ArrayType):
        return [_made_up(member.element, number)] * (member.length or 1)
    if isinstance(member, BytesType):
        return "some text" if member.canonical == "string" else b"\x07" * 5
    if member.canonical == "address":
        return bytes([number + 1]) * 20
    if member.canonical == "bool":
        return bool(number)
    if member.canonical.startswith("bytes"):
        return b"\x07" * int(member.canonical.removeprefix("bytes"))
    return number
