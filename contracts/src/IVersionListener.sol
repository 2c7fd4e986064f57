// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @title Who is told at once of each new version of a tariff
/// @notice Exhaustion keeps the version in force beside the money of the tariff, so that a reading need not ask for it.
interface IVersionListener {
    /// @notice A version of a tariff was announced; of an earlier one that has not begun yet it takes the place.
    /// @param number number of the account that holds it: the nonce with which Tariffs created it
    /// @param from Unix time from which it holds, in s; not in the past
    function onVersion(uint32 tariff, uint32 number, uint40 from) external;
}
