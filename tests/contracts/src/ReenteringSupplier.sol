// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Exhaustion} from "Exhaustion.sol";

/// @title A supplier, or an owner of a meter, that tries to be paid twice: when money arrives it calls again
contract ReenteringSupplier {
    Exhaustion private immutable exhaustion;
    bool public attempted;
    bool public succeeded;
    bytes public refusal;
    /// @notice What it calls then; empty: `withdraw` of one wei.
    bytes public attack;

    constructor(Exhaustion exhaustion_) {
        exhaustion = exhaustion_;
    }

    function act(address target, bytes calldata data) external {
        (bool done,) = target.call(data);
        require(done, "the action failed");
    }

    function prepare(bytes calldata attack_) external {
        attack = attack_;
    }

    receive() external payable {
        if (attempted) return;
        attempted = true;
        bytes memory data = attack;
        if (data.length == 0) data = abi.encodeCall(exhaustion.withdraw, (payable(address(this)), 1));
        (succeeded, refusal) = address(exhaustion).call(data);
    }
}
