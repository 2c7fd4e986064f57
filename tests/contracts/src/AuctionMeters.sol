// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IMeter} from "IMeter.sol";

/// @title What the auction asks of the meters' contract, with last readings as a test wants them
contract AuctionMeters {
    bytes32 private constant TYPEHASH = keccak256(
        "Reading(address meter,uint64 sequence,uint64 time,uint64 importWh,uint64 exportWh,int32 powerW,uint16 flags,bytes32 previousHash)"
    );
    bytes32 private constant DOMAIN_TYPEHASH =
        keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)");

    mapping(address => IMeter.LastReading) private _lastOf;

    function accept(address meter, uint64 sequence, uint64 time, uint64 importWh, uint64 exportWh) external {
        _lastOf[meter] = IMeter.LastReading(sequence, time, importWh, exportWh, 0, 0, 0);
    }

    function lastReading(address meter) external view returns (IMeter.LastReading memory last) {
        return _lastOf[meter];
    }

    function domainSeparator() external view returns (bytes32) {
        bytes32 name = keccak256("Wattchain Meter");
        return keccak256(abi.encode(DOMAIN_TYPEHASH, name, keccak256("1"), block.chainid, address(this)));
    }

    function hashReading(IMeter.Reading calldata reading) external pure returns (bytes32) {
        return keccak256(abi.encode(TYPEHASH, reading));
    }
}
