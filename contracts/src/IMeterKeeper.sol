// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @title What the Registry has the Meter do when a meter comes, goes or changes; nobody else may
interface IMeterKeeper {
    error NotRegistry(address caller);

    /// @notice Accepts readings of a meter from now on, and counts energy from these registers, in Wh.
    /// @param sink contract that is told of its readings
    function open(
        address meter,
        address supplier,
        address sink,
        uint32 tariff,
        uint64 openingImportWh,
        uint64 openingExportWh
    ) external;

    /// @notice Accepts no more readings of an open meter, and closes its day.
    function close(address meter) external;

    /// @notice Counts and charges the last energy of an open meter up to its closing registers, closes it, and opens the
    ///         successor with the same supplier, sink and tariff.
    function swap(
        address meter,
        address successor,
        uint64 closingImportWh,
        uint64 closingExportWh,
        uint64 openingImportWh,
        uint64 openingExportWh
    ) external;

    /// @notice Gives an open meter another tariff for readings of times from now on.
    function assignTariff(address meter, uint32 tariff) external;
}
