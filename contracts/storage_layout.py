"""Where a contract keeps its variables: slots and values for a genesis file, from the compiler's own layout.

Covers what our contracts have at genesis: integers, booleans, enumerations, addresses, fixed bytes, structs, mappings
of them, and dynamic arrays of addresses. https://docs.soliditylang.org, "Layout of State Variables in Storage".
"""

from collections.abc import Mapping, Sequence
from typing import Any

from primitives.keccak import keccak256

SLOT_BYTES = 32


class StorageLayout:
    """The layout in one artifact. A wrong name, key or value raises ValueError: it is a bug of the caller."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._variables = {variable["label"]: variable for variable in document["storage"]}
        self._types: Mapping[str, Mapping[str, Any]] = document["types"]

    def slot(self, variable: str, *keys: bytes) -> int:
        """The first slot of a variable, or of a mapping's entry under these keys."""
        return self._resolve(variable, keys)[0]

    def assign(self, variable: str, *keys: bytes, value: object) -> dict[int, int]:
        """Slot -> content for a variable or a mapping's entry, in slots of its own.

        A struct is given as a mapping of its members, each left out being zero; an address or bytes as bytes.
        """
        slot, type_name = self._resolve(variable, keys)
        members = self._types[type_name].get("members")
        if members is None:
            return {slot: self._encode(type_name, value)}
        if not isinstance(value, Mapping):
            raise ValueError(f"{variable} is a struct")
        if unknown := set(value) - {member["label"] for member in members}:
            raise ValueError(f"{variable} has no member {', '.join(sorted(unknown))}")
        return self._assign_struct(slot, members, value)

    def assign_list(self, variable: str, values: Sequence[object], *keys: bytes) -> dict[int, int]:
        """Slot -> content for a dynamic array of single values, each in a slot of its own.

        It is a variable, or what a mapping has under these keys.
        """
        slot, type_name = self._find(variable, keys)
        described = self._types[type_name]
        if described["encoding"] != "dynamic_array":
            raise ValueError(f"{variable} is not a dynamic array")
        element = str(described["base"])
        if 2 * int(self._types[element]["numberOfBytes"]) <= SLOT_BYTES:
            raise ValueError(f"{variable} has several elements in a slot")
        first = int.from_bytes(keccak256(slot.to_bytes(SLOT_BYTES, "big")), "big")
        elements = {first + index: self._encode(element, value) for index, value in enumerate(values)}
        return {slot: len(values), **elements}

    def slots(self, variable: str, *keys: bytes) -> tuple[int, ...]:
        """All slots of a variable, or of a mapping's entry under these keys."""
        slot, type_name = self._resolve(variable, keys)
        size = int(self._types[type_name]["numberOfBytes"])
        return tuple(range(slot, slot + (size + SLOT_BYTES - 1) // SLOT_BYTES))

    def read_struct(self, variable: str, *keys: bytes, contents: Mapping[int, int]) -> dict[str, int]:
        """The members of a struct, out of what its slots hold; an address is a number here as well."""
        first_slot, type_name = self._resolve(variable, keys)
        values = {}
        for member in self._types[type_name]["members"]:
            described = self._types[member["type"]]
            size = int(described["numberOfBytes"])
            word = contents[first_slot + int(member["slot"])] >> 8 * int(member["offset"]) & (1 << 8 * size) - 1
            signed = str(described["label"]).startswith("int")
            values[str(member["label"])] = int.from_bytes(word.to_bytes(size, "big"), "big", signed=signed)
        return values

    def _resolve(self, variable: str, keys: Sequence[bytes]) -> tuple[int, str]:
        slot, type_name = self._find(variable, keys)
        if self._types[type_name]["encoding"] != "inplace":
            raise ValueError(f"{variable} is not a single value: {type_name}")
        return slot, type_name

    def _find(self, variable: str, keys: Sequence[bytes]) -> tuple[int, str]:
        if variable not in self._variables:
            raise ValueError(f"the contract has no variable {variable}")
        declared = self._variables[variable]
        slot, type_name = int(declared["slot"]), str(declared["type"])
        for key in keys:
            described = self._types[type_name]
            if described["encoding"] != "mapping":
                raise ValueError(f"{variable} is not a mapping {len(keys)} deep")
            encoded_key = self._encode(described["key"], key).to_bytes(SLOT_BYTES, "big")
            slot = int.from_bytes(keccak256(encoded_key + slot.to_bytes(SLOT_BYTES, "big")), "big")
            type_name = str(described["value"])
        return slot, type_name

    def _assign_struct(
        self, first_slot: int, members: Sequence[Mapping[str, Any]], value: Mapping[str, object]
    ) -> dict[int, int]:
        contents: dict[int, int] = {}
        for member in members:
            slot = first_slot + int(member["slot"])
            encoded = self._encode(member["type"], value.get(member["label"], 0))
            contents[slot] = contents.get(slot, 0) | encoded << 8 * int(member["offset"])
        return contents

    def _encode(self, type_name: str, value: object) -> int:
        described = self._types[type_name]
        size = int(described["numberOfBytes"])
        if "members" in described or described["encoding"] != "inplace":
            raise ValueError(f"a nested {type_name} cannot be written")
        if isinstance(value, bytes):
            if len(value) != size:
                raise ValueError(f"{type_name} takes {size} bytes, got {len(value)}")
            return int.from_bytes(value, "big")
        if not isinstance(value, int):
            raise ValueError(f"{type_name} takes a number or bytes, got {type(value).__name__}")
        signed = str(described["label"]).startswith("int")
        try:
            return int.from_bytes(value.to_bytes(size, "big", signed=signed), "big")
        except OverflowError as error:
            raise ValueError(f"{value} does not fit {type_name}") from error
