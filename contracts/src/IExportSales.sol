// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @title A contract that sells what meters export, as another one sees it that does so, too
/// @notice Each of the two begins with a meter's energy only after what the other may count for its own trades. So no Wh
///         of an export register is sold in both.
interface IExportSales {
    /// @notice Until when energy that a meter exports may count for trades of this contract: Unix time, in s. The largest
    ///         number while that end is not known; a time that has passed, or zero, where nothing more can count.
    function exportSoldUntil(address meter) external view returns (uint48);
}
