// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @notice Checked arithmetic: greatest common divisors, modular powers, signed numbers, bit operations.
contract Arithmetic {
    function run(uint256 rounds) external pure returns (uint256 sum) {
        int256 walk = 0;
        for (uint256 i = 1; i <= rounds; ++i) {
            sum += gcd(i * 7919, 104729 + i);
            sum ^= power(3, i, 1_000_000_007) << (i % 32);
            walk += int256(i % 17) - 8;
            if (walk < 0) walk = -walk * 3 / 2;
        }
        sum = uint256(int256(sum) + walk);
    }

    function gcd(uint256 a, uint256 b) internal pure returns (uint256) {
        while (b != 0) (a, b) = (b, a % b);
        return a;
    }

    function power(uint256 base, uint256 exponent, uint256 modulus) internal pure returns (uint256 result) {
        result = 1;
        while (exponent > 0) {
            if (exponent & 1 == 1) result = (result * base) % modulus;
            base = (base * base) % modulus;
            exponent >>= 1;
        }
    }
}
