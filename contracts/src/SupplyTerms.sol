// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @title SupplyTerms: what a supplier of prepaid meters allows once the credit is used up
/// @notice Each supplier writes its own terms, which hold for all its meters; they take no money from anybody. Without
///         terms there is neither emergency credit nor a friendly hour, and debt is recovered whole.
/// @dev A part of Exhaustion. Days are counted from 1970-01-01, days and minutes are those of the supplier's zone.
abstract contract SupplyTerms {
    /// @notice One slot.
    /// @param emergencyWei emergency credit: supply goes on until so much is overdrawn, in wei
    /// @param debtLimitWei friendly hours keep a meter supplied while its debt from them is below this, in wei
    /// @param fromMinute first minute of the friendly hours of a day, 0 to 1439
    /// @param untilMinute minute before which they end, up to 1440; below fromMinute they go on into the next day
    /// @param weekdays weekdays on which friendly hours begin: bit 0 Monday to bit 6 Sunday; 0 for none
    /// @param wholeDays weekdays that are friendly from midnight to midnight, in the same form: a weekend is 96
    /// @param recoveryPercent share of a top-up that goes to debt from friendly hours, 1 to 100; the customer keeps the
    ///        rest as credit
    struct Terms {
        uint96 emergencyWei;
        uint96 debtLimitWei;
        uint16 fromMinute;
        uint16 untilMinute;
        uint8 weekdays;
        uint8 wholeDays;
        uint8 recoveryPercent;
    }

    /// @notice These terms hold for the supplier's meters from now on.
    event TermsSet(address indexed supplier, Terms terms);
    /// @notice A local day became, or is no longer, a holiday: friendly from midnight to midnight.
    event HolidaySet(address indexed supplier, uint24 indexed day, bool isHoliday);

    error FriendlyHoursInvalid(uint16 fromMinute, uint16 untilMinute, uint8 weekdays, uint8 wholeDays);
    error RecoveryInvalid(uint8 recoveryPercent);
    error DayCountInvalid(uint256 count, uint256 maximum);

    /// @notice Holidays that one call takes.
    uint256 public constant MAX_HOLIDAYS = 64;
    uint256 private constant DAY_MINUTES = 1_440;
    uint256 private constant DAY_S = 86_400;
    uint256 private constant ALL_WEEKDAYS = 127;

    mapping(address supplier => Terms) private _terms;
    /// @dev A bit for each local day.
    mapping(address supplier => mapping(uint256 day256 => uint256 bits)) private _holidays;

    /// @notice Sets the caller's terms for all its meters.
    function setTerms(Terms calldata terms) external {
        if (
            terms.fromMinute >= DAY_MINUTES || terms.untilMinute > DAY_MINUTES || terms.weekdays > ALL_WEEKDAYS
                || terms.wholeDays > ALL_WEEKDAYS || (terms.weekdays != 0 && terms.fromMinute == terms.untilMinute)
        ) revert FriendlyHoursInvalid(terms.fromMinute, terms.untilMinute, terms.weekdays, terms.wholeDays);
        if (terms.recoveryPercent == 0 || terms.recoveryPercent > 100) revert RecoveryInvalid(terms.recoveryPercent);
        _terms[msg.sender] = terms;
        emit TermsSet(msg.sender, terms);
    }

    /// @notice Adds holidays of the caller, or takes them off.
    /// @param localDays up to MAX_HOLIDAYS days, counted from 1970-01-01
    function setHolidays(uint24[] calldata localDays, bool areHolidays) external {
        uint256 count = localDays.length;
        if (count == 0 || count > MAX_HOLIDAYS) revert DayCountInvalid(count, MAX_HOLIDAYS);
        for (uint256 index = 0; index < count; ++index) {
            uint24 day = localDays[index];
            uint256 bit = 1 << (day & 255);
            if (areHolidays) _holidays[msg.sender][day >> 8] |= bit;
            else _holidays[msg.sender][day >> 8] &= ~bit;
            emit HolidaySet(msg.sender, day, areHolidays);
        }
    }

    /// @notice The terms of a supplier; all zero where it has set none.
    function termsOf(address supplier) external view returns (Terms memory terms) {
        return _terms[supplier];
    }

    /// @notice Whether a local day is a holiday of a supplier.
    function isHoliday(address supplier, uint24 localDay) external view returns (bool) {
        return _isHoliday(supplier, localDay);
    }

    function _termsOf(address supplier) internal view returns (Terms memory terms) {
        return _terms[supplier];
    }

    /// @dev Whether supply is not cut at a second of the supplier's local time, counted from 1970-01-01.
    function _isFriendly(address supplier, Terms memory terms, uint256 localSecond) internal view returns (bool) {
        if (terms.debtLimitWei == 0) return false;
        uint256 day = localSecond / DAY_S;
        uint256 weekday = (day + 3) % 7; // 1970-01-01 was a Thursday
        if (terms.wholeDays >> weekday & 1 != 0) return true;
        if (terms.weekdays != 0) {
            uint256 minute = localSecond % DAY_S / 60;
            bool beginsToday = terms.weekdays >> weekday & 1 != 0;
            if (terms.fromMinute < terms.untilMinute) {
                if (beginsToday && minute >= terms.fromMinute && minute < terms.untilMinute) return true;
            } else {
                if (beginsToday && minute >= terms.fromMinute) return true;
                if (minute < terms.untilMinute && terms.weekdays >> (weekday + 6) % 7 & 1 != 0) return true;
            }
        }
        return _isHoliday(supplier, day);
    }

    function _isHoliday(address supplier, uint256 localDay) private view returns (bool) {
        return _holidays[supplier][localDay >> 8] >> (localDay & 255) & 1 != 0;
    }
}
