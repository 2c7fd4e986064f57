// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @notice A plain ERC-20 ledger and a loop of transfers over it: mappings, events, checked arithmetic.
contract Tokens {
    mapping(address => uint256) public balanceOf;

    event Transfer(address indexed from, address indexed to, uint256 value);

    error InsufficientBalance(uint256 available, uint256 required);

    function run(uint256 rounds) external returns (uint256) {
        balanceOf[msg.sender] = 1_000_000;
        for (uint256 i = 0; i < rounds; ++i) {
            address recipient = address(uint160(0x1000 + (i % 16)));
            transfer(msg.sender, recipient, 1);
        }
        return balanceOf[msg.sender];
    }

    function transfer(address from, address to, uint256 value) public {
        uint256 available = balanceOf[from];
        if (available < value) revert InsufficientBalance(available, value);
        balanceOf[from] = available - value;
        balanceOf[to] += value;
        emit Transfer(from, to, value);
    }
}
