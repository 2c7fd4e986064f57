// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @title Who takes part, and which meter is whose, as other contracts, nodes and wallets see it
interface IRegistry {
    /// @notice What an address is; each has at most one of these. (The owner of the registry is apart from them.)
    enum Role {
        None,
        Regulator,
        Supplier,
        Producer,
        Consumer,
        Relay
    }

    enum Status {
        Unknown,
        Active,
        Removed
    }

    /// @notice A meter, which is named by the address of the key it signs with.
    /// @param owner the customer
    /// @param supplier who supplies it
    /// @param status whether its readings are accepted
    /// @param sink contract that bills its readings
    /// @param tariff number of its tariff in Tariffs
    /// @param pointOfSupply hash of the physical address
    /// @param installedAt Unix time of its installation, in s
    /// @param removedAt Unix time of its removal, in s; 0 while it is there
    /// @param predecessor meter (or key) whose place this one took; zero for none
    /// @param successor meter (or key) that took its place; zero for none
    struct MeterRecord {
        address owner;
        address supplier;
        Status status;
        address sink;
        uint32 tariff;
        bytes32 pointOfSupply;
        uint64 installedAt;
        uint64 removedAt;
        address predecessor;
        address successor;
    }

    /// @notice What an address is registered as.
    function roleOf(address account) external view returns (Role role);

    /// @notice The record of a meter; all zero where it was never installed.
    function meterOf(address meter) external view returns (MeterRecord memory record);

    /// @notice What contracts ask about a meter; all zero where it is unknown.
    function registrationOf(address meter)
        external
        view
        returns (Status status, address supplier, address owner, address sink);

    /// @notice Whether a node without fees is to take transactions of this sender: it has a role, is the owner of the
    ///         registry, has ever been the owner or the supplier of a meter (so that who leaves can take the own money
    ///         along), or is an active meter itself; but for those for whom only distrusted suppliers vouch.
    function isAdmitted(address sender) external view returns (bool);

    /// @notice Gas that a node without fees is to give this sender in a block; 0 where the sender is not admitted.
    function gasAllowanceOf(address sender) external view returns (uint64 gas);
}
