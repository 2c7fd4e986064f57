"""What a contract refuses, as a sentence with the values that its error carries.

The sentences themselves stand beside the commands that meet them. A value is shown as its name says, since the
contracts name them with their units: wei as WATT, Wh as kWh, times as dates, addresses with their check sum. An error
for which nobody has written a sentence is still said in words.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from primitives.abi_types import AbiType
from primitives.contract_abi import ContractAbi, CustomError, Event
from primitives.errors import InvalidAbi
from primitives.hexadecimal import to_checksum_address, to_data
from primitives.revert_reason import revert_reason
from wallet.amounts import format_amount
from wallet.quantities import format_day, format_duration, format_energy, format_price, format_time

Sentence = str | Callable[[Mapping[str, Any]], str]
"""Text in which {name} stands for the error's value of that name as it is shown, or what makes such a text of the bare
values, where the sentence depends on them."""

Words = Mapping[str, Mapping[int, str]]
"""For arguments that are numbers of an enum: the argument's name -> number -> word."""

MAX_SHOWN_TEXT = 200
"""Characters of a text or bytes that are shown: contracts may hold any, a sentence has to stay one."""

COMMON_SENTENCES: Mapping[str, Sentence] = {
    "ReentrancyGuardReentrantCall": "The contract was called again in the middle of a payment; it does not allow that.",
    "ECDSAInvalidSignature": "The signature is not one that any key could have made: it is damaged.",
    "ECDSAInvalidSignatureLength": "The signature is damaged: it has {length} bytes.",
    "ECDSAInvalidSignatureS": "The signature is in a form that is not allowed, since it would not be unique.",
    "ZeroAddress": "The address of nothing but zeros is nobody's; give another.",
}
"""For errors of libraries that several contracts share, and names that mean the same everywhere. A contract's own
sentence for such a name goes before."""

_TIMES = ("Time", "At", "From", "Until", "Since", "Deadline", "Earliest", "Latest", "Expiry")
"""How names of Unix times end; such a word alone, in small letters, is one, too."""
EARLIEST_TIME_S = 100_000_000
"""A number below this (1973) under such a name is no moment: it is shown as it is."""


def sentence_of(
    data: bytes, abi: ContractAbi, sentences: Mapping[str, Sentence], words: Words | None = None
) -> str | None:
    """The refusal in the bytes that a call reverted with; None where this contract declares no such error."""
    error = abi.errors.get(data[:4])
    if error is None:
        return None
    try:
        values = error.decode(data)
    except InvalidAbi:
        return None
    shown = shown_values(error, values, words or {})
    sentence = sentences.get(error.name) or COMMON_SENTENCES.get(error.name)
    if sentence is None:
        return _in_plain_words(error.name, shown)
    text = sentence if isinstance(sentence, str) else sentence(values)
    return text.format_map(shown)


def library_refusal(data: bytes) -> str | None:
    """The refusal that Solidity itself knows, with a text or a number; None for anything else."""
    reason = revert_reason(data)
    return None if reason is None else f"The contract refused this: {reason[:MAX_SHOWN_TEXT]}."


def shown_values(declared: CustomError | Event, values: Mapping[str, object], words: Words) -> dict[str, str]:
    """Each value of an error, or an event, as a person reads it."""
    types = dict(zip(declared.input_names, declared.inputs.members, strict=True))
    return {name: _shown(name, types[name], value, words) for name, value in values.items()}


def shown_value(name: str, type_name: str, value: object, words: Words | None = None) -> str:
    """One value as its name and its type in the ABI say: ("amountWei", "uint256", 10**18) is "1 WATT"."""
    if isinstance(value, bytes):
        return to_checksum_address(value) if type_name == "address" else to_data(value[: MAX_SHOWN_TEXT // 2])
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return repr(value[:MAX_SHOWN_TEXT])
    if isinstance(value, (tuple, list)):
        return ", ".join([shown_value(name, "", item, words) for item in value[:MAX_SHOWN_TEXT]])
    return _shown_number(name, value, words or {}) if isinstance(value, int) else str(value)


def _shown(name: str, parsed: AbiType, value: object, words: Words) -> str:
    return shown_value(name, parsed.canonical, value, words)


def _shown_number(name: str, number: int, words: Words) -> str:
    if name in words:
        return words[name].get(number, str(number))
    if name.lower().endswith("weiperwh"):
        return format_price(number)
    if name.endswith(("Wei", "wei")):
        return format_amount(number)
    if name.endswith("Wh"):
        return format_energy(number)
    if name.endswith("W") and name != "W":
        return f"{number} W"
    if re.search(r"(?<!Per)Day$|^day$|^today$", name):
        return format_day(number)
    if number >= EARLIEST_TIME_S and (name[:1].upper() + name[1:]).endswith(_TIMES):
        return format_time(number)
    if re.search(r"[a-z]S$", name):
        return format_duration(number)
    return str(number)


def _in_plain_words(name: str, shown: Mapping[str, str]) -> str:
    """ "The contract refused this: credit too large (amount 5 WATT, maximum 1 WATT)."."""
    values = ", ".join([f"{_spaced(_without_unit(key))} {value}" for key, value in shown.items()])
    return f"The contract refused this: {_spaced(name)}{f' ({values})' if values else ''}."


def _spaced(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name).lower()


def _without_unit(name: str) -> str:
    return re.sub(r"(?<=[a-z])(WeiPerWh|Wei|Wh|W|S)$", "", name)
