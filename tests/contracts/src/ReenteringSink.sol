// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IMeter} from "IMeter.sol";
import {IReadingSink} from "IReadingSink.sol";

/// @title A sink that submits a reading from within the acceptance of another
contract ReenteringSink is IReadingSink {
    IMeter private immutable meterContract;
    bytes private pending;
    uint256 public calls;
    uint256 public importedTotalWh;
    bytes public refusal;

    constructor(IMeter meterContract_) {
        meterContract = meterContract_;
    }

    function prepare(IMeter.SignedReading calldata signed) external {
        pending = abi.encodeCall(IMeter.submit, (signed));
    }

    function onSwap(address, address) external {}

    function onReading(Delta calldata delta) external {
        calls += 1;
        importedTotalWh += delta.importedWh;
        if (pending.length != 0) {
            bytes memory data = pending;
            delete pending;
            (bool done, bytes memory reason) = address(meterContract).call(data);
            if (!done) refusal = reason;
        }
    }
}
