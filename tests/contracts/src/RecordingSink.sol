// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IReadingSink} from "IReadingSink.sol";

/// @title A sink that remembers what it was told last; and refuses everything when it is told to
contract RecordingSink is IReadingSink {
    error Refused(address meter);

    Delta private _last;
    address public successor;
    bool public isRefusing;

    function refuse(bool refusing) external {
        isRefusing = refusing;
    }

    function onReading(Delta calldata delta) external {
        if (isRefusing) revert Refused(delta.meter);
        _last = delta;
    }

    function onSwap(address, address successor_) external {
        successor = successor_;
    }

    function last() external view returns (Delta memory) {
        return _last;
    }
}
