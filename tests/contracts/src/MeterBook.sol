// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IMeter} from "IMeter.sol";
import {IRegistry} from "IRegistry.sol";

/// @title Registry and Meter in one, which say and report whatever a test wants
/// @notice So that a contract that asks them, or is told by them, is tested with values that honest ones seldom give.
contract MeterBook is IRegistry {
    mapping(address => Role) public roleOf;
    mapping(address => MeterRecord) private _records;
    mapping(address => int32) private _zones;
    mapping(address => uint64) private _times;

    function setRole(address account, Role role) external {
        roleOf[account] = role;
    }

    function setMeter(address meter, MeterRecord calldata record) external {
        _records[meter] = record;
    }

    function setTime(address meter, uint64 time) external {
        _times[meter] = time;
    }

    function setZone(address supplier, int32 offsetS) external {
        _zones[supplier] = offsetS;
    }

    /// @notice Calls a contract as Registry and Meter do; what it refuses is passed on.
    function act(address target, bytes calldata data) external {
        (bool done, bytes memory answer) = target.call(data);
        if (!done) {
            assembly ("memory-safe") {
                revert(add(answer, 32), mload(answer))
            }
        }
    }

    function meterOf(address meter) external view returns (MeterRecord memory record) {
        return _records[meter];
    }

    function registrationOf(address meter)
        external
        view
        returns (Status status, address supplier, address owner, address sink)
    {
        MeterRecord storage record = _records[meter];
        return (record.status, record.supplier, record.owner, record.sink);
    }

    function zoneOf(address supplier, uint64) external view returns (int32 offsetS) {
        return _zones[supplier];
    }

    function lastReading(address meter) external view returns (IMeter.LastReading memory last) {
        last.time = _times[meter];
    }

    function isAdmitted(address) external pure returns (bool) {
        return true;
    }

    function gasAllowanceOf(address) external pure returns (uint64 gas) {
        return 1_000_000;
    }
}
