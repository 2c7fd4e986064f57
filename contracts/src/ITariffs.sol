// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @title What energy costs, as other contracts and wallets see it
/// @notice A tariff is numbered from 1 and belongs to a supplier for good. It has versions, each with the time from which
///         it holds; a version never changes, so what was charged by it never changes either.
interface ITariffs {
    /// @notice One step: energy of a billing period up to this total costs this much.
    /// @param upToWh total of the period up to which the price holds, in Wh, inclusive; the last slab has 2^64 - 1
    /// @param priceWeiPerWh price, in wei per Wh
    struct Slab {
        uint64 upToWh;
        uint64 priceWeiPerWh;
    }

    /// @notice A time of use: on these weekdays, between these minutes, its own prices hold instead of the slabs' ones.
    /// @param weekdays bit 0 Monday to bit 6 Sunday
    /// @param fromMinute first minute of the local day, 0 to 1439
    /// @param untilMinute minute before which it ends, up to 1440; a window does not pass midnight (give two)
    /// @param pricesWeiPerWh a price for each slab, in their order, in wei per Wh; all the same for a flat price
    struct Window {
        uint8 weekdays;
        uint16 fromMinute;
        uint16 untilMinute;
        uint64[] pricesWeiPerWh;
    }

    /// @notice All of a version.
    /// @param whole false (marginal): each part of the energy at the price of the slab it falls in; true: all of a
    ///        reading at the price of the slab in which the running total after it falls
    /// @param periodDays length of the billing period, in days; 0 for the calendar month
    /// @param anchorDay local day, counted from 1970-01-01, on which a period of periodDays begins; 0 for the month
    /// @param exportPriceWeiPerWh what energy given to the grid is credited with, in wei per Wh
    /// @param standingWeiPerDay standing charge, in wei a local day
    /// @param allowanceWh first energy of each period that costs less: the social allowance, in Wh; 0 for none
    /// @param allowancePriceWeiPerWh its price, not above any other of the version; 0: free
    /// @param slabs 1 to 16, rising
    /// @param windows up to 16; of several that cover a minute the first counts
    struct Version {
        bool whole;
        uint16 periodDays;
        uint24 anchorDay;
        uint64 exportPriceWeiPerWh;
        uint80 standingWeiPerDay;
        uint56 allowanceWh;
        uint64 allowancePriceWeiPerWh;
        Slab[] slabs;
        Window[] windows;
    }

    /// @notice The supplier that a tariff belongs to; zero where there is no such tariff.
    function supplierOf(uint32 tariff) external view returns (address supplier);

    /// @notice Where the version that holds at a time is kept; zero where none does yet.
    /// @dev The code of that account is the version as TariffMath reads it, after a STOP: one access brings all of it.
    /// @param time Unix time, in s
    function versionAt(uint32 tariff, uint64 time) external view returns (address data);

    /// @notice The tariffs of a supplier, up to 64.
    function tariffsOf(address supplier) external view returns (uint256[] memory tariffs);
}
