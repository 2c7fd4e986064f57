// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.36;

contract Sample {
    error TooMuch(uint256 asked, uint256 limit);
    event Stored(address indexed by, uint256 indexed value, string note);

    uint256 public value;
    mapping(address => uint256) public stored;

    constructor(uint256 first) { value = first; }

    function store(uint256 newValue, string calldata note) external payable returns (uint256 old) {
        if (newValue > 1000) revert TooMuch(newValue, 1000);
        require(newValue != 13, "unlucky");
        assert(newValue != 17);
        old = value;
        value = newValue;
        stored[msg.sender] = newValue;
        emit Stored(msg.sender, newValue, note);
    }

    function blockFacts() external view returns (uint256 number, uint256 time, uint256 fee) {
        return (block.number, block.timestamp, block.basefee);
    }

    function nobodyReturns() external pure { while (true) {} }
}
