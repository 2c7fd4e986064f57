// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @title What a seller puts down for energy that it offers: a share of its own price, and a least amount
/// @notice Invariant: where there is a deposit at all, a Wh that is sold and not sent costs its seller at least
///         LEAST_WEI_PER_WH. Without that, an offer for next to nothing would push all others aside at no risk.
library Deposits {
    /// @notice Least deposit, in wei per Wh: 0.01 WATT a kWh.
    uint256 internal constant LEAST_WEI_PER_WH = 10 ** 13;

    uint256 private constant BPS = 10_000;

    /// @notice Deposit for a Wh, in wei; zero where regulators want none.
    /// @param priceWeiPerWh the seller's own price, in wei per Wh
    /// @param penaltyBps share of it, in hundredths of a percent
    function perWh(uint256 priceWeiPerWh, uint256 penaltyBps) internal pure returns (uint256 depositWeiPerWh) {
        if (penaltyBps == 0) return 0;
        depositWeiPerWh = priceWeiPerWh * penaltyBps / BPS;
        if (depositWeiPerWh < LEAST_WEI_PER_WH) depositWeiPerWh = LEAST_WEI_PER_WH;
    }
}
