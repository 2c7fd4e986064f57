// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @title A participant of the market that is a contract: refuses money, or uses its arrival for another call
contract MarketAttacker {
    address private target;
    bytes private pending;
    uint256 private value;
    bool private refuses;
    bool public attempted;
    bool public succeeded;
    bytes public refusal;

    function refuse(bool refuses_) external {
        refuses = refuses_;
    }

    function prepare(address target_, bytes calldata pending_, uint256 value_) external {
        (target, pending, value) = (target_, pending_, value_);
        attempted = false;
    }

    function act(address to, bytes calldata data) external payable returns (bytes memory output) {
        bool done;
        (done, output) = to.call{value: msg.value}(data);
        if (!done) {
            assembly ("memory-safe") {
                revert(add(output, 32), mload(output))
            }
        }
    }

    receive() external payable {
        require(!refuses, "no money, please");
        if (attempted || pending.length == 0) return;
        attempted = true;
        (succeeded, refusal) = target.call{value: value}(pending);
    }
}
