// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Exhaustion} from "Exhaustion.sol";

/// @title A supplier that tries to be paid twice: when money arrives it withdraws again
contract ReenteringSupplier {
    Exhaustion private immutable exhaustion;
    bool public attempted;
    bool public succeeded;
    bytes public refusal;

    constructor(Exhaustion exhaustion_) {
        exhaustion = exhaustion_;
    }

    function act(address target, bytes calldata data) external {
        (bool done,) = target.call(data);
        require(done, "the action failed");
    }

    receive() external payable {
        if (attempted) return;
        attempted = true;
        try exhaustion.withdraw(payable(address(this)), 1) {
            succeeded = true;
        } catch (bytes memory reason) {
            refusal = reason;
        }
    }
}
