// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @notice A chain of keccak-256 digests and a Merkle root over them.
contract Hashing {
    function run(uint256 rounds) external pure returns (bytes32 root) {
        bytes32[] memory leaves = new bytes32[](64);
        for (uint256 i = 0; i < rounds; ++i) {
            root = keccak256(abi.encodePacked(root, i));
            leaves[i % 64] = root;
        }
        for (uint256 width = 64; width > 1; width /= 2) {
            for (uint256 i = 0; i < width; i += 2) {
                leaves[i / 2] = keccak256(abi.encode(leaves[i], leaves[i + 1]));
            }
        }
        root = leaves[0];
    }
}
