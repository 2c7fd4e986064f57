// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @title What the Meter tells about a reading that it has just accepted
/// @notice A billing scheme (Exhaustion is the prepaid one) implements this. The operator of the Meter approves sinks,
///         a supplier picks one of them when it registers a meter.
interface IReadingSink {
    /// @notice Called exactly once for every accepted reading, in the order of acceptance, within the same transaction.
    /// @dev Must not revert for a call from the Meter: it would take the whole batch with it.
    /// @param meter address of the meter's own key
    /// @param supplier account that supplies this meter; the same for the whole life of the meter
    /// @param importedWh energy taken from the grid since the accepted reading before, in Wh
    /// @param exportedWh energy given to the grid since the accepted reading before, in Wh
    /// @param time Unix time of the reading, in s
    function onReading(address meter, address supplier, uint64 importedWh, uint64 exportedWh, uint64 time) external;
}
