// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @title What the Meter tells about a reading that it has just accepted
/// @notice A billing scheme (Exhaustion is the prepaid one) implements this. Regulators approve sinks in the Registry, a
///         supplier picks one of them when it installs a meter.
interface IReadingSink {
    /// @notice What a reading adds to the one before.
    /// @param meter address of the meter's own key
    /// @param supplier account that supplies this meter; the same for the whole life of the meter
    /// @param tariff number in Tariffs of the tariff that the meter had at `time`; 0 for none
    /// @param importedWh energy taken from the grid since the accepted reading before, in Wh
    /// @param exportedWh energy given to the grid since the accepted reading before, in Wh
    /// @param previousTime Unix time of the accepted reading before or, where it is later, of the installation, in s;
    ///        never above `time`
    /// @param time Unix time of the reading, in s
    /// @param zoneS seconds east of UTC of the supplier's local time at `time`
    struct Delta {
        address meter;
        address supplier;
        uint32 tariff;
        uint64 importedWh;
        uint64 exportedWh;
        uint64 previousTime;
        uint64 time;
        int32 zoneS;
    }

    /// @notice Called by the Meter exactly once for every accepted reading, in the order of acceptance, within the same
    ///         transaction; and once for the closing registers of a meter that a successor takes the place of.
    /// @dev Must not revert for a call from the Meter: it would take the whole batch with it.
    function onReading(Delta calldata delta) external;

    /// @notice Called by the Registry when a meter, or its key, has got a successor: what was its own is the successor's.
    /// @dev After the `onReading` of the closing registers. The successor is a meter that never existed before.
    function onSwap(address meter, address successor) external;
}
