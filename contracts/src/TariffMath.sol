// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {ITariffs} from "./ITariffs.sol";

/// @title TariffMath: what a reading costs by a version of a tariff, in whole wei
/// @notice Invariant: the cost is a sum of whole Wh times whole wei per Wh and whole days times whole wei a day; nothing
///         is ever rounded. With the rule `marginal`, energy costs the same however it is split into readings of one
///         period and one time of use.
/// @dev A reading belongs, with all of its energy, to the second before its time: to that second's local day, billing
///      period and time of use. So a reading of midnight belongs to the day that ends.
///
///      A version is kept as code (as SSTORE2 does it), so that a single account access brings it and nobody can change
///      it. Layout, big-endian, in bytes:
///
///        0 STOP | 1 flags (1: whole) | 2 slabs S | 3 windows | 4 period, days | 6 anchor day | 9 export price |
///        17 allowance price | 25 allowance, Wh | 32 standing charge a day | 42 Unix time from which it holds | 47 zero
///        48 S upper bounds of 8 bytes | S prices of 8 bytes | each window: 1 weekdays, 2 from, 2 until, 3 zero, S prices
///
///      The assembly copies it and reads words of it at any place, for which Solidity has no expression, and hashes out of
///      the scratch space.
library TariffMath {
    /// @notice Where a meter stands within its billing period. All zero before its first reading.
    /// @param usedWh energy taken in the period so far, in Wh
    /// @param endDay local day, counted from 1970-01-01, with which the next period begins
    /// @param chargedDay last local day whose standing charge is charged
    struct Running {
        uint256 usedWh;
        uint256 endDay;
        uint256 chargedDay;
    }

    /// @notice What a reading costs.
    /// @param energyWei for the energy taken
    /// @param standingWei for the days begun since the last charged one
    /// @param exportWei what the energy given is credited with
    struct Charge {
        uint256 energyWei;
        uint256 standingWei;
        uint256 exportWei;
    }

    uint256 internal constant MAX_SLABS = 16;
    uint256 internal constant MAX_WINDOWS = 16;
    uint256 internal constant MAX_PERIOD_DAYS = 366;
    uint256 internal constant DAY_S = 86_400;
    uint256 internal constant DAY_MINUTES = 1_440;
    uint256 internal constant FLAG_WHOLE = 1;

    uint256 private constant BOUNDS_OFFSET = 48;
    uint256 private constant WINDOW_HEAD_BYTES = 8;
    /// @dev A version without windows fits.
    uint256 private constant PLAIN_BYTES = 320;
    /// @dev Days from 0000-03-01 to 1970-01-01, and in the 400 years after which the calendar repeats.
    uint256 private constant EPOCH_DAYS = 719_468;
    uint256 private constant ERA_DAYS = 146_097;

    /// @notice Charges a reading and moves `running` on.
    /// @dev Never reverts where energies are below 2^56 Wh, days below 2^24 and times below 2^40, and then the energy costs
    ///      less than 2^121 wei. What is due for days is due from the later of the last charged day and the day of the
    ///      reading before, that day excluded: the day of installation is free, as is time in which a meter was away.
    ///      A billing period ends as it began, also where a version or a tariff with other periods holds meanwhile.
    /// @param data where the version is kept; zero where none holds yet: then nothing costs anything, and `running` stays
    /// @param importedWh energy taken since the reading before, in Wh
    /// @param exportedWh energy given since then, in Wh
    /// @param previousTime Unix time of the reading before, of installation for the first, in s; 0 if unknown
    /// @param time Unix time of the reading, in s
    /// @param zoneS seconds by which the supplier's local time is ahead of UTC then
    function charge(
        address data,
        Running memory running,
        uint256 importedWh,
        uint256 exportedWh,
        uint256 previousTime,
        uint256 time,
        int256 zoneS
    ) internal view returns (Charge memory charged) {
        uint256 position = running.usedWh | running.endDay << 56 | running.chargedDay << 80;
        (position, charged.energyWei, charged.standingWei, charged.exportWei) =
            chargePacked(data, position, importedWh, exportedWh, previousTime, time, zoneS);
        running.usedWh = uint56(position);
        running.endDay = uint24(position >> 56);
        running.chargedDay = uint24(position >> 80);
    }

    /// @notice The same, with `running` in one number and all on the stack: for those that charge every reading.
    /// @param position usedWh in the lowest 56 bits, endDay in the next 24, chargedDay in the next 24
    function chargePacked(
        address data,
        uint256 position,
        uint256 importedWh,
        uint256 exportedWh,
        uint256 previousTime,
        uint256 time,
        int256 zoneS
    ) internal view returns (uint256 moved, uint256 energyWei, uint256 standingWei, uint256 exportWei) {
        if (data == address(0)) return (position, 0, 0, 0);
        (uint256 version, uint256 head) = _load(data);
        uint256 second = localSecond(time, zoneS);
        // Cannot overflow: see the bounds above.
        unchecked {
            uint256 day = second / DAY_S;
            if (day >= uint24(position >> 56)) {
                position = position >> 80 << 80 | _periodEnd(head, day) << 56;
            }
            if (day > position >> 80) {
                uint256 standing = _word(version + 32) >> 176;
                if (standing != 0 && previousTime != 0) {
                    uint256 before = localSecond(previousTime, zoneS) / DAY_S;
                    if (before < position >> 80) before = position >> 80;
                    if (day > before) standingWei = (day - before) * standing;
                }
                position = uint80(position) | day << 80;
            }
            if (exportedWh != 0) exportWei = exportedWh * uint64(head >> 120);
            if (importedWh != 0) {
                energyWei = _energyWei(version, head, uint56(position), importedWh, _prices(version, head, second));
            }
            return (position + importedWh, energyWei, standingWei, exportWei);
        }
    }


    /// @notice The last local second of what a reading of this time covers, counted from 1970-01-01 in local time.
    function localSecond(uint256 time, int256 zoneS) internal pure returns (uint256) {
        unchecked {
            int256 second = int256(time) + zoneS - 1;
            return second > 0 ? uint256(second) : 0;
        }
    }

    /// @notice The billing period that a local day falls in, by a version.
    /// @return startDay its first day, counted from 1970-01-01 in local time
    /// @return endDay the first day of the next one
    function periodOf(address data, uint256 day) internal view returns (uint256 startDay, uint256 endDay) {
        (, uint256 head) = _load(data);
        endDay = _periodEnd(head, day);
        uint256 periodDays = uint16(head >> 208);
        if (periodDays != 0) {
            startDay = endDay > periodDays ? endDay - periodDays : 0;
        } else {
            (startDay,) = _month(day);
        }
    }

    /// @notice A version as people and wallets read it, with the time from which it holds.
    function decode(address data) internal view returns (ITariffs.Version memory decoded, uint64 from) {
        (uint256 version, uint256 head) = _load(data);
        uint256 second = _word(version + 32);
        uint256 count = uint8(head >> 232);
        decoded.whole = head >> 240 & FLAG_WHOLE != 0;
        decoded.periodDays = uint16(head >> 208);
        decoded.anchorDay = uint24(head >> 184);
        decoded.exportPriceWeiPerWh = uint64(head >> 120);
        decoded.allowancePriceWeiPerWh = uint64(head >> 56);
        decoded.allowanceWh = uint56(head);
        decoded.standingWeiPerDay = uint80(second >> 176);
        from = uint40(second >> 136);
        decoded.slabs = new ITariffs.Slab[](count);
        for (uint256 index = 0; index < count; ++index) {
            uint256 bound = version + BOUNDS_OFFSET + 8 * index;
            decoded.slabs[index] = ITariffs.Slab(_eight(bound), _eight(bound + 8 * count));
        }
        decoded.windows = new ITariffs.Window[](uint8(head >> 224));
        uint256 offset = version + BOUNDS_OFFSET + 16 * count;
        for (uint256 index = 0; index < decoded.windows.length; ++index) {
            uint64 windowHead = _eight(offset);
            offset += WINDOW_HEAD_BYTES;
            uint64[] memory prices = new uint64[](count);
            for (uint256 step = 0; step < count; ++step) {
                prices[step] = _eight(offset);
                offset += 8;
            }
            decoded.windows[index] =
                ITariffs.Window(uint8(windowHead >> 56), uint16(windowHead >> 40), uint16(windowHead >> 24), prices);
        }
    }

    /// @notice The bytes of a version, without the STOP at the front; the opposite of `decode`.
    /// @dev Of a version that passed the checks of Tariffs.
    function encode(ITariffs.Version memory version, uint64 from) internal pure returns (bytes memory encoded) {
        bytes memory prices;
        for (uint256 index = 0; index < version.slabs.length; ++index) {
            encoded = abi.encodePacked(encoded, version.slabs[index].upToWh);
            prices = abi.encodePacked(prices, version.slabs[index].priceWeiPerWh);
        }
        for (uint256 index = 0; index < version.windows.length; ++index) {
            ITariffs.Window memory window = version.windows[index];
            prices = abi.encodePacked(prices, window.weekdays, window.fromMinute, window.untilMinute, uint24(0));
            for (uint256 step = 0; step < window.pricesWeiPerWh.length; ++step) {
                prices = abi.encodePacked(prices, window.pricesWeiPerWh[step]);
            }
        }
        return abi.encodePacked(
            abi.encodePacked(
                uint8(version.whole ? FLAG_WHOLE : 0),
                uint8(version.slabs.length),
                uint8(version.windows.length),
                version.periodDays,
                version.anchorDay,
                version.exportPriceWeiPerWh,
                version.allowancePriceWeiPerWh,
                version.allowanceWh
            ),
            version.standingWeiPerDay,
            uint40(from),
            uint8(0),
            encoded,
            prices
        );
    }

    /// @notice Address of the account that a contract creates with this nonce, from 1 to 2^32 - 1 (EIP-161, yellow paper 7).
    function createdAddress(address creator, uint256 nonce) internal pure returns (address) {
        unchecked {
            uint256 length = nonce < 0x80 ? 0 : nonce < 0x100 ? 1 : nonce < 0x10000 ? 2 : nonce < 0x1000000 ? 3 : 4;
            uint256 encoded = 0xd694 + (length << 8) << 160 | uint160(creator);
            if (length != 0) encoded = encoded << 8 | 0x80 + length;
            uint256 numberBytes = length == 0 ? 1 : length;
            uint256 size = 22 + numberBytes + (length == 0 ? 0 : 1);
            encoded = (encoded << 8 * numberBytes | nonce) << 256 - 8 * size;
            uint256 hash;
            assembly ("memory-safe") {
                mstore(0, encoded)
                hash := keccak256(0, size)
            }
            return address(uint160(hash));
        }
    }

    /// @dev Cost of energy from a running total on. Bounded by MAX_SLABS steps: the last bound is above any total.
    function _energyWei(uint256 version, uint256 head, uint256 used, uint256 importedWh, uint256 prices)
        private
        pure
        returns (uint256 cost)
    {
        // Cannot overflow: totals are below 2^57, prices below 2^64.
        unchecked {
            uint256 total = used + importedWh;
            uint256 allowance = uint56(head);
            if (used < allowance) {
                uint256 until = total < allowance ? total : allowance;
                cost = (until - used) * uint64(head >> 56);
                used = until;
            }
            bool whole = head >> 240 & FLAG_WHOLE != 0;
            uint256 bounds = version + BOUNDS_OFFSET;
            while (true) {
                uint256 bound = _eight(bounds);
                if (total <= bound) return cost + (total - used) * _eight(prices);
                if (used < bound && !whole) {
                    cost += (bound - used) * _eight(prices);
                    used = bound;
                }
                bounds += 8;
                prices += 8;
            }
        }
    }

    /// @dev Where the prices that hold at a local second begin: those of the first window it falls in, or the slabs' own.
    function _prices(uint256 version, uint256 head, uint256 second) private pure returns (uint256 offset) {
        unchecked {
            uint256 count = uint8(head >> 232);
            uint256 windows = uint8(head >> 224);
            if (windows != 0) {
                uint256 weekday = (second / DAY_S + 3) % 7; // 1970-01-01 was a Thursday
                uint256 minute = second % DAY_S / 60;
                offset = version + BOUNDS_OFFSET + 16 * count;
                for (; windows != 0; --windows) {
                    uint256 window = _eight(offset);
                    offset += WINDOW_HEAD_BYTES;
                    if (
                        window >> 56 >> weekday & 1 != 0 && minute >= uint16(window >> 40)
                            && minute < uint16(window >> 24)
                    ) return offset;
                    offset += 8 * count;
                }
            }
            return version + BOUNDS_OFFSET + 8 * count;
        }
    }

    /// @dev The first day of the period after the one that a day falls in.
    function _periodEnd(uint256 head, uint256 day) private pure returns (uint256 end) {
        uint256 periodDays = uint16(head >> 208);
        if (periodDays == 0) {
            (, end) = _month(day);
            return end;
        }
        uint256 anchor = uint24(head >> 184);
        if (day < anchor) return anchor - (anchor - day - 1) / periodDays * periodDays;
        return anchor + ((day - anchor) / periodDays + 1) * periodDays;
    }

    /// @dev The first day of the Gregorian month of a day, and of the next month. Years are counted from March, so that
    ///      the leap day is the last of its year; a month then begins on day (153 m + 2) / 5 of it.
    function _month(uint256 day) private pure returns (uint256 start, uint256 next) {
        unchecked {
            uint256 inEra = (day + EPOCH_DAYS) % ERA_DAYS;
            uint256 year = (inEra - inEra / 1_460 + inEra / 36_524 - inEra / (ERA_DAYS - 1)) / 365;
            uint256 inYear = inEra - (365 * year + year / 4 - year / 100);
            uint256 month = (5 * inYear + 2) / 153;
            start = day - inYear + (153 * month + 2) / 5;
            if (month != 11) {
                next = day - inYear + (153 * month + 155) / 5;
            } else {
                // February ends with its year: 365 days, or 366 where the year that it lies in is a leap year.
                bool leap = (year + 1) % 4 == 0 && ((year + 1) % 100 != 0 || year == 399);
                next = day - inYear + (leap ? 366 : 365);
            }
        }
    }

    /// @dev Brings a version into memory: without asking for its size first, since what is beyond its end reads as zero.
    /// @return version where in memory it begins
    /// @return head its first word
    function _load(address data) private view returns (uint256 version, uint256 head) {
        assembly ("memory-safe") {
            version := mload(0x40)
            extcodecopy(data, version, 0, PLAIN_BYTES)
            head := mload(version)
            let size := PLAIN_BYTES
            let windows := and(shr(224, head), 0xff)
            if windows {
                size := add(add(48, shl(4, and(shr(232, head), 0xff))), mul(windows, 136))
                extcodecopy(data, version, 0, size)
            }
            mstore(0x40, add(version, and(add(size, 63), not(31))))
        }
    }

    function _word(uint256 place) private pure returns (uint256 value) {
        assembly ("memory-safe") {
            value := mload(place)
        }
    }

    function _eight(uint256 place) private pure returns (uint64 value) {
        assembly ("memory-safe") {
            value := shr(192, mload(place))
        }
    }
}
