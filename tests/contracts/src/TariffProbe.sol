// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {ITariffs} from "./ITariffs.sol";
import {TariffMath} from "./TariffMath.sol";

/// @title A contract that charges as Exhaustion and Billing do, and says what came out
contract TariffProbe {
    function charge(
        address data,
        TariffMath.Running memory running,
        uint64 importedWh,
        uint64 exportedWh,
        uint64 previousTime,
        uint64 time,
        int32 zoneS
    ) external view returns (TariffMath.Charge memory charged, TariffMath.Running memory moved) {
        charged = TariffMath.charge(data, running, importedWh, exportedWh, previousTime, time, zoneS);
        return (charged, running);
    }

    function periodOf(address data, uint256 day) external view returns (uint256 startDay, uint256 endDay) {
        return TariffMath.periodOf(data, day);
    }

    function createdAddress(address creator, uint256 nonce) external pure returns (address) {
        return TariffMath.createdAddress(creator, nonce);
    }
}
