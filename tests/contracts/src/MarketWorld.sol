// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IMeter} from "IMeter.sol";
import {IRegistry} from "IRegistry.sol";

/// @title What the market asks of the registry and of the meters, as a test wants it
contract MarketWorld {
    mapping(address => IRegistry.Role) public roleOf;
    mapping(address => IRegistry.Status) private _statusOf;
    mapping(address => address) private _ownerOf;
    mapping(address => IMeter.LastReading) private _lastOf;

    function setRole(address account, IRegistry.Role role) external {
        roleOf[account] = role;
    }

    function setMeter(address meter, address owner, IRegistry.Status status) external {
        _ownerOf[meter] = owner;
        _statusOf[meter] = status;
    }

    function read(address meter, uint64 time, uint64 importWh, uint64 exportWh) external {
        _lastOf[meter].time = time;
        _lastOf[meter].importWh = importWh;
        _lastOf[meter].exportWh = exportWh;
    }

    function registrationOf(address meter)
        external
        view
        returns (IRegistry.Status status, address supplier, address owner, address sink)
    {
        return (_statusOf[meter], address(0), _ownerOf[meter], address(0));
    }

    function lastReading(address meter) external view returns (IMeter.LastReading memory last) {
        return _lastOf[meter];
    }
}
