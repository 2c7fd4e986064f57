"""The precompiled contracts of Cancun, 0x01 to 0x0a, by address."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from vm.precompiles import blake2, bn128, hashing, modexp, point_evaluation


class Precompile(NamedTuple):
    """What a call of the address costs, and what it answers."""

    gas: Callable[[bytes], int]
    """Of the input; never raises."""
    run: Callable[[bytes], bytes]
    """Called once the gas is paid. Raises vm.errors.PrecompileFailure, which takes all gas of the call."""


def _address(number: int) -> bytes:
    return number.to_bytes(20, "big")


PRECOMPILES: Mapping[bytes, Precompile] = {
    _address(0x01): Precompile(hashing.recover_gas, hashing.recover),
    _address(0x02): Precompile(hashing.sha256_gas, hashing.sha256),
    _address(0x03): Precompile(hashing.ripemd160_gas, hashing.ripemd160),
    _address(0x04): Precompile(hashing.identity_gas, hashing.identity),
    _address(0x05): Precompile(modexp.gas, modexp.run),
    _address(0x06): Precompile(bn128.add_gas, bn128.add_points),
    _address(0x07): Precompile(bn128.multiply_gas, bn128.multiply_point),
    _address(0x08): Precompile(bn128.pairing_gas, bn128.check_pairing),
    _address(0x09): Precompile(blake2.gas, blake2.run),
    _address(0x0A): Precompile(point_evaluation.gas, point_evaluation.run),
}
