// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @notice Quicksort of pseudo-random numbers in memory.
contract Sorting {
    function run(uint256 count) external pure returns (uint256 median) {
        uint256[] memory values = new uint256[](count);
        uint256 seed = 42;
        for (uint256 i = 0; i < count; ++i) {
            unchecked {
                seed = seed * 6364136223846793005 + 1442695040888963407;
            }
            values[i] = (seed >> 33) % 100_000;
        }
        sort(values, 0, int256(count) - 1);
        for (uint256 i = 1; i < count; ++i) require(values[i - 1] <= values[i], "not sorted");
        median = values[count / 2];
    }

    function sort(uint256[] memory values, int256 low, int256 high) internal pure {
        if (low >= high) return;
        int256 i = low;
        int256 j = high;
        uint256 pivot = values[uint256(low + (high - low) / 2)];
        while (i <= j) {
            while (values[uint256(i)] < pivot) i++;
            while (pivot < values[uint256(j)]) j--;
            if (i <= j) {
                (values[uint256(i)], values[uint256(j)]) = (values[uint256(j)], values[uint256(i)]);
                i++;
                j--;
            }
        }
        sort(values, low, j);
        sort(values, i, high);
    }
}
