// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IMeter} from "./IMeter.sol";
import {IRegistry} from "./IRegistry.sol";

/// @title Hours and days of the meters, in their suppliers' local time
/// @notice Invariant: what was counted for a meter is the sum of its closed days and of the current one; the sum of a
///         day over all meters of a supplier is that supplier's day, and the sum over all suppliers that of all, to the
///         Wh. The hours of a day add up to it, as long as none exceeds MAX_HOUR_WH.
/// @dev All energy of a reading belongs to the hour and the day in which it ends (its time less a second): a meter that
///      was away for a week gives one sum, and nothing is invented about how it was spread. Local days never go back,
///      since `setZone` refuses a change by which they would; so a day is closed by the first reading of a later one.
abstract contract MeterDays is IMeter {
    /// @dev One slot: the newest version of a zone (which may still lie ahead) and the one before, such as summer time; and
    ///      whether its supplier has ever had a meter.
    struct Zone {
        int32 offsetS;
        uint48 from;
        int32 earlierOffsetS;
        uint48 earlierFrom;
        bool hasMeters;
    }

    struct ZoneVersion {
        int32 offsetS;
        uint48 from;
    }

    /// @dev All that is kept of a meter, in the order of its slots, so that a reading looks for its place only once.
    ///      First slot (`LinkWord`): what a reading needs of the meter's registration. Sinks are few, so they go by number.
    ///      Second slot (`StateWord`): the last reading. Third: its hash. Fourth: the registers where its day began.
    ///      Then two rings over HOURS_KEPT_DAYS days: a slot has six hours of 40 bits, and the low 16 bits of the day.
    struct Book {
        address supplier;
        IRegistry.Status status;
        uint8 sinkNumber;
        bool hasEarlierTariffs;
        uint32 tariff;
        uint40 openedAt;
        uint56 importWh;
        uint56 exportWh;
        uint48 sequence;
        uint48 time;
        int32 powerW;
        uint16 flags;
        bytes32 hash;
        uint56 startImportWh;
        uint56 startExportWh;
        uint256[128] importHours;
        uint256[128] exportHours;
    }

    /// @dev Two days of a meter in a slot, the even one first. No day has 2^53 Wh.
    struct TwoDays {
        uint64 evenImportWh;
        uint64 evenExportWh;
        uint64 oddImportWh;
        uint64 oddExportWh;
    }

    /// @dev Of many meters: 2^64 of them fit.
    struct DaySum {
        uint128 importWh;
        uint128 exportWh;
    }

    /// @notice Days that one question may be about: a leap year.
    uint256 public constant MAX_DAYS = 366;
    /// @notice Days whose hours are kept.
    uint256 public constant HOURS_KEPT_DAYS = 32;
    /// @notice Greatest energy that an hour shows, in Wh. More can only be the sum of a long gap; the day has it in full.
    uint256 public constant MAX_HOUR_WH = 2 ** 40 - 1;
    /// @notice Notice of another zone where there are meters, in s: by another clock, other prices hold.
    uint48 public constant ZONE_NOTICE_S = 1 days;
    /// @notice Zones are quarters of an hour, from 12 hours west to 14 hours east, in s.
    int32 public constant ZONE_STEP_S = 900;
    int32 public constant MIN_ZONE_S = -12 hours;
    int32 public constant MAX_ZONE_S = 14 hours;

    uint256 private constant DAY_S = 86_400;
    uint256 private constant CELLS = 6;
    uint256 private constant CELL_BITS = 40;
    uint256 private constant SLOTS_A_DAY = 4;
    /// @dev Above the six cells.
    uint256 private constant TAG_SHIFT = 240;

    mapping(address supplier => Zone) internal _zones;
    /// @dev All versions before the two newest, by time; the first holds from 0.
    mapping(address supplier => ZoneVersion[]) private _earlierZones;
    mapping(address meter => Book) internal _books;
    mapping(address meter => mapping(uint256 pair => TwoDays)) private _days;
    /// @dev Of a supplier; under the zero address of all.
    mapping(address supplier => mapping(uint256 day => DaySum)) private _daySums;

    /// @notice Sets the local time of the caller's meters from a Unix time on; until the first such call it is UTC.
    ///         Replaces an announced zone not yet in force.
    /// @param offsetS seconds east of UTC, in quarters of an hour; India has 19800
    /// @param from Unix time in s: ZONE_NOTICE_S from now or later or, before the caller's first meter, beyond the time that a
    ///        reading may have by now; 0 for the earliest
    function setZone(int32 offsetS, uint48 from) external {
        if (offsetS % ZONE_STEP_S != 0 || offsetS < MIN_ZONE_S || offsetS > MAX_ZONE_S) {
            revert ZoneInvalid(offsetS, MIN_ZONE_S, MAX_ZONE_S, ZONE_STEP_S);
        }
        uint48 latestReading = uint48(block.timestamp + _maxAheadS());
        Zone memory zone = _zones[msg.sender];
        uint48 earliest = zone.hasMeters ? uint48(block.timestamp) + ZONE_NOTICE_S : latestReading + 1;
        if (from == 0) from = earliest;
        if (from < earliest) revert ZoneTooSoon(from, earliest);
        if (zone.from <= latestReading) {
            // The newest holds already, so it becomes the earlier one.
            if (zone.from != 0) _earlierZones[msg.sender].push(ZoneVersion(zone.earlierOffsetS, zone.earlierFrom));
            zone.earlierOffsetS = zone.offsetS;
            zone.earlierFrom = zone.from;
        }
        if (_dayAt(from, offsetS) < _dayAt(from - 1, zone.earlierOffsetS)) revert ZoneRepeatsDay(offsetS, from);
        zone.offsetS = offsetS;
        zone.from = from;
        _zones[msg.sender] = zone;
        emit ZoneSet(msg.sender, offsetS, from);
    }

    /// @inheritdoc IMeter
    function zoneOf(address supplier, uint64 time) public view returns (int32 offsetS) {
        (offsetS,) = _zonesAt(supplier, time, time);
    }

    /// @inheritdoc IMeter
    function hoursOf(address meter, uint32 day)
        external
        view
        returns (uint64[24] memory importedWh, uint64[24] memory exportedWh)
    {
        _readHours(_books[meter].importHours, day, importedWh);
        _readHours(_books[meter].exportHours, day, exportedWh);
    }

    /// @inheritdoc IMeter
    function usageOfMeter(address meter, uint32 firstDay, uint32 lastDay) external view returns (Usage memory sum) {
        return _sum(daysOfMeter(meter, firstDay, lastDay));
    }

    /// @inheritdoc IMeter
    function usageOfSupplier(address supplier, uint32 firstDay, uint32 lastDay)
        external
        view
        returns (Usage memory sum)
    {
        return _sum(daysOfSupplier(supplier, firstDay, lastDay));
    }

    /// @inheritdoc IMeter
    function usageOfAll(uint32 firstDay, uint32 lastDay) external view returns (Usage memory sum) {
        return _sum(daysOfAll(firstDay, lastDay));
    }

    /// @inheritdoc IMeter
    function daysOfMeter(address meter, uint32 firstDay, uint32 lastDay) public view returns (Usage[] memory list) {
        list = _newList(firstDay, lastDay);
        for (uint256 index = 0; index < list.length; ++index) {
            list[index] = _closedDay(meter, firstDay + index);
        }
        (uint32 current, uint256 importedWh, uint256 exportedWh) = currentDayOf(meter);
        if (firstDay <= current && current <= lastDay) list[current - firstDay] = Usage(importedWh, exportedWh);
    }

    /// @inheritdoc IMeter
    function daysOfSupplier(address supplier, uint32 firstDay, uint32 lastDay)
        public
        view
        returns (Usage[] memory list)
    {
        if (supplier == address(0)) return _newList(firstDay, lastDay);
        return _daysFrom(_daySums[supplier], firstDay, lastDay);
    }

    /// @inheritdoc IMeter
    function daysOfAll(uint32 firstDay, uint32 lastDay) public view returns (Usage[] memory list) {
        return _daysFrom(_daySums[address(0)], firstDay, lastDay);
    }

    /// @inheritdoc IMeter
    function currentDayOf(address meter)
        public
        view
        virtual
        returns (uint32 day, uint256 importedWh, uint256 exportedWh);

    /// @dev The most by which a reading's time may be ahead of the block's, in s.
    function _maxAheadS() internal pure virtual returns (uint64);

    /// @dev The zones of a reading and of the one before, in s east of UTC: mostly the same.
    function _zonesAt(address supplier, uint64 time, uint64 lastTime)
        internal
        view
        returns (int32 zoneS, int32 lastZoneS)
    {
        Zone storage zone = _zones[supplier];
        uint48 from = zone.from;
        zoneS = lastZoneS = zone.offsetS;
        if (time < from) zoneS = _zoneBefore(supplier, time);
        if (lastTime < from) lastZoneS = _zoneBefore(supplier, lastTime);
    }

    /// @dev Puts the energy of a reading into its hour.
    function _addToHours(Book storage book, uint64 time, int32 offsetS, uint256 importedWh, uint256 exportedWh)
        internal
    {
        uint256 hour = _localEnd(time, offsetS) / 3600;
        if (importedWh != 0) _addToHour(book.importHours, hour, importedWh);
        if (exportedWh != 0) _addToHour(book.exportHours, hour, exportedWh);
    }

    /// @dev Adds what was counted since the day began, up to these registers, to that day, the supplier's and that of all;
    ///      the next day begins here.
    function _closeDay(
        Book storage book,
        address meter,
        address supplier,
        uint256 day,
        uint256 importWh,
        uint256 exportWh
    ) internal {
        uint64 importedWh = uint64(importWh - book.startImportWh);
        uint64 exportedWh = uint64(exportWh - book.startExportWh);
        TwoDays storage days_ = _days[meter][day / 2];
        if (importedWh | exportedWh != 0) {
            // Registers are below 2^53 and never fall, so no conversion loses bits and no sum overflows.
            book.startImportWh = uint56(importWh);
            book.startExportWh = uint56(exportWh);
            if (day % 2 == 0) {
                days_.evenImportWh += importedWh;
                days_.evenExportWh += exportedWh;
            } else {
                days_.oddImportWh += importedWh;
                days_.oddExportWh += exportedWh;
            }
            _addToSum(_daySums[supplier][day], importedWh, exportedWh);
            _addToSum(_daySums[address(0)][day], importedWh, exportedWh);
        }
        Usage memory closed = _closedDay(meter, day);
        emit DayClosed(meter, supplier, uint32(day), closed.importedWh, closed.exportedWh);
    }

    /// @dev The sum of a meter's day as far as it is closed.
    function _closedDay(address meter, uint256 day) internal view returns (Usage memory) {
        TwoDays storage days_ = _days[meter][day / 2];
        return day % 2 == 0
            ? Usage(days_.evenImportWh, days_.evenExportWh)
            : Usage(days_.oddImportWh, days_.oddExportWh);
    }

    /// @dev The local day to which a reading of this time belongs. It never falls while time rises.
    function _dayAt(uint64 time, int32 offsetS) internal pure returns (uint256 day) {
        return _localEnd(time, offsetS) / DAY_S;
    }

    function _addToHour(uint256[128] storage ring, uint256 hour, uint256 energyWh) private {
        unchecked {
            // Nothing below can overflow: `hour` comes from a time of 64 bits, energy is below 2^53, a cell stays within
            // its 40 bits.
            uint256 tag = hour / 24 & 0xffff;
            uint256 index = hour / CELLS % (HOURS_KEPT_DAYS * SLOTS_A_DAY);
            uint256 word = ring[index];
            if (word >> TAG_SHIFT != tag) word = tag << TAG_SHIFT;
            uint256 shift = hour % CELLS * CELL_BITS;
            uint256 cell = word >> shift & MAX_HOUR_WH;
            uint256 sum = cell + energyWh;
            if (sum > MAX_HOUR_WH) sum = MAX_HOUR_WH;
            ring[index] = word + ((sum - cell) << shift);
        }
    }

    function _addToSum(DaySum storage sum, uint64 importedWh, uint64 exportedWh) private {
        sum.importWh += importedWh;
        sum.exportWh += exportedWh;
    }

    /// @dev The zone at a time before the newest version of it.
    function _zoneBefore(address supplier, uint64 time) private view returns (int32) {
        Zone storage zone = _zones[supplier];
        return time >= zone.earlierFrom ? zone.earlierOffsetS : _earlierZone(supplier, time);
    }

    /// @dev Binary search for the last version that holds at `time`: about log2 of the number of versions steps.
    function _earlierZone(address supplier, uint64 time) private view returns (int32) {
        ZoneVersion[] storage versions = _earlierZones[supplier];
        uint256 low = 0;
        uint256 high = versions.length;
        while (low < high) {
            uint256 middle = (low + high) / 2;
            if (versions[middle].from <= time) low = middle + 1;
            else high = middle;
        }
        return low == 0 ? int32(0) : versions[low - 1].offsetS;
    }

    function _readHours(uint256[128] storage ring, uint256 day, uint64[24] memory hours_) private view {
        for (uint256 hour = 0; hour < 24; ++hour) {
            uint256 word = ring[(day * SLOTS_A_DAY + hour / CELLS) % (HOURS_KEPT_DAYS * SLOTS_A_DAY)];
            if (word >> TAG_SHIFT != day & 0xffff) continue;
            hours_[hour] = uint64(word >> (hour % CELLS * CELL_BITS) & MAX_HOUR_WH);
        }
    }

    function _daysFrom(mapping(uint256 => DaySum) storage sums, uint32 firstDay, uint32 lastDay)
        private
        view
        returns (Usage[] memory list)
    {
        list = _newList(firstDay, lastDay);
        for (uint256 index = 0; index < list.length; ++index) {
            DaySum storage sum = sums[firstDay + index];
            list[index] = Usage(sum.importWh, sum.exportWh);
        }
    }

    function _newList(uint32 firstDay, uint32 lastDay) private pure returns (Usage[] memory) {
        if (lastDay < firstDay || lastDay - firstDay >= MAX_DAYS) revert DayRangeInvalid(firstDay, lastDay, MAX_DAYS);
        return new Usage[](lastDay - firstDay + 1);
    }

    function _sum(Usage[] memory list) private pure returns (Usage memory sum) {
        for (uint256 index = 0; index < list.length; ++index) {
            sum.importedWh += list[index].importedWh;
            sum.exportedWh += list[index].exportedWh;
        }
    }

    /// @dev Local time of the last second before a reading, in s since 1970; 0 before that.
    function _localEnd(uint64 time, int32 offsetS) private pure returns (uint256) {
        unchecked {
            // Both are far from the limits of int256.
            int256 local = int256(uint256(time)) - 1 + offsetS;
            return local < 0 ? 0 : uint256(local);
        }
    }
}
